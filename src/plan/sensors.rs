//! Sensors that read as a number: those of the profile, or the built-in ones.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::machine::activity::Activity;
use crate::profile::Profile;
use crate::profile::check::{Sensor, Thresholds};
use crate::profile::document::{Per, SensorKind};

/// Number of the first.
const FIRST: u8 = 0x10;

/// Entity IDs (v2.0 table 43-13).
mod entity {
    pub(super) const PROCESSOR: u8 = 0x03;
    pub(super) const SYSTEM_BOARD: u8 = 0x07;
    pub(super) const MEMORY_MODULE: u8 = 0x08;
    pub(super) const POWER_SUPPLY: u8 = 0x0A;
    pub(super) const POWER_UNIT: u8 = 0x13;
    pub(super) const FAN: u8 = 0x1D;
    pub(super) const AIR_INLET: u8 = 0x37;
}

/// The sensors, and what their readings are measured against.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SensorsPlan {
    /// Processors of the machine: with all of them busy, its load is 100 %.
    pub cpus: u32,
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// Sensors that read as a number.
    pub numbers: Vec<SensorPlan>,
    /// They are the profile's.
    #[serde(skip)]
    pub declared: bool,
}

/// A sensor that reads as a number.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SensorPlan {
    /// Sensor number.
    pub number: u8,
    /// Name.
    pub name: String,
    /// What it measures.
    pub kind: SensorKind,
    /// What it belongs to (IPMI v2.0 table 43-13).
    pub entity_id: u8,
    /// What a raw reading stands for.
    pub scale: Scale,
    /// The largest value that is read.
    pub max: f64,
    /// What it reads without activity.
    pub value: f64,
    /// What activity adds.
    pub per: Per,
    /// It reads while the machine is off, too.
    pub always: bool,
    /// Lower and upper, each non-critical, critical, non-recoverable.
    pub thresholds: Thresholds,
    /// How far the reading has to come back from a threshold.
    pub hysteresis: f64,
    /// The profile says so, and what was set over IPMI does not count.
    pub hysteresis_declared: bool,
    /// Between what it reads as a rule, if that is known.
    pub normal: Option<[f64; 2]>,
}

/// Value = raw reading × `m` × 10 ^ `exponent` (IPMI v2.0 section 36.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Scale {
    /// M.
    pub m: u8,
    /// R exponent.
    pub exponent: i8,
}

impl Scale {
    /// The finest with which `max` can be read: one digit and zeros, as is easy to read.
    #[must_use]
    pub fn for_max(max: f64) -> Self {
        // A product of what has two digits may fall short of what it should be.
        let enough = max * (1.0 - 1e-9);
        let scales = (-8..=7_i8).flat_map(|exponent| (1..=9_u8).map(move |m| Self { m, exponent }));
        let found = { scales }.find(|scale| scale.value(u8::MAX) >= enough);
        let Self { mut m, mut exponent } = found.unwrap_or(Self { m: 9, exponent: 7 });
        while exponent > 0
            && let Some(more) = m.checked_mul(10)
        {
            (m, exponent) = (more, exponent - 1);
        }
        Self { m, exponent }
    }

    /// What a raw reading stands for.
    #[must_use]
    pub fn value(self, raw: u8) -> f64 {
        let count = f64::from(raw) * f64::from(self.m);
        let power = 10_f64.powi(i32::from(self.exponent).abs());
        // What has few digits keeps them when it is divided, and not when it is multiplied by 0.01.
        if self.exponent < 0 { count / power } else { count * power }
    }

    /// The raw reading next to a value.
    #[must_use]
    pub fn raw(self, value: f64) -> u8 {
        let count = (value / self.value(1)).round().clamp(0.0, f64::from(u8::MAX));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        // NaN, which no check lets in, becomes 0.
        let raw = count as u8;
        raw
    }
}

impl SensorPlan {
    fn of(number: u8, sensor: Sensor, entity_id: u8, normal: Option<[f64; 2]>) -> Self {
        let Sensor { name, kind, value, per, max, always, thresholds, hysteresis } = sensor;
        Self {
            number,
            name,
            kind,
            entity_id,
            scale: Scale::for_max(max),
            max,
            value,
            per,
            always,
            thresholds,
            hysteresis: hysteresis.unwrap_or(0.0),
            hysteresis_declared: hysteresis.is_some(),
            normal,
        }
    }

