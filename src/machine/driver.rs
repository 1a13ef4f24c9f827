//! The power state machine: requests, QMP events, exits and deadlines in, effects out.
//!
//! ```text
//!            On                 monitor ready
//!   Off ───────────▶ Starting ───────────────▶ Running ──┐ Reset, Soft, Diag, guest reboot
//!    ▲  ▲               │                         │  ▲───┘
//!    │  │ exit          │ Off                     │ Off, Cycle, limit over
//!    │  └───────────────┼─────────────────────────┤
//!    │ exit             ▼                         ▼
//!    └───────────── Stopping: quit ─▶ SIGTERM ─▶ SIGKILL
//!    ▲                  │ exit, when cycling
//!    └── Interval ◀─────┘   (its deadline: Starting)
//! ```
//!
//! One driver, one process: `Spawn` is only ever an effect of a state without a process.

use std::time::{Duration, Instant};

use crate::machine::boot::{BootOrder, BootTarget, Override, boot_order};
use crate::machine::{Event, Power, Refusal, Request, StartCause, Status, StopCause};
use crate::qmp;
use crate::value::BootDevice;

/// How long QEMU may take to end after QMP `quit`, and again after SIGTERM.
const QUIT_LIMIT: Duration = Duration::from_secs(3);
/// The same when the program was told twice to end, and SIGKILL is next.
const HURRY_LIMIT: Duration = Duration::from_millis(500);
/// How long after a start or reset the boot order is left alone. A Linux guest's reboot is up to
/// three resets within 50 ms, and firmware takes the order that is there at the last of them.
const SETTLE: Duration = Duration::from_secs(1);
/// How long QEMU may take from start to a usable monitor. Generous: a loaded host is no fault.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time between two presses of the key for the firmware's set-up. It waits for 5 s for one.
const KEY_INTERVAL: Duration = Duration::from_millis(250);

/// Limits and policies of the power machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The profile's boot order.
    pub boot_order: Vec<BootDevice>,
    /// Time off within a power cycle.
    pub cycle_interval: Duration,
    /// How long a guest may take for a soft shutdown.
    pub soft_limit: Duration,
    /// What to do with a guest that has not shut down within the limit: switch it off, or let it be.
    pub soft_force: bool,
    /// How long a guest may take when the program ends.
    pub stop_limit: Duration,
    /// How long the key for the firmware's set-up is pressed from a start on.
    pub setup_limit: Duration,
}

/// What the runtime has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start QEMU.
    Spawn {
        /// What to boot from.
        order: BootOrder,
        /// The firmware offers its set-up for a moment.
        setup: bool,
    },
    /// Send a command over QMP.
    Qmp(qmp::Command),
    /// Set the boot order for the next reset, over QMP.
    SetBootOrder(BootOrder),
    /// Press the key for the firmware's set-up, over QMP.
    PressSetupKey,
    /// Ask the process to end (SIGTERM).
    Terminate,
    /// End the process (SIGKILL).
    Kill,
    /// Tell the BMC.
    Report(Status, Event),
    /// The machine is off for good: the program may end.
    Exit,
}

/// Progress of ending a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Quit,
    Terminate,
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Starting,
    Running,
    Stopping {
        step: Step,
        restart: bool,
    },
    /// Off within a power cycle.
    Interval,
}

/// The power state machine of one machine.
#[derive(Debug)]
pub struct Driver {
    config: Config,
    state: State,
    operation: Option<Request>,
    boot: Option<Override>,
    /// The override that the present start began with.
    booting: Option<Override>,
    /// The order that QEMU has, or will have before it reads another command.
    in_place: BootOrder,
    /// When firmware has taken its boot order.
    settled: Option<Instant>,
    /// A reset was requested and QEMU has not said that it happened.
    resetting: bool,
    /// The firmware of this process offers its set-up.
    setup_offered: bool,
    /// When to press the key for the set-up next, and until when.
    setup_key: Option<(Instant, Instant)>,
    /// When the present state or operation has taken too long.
    deadline: Option<Instant>,
    /// QEMU said that the guest shut down; the exit that follows is no crash.
    guest_shutdown: bool,
    /// The machine is off because it crashed or could not be started.
    fault: bool,
    /// The process is ended because its monitor did not come in time.
    hangs: bool,
    /// The program is to end.
    ending: bool,
}

