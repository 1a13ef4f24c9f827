//! The watchdog timer, and what comes of it when it runs out.

use std::time::Duration;

use qemu_bmc::bmc::event::Request as Wish;
use qemu_bmc::machine::{Event, Origin, Power, Refusal, Request, StartCause, Status, StopCause};

use crate::console::{Rig, Session};
use crate::storage::{administrator, events, started};
use crate::{CHASSIS, ON, answered};

const APP: u8 = 0x06;
const SENSOR: u8 = 0x04;

/// A machine that is on, an administrator, and how many entries the log has by then.
fn on() -> (Rig, Session, usize) {
    let (mut rig, mut session) = started();
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerOn));
    let seen = events(&mut rig, &mut session, 0).len();
    (rig, session, seen)
}

fn set(rig: &mut Rig, session: &mut Session, timer: [u8; 6]) -> u8 {
    session.command(rig, APP, 0x24, &timer).0
}

/// The system interface's flag of the pre-timeout interrupt.
fn flagged(rig: &mut Rig, session: &mut Session) -> bool {
    let (code, flags) = session.command(rig, APP, 0x31, &[]);
    assert_eq!(code, 0);
    flags[0] & 0x08 != 0
}

fn start(rig: &mut Rig, session: &mut Session) -> u8 {
    session.command(rig, APP, 0x22, &[]).0
}

fn get(rig: &mut Rig, session: &mut Session) -> Vec<u8> {
    let (code, data) = session.command(rig, APP, 0x25, &[]);
    assert_eq!((code, data.len()), (0, 8));
    data
}

fn wish(request: Request) -> Wish {
    Wish::Power(request, Origin::Watchdog)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The log in words from entry `seen` on: `event (detail)`.
fn told(rig: &Rig, seen: usize) -> Vec<String> {
    let text = |entry: qemu_bmc::bmc::SelEntry| {
        let detail = entry.detail.map_or(String::new(), |detail| format!(" ({detail})"));
        format!("{}: {}{detail}", entry.sensor, entry.event)
    };
    rig.bmc.sel().into_iter().skip(seen).map(text).collect()
}

#[test]
fn each_action_is_asked_of_the_machine_and_logged_with_the_use() {
    let actions = [None, Some(Request::Reset), Some(Request::Off), Some(Request::Cycle)];
    for (action, wanted) in (0_u8..).zip(actions) {
        for timer_use in 1..=5 {
            for do_not_log in [0x00, 0x80] {
                let (mut rig, mut session, seen) = on();
                let timer = [timer_use | do_not_log, action, 0, 0, 20, 0];
                assert_eq!(set(&mut rig, &mut session, timer), 0);
                rig.pass(Duration::from_secs(10));
                assert_eq!(rig.requests(), [], "it does not run yet");
                assert_eq!(start(&mut rig, &mut session), 0);
                rig.pass(ms(1900));
                assert_eq!(rig.requests(), []);
                assert_eq!(events(&mut rig, &mut session, seen), [[0; 6]; 0]);
                rig.pass(ms(100));
                let wishes: Vec<Wish> = wanted.map(wish).into_iter().collect();
                assert_eq!(rig.requests(), wishes, "action {action}");
                let entry = [0x23, 3, 0x6F, 0xC0 | action, timer_use, 0xFF];
                let entries = if do_not_log == 0 { vec![entry] } else { vec![] };
                assert_eq!(events(&mut rig, &mut session, seen), entries);
                // "Do not log" was for this time only.
                let expired = [timer_use, action, 0, 1 << timer_use, 20, 0, 20, 0];
                assert_eq!(get(&mut rig, &mut session), expired);
                rig.pass(Duration::from_secs(10));
                assert_eq!(rig.requests(), [], "once");
            }
        }
    }
}

#[test]
fn what_it_does_is_told_as_the_watchdogs() {
    let (mut rig, mut session, mut seen) = on();
    let mut run_out = |rig: &mut Rig, action, status| {
        assert_eq!(set(rig, &mut session, [0x04, action, 0, 0, 1, 0]), 0);
        assert_eq!(start(rig, &mut session), 0);
        rig.pass(ms(100));
        answered(rig, status);
    };
    run_out(&mut rig, 1, ON);
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::Reset));
    let expected = [
        "Watchdog: hard reset, use: SMS/OS",
        "System Boot: initiated by hard reset (reset by the watchdog timer)",
        "System Boot: restart, cause: watchdog",
    ];
    assert_eq!(told(&rig, seen), expected);
    seen += expected.len();

    run_out(&mut rig, 3, Status { operation: Some(Request::Cycle), ..ON });
    let cycling = Status { operation: Some(Request::Cycle), ..Status::OFF };
    rig.bmc.handle_machine(rig.now, cycling, &Event::Stopped(StopCause::Request));
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerCycle));
    let expected = [
        "Watchdog: power cycle, use: SMS/OS",
        "Power Unit: power cycle (power cycle by the watchdog timer)",
        "ACPI State: S0/G0: working",
        "System Boot: initiated by power up (power on after power cycle by the watchdog timer)",
        "System Boot: restart, cause: watchdog",
    ];
    assert_eq!(told(&rig, seen), expected);
    seen += expected.len();

    run_out(&mut rig, 2, Status { operation: Some(Request::Off), ..ON });
    rig.bmc.handle_machine(rig.now, Status::OFF, &Event::Stopped(StopCause::Request));
    let expected = [
        "Watchdog: power down, use: SMS/OS",
        "Power Unit: power off (power off by the watchdog timer)",
        "ACPI State: S5/G2: soft off",
    ];
    assert_eq!(told(&rig, seen), expected);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x07, &[]), (0, vec![0x04, 0]));
    let record = *events(&mut rig, &mut session, seen).get(1).unwrap();
    assert_eq!(record, [0x09, 1, 0x6F, 0xA0, 0x04, 0], "the watchdog in event data 2");
}

