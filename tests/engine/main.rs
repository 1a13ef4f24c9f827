//! The engine against consoles in memory, with a clock of the test's own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod boot;
mod channel;
mod console;
mod device;
mod in_band;
mod lan;
mod lockout;
mod names;
mod readings;
mod robustness;
mod sensors;
mod setup;
mod sol_config;
mod sol_encryption;
mod storage;
mod story;
mod suites;
mod table;
mod users;
mod v15;
mod vector_engine;
mod vectors;
mod watchdog;

use std::time::Duration;

use console::{Refused, Rig, Session, Suite, admin, login, message, open, setup, v15_datagram};
use qemu_bmc::bmc::event::{Request, Watch};
use qemu_bmc::machine::{self, Event, StartCause, Status, StopCause};

const CHASSIS: u8 = 0x00;
const APP: u8 = 0x06;

const ON: Status = Status::ON;

fn switched_on(rig: &mut Rig) {
    let now = rig.now;
    rig.bmc.handle_machine(now, ON, &Event::Started(StartCause::PowerOn));
}

#[test]
fn login_with_each_suite_role_and_level() {
    for suite in [Suite::Three, Suite::Seventeen] {
        // Name only or not; a level, or "the highest".
        for role in [0x14, 0x04, 0x10, 0x12] {
            let mut rig = Rig::new();
            let mut session = login(&mut rig, suite, "admin", "admin-secret", role).unwrap();
            let (code, data) = session.command(&mut rig, APP, 0x01, &[]);
            assert_eq!((code, data.len()), (0, 15));
            assert_eq!(rig.bmc.open_sessions(), 1);
        }
    }
}

#[test]
fn the_console_may_leave_the_choice_of_algorithms() {
    let mut rig = Rig::new();
    let mut request = console::open_session_request(4, [0, 0, 0]);
    for index in 0..3 {
        request[8 + 8 * index + 3] = 0;
    }
    let answer = setup(&mut rig, 0x10, &request);
    assert_eq!(answer[1], 0);
    assert_eq!([answer[16], answer[24], answer[32]], [1, 1, 1], "suite 3, which all know");
    assert_eq!([answer[15], answer[23], answer[31]], [8, 8, 8]);
}

#[test]
fn suites_that_are_not_offered_are_refused_by_status_11h() {
    // Suite 0, 1, 2, RC4, and suite 3's parts put together anew.
    for algorithms in [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 2], [3, 1, 1], [1, 4, 1]] {
        let mut rig = Rig::new();
        let request = console::open_session_request(0, algorithms);
        let answer = setup(&mut rig, 0x10, &request);
        assert_eq!((answer.len(), answer[1]), (8, 0x11), "{algorithms:?}");
    }
}

#[test]
fn who_cannot_log_in_is_told_why() {
    let mut rig = Rig::new();
    let mut try_login = |name: &str, password: &str, role| {
        login(&mut rig, Suite::Three, name, password, role).err()
    };
    assert_eq!(try_login("nobody", "x", 0x14), Some(Refused::Rakp2(0x0D)));
    assert_eq!(try_login("", "", 0x14), Some(Refused::Rakp2(0x0D)), "no anonymous user");
    assert_eq!(try_login("admin", "wrong", 0x14), Some(Refused::Rakp2Code));
    assert_eq!(try_login("operator", "operator-secret", 0x14), Some(Refused::Rakp2(0x09)));
    assert_eq!(try_login("operator", "operator-secret", 0x13), None);
    assert_eq!(try_login("admin", "admin-secret", 0x15), Some(Refused::Rakp2(0x09)));
    assert_eq!(
        login(&mut rig, Suite::Three, "a-name-of-17-bytes", "", 0x14).err(),
        Some(Refused::Rakp2(0x0C))
    );
}

#[test]
fn a_wrong_rakp3_code_is_refused_and_ends_the_attempt() {
    let mut rig = Rig::new();
    let id = open(&mut rig, 0, Suite::Three).unwrap();
    setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
    let mut rakp3 = vec![0x33, 0, 0, 0];
    rakp3.extend(id.to_le_bytes());
    rakp3.extend([0; 20]);
    assert_eq!(setup(&mut rig, 0x14, &rakp3)[1], 0x0F);
    assert_eq!(setup(&mut rig, 0x14, &rakp3)[1], 0x02, "the session is gone");
    assert_eq!(rig.bmc.open_sessions(), 0);
}

