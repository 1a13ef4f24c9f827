//! The power state machine with its process: carries out effects, feeds back what happens.

use std::collections::VecDeque;
use std::io::PipeReader;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

use crate::host::process::{self, Exit};
use crate::host::qmp::Qmp;
use crate::host::tap::Tap;
use crate::host::{self, dirs};
use crate::machine::boot::{BootOrder, BootTarget, Override};
use crate::machine::driver::{Driver, Effect};
use crate::machine::{Event, Origin, Power, Refusal, Request, StartCause, Status, StopCause};
use crate::plan::Plan;
use crate::plan::qemu::CONSOLE_CHARDEV;
use crate::qmp::{self, Command, Message};
use crate::runtime::nics::{self, Nics};
use crate::runtime::{activity, bmc, console, network, system_interface};
use crate::value::{BootDevice, Secret};

/// Name of the file in the state directory that says what the machine is to be: see [`Event::wanted`].
pub(super) const LAST_POWER: &str = "last-power";

/// How long the TPM emulator may take to end by itself when QEMU is gone.
const TPM_LIMIT: Duration = Duration::from_secs(3);

/// Lines of QEMU's output that are kept to say why it ended.
const KEPT_LINES: usize = 4;
/// What it printed longer before its end has nothing to do with that.
const LINES_LIMIT: Duration = Duration::from_secs(5);

/// What this task is told.
#[derive(Debug)]
pub(super) enum Input {
    /// A power request, who asked, and who waits to be told what became of it. The BMC is told anyway.
    Request(Request, Origin, Option<oneshot::Sender<Result<(), Refusal>>>),
    /// The boot override has changed.
    Boot(Option<Override>),
    /// The time off within a power cycle has changed.
    CycleInterval(Duration),
    /// Send a break on the serial port. What comes with it is dropped when QEMU has it, or never will.
    Break(oneshot::Sender<()>),
    /// Somebody wants to know how many bytes the guest has read from disks, and written. Dropped if
    /// QEMU does not tell, or was asked before and has not answered.
    DiskBytes(oneshot::Sender<u64>),
    /// What has become of a NIC.
    Nic(nics::Input),
    /// The program is to end.
    End,
    /// Somebody wants to know.
    Query(oneshot::Sender<Snapshot>),
    /// The monitor of the process with this number said something; `None`: it closed.
    Monitor(u64, Option<Message>),
    /// The process with this number printed a line.
    Output(u64, String),
    /// The process with this number has been gone for so long that its TPM emulator must be, too.
    TpmLimit(u64),
}

/// What this task knows.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    pub(super) pid: Option<i32>,
    pub(super) last_failure: Option<String>,
}

/// The process that runs now.
struct Running {
    /// Counts processes: what is still under way from an old one must not be taken for the new one's.
    number: u64,
    pid: i32,
    /// The TPM emulator, until it was reaped.
    swtpm: Option<i32>,
    qmp: Qmp,
    /// The monitor takes commands.
    ready: bool,
    /// The monitor has closed: no more events.
    closed: bool,
    /// It was reaped.
    exit: Option<Exit>,
    /// Who waits for a break to be with QEMU, in order.
    breaks: VecDeque<oneshot::Sender<()>>,
    /// Who waits to be told of disks.
    disk_bytes: Option<oneshot::Sender<u64>>,
    /// With the time when they came.
    last_lines: VecDeque<(std::time::Instant, String)>,
}

/// The tasks that it talks to.
pub(super) struct Others {
    pub(super) bmc: mpsc::Sender<bmc::Input>,
    pub(super) serials: Vec<console::Port>,
    pub(super) network: mpsc::UnboundedSender<network::Input>,
    pub(super) activity: mpsc::UnboundedSender<activity::Input>,
}

struct Machine {
    plan: Plan,
    vnc_password: Option<Secret>,
    taps: Vec<Tap>,
    nics: Nics,
    network: mpsc::UnboundedSender<network::Input>,
    activity: mpsc::UnboundedSender<activity::Input>,
    driver: Driver,
    running: Option<Running>,
    processes: u64,
    last_failure: Option<String>,
    sender: mpsc::UnboundedSender<Input>,
    bmc: mpsc::Sender<bmc::Input>,
    /// The serial ports.
    serials: Vec<console::Port>,
    /// For the BMC, in order; its inbox may be full.
    reports: VecDeque<(Status, Event)>,
    done: bool,
}

