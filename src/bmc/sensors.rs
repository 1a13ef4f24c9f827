//! Sensors: what they are, what their records in the SDR repository say, how they read now.

use std::collections::BTreeMap;

use crate::bmc::store::Settings;
use crate::bmc::store::sensors::Enables;

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
const FIRST_ANALOG: u8 = 0x10;
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
const POWER_SUPPLY: u8 = 0x0A;
const POWER_UNIT_ENTITY: u8 = 0x13;
const FAN: u8 = 0x1D;
const OPERATING_SYSTEM: u8 = 0x23;
pub(super) const AIR_INLET: u8 = 0x37;

/// Units (v2.0 table 43-15).
const DEGREES_C: u8 = 1;
const VOLTS: u8 = 4;
const RPM: u8 = 18;

/// Events of a threshold sensor: going low below the lower, going high above the upper ones.
pub(super) const THRESHOLD_EVENTS: u16 = 0x0A95;

/// What a number that is read means.
#[derive(Clone, Debug)]
pub(super) struct Analog {
    unit: u8,
    /// Value = raw reading × m × 10^exponent.
    pub(super) m: u8,
    pub(super) exponent: i8,
    /// The simulated reading, raw as all that follow.
    pub(super) reading: u8,
    normal: [u8; 2],
    /// In the order of Get Sensor Thresholds: lower and upper, each non-critical, critical,
    /// non-recoverable.
    thresholds: [u8; 6],
    hysteresis: u8,
    /// Nothing to measure while the machine is off.
    needs_power: bool,
}