#[test]
fn an_empty_rakp3_code_opens_nothing() {
    let mut rig = Rig::new();
    let id = open(&mut rig, 0, Suite::Three).unwrap();
    setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
    let mut rakp3 = vec![0x33, 0, 0, 0];
    rakp3.extend(id.to_le_bytes());
    assert_eq!(setup(&mut rig, 0x14, &rakp3)[1], 0x0F);
}

#[test]
fn repeated_setup_messages_are_answered_the_same() {
    let mut rig = Rig::new();
    let request = console::open_session_request(0, [1, 1, 1]);
    let first = setup(&mut rig, 0x10, &request);
    assert_eq!(setup(&mut rig, 0x10, &request), first);
    let id = u32::from_le_bytes(first[8..12].try_into().unwrap());
    let rakp1 = console::rakp1(id, 0x14, "admin");
    let first = setup(&mut rig, 0x12, &rakp1);
    assert_eq!(setup(&mut rig, 0x12, &rakp1), first);
    // A console falls back to a lower level in the same session: a new random number, a new code.
    let lower = setup(&mut rig, 0x12, &console::rakp1(id, 0x13, "admin"));
    assert_eq!(lower[1], 0);
    assert_ne!(lower[8..24], first[8..24]);
}

/// As FreeIPMI repeats them, when an answer is lost or late.
#[test]
fn setup_messages_that_are_repeated_under_another_tag_are_answered_under_it() {
    let mut rig = Rig::new();
    let id = open(&mut rig, 0, Suite::Three).unwrap();
    let again = |rig: &mut Rig, kind: u8, message: &[u8]| {
        let first = setup(rig, kind, message);
        assert_eq!(first[1], 0);
        let tagged = [&[message[0] + 1], &message[1..]].concat();
        let second = setup(rig, kind, &tagged);
        assert_eq!(second, [&[tagged[0]], &first[1..]].concat());
        first
    };
    let rakp2 = again(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
    let login = ("admin", "admin-secret");
    again(&mut rig, 0x14, &console::rakp3(Suite::Three, &rakp2, id, login, 0x14));
    assert_eq!(rig.bmc.open_sessions(), 1);
}

#[test]
fn privilege_starts_at_user_and_is_raised_within_the_limit() {
    let mut rig = Rig::new();
    switched_on(&mut rig);
    let mut session = login(&mut rig, Suite::Three, "operator", "operator-secret", 0x13).unwrap();
    assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[3]).0, 0xD4, "still user");
    assert_eq!(session.command(&mut rig, APP, 0x3B, &[4]).0, 0x81);
    assert_eq!(session.command(&mut rig, APP, 0x3B, &[0]), (0, vec![2]));
    assert_eq!(session.command(&mut rig, APP, 0x3B, &[3]), (0, vec![3]));
    assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[3]).0, 0);
    assert_eq!(rig.power_requests(), [machine::Request::Reset]);
    // What no one knows is C1h whatever the level: ipmitool probes at every login.
    let mut session = login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    assert_eq!(session.command(&mut rig, 0x2C, 0x3E, &[0, 2]).0, 0xC1);
}

#[test]
fn power_requests_conflict_or_repeat() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    let mut control =
        |rig: &mut Rig, operation| session.command(rig, CHASSIS, 0x02, &[operation]).0;
    assert_eq!(control(&mut rig, 2), 0xD5, "cycle while off");
    assert_eq!(control(&mut rig, 3), 0xD5);
    assert_eq!(control(&mut rig, 0), 0x00, "off while off");
    assert_eq!(control(&mut rig, 6), 0xCC);
    assert_eq!(control(&mut rig, 1), 0x00);
    assert_eq!(control(&mut rig, 3), 0xC0, "the machine has not said that it is on");
    answered(&mut rig, Status { operation: Some(machine::Request::On), ..ON });
    assert_eq!(control(&mut rig, 3), 0xC0);
    switched_on(&mut rig);
    assert_eq!(control(&mut rig, 1), 0x00, "on while on");
    assert_eq!(control(&mut rig, 2), 0x00);
    assert_eq!(control(&mut rig, 2), 0x00, "the same again");
    assert_eq!(control(&mut rig, 1), 0xC0);
}

/// The machine has all that was asked of it, and this is how it is then.
fn answered(rig: &mut Rig, status: Status) {
    for request in rig.requests() {
        if let Request::Power(request, origin) = request {
            let event = Event::Requested(request, origin, Ok(()));
            rig.bmc.handle_machine(rig.now, status, &event);
        }
    }
}

