//! What clients can change: users, settings, logs. One part a module, all plain data.
//!
//! The whole is saved as JSON after a command that changed it (`Core::changed`), and read again
//! when the program starts; what the profile declares wins then.

pub(super) mod channel;
pub(super) mod chassis;
pub(super) mod dcmi;
pub(super) mod device;
pub(super) mod lan;
pub(super) mod sol_config;
pub(super) mod system_info;
pub(super) mod users;
pub(super) mod watchdog;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use channel::LanChannel;
use chassis::Chassis;
use dcmi::Dcmi;
use device::Device;
use lan::Lan;
use sol_config::SolConfig;
use system_info::SystemInfo;
pub(super) use users::Users;
use watchdog::Watchdog;

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
    pub(super) channel: LanChannel,
    pub(super) lan: Lan,
    pub(super) sol: SolConfig,
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