    /// What it reads when the machine is as busy as this; `None`: that depends on what nobody knows.
    #[must_use]
    pub fn reading(&self, activity: &Activity) -> Option<f64> {
        let Activity { cpu_percent, memory_percent, disk_mib_s, nic_mib_s } = *activity;
        let measured = [cpu_percent, memory_percent, disk_mib_s, nic_mib_s];
        let mut reading = self.value;
        for ((_, factor), measured) in self.per.terms().into_iter().zip(measured) {
            if factor != 0.0 {
                reading += factor * measured?;
            }
        }
        Some(reading.clamp(0.0, self.max))
    }

    /// It depends on the machine's activity.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.per.terms().iter().any(|(_, factor)| *factor != 0.0)
    }

    fn text(&self) -> String {
        let Self { number, name, kind, scale, value, max, hysteresis, .. } = self;
        let mut out = format!("  {number:02X}h  {name}  {}  {value}", kind.word());
        for (key, factor) in self.per.terms().into_iter().filter(|(_, factor)| *factor != 0.0) {
            let sign = if factor < 0.0 { '-' } else { '+' };
            let _ = write!(out, " {sign} {} × {key}", factor.abs());
        }
        let (unit, step) = (kind.unit(), scale.value(1));
        let always = if self.always { ", also while off" } else { "" };
        let _ = writeln!(out, ", at most {max} {unit}, by {step}{always}");
        let words = [
            "lower non-critical",
            "lower critical",
            "lower non-recoverable",
            "upper non-critical",
            "upper critical",
            "upper non-recoverable",
        ];
        let there = words.into_iter().zip(self.thresholds);
        let there = there.filter_map(|(word, value)| Some(format!("{word} {}", value?)));
        let there: Vec<String> = there.collect();
        if !there.is_empty() {
            let _ = writeln!(out, "       {}; hysteresis {hysteresis}", there.join(", "));
        }
        out
    }
}

impl SensorsPlan {
    pub(super) fn render(profile: &Profile) -> Self {
        let plan = |(number, sensor): (u8, Sensor)| {
            let entity = match sensor.kind {
                SensorKind::Temperature | SensorKind::Percent => entity::SYSTEM_BOARD,
                SensorKind::Fan => entity::FAN,
                SensorKind::Power => entity::POWER_UNIT,
                SensorKind::Voltage | SensorKind::Current => entity::POWER_SUPPLY,
            };
            SensorPlan::of(number, sensor, entity, None)
        };
        let machine = &profile.machine;
        let built_in = Self::built_in(machine.cpus, machine.memory.mib() << 20);
        let Some(declared) = &profile.sensors else { return built_in };
        let numbers = (FIRST..).zip(declared.iter().cloned()).map(plan).collect();
        Self { numbers, declared: true, ..built_in }
    }

    /// Those of a machine whose profile has none.
    #[must_use]
    pub fn built_in(cpus: u32, memory_bytes: u64) -> Self {
        Self { cpus, memory_bytes, numbers: built_in(), declared: false }
    }

    /// Only of a profile that has its own.
    pub(super) fn text(&self) -> String {
        if !self.declared {
            return String::new();
        }
        let mut out = String::from("\nsensors\n");
        if self.numbers.is_empty() {
            out.push_str("  none that reads as a number\n");
        }
        self.numbers.iter().for_each(|sensor| out.push_str(&sensor.text()));
        out
    }
}

