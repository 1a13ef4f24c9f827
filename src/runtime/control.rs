//! The control socket, for `ctl` and `health`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use crate::console::From;
use crate::control::{BootChoice, Difference, Link, Request, Response, SelEntry, Sensor, Status};
use crate::machine::Origin;
use crate::machine::boot::{BootTarget, Lifetime};
use crate::plan::NetworkPlan;
use crate::runtime::{bmc, console, machine, network, viewers};
use crate::value::BootDevice;

/// Longest request in bytes.
const MAX_REQUEST: u64 = 64 * 1024;
/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the network's part of the status may take.
const NETWORK_PATIENCE: Duration = Duration::from_millis(500);

/// What does not change.
#[derive(Clone)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) ipmi_port: u16,
    pub(super) network: NetworkPlan,
}

/// Whom to ask.
#[derive(Clone)]
pub(super) struct Owners {
    pub(super) about: About,
    pub(super) bmc: mpsc::Sender<bmc::Input>,
    pub(super) machine: mpsc::UnboundedSender<machine::Input>,
    pub(super) network: mpsc::UnboundedSender<network::Input>,
    pub(super) console: console::Port,
}

/// A connection that has asked for the console.
struct Attached {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    from: From,
    read_only: bool,
}

/// Opens the socket, for this user only.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    // The run directory was made for this user alone, so nobody came in before this.
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

pub(super) async fn serve(listener: UnixListener, owners: Owners) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: they come back when clients go.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let owners = owners.clone();
        tokio::task::spawn_local(async move {
            let console = owners.console.clone();
            match timeout(PATIENCE, answer(stream, owners)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(Attached { read, write, from, read_only }))) => {
                    viewers::watch(read, write, &console, from, read_only).await;
                }
                Ok(Err(error)) => debug!(%error, "control connection"),
                Err(_) => debug!("control connection: too slow"),
            }
        });
    }
}

async fn answer(stream: UnixStream, owners: Owners) -> io::Result<Option<Attached>> {
    let Owners { about, bmc, machine, network, console } = owners;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    (&mut read).take(MAX_REQUEST).read_line(&mut line).await?;
    let mut attached = None;
    let response = match serde_json::from_str(&line) {
        Ok(Request::Console { read_only, history }) => {
            attached = Some((if history { From::History } else { From::Now }, read_only));
            Some(Response::Accepted)
        }
        Ok(Request::Break) => console.send_break(&machine).map(|()| Response::Accepted),
        Ok(Request::Status) => status(about, &bmc, &machine, &network).await.map(Response::Status),
        Ok(Request::Links) => links(&about, &network).await.map(Response::Links),
        Ok(Request::Boot { device, always, uefi }) => boot(device, always, uefi, &bmc).await,
        Ok(Request::Sel) => sel(&bmc).await.map(Response::Sel),
        Ok(Request::Sensors) => sensors(&bmc).await.map(Response::Sensors),
        Ok(Request::Sensor { name, value }) => set_sensor(name, value, &bmc).await,
        Ok(Request::Power { request }) => power(request, &machine).await,
        Err(error) => Some(Response::Refused(format!("not a request: {error}"))),
    };
    let response = response.unwrap_or_else(|| Response::Refused("the program is stopping".into()));
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    Ok(attached.map(|(from, read_only)| Attached { read, write, from, read_only }))
}

async fn power(
    request: crate::machine::Request,
    machine: &mpsc::UnboundedSender<machine::Input>,
) -> Option<Response> {
    let (reply, result) = oneshot::channel();
    machine.send(machine::Input::Request(request, Origin::Ctl, Some(reply))).ok()?;
    Some(match result.await.ok()? {
        Ok(()) => Response::Accepted,
        Err(refusal) => Response::Refused(refusal.to_string()),
    })
}

/// How the NICs are connected.
async fn links(
    about: &About,
    network: &mpsc::UnboundedSender<network::Input>,
) -> Option<Vec<Link>> {
    let (reply, answer) = oneshot::channel();
    if network.send(network::Input::Query(reply)).is_err() {
        // None has an interface, so nobody follows any.
        return Some(about.network.nics.iter().map(network::without_interface).collect());
    }
    answer.await.ok()
}

