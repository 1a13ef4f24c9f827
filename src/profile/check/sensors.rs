//! `[[sensors]]`.

use std::collections::BTreeMap;

use super::Check;
use crate::profile::document::{self, Per, SensorKind};
use crate::profile::sources::Key;

/// Sensors of the BMC's own that have states or make events, and no number. Beside them there is a
/// sensor `CPU 1` and so on for each socket.
pub const DISCRETE_SENSORS: [&str; 11] = [
    "Power Unit",
    "ACPI State",
    "Watchdog",
    "System Boot",
    "Power Button",
    "OS Stop",
    "SEL",
    "BMC",
    "System Event",
    "Diag Interrupt",
    "Session Audit",
];

/// Most sensors: they have the numbers 10h to 1Fh.
const MAX_SENSORS: usize = 16;
/// Most characters of a name (v2.0 section 43.1).
const MAX_NAME: usize = 16;
/// The largest values of `max` that a record can say well.
const MAX_RANGE: [f64; 2] = [0.001, 1e9];

/// A sensor that reads as a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Name.
    pub name: String,
    /// What it measures.
    pub kind: SensorKind,
    /// What it reads without activity.
    pub value: f64,
    /// What activity adds.
    pub per: Per,
    /// The largest value that can be read.
    pub max: f64,
    /// It reads while the machine is off, too.
    pub always: bool,
    /// In the unit of the sensor.
    pub thresholds: Thresholds,
    /// How far the reading has to come back, if the profile says it.
    pub hysteresis: Option<f64>,
}

/// Thresholds in the order of Get Sensor Thresholds (v2.0 section 35.9): lower and upper, each
/// non-critical, critical, non-recoverable.
pub type Thresholds = [Option<f64>; 6];

/// The keys of [`Thresholds`].
const KEYS: [&str; 6] = [
    "lower_noncritical",
    "lower_critical",
    "lower_nonrecoverable",
    "upper_noncritical",
    "upper_critical",
    "upper_nonrecoverable",
];
/// Indices of [`Thresholds`], lowest value first.
const ASCENDING: [usize; 6] = [2, 1, 0, 3, 4, 5];

/// Whether a sensor without a number has this name.
#[must_use]
pub fn is_discrete_sensor(name: &str) -> bool {
    let is_cpu = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    DISCRETE_SENSORS.contains(&name) || name.strip_prefix("CPU ").is_some_and(is_cpu)
}

impl Check<'_> {
    pub(super) fn sensors(&mut self, sensors: &[document::Sensor]) -> Vec<Sensor> {
        if sensors.len() > MAX_SENSORS {
            let help = format!("at most {MAX_SENSORS}");
            self.error("sensors", format!("{} sensors", sensors.len()), help);
        }
        let mut seen = BTreeMap::new();
        let mut checked = Vec::new();
        for (index, sensor) in sensors.iter().enumerate() {
            if let Some(name) = &sensor.name {
                self.sensor_name(index, name);
                if let Some(first) = seen.insert(name, index) {
                    self.error(
                        &format!("sensors.{index}.name"),
                        format!("sensors[{first}] and sensors[{index}] have the same name, {name}"),
                        "give each a name of its own",
                    );
                }
            }
            checked.extend(self.sensor(index, sensor));
        }
        checked
    }

    fn sensor_name(&mut self, index: usize, name: &str) {
        let key = format!("sensors.{index}.name");
        self.printable(&key, name, MAX_NAME);
        if name.starts_with(' ') || name.ends_with(' ') {
            let message = format!("`{name}` begins or ends with a space");
            self.error(&key, message, "leave the space out: clients do not show it");
        }
        if is_discrete_sensor(name) {
            let message = format!("the BMC has a sensor of its own with the name {name}");
            self.error(&key, message, "write another name");
        }
    }

    fn sensor(&mut self, index: usize, sensor: &document::Sensor) -> Option<Sensor> {
        let section = format!("sensors.{index}");
        let key = |name: &str| format!("{section}.{name}");
        if sensor.name.is_none() {
            self.error(&section, format!("sensors[{index}] has no `name`"), "write `name = \"…\"`");
        }
        let Some(kind) = sensor.kind else {
            let message = format!("sensors[{index}] has no `kind`");
            self.error(&section, message, "write for example `kind = \"temperature\"`");
            return None;
        };
        let unit = kind.unit();
        let max = sensor.max.unwrap_or_else(|| kind.default_max());
        let [least, most] = MAX_RANGE;
        if !(least..=most).contains(&max) {
            let message = format!("`{}` cannot be {max}", Key::from(key("max").as_str()));
            self.error(&key("max"), message, format!("{least} to {most} {unit}"));
            return None;
        }
        if sensor.value.is_none() && sensor.per.is_none() {
            self.error(
                &section,
                format!("sensors[{index}] has neither a `value` nor `per`"),
                "write for example `value = 28`, or `per = { cpu_percent = 0.4 }`",
            );
        }
        let values = KEYS.into_iter().zip(thresholds(sensor));
        let values = values.chain([("value", sensor.value), ("hysteresis", sensor.hysteresis)]);
        let mut is_right = true;
        for (name, value) in values {
            let Some(value) = value.filter(|value| !(0.0..=max).contains(value)) else { continue };
            let message = format!("`{}` cannot be {value}", Key::from(key(name).as_str()));
            let help = match sensor.max {
                _ if value < 0.0 => {
                    format!("0 to {max} {unit}: sensors have no values below zero")
                }
                _ if value.is_nan() => format!("0 to {max} {unit}"),
                Some(_) => format!("0 to {max} {unit}, which is the sensor's `max`"),
                None => format!("0 to {max} {unit}; a larger `max` makes room for more"),
            };
            self.error(&key(name), message, help);
            is_right = false;
        }
        if is_right {
            self.thresholds_ascend(index, sensor);
        }
        let per = sensor.per.unwrap_or_default();
        for (name, factor) in per.terms() {
            if !factor.is_finite() || factor.abs() > most {
                let key = key(&format!("per.{name}"));
                let message = format!("`{}` cannot be {factor}", Key::from(key.as_str()));
                self.error(&key, message, format!("-{most} to {most} {unit}"));
            }
        }
        Some(Sensor {
            name: sensor.name.clone()?,
            kind,
            value: sensor.value.unwrap_or(0.0),
            per,
            max,
            always: sensor.always,
            thresholds: thresholds(sensor),
            hysteresis: sensor.hysteresis,
        })
    }

    /// Each threshold is above those that stand before it.
    fn thresholds_ascend(&mut self, index: usize, sensor: &document::Sensor) {
        let values = thresholds(sensor);
        let there = ASCENDING.into_iter().filter_map(|at| Some((KEYS[at], values[at]?)));
        let there: Vec<(&str, f64)> = there.collect();
        for pair in there.windows(2) {
            let [(below, low), (above, high)] = pair else { continue };
            if high <= low {
                self.error(
                    &format!("sensors.{index}.{above}"),
                    format!(
                        "sensors[{index}] has `{above}` {high}, which is not above `{below}` {low}"
                    ),
                    format!("in this order: {}", ASCENDING.map(|at| KEYS[at]).join(", ")),
                );
            }
        }
    }
}

fn thresholds(sensor: &document::Sensor) -> Thresholds {
    [
        sensor.lower_noncritical,
        sensor.lower_critical,
        sensor.lower_nonrecoverable,
        sensor.upper_noncritical,
        sensor.upper_critical,
        sensor.upper_nonrecoverable,
    ]
}
