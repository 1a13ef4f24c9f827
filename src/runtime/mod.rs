//! tokio: tasks that each own one thing and talk by channel.
//!
//! ```text
//!            datagrams                    requests             QMP, signals, exits
//!   UDP ◀──────────────▶ bmc ─────────────────────────▶ machine ◀──────────────▶ QEMU
//!                       ▲   ▲ ◀──────── status, events ────┘ │
//!              queries  │   │ console bytes                  │ serial ports of each new process
//!   control.sock ───────┘   └──────────── console ◀──────────┘
//!                                          │ viewers: console.sock, ctl console, file, stdout
//! ```
//!
//! `bmc` owns the engine, `machine` the power state machine and the process, whose activity `activity`
//! measures for the sensors, a `console` for each serial port its hub, `network` the interfaces of the
//! NICs, whose carriers it tells `machine`, `lan` the interface of the BMC, `system_interface` the
//! connection to a process' KCS. No task waits for another's answer but `control`, which no client of the
//! BMC depends on.
#![expect(clippy::disallowed_methods, reason = "tasks are started here")]

mod activity;
mod bmc;
mod console;
mod control;
mod lan;
mod machine;
mod network;
mod nics;
mod save;
mod system_interface;
mod viewers;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::LocalOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::bmc::Config as BmcConfig;
use crate::console::From;
use crate::control::SOCKET;
use crate::host::dirs::{self, DirError};
use crate::host::log_file::LogFile;
use crate::host::netlink::Watch;
use crate::host::timer::Timer;
use crate::host::udp::Udp;
use crate::host::{facts, nvram, process, tcp, wiring};
use crate::plan::Plan;
use crate::profile::Key;
use crate::profile::check::{Bind, Password};
use crate::profile::diagnostic::{At, Finding};
use crate::profile::document::Restore;
use crate::value::{BmcKey, Secret};

/// Carries out the plan until a signal ends it.
///
/// # Errors
/// What the host refuses before anything is started; nothing is left behind then.
pub fn run(plan: Plan) -> Result<(), Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|error| vec![host(At::Nowhere, format!("no event loop: {error}"))])?;
    runtime.block_on(run_all(plan))
}

fn host(at: At, message: String) -> Finding {
    Finding::host(at, message)
}

fn key(path: &str) -> At {
    At::Key(Key::from(path))
}

/// How long the machine may wait for the interfaces that are there when the program starts.
const INTERFACES_LIMIT: Duration = Duration::from_secs(2);
/// How long it may take to put interfaces back when the program ends.
const RESTORE_LIMIT: Duration = Duration::from_secs(5);
/// How long a client may take for the console's last characters when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