#[test]
fn what_was_accepted_counts_whatever_the_machine_says_of_before() {
    let mut rig = Rig::new();
    switched_on(&mut rig);
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    let mut control =
        |rig: &mut Rig, operation| session.command(rig, CHASSIS, 0x02, &[operation]).0;
    assert_eq!(control(&mut rig, 0), 0x00);
    // It was on its way already.
    rig.bmc.handle_machine(rig.now, ON, &Event::Changed);
    assert_eq!(control(&mut rig, 1), 0xC0, "it would be refused by the machine, and nobody told");
    answered(&mut rig, Status { operation: Some(machine::Request::Off), ..ON });
    assert_eq!(control(&mut rig, 1), 0xC0);
    rig.bmc.handle_machine(rig.now, Status::OFF, &Event::Stopped(StopCause::Request));
    assert_eq!(control(&mut rig, 1), 0x00);
}

#[test]
fn chassis_status_is_the_last_known_state_at_once() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    let off = session.command(&mut rig, CHASSIS, 0x01, &[]);
    assert_eq!(off, (0, vec![0x40, 0x00, 0x40, 0xF0]), "off; restore policy always-on");
    switched_on(&mut rig);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x01, &[]).1, [0x41, 0x00, 0x40, 0xF0]);
    let crashed = Status { fault: true, ..Status::OFF };
    let now = rig.now;
    rig.bmc.handle_machine(now, crashed, &Event::Changed);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x01, &[]).1, [0x48, 0x08, 0x40, 0xF0]);
}

#[test]
fn a_repeated_request_is_answered_and_not_executed() {
    let mut rig = Rig::new();
    switched_on(&mut rig);
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    session.request_sequence += 1;
    let reset = message(CHASSIS, 0x02, session.request_sequence, &[3]);
    for _ in 0..3 {
        // As a client repeats: same request sequence number, new session sequence number.
        let datagram = session.seal(0, &reset);
        let [answer] = &rig.exchange(&datagram)[..] else { panic!() };
        let (_, response) = session.unseal(answer);
        assert_eq!(session.response(CHASSIS, 0x02, &response), (0, vec![]));
    }
    assert_eq!(rig.power_requests(), [machine::Request::Reset]);
    // The same operation later, under the next number, is a new request.
    assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[3]).0, 0);
    assert_eq!(rig.requests().len(), 1);
}

#[test]
fn replayed_tampered_and_plain_packets_get_no_answer() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    let status = message(CHASSIS, 0x01, 9, &[]);
    let datagram = session.seal(0, &status);
    let [answer] = &rig.exchange(&datagram)[..] else { panic!() };
    session.unseal(answer);
    assert_eq!(rig.exchange(&datagram).len(), 0, "replayed");

    let datagram = session.seal(0, &status);
    for index in 4..datagram.len() {
        let mut tampered = datagram.clone();
        tampered[index] ^= 1;
        assert_eq!(rig.exchange(&tampered).len(), 0, "byte {index}");
    }
    let [answer] = &rig.exchange(&datagram)[..] else { panic!("the untampered one is good") };
    session.unseal(answer);

    // A flag cleared and all else right, AuthCode included.
    for flags in [0x80, 0x40, 0x00] {
        session.sequence += 1;
        let mut datagram = session.seal_as(session.sequence, 0, &status);
        let covered = 16 + usize::from(u16::from_le_bytes([datagram[14], datagram[15]]));
        datagram.truncate(covered);
        datagram[5] = flags;
        let datagram = session.sign(datagram);
        assert_eq!(rig.exchange(&datagram).len(), 0, "{flags:#x}");
    }

    // Plain, but with a right AuthCode; and plain without one.
    for flags in [0x40, 0x00] {
        session.sequence += 1;
        let mut plain = vec![6, 0, 0xFF, 7, 6, flags];
        plain.extend(session.managed_id.to_le_bytes());
        plain.extend(session.sequence.to_le_bytes());
        plain.extend(u16::try_from(status.len()).unwrap().to_le_bytes());
        plain.extend(&status);
        let datagram = if flags == 0 { plain } else { session.sign(plain) };
        assert_eq!(rig.exchange(&datagram).len(), 0, "{flags:#x}");
    }
    assert_eq!(session.command(&mut rig, CHASSIS, 0x01, &[]).0, 0);
}

#[test]
fn late_packets_are_taken_once_in_any_order() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    let datagrams: Vec<Vec<u8>> =
        (0..10).map(|sequence| session.seal(0, &message(CHASSIS, 0x01, sequence, &[]))).collect();
    for index in [3, 1, 0, 2, 9, 8, 7, 4, 5, 6] {
        assert_eq!(rig.exchange(&datagrams[index]).len(), 1);
    }
    for datagram in &datagrams {
        assert_eq!(rig.exchange(datagram).len(), 0);
    }
}

