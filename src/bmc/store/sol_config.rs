//! SOL configuration parameters (v2.0 table 26-5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bmc::sol::Tuning;
use crate::wire::code::Privilege;

/// 115.2 kbit/s.
const FASTEST: u8 = 0x0A;

/// What clients can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct SolConfig {
    /// The session that has announced to set parameters.
    #[serde(skip)]
    pub(in crate::bmc) set_in_progress_by: Option<u32>,
    /// SOL can be activated.
    pub(in crate::bmc) enabled: bool,
    /// Only with encryption.
    pub(in crate::bmc) force_encryption: bool,
    /// Only with authentication.
    pub(in crate::bmc) force_authentication: bool,
    /// Lowest privilege level that may activate it.
    pub(in crate::bmc) privilege: u8,
    /// Character accumulate interval, in 5 ms.
    pub(in crate::bmc) accumulate_interval_5ms: u8,
    /// Character send threshold.
    pub(in crate::bmc) send_threshold: u8,
    /// How often a packet is sent again.
    pub(in crate::bmc) retry_count: u8,
    /// Time between two tries, in 10 ms.
    pub(in crate::bmc) retry_interval_10ms: u8,
    /// Bit rate after a restart, by its number.
    pub(in crate::bmc) bit_rate: u8,
    /// Bit rate now, if that is another one.
    #[serde(skip)]
    pub(in crate::bmc) volatile_bit_rate: Option<u8>,
}

impl Default for SolConfig {
    fn default() -> Self {
        Self {
            set_in_progress_by: None,
            enabled: true,
            force_encryption: false,
            force_authentication: false,
            privilege: Privilege::OPERATOR.0,
            accumulate_interval_5ms: 1,
            send_threshold: 1,
            retry_count: 7,
            retry_interval_10ms: 20,
            bit_rate: FASTEST,
            volatile_bit_rate: None,
        }
    }
}

impl SolConfig {
    /// Whether what is saved of it is not as it was.
    #[must_use]
    pub(in crate::bmc) fn is_saved_differently(&self, before: &Self) -> bool {
        let Self { set_in_progress_by, volatile_bit_rate, .. } = *before;
        Self { set_in_progress_by, volatile_bit_rate, ..self.clone() } != *before
    }

    /// What it says of packets.
    #[must_use]
    pub(in crate::bmc) fn tuning(&self) -> Tuning {
        let ms = |count: u8, unit| Duration::from_millis(u64::from(count) * unit);
        Tuning {
            accumulate: ms(self.accumulate_interval_5ms, 5),
            threshold: self.send_threshold.into(),
            retries: self.retry_count,
            interval: ms(self.retry_interval_10ms, 10),
        }
    }

    /// Whether a session with this privilege may have SOL.
    #[must_use]
    pub(in crate::bmc) fn admits(&self, privilege: Privilege) -> bool {
        privilege >= Privilege(self.privilege)
    }
}