#[test]
fn the_interrupt_comes_before_the_action_and_only_a_new_setting_helps_then() {
    let (mut rig, mut session, seen) = on();
    // NMI two seconds before a hard reset.
    assert_eq!(set(&mut rig, &mut session, [0x03, 0x21, 2, 0, 50, 0]), 0);
    assert_eq!(start(&mut rig, &mut session), 0);
    rig.pass(ms(2900));
    assert_eq!(start(&mut rig, &mut session), 0, "again from the beginning");
    rig.pass(ms(2900));
    assert_eq!(rig.requests(), []);
    assert!(!flagged(&mut rig, &mut session));
    rig.pass(ms(100));
    assert_eq!(rig.bmc.poll_timeout().map(|next| next > rig.now), Some(true), "not twice");
    rig.pass(ms(1));
    let entry = [0x23, 3, 0x6F, 0xC8, 0x23, 0xFF];
    assert_eq!(events(&mut rig, &mut session, seen), [entry]);
    answered(&mut rig, ON);
    let expected = [
        "Watchdog: timer interrupt, use: OS load, interrupt: NMI",
        "Diag Interrupt: diagnostic interrupt (sent by the watchdog timer)",
    ];
    assert_eq!(told(&rig, seen), expected);
    assert_eq!(session.command(&mut rig, SENSOR, 0x2D, &[3]).1, [0, 0xC0, 0x00, 0x81]);
    assert_eq!(start(&mut rig, &mut session), 0xD5, "too late");
    assert!(!flagged(&mut rig, &mut session), "an NMI is no message");
    // Set anew without a stop, it counts from the new beginning.
    assert_eq!(set(&mut rig, &mut session, [0x43, 0x21, 2, 0, 30, 0]), 0);
    assert_eq!(get(&mut rig, &mut session)[0], 0x43);
    rig.pass(ms(900));
    assert_eq!(rig.requests(), []);
    assert_eq!(start(&mut rig, &mut session), 0);
    rig.pass(ms(1000));
    assert_eq!(rig.requests(), [wish(Request::Diag)]);
    rig.pass(ms(2000));
    assert_eq!(rig.requests(), [wish(Request::Reset)]);
    let last = *events(&mut rig, &mut session, seen).last().unwrap();
    assert_eq!(last, [0x23, 3, 0x6F, 0xC1, 0x23, 0xFF]);
    // A setting without "do not stop" stops it, and takes the interrupt back.
    assert_eq!(set(&mut rig, &mut session, [0x03, 0x21, 2, 0, 30, 0]), 0);
    assert!(!flagged(&mut rig, &mut session));
    assert_eq!(get(&mut rig, &mut session)[0], 0x03);
}

