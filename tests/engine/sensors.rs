//! Sensors, events, and platform event filtering.

use qemu_bmc::machine::{Event, StartCause, Status};

use crate::console::{Rig, Suite, login};
use crate::storage::{administrator, events, started};

const SENSOR: u8 = 0x04;
const ON: Status = Status::ON;
const POWER_UNIT: u8 = 0x01;
const ACPI_STATE: u8 = 0x02;
const EVENTS_ONLY: u8 = 0x04;
const INLET: u8 = 0x10;
const FAN: u8 = 0x12;
const CPU: u8 = 0x20;

#[test]
fn sensors_read_as_the_machine_is() {
    let (mut rig, mut session) = started();
    let mut read = |rig: &mut Rig, number| session.command(rig, SENSOR, 0x2D, &[number]);
    assert_eq!(read(&mut rig, POWER_UNIT), (0, vec![0, 0xC0, 0x01, 0x80]), "off");
    assert_eq!(read(&mut rig, ACPI_STATE), (0, vec![0, 0xC0, 0x20, 0x80]), "S5");
    assert_eq!(read(&mut rig, FAN), (0, vec![0, 0xE0, 0xC0]), "unavailable");
    assert_eq!(read(&mut rig, INLET), (0, vec![24, 0xC0, 0xC0]), "it is warm all the same");
    assert_eq!(read(&mut rig, CPU), (0, vec![0, 0xC0, 0x80, 0x80]), "present");
    assert_eq!(read(&mut rig, CPU + 2).0, 0xCB, "there are two");
    assert_eq!(read(&mut rig, EVENTS_ONLY).0, 0xCD);
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerOn));
    assert_eq!(read(&mut rig, POWER_UNIT), (0, vec![0, 0xC0, 0x00, 0x80]));
    assert_eq!(read(&mut rig, ACPI_STATE), (0, vec![0, 0xC0, 0x01, 0x80]), "S0");
    assert_eq!(read(&mut rig, FAN), (0, vec![120, 0xC0, 0xC0]));
    let mut run = |rig: &mut Rig, command, data: &[u8]| session.command(rig, SENSOR, command, data);
    assert_eq!(run(&mut rig, 0x2F, &[POWER_UNIT]), (0, vec![0x09, 0x6F]));
    assert_eq!(run(&mut rig, 0x2E, &[POWER_UNIT, 0x09, 0x6F]).0, 0);
    assert_eq!(run(&mut rig, 0x2E, &[POWER_UNIT, 0x08, 0x6F]).0, 0xCD);
    assert_eq!(run(&mut rig, 0x23, &[FAN, 120]), (0, vec![120, 50, 0, 0, 0, 0, 0]));
    assert_eq!(run(&mut rig, 0x23, &[POWER_UNIT, 0]).0, 0xCD);
}

#[test]
fn thresholds_make_events_and_outlive_a_restart() {
    let (mut rig, mut session) = started();
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerOn));
    let mut seen = events(&mut rig, &mut session, 0).len();
    let defaults = vec![0x3F, 30, 20, 10, 240, 245, 250];
    assert_eq!(session.command(&mut rig, SENSOR, 0x27, &[FAN]), (0, defaults));
    assert_eq!(session.command(&mut rig, SENSOR, 0x25, &[FAN, 0xFF]), (0, vec![2, 2]));
    assert_eq!(session.command(&mut rig, SENSOR, 0x27, &[POWER_UNIT]).0, 0xCD);

    // The fan turns at 120; "lower critical" is 2, "upper non-critical" 8.
    let mut set = |rig: &mut Rig, mask, values: [u8; 6]| {
        let request = [&[FAN, mask], &values[..]].concat();
        assert_eq!(session.command(rig, SENSOR, 0x26, &request).0, 0);
        let new = events(rig, &mut session, seen);
        seen += new.len();
        let reading = session.command(rig, SENSOR, 0x2D, &[FAN]).1[2];
        let status = session.command(rig, SENSOR, 0x2B, &[FAN]).1;
        (new, reading, [status[1], status[2]])
    };
    let low = |direction, threshold| [0x04, FAN, direction, 0x52, 120, threshold];
    let crossed = set(&mut rig, 0x02, [0, 120, 0, 0, 0, 0]);
    assert_eq!(crossed, (vec![low(0x01, 120)], 0xC2, [0x04, 0]));
    // Within the hysteresis it stays asserted; beyond, it ends.
    assert_eq!(set(&mut rig, 0x02, [0, 118, 0, 0, 0, 0]), (vec![], 0xC0, [0x04, 0]));
    let back = set(&mut rig, 0x02, [0, 117, 0, 0, 0, 0]);
    assert_eq!(back, (vec![low(0x81, 117)], 0xC0, [0, 0]));
    let high = set(&mut rig, 0x08, [0, 0, 0, 100, 0, 0]);
    assert_eq!(high, (vec![[0x04, FAN, 0x01, 0x57, 120, 100]], 0xC8, [0x80, 0]));
    // Once more only after it was re-armed.
    assert_eq!(set(&mut rig, 0x08, [0, 0, 0, 101, 0, 0]).0, [[0; 6]; 0]);
    assert_eq!(session.command(&mut rig, SENSOR, 0x2A, &[FAN, 0]).0, 0);
    assert_eq!(
        events(&mut rig, &mut session, seen),
        [[0x04, FAN, 0x01, 0x57, 120, 101]],
        "the same again"
    );
    let mut user = login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    assert_eq!(user.command(&mut rig, SENSOR, 0x26, &[FAN, 0, 0, 0, 0, 0, 0, 0]).0, 0xD4);

    let saved = rig.bmc.poll_save().unwrap();
    let mut rig = Rig::new();
    rig.bmc.restore(&saved).unwrap();
    let mut session = administrator(&mut rig);
    let kept = vec![0x3F, 30, 117, 10, 101, 245, 250];
    assert_eq!(session.command(&mut rig, SENSOR, 0x27, &[FAN]), (0, kept));
}

