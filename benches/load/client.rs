//! One console: what it sends next, and what it makes of an answer.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Instant;
use std::{io, mem};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::PAYLOAD;
use crate::console::crypto::Sealer;
use crate::console::handshake::{Account, Handshake, Step};
use crate::console::{
    ADMINISTRATOR, APP, CLOSE_SESSION, IPMI, MOST, SET_SESSION_PRIVILEGE_LEVEL, Session,
};

pub(super) enum Role {
    /// Sends these bytes.
    Echo(Vec<u8>),
    /// Opens what it has sealed.
    SealedEcho(Box<Sealer>),
    /// Runs this command: network function and number.
    Command(Box<Session>, u8, u8),
    SetUp(Box<SetUp>),
}

pub(super) struct SetUp {
    account: Account,
    /// The next session's.
    console_id: u32,
    stage: Stage,
}

enum Stage {
    Handshake(Handshake),
    /// The privilege level was asked for.
    Privilege(Box<Sealer>),
    Close(Box<Sealer>),
    Nothing,
}

impl Role {
    pub(super) fn set_up(account: Account, console_id: u32) -> Self {
        Self::SetUp(Box::new(SetUp { account, console_id, stage: Stage::Nothing }))
    }
}

/// What came of a datagram.
#[derive(PartialEq, Eq)]
pub(super) enum Heard {
    /// It is not for us.
    Foreign,
    /// The work goes on: there is a datagram to send.
    Next,
    Done,
    Refused,
}

impl SetUp {
    fn start(&mut self, out: &mut Vec<u8>) {
        self.console_id += 1;
        self.stage = Stage::Handshake(Handshake::start(&self.account, self.console_id, out));
    }

    fn hear(&mut self, datagram: &mut [u8], out: &mut Vec<u8>) -> Heard {
        match &mut self.stage {
            Stage::Handshake(handshake) => match handshake.hear(&self.account, datagram, out) {
                Step::Foreign => Heard::Foreign,
                Step::Next => Heard::Next,
                Step::Refused(_) => Heard::Refused,
                Step::Open(mut sealer) => {
                    sealer.request(APP, SET_SESSION_PRIVILEGE_LEVEL, &[ADMINISTRATOR], out);
                    self.stage = Stage::Privilege(sealer);
                    Heard::Next
                }
            },
            Stage::Privilege(sealer) if answered(sealer, datagram) => {
                let id = sealer.managed_id().to_le_bytes();
                sealer.request(APP, CLOSE_SESSION, &id, out);
                if let Stage::Privilege(sealer) = mem::replace(&mut self.stage, Stage::Nothing) {
                    self.stage = Stage::Close(sealer);
                }
                Heard::Next
            }
            Stage::Close(sealer) if answered(sealer, datagram) => Heard::Done,
            _ => Heard::Foreign,
        }
    }
}

/// Whether this is the answer to the session's last request, which must have succeeded.
fn answered(sealer: &Sealer, datagram: &mut [u8]) -> bool {
    // In a handshake's answers, which may come late, the session ID is 0.
    let Some((IPMI, payload)) = sealer.open(datagram) else { return false };
    let Some((code, _)) = sealer.response(payload) else { return false };
    assert_eq!(code, 0, "completion code");
    true
}

pub(super) struct Client {
    pub(super) socket: UdpSocket,
    pub(super) role: Role,
    /// When the work that is under way began.
    pub(super) began: Instant,
    /// It was refused, and begins again later.
    pub(super) is_idle: bool,
    out: Vec<u8>,
}

impl Client {
    pub(super) fn new(socket: UdpSocket, role: Role) -> Self {
        let out = Vec::with_capacity(MOST);
        Self { socket, role, began: Instant::now(), is_idle: true, out }
    }

    fn send(&self) -> io::Result<()> {
        self.socket.send(&self.out).map(drop)
    }

    /// Sends the first datagram.
    pub(super) fn begin(&mut self, now: Instant) -> io::Result<()> {
        (self.began, self.is_idle) = (now, false);
        match &mut self.role {
            Role::Echo(bytes) => return self.socket.send(bytes).map(drop),
            Role::SealedEcho(sealer) => sealer.seal(IPMI, &[0x5A; PAYLOAD], &mut self.out),
            Role::Command(session, net_fn, command) => {
                session.sealer.request(*net_fn, *command, &[], &mut self.out);
            }
            Role::SetUp(work) => work.start(&mut self.out),
        }
        self.send()
    }

    /// Takes a datagram, and sends the next one of the same work.
    pub(super) fn hear(&mut self, datagram: &mut [u8]) -> io::Result<Heard> {
        let heard = match &mut self.role {
            Role::Echo(bytes) => {
                assert_eq!(datagram.len(), bytes.len());
                Heard::Done
            }
            Role::SealedEcho(sealer) => {
                let opened = sealer.open(datagram);
                assert_eq!(opened, Some((IPMI, &[0x5A; PAYLOAD][..])));
                Heard::Done
            }
            Role::Command(session, ..) if answered(&session.sealer, datagram) => Heard::Done,
            Role::Command(..) => Heard::Foreign,
            Role::SetUp(work) => work.hear(datagram, &mut self.out),
        };
        if heard == Heard::Next {
            self.send()?;
        }
        self.is_idle = heard == Heard::Refused;
        Ok(heard)
    }

    /// Brings the work that is under way to its end.
    pub(super) fn settle(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !self.is_idle {
            let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let left = deadline.saturating_duration_since(Instant::now());
            if ppoll(&mut socket, Some(TimeSpec::from_duration(left)), None)? == 0 {
                break;
            }
            let len = self.socket.recv(buffer)?;
            self.is_idle = matches!(self.hear(&mut buffer[..len])?, Heard::Done | Heard::Refused);
        }
        Ok(())
    }
}
