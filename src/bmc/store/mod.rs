//! What clients can change: users, settings, logs. One part a module, all plain data.
//!
//! The whole is saved as JSON after a command that changed it (`Core::changed`), and read again
//! when the program starts; what the profile declares wins then.

pub(super) mod channel;
pub(super) mod chassis;
pub(super) mod dcmi;
pub(super) mod device;
pub(super) mod fru;
mod k_g;
pub(super) mod lan;
pub(super) mod pef;
pub(super) mod sdr;
pub(super) mod sel;
pub(super) mod sensors;
pub(super) mod sol_config;
pub(super) mod system_info;
pub(super) mod users;
pub(super) mod watchdog;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use channel::LanChannel;
use chassis::Chassis;
use dcmi::Dcmi;
use device::Device;
pub(super) use fru::Fru;
use lan::Lan;
pub(super) use pef::Pef;
pub(super) use sdr::Sdr;
pub(super) use sel::Sel;
pub(super) use sensors::Settings;
use sol_config::SolConfig;
use system_info::SystemInfo;
pub(super) use users::Users;
use watchdog::Watchdog;

use crate::bmc::boot::BootOptions;
use crate::value::BmcKey;

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Store {
    pub(super) users: Users,
    pub(super) device: Device,
    pub(super) chassis: Chassis,
    pub(super) boot: BootOptions,
    pub(super) system_info: SystemInfo,
    pub(super) dcmi: Dcmi,
    #[serde(skip)]
    pub(super) watchdog: Watchdog,
    pub(super) channel: LanChannel,
    pub(super) lan: Lan,
    pub(super) sol: SolConfig,
    /// K_G as a client has set it; all zeros: there is none.
    #[serde(with = "k_g")]
    pub(super) k_g: Option<BmcKey>,
    pub(super) sel: Sel,
    pub(super) sdr: Sdr,
    /// By sensor number.
    pub(super) sensors: BTreeMap<u8, Settings>,
    /// By sensor number, what the settings of a sensor with a number are of: raw readings of another
    /// one mean something else.
    pub(super) sensor_marks: BTreeMap<u8, String>,
    pub(super) fru: Fru,
    pub(super) pef: Pef,
}

/// Wall-clock time from the engine's time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// A moment, and the seconds since 1970 then.
    set: Option<(Instant, u64)>,
}

impl Clock {
    pub(super) fn set(&mut self, now: Instant, unix_s: u64) {
        self.set = Some((now, unix_s));
    }

    /// Somebody has told.
    #[must_use]
    pub(super) fn is_set(&self) -> bool {
        self.set.is_some()
    }

    /// Seconds since 1970, UTC; 0 if nobody has told.
    #[must_use]
    pub(super) fn unix_s(&self, now: Instant) -> u64 {
        let Some((then, unix_s)) = self.set else { return 0 };
        unix_s + now.saturating_duration_since(then).as_secs()
    }
}

/// Bytes as hexadecimal text: a line of JSON for a record, not one for each byte.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::bmc) fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        let pairs = text.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
    }

    pub(super) fn serialize<S: Serializer>(
        records: &[Vec<u8>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(records.iter().map(|record| encode(record)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let records: Option<_> = texts.iter().map(|text| decode(text)).collect();
        records.ok_or_else(|| serde::de::Error::custom("not hexadecimal"))
    }
}
