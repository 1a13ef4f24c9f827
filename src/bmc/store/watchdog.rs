//! The watchdog timer (v2.0 chapter 27): what was set, and how far it has counted down.

use std::time::{Duration, Instant};

/// One count of the timer.
const COUNT: Duration = Duration::from_millis(100);
/// Pre-timeout interrupts (v2.0 section 27.6): none; NMI; that of the system interface.
pub(in crate::bmc) const NO_INTERRUPT: u8 = 0;
pub(in crate::bmc) const NMI: u8 = 2;
pub(in crate::bmc) const MESSAGING: u8 = 3;
/// Timer use: do not log.
pub(in crate::bmc) const DO_NOT_LOG: u8 = 0x80;
/// Timer use: what for.
pub(in crate::bmc) const USE: u8 = 0x07;

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
    /// It was set since the machine was last started or reset, and since the start of the program.
    pub(in crate::bmc) is_set: bool,
    /// When it runs out, if it runs.
    pub(in crate::bmc) deadline: Option<Instant>,
    /// When its pre-timeout interrupt is due, if it is still to come.
    pre_timeout: Option<Instant>,
    /// The pre-timeout interrupt of the system interface has come (v2.0 section 22.4, message flags).
    pub(in crate::bmc) pre_timeout_interrupt: bool,
}

/// A timer that runs out, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bmc) struct Expiry {
    /// What it was for.
    pub(in crate::bmc) timer_use: u8,
    /// Timeout action.
    pub(in crate::bmc) action: u8,
    /// Pre-timeout interrupt.
    pub(in crate::bmc) interrupt: u8,
    /// It belongs into the log.
    pub(in crate::bmc) logged: bool,
}

impl Watchdog {
    fn expiry(&self) -> Expiry {
        let [timer_use, actions, ..] = self.settings;
        Expiry {
            timer_use: timer_use & USE,
            action: actions & 0x07,
            interrupt: actions >> 4 & 0x07,
            logged: timer_use & DO_NOT_LOG == 0,
        }
    }

    /// Begins to count down.
    pub(in crate::bmc) fn start(&mut self, now: Instant) {
        let whole = COUNT * u32::from(self.initial_100ms);
        let [_, _, pre_timeout_s, _] = self.settings;
        let until_interrupt = whole.saturating_sub(Duration::from_secs(pre_timeout_s.into()));
        let interrupts = self.expiry().interrupt != NO_INTERRUPT;
        self.deadline = now.checked_add(whole);
        self.pre_timeout = now.checked_add(until_interrupt).filter(|_| interrupts);
    }

    /// Counts no more.
    pub(in crate::bmc) fn stop(&mut self) {
        (self.deadline, self.pre_timeout) = (None, None);
    }

    /// The machine was started or reset: the timer has to be set anew before it can run (v2.0 sections
    /// 27.5 and 27.6). Nothing in the machine's firmware would stop it, as section 27.4.2 wants.
    pub(in crate::bmc) fn machine_started(&mut self) {
        self.stop();
        (self.is_set, self.pre_timeout_interrupt) = (false, false);
        self.settings[0] &= !DO_NOT_LOG;
    }

    /// It runs, and its pre-timeout interrupt has come.
    #[must_use]
    pub(in crate::bmc) fn is_past_pre_timeout(&self) -> bool {
        self.deadline.is_some()
            && self.pre_timeout.is_none()
            && self.expiry().interrupt != NO_INTERRUPT
    }

    /// When [`Self::take_pre_timeout`] or [`Self::expire`] has something to say.
    #[must_use]
    pub(in crate::bmc) fn poll_timeout(&self) -> Option<Instant> {
        self.pre_timeout.or(self.deadline)
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

    /// Takes note of a pre-timeout interrupt that is due, if it is.
    pub(in crate::bmc) fn take_pre_timeout(&mut self, now: Instant) -> Option<Expiry> {
        self.pre_timeout.take_if(|due| *due <= now)?;
        let expiry = self.expiry();
        self.pre_timeout_interrupt |= expiry.interrupt == MESSAGING;
        Some(expiry)
    }

    /// Takes note of a timer that has run out, if it has.
    pub(in crate::bmc) fn expire(&mut self, now: Instant) -> Option<Expiry> {
        self.deadline.take_if(|deadline| *deadline <= now)?;
        let expiry = self.expiry();
        self.expired |= 1 << expiry.timer_use;
        // It holds for one expiration only (v2.0 section 27.2).
        self.settings[0] &= !DO_NOT_LOG;
        Some(expiry)
    }
}