#[test]
fn sessions_end_by_close_and_by_silence() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    let id = session.managed_id.to_le_bytes();
    assert_eq!(session.command(&mut rig, APP, 0x3C, &id), (0, vec![]));
    assert_eq!(rig.bmc.open_sessions(), 0);
    let status = message(CHASSIS, 0x01, 9, &[]);
    let datagram = session.seal(0, &status);
    assert_eq!(rig.exchange(&datagram).len(), 0);

    let mut session = admin(&mut rig);
    rig.pass(Duration::from_secs(59));
    assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0);
    rig.pass(Duration::from_secs(59));
    assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0, "use keeps it alive");
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.bmc.open_sessions(), 0);
    assert_eq!(rig.bmc.poll_timeout(), None, "nothing is left to wait for");
}

#[test]
fn only_an_administrator_closes_the_session_of_another() {
    let mut rig = Rig::new();
    let mut victim = admin(&mut rig);
    let id = victim.managed_id.to_le_bytes();
    let mut user = login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    assert_eq!(user.command(&mut rig, APP, 0x3C, &id).0, 0xD4);
    assert_eq!(victim.command(&mut rig, APP, 0x01, &[]).0, 0);
    let mut other = admin(&mut rig);
    other.command(&mut rig, APP, 0x3B, &[4]);
    assert_eq!(other.command(&mut rig, APP, 0x3C, &0_u32.to_le_bytes()).0, 0x87);
    assert_eq!(other.command(&mut rig, APP, 0x3C, &id).0, 0);
    assert_eq!(rig.bmc.open_sessions(), 2);
}

#[test]
fn half_open_sessions_expire_and_keep_nobody_out() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    for index in 1..=10_000_u32 {
        // Another tag each time: a new attempt, not a repetition.
        let mut request = console::open_session_request(0, [1, 1, 1]);
        request[0] = index.to_le_bytes()[0];
        request[4..8].copy_from_slice(&index.to_le_bytes());
        assert_eq!(setup(&mut rig, 0x10, &request)[1], 0);
    }
    assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0, "an open session stays");
    admin(&mut rig);
    let id = open(&mut rig, 0, Suite::Three).unwrap();
    rig.pass(Duration::from_secs(4));
    let answer = setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
    assert_eq!(answer[1], 0x02, "half-open for too long");
    assert_eq!(rig.bmc.open_sessions(), 2);
}

#[test]
fn wrong_lengths_and_places_have_their_codes() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    assert_eq!(session.command(&mut rig, APP, 0x01, &[0]).0, 0xC7);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[]).0, 0xC7);
    assert_eq!(session.command(&mut rig, APP, 0x42, &[5]).0, 0xCC, "no such channel");
    assert_eq!(session.command(&mut rig, CHASSIS, 0x09, &[8, 0, 0]).0, 0x80);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x09, &[7, 8, 0]).0, 0xC9, "no such block");
    assert_eq!(session.command(&mut rig, CHASSIS, 0x08, &[5, 0x80]).0, 0xC7);
    assert_eq!(session.command(&mut rig, APP, 0x59, &[0, 9, 0, 0]).0, 0x80);
    assert_eq!(session.command(&mut rig, APP, 0xEE, &[]).0, 0xC1);
    assert_eq!(session.command(&mut rig, 0x3E, 0x01, &[]).0, 0xC1);
}

fn activate(rig: &mut Rig, session: &mut Session) -> u8 {
    session.command(rig, APP, 0x3B, &[4]);
    session.command(rig, APP, 0x48, &[1, 1, 0xC6, 0, 0, 0]).0
}

