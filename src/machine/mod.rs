//! The machine as its BMC knows it: power, what may be asked of it now, what happened to it.
//!
//! Pure: [`driver::Driver`] turns requests and events into effects, and `runtime::machine` carries
//! them out.

pub mod activity;
pub mod boot;
pub mod driver;
mod origin;
pub mod wires;

pub use origin::Origin;
use serde::{Deserialize, Serialize};

/// Whether the machine has power: a QEMU process is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// No process.
    Off,
    /// A process, running or starting.
    On,
}

/// What an operator can ask of the machine (v2.0 section 28.3, Chassis Control).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Start it.
    On,
    /// End it at once.
    Off,
    /// End it, wait, start it: a new process.
    Cycle,
    /// Hard reset in the same process.
    Reset,
    /// ACPI power button.
    Soft,
    /// Diagnostic interrupt (NMI).
    Diag,
}

/// Why a request cannot be accepted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another operation that conflicts with it is under way; try again.
    #[error("busy with another power operation")]
    Busy,
    /// It makes no sense in this power state.
    #[error("not possible while the machine is off")]
    NotInPresentState,
}

/// The last known state, enough to answer for the machine without asking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Power as of now.
    pub power: Power,
    /// The accepted request that has not ended yet.
    pub operation: Option<Request>,
    /// The machine is off, and not because anybody asked: it crashed or could not be started.
    pub fault: bool,
    /// The program ends, and the machine with it.
    pub ending: bool,
}

impl Status {
    /// A machine that is off and idle.
    pub const OFF: Self = Self { power: Power::Off, operation: None, fault: false, ending: false };
    /// A machine that is on and idle.
    pub const ON: Self = Self { power: Power::On, ..Self::OFF };

    /// Whether `request` can be accepted now.
    ///
    /// # Errors
    /// The reason why not.
    pub fn admit(self, request: Request) -> Result<(), Refusal> {
        use Request::{Cycle, Diag, Off, On, Reset, Soft};
        match (self.operation, request) {
            // It goes off anyway; that may be cut short.
            _ if self.ending && request != Off => Err(Refusal::Busy),
            // Asking again for what is under way is a repetition, not a conflict.
            (Some(operation), _) if operation == request => Ok(()),
            // Every way down may be cut short.
            (Some(Off | Soft | On), Off) | (Some(Off), Soft) => Ok(()),
            // A guest that takes its time to shut down, or never does, may still be driven.
            (Some(Soft), Cycle | Reset | Diag) => Ok(()),
            (Some(_), _) => Err(Refusal::Busy),
            (None, On | Off | Soft) => Ok(()),
            (None, Cycle | Reset | Diag) => match self.power {
                Power::On => Ok(()),
                Power::Off => Err(Refusal::NotInPresentState),
            },
        }
    }
}

impl Status {
    /// The status as soon as the machine has taken `request`; unchanged if it cannot be accepted.
    #[must_use]
    pub fn after(self, request: Request) -> Self {
        use Request::{Cycle, Diag, Off, On, Reset, Soft};
        let operation = match (request, self.power) {
            _ if self.admit(request).is_err() || self.operation == Some(request) => return self,
            (On, Power::Off) => {
                return Self { power: Power::On, operation: Some(On), fault: false, ..self };
            }
            (Soft, Power::On) if self.operation == Some(Off) => Some(Off),
            (Off | Cycle | Soft, Power::On) => Some(request),
            (Reset, _) => None,
            (On, Power::On) | (Off | Cycle | Soft, Power::Off) | (Diag, _) => self.operation,
        };
        Self { operation, ..self }
    }
}

/// Something that happened to the machine, told to the BMC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new [`Status`], nothing else.
    Changed,
    /// A request has arrived, and was accepted or refused; what comes of it follows.
    Requested(Request, Origin, Result<(), Refusal>),
    /// It was started or reset.
    Started(StartCause),
    /// Firmware has taken its boot order, and this one-time override is used up.
    BootUsed(boot::Override),
    /// It went off.
    Stopped(StopCause),
    /// The guest's kernel has panicked.
    Panicked,
    /// A watchdog device of the machine's own has run out; QEMU's `WatchdogAction`, such as `reset`.
    WatchdogExpired(String),
}

