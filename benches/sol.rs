//! Serial-over-LAN beside OpenIPMI's `ipmi_sim`, in one run: bulk out and in, the echo of single key
//! strokes, and bulk with every hundredth datagram lost. The reference is a bare loop on the loopback
//! that sends as much and waits for each answer.
//!
//! Both have the same serial source, which floods, swallows and echoes, and run on the same core; the
//! console has the other one. `make bench-sol` sets up what it needs.
#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    reason = "a benchmark prints, and uses a part of what the tests have"
)]

#[path = "../tests/e2e/command.rs"]
mod command;
mod console;
#[path = "../tests/e2e/machine.rs"]
mod machine;
mod peers;
#[path = "../tests/e2e/processes.rs"]
mod processes;
mod source;
mod usage;
#[path = "../tests/e2e/wait.rs"]
mod wait;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use command::{spawn, tool};
use console::crypto::Suite;
use console::{APP, IPMI, SOL, Session};
use machine::{Machine, PASSWORD, Setup, USER, free_port};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use peers::{Killed, simulator};
use tempfile::TempDir;
use usage::pin;
use wait::{SOON, wait_until};

const ROUNDS: usize = 5;
const OUT: usize = 4 << 20;
const IN: usize = 1 << 20;
const KEYS: usize = 2000;
/// Characters in the packets of the bare loop.
const MOST_CHARACTERS: usize = 255;
/// When one round has taken so long, the console counts as dead.
const ROUND_LIMIT: Duration = Duration::from_secs(60);
/// When a console sends its characters again on a line that loses nothing.
const PATIENT: Duration = Duration::from_secs(1);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "-nodefaults") {
        return source::as_qemu();
    }
    if let [_, word, port] = &arguments[..]
        && word == "--source"
    {
        return source::as_server(port.parse().unwrap());
    }
    // `cargo test --benches` only has to see that it compiles.
    if arguments.iter().any(|argument| argument == "--bench") {
        measure();
    }
}

/// The core that servers have.
const SERVERS: [&str; 3] = ["taskset", "-c", "0"];

fn this_program() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

fn ours() -> Machine {
    let machine = Setup::bare()
        .set(format!("qemu.binary={}", this_program()))
        .set("qemu.user=root")
        .wrapped_in(&SERVERS)
        .start();
    machine.ctl(&["power", "on"]).succeeds();
    machine.wait_on();
    machine
}

fn ipmi_sim() -> (Vec<Killed>, TempDir, u16) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let serial = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = tool(SERVERS[0]);
    command.args(&SERVERS[1..]).args([&this_program(), "--source", &serial.to_string()]);
    let source = Killed(spawn(&mut command));
    let sol = format!("sol \"tcp:127.0.0.1:{serial}\" 115200");
    let mut command = tool(SERVERS[0]);
    command.args(&SERVERS[1..]).args(simulator::configure(dir.path(), port, &sol));
    command.current_dir(dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let simulator = Killed(spawn(&mut command));
    (vec![source, simulator], dir, port)
}

/// Every hundredth of something, by chance; the same each time.
struct Loss(Option<u64>);

impl Loss {
    fn strikes(&mut self) -> bool {
        let Some(state) = &mut self.0 else { return false };
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.is_multiple_of(100)
    }
}

/// How long an acknowledgement takes, and so, when characters are sent again: as TCP has it (RFC 6298),
/// but with no time out of a second.
#[derive(Default)]
struct RoundTrip {
    /// Smoothed, and its variation.
    measured: Option<(Duration, Duration)>,
    /// How often the time out has doubled since.
    doublings: u32,
}

impl RoundTrip {
    const INITIAL: Duration = Duration::from_millis(5);
    const MIN: Duration = Duration::from_micros(200);
    const MAX: Duration = Duration::from_millis(100);

    fn measure(&mut self, age: Duration) {
        self.doublings = 0;
        self.measured = Some(match self.measured {
            None => (age, age / 2),
            Some((smoothed, variation)) => {
                let variation = (3 * variation + smoothed.abs_diff(age)) / 4;
                ((7 * smoothed + age) / 8, variation)
            }
        });
    }

