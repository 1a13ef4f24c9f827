//! What clients have changed of the sensors (v2.0 chapter 35).

use serde::{Deserialize, Serialize};

/// One sensor's; `None`: as the SDR says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Settings {
    /// Lower non-critical, critical, non-recoverable, upper non-critical, critical,
    /// non-recoverable, as raw readings (Set Sensor Thresholds).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bmc) thresholds: Option<[u8; 6]>,
    /// Positive-going, negative-going (Set Sensor Hysteresis).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bmc) hysteresis: Option<[u8; 2]>,
    /// What makes events (Set Sensor Event Enable).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bmc) enables: Option<Enables>,
}

/// Event messages and scanning of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bmc) struct Enables {
    /// Event messages at all.
    pub(in crate::bmc) events: bool,
    /// The sensor is read.
    pub(in crate::bmc) scanning: bool,
    /// By event offset, for assertions.
    pub(in crate::bmc) assertions: u16,
    /// By event offset, for deassertions.
    pub(in crate::bmc) deassertions: u16,
}
