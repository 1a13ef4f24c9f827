//! Readings that follow the machine, those that `ctl` sets, and sensors of the profile's own.

use qemu_bmc::bmc::{Config, SensorStatus};
use qemu_bmc::machine::activity::Activity;
use qemu_bmc::machine::{Event, StartCause, Status, StopCause};
use qemu_bmc::plan::{SensorPlan, SensorsPlan};

use crate::console::{Rig, Session, config};
use crate::storage::{administrator, events, started};

const SENSOR: u8 = 0x04;
const STORAGE: u8 = 0x0A;
const INLET: u8 = 0x10;
const CPU_TEMP: u8 = 0x11;
const LOAD: u8 = 0x15;
const POWER: u8 = 0x17;

/// Flags of Get Sensor Reading, without a reading.
const NO_READING: [u8; 3] = [0, 0xE0, 0xC0];

fn on(rig: &mut Rig) {
    rig.bmc.handle_machine(rig.now, Status::ON, &Event::Started(StartCause::PowerOn));
}

fn off(rig: &mut Rig) {
    rig.bmc.handle_machine(rig.now, Status::OFF, &Event::Stopped(StopCause::Request));
}

fn busy(rig: &mut Rig, cpu_percent: f64) {
    let activity = Activity { cpu_percent: Some(cpu_percent), ..Activity::default() };
    rig.bmc.handle_activity(rig.now, activity);
}

fn read(rig: &mut Rig, session: &mut Session, number: u8) -> Vec<u8> {
    let (code, data) = session.command(rig, SENSOR, 0x2D, &[number]);
    assert_eq!(code, 0);
    data
}

fn status(rig: &Rig, name: &str) -> SensorStatus {
    let all = rig.bmc.sensors();
    all.into_iter().find(|sensor| sensor.name == name).unwrap()
}

/// A machine with one sensor of its profile, which follows the processors.
fn with_own(change: impl FnOnce(&mut SensorPlan)) -> Rig {
    let mut sensors = SensorsPlan::built_in(2, 1 << 30);
    let mut sensor = sensors.numbers.remove(5);
    (sensor.number, sensor.name) = (0x10, "Exhaust Temp".into());
    change(&mut sensor);
    (sensors.numbers, sensors.declared) = (vec![sensor], true);
    Rig::with(Config { sensors, ..config() })
}

#[test]
fn readings_follow_the_machine_while_it_is_on() {
    let (mut rig, mut session) = started();
    assert_eq!(read(&mut rig, &mut session, LOAD), NO_READING, "off");
    on(&mut rig);
    assert_eq!(read(&mut rig, &mut session, LOAD), NO_READING, "nobody has measured yet");
    busy(&mut rig, 50.0);
    // Steps of 0.5 %, and of 2 W: 60 W, and 1.2 W for each percent.
    assert_eq!(read(&mut rig, &mut session, LOAD), [100, 0xC0, 0xC0]);
    assert_eq!(read(&mut rig, &mut session, POWER), [60, 0xC0, 0xC0]);
    assert_eq!(status(&rig, "CPU Load").value, Some(50.0));
    assert_eq!(status(&rig, "Power (sim)").value, Some(120.0));
    assert_eq!(status(&rig, "Memory").value, None, "that was not measured");
    busy(&mut rig, 100.0);
    assert_eq!(read(&mut rig, &mut session, LOAD)[0], 200);
    off(&mut rig);
    assert_eq!(read(&mut rig, &mut session, LOAD), NO_READING);
    busy(&mut rig, 70.0);
    assert_eq!(read(&mut rig, &mut session, LOAD), NO_READING, "it was on its way");
    on(&mut rig);
    assert_eq!(read(&mut rig, &mut session, LOAD), NO_READING, "that was another start");
}

#[test]
fn what_is_always_read_knows_that_a_machine_that_is_off_does_nothing() {
    let mut rig = with_own(|sensor| (sensor.always, sensor.value) = (true, 20.0));
    let mut session = administrator(&mut rig);
    assert_eq!(read(&mut rig, &mut session, INLET)[0], 40);
    on(&mut rig);
    assert_eq!(read(&mut rig, &mut session, INLET), NO_READING);
    busy(&mut rig, 30.0);
    assert_eq!(read(&mut rig, &mut session, INLET)[0], 100);
    off(&mut rig);
    assert_eq!(read(&mut rig, &mut session, INLET)[0], 40);
}

