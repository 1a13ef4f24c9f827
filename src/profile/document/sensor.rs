//! `[[sensors]]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A sensor that reads as a number: `value`, and what the machine's activity adds to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sensor {
    /// Name, 1 to 16 printable ASCII characters. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = 16), example = &"Exhaust Temp")]
    pub name: Option<String>,
    /// What it measures; unit, sensor type and entity follow from it. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, example = &"temperature")]
    pub kind: Option<SensorKind>,
    /// What it reads while the machine has nothing to do, in the unit of its kind. Default: 0 with
    /// `per`; else it is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), example = 28.5)]
    pub value: Option<f64>,
    /// What the machine's activity adds. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    /// The largest value that can be read: the step between two readings follows from it. Default:
    /// 255 °C, 12750 RPM, 510 W, 15.3 V, 25.5 A, 127 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 100)]
    pub max: Option<f64>,
    /// It reads while the machine is off, too.
    #[schemars(example = true)]
    pub always: bool,
    /// Lower non-recoverable threshold in the unit of the sensor. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1)]
    pub lower_nonrecoverable: Option<f64>,
    /// Lower critical threshold. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 3)]
    pub lower_critical: Option<f64>,
    /// Lower non-critical threshold. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5)]
    pub lower_noncritical: Option<f64>,
    /// Upper non-critical threshold. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 60)]
    pub upper_noncritical: Option<f64>,
    /// Upper critical threshold. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 70)]
    pub upper_critical: Option<f64>,
    /// Upper non-recoverable threshold. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 80)]
    pub upper_nonrecoverable: Option<f64>,
    /// How far the reading has to come back from a threshold before the event ends. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), example = 2)]
    pub hysteresis: Option<f64>,
}

/// What the machine's activity adds to a sensor, as its host sees it: so much for each unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Per {
    /// For each percent of load of the machine's processors; 100: all are busy.
    #[schemars(example = 0.4)]
    pub cpu_percent: f64,
    /// For each percent of the machine's memory that is in the host's RAM.
    #[schemars(example = 0.05)]
    pub memory_percent: f64,
    /// For each MiB/s that is read from disks, or written.
    #[schemars(example = 0.1)]
    pub disk_mib_s: f64,
    /// For each MiB/s that goes to the guest over NICs with a TAP device, or comes from it.
    #[schemars(example = 0.1)]
    pub nic_mib_s: f64,
}

impl Per {
    /// The terms, each with its key.
    #[must_use]
    pub fn terms(&self) -> [(&'static str, f64); 4] {
        let Self { cpu_percent, memory_percent, disk_mib_s, nic_mib_s } = *self;
        [
            ("cpu_percent", cpu_percent),
            ("memory_percent", memory_percent),
            ("disk_mib_s", disk_mib_s),
            ("nic_mib_s", nic_mib_s),
        ]
    }
}

/// What a sensor measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SensorKind {
    /// °C.
    Temperature,
    /// RPM.
    Fan,
    /// W.
    Power,
    /// V.
    Voltage,
    /// A.
    Current,
    /// %.
    Percent,
}

impl SensorKind {
    /// The profile's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Fan => "fan",
            Self::Power => "power",
            Self::Voltage => "voltage",
            Self::Current => "current",
            Self::Percent => "percent",
        }
    }

    /// The unit's sign.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Temperature => "°C",
            Self::Fan => "RPM",
            Self::Power => "W",
            Self::Voltage => "V",
            Self::Current => "A",
            Self::Percent => "%",
        }
    }

    /// The largest value that can be read, unless the profile says another.
    #[must_use]
    pub fn default_max(self) -> f64 {
        match self {
            Self::Temperature => 255.0,
            Self::Fan => 12_750.0,
            Self::Power => 510.0,
            Self::Voltage => 15.3,
            Self::Current => 25.5,
            Self::Percent => 127.0,
        }
    }
}
