//! Many machines' BMCs on one host, their machines off, each in a network namespace of its own: until
//! when all have answered, and what they use together when nobody asks.
//!
//! Needs root. `make bench-density` sets up what it needs.
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
mod usage;
#[path = "../tests/e2e/wait.rs"]
mod wait;

use std::fs::File;
use std::net::UdpSocket;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use command::{run, spawn, tool};
use console::crypto::Suite;
use console::handshake::Account;
use console::{APP, GET_DEVICE_ID, Session};
use machine::{PASSWORD, Setup, USER};
use nix::sched::{CloneFlags, setns, unshare};
use peers::{Killed, PING};
use usage::Usage;

const COUNTS: [usize; 4] = [1, 10, 50, 200];
const PORT: u16 = 623;
/// What the programs may do at their beginning, before they count as idle: what they have started their
/// helper threads for, and these live on for ten seconds.
const BEGINNING: Duration = Duration::from_secs(12);
const IDLE: Duration = Duration::from_secs(30);
/// When not all have answered by then, something is wrong.
const LIMIT: Duration = Duration::from_secs(120);

fn main() {
    // `cargo test --benches` only has to see that it compiles.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // Namespaces are a thread's own: this one has none of its own to go back to.
    if let Err(panic) = thread::spawn(measure).join() {
        std::panic::resume_unwind(panic);
    }
}

/// A machine that can be started in its namespace, and the client that asks it.
struct Instance {
    setup: Setup,
    namespace: File,
    client: UdpSocket,
}

impl Instance {
    /// Leaves this thread in the new namespace.
    fn new(number: usize) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace; run this as root");
        run(tool("ip").args(["link", "set", "lo", "up"])).succeeds();
        let namespace = File::open("/proc/thread-self/ns/net").unwrap();
        // It stays in the namespace, whoever uses it.
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(("127.0.0.1", PORT)).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let setup = Setup::bare()
            .unset("ipmi.port")
            .set(format!("ipmi.port={PORT}"))
            .set(format!("name=node{number}"));
        Self { setup, namespace, client }
    }

    fn start(&self) -> Killed {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let mut command = self.setup.program("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Killed(spawn(&mut command))
    }

    /// Waits until it has answered a ping, and a command in a session.
    fn answers(&self, account: &Account, deadline: Instant) {
        let in_time = || assert!(Instant::now() < deadline, "not all have answered");
        while self.client.send(&PING).and_then(|_| self.client.recv(&mut [0; 64])).is_err() {
            thread::sleep(Duration::from_millis(1));
            in_time();
        }
        loop {
            let client = self.client.try_clone().unwrap();
            if let Ok(mut session) = Session::open_on(client, account) {
                let (code, _) = session.command(APP, GET_DEVICE_ID, &[]).unwrap();
                assert_eq!(code, 0, "Get Device ID");
                return session.close().unwrap();
            }
            in_time();
        }
    }
}

/// What all use together.
fn all(killed: &[Killed]) -> Usage {
    let each = killed.iter().map(|killed| usage::of(killed.0.id()));
    each.fold(Usage::default(), |sum, one| Usage {
        cpu: sum.cpu + one.cpu,
        switches: sum.switches + one.switches,
        threads: sum.threads + one.threads,
        pss: sum.pss + one.pss,
    })
}

fn measure() {
    println!("{}\n", usage::machine());
    println!(
        "| machines | all have answered after, s | PSS of each, MiB | threads of each \
         | CPU of all in 30 s idle, ms | wake-ups of all in 30 s idle |\n|---|---|---|---|---|---|"
    );
    let account = Account::new(Suite::Seventeen, USER, PASSWORD);
    for count in COUNTS {
        let instances: Vec<Instance> = (1..=count).map(Instance::new).collect();
        let start = Instant::now();
        let killed: Vec<Killed> = instances.iter().map(Instance::start).collect();
        instances.iter().for_each(|instance| instance.answers(&account, start + LIMIT));
        let took = start.elapsed().as_secs_f64();
        thread::sleep(BEGINNING);
        let before = all(&killed);
        thread::sleep(IDLE);
        let idle = all(&killed);
        println!(
            "| {count} | {took:.2} | {:.2} | {:.1} | {:.1} | {} |",
            idle.pss as f64 / f64::from(1 << 20) / count as f64,
            idle.threads as f64 / count as f64,
            (idle.cpu - before.cpu).as_secs_f64() * 1e3,
            idle.switches.saturating_sub(before.switches),
        );
    }
}