#[test]
fn a_reading_that_is_set_makes_events_at_once_until_it_is_cleared() {
    let (mut rig, mut session) = started();
    on(&mut rig);
    let seen = events(&mut rig, &mut session, 0).len();
    let now = rig.now;
    rig.bmc.set_sensor(now, "CPU Temp (sim)", 95.0).unwrap();
    assert_eq!(read(&mut rig, &mut session, CPU_TEMP), [95, 0xC0, 0xD8]);
    let high = |direction, offset: u8, reading, threshold| {
        [0x01, CPU_TEMP, direction, 0x50 | offset, reading, threshold]
    };
    let begun = [high(0x01, 7, 95, 80), high(0x01, 9, 95, 90)];
    assert_eq!(events(&mut rig, &mut session, seen), begun);
    let shown = status(&rig, "CPU Temp (sim)");
    assert_eq!((shown.value, shown.set), (Some(95.0), true));
    let words = ["upper non-critical going high", "upper critical going high"];
    assert_eq!(shown.states, words);
    // What the machine does has no say.
    busy(&mut rig, 10.0);
    assert_eq!(events(&mut rig, &mut session, seen), begun);

    rig.bmc.clear_sensor(now, "CPU Temp (sim)").unwrap();
    assert_eq!(read(&mut rig, &mut session, CPU_TEMP), [45, 0xC0, 0xC0]);
    let ended = [high(0x81, 7, 45, 80), high(0x81, 9, 45, 90)];
    assert_eq!(events(&mut rig, &mut session, seen + 2), ended);
    let shown = status(&rig, "CPU Temp (sim)");
    assert_eq!((shown.value, shown.set, shown.states), (Some(45.0), false, vec![]));
    rig.bmc.clear_sensor(now, "CPU Temp (sim)").unwrap();
    assert_eq!(events(&mut rig, &mut session, seen).len(), 4, "there was nothing to clear");
}

#[test]
fn a_reading_can_be_set_while_the_machine_is_off_and_its_events_end() {
    let (mut rig, mut session) = started();
    let seen = events(&mut rig, &mut session, 0).len();
    let now = rig.now;
    rig.bmc.set_sensor(now, "CPU Temp (sim)", 85.0).unwrap();
    assert_eq!(read(&mut rig, &mut session, CPU_TEMP)[0], 85);
    rig.bmc.clear_sensor(now, "CPU Temp (sim)").unwrap();
    assert_eq!(read(&mut rig, &mut session, CPU_TEMP), NO_READING);
    let logged = events(&mut rig, &mut session, seen);
    assert_eq!(logged, [[1, CPU_TEMP, 0x01, 0x57, 85, 80], [1, CPU_TEMP, 0x81, 0x47, 85, 0xFF]]);
}

#[test]
fn what_cannot_be_set_says_why() {
    let (mut rig, _) = started();
    let now = rig.now;
    let mut refused = |name: &str, value| {
        let cleared = rig.bmc.clear_sensor(now, name).err();
        let set = rig.bmc.set_sensor(now, name, value).unwrap_err();
        if cleared.is_some() {
            assert_eq!(cleared.as_ref(), Some(&set));
        }
        set.to_string()
    };
    assert_eq!(
        refused("CPU Tmp (sim)", 20.0),
        "there is no sensor `CPU Tmp (sim)`; did you mean `CPU Temp (sim)`?"
    );
    assert_eq!(
        refused("inlet", 2.0),
        "there is no sensor `inlet`; did you mean `Inlet Temp (sim)`?"
    );
    assert_eq!(refused("é", 20.0), "there is no sensor `é`; `ctl sensor list` shows all");
    assert_eq!(refused("", 20.0), "there is no sensor ``; `ctl sensor list` shows all");
    assert!(refused("Power Unit", 1.0).starts_with("`Power Unit` has no number to set"));
    assert!(refused("CPU 1", 1.0).starts_with("`CPU 1` has no number to set"));
    let range = "`CPU Temp (sim)` cannot be 256: it reads from 0 to 255 °C";
    assert_eq!(refused("CPU Temp (sim)", 256.0), range);
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(refused("CPU Temp (sim)", value).contains("it reads from 0 to 255"));
    }
}

#[test]
fn thresholds_of_a_profile_are_those_that_it_names() {
    let mut rig = with_own(|sensor| {
        sensor.thresholds[4] = Some(90.0);
        sensor.hysteresis = 5.0;
    });
    let mut session = administrator(&mut rig);
    let mut run = |rig: &mut Rig, command, data: &[u8]| session.command(rig, SENSOR, command, data);
    assert_eq!(run(&mut rig, 0x27, &[INLET]), (0, vec![0x10, 0, 0, 0, 0, 180, 0]));
    assert_eq!(run(&mut rig, 0x29, &[INLET]), (0, vec![0xC0, 0x00, 0x02, 0x00, 0x02]));
    assert_eq!(run(&mut rig, 0x25, &[INLET, 0xFF]), (0, vec![10, 10]));
    assert_eq!(run(&mut rig, 0x26, &[INLET, 0x08, 0, 0, 0, 100, 0, 0]).0, 0xCC, "there is none");
    assert_eq!(run(&mut rig, 0x26, &[INLET, 0x18, 0, 0, 0, 100, 170, 0]).0, 0xCC);
    assert_eq!(run(&mut rig, 0x2F, &[INLET]), (0, vec![0x0B, 0x01]));
    on(&mut rig);
    let seen = events(&mut rig, &mut session, 0).len();
    let mut after = |rig: &mut Rig, cpu_percent, from| {
        busy(rig, cpu_percent);
        events(rig, &mut session, seen + from)
    };
    assert_eq!(after(&mut rig, 89.0, 0), [[0; 6]; 0]);
    assert_eq!(after(&mut rig, 90.0, 0), [[0x0B, INLET, 0x01, 0x59, 180, 180]]);
    assert_eq!(after(&mut rig, 85.5, 1), [[0; 6]; 0], "not far enough");
    assert_eq!(after(&mut rig, 84.0, 1), [[0x0B, INLET, 0x81, 0x59, 168, 180]]);
    // What is not there is not crossed.
    assert_eq!(read(&mut rig, &mut session, INLET), [168, 0xC0, 0xC0]);
}

