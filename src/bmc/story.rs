//! Who made the machine do what it did, as the SEL and Get System Restart Cause tell it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::bmc::allowance::Allowance;
use crate::bmc::command::LAN_CHANNEL;
use crate::bmc::log::SensorEvent;
use crate::bmc::{self, Core, sensors, shown};
use crate::machine::{Origin, Request, StartCause, StopCause};
use crate::profile::document::Restore;

/// System restart causes (v2.0 table 28-11), which event data borrows for what is no restart.
mod cause {
    pub(super) const UNKNOWN: u8 = 0x0;
    pub(super) const CHASSIS_CONTROL: u8 = 0x1;
    pub(super) const RESET_BUTTON: u8 = 0x2;
    pub(super) const POWER_BUTTON: u8 = 0x3;
    pub(super) const WATCHDOG: u8 = 0x4;
    pub(super) const OEM: u8 = 0x5;
    pub(super) const ALWAYS_RESTORED: u8 = 0x6;
    pub(super) const PREVIOUS_RESTORED: u8 = 0x7;
    pub(super) const SOFT_RESET: u8 = 0xA;
}

/// Channel number of the system interface (v2.0 table 6-1).
const SYSTEM_INTERFACE: u8 = 0x0F;
/// Refused logins that are logged: whoever tries passwords must not push out all that the log holds.
type Refusals = Allowance<8, 600>;
/// The same in the program's log, whose disk is not to be filled either.
type Lines = Allowance<32, 1>;

/// Last power event (v2.0 table 28-3): how the machine went off last, and how it came on.
pub(super) mod last_event {
    pub(in crate::bmc) const ON_BY_IPMI: u8 = 0x10;
    pub(in crate::bmc) const POWER_FAULT: u8 = 0x08;
    pub(in crate::bmc) const AC_FAILED: u8 = 0x01;
}

/// Why the machine was last started or reset, and the channel that the command came in on; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RestartCause {
    pub(super) cause: u8,
    pub(super) channel: u8,
}

/// What the story needs to remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// The request whose effect is still to come, and who made it.
    pub(super) asked: Option<(Request, Origin)>,
    /// A watchdog device of the machine's own has run out, and resets it now.
    pub(super) watchdog_resets: bool,
    /// The guest's kernel has panicked, and the machine was not started or reset since.
    pub(super) panicked: bool,
    pub(super) restart: RestartCause,
    /// An earlier run has ended while the machine was on, and the SEL does not say so yet.
    pub(super) cut_off: bool,
    refusals: Refusals,
    /// The same of lock-outs.
    lockouts: Refusals,
    lines: Lines,
    lockout_lines: Lines,
}

/// Who, in two bytes of event data: a restart cause, and channel and user ID.
pub(super) fn codes(origin: &Origin) -> [u8; 2] {
    match origin {
        Origin::Lan { user_id, .. } => [cause::CHASSIS_CONTROL, LAN_CHANNEL << 4 | user_id & 0x0F],
        Origin::SystemInterface => [cause::CHASSIS_CONTROL, SYSTEM_INTERFACE << 4],
        Origin::Ctl => [cause::POWER_BUTTON, 0],
        Origin::Watchdog => [cause::WATCHDOG, 0],
        Origin::RestorePolicy | Origin::End => [cause::OEM, 0],
    }
}

impl Core {
    /// The power restore policy: what was set over IPMI, else the profile's.
    pub(super) fn restore_policy(&self) -> Restore {
        self.store.chassis.restore.unwrap_or(self.restore)
    }

    /// Time off within a power cycle in seconds, likewise.
    pub(super) fn cycle_interval_s(&self) -> u32 {
        self.store.chassis.cycle_interval_s.map_or(self.cycle_interval_s, u32::from)
    }

