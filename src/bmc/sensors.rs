//! Sensors: what they are, what their records in the SDR repository say, how they read now.

use std::collections::BTreeMap;

use crate::bmc::analog::Analog;
use crate::bmc::store::sensors::Enables;
use crate::bmc::store::{Settings, Store};
use crate::machine::activity::Activity;
use crate::plan::SensorsPlan;

/// Sensor numbers.
pub(super) const POWER_UNIT: u8 = 0x01;
pub(super) const ACPI_STATE: u8 = 0x02;
pub(super) const WATCHDOG: u8 = 0x03;
pub(super) const SYSTEM_BOOT: u8 = 0x04;
pub(super) const POWER_BUTTON: u8 = 0x05;
pub(super) const OS_STOP: u8 = 0x06;
pub(super) const SEL: u8 = 0x07;
pub(super) const BMC: u8 = 0x08;
pub(super) const SYSTEM_EVENT: u8 = 0x09;
pub(super) const DIAGNOSTIC: u8 = 0x0A;
pub(super) const SESSION: u8 = 0x0B;
const FIRST_CPU: u8 = 0x20;
/// CPU sockets that have a sensor.
const MAX_CPUS: u8 = 64;

/// Event/reading type codes (v2.0 table 42-1).
const THRESHOLD: u8 = 0x01;
const AVAILABILITY: u8 = 0x0A;
const SENSOR_SPECIFIC: u8 = 0x6F;

/// Entity IDs (v2.0 table 43-13).
pub(super) const PROCESSOR: u8 = 0x03;
const MANAGEMENT_MODULE: u8 = 0x06;
pub(super) const SYSTEM_BOARD: u8 = 0x07;
const FRONT_PANEL: u8 = 0x0C;
const POWER_UNIT_ENTITY: u8 = 0x13;
const OPERATING_SYSTEM: u8 = 0x23;
pub(super) const AIR_INLET: u8 = 0x37;

/// Kinds of sensor.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// States, by event offset: those that make events when they begin, and when they end.
    States { assertions: u16, deassertions: u16 },
    /// Makes events only.
    Events,
    /// A number.
    Analog(Box<Analog>),
}

/// One sensor.
#[derive(Clone, Debug)]
pub(super) struct Sensor {
    pub(super) number: u8,
    name: String,
    pub(super) sensor_type: u8,
    pub(super) event_type: u8,
    pub(super) entity: [u8; 2],
    pub(super) kind: Kind,
}

