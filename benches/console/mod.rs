//! A remote console that is fast enough to load a BMC: RMCP+ with cipher suites 3 and 17 over UDP.
//!
//! It verifies each AuthCode and decrypts each reply; keys and key schedules are made once a session.

pub(crate) mod crypto;
pub(crate) mod handshake;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crypto::{Sealer, Suite};
use handshake::{Account, Handshake, Step};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);
const CONSOLE_ID: u32 = 0xA0A2_A3A4;
/// The largest datagram that a BMC sends.
pub(crate) const MOST: usize = 1024;

pub(crate) const APP: u8 = 0x06;
pub(crate) const GET_DEVICE_ID: u8 = 0x01;
pub(crate) const SET_SESSION_PRIVILEGE_LEVEL: u8 = 0x3B;
pub(crate) const CLOSE_SESSION: u8 = 0x3C;
/// Payload type of an IPMI message.
pub(crate) const IPMI: u8 = 0;
/// Payload type of Serial-over-LAN.
pub(crate) const SOL: u8 = 1;
/// Privilege level.
pub(crate) const ADMINISTRATOR: u8 = 4;

/// A session, with a socket of its own.
pub(crate) struct Session {
    pub(crate) socket: UdpSocket,
    pub(crate) sealer: Sealer,
    out: Vec<u8>,
    received: [u8; MOST],
}

impl Session {
    /// Logs in as an administrator, by name only.
    pub(crate) fn open(
        to: SocketAddr,
        suite: Suite,
        name: &'static str,
        password: &str,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(to)?;
        Self::open_on(socket, &Account::new(suite, name, password))
    }

    /// The same on a socket that is connected to the BMC.
    pub(crate) fn open_on(socket: UdpSocket, account: &Account) -> io::Result<Self> {
        socket.set_read_timeout(Some(LIMIT))?;
        let mut out = Vec::with_capacity(MOST);
        let mut received = [0; MOST];
        let mut handshake = Handshake::start(account, CONSOLE_ID, &mut out);
        socket.send(&out)?;
        let sealer = loop {
            let len = socket.recv(&mut received)?;
            match handshake.hear(account, &received[..len], &mut out) {
                Step::Foreign => {}
                Step::Next => {
                    socket.send(&out)?;
                }
                Step::Open(sealer) => break *sealer,
                Step::Refused(status) => {
                    return Err(io::Error::other(format!("RAKP status {status:#04x}")));
                }
            }
        };
        let mut session = Self { socket, sealer, out, received };
        match session.command(APP, SET_SESSION_PRIVILEGE_LEVEL, &[ADMINISTRATOR])? {
            (0, _) => Ok(session),
            (code, _) => Err(io::Error::other(format!("Set Session Privilege Level: {code:#04x}"))),
        }
    }

    /// Sends a payload.
    pub(crate) fn send(&mut self, payload_type: u8, payload: &[u8]) -> io::Result<()> {
        self.sealer.seal(payload_type, payload, &mut self.out);
        self.socket.send(&self.out).map(drop)
    }

    /// Waits for a datagram, verifies and decrypts it: payload type and payload.
    pub(crate) fn receive(&mut self) -> io::Result<(u8, &[u8])> {
        let len = self.socket.recv(&mut self.received)?;
        let opened = self.sealer.open(&mut self.received[..len]);
        Ok(opened.expect("the datagram of another session"))
    }

    /// Runs a command: completion code and data.
    pub(crate) fn command(
        &mut self,
        net_fn: u8,
        command: u8,
        data: &[u8],
    ) -> io::Result<(u8, Vec<u8>)> {
        self.sealer.request(net_fn, command, data, &mut self.out);
        self.socket.send(&self.out)?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let len = self.socket.recv(&mut self.received)?;
            if let Some((IPMI, payload)) = self.sealer.open(&mut self.received[..len])
                && let Some((code, data)) = self.sealer.response(payload)
            {
                return Ok((code, data.to_vec()));
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Logs out.
    pub(crate) fn close(mut self) -> io::Result<()> {
        let id = self.sealer.managed_id().to_le_bytes();
        self.command(APP, CLOSE_SESSION, &id).map(drop)
    }
}