#[test]
fn sol_both_ways_in_a_session() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    let (code, data) = session.command(&mut rig, APP, 0x48, &[1, 1, 0xC6, 0, 0, 0]);
    assert_eq!((code, data.len()), (0, 12), "exactly, or FreeIPMI and ipmitool give up");
    let size = |at: usize| u16::from_le_bytes([data[at], data[at + 1]]);
    assert_eq!(size(4), 255, "with a header beside it, as pyghmi takes it: 259");
    assert_eq!(size(6), 259);
    assert_eq!(u16::from_le_bytes([data[8], data[9]]), 6231, "the port that clients see");
    let watch = Watch::Begin { activation: 1, replay: false };
    assert_eq!(rig.requests(), [Request::Watch(watch)]);
    rig.bmc.handle_console(rig.now, 1, b"login: ", false);
    assert_eq!(rig.receive().len(), 0, "not before ipmitool has taken the response");
    rig.pass(Duration::from_millis(100));
    let [datagram] = &rig.receive()[..] else { panic!() };
    assert_eq!(session.unseal(datagram), (1, b"\x01\0\0\0login: ".to_vec()));

    let keys = session.seal(1, b"\x01\x01\x07\0root\r");
    let [datagram] = &rig.exchange(&keys)[..] else { panic!() };
    assert_eq!(session.unseal(datagram), (1, vec![0, 1, 5, 0]), "acknowledged");
    let typed = Request::Console(b"root\r".to_vec());
    assert_eq!(rig.requests(), [typed, Request::Watch(Watch::More)]);
    let brk = session.seal(1, &[2, 0, 0, 0x10]);
    rig.exchange(&brk);
    assert_eq!(rig.requests(), [Request::Break]);
}

#[test]
fn one_sol_session_at_a_time_and_any_administrator_frees_it() {
    let mut rig = Rig::new();
    let mut one = admin(&mut rig);
    let mut two = admin(&mut rig);
    assert_eq!(activate(&mut rig, &mut one), 0);
    assert_eq!(activate(&mut rig, &mut two), 0x80);
    assert_eq!(two.command(&mut rig, APP, 0x4A, &[1]), (0, vec![1, 1, 0]));
    // pyghmi keeps its console by finding its own session here.
    let (_, info) = two.command(&mut rig, APP, 0x4B, &[1, 1]);
    assert_eq!(info[..4], one.managed_id.to_le_bytes());
    two.request_sequence += 1;
    let deactivate = message(APP, 0x49, two.request_sequence, &[1, 1, 0, 0, 0, 0]);
    let datagram = two.seal(0, &deactivate);
    let answers = rig.exchange(&datagram);
    let [response, farewell] = &answers[..] else { panic!("{} answers", answers.len()) };
    two.unseal(response);
    assert_eq!(one.unseal(farewell), (1, vec![0, 0, 0, 0x10]), "the old owner is told");
    assert_eq!(two.command(&mut rig, APP, 0x49, &[1, 1, 0, 0, 0, 0]).0, 0x80);
    assert_eq!(activate(&mut rig, &mut two), 0);
    assert_eq!(activate(&mut rig, &mut one), 0x80);
    let id = two.managed_id.to_le_bytes();
    two.command(&mut rig, APP, 0x3C, &id);
    assert_eq!(activate(&mut rig, &mut one), 0, "freed with its session");
}

#[test]
fn a_dead_console_loses_sol_with_its_session() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    assert_eq!(activate(&mut rig, &mut session), 0);
    for _ in 0..61 {
        rig.bmc.handle_console(rig.now, 1, b"nobody listens", false);
        rig.pass(Duration::from_secs(1));
        rig.receive();
    }
    assert!(!rig.bmc.sol_active());
    assert_eq!(rig.bmc.open_sessions(), 0);
    assert_eq!(rig.bmc.poll_timeout(), None);
}

#[test]
fn sol_needs_authentication_and_a_known_instance() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    assert_eq!(session.command(&mut rig, APP, 0x48, &[1, 1, 0x00, 0, 0, 0]).0, 0x84);
    assert_eq!(session.command(&mut rig, APP, 0x48, &[1, 1, 0x80, 0, 0, 0]).0, 0x84);
    assert_eq!(session.command(&mut rig, APP, 0x48, &[1, 2, 0xC0, 0, 0, 0]).0, 0xCC);
    assert_eq!(session.command(&mut rig, APP, 0x48, &[2, 1, 0xC0, 0, 0, 0]).0, 0xCC);
}

#[test]
fn cipher_suites_are_listed_in_blocks_of_sixteen() {
    let mut rig = Rig::new();
    let mut ask = |index: u8| {
        let request = message(APP, 0x54, 1, &[0x0E, 0x00, 0x80 | index]);
        // Both framings, before any session, as ipmitool and the Go clients ask.
        let v15 = rig.exchange(&v15_datagram(&request));
        let v20 = rig.exchange(&console::setup_datagram(0, &request));
        assert_eq!(v15[0][14..], v20[0][16..]);
        let message = &v15[0][14..];
        assert_eq!(message[6], 0);
        message[8..message.len() - 1].to_vec()
    };
    let expected = [0xC0, 3, 0x01, 0x41, 0x81, 0xC0, 17, 0x03, 0x44, 0x81];
    assert_eq!(ask(0), expected);
    assert_eq!(ask(1), [0; 0]);
}