impl Sensor {
    fn new(number: u8, name: &str, sensor_type: u8, entity: u8, kind: Kind) -> Self {
        let event_type = match (number, &kind) {
            (BMC, _) => AVAILABILITY,
            (_, Kind::Analog(_)) => THRESHOLD,
            _ => SENSOR_SPECIFIC,
        };
        Self { number, name: name.to_owned(), sensor_type, event_type, entity: [entity, 1], kind }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What its number means, if it reads as one.
    pub(super) fn analog(&self) -> Option<&Analog> {
        match &self.kind {
            Kind::Analog(analog) => Some(analog),
            _ => None,
        }
    }

    /// The events that it can make, assertions and deassertions.
    pub(super) fn events(&self) -> [u16; 2] {
        match &self.kind {
            Kind::States { assertions, deassertions } => [*assertions, *deassertions],
            Kind::Events => [0x7FFF; 2],
            Kind::Analog(analog) => [analog.events(); 2],
        }
    }

    /// Its record (v2.0 sections 43.1 to 43.3), but for the record ID.
    fn record(&self) -> Vec<u8> {
        let mut body = vec![0x20, 0x00, self.number];
        body.extend(self.entity);
        let record_type = match &self.kind {
            Kind::Analog(analog) => {
                analog.record(self.event_type, &mut body);
                0x01
            }
            Kind::States { assertions, deassertions } => {
                // Scanning and events from the start; they can be switched.
                body.extend([0x63, 0x40, self.sensor_type, self.event_type]);
                for mask in [assertions, deassertions, assertions] {
                    body.extend(mask.to_le_bytes());
                }
                // No unit; not shared; no hysteresis.
                body.extend([0xC0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 0]);
                0x02
            }
            Kind::Events => {
                body.extend([self.sensor_type, self.event_type, 0x01, 0, 0, 0]);
                0x03
            }
        };
        with_name(record_type, body, &self.name)
    }
}

/// A record with its header, but for the record ID (v2.0 section 43).
fn with_name(record_type: u8, mut body: Vec<u8>, name: &str) -> Vec<u8> {
    let name: Vec<u8> = name.bytes().take(16).collect();
    body.push(0xC0 | u8::try_from(name.len()).unwrap_or(0));
    body.extend(name);
    let mut record = vec![0, 0, 0x51, record_type, u8::try_from(body.len()).unwrap_or(0)];
    record.extend(body);
    record
}

/// Management controller device locator (v2.0 section 43.9): static. `support`: as in Get Device ID.
fn controller_locator(support: u8) -> Vec<u8> {
    with_name(0x12, vec![0x20, 0, 0x20, support, 0, 0, 0, MANAGEMENT_MODULE, 1, 0], "BMC")
}

/// FRU device locator of FRU device 0 (v2.0 section 43.8): a logical device behind the BMC.
fn fru_locator() -> Vec<u8> {
    with_name(0x11, vec![0x20, 0x00, 0x80, 0, 0, 0x10, 0, SYSTEM_BOARD, 1, 0], "System FRU")
}

/// All sensors, and what they remember.
#[derive(Clone, Debug)]
pub(super) struct Sensors {
    all: Vec<Sensor>,
    /// Those that read as a number are the profile's.
    declared: bool,
    /// The BMC's own SDRs with their record IDs, from 1 on.
    pub(super) records: Vec<Vec<u8>>,
    /// States of the power unit that have been reported and still hold.
    pub(super) power_unit: u16,
    /// States of the watchdog.
    pub(super) watchdog: u16,
    /// Threshold events that have been reported and still hold, by sensor number.
    pub(super) asserted: BTreeMap<u8, u16>,
    /// How busy the machine is, while it is on.
    pub(super) activity: Activity,
    /// Raw readings that somebody has set, by sensor number.
    pub(super) overrides: BTreeMap<u8, u8>,
    /// The guest has been asked to shut down, as the machine tells it.
    pub(super) soft: bool,
}

impl Sensors {
    /// Those of a machine with this many CPU sockets, and with those of `plan` that read as a number.
    pub(super) fn new(cpu_sockets: u32, plan: &SensorsPlan, device_support: u8) -> Self {
        let states = |assertions, deassertions| Kind::States { assertions, deassertions };
        let mut all = vec![
            Sensor::new(POWER_UNIT, "Power Unit", 0x09, POWER_UNIT_ENTITY, states(0x73, 0x71)),
            Sensor::new(ACPI_STATE, "ACPI State", 0x22, SYSTEM_BOARD, states(0x21, 0)),
            Sensor::new(WATCHDOG, "Watchdog", 0x23, MANAGEMENT_MODULE, states(0x010F, 0)),
            Sensor::new(SYSTEM_BOOT, "System Boot", 0x1D, SYSTEM_BOARD, Kind::Events),
            Sensor::new(POWER_BUTTON, "Power Button", 0x14, FRONT_PANEL, Kind::Events),
            Sensor::new(OS_STOP, "OS Stop", 0x20, OPERATING_SYSTEM, Kind::Events),
            Sensor::new(SEL, "SEL", 0x10, MANAGEMENT_MODULE, Kind::Events),
            Sensor::new(BMC, "BMC", 0x16, MANAGEMENT_MODULE, Kind::Events),
            Sensor::new(SYSTEM_EVENT, "System Event", 0x12, SYSTEM_BOARD, Kind::Events),
            Sensor::new(DIAGNOSTIC, "Diag Interrupt", 0x13, SYSTEM_BOARD, Kind::Events),
            Sensor::new(SESSION, "Session Audit", 0x2A, MANAGEMENT_MODULE, Kind::Events),
        ];
        let discrete = all.len();
        for plan in &plan.numbers {
            let (number, name, entity) = (plan.number, plan.name.clone(), plan.entity_id);
            let analog = Box::new(Analog::new(plan.clone()));
            let sensor_type = analog.sensor_type();
            let mut sensor = Sensor::new(number, &name, sensor_type, entity, Kind::Analog(analog));
            // The second fan is another fan.
            let before = all[discrete..]
                .iter()
                .filter(|other| other.sensor_type == sensor_type && other.entity[0] == entity);
            sensor.entity[1] = before.map(|other| other.entity[1]).max().unwrap_or(0) + 1;
            all.push(sensor);
        }
        let cpus = u8::try_from(cpu_sockets).unwrap_or(MAX_CPUS).min(MAX_CPUS);
        for cpu in 1..=cpus {
            let number = FIRST_CPU + cpu - 1;
            let name = format!("CPU {cpu}");
            let mut sensor = Sensor::new(number, &name, 0x07, PROCESSOR, states(0x80, 0));
            sensor.entity[1] = cpu;
            all.push(sensor);
        }
        let mut records = vec![controller_locator(device_support), fru_locator()];
        records.extend(all.iter().map(Sensor::record));
        for (id, record) in (1_u16..).zip(&mut records) {
            record[..2].copy_from_slice(&id.to_le_bytes());
        }
        Self {
            all,
            declared: plan.declared,
            records,
            power_unit: 0,
            watchdog: 0,
            asserted: BTreeMap::new(),
            activity: Activity::default(),
            overrides: BTreeMap::new(),
            soft: false,
        }
    }

