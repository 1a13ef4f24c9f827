//! Measures how busy the machine is, while it is on, for the sensors that depend on it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::host;
use crate::host::activity::{cpu_time, nic_bytes, resident_bytes};
use crate::machine::activity::{Activity, Counters};
use crate::plan::Plan;
use crate::runtime::{bmc, machine};

/// How often it is measured.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long after the start for the first time: a rate takes two moments.
const FIRST: Duration = Duration::from_secs(2);
/// How long QEMU may take to tell of its disks.
const PATIENCE: Duration = Duration::from_secs(1);

/// What this task is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// The machine's process has started.
    Started(i32),
    /// It has ended.
    Ended,
}

/// What is measured, and against what.
pub(super) struct Meter {
    cpus: u32,
    memory_bytes: u64,
    taps: Vec<String>,
    /// A sensor depends on the disks, of which only QEMU can tell.
    disks: bool,
}

impl Meter {
    /// `None`: no sensor depends on the machine's activity.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let sensors = &plan.sensors;
        let is_measured = sensors.numbers.iter().any(|sensor| sensor.is_measured());
        let network = &plan.network;
        let taps = network.nics.iter().filter_map(|nic| nic.tap.clone());
        let meter = || Self {
            cpus: sensors.cpus,
            memory_bytes: sensors.memory_bytes,
            taps: taps.chain(network.spares.iter().map(|spare| spare.tap.clone())).collect(),
            disks: sensors.numbers.iter().any(|sensor| sensor.per.disk_mib_s != 0.0),
        };
        is_measured.then(meter)
    }

    async fn read(&self, pid: i32, machine: &mpsc::UnboundedSender<machine::Input>) -> Counters {
        let disk_bytes = if self.disks { disk_bytes(machine).await } else { None };
        Counters {
            at: host::now(),
            cpu: cpu_time(pid),
            resident_bytes: resident_bytes(pid),
            disk_bytes,
            nic_bytes: nic_bytes(&self.taps),
        }
    }
}

/// QEMU tells: what the kernel counts of a process (`/proc/PID/io`) is for those only who may trace
/// it, and QEMU runs as another user.
async fn disk_bytes(machine: &mpsc::UnboundedSender<machine::Input>) -> Option<u64> {
    let (reply, answer) = oneshot::channel();
    machine.send(machine::Input::DiskBytes(reply)).ok()?;
    timeout(PATIENCE, answer).await.ok()?.ok()
}

pub(super) async fn run(
    meter: Meter,
    mut inbox: mpsc::UnboundedReceiver<Input>,
    machine: mpsc::UnboundedSender<machine::Input>,
    bmc: mpsc::Sender<bmc::Input>,
) {
    let mut process = None;
    let mut before: Option<Counters> = None;
    let mut next = Instant::now();
    loop {
        tokio::select! {
            input = inbox.recv() => match input {
                Some(Input::Started(pid)) => {
                    process = Some(pid);
                    before = None;
                    next = Instant::now();
                }
                Some(Input::Ended) => process = None,
                None => return,
            },
            () = sleep_until(next), if process.is_some() => {
                let Some(pid) = process else { continue };
                let counters = meter.read(pid, &machine).await;
                if before.is_some() {
                    let Meter { cpus, memory_bytes, .. } = meter;
                    let activity =
                        Activity::between(before.as_ref(), &counters, cpus, memory_bytes);
                    if bmc.send(bmc::Input::Activity(activity)).await.is_err() {
                        return;
                    }
                }
                next = Instant::now() + if before.is_some() { INTERVAL } else { FIRST };
                before = Some(counters);
            }
        }
    }
}