    fn timeout(&self) -> Duration {
        let base = self.measured.map_or(Self::INITIAL, |(smoothed, varies)| smoothed + 4 * varies);
        (base.max(Self::MIN) * (1 << self.doublings.min(10))).min(Self::MAX)
    }
}

/// A console with its SOL payload activated.
struct Console {
    session: Session,
    loss: Loss,
    /// Measured where datagrams are lost.
    round_trip: Option<RoundTrip>,
    /// Sequence number of our last characters.
    sent: u8,
    /// Sequence number of the last characters from the BMC.
    heard: u8,
    /// Most characters in a packet to the BMC.
    most: usize,
}

/// What came of one datagram.
#[derive(Default)]
struct Heard {
    /// The BMC has taken so many of the characters with our last sequence number.
    taken: Option<usize>,
    characters: Vec<u8>,
}

impl Console {
    fn open(port: u16) -> io::Result<Self> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // The better of the two that both know.
        let mut session = Session::open(to, Suite::Three, USER, PASSWORD)?;
        // Encrypted and authenticated.
        let (code, data) = session.command(APP, 0x48, &[1, 1, 0xC0, 0, 0, 0])?;
        if code != 0 {
            return Err(io::Error::other(format!("Activate Payload: {code:#04x}")));
        }
        // As ipmitool reads it: characters.
        let most = usize::from(u16::from_le_bytes([data[4], data[5]])).min(MOST_CHARACTERS);
        Ok(Self { session, loss: Loss(None), round_trip: None, sent: 0, heard: 0, most })
    }

    /// Whether the session is still there: while the other one is measured, this one is idle.
    fn lives(&mut self) -> bool {
        self.session.socket.set_read_timeout(Some(PATIENT)).unwrap();
        self.session.command(APP, 0x01, &[]).is_ok()
    }

    fn send(&mut self, payload: &[u8]) {
        if !self.loss.strikes() {
            self.session.send(SOL, payload).unwrap();
        }
    }

    /// The next datagram, acknowledged; `None` if nothing comes within the limit.
    fn hear(&mut self) -> Option<Heard> {
        let (payload_type, payload) = self.session.receive().ok()?;
        if payload_type == IPMI || self.loss.strikes() {
            return Some(Heard::default());
        }
        let payload = payload.to_vec();
        let [sequence, acknowledged, count, ..] = payload[..] else { panic!("short SOL packet") };
        let mut heard = Heard::default();
        if acknowledged == self.sent && self.sent != 0 {
            heard.taken = Some(count.into());
        }
        if sequence != 0 {
            let characters = &payload[4..];
            if sequence != self.heard {
                self.heard = sequence;
                heard.characters = characters.to_vec();
            }
            self.send(&[0, sequence, characters.len() as u8, 0]);
        }
        Some(heard)
    }

    /// Whether a datagram comes within this time. The socket's own limit is that of a coarse clock.
    fn comes_within(&self, limit: Duration) -> bool {
        let mut socket = [PollFd::new(self.session.socket.as_fd(), PollFlags::POLLIN)];
        ppoll(&mut socket, Some(TimeSpec::from_duration(limit)), None).unwrap() > 0
    }

    /// Sends characters until the BMC has taken them; answers those that came meanwhile.
    fn type_in(&mut self, mut characters: &[u8]) -> Result<Vec<u8>, Dead> {
        let deadline = Instant::now() + ROUND_LIMIT;
        let mut came = Vec::new();
        self.session.socket.set_read_timeout(Some(PATIENT)).unwrap();
        while !characters.is_empty() {
            let some = &characters[..characters.len().min(self.most)];
            self.sent = self.sent % 15 + 1;
            let packet = [&[self.sent, 0, 0, 0], some].concat();
            self.send(&packet);
            let (mut sent, mut again) = (Instant::now(), false);
            loop {
                let timeout = self.round_trip.as_ref().map_or(PATIENT, RoundTrip::timeout);
                let left = timeout.saturating_sub(sent.elapsed());
                let comes = self.round_trip.is_none() || self.comes_within(left);
                let heard = if comes { self.hear() } else { None };
                if Instant::now() > deadline {
                    return Err(Dead);
                }
                if let Some(heard) = heard {
                    came.extend(heard.characters);
                    if let Some(taken) = heard.taken {
                        if let Some(round_trip) = self.round_trip.as_mut().filter(|_| !again) {
                            round_trip.measure(sent.elapsed());
                        }
                        characters = &characters[taken..];
                        break;
                    }
                }
                if sent.elapsed() >= timeout {
                    self.send(&packet);
                    (sent, again) = (Instant::now(), true);
                    if let Some(round_trip) = &mut self.round_trip {
                        round_trip.doublings += 1;
                    }
                }
            }
        }
        Ok(came)
    }

    /// Characters from the serial port, until there are so many.
    fn read(&mut self, mut came: Vec<u8>, count: usize) -> Result<Vec<u8>, Dead> {
        let deadline = Instant::now() + ROUND_LIMIT;
        self.session.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while came.len() < count {
            if Instant::now() > deadline {
                return Err(Dead);
            }
            came.extend(self.hear().map(|heard| heard.characters).unwrap_or_default());
        }
        Ok(came)
    }

    /// The serial port floods; MB/s.
    fn bulk_out(&mut self) -> Result<f64, Dead> {
        let start = Instant::now();
        let came = self.type_in(&source::flood(OUT))?;
        let came = self.read(came, OUT)?;
        let took = start.elapsed();
        let right = came.iter().zip(0..).all(|(byte, place)| *byte == source::pattern(place));
        assert!(right && came.len() == OUT, "the characters are not those that were sent");
        Ok(OUT as f64 / 1e6 / took.as_secs_f64())
    }

    /// The serial port swallows, and answers with a sum; MB/s.
    fn bulk_in(&mut self) -> Result<f64, Dead> {
        let all: Vec<u8> = (0..IN as u64).map(source::pattern).collect();
        let start = Instant::now();
        let mut came = self.type_in(&source::swallow(IN))?;
        came.extend(self.type_in(&all)?);
        let came = self.read(came, 8)?;
        let took = start.elapsed();
        assert_eq!(came, source::sum(0, &all).to_le_bytes(), "what arrived is not what was sent");
        Ok(IN as f64 / 1e6 / took.as_secs_f64())
    }

    /// Single key strokes, each awaited; microseconds.
    fn keys(&mut self) -> Result<Vec<f64>, Dead> {
        let mut all = Vec::new();
        for index in 0..KEYS {
            let key = [b'a' + (index % 26) as u8];
            let start = Instant::now();
            let came = self.type_in(&key)?;
            let came = self.read(came, 1)?;
            all.push(start.elapsed().as_secs_f64() * 1e6);
            assert_eq!(came, key);
        }
        Ok(all)
    }
}

