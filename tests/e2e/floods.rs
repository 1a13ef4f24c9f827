//! Bad neighbours: who sends what he likes, as fast as it is taken, and administrators beside him.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{ADMIN, ipmitool_at};
use crate::command::run;
use crate::lossy::{stammering, tapped};
use crate::machine::{Machine, Setup, USER};
use crate::namespace::Namespace;
use crate::processes;
use crate::terminal::Terminal;
use crate::wait::{SOON, wait_until};

/// An ASF presence ping, and what its answer begins with.
const PING: [u8; 12] = [6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x80, 7, 0, 0];
/// How many datagrams go out before a ping is to be answered: as many as the kernel keeps for the
/// program. What is sent beyond is lost before anybody can judge it.
const BATCH: usize = 64;
/// What the program may grow by: tables that have been filled once.
const ROOM_KIB: u64 = 2048;

fn rss_kib(machine: &Machine) -> u64 {
    processes::rss_kib(machine.pid())
}

fn descriptors(machine: &Machine) -> usize {
    fs::read_dir(format!("/proc/{}/fd", machine.pid())).unwrap().count()
}

/// Sockets with an address each, none of them the administrator's.
fn neighbours(machine: &Machine, count: u32) -> Vec<UdpSocket> {
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    let open = |number| {
        let socket = UdpSocket::bind((Ipv4Addr::from(first + number), 0)).unwrap();
        socket.connect(("127.0.0.1", machine.port())).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket
    };
    (0..count).map(open).collect()
}

/// Whether this is what anybody may hear: a pong, or an answer outside a session, without keys.
fn is_for_anyone(answer: &[u8]) -> bool {
    answer[3] & 0x1F == 6 || answer[4..6] == [6, answer[5] & 0x3F] && answer[6..14] == [0; 8]
}

/// Waits until all that was sent before is judged. A ping can be lost, as the administrator's packets
/// come between.
fn catch_up(socket: &UdpSocket) {
    let mut answer = [0; 2048];
    for _ in 0..20 {
        socket.send(&PING).unwrap();
        while let Ok(len) = socket.recv(&mut answer) {
            assert!(is_for_anyone(&answer[..len]), "a stranger is told {:02x?}", &answer[..len]);
            if len == 28 && answer[3..10] == [6, 0, 0, 0x11, 0xBE, 0x40, 7] {
                return;
            }
        }
    }
    panic!("no pong");
}

/// Sends what `datagram` makes of the numbers to `count`, of all neighbours in turn.
fn send_all(neighbours: &[UdpSocket], count: usize, datagram: impl Fn(usize) -> Vec<u8>) {
    for number in 0..count {
        let socket = &neighbours[number % neighbours.len()];
        socket.send(&datagram(number)).unwrap();
        if number % BATCH == BATCH - 1 {
            catch_up(socket);
        }
    }
}

/// While `flood` goes on, administrators do this again and again; after it, the program is as big as
/// before.
fn beside(machine: &Machine, flood: impl FnOnce() + Send, mut administer: impl FnMut()) {
    administer();
    let (rss, open) = (rss_kib(machine), descriptors(machine));
    let sessions = machine.status()["sessions"].clone();
    let rounds = thread::scope(|scope| {
        let flood = scope.spawn(flood);
        let mut rounds = 0;
        while !flood.is_finished() {
            administer();
            rounds += 1;
        }
        flood.join().unwrap();
        rounds
    });
    assert!(rounds >= 3, "only {rounds} while the flood was there");
    wait_until("the sessions are closed", SOON, || machine.status()["sessions"] == sessions);
    let after = rss_kib(machine);
    eprintln!("{rounds} rounds, {rss} KiB before and {after} KiB after");
    assert!(after <= rss + ROOM_KIB, "{rss} KiB before and {after} KiB after");
    wait_until("no more descriptors", SOON, || descriptors(machine) <= open);
}

/// One try, and no more.
const ONE_TRY: [&str; 6] = ["-R", "1", "-N", "5", "mc", "info"];

/// While `datagram` makes `count` datagrams of neighbours, administrators log in.
fn under(
    machine: &Machine,
    neighbours: &[UdpSocket],
    count: usize,
    datagram: impl Fn(usize) -> Vec<u8> + Sync,
) {
    let flood = || send_all(neighbours, count, &datagram);
    beside(machine, flood, || drop(machine.ipmitool(&ONE_TRY).succeeds()));
}

