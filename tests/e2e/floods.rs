//! Bad neighbours: who sends what he likes, as fast as it is taken, and administrators beside him.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::machine::{Machine, Setup};
use crate::namespace::Namespace;
use crate::processes;
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

/// Waits until all that was sent before is judged. A ping can be lost, as the administrator's packets
/// come between.
fn catch_up(socket: &UdpSocket) {
    let mut answer = [0; 2048];
    for _ in 0..20 {
        socket.send(&PING).unwrap();
        while let Ok(len) = socket.recv(&mut answer) {
            if len == 28 && answer[3..10] == [6, 0, 0, 0x11, 0xBE, 0x40, 7] {
                return;
            }
        }
    }
    panic!("no pong");
}

/// While `datagram` makes `count` datagrams of neighbours, administrators log in; after it, the program
/// is as big as before.
fn under(
    machine: &Machine,
    neighbours: &[UdpSocket],
    count: usize,
    datagram: impl Fn(usize) -> Vec<u8> + Sync,
) {
    machine.ipmitool(&["mc", "info"]).succeeds();
    let (rss, open) = (rss_kib(machine), descriptors(machine));
    let sent = AtomicUsize::new(0);
    let logins = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            for number in 0..count {
                let socket = &neighbours[number % neighbours.len()];
                socket.send(&datagram(number)).unwrap();
                sent.store(number + 1, Ordering::Relaxed);
                if number % BATCH == BATCH - 1 {
                    catch_up(socket);
                }
            }
        });
        let mut logins = 0;
        while !flood.is_finished() {
            // One try each, and no more.
            machine.ipmitool(&["-R", "1", "-N", "5", "mc", "info"]).succeeds();
            logins += 1;
        }
        flood.join().unwrap();
        logins
    });
    assert!(logins >= 3, "only {logins} while {count} datagrams came");
    assert_eq!(sent.load(Ordering::Relaxed), count);
    wait_until("the sessions are closed", SOON, || machine.status()["sessions"] == 0);
    let after = rss_kib(machine);
    eprintln!("{count} datagrams, {logins} logins, {rss} KiB before and {after} KiB after");
    assert!(after <= rss + ROOM_KIB, "{rss} KiB before and {after} KiB after");
    wait_until("no more descriptors", SOON, || descriptors(machine) <= open);
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
    // All from one place, and from more places than there is room for attempts.
    for count in [1, 400] {
        under(&machine, &neighbours(&machine, count), 50_000, open_session);
    }
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
fn nonsense_at_full_speed_disturbs_nobody() {
    let machine = Setup::bare().start();
    under(&machine, &neighbours(&machine, 16), 100_000, nonsense);
    let dropped = machine.status()["dropped_datagrams"].as_u64().unwrap();
    assert!(dropped > 30_000, "{dropped}");
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