#[test]
fn events_of_a_sensor_can_be_switched_off() {
    let (mut rig, mut session) = started();
    let seen = events(&mut rig, &mut session, 0).len();
    let mut run = |rig: &mut Rig, command, data: &[u8]| session.command(rig, SENSOR, command, data);
    let all = vec![0xC0, 0x21, 0x00, 0x00, 0x00];
    assert_eq!(run(&mut rig, 0x29, &[ACPI_STATE]), (0, all));
    // S0/G0 off; power unit off altogether.
    assert_eq!(run(&mut rig, 0x28, &[ACPI_STATE, 0xE0, 0x01]).0, 0);
    assert_eq!(run(&mut rig, 0x29, &[ACPI_STATE]).1, [0xC0, 0x20, 0x00, 0x00, 0x00]);
    assert_eq!(run(&mut rig, 0x28, &[POWER_UNIT, 0x40]).0, 0);
    assert_eq!(run(&mut rig, 0x28, &[ACPI_STATE, 0xF0]).0, 0xCC);
    assert_eq!(run(&mut rig, 0x28, &[ACPI_STATE, 0xE0, 1, 2, 3, 4, 5]).0, 0xC7);
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerOn));
    let boot = [[0x1D, 4, 0x6F, 0, 0xFF, 0xFF], [0x1D, 4, 0x6F, 0xC7, 0, 0xFF]];
    assert_eq!(events(&mut rig, &mut session, seen), boot, "and nothing else");
    // A sensor that is not scanned has no reading.
    assert_eq!(session.command(&mut rig, SENSOR, 0x28, &[FAN, 0x80]).0, 0);
    assert_eq!(session.command(&mut rig, SENSOR, 0x2D, &[FAN]), (0, vec![0, 0xA0, 0xC0]));
}

#[test]
fn platform_events_go_to_the_log() {
    let (mut rig, mut session) = started();
    // ipmitool `event 1`.
    let event = [0x04, 0x01, 0x30, 0x01, 0x59, 0x00, 0x00];
    assert_eq!(session.command(&mut rig, SENSOR, 0x02, &event).0, 0);
    assert_eq!(session.command(&mut rig, SENSOR, 0x02, &event[..5]).0, 0);
    let logged = crate::storage::sel(&mut rig, &mut session);
    assert_eq!(logged[1][5..], [0x81, 0x10, 0x04, 0x01, 0x30, 0x01, 0x59, 0x00, 0x00]);
    assert_eq!(logged[2][5..], [0x81, 0x10, 0x04, 0x01, 0x30, 0x01, 0x59, 0xFF, 0xFF]);
    assert_eq!(session.command(&mut rig, SENSOR, 0x02, &event[..4]).0, 0xC7);
    assert_eq!(session.command(&mut rig, SENSOR, 0x02, &[&event[..], &[0]].concat()).0, 0xC7);
    assert_eq!(session.command(&mut rig, SENSOR, 0x02, &[9, 1, 1, 1, 1, 1, 1]).0, 0xCC);
    let mut user = login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    assert_eq!(user.command(&mut rig, SENSOR, 0x02, &event).0, 0xD4);

    assert_eq!(session.command(&mut rig, SENSOR, 0x01, &[]), (0, vec![0x20, 0]));
    assert_eq!(session.command(&mut rig, SENSOR, 0x00, &[0x20, 0]).0, 0);
    assert_eq!(session.command(&mut rig, SENSOR, 0x00, &[0x22, 0]).0, 0xCC);
}