    /// The raw reading of a sensor that has a number, if there is one, `on`: the machine has power.
    pub(super) fn read(&self, sensor: &Sensor, on: bool) -> Option<u8> {
        let set = self.overrides.get(&sensor.number).copied();
        set.or_else(|| sensor.analog()?.read(on.then_some(&self.activity)))
    }

    /// Drops of `store` what clients have set of another sensor, which had the number before, and of
    /// sensors that the profile has its own word for.
    pub(super) fn settle(&self, store: &mut Store) {
        let marks = std::mem::take(&mut store.sensor_marks);
        store.sensors.retain(|number, settings| {
            let analog = self.get(*number).and_then(Sensor::analog);
            let mark = marks.get(number);
            let Some(analog) = analog else { return mark.is_none() };
            if mark != Some(&analog.mark()) {
                return false;
            }
            if self.declared {
                settings.thresholds = None;
                settings.hysteresis.take_if(|_| analog.plan.hysteresis_declared);
            }
            store.sensor_marks.insert(*number, analog.mark());
            *settings != Settings::default()
        });
    }

    /// The sensor with this number.
    pub(super) fn get(&self, number: u8) -> Option<&Sensor> {
        self.all.iter().find(|sensor| sensor.number == number)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Sensor> {
        self.all.iter()
    }

    /// All of them, with the IDs of their records, which stand last.
    pub(super) fn iter_with_ids(&self) -> impl Iterator<Item = (u16, &Sensor)> {
        let others = self.records.len() - self.all.len();
        let ids =
            self.records[others..].iter().map(|record| u16::from_le_bytes([record[0], record[1]]));
        ids.zip(&self.all)
    }

    /// States of a sensor without a number, `on`: the machine has power.
    pub(super) fn states(&self, number: u8, on: bool) -> u16 {
        match number {
            POWER_UNIT => self.power_unit & !1 | u16::from(!on),
            // S0/G0, S5/G2.
            ACPI_STATE => 1 << if on { 0 } else { 5 },
            WATCHDOG => self.watchdog,
            // Presence detected.
            FIRST_CPU.. => 0x80,
            _ => 0,
        }
    }
}

impl Settings {
    pub(super) fn thresholds_of(&self, analog: &Analog) -> [u8; 6] {
        self.thresholds.unwrap_or(analog.thresholds)
    }

    pub(super) fn hysteresis_of(&self, analog: &Analog) -> [u8; 2] {
        self.hysteresis.unwrap_or([analog.hysteresis; 2])
    }

    pub(super) fn enables_of(&self, sensor: &Sensor) -> Enables {
        let [assertions, deassertions] = sensor.events();
        self.enables.unwrap_or(Enables { events: true, scanning: true, assertions, deassertions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::check::{DISCRETE_SENSORS, is_discrete_sensor};

    #[test]
    fn records_have_the_lengths_of_the_specification() {
        let sensors = Sensors::new(2, &SensorsPlan::built_in(2, 1 << 30), 0x8F);
        assert_eq!(sensors.records.len(), 2 + sensors.all.len());
        for record in &sensors.records {
            let fixed = match record[3] {
                0x01 => 48,
                0x02 => 32,
                0x03 => 17,
                0x11 | 0x12 => 16,
                other => panic!("{other:02x}"),
            };
            let name_len = usize::from(record[fixed - 1] & 0x1F);
            assert_eq!(record.len(), fixed + name_len, "{record:02x?}");
            assert_eq!(usize::from(record[4]), record.len() - 5);
            assert!(record.len() <= 64);
        }
        let names: Vec<_> = sensors.all.iter().map(|sensor| &sensor.name).collect();
        assert!(names.iter().all(|name| name.len() <= 16), "{names:?}");
    }

    #[test]
    fn as_many_cpus_as_there_are_numbers_for() {
        for (sockets, cpus) in [(0, 0), (1, 1), (64, 64), (65, 64), (u32::MAX, 64)] {
            let sensors = Sensors::new(sockets, &SensorsPlan::built_in(2, 1 << 30), 0);
            assert_eq!(sensors.iter().filter(|sensor| sensor.sensor_type == 0x07).count(), cpus);
        }
    }

    #[test]
    fn profiles_know_the_names_of_sensors_without_a_number() {
        let none = SensorsPlan { numbers: vec![], ..SensorsPlan::built_in(2, 1 << 30) };
        let sensors = Sensors::new(2, &none, 0);
        let names: Vec<&str> = sensors.iter().map(Sensor::name).collect();
        assert_eq!(names[..11], DISCRETE_SENSORS);
        assert_eq!(names[11..], ["CPU 1", "CPU 2"]);
        assert!(names.into_iter().all(is_discrete_sensor));
    }
}