async fn run_all(plan: Plan) -> Result<(), Vec<Finding>> {
    let fail = |finding: Finding| vec![finding];
    let passwords = passwords(&plan).map_err(fail)?;
    let k_g = k_g(&plan).map_err(fail)?;
    let vnc_password = vnc_password(&plan).map_err(fail)?;
    let _locks = directories(&plan).map_err(fail)?;
    let _sockets = Sockets::of(&plan);
    let udp = bind(&plan).map_err(fail)?;
    vnc_port_is_free(&plan).map_err(fail)?;
    let (sol_sender, for_sol) = mpsc::unbounded_channel();
    let serials = serials(&plan, sol_sender).await.map_err(fail)?;
    let console = serials[0].clone();
    prepare_files(&plan).map_err(fail)?;
    let prepared =
        network::prepare(&plan.network, &plan.identity.name, &plan.run_dir).await.map_err(fail)?;
    let (network, taps) = prepared.map_or((None, Vec::new()), |(ready, taps)| (Some(ready), taps));
    // A socket of a program that died: nobody else can have it, the directory is ours.
    let control_path = plan.run_dir.join(SOCKET);
    let control = dirs::remove(&control_path)
        .and_then(|()| control::listen(&control_path))
        .map_err(|error| fail(host(key("run_dir"), format!("the control socket: {error}"))))?;
    let timer =
        Timer::new().map_err(|error| fail(host(At::Nowhere, format!("no timer: {error}"))))?;
    let signals = || -> io::Result<_> {
        Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    };
    let (mut terminate, mut interrupt) = signals()
        .map_err(|error| fail(host(At::Nowhere, format!("no signal handler: {error}"))))?;

    // Before it is looked at, so that nothing is missed.
    let watch = Watch::new();
    let lan = crate::host::lan::identity(&plan.ipmi.bind);
    let engine = BmcConfig::new(&plan, passwords, k_g, lan.clone());
    let (bmc_sender, bmc_inbox) = mpsc::channel(bmc::INBOX);
    let (machine_sender, machine_inbox) = mpsc::unbounded_channel();
    let (network_sender, network_inbox) = mpsc::unbounded_channel();

    let mut engine = crate::bmc::Bmc::new(engine, crate::host::seed());
    let damaged = match save::read(&plan.state_dir) {
        Ok(None) => None,
        Ok(Some(saved)) => engine.restore(&saved).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = damaged {
        save::set_aside(&plan.state_dir, &why).map_err(|error| fail(unreadable(&error)))?;
    }
    engine.handle_clock(crate::host::now(), crate::host::unix_s());
    let restores_on = restores_on(&plan, engine.restore_policy()).map_err(fail)?;
    // Whom the BMC answers finds them.
    machine::write_first_state(&plan.run_dir);
    info!(name = %plan.identity.name, uuid = %plan.identity.uuid, port = plan.ipmi.port, "BMC is up");
    let (save_sender, save_inbox) = mpsc::unbounded_channel();
    let mut saving = tokio::task::spawn_local(save::run(plan.state_dir.clone(), save_inbox));
    let mut serving = bmc::Serving {
        udp,
        timer,
        engine,
        save: save_sender,
        inbox: bmc_inbox,
        machine: machine_sender.clone(),
        console: console.clone(),
        for_sol,
        transmits: Vec::new(),
        system_interface: None,
    };
    // The boot override that was kept is for this start already.
    serving.drain(crate::host::now());
    let serving = tokio::task::spawn_local(bmc::serve(serving));
    let about = control::About {
        name: plan.identity.name.to_string(),
        uuid: plan.identity.uuid.to_string(),
        ipmi_port: plan.ipmi.port,
        network: plan.network.clone(),
    };
    let owners = control::Owners {
        about,
        bmc: bmc_sender.clone(),
        machine: machine_sender.clone(),
        network: network_sender.clone(),
        console,
    };
    tokio::task::spawn_local(control::serve(control, owners));
    match watch {
        Ok(watch) => {
            let bind = plan.ipmi.bind.clone();
            tokio::task::spawn_local(lan::run(bind, watch, lan, bmc_sender.clone()));
        }
        Err(error) => warn!(%error, "the BMC's addresses are not followed"),
    }
    let (settled_sender, settled) = oneshot::channel();
    if let Some(network) = network {
        let machine = machine_sender.clone();
        tokio::task::spawn_local(network::run(network, network_inbox, machine, settled_sender));
    } else {
        drop((network_inbox, settled_sender));
    }
    if restores_on {
        let machine = machine_sender.clone();
        tokio::task::spawn_local(async move {
            // A guest is told of the interfaces that are there when it starts.
            let _ = timeout(INTERFACES_LIMIT, settled).await;
            let (on, policy) = (crate::machine::Request::On, crate::machine::Origin::RestorePolicy);
            let _ = machine.send(machine::Input::Request(on, policy, None));
        });
    }
    let (activity_sender, activity_inbox) = mpsc::unbounded_channel();
    if let Some(meter) = activity::Meter::of(&plan) {
        let (machine, bmc) = (machine_sender.clone(), bmc_sender.clone());
        tokio::task::spawn_local(activity::run(meter, activity_inbox, machine, bmc));
    }
    let mut machine = tokio::task::spawn_local(machine::run(
        plan,
        vnc_password,
        taps,
        machine_inbox,
        machine_sender.clone(),
        machine::Others {
            bmc: bmc_sender.clone(),
            serials: serials.clone(),
            network: network_sender.clone(),
            activity: activity_sender,
        },
    ));

    loop {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("SIGINT: stopping"),
            result = &mut machine => {
                let _ = timeout(LAST_WORDS, last_words(&serials, &bmc_sender)).await;
                let _ = timeout(LAST_WORDS, farewell(&serials)).await;
                // With the engine goes the last who could have something to save.
                serving.abort();
                let _ = timeout(LAST_WORDS, &mut saving).await;
                let (reply, restored) = oneshot::channel();
                if network_sender.send(network::Input::End(reply)).is_ok()
                    && timeout(RESTORE_LIMIT, restored).await.is_err()
                {
                    warn!("the container's interfaces are not all as they were: the next run puts them back");
                }
                return result.map_err(|error| {
                    fail(host(At::Nowhere, format!("the power machine failed: {error}")))
                });
            }
        }
        let _ = machine_sender.send(machine::Input::End);
    }
}