#[test]
fn filter_parameters_are_kept() {
    let (mut rig, mut session) = started();
    assert_eq!(session.command(&mut rig, SENSOR, 0x10, &[]), (0, vec![0x51, 0, 16]));
    let mut set = |rig: &mut Rig, data: &[u8]| session.command(rig, SENSOR, 0x12, data).0;
    let filter: Vec<u8> = (0xA0..0xB4).collect();
    assert_eq!(set(&mut rig, &[&[6, 16], &filter[..]].concat()), 0);
    assert_eq!(set(&mut rig, &[&[6, 17], &filter[..]].concat()), 0xCC, "there are 16");
    assert_eq!(set(&mut rig, &[&[6, 0], &filter[..]].concat()), 0xCC);
    assert_eq!(set(&mut rig, &[&[6, 1], &filter[1..]].concat()), 0xC7);
    assert_eq!(set(&mut rig, &[7, 16, 0x55]), 0);
    assert_eq!(set(&mut rig, &[9, 2, 7, 8, 9]), 0);
    assert_eq!(set(&mut rig, &[12, 1, 3, 4]), 0);
    assert_eq!(set(&mut rig, &[&[13, 1, 2], &b"second block"[..]].concat()), 0);
    assert_eq!(set(&mut rig, &[13, 1, 5, 1]), 0xCC, "past the end");
    assert_eq!(set(&mut rig, &[5, 1]), 0x82);
    assert_eq!(set(&mut rig, &[96, 1]), 0x80);
    assert_eq!(set(&mut rig, &[1]), 0xC7);
    assert_eq!(set(&mut rig, &[1, 0x01]), 0);

    let saved = rig.bmc.poll_save().unwrap();
    let mut rig = Rig::new();
    rig.bmc.restore(&saved).unwrap();
    let mut session = administrator(&mut rig);
    let mut get = |rig: &mut Rig, parameter, set, block| {
        let (code, data) = session.command(rig, SENSOR, 0x13, &[parameter, set, block]);
        if code == 0 { data } else { vec![code] }
    };
    let expected = [&[0x11, 16, 0x55], &filter[1..]].concat();
    assert_eq!(get(&mut rig, 6, 16, 0), expected);
    assert_eq!(get(&mut rig, 7, 16, 0), [0x11, 16, 0x55]);
    assert_eq!(get(&mut rig, 9, 2, 0), [0x11, 2, 7, 8, 9]);
    assert_eq!(get(&mut rig, 12, 1, 0), [0x11, 1, 3, 4]);
    assert_eq!(get(&mut rig, 13, 1, 2)[3..15], *b"second block");
    assert_eq!(get(&mut rig, 13, 1, 0), [0xCC]);
    assert_eq!(get(&mut rig, 1, 0, 0), [0x11, 0x01]);
    assert_eq!(get(&mut rig, 0x80 | 5, 0, 0), [0x11], "the revision only");
    assert_eq!(get(&mut rig, 5, 0, 0), [0x11, 16]);
    assert_eq!(get(&mut rig, 96, 0, 0), [0x80]);

    // Set-in-progress is one session's at a time.
    let mut other = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, SENSOR, 0x12, &[0, 1]).0, 0);
    assert_eq!(other.command(&mut rig, SENSOR, 0x12, &[0, 1]).0, 0x81);
    assert_eq!(session.command(&mut rig, SENSOR, 0x12, &[0, 0]).0, 0);
    assert_eq!(other.command(&mut rig, SENSOR, 0x12, &[0, 1]).0, 0);
}

#[test]
fn the_last_processed_event_is_kept() {
    let (mut rig, mut session) = started();
    assert_eq!(session.command(&mut rig, SENSOR, 0x14, &[0, 5, 1]).0, 0);
    assert_eq!(session.command(&mut rig, SENSOR, 0x14, &[1, 6, 0]).0, 0);
    let (code, data) = session.command(&mut rig, SENSOR, 0x15, &[]);
    assert_eq!((code, &data[4..]), (0, &[1, 0, 5, 1, 6, 0][..]));
    assert_eq!(session.command(&mut rig, SENSOR, 0x16, &[0, 0, 0]).0, 0xC1, "no alerts");
}

#[test]
fn the_watchdog_goes_to_the_log() {
    let (mut rig, mut session) = started();
    let seen = events(&mut rig, &mut session, 0).len();
    let mut run_out = |rig: &mut Rig, timer_use: u8, action: u8| {
        let timer = [timer_use, action, 0, 0, 1, 0];
        assert_eq!(session.command(rig, 0x06, 0x24, &timer).0, 0);
        assert_eq!(session.command(rig, 0x06, 0x22, &[]).0, 0);
        rig.pass(std::time::Duration::from_secs(1));
        events(rig, &mut session, seen).len()
    };
    assert_eq!(run_out(&mut rig, 0x84, 1), 0, "not to be logged");
    assert_eq!(run_out(&mut rig, 0x04, 3), 1);
    assert_eq!(events(&mut rig, &mut session, seen), [[0x23, 3, 0x6F, 0xC3, 4, 0xFF]]);
    let (_, reading) = session.command(&mut rig, SENSOR, 0x2D, &[3]);
    assert_eq!(reading, [0, 0xC0, 0x08, 0x80], "power cycle");
}