    /// The machine was started or reset. Answers who asked for that, if anybody did.
    pub(super) fn started(&mut self, start: StartCause) -> Option<Origin> {
        let request = match start {
            StartCause::PowerOn => Some(Request::On),
            StartCause::PowerCycle => Some(Request::Cycle),
            StartCause::Reset => Some(Request::Reset),
            StartCause::Guest => None,
        };
        let asked = self.story.asked.take_if(|(asked, _)| Some(*asked) == request);
        let origin = asked.map(|(_, origin)| origin);
        let by_watchdog = std::mem::take(&mut self.story.watchdog_resets);
        self.story.panicked = false;
        let (why, channel) = match (&origin, start) {
            (Some(Origin::Lan { .. }), _) => (cause::CHASSIS_CONTROL, LAN_CHANNEL),
            (Some(Origin::SystemInterface), _) => (cause::CHASSIS_CONTROL, SYSTEM_INTERFACE),
            (Some(Origin::Watchdog), _) => (cause::WATCHDOG, 0),
            (Some(Origin::RestorePolicy), _) if self.restore_policy() == Restore::Previous => {
                (cause::PREVIOUS_RESTORED, 0)
            }
            (Some(Origin::RestorePolicy), _) => (cause::ALWAYS_RESTORED, 0),
            (None, StartCause::Guest) if by_watchdog => (cause::WATCHDOG, 0),
            (_, StartCause::Guest) => (cause::SOFT_RESET, 0),
            (_, StartCause::Reset) => (cause::RESET_BUTTON, 0),
            (Some(_), StartCause::PowerOn | StartCause::PowerCycle) => (cause::POWER_BUTTON, 0),
            (None, StartCause::PowerOn | StartCause::PowerCycle) => (cause::UNKNOWN, 0),
        };
        self.story.restart = RestartCause { cause: why, channel };
        if matches!(start, StartCause::PowerOn | StartCause::PowerCycle) {
            let by_ipmi = why == cause::CHASSIS_CONTROL;
            let last = &mut self.store.chassis.last_event;
            *last &= !last_event::ON_BY_IPMI;
            *last |= if by_ipmi { last_event::ON_BY_IPMI } else { 0 };
        }
        // Power-on hours are kept from start to start.
        self.changed = true;
        origin
    }

    /// The machine went off. `cycle`: it comes on again by itself. Answers who asked for it or why it
    /// was, in words, and for event data.
    pub(super) fn stopped(&mut self, stop: &StopCause, cycle: bool) -> (String, Option<[u8; 2]>) {
        let asked = self.story.asked.clone();
        if !cycle {
            self.story.asked = None;
        }
        self.story.watchdog_resets = false;
        let power_down = match stop {
            StopCause::Crash(_) | StopCause::NotStarted(_) => last_event::POWER_FAULT,
            StopCause::Outside => last_event::AC_FAILED,
            StopCause::Request | StopCause::Guest => 0,
        };
        let last = &mut self.store.chassis.last_event;
        *last = *last & last_event::ON_BY_IPMI | power_down;
        self.changed = true;
        let words = match (stop, &asked) {
            (StopCause::Request, Some((Request::Off, origin))) => format!("power off by {origin}"),
            (StopCause::Request, Some((Request::Cycle, origin))) => {
                format!("power cycle by {origin}")
            }
            (StopCause::Request, Some((Request::Soft, Origin::End))) => {
                "switched off: qemu-bmc ends".to_owned()
            }
            (StopCause::Request, Some((Request::Soft, origin))) => {
                format!("soft shutdown by {origin}, not heeded in time")
            }
            (StopCause::Request, _) => "power off".to_owned(),
            (StopCause::Guest, _) if self.story.panicked => {
                "off after the panic of the guest's kernel".to_owned()
            }
            (StopCause::Guest, Some((Request::Soft, origin))) => {
                format!("the guest shut down, asked to by {origin}")
            }
            (StopCause::Guest, _) => "the guest shut down by itself".to_owned(),
            (StopCause::Outside, _) => "QEMU was ended by somebody else".to_owned(),
            (StopCause::Crash(how), _) => format!("QEMU crashed: {how}"),
            (StopCause::NotStarted(why), _) => format!("QEMU could not be started: {why}"),
        };
        let by_request = *stop == StopCause::Request;
        let codes = asked.filter(|_| by_request).map(|(_, origin)| codes(&origin));
        (words, codes)
    }