pub(super) async fn run(
    plan: Plan,
    vnc_password: Option<Secret>,
    taps: Vec<Tap>,
    mut inbox: mpsc::UnboundedReceiver<Input>,
    sender: mpsc::UnboundedSender<Input>,
    others: Others,
) {
    let Others { bmc, serials, network, activity } = others;
    let mut children = match signal(SignalKind::child()) {
        Ok(children) => children,
        Err(error) => {
            error!(%error, "children cannot be watched");
            return;
        }
    };
    let driver = Driver::new(plan.power.driver(&plan.qemu));
    let nics = Nics::new(&plan.network);
    let mut machine = Machine {
        plan,
        vnc_password,
        taps,
        nics,
        network,
        activity,
        driver,
        running: None,
        processes: 0,
        last_failure: None,
        sender,
        bmc,
        serials,
        reports: VecDeque::new(),
        done: false,
    };
    while !machine.done {
        let timeout = machine.driver.poll_timeout().map(Instant::from_std);
        let bmc = machine.bmc.clone();
        tokio::select! {
            Some(input) = inbox.recv() => machine.handle(input).await,
            _ = children.recv() => {
                for exit in process::reap() {
                    machine.exited(exit).await;
                }
            }
            Ok(permit) = bmc.reserve(), if !machine.reports.is_empty() => {
                if let Some((status, event)) = machine.reports.pop_front() {
                    permit.send(bmc::Input::Machine(status, event));
                }
            }
            () = async {
                match timeout {
                    Some(timeout) => sleep_until(timeout).await,
                    None => std::future::pending().await,
                }
            } => machine.drive(|driver, effects| driver.handle_timeout(host::now(), effects)).await,
        }
    }
    // How it ended belongs into the SEL.
    for (status, event) in machine.reports {
        let _ = machine.bmc.send(bmc::Input::Machine(status, event)).await;
    }
}

impl Machine {
    async fn handle(&mut self, input: Input) {
        match input {
            Input::Request(request, origin, reply) => {
                let mut result = Ok(());
                let before = self.reports.len();
                self.drive(|driver, effects| {
                    result = driver.handle_request(host::now(), request, effects);
                })
                .await;
                match result {
                    Ok(()) => info!(?request, "power request"),
                    Err(refusal) => warn!(?request, %refusal, "power request refused"),
                }
                // Before what has come of it already.
                let event = Event::Requested(request, origin, result);
                self.keep_wanted(self.driver.status(), &event);
                self.reports.insert(before, (self.driver.status(), event));
                if let Some(reply) = reply {
                    let _ = reply.send(result);
                }
            }
            Input::Boot(boot) => {
                self.write_state("boot.device", boot_word(boot));
                if matches!(boot, Some(Override { target: BootTarget::Setup, .. })) {
                    info!(
                        "the firmware's set-up is entered when the machine is switched on or cycled, not by a reset"
                    );
                }
                self.drive(|driver, effects| driver.handle_boot(boot, effects)).await;
            }
            Input::CycleInterval(interval) => self.driver.set_cycle_interval(interval),
            Input::Break(waiting) => {
                if let Some(running) = &mut self.running {
                    let id = CONSOLE_CHARDEV.to_owned();
                    running.qmp.send(Command::ChardevSendBreak { id });
                    running.breaks.push_back(waiting);
                }
            }
            Input::DiskBytes(reply) => {
                let ready = self.running.as_mut().filter(|running| running.ready);
                if let Some(running) = ready.filter(|running| running.disk_bytes.is_none()) {
                    running.qmp.send(Command::QueryBlockstats);
                    running.disk_bytes = Some(reply);
                }
            }
            Input::Nic(input) => {
                let is_ready = self.running.as_ref().is_some_and(|running| running.ready);
                let Plan { network, qemu, .. } = &mut self.plan;
                self.nics.handle(input, network, qemu, is_ready);
                self.tell_of_nics();
                if self.running.is_none() {
                    self.tell_of_free_places();
                }
            }
            Input::End => {
                if !self.driver.status().ending {
                    let event = Event::Requested(Request::Soft, Origin::End, Ok(()));
                    self.reports.push_back((self.driver.status(), event));
                }
                self.drive(|driver, effects| driver.handle_end(host::now(), effects)).await
            }
            Input::Query(reply) => {
                let _ = reply.send(Snapshot {
                    status: self.driver.status(),
                    pid: self.running.as_ref().map(|running| running.pid),
                    last_failure: self.last_failure.clone(),
                });
            }
            Input::Monitor(number, message) => self.monitor(number, message).await,
            Input::Output(number, line) => {
                warn!("QEMU: {line}");
                if let Some(running) = self.running_with(number) {
                    running.last_lines.push_back((host::now(), line));
                    if running.last_lines.len() > KEPT_LINES {
                        running.last_lines.pop_front();
                    }
                }
            }
            Input::TpmLimit(number) => {
                if let Some(Running { swtpm: Some(pid), .. }) = self.running_with(number) {
                    warn!(pid, "the TPM emulator does not end, and is killed");
                    process::signal(*pid, true);
                }
            }
        }
    }