/// An Open Session Request that is no repetition.
fn open_session(number: usize) -> Vec<u8> {
    let mut out = vec![6, 0, 0xFF, 7, 6, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0];
    out.extend([0, 0, 0, 0]);
    out.extend(u32::try_from(number + 1).unwrap().to_le_bytes());
    for (kind, algorithm) in [(0, 1), (1, 1), (2, 1)] {
        out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
    out
}

#[test]
fn a_hundred_thousand_half_open_handshakes_keep_no_administrator_out() {
    let machine = Setup::bare().start();
    // All from one place, and from some.
    for count in [1, 400] {
        under(&machine, &neighbours(&machine, count), 25_000, open_session);
    }
    // From more places than there is room for attempts, of which none hears an answer.
    let judge = neighbours(&machine, 1);
    let flood = || {
        for number in 0..50_000 {
            let place = u32::from(Ipv4Addr::new(127, 2, 0, 1)) + u32::try_from(number).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::from(place), 0)).unwrap();
            socket.send_to(&open_session(number), ("127.0.0.1", machine.port())).unwrap();
            if number % BATCH == BATCH - 1 {
                catch_up(&judge[0]);
            }
        }
    };
    beside(&machine, flood, || drop(machine.ipmitool(&ONE_TRY).succeeds()));
}