    /// The store is an earlier run's. If the machine was on at its end, nobody has seen it go off.
    pub(super) fn take_over_power(&mut self) {
        self.story.cut_off = std::mem::take(&mut self.store.chassis.is_on);
        if self.story.cut_off {
            let last = &mut self.store.chassis.last_event;
            *last = *last & last_event::ON_BY_IPMI | last_event::AC_FAILED;
            self.changed = true;
        }
        if let Some(seconds) = self.store.chassis.cycle_interval_s {
            let interval = Duration::from_secs(seconds.into());
            self.requests.push_back(bmc::event::Request::CycleInterval(interval));
        }
    }

    /// A password was wrong, or seems to have been.
    pub(super) fn bad_password(
        &mut self,
        now: Instant,
        user: (u8, &[u8]),
        peer: SocketAddr,
        what: &str,
    ) {
        self.login_refused(now, user, peer, what);
        let (id, name) = user;
        if !self.lockouts.bad(now, peer, id) {
            return;
        }
        // Invalid password disable (v2.0 table 42-3, sensor type 2Ah).
        const LOCKED_OUT: u8 = 3;
        let name = String::from_utf8_lossy(name);
        let (from, seconds) = (shown(peer).ip(), self.lockouts.interval().as_secs());
        let note = format!("user {name:?} is locked out from {from} for {seconds} s");
        if let Some(withheld) = self.story.lockout_lines.admit(now) {
            if withheld > 0 {
                warn!(withheld, "lock-outs that are not in this log");
            }
            warn!("{note}: too many bad passwords");
        }
        let event = SensorEvent::asserted(sensors::SESSION, LOCKED_OUT);
        if self.story.lockouts.admit(now).is_some() {
            self.log_noted(now, event.with_data(0xF0, id, LAN_CHANNEL), &note);
        }
    }

    /// Whether a user cannot log in from there, because of too many bad passwords.
    pub(super) fn is_locked_out(
        &self,
        now: Instant,
        (id, name): (u8, &[u8]),
        peer: SocketAddr,
    ) -> bool {
        let holds = self.lockouts.holds(now, peer, id);
        if holds {
            let (name, from) = (String::from_utf8_lossy(name), shown(peer));
            debug!(user = ?name, %from, "login refused: locked out");
        }
        holds
    }

    /// Tells log and SEL what has become of a login that has failed, such as `refused: unknown user`.
    /// `user_id` is 0 if nobody has that name.
    pub(super) fn login_refused(
        &mut self,
        now: Instant,
        (user_id, name): (u8, &[u8]),
        from: SocketAddr,
        what: &str,
    ) {
        // Invalid username or password (v2.0 table 42-3, sensor type 2Ah).
        const INVALID: u8 = 2;
        let (name, from) = (String::from_utf8_lossy(name), shown(from));
        if let Some(withheld) = self.story.lines.admit(now) {
            if withheld > 0 {
                warn!(withheld, "refused logins that are not in this log");
            }
            // Whatever a stranger writes stays within its line of the log.
            warn!(user = ?name, %from, "login {what}");
        }
        let Some(withheld) = self.story.refusals.admit(now) else { return };
        let event = SensorEvent::asserted(sensors::SESSION, INVALID);
        let mut note = format!("login of user {name:?} from {from} {what}");
        if withheld > 0 {
            note += &format!("; {withheld} others before it are not in the log");
        }
        self.log_noted(now, event.with_data(0xF0, user_id, LAN_CHANNEL), &note);
    }
}