#[test]
fn interrupts_of_the_system_interface_are_a_flag_and_smi_is_refused() {
    let (mut rig, mut session, seen) = on();
    assert_eq!(set(&mut rig, &mut session, [0x04, 0x11, 1, 0, 50, 0]), 0xCC, "SMI");
    for unknown in [0x40, 0x70, 0x80, 0x05] {
        assert_eq!(set(&mut rig, &mut session, [0x04, unknown, 1, 0, 50, 0]), 0xCC, "{unknown:#x}");
    }
    assert_eq!(start(&mut rig, &mut session), 0x80, "none of it was taken");
    assert_eq!(set(&mut rig, &mut session, [0x84, 0x30, 1, 0, 20, 0]), 0);
    assert_eq!(start(&mut rig, &mut session), 0);
    rig.pass(ms(1000));
    assert!(flagged(&mut rig, &mut session));
    assert_eq!(events(&mut rig, &mut session, seen), [[0; 6]; 0], "do not log");
    rig.pass(ms(1000));
    assert!(flagged(&mut rig, &mut session), "until the machine's software clears it");
    assert_eq!(rig.requests(), []);
    // Without an interval, it comes with the action; and now it is logged.
    assert_eq!(set(&mut rig, &mut session, [0x04, 0x23, 0, 0, 0, 0]), 0);
    assert_eq!(start(&mut rig, &mut session), 0);
    let now = rig.now;
    assert_eq!(rig.bmc.poll_timeout(), Some(now), "no count: at once");
    rig.pass(ms(0));
    assert_eq!(rig.requests(), [wish(Request::Diag), wish(Request::Cycle)]);
    let entries = [[0x23, 3, 0x6F, 0xC8, 0x24, 0xFF], [0x23, 3, 0x6F, 0xC3, 0x24, 0xFF]];
    assert_eq!(events(&mut rig, &mut session, seen), entries);
}

#[test]
fn what_cannot_be_done_is_in_the_log() {
    let (mut rig, mut session, mut seen) = on();
    let cycling = Status { operation: Some(Request::Cycle), ..ON };
    rig.bmc.handle_machine(rig.now, cycling, &Event::Changed);
    assert_eq!(set(&mut rig, &mut session, [0x04, 0x21, 1, 0, 20, 0]), 0);
    assert_eq!(start(&mut rig, &mut session), 0);
    rig.pass(ms(2000));
    assert_eq!(rig.requests(), []);
    let why = "by the watchdog timer: busy with another power operation";
    let expected = [
        format!("Watchdog: timer interrupt, use: SMS/OS, interrupt: NMI (refused: NMI {why})"),
        format!("Watchdog: hard reset, use: SMS/OS, interrupt: NMI (refused: hard reset {why})"),
    ];
    assert_eq!(told(&rig, seen), expected);
    seen += expected.len();
    // Accepted here, and then the machine was busy.
    let refused = Event::Requested(Request::Reset, Origin::Watchdog, Err(Refusal::Busy));
    rig.bmc.handle_machine(rig.now, cycling, &refused);
    assert_eq!(told(&rig, seen), [format!("Watchdog: timer expired (refused: hard reset {why})")]);
    seen += 1;
    // A machine that is off.
    rig.bmc.handle_machine(rig.now, Status::OFF, &Event::Stopped(StopCause::Guest));
    seen += told(&rig, seen).len();
    assert_eq!(set(&mut rig, &mut session, [0x04, 0x01, 0, 0, 1, 0]), 0);
    assert_eq!(start(&mut rig, &mut session), 0);
    rig.pass(ms(100));
    assert_eq!(rig.requests(), []);
    let why = "refused: hard reset by the watchdog timer: not possible while the machine is off";
    assert_eq!(told(&rig, seen), [format!("Watchdog: hard reset, use: SMS/OS ({why})")]);
}