#[test]
fn a_sensor_without_thresholds_says_so() {
    let (mut rig, mut session) = started();
    let mut run = |command, data: &[u8]| session.command(&mut rig, SENSOR, command, data);
    assert_eq!(run(0x27, &[LOAD]), (0, vec![0; 7]));
    assert_eq!(run(0x26, &[LOAD, 0x10, 0, 0, 0, 0, 9, 0]).0, 0xCD);
    assert_eq!(run(0x24, &[LOAD, 0xFF, 1, 1]).0, 0xCD);
    assert_eq!(run(0x25, &[LOAD, 0xFF]).0, 0xCD);
    assert_eq!(run(0x29, &[LOAD]), (0, vec![0xC0, 0, 0, 0, 0]));
    // Its record: percent, in steps of 5 × 10^-1.
    let mut id = [0, 0];
    let record = loop {
        let request = [0, 0, id[0], id[1], 0, 0xFF];
        let (code, data) = session.command(&mut rig, STORAGE, 0x23, &request);
        assert_eq!(code, 0);
        if data.ends_with(b"CPU Load") {
            break data[2..].to_vec();
        }
        id = [data[0], data[1]];
        assert_ne!(id, [0xFF, 0xFF]);
    };
    assert_eq!((record[3], record[7]), (0x01, LOAD));
    assert_eq!(record[10..14], [0x45, 0x43, 0x0B, 0x01]);
    assert_eq!(record[14..20], [0; 6]);
    assert_eq!(record[20..25], [0x01, 0, 0, 0, 5], "percentage, M");
    assert_eq!(record[29], 0xF0, "R exponent");
}

#[test]
fn what_clients_have_set_outlives_a_restart_unless_it_is_of_another_or_the_profiles() {
    let named = |sensor: &mut SensorPlan| {
        sensor.thresholds[4] = Some(90.0);
        sensor.hysteresis_declared = true;
    };
    let mut rig = with_own(named);
    let mut session = administrator(&mut rig);
    let mut run = |rig: &mut Rig, command, data: &[u8]| {
        assert_eq!(session.command(rig, SENSOR, command, data).0, 0);
    };
    run(&mut rig, 0x26, &[INLET, 0x10, 0, 0, 0, 0, 100, 0]);
    run(&mut rig, 0x24, &[INLET, 0xFF, 7, 8]);
    // No event at 1 above it.
    run(&mut rig, 0x28, &[INLET, 0x40]);
    let saved = rig.bmc.poll_save().unwrap();
    let after = |mut rig: Rig| {
        rig.bmc.restore(&saved).unwrap();
        let mut session = administrator(&mut rig);
        let mut run = |command, data: &[u8]| session.command(&mut rig, SENSOR, command, data).1;
        let (threshold, enables) = (run(0x27, &[INLET])[5], run(0x29, &[INLET])[0]);
        (threshold, run(0x25, &[INLET, 0xFF]), enables)
    };
    assert_eq!(after(with_own(named)), (180, vec![0, 0], 0x40), "events stay off");
    let default = |sensor: &mut SensorPlan| sensor.thresholds[4] = Some(90.0);
    assert_eq!(after(with_own(default)), (180, vec![7, 8], 0x40), "that is not the profile's");
    let renamed = |sensor: &mut SensorPlan| {
        sensor.thresholds[4] = Some(90.0);
        sensor.name = "Intake".into();
    };
    assert_eq!(after(with_own(renamed)), (180, vec![0, 0], 0xC0));
    assert_eq!(after(Rig::new()), (42, vec![2, 2], 0xC0), "the built-in one");
}

#[test]
fn all_sensors_are_listed() {
    let (mut rig, _) = started();
    on(&mut rig);
    let all = rig.bmc.sensors();
    let numbers: Vec<u8> = all.iter().map(|sensor| sensor.number).collect();
    let expected: Vec<u8> = (0x01..=0x0B).chain(0x10..=0x17).chain(0x20..=0x21).collect();
    assert_eq!(numbers, expected);
    let power = status(&rig, "ACPI State");
    assert_eq!((power.kind, power.value, power.unit), ("states", None, None));
    assert_eq!(power.states, ["S0/G0: working"]);
    assert_eq!(status(&rig, "CPU 2").states, ["present"]);
    assert_eq!(status(&rig, "SEL").kind, "events");
    let fan = status(&rig, "Fan 2 (sim)");
    assert_eq!((fan.kind, fan.value, fan.unit), ("fan", Some(6000.0), Some("RPM")));
}
