//! The BMC beside OpenIPMI's `ipmi_sim` and beside a bare UDP echo server, in one run: starts, sessions,
//! commands, memory, idleness. They take turns at each measure, so that what else the host does is
//! everybody's.
//!
//! The servers have one processor, the consoles the other; a single console is measured on the servers'
//! processor as well, where no processor has to be woken up for each datagram. `make bench-ipmi` sets up
//! what it needs.
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
mod load;
#[path = "../tests/e2e/machine.rs"]
mod machine;
mod peers;
#[path = "../tests/e2e/processes.rs"]
mod processes;
mod usage;
#[path = "../tests/e2e/wait.rs"]
mod wait;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use command::spawn;
use console::crypto::Suite;
use console::{APP, GET_DEVICE_ID, Session};
use load::{Load, Work};
use machine::{PASSWORD, USER};
use peers::{ECHO, Killed, PING, Peer};
use usage::{Usage, pin};
use wait::SOON;

const CHASSIS: u8 = 0x00;
const GET_CHASSIS_STATUS: u8 = 0x01;
const CHASSIS_STATUS: Work = Work::Command(Suite::Three, CHASSIS, GET_CHASSIS_STATUS);

const STARTS: usize = 11;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// What a server may do at its beginning, before it counts as idle: what it has started its helper
/// threads for, and these live on for ten seconds.
const BEGINNING: Duration = Duration::from_secs(12);
const IDLE: Duration = Duration::from_secs(30);
/// The processor of the servers, and that of the consoles.
const SERVERS: usize = 0;
const CONSOLES: usize = 1;

/// In the order of the columns.
const NAMES: [&str; 3] = ["echo", "qemu-bmc", "ipmi_sim"];
const OURS: usize = 1;
const SIMULATOR: usize = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, port] = &arguments[..]
        && word == ECHO
    {
        return peers::serve_echo(port.parse().unwrap());
    }
    // `cargo test --benches` only has to see that it compiles.
    if arguments.iter().any(|argument| argument == "--bench") {
        let filters = arguments.iter().skip(1).filter(|argument| !argument.starts_with('-'));
        measure(&filters.map(String::as_str).collect::<Vec<_>>());
    }
}

/// Starts it, and answers how long its first answers have taken: to a ping, and to a command in a session.
fn start(peer: &Peer) -> (Killed, [f64; 2]) {
    let mut command = peer.command();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, peer.port()));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    pin(SERVERS);
    let start = Instant::now();
    let killed = Killed(spawn(&mut command));
    pin(CONSOLES);
    let ms = || start.elapsed().as_secs_f64() * 1e3;
    while socket.send(&PING).and_then(|_| socket.recv(&mut [0; 64])).is_err() {
        // Nobody has the port yet.
        thread::sleep(Duration::from_micros(100));
        assert!(start.elapsed() < SOON, "no answer to a ping");
    }
    let ping = ms();
    if matches!(peer, Peer::Echo(_)) {
        return (killed, [ping, f64::NAN]);
    }
    let ask = || -> io::Result<()> {
        let mut session = Session::open(to, Suite::Three, USER, PASSWORD)?;
        session.command(APP, GET_DEVICE_ID, &[])?;
        Ok(())
    };
    while ask().is_err() {
        assert!(start.elapsed() < SOON, "no session");
    }
    (killed, [ping, ms()])
}

/// One measure, in all its rounds, of one peer.
#[derive(Default)]
struct Results {
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Of the server, for each that was done; microseconds.
    cpu: Vec<f64>,
    refused: u64,
    unanswered: u64,
}

impl Results {
    fn round(&mut self, peer: &Peer, pid: u32, work: Work, consoles: u32) -> io::Result<()> {
        let mut load = Load::new(peer.port(), work, consoles)?;
        load.warm_up()?;
        let before = usage::of(pid).cpu;
        let outcome = load.run(ROUND)?;
        let cpu = usage::of(pid).cpu - before;
        load.close()?;
        let done = outcome.latencies.len() as f64;
        let rate = outcome.rate();
        let mut us: Vec<f64> = outcome.latencies.iter().map(|ns| f64::from(*ns) / 1e3).collect();
        self.rates.push(rate);
        self.p50.push(percentile(&mut us, 50));
        self.p99.push(percentile(&mut us, 99));
        self.cpu.push(cpu.as_secs_f64() * 1e6 / done);
        self.refused += outcome.refused;
        self.unanswered += outcome.unanswered;
        Ok(())
    }