    fn running_with(&mut self, number: u64) -> Option<&mut Running> {
        self.running.as_mut().filter(|running| running.number == number)
    }

    async fn monitor(&mut self, number: u64, message: Option<Message>) {
        let Some(running) = self.running_with(number) else { return };
        match message {
            None => {
                running.closed = true;
                self.ended().await;
            }
            Some(Message::Greeting(version)) => {
                info!(
                    pid = running.pid,
                    "QEMU {}.{}.{} is up", version.major, version.minor, version.micro
                );
                running.qmp.send(Command::QmpCapabilities);
            }
            Some(Message::Return { id, result }) => match (running.qmp.returned(id), result) {
                (Some(Command::ChardevSendBreak { .. }), Ok(_)) => drop(running.breaks.pop_front()),
                (Some(Command::QueryBlockstats), result) => {
                    let bytes = result.ok().as_ref().and_then(qmp::block_bytes);
                    if let (Some(reply), Some(bytes)) = (running.disk_bytes.take(), bytes) {
                        let _ = reply.send(bytes);
                    }
                }
                (Some(Command::QmpCapabilities), Ok(_)) => {
                    if let Some(running) = self.running_with(number) {
                        running.ready = true;
                    }
                    self.nics.ready(&self.plan.network);
                    self.tell_of_nics();
                    if let Some(password) = self.vnc_password.clone() {
                        self.send(Command::SetPassword { protocol: "vnc", password });
                    }
                    self.drive(|driver, effects| driver.handle_monitor_ready(host::now(), effects))
                        .await;
                }
                (Some(command), Err(reason)) => {
                    warn!(?command, reason, "QEMU refuses");
                    if matches!(command, Command::ChardevSendBreak { .. }) {
                        running.breaks.pop_front();
                    }
                }
                _ => {}
            },
            Some(Message::Event(event)) => {
                debug!(?event, "QEMU");
                if let qmp::Event::DeviceDeleted { id: Some(id) } = &event
                    && self.nics.deleted(id)
                {
                    let _ = self.network.send(network::Input::Unplugged(id.clone()));
                }
                self.drive(|driver, effects| driver.handle_qmp_event(host::now(), &event, effects))
                    .await;
            }
        }
    }

    /// A child was reaped: QEMU, or as PID 1 anybody's.
    async fn exited(&mut self, exit: Exit) {
        let Some(running) = &mut self.running else { return };
        if running.pid == exit.pid {
            // From now on the process ID may be another's.
            let _ = self.activity.send(activity::Input::Ended);
            running.exit = Some(exit);
            if running.swtpm.is_some() {
                // It ends by itself when QEMU lets go of it.
                tokio::task::spawn_local(tpm_limit(running.number, self.sender.clone()));
            }
        } else if running.swtpm == Some(exit.pid) {
            running.swtpm = None;
            if running.exit.is_none() && !exit.clean {
                warn!(how = exit.how, "the TPM emulator has ended; the guest's TPM is dead");
            }
        } else {
            return;
        }
        self.ended().await;
    }