/// Starts the serial ports with those who watch them from the start.
async fn serials(
    plan: &Plan,
    sol: mpsc::UnboundedSender<console::ForSol>,
) -> Result<Vec<console::Port>, Finding> {
    let mut sol = Some(sol);
    let mut ports = Vec::new();
    for (number, plan) in plan.serial.ports.iter().enumerate() {
        let port = console::start(plan.history, sol.take());
        let gone = || host(At::Nowhere, "the serial ports are not served".to_owned());
        if let Some(file) = &plan.file {
            let section = match number.checked_sub(1) {
                None => "console".to_owned(),
                Some(index) => format!("serials.{index}"),
            };
            let file = LogFile::open(file)
                .map_err(|error| host(key(&format!("{section}.file")), error.to_string()))?;
            viewers::write_to_file(port.join(From::Now).await.ok_or_else(gone)?, file);
        }
        if plan.stdout {
            viewers::print(port.join(From::Now).await.ok_or_else(gone)?);
        }
        if let Some(path) = &plan.socket {
            let listener =
                dirs::remove(path).and_then(|()| control::listen(path)).map_err(|error| {
                    host(key("run_dir"), format!("the socket {}: {error}", path.display()))
                })?;
            let accept = async move || Ok(listener.accept().await?.0.into_split());
            tokio::task::spawn_local(viewers::serve(accept, port.clone()));
        }
        if let Some(address) = plan.tcp {
            let listener = tcp::listen(address).map_err(|error| console_port(address, &error))?;
            let accept = async move || Ok(listener.accept().await?.0.into_split());
            tokio::task::spawn_local(viewers::serve(accept, port.clone()));
        }
        ports.push(port);
    }
    Ok(ports)
}

/// Waits until the viewers have seen all and have gone.
async fn farewell(serials: &[console::Port]) {
    for port in serials {
        let (reply, gone) = oneshot::channel();
        if port.inbox.send(console::Input::Farewell(reply)).is_ok() {
            let _ = gone.await;
        }
    }
}

/// Waits until the serial ports' last characters are where somebody waits for them.
async fn last_words(serials: &[console::Port], bmc: &mpsc::Sender<bmc::Input>) -> Option<()> {
    for port in serials {
        let (reply, finished) = oneshot::channel();
        port.inbox.send(console::Input::Finish(reply)).ok()?;
        finished.await.ok()?;
    }
    let (reply, finished) = oneshot::channel();
    bmc.send(bmc::Input::Finish(reply)).await.ok()?;
    finished.await.ok()
}

fn unreadable(error: &io::Error) -> Finding {
    host(key("state_dir"), format!("what was changed over IPMI cannot be read: {error}"))
}

/// Passwords of the plan's users, in order.
fn passwords(plan: &Plan) -> Result<Vec<Secret>, Finding> {
    let read = |(index, user): (usize, &crate::plan::ipmi::UserPlan)| match &user.password {
        Password::Inline(secret) => Ok(secret.clone()),
        Password::File(path) => facts::password(path).map_err(|reason| {
            let at = key(&format!("ipmi.users.{index}.password_file"));
            host(at, format!("{}: {reason}", path.display()))
        }),
    };
    plan.ipmi.users.iter().enumerate().map(read).collect()
}

fn k_g(plan: &Plan) -> Result<Option<BmcKey>, Finding> {
    let read = |path: &PathBuf| {
        facts::k_g(path)
            .map_err(|reason| host(key("ipmi.k_g_file"), format!("{}: {reason}", path.display())))
    };
    plan.ipmi.k_g_file.as_ref().map(read).transpose()
}

fn vnc_password(plan: &Plan) -> Result<Option<Secret>, Finding> {
    let file = plan.qemu.vnc.as_ref().and_then(|vnc| vnc.password_file.as_ref());
    let read = |path: &PathBuf| {
        facts::vnc_password(path).map_err(|reason| {
            host(key("vnc.password_file"), format!("{}: {reason}", path.display()))
        })
    };
    file.map(read).transpose()
}

/// Whether the machine is to be started now.
fn restores_on(plan: &Plan, policy: Restore) -> Result<bool, Finding> {
    match policy {
        Restore::AlwaysOn => Ok(true),
        Restore::AlwaysOff => Ok(false),
        Restore::Previous => save::was_on(&plan.state_dir).map_err(|error| {
            host(key("state_dir"), format!("the last power state cannot be read: {error}"))
        }),
    }
}