#[test]
fn it_stops_when_the_machine_does_and_when_that_starts_anew() {
    let off = Event::Stopped(StopCause::Guest);
    for (status, event, then) in [
        (Status::OFF, off, 0x00),
        (ON, Event::Started(StartCause::Reset), 0x80),
        (ON, Event::Started(StartCause::Guest), 0x80),
        (ON, Event::Started(StartCause::PowerOn), 0x80),
        (ON, Event::Started(StartCause::PowerCycle), 0x80),
    ] {
        let (mut rig, mut session, _) = on();
        assert_eq!(set(&mut rig, &mut session, [0xC4, 0x33, 9, 0, 100, 0]), 0);
        assert_eq!(start(&mut rig, &mut session), 0);
        rig.pass(ms(1000));
        assert_eq!(get(&mut rig, &mut session)[0] & 0x47, 0x44);
        rig.bmc.handle_machine(rig.now, status, &event);
        assert_eq!(get(&mut rig, &mut session)[0] & 0x47, 0x04, "{event:?}");
        rig.pass(ms(11_000));
        assert_eq!(rig.requests(), [], "{event:?}");
        let started = matches!(event, Event::Started(_));
        assert_eq!(flagged(&mut rig, &mut session), !started, "{event:?}");
        assert_eq!(get(&mut rig, &mut session)[0] & 0x80 == 0, started, "logged again");
        assert_eq!(start(&mut rig, &mut session), then, "{event:?}");
    }
    // Changes that are none of these.
    let (mut rig, mut session, _) = on();
    assert_eq!(set(&mut rig, &mut session, [0x04, 0x02, 0, 0, 10, 0]), 0);
    assert_eq!(start(&mut rig, &mut session), 0);
    let soft = Status { operation: Some(Request::Soft), power: Power::On, ..Status::OFF };
    rig.bmc.handle_machine(rig.now, soft, &Event::Changed);
    rig.pass(ms(1000));
    assert_eq!(rig.requests(), [wish(Request::Off)], "a guest that hangs at its end");
}

#[test]
fn a_setting_stops_it_unless_it_says_not_to() {
    let (mut rig, mut session, _) = on();
    let stopped = |rig: &mut Rig, session: &mut Session| get(rig, session)[0] & 0x40 == 0;
    assert_eq!(set(&mut rig, &mut session, [0x44, 0x01, 0, 0, 50, 0]), 0);
    assert!(stopped(&mut rig, &mut session), "it did not run");
    assert_eq!(start(&mut rig, &mut session), 0);
    assert_eq!(set(&mut rig, &mut session, [0x45, 0x02, 0, 0, 0xFF, 0xFF]), 0);
    let [timer_use, action, _, _, low, high, left, more] = get(&mut rig, &mut session)[..] else {
        panic!()
    };
    assert_eq!([timer_use, action, low, high, more], [0x45, 0x02, 0xFF, 0xFF, 0xFF]);
    assert!(left > 0xF0);
    assert_eq!(set(&mut rig, &mut session, [0x05, 0x02, 0, 0, 50, 0]), 0);
    assert!(stopped(&mut rig, &mut session));
    // The longest interval that there is, and the longest interrupt before it.
    assert_eq!(set(&mut rig, &mut session, [0x05, 0x22, 0xFF, 0, 0xFF, 0xFF]), 0);
    assert_eq!(start(&mut rig, &mut session), 0);
    rig.pass(Duration::from_millis(6_553_500));
    assert_eq!(rig.requests(), [wish(Request::Diag), wish(Request::Off)]);
    let mut session = administrator(&mut rig);
    assert_eq!(set(&mut rig, &mut session, [0x05, 0x22, 0xFF, 0, 50, 0]), 0xCC, "too early");
    assert_eq!(set(&mut rig, &mut session, [0x05, 0x02, 0, 0x20, 50, 0]), 0);
    assert_eq!(get(&mut rig, &mut session)[3], 0, "its expiration is cleared");
}