    /// The process is over when it was reaped *and* its monitor has closed: the last events tell
    /// why it ended. Its TPM emulator has to be gone as well: that holds a lock on the TPM's state,
    /// which the next one needs.
    async fn ended(&mut self) {
        let over = |running: &mut Running| {
            running.closed && running.exit.is_some() && running.swtpm.is_none()
        };
        let Some(Running { exit: Some(exit), last_lines, .. }) = self.running.take_if(over) else {
            return;
        };
        self.tell_of_free_places();
        // Nobody listens there any more.
        let _ = dirs::remove(&self.plan.qemu.user_qmp);
        let mut how = exit.how;
        let now = host::now();
        let is_new = |at| now.saturating_duration_since(at) < LINES_LIMIT;
        let lines = last_lines.into_iter().filter(|(at, _)| is_new(*at)).map(|(_, line)| line);
        let lines = lines.collect::<Vec<_>>().join("; ");
        if !exit.clean && !lines.is_empty() {
            how = format!("{how}: {lines}");
        }
        self.drive(|driver, effects| driver.handle_exit(host::now(), exit.clean, how, effects))
            .await;
    }

    /// Feeds the driver, and carries out what it wants.
    async fn drive(&mut self, input: impl FnOnce(&mut Driver, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        input(&mut self.driver, &mut effects);
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Spawn { order, setup } => {
                    if let Err(reason) = self.spawn(&order, setup).await {
                        let mut more = Vec::new();
                        self.driver.handle_spawn_failed(reason, &mut more);
                        queue.extend(more);
                    }
                }
                Effect::Qmp(command) => self.send(command),
                Effect::SetBootOrder(order) => {
                    for command in self.plan.qemu.set_boot_order(&order) {
                        self.send(command);
                    }
                }
                Effect::PressSetupKey => self.send(self.plan.qemu.setup_key()),
                Effect::Terminate => self.signal(false),
                Effect::Kill => self.signal(true),
                Effect::Report(status, event) => self.report(status, event),
                Effect::Exit => self.done = true,
            }
        }
    }

    async fn spawn(&mut self, order: &BootOrder, setup: bool) -> Result<(), String> {
        self.processes += 1;
        let number = self.processes;
        self.nics.spawned(&self.plan.network);
        let process = process::spawn(&self.plan.qemu, order, setup, &self.taps)?;
        let sender = self.sender.clone();
        let deliver = move |message| {
            let _ = sender.send(Input::Monitor(number, message));
        };
        for (port, stream) in self.serials.iter().zip(process.serials) {
            let _ = port.inbox.send(console::Input::Attach(stream));
        }
        if let Some(stream) = process.system_interface {
            tokio::task::spawn_local(system_interface::run(number, stream, self.bmc.clone()));
        }
        let qmp = Qmp::connect(process.qmp, deliver)
            .map_err(|error| format!("QEMU's monitor cannot be used: {error}"))?;
        tokio::task::spawn_local(pass_on(number, process.output, self.sender.clone()));
        let _ = self.activity.send(activity::Input::Started(process.pid));
        self.running = Some(Running {
            number,
            pid: process.pid,
            swtpm: process.swtpm,
            qmp,
            ready: false,
            closed: false,
            exit: None,
            breaks: VecDeque::new(),
            disk_bytes: None,
            last_lines: VecDeque::new(),
        });
        Ok(())
    }

    fn send(&mut self, command: Command) {
        if let Some(running) = &mut self.running {
            if running.closed {
                warn!(pid = running.pid, ?command, "QEMU's monitor is closed, and cannot be told");
            }
            running.qmp.send(command);
        }
    }

    /// Without a process, no guest holds on to a NIC that was unplugged.
    fn tell_of_free_places(&mut self) {
        for id in self.nics.ended() {
            let _ = self.network.send(network::Input::Unplugged(id));
        }
    }

    /// Tells QEMU of its NICs, as soon as it takes commands.
    fn tell_of_nics(&mut self) {
        if let Some(running) = self.running.as_mut().filter(|running| running.ready) {
            for (command, descriptor) in self.nics.take_pending() {
                running.qmp.send_with(command, descriptor);
            }
        }
    }

    fn signal(&mut self, hard: bool) {
        // A reaped process has no ID any more.
        if let Some(running) = self.running.as_ref().filter(|running| running.exit.is_none()) {
            process::signal(running.pid, hard);
        }
    }

    fn report(&mut self, status: Status, event: Event) {
        match &event {
            Event::Changed | Event::Requested(..) | Event::BootUsed(_) => {}
            Event::Panicked => warn!("the guest's kernel has panicked"),
            Event::WatchdogExpired(action) => warn!(action, "the machine's own watchdog"),
            Event::Started(cause) => {
                info!(?cause, "machine started");
                if matches!(cause, StartCause::Reset | StartCause::Guest) {
                    for port in &self.serials {
                        let _ = port.inbox.send(console::Input::Flush);
                    }
                }
            }
            Event::Stopped(cause @ (StopCause::Crash(how) | StopCause::NotStarted(how))) => {
                self.last_failure = Some(how.clone());
                error!(?cause, "machine is off");
                if self.plan.qemu.kvm && matches!(cause, StopCause::NotStarted(_)) {
                    warn!(
                        "if KVM is to blame, `machine.accel = \"tcg\"` (ENABLE_KVM=false) emulates"
                    );
                }
            }
            Event::Stopped(cause) => info!(?cause, "machine is off"),
        }
        self.write_state("power.state", power_word(status.power));
        self.keep_wanted(status, &event);
        self.reports.push_back((status, event));
    }

    /// For the restore policy of the next start of the program.
    fn keep_wanted(&self, status: Status, event: &Event) {
        let Some(power) = event.wanted(status) else { return };
        let path = self.plan.state_dir.join(LAST_POWER);
        let write = |path: &Path, line: &[u8]| dirs::write_whole(path, line, dirs::PUBLIC);
        if let Err(error) = write_if_new(&path, power_word(power), write) {
            warn!(%error, "the power state cannot be kept");
        }
    }

    /// Files for scripts that read them; nobody here does.
    fn write_state(&self, name: &str, word: &str) {
        write_state(&self.plan.run_dir, name, word);
    }
}

