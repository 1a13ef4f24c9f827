//! What clients can change: users, settings, logs. One part a module, all plain data.
//!
//! The whole is saved as JSON after a command that changed it (`Core::changed`), and read again
//! when the program starts; what the profile declares wins then.

pub(super) mod chassis;
pub(super) mod dcmi;
pub(super) mod device;
mod k_g;
pub(super) mod system_info;
pub(super) mod users;
pub(super) mod watchdog;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use chassis::Chassis;
use dcmi::Dcmi;
use device::Device;
use system_info::SystemInfo;
pub(super) use users::Users;
use watchdog::Watchdog;

use crate::value::BmcKey;

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Store {
    pub(super) users: Users,
    pub(super) device: Device,
    pub(super) chassis: Chassis,
    pub(super) system_info: SystemInfo,
    pub(super) dcmi: Dcmi,
    #[serde(skip)]
    pub(super) watchdog: Watchdog,
    /// K_G as a client has set it; all zeros: there is none.
    #[serde(with = "k_g")]
    pub(super) k_g: Option<BmcKey>,
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

    /// Seconds since 1970, UTC; 0 if nobody has told.
    #[must_use]
    pub(super) fn unix_s(&self, now: Instant) -> u64 {
        let Some((then, unix_s)) = self.set else { return 0 };
        unix_s + now.saturating_duration_since(then).as_secs()
    }
}