/// Makes both directories, and keeps other programs out of them.
fn directories(plan: &Plan) -> Result<Vec<dirs::Lock>, Finding> {
    let same = plan.run_dir == plan.state_dir;
    let both = [("state_dir", &plan.state_dir), ("run_dir", &plan.run_dir)];
    let wanted = both.into_iter().skip(usize::from(same));
    let locks = wanted.map(|(name, path)| directory(name, path)).collect::<Result<_, _>>()?;
    dirs::make(&plan.run_dir.join(wiring::FOLDER))
        .map_err(|error| host(key("run_dir"), error.to_string()))?;
    Ok(locks)
}

fn directory(name: &str, path: &Path) -> Result<dirs::Lock, Finding> {
    dirs::make_and_lock(path).map_err(|error| {
        let finding = host(key(name), format!("`{name}` {}: {error}", path.display()));
        match error {
            DirError::InUse(_) => finding.with_help(
                "give each machine a `run_dir` and a `state_dir` of its own, or stop the other",
            ),
            DirError::Io(_) => finding
                .with_help(format!("set `{name}` to a directory that this user can write to")),
        }
    })
}

fn bind(plan: &Plan) -> Result<Udp, Finding> {
    let (bind, port) = (&plan.ipmi.bind, plan.ipmi.port);
    Udp::bind(bind, port).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            host(key("ipmi.port"), format!("UDP port {port} is in use by another program"))
                .with_help("stop it, or set `ipmi.port` (IPMI_PORT)")
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            host(key("ipmi.port"), format!("UDP port {port} may not be opened by this user"))
                .with_help("use a port from 1024 on, such as 6230, or run as root")
        }
        _ => match bind {
            Bind::All => host(key("ipmi.port"), format!("UDP port {port}: {error}")),
            Bind::Address(address) => {
                host(key("ipmi.bind"), format!("address {address} cannot be served on: {error}"))
                    .with_help("use an address of this host, or leave `ipmi.bind` out")
            }
            Bind::Interface(name) => {
                host(key("ipmi.bind"), format!("interface {name} cannot be served on: {error}"))
                    .with_help("use an interface of this host, or leave `ipmi.bind` out")
            }
        },
    })
}

fn console_port(address: SocketAddr, error: &io::Error) -> Finding {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let what = format!("TCP port {port} is in use by another program");
            host(key("console.tcp_port"), what)
                .with_help("stop it, or set `console.tcp_port` to another port")
        }
        io::ErrorKind::PermissionDenied => {
            host(key("console.tcp_port"), format!("TCP port {port} may not be opened by this user"))
                .with_help("use a port from 1024 on, such as 9002, or run as root")
        }
        _ => host(key("console.tcp_address"), format!("{address} cannot be served on: {error}"))
            .with_help("use an address of this host, or leave `console.tcp_address` out"),
    }
}

/// QEMU would only say so when it is started, and the machine would be off without a word.
fn vnc_port_is_free(plan: &Plan) -> Result<(), Finding> {
    let Some(port) = plan.qemu.vnc.as_ref().map(|vnc| vnc.port) else { return Ok(()) };
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(host(key("vnc.port"), format!("TCP port {port} for VNC: {error}"))
            .with_help(
                "set `vnc.port` (VNC_PORT) to another port from 5900 on, or to 0 for no VNC",
            )),
    }
}

fn prepare_files(plan: &Plan) -> Result<(), Finding> {
    for disk in &plan.qemu.create_disks {
        let path = disk.path.display();
        let created = process::create_disk(disk).map_err(|reason| {
            host(key("disks"), format!("the disk {path} cannot be created: {reason}"))
        })?;
        if created {
            info!("{disk}");
        }
    }
    if let Some(nvram) = &plan.qemu.nvram {
        let damaged = nvram::prepare(nvram).map_err(|error| {
            host(key("state_dir"), format!("the UEFI variables cannot be kept: {error}"))
        })?;
        if let Some(aside) = damaged {
            warn!(kept = %aside.display(), "the UEFI variables are new ones: their file is damaged, or that of another firmware");
        }
    }
    Ok(())
}

/// The sockets that would mislead when nobody serves them any more: they go with this.
struct Sockets(Vec<PathBuf>);

impl Sockets {
    fn of(plan: &Plan) -> Self {
        let consoles = plan.serial.ports.iter().filter_map(|port| port.socket.clone());
        Self(consoles.chain([plan.run_dir.join(SOCKET)]).collect())
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for socket in &self.0 {
            let _ = dirs::remove(socket);
        }
    }
}
