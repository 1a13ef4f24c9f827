//! Sensors for people: what they read, and a reading of their own for one that has a number.

use std::time::Instant;

use tracing::info;

use crate::bmc::Bmc;
use crate::bmc::log::SensorEvent;
use crate::bmc::sel_text::state_name;
use crate::bmc::sensors::{Kind, Sensor};
use crate::machine::Power;
use crate::machine::activity::Activity;
use crate::plan::SensorPlan;
use crate::profile::variables::nearest;

/// How a sensor is.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorStatus {
    /// Sensor number.
    pub number: u8,
    /// Name.
    pub name: String,
    /// What kind of number it reads as; `states` and `events` for sensors without one.
    pub kind: &'static str,
    /// What it reads, if it has a number, and that can be read now.
    pub value: Option<f64>,
    /// The unit's sign, for those with a number.
    pub unit: Option<&'static str>,
    /// States that it is in, and thresholds that it has crossed.
    pub states: Vec<String>,
    /// Somebody has set the reading.
    pub set: bool,
}

/// Why a reading cannot be set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SensorError {
    /// There is no such sensor.
    #[error("there is no sensor `{name}`; {}", hint(.near.as_deref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        near: Option<String>,
    },
    /// It has no number.
    #[error("`{0}` has no number to set: its states are those of the machine and its BMC")]
    Discrete(String),
    /// It cannot read so.
    #[error("`{name}` cannot be {value}: it reads from 0 to {max} {unit}")]
    Range {
        /// The sensor.
        name: String,
        /// What was asked for.
        value: f64,
        /// The largest value.
        max: f64,
        /// The unit's sign.
        unit: &'static str,
    },
}

fn hint(near: Option<&str>) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`ctl sensor list` shows all".to_owned(),
    }
}

impl Bmc {
    /// How busy the machine is now.
    pub fn handle_activity(&mut self, now: Instant, activity: Activity) {
        // It may have been measured just before the machine's end.
        if self.core.machine.power == Power::On {
            self.core.sensors.activity = activity;
            self.core.check_thresholds(now, None);
        }
    }

    /// All sensors, by number.
    #[must_use]
    pub fn sensors(&self) -> Vec<SensorStatus> {
        self.core.sensors.iter().map(|sensor| self.sensor_status(sensor)).collect()
    }

    fn sensor_status(&self, sensor: &Sensor) -> SensorStatus {
        let sensors = &self.core.sensors;
        let on = self.core.machine.power == Power::On;
        let number = sensor.number;
        let settings = self.core.store.sensors.get(&number).copied().unwrap_or_default();
        let is_scanned = settings.enables_of(sensor).scanning;
        let (kind, states) = match &sensor.kind {
            Kind::Analog(analog) => {
                (analog.plan.kind.word(), sensors.asserted.get(&number).copied().unwrap_or(0))
            }
            Kind::States { .. } => ("states", sensors.states(number, on)),
            Kind::Events => ("events", 0),
        };
        let words = (0..15_u8).filter(|offset| states & 1 << offset != 0).map(|offset| {
            let name = state_name(sensor.event_type, sensor.sensor_type, offset);
            name.map_or_else(|| format!("state {offset:X}h"), str::to_owned)
        });
        let reading = sensors.read(sensor, on).filter(|_| is_scanned);
        SensorStatus {
            number,
            name: sensor.name().to_owned(),
            kind,
            value: sensor.analog().zip(reading).map(|(analog, raw)| analog.plan.scale.value(raw)),
            unit: sensor.analog().map(|analog| analog.plan.kind.unit()),
            states: words.collect(),
            set: sensors.overrides.contains_key(&number),
        }
    }

    /// Makes a sensor read as `value`, whatever the machine does, until [`Self::clear_sensor`] or the
    /// end of the program.
    ///
    /// # Errors
    /// When there is no such sensor, or it cannot read so.
    pub fn set_sensor(&mut self, now: Instant, name: &str, value: f64) -> Result<(), SensorError> {
        let (number, analog) = self.number_of(name)?;
        let (max, unit) = (analog.max, analog.kind.unit());
        if !(0.0..=max).contains(&value) {
            return Err(SensorError::Range { name: name.to_owned(), value, max, unit });
        }
        let raw = analog.scale.raw(value);
        info!(sensor = name, "reading set to {value} {unit}");
        self.core.sensors.overrides.insert(number, raw);
        self.core.check_thresholds(now, Some(number));
        Ok(())
    }

    /// Takes back what [`Self::set_sensor`] has set, if it has.
    ///
    /// # Errors
    /// When there is no such sensor, or it has no number.
    pub fn clear_sensor(&mut self, now: Instant, name: &str) -> Result<(), SensorError> {
        let (number, _) = self.number_of(name)?;
        let Some(raw) = self.core.sensors.overrides.remove(&number) else { return Ok(()) };
        info!(sensor = name, "reading is the sensor's own again");
        let on = self.core.machine.power == Power::On;
        let sensors = &self.core.sensors;
        let is_read = sensors.get(number).and_then(|sensor| sensors.read(sensor, on)).is_some();
        if !is_read {
            // Without a reading nothing would end what only the setting has begun.
            let asserted = self.core.sensors.asserted.insert(number, 0).unwrap_or(0);
            for offset in (0..12).filter(|offset| asserted & 1 << offset != 0) {
                let ended = SensorEvent::deasserted(number, offset);
                self.core.log_event(now, ended.with_data(0x40, raw, 0xFF));
            }
        }
        self.core.check_thresholds(now, Some(number));
        Ok(())
    }

    fn number_of(&self, name: &str) -> Result<(u8, &SensorPlan), SensorError> {
        let all = || self.core.sensors.iter();
        let Some(sensor) = all().find(|sensor| sensor.name() == name) else {
            let names = || all().filter(|sensor| sensor.analog().is_some()).map(Sensor::name);
            let near = only_beginning(name, names()).or_else(|| nearest(name, names()));
            let near = near.map(str::to_owned);
            return Err(SensorError::Unknown { name: name.to_owned(), near });
        };
        let analog = sensor.analog().ok_or_else(|| SensorError::Discrete(name.to_owned()))?;
        Ok((sensor.number, &analog.plan))
    }
}

/// The only name that begins so, in whatever case.
fn only_beginning<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let begins = |name: &&str| {
        name.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
    };
    let mut found = names.filter(begins);
    found.next().filter(|_| !wanted.is_empty() && found.next().is_none())
}