/// Of what nobody measures, the names say so.
fn built_in() -> Vec<SensorPlan> {
    use SensorKind::{Fan, Percent, Power, Temperature, Voltage};
    let sensor = |name: &str, kind: SensorKind, value, hysteresis, thresholds: [f64; 6]| Sensor {
        name: name.to_owned(),
        kind,
        value,
        per: Per::default(),
        max: kind.default_max(),
        always: false,
        thresholds: thresholds.map(Some),
        hysteresis: Some(hysteresis),
    };
    let activity = |name: &str, kind, value, per| Sensor {
        per,
        thresholds: [None; 6],
        hysteresis: None,
        ..sensor(name, kind, value, 0.0, [0.0; 6])
    };
    let inlet =
        sensor("Inlet Temp (sim)", Temperature, 24.0, 2.0, [5.0, 3.0, 1.0, 38.0, 42.0, 47.0]);
    let inlet = Sensor { always: true, ..inlet };
    let cpu = sensor("CPU Temp (sim)", Temperature, 45.0, 2.0, [5.0, 3.0, 1.0, 80.0, 90.0, 100.0]);
    let rpm = [1500.0, 1000.0, 500.0, 12_000.0, 12_250.0, 12_500.0];
    let fan = |name| sensor(name, Fan, 6000.0, 100.0, rpm);
    let volts = [11.4, 10.8, 10.2, 12.6, 13.2, 13.8];
    let volts = sensor("12V (sim)", Voltage, 12.0, 0.06, volts);
    let per_cpu = |factor| Per { cpu_percent: factor, ..Per::default() };
    let per_memory = Per { memory_percent: 1.0, ..Per::default() };
    let all = [
        (inlet, entity::AIR_INLET, Some([10.0, 35.0])),
        (cpu, entity::PROCESSOR, Some([20.0, 75.0])),
        (fan("Fan 1 (sim)"), entity::FAN, Some([3000.0, 10_000.0])),
        (fan("Fan 2 (sim)"), entity::FAN, Some([3000.0, 10_000.0])),
        (volts, entity::POWER_SUPPLY, Some([11.7, 12.3])),
        (activity("CPU Load", Percent, 0.0, per_cpu(1.0)), entity::PROCESSOR, None),
        (activity("Memory", Percent, 0.0, per_memory), entity::MEMORY_MODULE, None),
        (activity("Power (sim)", Power, 60.0, per_cpu(1.2)), entity::POWER_UNIT, None),
    ];
    let plan = |(number, (sensor, entity, normal))| SensorPlan {
        hysteresis_declared: false,
        ..SensorPlan::of(number, sensor, entity, normal)
    };
    (FIRST..).zip(all).map(plan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_the_finest_that_reach_and_round() {
        let scale = |max: f64| {
            let Scale { m, exponent } = Scale::for_max(max);
            (m, exponent)
        };
        assert_eq!(scale(255.0), (1, 0));
        assert_eq!(scale(12_750.0), (50, 0));
        assert_eq!(scale(15.3), (6, -2));
        assert_eq!(scale(127.0), (5, -1));
        assert_eq!(scale(510.0), (2, 0));
        assert_eq!(scale(511.0), (3, 0));
        assert_eq!(scale(25.5), (1, -1));
        assert_eq!(scale(0.001), (4, -6));
        assert_eq!(scale(1e9), (40, 5));
        for max in [0.001, 0.1, 1.0, 15.3, 99.9, 100.0, 255.0, 256.0, 12_751.0, 7e5, 1e9] {
            let scale = Scale::for_max(max);
            assert!(scale.value(u8::MAX) >= max * (1.0 - 1e-9), "{max}");
            // No reading of it is off by more than half a step.
            for part in 0..=100 {
                let value = max * f64::from(part) / 100.0;
                let off = (scale.value(scale.raw(value)) - value).abs();
                assert!(off <= scale.value(1) * 0.500_001, "{value} of {max} is off by {off}");
            }
            for raw in 0..=u8::MAX {
                assert_eq!(scale.raw(scale.value(raw)), raw, "{max}");
            }
        }
        let volts = Scale { m: 6, exponent: -2 };
        assert_eq!((volts.raw(12.0), volts.value(200)), (200, 12.0));
        assert_eq!([volts.raw(-1.0), volts.raw(1e9), volts.raw(f64::NAN)], [0, 255, 0]);
    }

    #[test]
    fn a_reading_is_the_value_and_what_activity_adds() {
        let mut sensor = built_in().pop().unwrap();
        sensor.per = Per { cpu_percent: 2.0, disk_mib_s: -1.0, ..Per::default() };
        let activity = |cpu, disk| Activity {
            cpu_percent: Some(cpu),
            disk_mib_s: disk,
            ..Activity::default()
        };
        assert_eq!(sensor.reading(&activity(50.0, Some(10.0))), Some(150.0));
        assert_eq!(sensor.reading(&activity(0.0, Some(100.0))), Some(0.0), "not below zero");
        assert_eq!(sensor.reading(&activity(9000.0, Some(0.0))), Some(510.0), "not above the most");
        assert_eq!(sensor.reading(&activity(50.0, None)), None, "nobody knows");
        sensor.per.disk_mib_s = 0.0;
        assert_eq!(sensor.reading(&activity(50.0, None)), Some(160.0), "nor has to");
        assert_eq!(sensor.reading(&Activity::NONE), Some(60.0));
        assert!(sensor.is_measured());
    }

    #[test]
    fn built_in_sensors_have_the_numbers_and_readings_that_clients_know() {
        let raw = |sensor: &SensorPlan| sensor.scale.raw(sensor.value);
        let all = built_in();
        let first: Vec<_> = all.iter().map(|sensor| (sensor.number, raw(sensor))).collect();
        assert_eq!(first[..5], [(0x10, 24), (0x11, 45), (0x12, 120), (0x13, 120), (0x14, 200)]);
        assert_eq!(first[5..], [(0x15, 0), (0x16, 0), (0x17, 30)]);
        let names: Vec<&str> = all.iter().map(|sensor| sensor.name.as_str()).collect();
        assert_eq!(names[5..], ["CPU Load", "Memory", "Power (sim)"]);
    }
}