/// Writes the files for scripts, as of a machine that has not been started.
pub(super) fn write_first_state(run_dir: &Path) {
    write_state(run_dir, "power.state", "off");
    write_state(run_dir, "boot.device", "none");
}

fn write_state(run_dir: &Path, name: &str, word: &str) {
    if let Err(error) = write_if_new(&run_dir.join(name), word, dirs::replace) {
        warn!(%error, "a state file cannot be written");
    }
}

fn write_if_new(
    path: &Path,
    word: &str,
    write: impl FnOnce(&Path, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let line = format!("{word}\n");
    if fs_err::read_to_string(path).is_ok_and(|old| old == line) {
        return Ok(());
    }
    write(path, line.as_bytes())
}

fn power_word(power: Power) -> &'static str {
    match power {
        Power::On => "on",
        Power::Off => "off",
    }
}

fn boot_word(boot: Option<Override>) -> &'static str {
    match boot.map(|boot| boot.target) {
        None | Some(BootTarget::Default) => "none",
        Some(BootTarget::Device(BootDevice::Network)) => "pxe",
        Some(BootTarget::Device(BootDevice::Disk)) => "disk",
        Some(BootTarget::Device(BootDevice::Cdrom)) => "cdrom",
        Some(BootTarget::Setup) => "bios",
    }
}

async fn tpm_limit(number: u64, sender: mpsc::UnboundedSender<Input>) {
    sleep(TPM_LIMIT).await;
    let _ = sender.send(Input::TpmLimit(number));
}

/// Passes on what a process prints, line by line.
async fn pass_on(number: u64, output: PipeReader, sender: mpsc::UnboundedSender<Input>) {
    let Ok(output) = pipe::Receiver::from_owned_fd(output.into()) else { return };
    let mut lines = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let _ = sender.send(Input::Output(number, line));
    }
}
