//! The LAN channel's access settings (v2.0 section 22.22).

use serde::{Deserialize, Serialize};

use crate::wire::code::Privilege;

/// The LAN channel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct LanChannel {
    /// What holds after a restart.
    saved: Access,
    /// What holds now, if that is something else.
    #[serde(skip)]
    volatile: Option<Access>,
}

/// How the channel may be used (v2.0 table 22-29).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Access {
    /// Access mode: 2, always available; 3, shared.
    pub(in crate::bmc) mode: u8,
    /// No PEF alerts on this channel.
    pub(in crate::bmc) alerting_disabled: bool,
    /// Highest privilege level, 1 to 4.
    pub(in crate::bmc) limit: u8,
}

impl Default for Access {
    fn default() -> Self {
        Self { mode: 2, alerting_disabled: true, limit: Privilege::ADMINISTRATOR.0 }
    }
}

impl LanChannel {
    /// What holds now.
    #[must_use]
    pub(in crate::bmc) fn volatile(&self) -> Access {
        self.volatile.unwrap_or(self.saved)
    }

    /// What holds after a restart.
    #[must_use]
    pub(in crate::bmc) fn saved(&self) -> Access {
        self.saved
    }

    pub(in crate::bmc) fn set(&mut self, saved: Access, volatile: Access) {
        self.saved = saved;
        self.volatile = Some(volatile);
    }

    /// As after a restart.
    pub(in crate::bmc) fn forget_volatile(&mut self) {
        self.volatile = None;
    }

    /// Highest privilege level on the channel.
    #[must_use]
    pub(in crate::bmc) fn limit(&self) -> Privilege {
        Privilege(self.volatile().limit)
    }
}