impl Driver {
    /// A machine that is off.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            in_place: boot_order(&config.boot_order, None),
            config,
            state: State::Off,
            operation: None,
            boot: None,
            booting: None,
            settled: None,
            resetting: false,
            setup_offered: false,
            setup_key: None,
            deadline: None,
            guest_shutdown: false,
            fault: false,
            hangs: false,
            ending: false,
        }
    }

    /// Changes the time off within the power cycles that are still to come.
    pub fn set_cycle_interval(&mut self, interval: Duration) {
        self.config.cycle_interval = interval;
    }

    /// The last known state.
    #[must_use]
    pub fn status(&self) -> Status {
        let power = match self.state {
            State::Off | State::Interval => Power::Off,
            State::Starting | State::Running | State::Stopping { .. } => Power::On,
        };
        Status { power, operation: self.operation, fault: self.fault, ending: self.ending }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let setup_key = self.setup_key.map(|(next, _)| next);
        [self.deadline, self.settled, setup_key].into_iter().flatten().min()
    }

    /// An operator's request.
    ///
    /// # Errors
    /// When it cannot be accepted now; nothing has changed then.
    pub fn handle_request(
        &mut self,
        now: Instant,
        request: Request,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.status().admit(request)?;
        if self.operation == Some(request) {
            return Ok(());
        }
        match (request, self.state) {
            (Request::On, State::Off) => self.start(now, Request::On, effects),
            (Request::Off, State::Starting | State::Running) => {
                self.stop(now, Request::Off, effects);
            }
            (Request::Cycle, State::Running) => self.stop(now, Request::Cycle, effects),
            (Request::Reset, State::Running) => {
                self.operation = None;
                self.deadline = None;
                // A start that has not settled is cut off, and this is the next one.
                if self.settled.is_some() {
                    self.boot_used(effects);
                }
                self.put_order_in_place(effects);
                self.booting = self.boot;
                self.setup_key = None;
                self.resetting = true;
                effects.push(Effect::Qmp(qmp::Command::SystemReset));
                self.report(Event::Changed, effects);
            }
            (Request::Soft, State::Running) => {
                self.operation = Some(Request::Soft);
                self.deadline = Some(now + self.config.soft_limit);
                effects.push(Effect::Qmp(qmp::Command::SystemPowerdown));
                self.report(Event::Changed, effects);
            }
            (Request::Diag, State::Running) => effects.push(Effect::Qmp(qmp::Command::InjectNmi)),
            // Admitted, and already so.
            _ => {}
        }
        Ok(())
    }

    /// The boot override has changed. The running machine does not notice before its next start.
    pub fn handle_boot(&mut self, boot: Option<Override>, effects: &mut Vec<Effect>) {
        self.boot = boot;
        if self.state == State::Running && self.settled.is_none() && !self.resetting {
            self.put_order_in_place(effects);
        }
    }

    /// QEMU's monitor answers.
    pub fn handle_monitor_ready(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.state != State::Starting {
            return;
        }
        let cause = match self.operation {
            Some(Request::Cycle) => StartCause::PowerCycle,
            _ => StartCause::PowerOn,
        };
        self.state = State::Running;
        self.operation = None;
        self.deadline = None;
        self.settled = Some(now + SETTLE);
        self.enter_setup(now);
        self.report(Event::Started(cause), effects);
    }

    /// QEMU could not be started; `reason` says why.
    pub fn handle_spawn_failed(&mut self, reason: String, effects: &mut Vec<Effect>) {
        self.off(StopCause::NotStarted(reason), effects);
    }

    /// An event from QEMU's monitor.
    pub fn handle_qmp_event(
        &mut self,
        now: Instant,
        event: &qmp::Event,
        effects: &mut Vec<Effect>,
    ) {
        match event {
            qmp::Event::Shutdown { guest, .. } => self.guest_shutdown |= guest,
            qmp::Event::Reset { guest, .. } if self.state == State::Running => {
                let requested = std::mem::take(&mut self.resetting);
                // Resets that follow each other are one start.
                let first = self.settled.replace(now + SETTLE).is_none();
                if first && !requested {
                    self.booting = self.boot;
                }
                self.enter_setup(now);
                if requested {
                    self.report(Event::Started(StartCause::Reset), effects);
                } else if first {
                    let cause = if *guest { StartCause::Guest } else { StartCause::Reset };
                    self.report(Event::Started(cause), effects);
                }
            }
            qmp::Event::GuestPanicked => self.report(Event::Panicked, effects),
            qmp::Event::Watchdog { action } => {
                self.report(Event::WatchdogExpired(action.clone()), effects);
            }
            _ => {}
        }
    }

    /// The process is gone. `clean`: with exit status 0; `how` says how it ended.
    pub fn handle_exit(
        &mut self,
        now: Instant,
        clean: bool,
        how: String,
        effects: &mut Vec<Effect>,
    ) {
        match self.state {
            State::Off | State::Interval => {}
            State::Stopping { restart: true, .. } => {
                self.state = State::Interval;
                self.guest_shutdown = false;
                self.deadline = Some(now + self.config.cycle_interval);
                if self.settled.is_some() {
                    self.boot_used(effects);
                }
                self.report(Event::Stopped(StopCause::Request), effects);
            }
            State::Stopping { .. } if self.hangs => {
                let why = format!("no monitor within {} s", START_LIMIT.as_secs());
                self.off(StopCause::NotStarted(why), effects);
            }
            State::Stopping { restart: false, .. } => self.off(StopCause::Request, effects),
            State::Starting => self.off(StopCause::NotStarted(how), effects),
            State::Running if self.guest_shutdown => self.off(StopCause::Guest, effects),
            State::Running if clean => self.off(StopCause::Outside, effects),
            State::Running => self.off(StopCause::Crash(how), effects),
        }
    }

    /// The time that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.settled.is_some_and(|settled| settled <= now) {
            self.boot_used(effects);
        }
        if let Some((next, end)) = self.setup_key.filter(|(next, _)| *next <= now) {
            effects.push(Effect::PressSetupKey);
            let next = next.max(now) + KEY_INTERVAL;
            self.setup_key = Some((next, end)).filter(|(next, end)| next <= end);
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        match self.state {
            State::Off => {}
            State::Interval => self.start(now, Request::Cycle, effects),
            State::Starting => {
                self.hangs = true;
                self.stop(now, Request::Off, effects);
            }
            State::Running if self.ending || self.config.soft_force => {
                self.stop(now, Request::Off, effects);
            }
            State::Running => {
                self.operation = None;
                self.report(Event::Changed, effects);
            }
            State::Stopping { step: Step::Quit, restart } => {
                self.state = State::Stopping { step: Step::Terminate, restart };
                self.deadline = Some(now + QUIT_LIMIT);
                effects.push(Effect::Terminate);
            }
            State::Stopping { step: Step::Terminate | Step::Kill, restart } => {
                // Again and again: a process in an uninterruptible sleep dies late, but it dies.
                self.state = State::Stopping { step: Step::Kill, restart };
                self.deadline = Some(now + QUIT_LIMIT);
                effects.push(Effect::Kill);
            }
        }
    }

    /// The program is to end: the guest gets ACPI and a time limit. A second call does not wait.
    pub fn handle_end(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let again = std::mem::replace(&mut self.ending, true);
        match self.state {
            State::Off => {
                self.report(Event::Changed, effects);
                effects.push(Effect::Exit);
            }
            State::Interval => self.off(StopCause::Request, effects),
            State::Running if !again && !self.config.stop_limit.is_zero() => {
                self.operation = Some(Request::Soft);
                self.deadline = Some(now + self.config.stop_limit);
                effects.push(Effect::Qmp(qmp::Command::SystemPowerdown));
                self.report(Event::Changed, effects);
            }
            State::Starting | State::Running => {
                self.stop(now, Request::Off, effects);
                if again {
                    self.state = State::Stopping { step: Step::Terminate, restart: false };
                    self.deadline = Some(now + HURRY_LIMIT);
                }
            }
            State::Stopping { step, .. } => {
                self.state = State::Stopping { step, restart: false };
                self.operation = Some(Request::Off);
                if again {
                    effects.push(Effect::Kill);
                }
                self.report(Event::Changed, effects);
            }
        }
    }

    fn order(&self) -> BootOrder {
        boot_order(&self.config.boot_order, self.boot)
    }

    /// For the next start of the process that runs.
    fn put_order_in_place(&mut self, effects: &mut Vec<Effect>) {
        let order = self.order();
        if std::mem::replace(&mut self.in_place, order) != order {
            effects.push(Effect::SetBootOrder(order));
        }
    }

    fn start(&mut self, now: Instant, operation: Request, effects: &mut Vec<Effect>) {
        self.state = State::Starting;
        self.operation = Some(operation);
        self.deadline = Some(now + START_LIMIT);
        self.guest_shutdown = false;
        self.fault = false;
        self.hangs = false;
        self.booting = self.boot;
        self.resetting = false;
        self.setup_offered = self.boots_setup();
        self.in_place = self.order();
        effects.push(Effect::Spawn { order: self.order(), setup: self.setup_offered });
        self.report(Event::Changed, effects);
    }

    /// This start is to enter the firmware's set-up.
    fn boots_setup(&self) -> bool {
        self.booting.is_some_and(|booting| booting.target == BootTarget::Setup)
    }

    /// The firmware starts. Whether it offers its set-up was decided when the process was started.
    fn enter_setup(&mut self, now: Instant) {
        let wanted = self.setup_offered && self.boots_setup();
        self.setup_key = wanted.then(|| (now + KEY_INTERVAL, now + self.config.setup_limit));
    }

    /// Firmware has taken the order that was set: use up a one-time override, and have the order of
    /// the start after this one in place.
    fn boot_used(&mut self, effects: &mut Vec<Effect>) {
        self.settled = None;
        self.resetting = false;
        let used = self.booting.take().filter(|used| used.after_start().is_none());
        if used.is_some() && used == self.boot {
            self.boot = None;
        }
        if self.state == State::Running {
            self.put_order_in_place(effects);
        }
        if let Some(used) = used {
            self.report(Event::BootUsed(used), effects);
        }
    }

    fn stop(&mut self, now: Instant, operation: Request, effects: &mut Vec<Effect>) {
        let restart = operation == Request::Cycle;
        self.setup_key = None;
        self.operation = Some(operation);
        self.deadline = Some(now + QUIT_LIMIT);
        if self.state == State::Starting {
            // There is no monitor yet that could take a `quit`.
            self.state = State::Stopping { step: Step::Terminate, restart };
            effects.push(Effect::Terminate);
        } else {
            self.state = State::Stopping { step: Step::Quit, restart };
            effects.push(Effect::Qmp(qmp::Command::Quit));
        }
        self.report(Event::Changed, effects);
    }

    fn off(&mut self, cause: StopCause, effects: &mut Vec<Effect>) {
        self.state = State::Off;
        self.operation = None;
        self.deadline = None;
        self.guest_shutdown = false;
        self.setup_key = None;
        self.fault = matches!(cause, StopCause::Crash(_) | StopCause::NotStarted(_));
        if self.settled.is_some() {
            self.boot_used(effects);
        }
        self.report(Event::Stopped(cause), effects);
        if self.ending {
            effects.push(Effect::Exit);
        }
    }

    fn report(&self, event: Event, effects: &mut Vec<Effect>) {
        effects.push(Effect::Report(self.status(), event));
    }
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