/// The console has not come to the end of a round.
#[derive(Debug)]
struct Dead;

/// What the two are beside: a sender that waits for each answer, without a BMC. MB/s, microseconds.
fn bare_loop() -> (f64, Vec<f64>) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    server.connect(client.local_addr().unwrap()).unwrap();
    let packets = OUT / MOST_CHARACTERS;
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(0);
            let mut buffer = [0; 512];
            for _ in 0..packets {
                server.send(&[0; MOST_CHARACTERS + 4]).unwrap();
                server.recv(&mut buffer).unwrap();
            }
            for _ in 0..KEYS {
                server.recv(&mut buffer).unwrap();
                server.send(&[0; 5]).unwrap();
            }
        });
        let mut buffer = [0; 512];
        let start = Instant::now();
        for _ in 0..packets {
            client.recv(&mut buffer).unwrap();
            client.send(&[0; 4]).unwrap();
        }
        let speed = OUT as f64 / 1e6 / start.elapsed().as_secs_f64();
        let echo = || {
            let start = Instant::now();
            client.send(&[0; 5]).unwrap();
            client.recv(&mut buffer).unwrap();
            start.elapsed().as_secs_f64() * 1e6
        };
        (speed, std::iter::repeat_with(echo).take(KEYS).collect())
    })
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get((values.len() * percent / 100).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// All rounds of one peer.
#[derive(Default)]
struct Results {
    out: Vec<f64>,
    in_: Vec<f64>,
    keys: Vec<f64>,
    lossy_out: Vec<f64>,
    lossy_in: Vec<f64>,
    died: Option<&'static str>,
}

impl Results {
    fn round(&mut self, console: &mut Console, lossy: bool) -> Result<(), Dead> {
        if lossy {
            console.loss = Loss(Some(0x9E37_79B9_7F4A_7C15));
            console.round_trip = Some(RoundTrip::default());
            self.died = Some("out, with loss");
            self.lossy_out.push(console.bulk_out()?);
            self.died = Some("in, with loss");
            self.lossy_in.push(console.bulk_in()?);
            (console.loss, console.round_trip) = (Loss(None), None);
        } else {
            self.died = Some("out");
            self.out.push(console.bulk_out()?);
            self.died = Some("in");
            self.in_.push(console.bulk_in()?);
            self.died = Some("echo");
            self.keys.extend(console.keys()?);
        }
        self.died = None;
        Ok(())
    }
}

fn measure() {
    let machine = ours();
    let (_processes, _dir, port) = ipmi_sim();
    let open = |name: &str, port| {
        let mut opened = None;
        wait_until(&format!("{name}'s SOL"), SOON, || {
            opened = Console::open(port).ok();
            opened.is_some()
        });
        opened.unwrap()
    };
    let mut peers = [
        ("qemu-bmc", machine.port(), open("qemu-bmc", machine.port()), Results::default()),
        ("ipmi_sim", port, open("ipmi_sim", port), Results::default()),
    ];
    pin(1);
    let (mut speeds, mut echoes) = (Vec::new(), Vec::new());
    // With loss last: it is the end of one of them.
    for lossy in [false, true] {
        for _ in 0..ROUNDS {
            for (name, port, console, results) in &mut peers {
                if results.died.is_none() {
                    if !console.lives() {
                        *console = open(name, *port);
                    }
                    let _ = results.round(console, lossy);
                }
            }
            let (speed, echo) = bare_loop();
            speeds.push(speed);
            echoes.extend(echo);
        }
    }
    println!(
        "| | bare loop | {} | {} | ratio |
|---|---|---|---|---|",
        peers[0].0, peers[1].0
    );
    let bare_out = percentile(&mut speeds, 50);
    let bare = [bare_out, f64::NAN, percentile(&mut echoes, 50), percentile(&mut echoes, 99)];
    let names = ["out, MB/s", "in, MB/s", "echo p50, us", "echo p99, us"];
    let [ours, theirs] = peers.each_mut().map(|(_, _, _, r)| {
        [
            percentile(&mut r.out, 50),
            percentile(&mut r.in_, 50),
            percentile(&mut r.keys, 50),
            percentile(&mut r.keys, 99),
            percentile(&mut r.lossy_out, 50),
            percentile(&mut r.lossy_in, 50),
        ]
    });
    let bare = bare.into_iter().chain([f64::NAN; 2]);
    let names = names.into_iter().chain(["out, 1 % lost, MB/s", "in, 1 % lost, MB/s"]);
    for (((name, bare), ours), theirs) in names.zip(bare).zip(ours).zip(theirs) {
        println!("| {name} | {bare:.2} | {ours:.2} | {theirs:.2} | {:.2} |", ours / theirs);
    }
    println!(
        "
out, to the bare loop: {:.2}",
        ours[0] / bare_out
    );
    for (name, _, _, results) in &peers {
        if let Some(died) = results.died {
            println!("{name}: its console died in: {died}");
        }
    }
}
