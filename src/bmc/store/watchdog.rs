//! The watchdog timer (v2.0 chapter 27): what was set, and how far it has counted down.

use std::time::{Duration, Instant};

/// One count of the timer.
const COUNT: Duration = Duration::from_millis(100);

/// The watchdog. It does not outlive a restart.
#[derive(Clone, Debug, Default)]
pub(in crate::bmc) struct Watchdog {
    /// Set Watchdog Timer's bytes 1 to 4: use, actions, pre-timeout interval in seconds,
    /// expiration flags to clear.
    pub(in crate::bmc) settings: [u8; 4],
    /// Initial countdown in units of 100 ms.
    pub(in crate::bmc) initial_100ms: u16,
    /// Uses that have expired, one bit each.
    pub(in crate::bmc) expired: u8,
    /// It was set since the start of the program.
    pub(in crate::bmc) is_set: bool,
    /// When it runs out, if it runs.
    pub(in crate::bmc) deadline: Option<Instant>,
}

impl Watchdog {
    /// Begins to count down.
    pub(in crate::bmc) fn start(&mut self, now: Instant) {
        self.deadline = Some(now + COUNT * u32::from(self.initial_100ms));
    }

    /// What is left, in units of 100 ms.
    #[must_use]
    pub(in crate::bmc) fn present_100ms(&self, now: Instant) -> u16 {
        match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(now);
                u16::try_from(left.as_millis() / COUNT.as_millis()).unwrap_or(u16::MAX)
            }
            None => self.initial_100ms,
        }
    }

    /// Takes note of a timer that has run out. Answers whether it has.
    pub(in crate::bmc) fn expire(&mut self, now: Instant) -> bool {
        let due = self.deadline.take_if(|deadline| *deadline <= now).is_some();
        if due {
            self.expired |= 1 << (self.settings[0] & 0x07);
        }
        due
    }
}