/// What a stranger may send, made from its number.
fn nonsense(number: usize) -> Vec<u8> {
    let mut state = u64::try_from(number).unwrap();
    let mut next = || {
        // A linear congruential generator (Knuth's MMIX).
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    let mut noise = |len: usize| -> Vec<u8> { (0..len).map(|_| next()).collect() };
    match number % 6 {
        0 => noise(number % 600),
        // Oversized.
        1 => noise(1400 + number % 7 * 1000),
        // A session that is not his, in RMCP+ with both flags, and in IPMI 1.5.
        2 => [&[6, 0, 0xFF, 7, 6, 0xC0][..], &noise(8), &[16, 0], &noise(34)].concat(),
        3 => [&[6, 0, 0xFF, 7, 2][..], &noise(24), &[7], &noise(7)].concat(),
        // Truncated.
        4 => open_session(number)[..number % 48].to_vec(),
        // RAKP Messages 1 and 3 to sessions that are not there.
        _ => {
            let kind = if number % 12 == 5 { 0x12 } else { 0x14 };
            let head = [6, 0, 0xFF, 7, 6, kind, 0, 0, 0, 0, 0, 0, 0, 0, 28, 0];
            [&head[..], &noise(28)].concat()
        }
    }
}

#[test]
fn nonsense_as_fast_as_it_is_judged_disturbs_nobody() {
    let machine = Setup::bare().start();
    under(&machine, &neighbours(&machine, 16), 100_000, nonsense);
    let dropped = machine.status()["dropped_datagrams"].as_u64().unwrap();
    assert!(dropped > 30_000, "{dropped}");
}

/// The payload of the answer to a message of the set-up.
fn ask(socket: &UdpSocket, kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_le_bytes();
    let head = [6, 0, 0xFF, 7, 6, kind, 0, 0, 0, 0, 0, 0, 0, 0];
    let datagram = [&head[..], &len, payload].concat();
    let mut answer = [0; 2048];
    for _ in 0..20 {
        socket.send(&datagram).unwrap();
        while let Ok(len) = socket.recv(&mut answer) {
            assert!(is_for_anyone(&answer[..len]));
            if answer[5] == kind + 1 {
                return answer[16..len].to_vec();
            }
        }
    }
    panic!("no answer to {payload:02x?}");
}

/// A login with a wrong password, as far as it comes: the status of RAKP Message 2, or of 4.
fn guess(socket: &UdpSocket, number: usize, user: &str) -> u8 {
    let opened = ask(socket, 0x10, &open_session(number)[16..]);
    assert_eq!(opened[1], 0);
    let id = &opened[8..12];
    let name = [0x14, 0, 0, u8::try_from(user.len()).unwrap()];
    let rakp1 = [&[0x22, 0, 0, 0][..], id, &[0x5A; 16], &name, user.as_bytes()].concat();
    let status = ask(socket, 0x12, &rakp1)[1];
    if status != 0 {
        return status;
    }
    ask(socket, 0x14, &[&[0x33, 0, 0, 0][..], id, &[0; 20]].concat())[1]
}

#[test]
fn ten_thousand_wrong_passwords_keep_no_administrator_out() {
    /// As the profile has it when it says nothing.
    const THRESHOLD: usize = 20;
    /// What is told at once, and what is told in each second.
    const LINES: usize = 32;
    let machine = Setup::bare().set("ipmi.lockout_interval_s=3600").start();
    let login = || drop(machine.ipmitool(&ONE_TRY).succeeds());
    let places = neighbours(&machine, 251);
    let (one, many) = places.split_first().unwrap();
    let judged = AtomicUsize::new(0);
    let count = |status| match status {
        0x0F => drop(judged.fetch_add(1, Ordering::Relaxed)),
        status => assert_eq!(status, 0x0D),
    };
    let start = Instant::now();
    beside(&machine, || (0..10_000).for_each(|number| count(guess(one, number, USER))), login);
    assert_eq!(judged.swap(0, Ordering::Relaxed), THRESHOLD, "the rest was not even tried");
    // From elsewhere each time, and each time anew.
    let flood = || {
        for number in 0..5000 {
            count(guess(&many[number % many.len()], number, USER));
        }
    };
    beside(&machine, flood, login);
    assert_eq!(judged.into_inner(), 5000);
    machine.expect_log("is locked out from 127.1.0.1 for 3600 s: too many bad passwords");
    let log = machine.log();
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    for line in ["login refused: wrong password", "too many bad passwords"] {
        let told = log.matches(line).count();
        assert!((1..=LINES + seconds + 1).contains(&told), "{told} times {line}");
    }
    wait_until("it is told how many are not", SOON, || {
        guess(one, 0, "nobody");
        machine.log().contains("refused logins that are not in this log")
    });
}

#[test]
fn what_others_have_said_does_nothing_when_it_is_said_again() {
    let machine = Setup::bare().start();
    let (line, heard) = tapped(machine.port());
    run(ipmitool_at(line.port, ADMIN).args(ONE_TRY)).succeeds();
    let mut shell = Terminal::open(ipmitool_at(line.port, ADMIN).arg("shell"));
    shell.expect("ipmitool> ");
    for name in ["early", "late"] {
        shell.type_line(&format!("user set name 5 {name}"));
        shell.expect("ipmitool> ");
    }
    machine.ipmitool(&["user", "list", "1"]).succeeds().says("late");
    // All of RMCP+: of a session that is over, and of one that is open.
    let heard: Vec<_> = heard.lock().unwrap().iter().filter(|said| said[4] == 6).cloned().collect();
    let is_protected = |said: &Vec<u8>| said[5] & 0xC0 == 0xC0;
    assert!(heard.iter().filter(|said| is_protected(said)).count() > 6, "{heard:02x?}");
    assert!(heard.iter().filter(|said| !is_protected(said)).count() >= 6, "{heard:02x?}");
    let said_again = |number: usize| {
        let (kind, nth) = (number % 6, number / 6 % heard.len());
        let mut said = heard[nth].clone();
        match kind {
            // As it was, in order, and backwards.
            0 => {}
            1 => said.clone_from(&heard[heard.len() - 1 - nth]),
            // The number of another packet, and of one that is still to come.
            2 => said[10..14].copy_from_slice(&u32::try_from(number).unwrap().to_le_bytes()),
            // Without what protects it.
            3 => said[5] &= 0x3F,
            // Another's session.
            4 => said[6] ^= u8::try_from(number % 255).unwrap() + 1,
            _ => *said.last_mut().unwrap() ^= 1,
        }
        said
    };
    let places = neighbours(&machine, 16);
    let bad = stammering(machine.port());
    let flood = || send_all(&places, 400_000, said_again);
    beside(&machine, flood, || {
        drop(machine.ipmitool(&ONE_TRY).succeeds());
        run(ipmitool_at(bad.port, ADMIN).args(ONE_TRY)).succeeds();
        shell.type_line("mc guid");
        shell.expect("System GUID");
        shell.expect("ipmitool> ");
    });
    assert_eq!(machine.status()["sessions"], 1);
    machine.ipmitool(&["user", "list", "1"]).succeeds().says("late");
    let log = machine.log();
    assert_eq!(log.matches("Set User Name").count(), 2, "{log}");
    let dropped = machine.status()["dropped_datagrams"].as_u64().unwrap();
    assert!(dropped > 100_000, "{dropped}");
}

#[test]
fn a_lock_out_is_for_the_place_that_the_bad_passwords_came_from() {
    let namespace = Namespace::new();
    // What is sent to it from here comes from it.
    namespace.ip("address add 192.0.2.9/32 dev lo");
    let setup =
        Setup::bare().set("ipmi.bad_password_threshold=3").set("ipmi.lockout_interval_s=3600");
    let machine = namespace.machine(setup);
    for _ in 0..3 {
        namespace.ipmitool(&machine, &["-P", "wrong", "mc", "info"]).fails();
    }
    machine.expect_log("is locked out from 127.0.0.1 for 3600 s: too many bad passwords");
    namespace.ipmitool(&machine, &["mc", "info"]).fails();
    machine.ctl(&["sel", "list"]).succeeds().says("locked out from 127.0.0.1");
    let elsewhere = ["-H", "192.0.2.9", "mc", "info"];
    namespace.ipmitool(&machine, &elsewhere).succeeds().has_field("Device ID", "32");
    machine.expect_log("from=192.0.2.9:");
}
