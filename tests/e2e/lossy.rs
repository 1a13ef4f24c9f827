//! Serial-over-LAN over a bad line. The line is a relay here in the test, so it is bad in the same
//! way each time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clients::sol_at;
use crate::machine::{Setup, free_port};

/// Passes datagrams between clients and a BMC.
struct Line {
    port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    bad: AtomicBool,
    over: AtomicBool,
    lost: AtomicUsize,
    doubled: AtomicUsize,
}

impl Line {
    fn to(bmc: u16, port: u16) -> Self {
        let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        inside.connect((Ipv4Addr::LOCALHOST, bmc)).unwrap();
        for socket in [&outside, &inside] {
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        }
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = Some(thread::spawn(move || relay(&outside, &inside, &shared)));
        Self { port, state, thread }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        let result = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(result, Some(Err(_))) || thread::panicking(), "the line has panicked");
    }
}

/// A bad line has bad spells, in which every fourth datagram of a direction is lost, and of the rest
/// every third comes twice. A client's second copy comes after the next datagram: late, and out of
/// order. (A BMC's does not: ipmitool takes it for news.)
///
/// Between the spells nothing is lost for longer than ipmitool's time to repeat, 1 s: it gives up
/// after a few tries, and a loss that keeps step with its tries would take them all.
fn relay(outside: &UdpSocket, inside: &UdpSocket, state: &State) {
    let mut buffer = [0; 2048];
    let mut client: Option<SocketAddr> = None;
    let (mut up, mut down) = (0_usize, 0_usize);
    let mut late: Option<Vec<u8>> = None;
    let start = Instant::now();
    let fate = |count: &mut usize| {
        let in_spell = start.elapsed().as_millis() % 4000 < 1500;
        if !in_spell || !state.bad.load(Ordering::Relaxed) {
            return (false, false);
        }
        *count += 1;
        let (lost, doubled) = (count.is_multiple_of(4), count.is_multiple_of(3));
        state.lost.fetch_add(usize::from(lost), Ordering::Relaxed);
        state.doubled.fetch_add(usize::from(doubled && !lost), Ordering::Relaxed);
        (lost, doubled)
    };
    while !state.over.load(Ordering::Relaxed) {
        if let Ok((len, from)) = outside.recv_from(&mut buffer) {
            client = Some(from);
            let (lost, doubled) = fate(&mut up);
            if !lost {
                inside.send(&buffer[..len]).unwrap();
                if let Some(datagram) = late.take() {
                    inside.send(&datagram).unwrap();
                }
                late = doubled.then(|| buffer[..len].to_vec());
            }
        }
        if let (Ok(len), Some(client)) = (inside.recv(&mut buffer), client) {
            let (lost, doubled) = fate(&mut down);
            if !lost {
                for _ in 0..if doubled { 2 } else { 1 } {
                    outside.send_to(&buffer[..len], client).unwrap();
                }
            }
        }
    }
}

#[test]
fn sol_over_a_bad_line_loses_and_doubles_nothing() {
    let port = free_port();
    // The client goes away when SOL is at another port than the one that it talks to.
    let machine = Setup::demo().set(format!("ipmi.advertised_port={port}")).start();
    let line = Line::to(machine.port(), port);
    let mut sol = sol_at(line.port);
    machine.power("on");
    sol.expect_guest();

    line.state.bad.store(true, Ordering::Relaxed);
    let numbers: String = (1..=2000).map(|number| format!("{number}\r\n")).collect();
    let is_bad_enough = || {
        [&line.state.lost, &line.state.doubled]
            .iter()
            .all(|counter| counter.load(Ordering::Relaxed) > 30)
    };
    let mut rounds = 0;
    while !is_bad_enough() {
        rounds += 1;
        assert!(rounds < 100, "the line was not bad enough");
        assert!(sol.shell("seq 1 2000") == numbers, "output with a hole, doubled, or in disorder");
        for line in 1..=5 {
            let words = format!("round {rounds} line {line}");
            assert_eq!(sol.shell(&format!("printf '%s\\n' '{words}'")), format!("{words}\r\n"));
        }
    }
}
