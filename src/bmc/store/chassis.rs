//! What is kept of the chassis: policy, switches, counters.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::profile::document::Restore;

/// How long the chassis identifies itself if nobody says how long (v2.0 section 28.5).
pub(in crate::bmc) const IDENTIFY: Duration = Duration::from_secs(15);

/// Power-on hours that a crash may cost.
const HOUR: Duration = Duration::from_secs(3600);

/// The chassis.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Chassis {
    /// Restore policy, if it was changed over IPMI.
    pub(in crate::bmc) restore: Option<Restore>,
    /// Power cycle interval in seconds, if it was changed over IPMI.
    pub(in crate::bmc) cycle_interval_s: Option<u8>,
    /// Front panel buttons that are disabled (v2.0 section 28.6).
    pub(in crate::bmc) disabled_buttons: u8,
    /// Addresses of Set Chassis Capabilities (v2.0 section 28.7), if they were set: flags, FRU, SDR,
    /// SEL, system management, bridge.
    pub(in crate::bmc) capabilities: Option<[u8; 6]>,
    /// Last power event (v2.0 table 28-3), but for the fault that still holds.
    pub(in crate::bmc) last_event: u8,
    /// The machine is on: if the program finds that at its start, it has not seen the end.
    pub(in crate::bmc) is_on: bool,
    /// How long the machine has been on before `on_since`, in seconds.
    powered_s: u64,
    #[serde(skip)]
    on_since: Option<Instant>,
    /// Until when the chassis identifies itself.
    #[serde(skip)]
    pub(in crate::bmc) identify: Identify,
}

/// Whether the chassis shows where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bmc) enum Identify {
    #[default]
    Off,
    Until(Instant),
    On,
}

impl Chassis {
    /// The machine is on, or off, from now on.
    pub(in crate::bmc) fn power(&mut self, now: Instant, on: bool) {
        self.is_on = on;
        // Not at each event, which would lose a part of a second each time.
        if on != self.on_since.is_some() {
            self.powered_s = self.powered_s(now);
            self.on_since = on.then_some(now);
        }
    }

    /// When the hours that the machine has been on are to be kept.
    #[must_use]
    pub(in crate::bmc) fn hour_is_over(&self) -> Option<Instant> {
        self.on_since.map(|since| since + HOUR)
    }

    /// Takes note of an hour that is over. Answers whether one is.
    pub(in crate::bmc) fn count_hours(&mut self, now: Instant) -> bool {
        let due = self.hour_is_over().is_some_and(|end| end <= now);
        if due {
            self.powered_s = self.powered_s(now);
            self.on_since = Some(now);
        }
        due
    }

    /// How long the machine has been on in all, in seconds.
    #[must_use]
    pub(in crate::bmc) fn powered_s(&self, now: Instant) -> u64 {
        let since =
            self.on_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.powered_s + since.as_secs()
    }

    /// How it identifies itself now.
    #[must_use]
    pub(in crate::bmc) fn identify(&self, now: Instant) -> Identify {
        match self.identify {
            Identify::Until(end) if end <= now => Identify::Off,
            other => other,
        }
    }
}
