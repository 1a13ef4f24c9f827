//! What comes of a watchdog timer that runs out (v2.0 chapter 27).

use std::time::Instant;

use tracing::{info, warn};

use crate::bmc::event::Request;
use crate::bmc::log::{SensorEvent, UNSPECIFIED};
use crate::bmc::store::watchdog::{Expiry, NMI};
use crate::bmc::{Core, sensors};
use crate::machine::{self, Origin, Refusal};

/// Offset of the pre-timeout interrupt (v2.0 table 42-3, sensor type 23h). Those below are the
/// timeout actions.
const TIMER_INTERRUPT: u8 = 8;
/// Offset of an expiration that nothing but the log knows of.
const STATUS_ONLY: u8 = 0;

/// What is asked of the machine by a timeout action (v2.0 section 27.6).
fn request(action: u8) -> Option<machine::Request> {
    match action {
        1 => Some(machine::Request::Reset),
        2 => Some(machine::Request::Off),
        3 => Some(machine::Request::Cycle),
        _ => None,
    }
}

fn words(request: machine::Request) -> &'static str {
    match request {
        machine::Request::On => "power on",
        machine::Request::Off => "power down",
        machine::Request::Cycle => "power cycle",
        machine::Request::Reset => "hard reset",
        machine::Request::Soft => "soft shutdown",
        machine::Request::Diag => "NMI",
    }
}

fn refused(request: machine::Request, why: Refusal) -> String {
    format!("{} by {}: {why}", words(request), Origin::Watchdog)
}

impl Core {
    /// Does what the watchdog timer has been set to do by now.
    pub(super) fn run_watchdog(&mut self, now: Instant) {
        if let Some(expiry) = self.store.watchdog.take_pre_timeout(now) {
            let nmi = Some(machine::Request::Diag).filter(|_| expiry.interrupt == NMI);
            info!("the watchdog timer is about to expire");
            self.run_out(now, expiry, TIMER_INTERRUPT, nmi);
        }
        if let Some(expiry) = self.store.watchdog.expire(now) {
            info!("the watchdog timer has expired");
            self.run_out(now, expiry, expiry.action, request(expiry.action));
        }
    }

    fn run_out(
        &mut self,
        now: Instant,
        expiry: Expiry,
        offset: u8,
        wanted: Option<machine::Request>,
    ) {
        let Expiry { timer_use, interrupt, logged, .. } = expiry;
        let asked = wanted.map_or(Ok(()), |request| {
            self.promised().admit(request).map_err(|why| refused(request, why))
        });
        if let Err(why) = &asked {
            warn!("refused: {why}");
        }
        if logged {
            let event = SensorEvent::asserted(sensors::WATCHDOG, offset);
            let event = event.with_data(0xC0, interrupt << 4 | timer_use, UNSPECIFIED);
            if let Err(why) = &asked {
                self.log_noted(now, event, &format!("refused: {why}"));
            } else {
                self.log_event(now, event);
            }
        }
        if let (Some(request), Ok(())) = (wanted, asked) {
            self.unanswered.push_back((request, Origin::Watchdog));
            self.requests.push_back(Request::Power(request, Origin::Watchdog));
        }
    }

    /// The machine has refused what the watchdog timer asked for: it has changed on the way.
    pub(super) fn log_watchdog_refused(
        &mut self,
        now: Instant,
        request: machine::Request,
        why: Refusal,
    ) {
        let what = format!("refused: {}", refused(request, why));
        warn!("{what}");
        self.log_noted(now, SensorEvent::asserted(sensors::WATCHDOG, STATUS_ONLY), &what);
    }
}