async fn boot(
    device: BootChoice,
    always: bool,
    uefi: bool,
    bmc: &mpsc::Sender<bmc::Input>,
) -> Option<Response> {
    let target = match device {
        BootChoice::Disk => Some(BootTarget::Device(BootDevice::Disk)),
        BootChoice::Cdrom => Some(BootTarget::Device(BootDevice::Cdrom)),
        BootChoice::Pxe => Some(BootTarget::Device(BootDevice::Network)),
        BootChoice::Bios => Some(BootTarget::Setup),
        BootChoice::None => None,
    };
    let lifetime = if always { Lifetime::Always } else { Lifetime::Once };
    bmc.send(bmc::Input::Boot(target, lifetime, uefi)).await.ok()?;
    Some(Response::Accepted)
}

/// The System Event Log.
async fn sel(bmc: &mpsc::Sender<bmc::Input>) -> Option<Vec<SelEntry>> {
    let (reply, answer) = oneshot::channel();
    bmc.send(bmc::Input::Sel(reply)).await.ok()?;
    let entry = |entry: crate::bmc::SelEntry| {
        let crate::bmc::SelEntry { id, time_s, sensor, event, asserted, detail, record } = entry;
        SelEntry { id, time_s, sensor, event, asserted, detail, record }
    };
    Some(answer.await.ok()?.into_iter().map(entry).collect())
}

/// The sensors.
async fn sensors(bmc: &mpsc::Sender<bmc::Input>) -> Option<Vec<Sensor>> {
    let (reply, answer) = oneshot::channel();
    bmc.send(bmc::Input::Sensors(reply)).await.ok()?;
    let sensor = |sensor: crate::bmc::SensorStatus| {
        let crate::bmc::SensorStatus { number, name, kind, value, unit, states, set } = sensor;
        let (kind, unit) = (kind.to_owned(), unit.map(str::to_owned));
        Sensor { number, name, kind, value, unit, states, set }
    };
    Some(answer.await.ok()?.into_iter().map(sensor).collect())
}

async fn set_sensor(
    name: String,
    value: Option<f64>,
    bmc: &mpsc::Sender<bmc::Input>,
) -> Option<Response> {
    let (reply, result) = oneshot::channel();
    bmc.send(bmc::Input::Sensor(name, value, reply)).await.ok()?;
    Some(match result.await.ok()? {
        Ok(()) => Response::Accepted,
        Err(error) => Response::Refused(error.to_string()),
    })
}

fn difference(difference: crate::bmc::Difference) -> Difference {
    let crate::bmc::Difference { setting, profile, now } = difference;
    Difference { setting, profile, now }
}

/// Asks both owners; the BMC's answer proves that its loop turns.
async fn status(
    about: About,
    bmc: &mpsc::Sender<bmc::Input>,
    machine: &mpsc::UnboundedSender<machine::Input>,
    network: &mpsc::UnboundedSender<network::Input>,
) -> Option<Status> {
    let (reply, bmc_answer) = oneshot::channel();
    bmc.send(bmc::Input::Query(reply)).await.ok()?;
    let (reply, machine_answer) = oneshot::channel();
    machine.send(machine::Input::Query(reply)).ok()?;
    let (bmc, machine) = (bmc_answer.await.ok()?, machine_answer.await.ok()?);
    // Whether the BMC is well does not depend on the kernel's network.
    let links = timeout(NETWORK_PATIENCE, links(&about, network)).await.ok().flatten();
    Some(Status {
        name: about.name,
        uuid: about.uuid,
        power: machine.status.power,
        operation: machine.status.operation,
        fault: machine.status.fault,
        qemu_pid: machine.pid,
        last_failure: machine.last_failure,
        ipmi_port: about.ipmi_port,
        sessions: bmc.sessions,
        sol_active: bmc.sol_active,
        dropped_datagrams: bmc.dropped,
        identify: bmc.identify.0,
        identify_left_s: bmc.identify.1.map(|left| left.as_secs()),
        boot: bmc.boot,
        differences: bmc.differences.into_iter().map(difference).collect(),
        links: links.unwrap_or_default(),
    })
}