    fn rate(&self) -> f64 {
        median(&self.rates)
    }
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((values.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}

fn median(values: &[f64]) -> f64 {
    percentile(&mut values.to_vec(), 50)
}

/// What stands where there is no figure.
const NONE: &str = "–";

/// A figure with so many decimals, if there is one.
fn figure(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { NONE.to_owned() }
}

fn row(name: &str, figures: impl IntoIterator<Item = String>) {
    let figures: Vec<String> = figures.into_iter().collect();
    println!("| {name} | {} |", figures.join(" | "));
}

fn head(columns: &[&str]) {
    println!("\n| | {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len() + 1));
}

struct Measure {
    name: &'static str,
    work: Work,
    consoles: u32,
    /// The consoles' processor.
    processor: usize,
    /// In the order of the columns.
    results: [Results; 3],
    /// What the consoles can do at most, beside.
    ceiling: Results,
}

fn measures() -> Vec<Measure> {
    let device_id = |suite| Work::Command(suite, APP, GET_DEVICE_ID);
    let all = [
        ("session set-ups, suite 3", Work::SetUp(Suite::Three)),
        ("session set-ups, suite 17", Work::SetUp(Suite::Seventeen)),
        ("Get Device ID, suite 3", device_id(Suite::Three)),
        ("Get Device ID, suite 17", device_id(Suite::Seventeen)),
        ("Get Chassis Status, suite 3", CHASSIS_STATUS),
    ];
    let measure = |(name, work), (consoles, processor)| {
        let (results, ceiling) = Default::default();
        Measure { name, work, consoles, processor, results, ceiling }
    };
    let places = [(1, SERVERS), (1, CONSOLES), (64, CONSOLES)];
    all.into_iter().flat_map(|each| places.map(|place| measure(each, place))).collect()
}

impl Measure {
    fn round(&mut self, peers: &[Peer; 3], pids: [u32; 3]) {
        pin(self.processor);
        let echo = [Work::Echo, self.work, self.work];
        for (index, work) in echo.into_iter().enumerate() {
            let (peer, pid) = (&peers[index], pids[index]);
            if index == SIMULATOR && self.work.suite() == Some(Suite::Seventeen) {
                // It does not know the suite.
                continue;
            }
            let round = self.results[index].round(peer, pid, work, self.consoles);
            round.unwrap_or_else(|error| panic!("{}, {}: {error}", NAMES[index], self.name));
        }
        self.ceiling.round(&peers[0], pids[0], Work::SealedEcho, self.consoles).unwrap();
    }

    fn title(&self) -> String {
        let plural = if self.consoles == 1 { "" } else { "s" };
        let beside = if self.processor == SERVERS { " on the same processor" } else { "" };
        format!("{}, {} client{plural}{beside}", self.name, self.consoles)
    }

    fn print_rates(&self) {
        let [echo, ours, theirs] = self.results.each_ref().map(Results::rate);
        let trips = f64::from(self.work.round_trips());
        let (echo, ceiling) = (echo / trips, self.ceiling.rate() / trips);
        let theirs = if theirs > 0.0 { theirs } else { f64::NAN };
        let figures = [echo, ceiling, ours, theirs].map(|rate| figure(rate, 0));
        let ratios = [ours / echo, ours / theirs].map(|ratio| figure(ratio, 2));
        let refused = [OURS, SIMULATOR].map(|index| {
            let results = &self.results[index];
            if results.rates.is_empty() { NONE.to_owned() } else { results.refused.to_string() }
        });
        row(&self.title(), figures.into_iter().chain(ratios).chain(refused));
        for (name, results) in NAMES.iter().zip(&self.results) {
            if results.unanswered > 0 {
                eprintln!("{name}, {}: {} without an answer", self.title(), results.unanswered);
            }
        }
    }

    fn print_latencies(&self) {
        let of = |results: &Results| [&results.p50, &results.p99, &results.cpu].map(|v| median(v));
        let all = self.results.iter().flat_map(of).map(|us| figure(us, 1));
        row(&self.title(), all);
    }
}

/// With filters: only the rates whose names have one of them.
fn measure(filters: &[&str]) {
    let is_whole = filters.is_empty();
    let description = usage::machine();
    let peers = [Peer::echo(), Peer::qemu_bmc(), Peer::ipmi_sim()];
    pin(CONSOLES);

    let mut starts = [const { [const { Vec::new() }; 2] }; 3];
    for _ in 0..if is_whole { STARTS } else { 0 } {
        for (peer, starts) in peers.iter().zip(&mut starts) {
            let (_killed, took) = start(peer);
            for (all, took) in starts.iter_mut().zip(took) {
                all.push(took);
            }
        }
    }

    pin(SERVERS);
    let servers = peers.each_ref().map(Peer::start);
    pin(CONSOLES);
    let pids = servers.each_ref().map(|killed| killed.0.id());
    let mut idle = None;
    if is_whole {
        thread::sleep(BEGINNING);
        let before = pids.map(usage::of);
        thread::sleep(IDLE);
        idle = Some((before, pids.map(usage::of)));
    }

    let old_way = is_whole.then(|| {
        pin(SERVERS);
        let (peer, supervisord) = Peer::supervised();
        let (killed, _) = start(&peer);
        (peer, killed, supervisord)
    });
    let mut of_old_way = Results::default();

    let mut measures = measures();
    measures.retain(|measure| {
        is_whole || filters.iter().any(|filter| measure.title().contains(filter))
    });
    for round in 1..=ROUNDS {
        for measure in &mut measures {
            measure.round(&peers, pids);
        }
        if let Some((peer, killed, _)) = &old_way {
            pin(CONSOLES);
            of_old_way.round(peer, killed.0.id(), CHASSIS_STATUS, 1).unwrap();
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    pin(CONSOLES);
    let loaded = pids.map(usage::of);
    drop(servers);

    println!(
        "{description}; servers on processor {SERVERS}, clients on \
         {CONSOLES} but where it says otherwise"
    );
    print_rates(&measures);
    print_latencies(&measures);
    print_old_way(&measures, &of_old_way);
    let Some((before, idle)) = idle else { return };
    print_processes(&starts, [before, idle, loaded]);
    let size = fs::metadata(env!("CARGO_BIN_EXE_qemu-bmc")).unwrap().len();
    println!("\nThe program's file has {} MiB.", figure(mib(size), 2));
}

fn print_rates(measures: &[Measure]) {
    head(&[
        "echo",
        "these clients",
        NAMES[OURS],
        NAMES[SIMULATOR],
        "to echo",
        "to ipmi_sim",
        "refused",
        "refused by ipmi_sim",
    ]);
    measures.iter().for_each(Measure::print_rates);
}

fn print_latencies(measures: &[Measure]) {
    let columns = NAMES.map(|name| ["p50", "p99", "CPU"].map(|what| format!("{name} {what}")));
    println!("\nLatency and CPU in microseconds:");
    let columns: Vec<&str> = columns.iter().flatten().map(String::as_str).collect();
    head(&columns);
    measures.iter().for_each(Measure::print_latencies);
}

fn print_old_way(measures: &[Measure], old_way: &Results) {
    let alike = |measure: &&Measure| {
        (measure.work, measure.consoles, measure.processor) == (CHASSIS_STATUS, 1, CONSOLES)
    };
    let Some(measure) = measures.iter().find(alike) else { return };
    let (ours, theirs) = (measure.results[OURS].rate(), old_way.rate());
    head(&[NAMES[OURS], "ipmi_sim whose script asks supervisord", "ratio"]);
    let rates = [figure(ours, 0), figure(theirs, 1), figure(ours / theirs, 0)];
    row(&measure.title(), rates);
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn print_processes(starts: &[[Vec<f64>; 2]; 3], [before, idle, loaded]: [[Usage; 3]; 3]) {
    head(&NAMES);
    for (index, name) in
        ["exec to first pong, ms", "exec to first answer in a session, ms"].into_iter().enumerate()
    {
        row(name, starts.iter().map(|starts| figure(median(&starts[index]), 1)));
    }
    row("PSS idle, MiB", idle.iter().map(|usage| figure(mib(usage.pss), 2)));
    row("PSS after load, MiB", loaded.iter().map(|usage| figure(mib(usage.pss), 2)));
    row("threads", idle.iter().map(|usage| usage.threads.to_string()));
    let spans = || before.iter().zip(&idle);
    let cpu = |(before, idle): (&Usage, &Usage)| (idle.cpu - before.cpu).as_secs_f64() * 1e3;
    row("CPU in 30 s idle, ms", spans().map(|span| figure(cpu(span), 2)));
    row(
        "wake-ups in 30 s idle",
        spans().map(|(before, idle)| (idle.switches.saturating_sub(before.switches)).to_string()),
    );
}