/// Kinds of sensor.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// States, by event offset: those that make events when they begin, and when they end.
    States { assertions: u16, deassertions: u16 },
    /// Makes events only.
    Events,
    /// A number, simulated.
    Analog(Analog),
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

    /// Its number, if it has one to read.
    pub(super) fn analog(&self) -> Option<&Analog> {
        match &self.kind {
            Kind::Analog(analog) => Some(analog),
            _ => None,
        }
    }

    /// The events that it can make, assertions and deassertions.
    pub(super) fn events(&self) -> [u16; 2] {
        match self.kind {
            Kind::States { assertions, deassertions } => [assertions, deassertions],
            Kind::Events => [0x7FFF; 2],
            Kind::Analog(_) => [THRESHOLD_EVENTS; 2],
        }
    }

    /// Its record (v2.0 sections 43.1 to 43.3), but for the record ID.
    fn record(&self) -> Vec<u8> {
        let mut body = vec![0x20, 0x00, self.number];
        body.extend(self.entity);
        let record_type = match &self.kind {
            Kind::Analog(analog) => {
                analog.record(self, &mut body);
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

impl Analog {
    fn record(&self, sensor: &Sensor, body: &mut Vec<u8>) {
        // All can be initialised; re-arms by itself; hysteresis and thresholds can be set.
        body.extend([0x7F, 0x68, sensor.sensor_type, sensor.event_type]);
        // Bits 12 to 14: which comparisons Get Sensor Reading answers, lower and upper.
        for _ in 0..2 {
            body.extend((0x7000 | THRESHOLD_EVENTS).to_le_bytes());
        }
        // All thresholds can be read and set. Unsigned, linear; M, no offset; R and no B exponent.
        body.extend([0x3F, 0x3F, 0x00, self.unit, 0, 0x00, self.m, 0, 0, 0, 0]);
        let exponent = self.exponent.to_le_bytes()[0];
        let [low, high] = self.normal;
        body.extend([exponent << 4, 0x07, self.reading, high, low, 0xFF, 0x00]);
        let [lnc, lc, lnr, unc, uc, unr] = self.thresholds;
        body.extend([unr, uc, unc, lnr, lc, lnc, self.hysteresis, self.hysteresis, 0, 0, 0]);
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
    /// The BMC's own SDRs with their record IDs, from 1 on.
    pub(super) records: Vec<Vec<u8>>,
    /// States of the power unit that have been reported and still hold.
    pub(super) power_unit: u16,
    /// States of the watchdog.
    pub(super) watchdog: u16,
    /// Threshold events that have been reported and still hold, by sensor number.
    pub(super) asserted: BTreeMap<u8, u16>,
    /// The guest has been asked to shut down, as the machine tells it.
    pub(super) soft: bool,
}

impl Sensors {
    /// Those of a machine with this many CPU sockets.
    pub(super) fn new(cpu_sockets: u32, device_support: u8) -> Self {
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
        for (number, (name, sensor_type, entity, analog)) in (FIRST_ANALOG..).zip(simulated()) {
            all.push(Sensor::new(number, name, sensor_type, entity, Kind::Analog(analog)));
        }
        // The second fan is another fan.
        let fans = all.iter_mut().filter(|sensor| sensor.entity[0] == FAN);
        (1..).zip(fans).for_each(|(instance, fan)| fan.entity[1] = instance);
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
        Self { all, records, power_unit: 0, watchdog: 0, asserted: BTreeMap::new(), soft: false }
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

/// Name, sensor type, entity, values. There is nothing behind them; their names say so.
fn simulated() -> [(&'static str, u8, u8, Analog); 5] {
    let fan = Analog {
        unit: RPM,
        m: 50,
        exponent: 0,
        reading: 120,
        normal: [60, 200],
        thresholds: [30, 20, 10, 240, 245, 250],
        hysteresis: 2,
        needs_power: true,
    };
    let temperature = |reading, normal, thresholds, needs_power| Analog {
        unit: DEGREES_C,
        m: 1,
        exponent: 0,
        reading,
        normal,
        thresholds,
        hysteresis: 2,
        needs_power,
    };
    let volts = Analog {
        unit: VOLTS,
        m: 6,
        exponent: -2,
        reading: 200,
        normal: [195, 205],
        thresholds: [190, 180, 170, 210, 220, 230],
        hysteresis: 1,
        needs_power: true,
    };
    let inlet = temperature(24, [10, 35], [5, 3, 1, 38, 42, 47], false);
    let cpu = temperature(45, [20, 75], [5, 3, 1, 80, 90, 100], true);
    [
        ("Inlet Temp (sim)", 0x01, AIR_INLET, inlet),
        ("CPU Temp (sim)", 0x01, PROCESSOR, cpu),
        ("Fan 1 (sim)", 0x04, FAN, fan.clone()),
        ("Fan 2 (sim)", 0x04, FAN, fan),
        ("12V (sim)", 0x02, POWER_SUPPLY, volts),
    ]
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

impl Analog {
    /// The reading, if there is one in this power state.
    pub(super) fn read(&self, on: bool) -> Option<u8> {
        (on || !self.needs_power).then_some(self.reading)
    }
}

/// Which thresholds `reading` is at or beyond, in the order of Get Sensor Thresholds.
pub(super) fn beyond(reading: u8, thresholds: [u8; 6]) -> u8 {
    let mut mask = 0;
    for (index, threshold) in thresholds.into_iter().enumerate() {
        let is = if index < 3 { reading <= threshold } else { reading >= threshold };
        mask |= u8::from(is) << index;
    }
    mask
}

/// The event offset of a threshold: lower ones are passed going low, upper ones going high.
pub(super) fn threshold_event(index: u8) -> u8 {
    if index < 3 { 2 * index } else { 2 * index + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_lengths_of_the_specification() {
        let sensors = Sensors::new(2, 0x8F);
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
            let sensors = Sensors::new(sockets, 0);
            assert_eq!(sensors.iter().filter(|sensor| sensor.sensor_type == 0x07).count(), cpus);
        }
    }

    #[test]
    fn thresholds_and_their_events() {
        assert_eq!(beyond(50, [30, 20, 10, 70, 80, 90]), 0);
        assert_eq!(beyond(20, [30, 20, 10, 70, 80, 90]), 0b011);
        assert_eq!(beyond(90, [30, 20, 10, 70, 80, 90]), 0b11_1000);
        assert_eq!([0, 1, 2, 3, 4, 5].map(threshold_event), [0, 2, 4, 7, 9, 11]);
    }
}
