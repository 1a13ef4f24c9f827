//! Many consoles in one thread, each with a socket of its own, each waiting for an answer before it
//! sends again. Every AuthCode is verified and every reply decrypted; nothing is allocated in between.

mod client;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::console::crypto::{Sealer, Suite};
use crate::console::handshake::Account;
use crate::console::{MOST, Session};
use crate::machine::{PASSWORD, USER};
use client::{Client, Heard, Role};

/// Length of the answer to Get Device ID in a session of suite 3, and of a payload that makes as much.
pub(crate) const ANSWER: usize = 80;
const PAYLOAD: usize = 23;
/// How often it is looked who waits for too long.
const LOOK: Duration = Duration::from_millis(100);
/// How long a console waits for an answer. ipmi_sim runs a script for some.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is not counted, at the beginning.
const WARM_UP: Duration = Duration::from_millis(100);

/// What the consoles do, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Bytes there and back.
    Echo,
    /// Packets there and back, sealed, verified and decrypted: what these consoles can do at most.
    SealedEcho,
    /// Open Session, RAKP 1 and 3, Set Session Privilege Level, Close Session.
    SetUp(Suite),
    /// A command without data: network function and number.
    Command(Suite, u8, u8),
}

impl Work {
    /// The suite of its sessions, if it has any.
    pub(crate) fn suite(self) -> Option<Suite> {
        match self {
            Self::Echo | Self::SealedEcho => None,
            Self::SetUp(suite) | Self::Command(suite, ..) => Some(suite),
        }
    }

    /// How often a datagram goes there and back for it.
    pub(crate) fn round_trips(self) -> u32 {
        if matches!(self, Self::SetUp(_)) { 5 } else { 1 }
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    /// Of each that was done, in nanoseconds.
    pub(crate) latencies: Vec<u32>,
    /// Sessions that the BMC did not want to open.
    pub(crate) refused: u64,
    /// Requests without an answer.
    pub(crate) unanswered: u64,
}

impl Outcome {
    /// Per second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }
}

/// Consoles that work.
pub(crate) struct Load {
    clients: Vec<Client>,
    epoll: Option<Epoll>,
    buffer: [u8; MOST],
    /// Sessions that could not be opened before the work began.
    refused: u64,
    latencies: Vec<u32>,
}

impl Load {
    /// So many consoles for this work, with their sessions if it needs any.
    pub(crate) fn new(port: u16, work: Work, consoles: u32) -> io::Result<Self> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut clients = Vec::new();
        let mut refused = 0;
        for number in 0..consoles {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(to)?;
            let role = match work {
                Work::Echo => Role::Echo(vec![0x5A; ANSWER]),
                Work::SealedEcho => Role::SealedEcho(Box::new(Sealer::alone(Suite::Three, number))),
                Work::SetUp(suite) => {
                    let account = Account::new(suite, USER, PASSWORD);
                    Role::set_up(account, (number + 1) << 20)
                }
                Work::Command(suite, net_fn, command) => {
                    let account = Account::new(suite, USER, PASSWORD);
                    match Session::open_on(socket.try_clone()?, &account) {
                        Ok(session) => Role::Command(Box::new(session), net_fn, command),
                        Err(_) => {
                            refused += 1;
                            continue;
                        }
                    }
                }
            };
            clients.push(Client::new(socket, role));
        }
        let epoll = if consoles > 1 { Some(watch(&clients)?) } else { None };
        for client in &clients {
            client.socket.set_read_timeout(Some(LOOK))?;
            client.socket.set_nonblocking(epoll.is_some())?;
        }
        let latencies = Vec::with_capacity(1 << 20);
        Ok(Self { clients, epoll, buffer: [0; MOST], refused, latencies })
    }

    /// Works for some time that is not counted, so that all that is made once is there.
    pub(crate) fn warm_up(&mut self) -> io::Result<()> {
        self.run(WARM_UP).map(drop)
    }

    /// Works for so long.
    pub(crate) fn run(&mut self, limit: Duration) -> io::Result<Outcome> {
        let mut outcome = Outcome { refused: self.refused, ..Outcome::default() };
        self.latencies.clear();
        let start = Instant::now();
        let end = start + limit;
        for client in &mut self.clients {
            client.begin(Instant::now())?;
        }
        let mut events = [EpollEvent::empty(); 64];
        let mut look = start + LOOK;
        loop {
            let ready = match &self.epoll {
                None => 1,
                Some(epoll) => epoll.wait(&mut events, EpollTimeout::from(100_u8))?,
            };
            for event in &events[..ready] {
                let index = if self.epoll.is_some() { event.data() as usize } else { 0 };
                let Some(client) = self.clients.get_mut(index) else { break };
                let len = match client.socket.recv(&mut self.buffer) {
                    Ok(len) => len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                match client.hear(&mut self.buffer[..len])? {
                    Heard::Foreign | Heard::Next => {}
                    Heard::Refused => outcome.refused += 1,
                    Heard::Done => {
                        let now = Instant::now();
                        let took = now - client.began;
                        let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
                        self.latencies.push(took);
                        client.begin(now)?;
                    }
                }
            }
            let now = Instant::now();
            if now >= look {
                look = now + LOOK;
                for client in &mut self.clients {
                    if client.is_idle {
                        client.begin(now)?;
                    } else if now - client.began > PATIENCE {
                        outcome.unanswered += 1;
                        client.begin(now)?;
                    }
                }
            }
            if now >= end {
                outcome.took = now - start;
                break;
            }
        }
        outcome.latencies.clone_from(&self.latencies);
        self.settle()?;
        Ok(outcome)
    }

    /// Takes the answers that are on their way, so that the next run does not take them for its own.
    fn settle(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for client in &mut self.clients {
            client.settle(&mut self.buffer, deadline)?;
        }
        Ok(())
    }

    /// Logs all out.
    pub(crate) fn close(self) -> io::Result<()> {
        for client in self.clients {
            client.socket.set_nonblocking(false)?;
            if let Role::Command(session, ..) = client.role {
                session.close()?;
            }
        }
        Ok(())
    }
}

fn watch(clients: &[Client]) -> io::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    for (index, client) in (0..).zip(clients) {
        epoll.add(client.socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index))?;
    }
    Ok(epoll)
}
