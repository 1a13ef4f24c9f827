//! Serial-over-LAN over a bad line. The line is a relay here in the test, so it is bad in the same
//! way each time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};

use crate::clients::sol_at;
use crate::machine::{Machine, PASSWORD, Setup, free_port};
use crate::terminal::{PROMPT, Terminal};
use crate::wait::BOOT;

/// Passes datagrams between a client and a BMC.
pub(crate) struct Line {
    pub(crate) port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    bad: AtomicBool,
    over: AtomicBool,
    up: Counters,
    down: Counters,
}

/// What has become of the datagrams of one direction.
#[derive(Default)]
struct Counters {
    lost: AtomicUsize,
    doubled: AtomicUsize,
    late: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Fate {
    Passes,
    Lost,
    Doubled,
    /// The second copy comes after the next datagram.
    DoubledLate,
    /// It comes after the next datagram.
    Late,
}

#[derive(Clone, Copy)]
enum Direction {
    /// From the client to the BMC.
    Up,
    Down,
}

/// How a line is bad: what becomes of a datagram of this direction, so long after the line's start.
type Badness = Box<dyn FnMut(Direction, Duration, &[u8]) -> Fate + Send>;

/// Bad spells, in which every fourth datagram of a direction is lost, and of the rest every third
/// comes twice. A client's second copy comes after the next datagram: late, and out of order. (A BMC's
/// does not: ipmitool takes it for news.)
///
/// Between the spells nothing is lost for longer than ipmitool's time to repeat, 1 s: it gives up
/// after a few tries, and a loss that keeps step with its tries would take them all.
fn spells() -> Badness {
    let mut counts = [0_usize; 2];
    Box::new(move |direction, since_start, _| {
        if since_start.as_millis() % 4000 >= 1500 {
            return Fate::Passes;
        }
        let count = &mut counts[direction as usize];
        *count += 1;
        match (direction, count.is_multiple_of(4), count.is_multiple_of(3)) {
            (_, true, _) => Fate::Lost,
            (Direction::Up, _, true) => Fate::DoubledLate,
            (Direction::Down, _, true) => Fate::Doubled,
            _ => Fate::Passes,
        }
    })
}

/// Of each direction one datagram in ten is lost, never two in a row, and one in ten is overtaken by the
/// next one, if one comes soon. By lot, and the lots are the same each time. (ipmitool gives up after
/// four tries. So all of them do not fail.)
///
/// What the BMC repeats is not overtaken: ipmitool knows a repetition by the last sequence number
/// that it has seen, and takes one for news that comes behind the packet after it. Nor is what
/// acknowledges lost: ipmitool repeats what it has typed under a new sequence number, so that a BMC
/// whose acknowledgement was lost has to take it for news.
fn one_in_ten() -> Badness {
    let mut lot = 1_u64;
    let mut listener = Listener::default();
    let mut last = None;
    let mut lost = [false; 2];
    Box::new(move |direction, _, datagram| {
        // Knuth's MMIX.
        lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let sol = listener.sol_packet(direction, datagram);
        let sequence = sol.map(|[sequence, _]| sequence).filter(|sequence| *sequence != 0);
        let acknowledges = sol.is_some_and(|[_, ack]| ack != 0);
        let repeated = sequence.is_some() && last == sequence;
        last = sequence.or(last);
        let lost_last = std::mem::take(&mut lost[direction as usize]);
        match (lot >> 33) % 10 {
            0 if !lost_last && !acknowledges => {
                lost[direction as usize] = true;
                Fate::Lost
            }
            1 if !repeated => Fate::Late,
            _ => Fate::Passes,
        }
    })
}

/// A line that changes nothing, and what clients say over it.
pub(crate) fn tapped(bmc: u16) -> (Line, Arc<Mutex<Vec<Vec<u8>>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    let line = Line::to(
        bmc,
        free_port(),
        Box::new(move |direction, _, datagram| {
            if let Direction::Up = direction {
                ear.lock().unwrap().push(datagram.to_vec());
            }
            Fate::Passes
        }),
    );
    line.gets_bad();
    (line, heard)
}

/// A line on which all that a client says comes twice, the second time behind what it says next.
pub(crate) fn stammering(bmc: u16) -> Line {
    let line = Line::to(
        bmc,
        free_port(),
        Box::new(|direction, _, _| match direction {
            Direction::Up => Fate::DoubledLate,
            Direction::Down => Fate::Passes,
        }),
    );
    line.gets_bad();
    line
}

/// Knows the password, and so the key that the two ends have agreed upon (v2.0 sections 13.31 and
/// 13.32), in cipher suite 17.
#[derive(Default)]
struct Listener {
    /// Of RAKP Message 1: random number, role, length of name, name.
    console: Vec<u8>,
    key: [u8; 16],
}

impl Listener {
    /// The sequence number of a SOL packet of the BMC's, and the one that it acknowledges.
    fn sol_packet(&mut self, direction: Direction, datagram: &[u8]) -> Option<[u8; 2]> {
        // Behind RMCP's 4 bytes: format, payload type, session ID and sequence number, length.
        let payload = datagram.get(16..)?;
        match (direction, datagram[5] & 0x3F) {
            (Direction::Up, 0x12) => {
                self.console = [&payload[8..25], &payload[27..]].concat();
                None
            }
            (Direction::Down, 0x13) => {
                let (random, name) = self.console.split_at(16);
                let sik = hmac(PASSWORD.as_bytes(), &[random, payload.get(8..24)?, name]);
                self.key.copy_from_slice(&hmac(&sik, &[&[2; 20]])[..16]);
                None
            }
            (Direction::Down, 0x01) => {
                let (iv, blocks) = payload.split_first_chunk::<16>()?;
                let mut block = *blocks.first_chunk::<16>()?;
                let first = cbc::Decryptor::<Aes128>::new(&self.key.into(), iv.into())
                    .decrypt_padded::<NoPadding>(&mut block)
                    .unwrap();
                first.first_chunk().copied()
            }
            _ => None,
        }
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac: Hmac<sha2::Sha256> = KeyInit::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

impl Line {
    fn to(bmc: u16, port: u16, badness: Badness) -> Self {
        let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        inside.connect((Ipv4Addr::LOCALHOST, bmc)).unwrap();
        for socket in [&outside, &inside] {
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        }
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = Some(thread::spawn(move || relay(&outside, &inside, &shared, badness)));
        Self { port, state, thread }
    }

    fn gets_bad(&self) {
        self.state.bad.store(true, Ordering::Relaxed);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        let result = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(result, Some(Err(_))) || thread::panicking(), "the line has panicked");
    }
}

/// Passes one datagram on, as its fate is, and what has waited for it.
fn pass(
    fate: Fate,
    counters: &Counters,
    datagram: &[u8],
    late: &mut Option<(Instant, Vec<u8>)>,
    send: impl Fn(&[u8]),
) {
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    let (copies, later) = match fate {
        Fate::Lost => {
            count(&counters.lost);
            return;
        }
        // One after the other: what is late already goes now.
        Fate::Late if late.is_none() => {
            count(&counters.late);
            (0, true)
        }
        Fate::Passes | Fate::Late => (1, false),
        Fate::Doubled => {
            count(&counters.doubled);
            (2, false)
        }
        Fate::DoubledLate => {
            count(&counters.doubled);
            (1, true)
        }
    };
    for _ in 0..copies {
        send(datagram);
    }
    if copies > 0
        && let Some((_, datagram)) = late.take()
    {
        send(&datagram);
    }
    if later {
        *late = Some((Instant::now(), datagram.to_vec()));
    }
}

/// What nothing has overtaken within this time goes on by itself.
const SOON_ENOUGH: Duration = Duration::from_millis(20);

fn relay(outside: &UdpSocket, inside: &UdpSocket, state: &State, mut badness: Badness) {
    let mut buffer = [0; 2048];
    let mut client: Option<SocketAddr> = None;
    let (mut late_up, mut late_down) = (None, None);
    let start = Instant::now();
    let mut fate = |direction, datagram: &[u8]| {
        let fate = badness(direction, start.elapsed(), datagram);
        if state.bad.load(Ordering::Relaxed) { fate } else { Fate::Passes }
    };
    let is_due = |(since, _): &mut (Instant, Vec<u8>)| since.elapsed() > SOON_ENOUGH;
    while !state.over.load(Ordering::Relaxed) {
        if let Some((_, datagram)) = late_up.take_if(is_due) {
            inside.send(&datagram).unwrap();
        }
        if let (Some((_, datagram)), Some(client)) = (late_down.take_if(is_due), client) {
            outside.send_to(&datagram, client).unwrap();
        }
        if let Ok((len, from)) = outside.recv_from(&mut buffer) {
            client = Some(from);
            let send = |datagram: &[u8]| assert_eq!(inside.send(datagram).unwrap(), datagram.len());
            let datagram = &buffer[..len];
            pass(fate(Direction::Up, datagram), &state.up, datagram, &mut late_up, send);
        }
        if let (Ok(len), Some(client)) = (inside.recv(&mut buffer), client) {
            let send = |datagram: &[u8]| {
                assert_eq!(outside.send_to(datagram, client).unwrap(), datagram.len());
            };
            let datagram = &buffer[..len];
            pass(fate(Direction::Down, datagram), &state.down, datagram, &mut late_down, send);
        }
    }
}

/// The demo guest behind a line that is good yet, and its shell on ipmitool's SOL over it, with this
/// cipher suite.
fn demo(badness: Badness, suite: &str) -> (Machine, Line, Terminal) {
    let port = free_port();
    // The client goes away when SOL is at another port than the one that it talks to.
    let machine = Setup::demo().set(format!("ipmi.advertised_port={port}")).start();
    let line = Line::to(machine.port(), port, badness);
    let mut sol = sol_at(line.port, &["-C", suite]);
    machine.power("on");
    sol.expect_guest();
    (machine, line, sol)
}

fn more_than(counters: [&AtomicUsize; 4], count: usize) -> bool {
    counters.iter().all(|counter| counter.load(Ordering::Relaxed) > count)
}

#[test]
fn sol_over_a_bad_line_loses_and_doubles_nothing() {
    let (_machine, line, mut sol) = demo(spells(), "3");
    line.gets_bad();
    let numbers: String = (1..=2000).map(|number| format!("{number}\r\n")).collect();
    let State { up, down, .. } = &*line.state;
    let is_bad_enough = || more_than([&up.lost, &up.doubled, &down.lost, &down.doubled], 15);
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

#[test]
fn sol_puts_up_with_a_tenth_lost_and_another_in_disorder_both_ways() {
    let (_machine, line, mut sol) = demo(one_in_ten(), "17");
    line.gets_bad();
    let numbers: String = (1..=10_000).map(|number| format!("{number}\r\n")).collect();
    let State { up, down, .. } = &*line.state;
    let mut rounds = 0;
    while !more_than([&up.lost, &up.late, &down.lost, &down.late], 20) {
        rounds += 1;
        assert!(rounds < 20, "the line was not bad enough");
        sol.type_line("seq 1 10000 | cat");
        sol.expect_within(BOOT, " | cat\r\n");
        assert!(sol.expect_within(BOOT, PROMPT) == numbers, "output with a hole, or in disorder");
    }

    // Some packets that are full, each of which ipmitool repeats after 1 s only.
    let lines: Vec<String> = (1..=60).map(|line| format!("{line:-<62}")).collect();
    sol.type_line("stty -echo; echo ready; cat > /tmp/pasted; stty echo");
    sol.expect_within(BOOT, "\r\nready\r\n");
    sol.press(&lines.join("\r"));
    sol.press("\r\u{4}");
    sol.expect_within(BOOT, PROMPT);
    sol.type_line("cat /tmp/pasted");
    sol.expect_within(BOOT, "cat /tmp/pasted\r\n");
    let expected: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    assert_eq!(sol.expect_within(BOOT, PROMPT), expected);
}