impl Event {
    /// What the machine is to be when the program starts again, if this says anything about that:
    /// what was asked for, or what the guest has done itself. Not what a failure or the program's end
    /// has made of it. `status` is the one that was told with it.
    #[must_use]
    pub fn wanted(&self, status: Status) -> Option<Power> {
        match self {
            Self::Requested(Request::On | Request::Cycle, _, Ok(())) => Some(Power::On),
            // Even if the program ends before it is done.
            Self::Requested(Request::Off, _, Ok(())) => Some(Power::Off),
            Self::Stopped(StopCause::Request | StopCause::Guest)
                if status.operation.is_none() && !status.ending =>
            {
                Some(Power::Off)
            }
            _ => None,
        }
    }
}

/// Why the machine started to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartCause {
    /// Power on by request.
    PowerOn,
    /// Power cycle by request.
    PowerCycle,
    /// Hard reset by request.
    Reset,
    /// The guest rebooted.
    Guest,
}

/// Why the machine is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// By request.
    Request,
    /// The guest shut itself down.
    Guest,
    /// QEMU was ended by somebody else, over its other QMP socket or by a signal it obeys.
    Outside,
    /// QEMU ended by itself; says how.
    Crash(String),
    /// QEMU could not be started; says why.
    NotStarted(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_idempotent_and_conflicts_are_busy() {
        let on = Status::ON;
        assert_eq!(on.admit(Request::On), Ok(()));
        assert_eq!(Status::OFF.admit(Request::Off), Ok(()));
        assert_eq!(Status::OFF.admit(Request::Cycle), Err(Refusal::NotInPresentState));
        assert_eq!(Status::OFF.admit(Request::Reset), Err(Refusal::NotInPresentState));

        let cycling = Status { operation: Some(Request::Cycle), ..on };
        assert_eq!(cycling.admit(Request::Cycle), Ok(()));
        assert_eq!(cycling.admit(Request::Off), Err(Refusal::Busy));
        assert_eq!(cycling.admit(Request::On), Err(Refusal::Busy));

        let stopping = Status { operation: Some(Request::Soft), ..on };
        assert_eq!(stopping.admit(Request::On), Err(Refusal::Busy));
        assert_eq!(stopping.admit(Request::Off), Ok(()));

        let ending = Status { ending: true, ..stopping };
        assert_eq!(ending.admit(Request::Soft), Err(Refusal::Busy));
        assert_eq!(ending.admit(Request::Reset), Err(Refusal::Busy));
        assert_eq!(ending.admit(Request::Off), Ok(()));
        assert_eq!(ending.after(Request::Off), Status { operation: Some(Request::Off), ..ending });
    }

    #[test]
    fn what_is_wanted_is_what_was_asked_for_or_what_the_guest_did() {
        let ending = Status { ending: true, ..Status::OFF };
        let cycling = Status { operation: Some(Request::Cycle), ..Status::OFF };
        let asked = |request| Event::Requested(request, Origin::Ctl, Ok(()));
        let stopped = |cause: &StopCause, status| Event::Stopped(cause.clone()).wanted(status);
        assert_eq!(asked(Request::On).wanted(Status::ON), Some(Power::On));
        assert_eq!(asked(Request::Cycle).wanted(Status::ON), Some(Power::On));
        assert_eq!(asked(Request::Soft).wanted(Status::ON), None);
        assert_eq!(asked(Request::Off).wanted(ending), Some(Power::Off));
        let refused = Event::Requested(Request::Off, Origin::Ctl, Err(Refusal::Busy));
        assert_eq!(refused.wanted(Status::ON), None);
        for cause in [StopCause::Guest, StopCause::Request] {
            assert_eq!(stopped(&cause, Status::OFF), Some(Power::Off));
            assert_eq!(stopped(&cause, ending), None);
        }
        assert_eq!(stopped(&StopCause::Request, cycling), None);
        let not_started = StopCause::NotStarted(String::new());
        for failure in [StopCause::Crash(String::new()), not_started, StopCause::Outside] {
            assert_eq!(stopped(&failure, Status::OFF), None);
        }
    }
}
