//! The interfaces of the VM's NICs: follows the kernel's links, connects what comes, lets go of what
//! goes, and tells the guest of its carrier.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::control::Link as LinkStatus;
use crate::host;
use crate::host::netlink::{Counters, EBUSY, EINVAL, Event, Netlink};
use crate::host::tap::Tap;
use crate::host::wiring::Wirer;
use crate::machine::wires::{Effect, Link, Wires};
use crate::plan::{NetworkPlan, NicPlan, Spare, is_automatic};
use crate::profile::Key;
use crate::profile::diagnostic::{At, Finding};
use crate::profile::document::Wiring;
use crate::runtime::{machine, nics};
use crate::value::{MacAddr, MachineName};

/// How long a TAP device may still be held by a process that dies.
const BUSY_LIMIT: Duration = Duration::from_secs(3);
/// How often it is tried meanwhile.
const BUSY_POLL: Duration = Duration::from_millis(20);

/// What the name of the macvtap device begins with that is made to see whether it can be.
const TRIAL_PREFIX: &str = "qbm";

/// What this task is told.
#[derive(Debug)]
pub(super) enum Input {
    /// Somebody wants to know.
    Query(oneshot::Sender<Vec<LinkStatus>>),
    /// The guest has let go of the NIC with this ID of QEMU's, which was unplugged.
    Unplugged(String),
    /// The program ends: everything is to be as it was.
    End(oneshot::Sender<()>),
}

/// The network before the machine starts.
pub(super) struct Ready {
    plan: NetworkPlan,
    /// The machine's name, from which MAC addresses derive.
    machine: MachineName,
    wirer: Wirer,
    events: mpsc::UnboundedReceiver<Event>,
    /// Of each NIC, how it is really connected.
    wirings: BTreeMap<usize, Wiring>,
    /// NICs that were plugged in, by their number: the plan's NICs come first.
    plugged: BTreeMap<usize, NicPlan>,
}

impl Ready {
    fn nic(&self, index: usize) -> Option<&NicPlan> {
        self.plan.nics.get(index).or_else(|| self.plugged.get(&index))
    }

    fn spare(&self, index: usize) -> Option<&Spare> {
        self.plan.spares.get(index.checked_sub(self.plan.nics.len())?)
    }
}

/// Makes the TAP devices. Nothing of the container's is changed yet.
///
/// # Errors
/// What the kernel refuses.
pub(super) async fn prepare(
    plan: &NetworkPlan,
    machine: &MachineName,
    run_dir: &std::path::Path,
) -> Result<Option<(Ready, Vec<Tap>)>, Finding> {
    let mut plan = plan.clone();
    let whole = plan.clone();
    let nics = whole.nics.iter().enumerate();
    let nics = nics.filter_map(|(index, nic)| {
        Some((index, nic.tap.as_ref()?, &nic.at_start, nic.queues, nic.wiring))
    });
    let spares = (whole.nics.len()..).zip(&whole.spares);
    let spares = spares.map(|(index, spare)| (index, &spare.tap, &spare.at_start, 1, Wiring::Auto));
    let with_tap: Vec<_> = nics.chain(spares).collect();
    if with_tap.is_empty() {
        // A run before this one may have had some, and died.
        if Wirer::has_left(run_dir)
            && let Ok((netlink, _)) = Netlink::connect()
        {
            Wirer::new(netlink, run_dir).await;
        }
        return Ok(None);
    }
    let fail = |index: usize, what: String| {
        Finding::host(At::Key(Key::from(format!("nics.{index}.interface"))), what)
    };
    let (netlink, events) = Netlink::connect()
        .map_err(|error| fail(0, format!("the kernel's network cannot be talked to: {error}")))?;
    let wirer = Wirer::new(netlink, run_dir).await;
    let mut taps = Vec::new();
    let mut wirings = BTreeMap::new();
    for (index, name, at_start, queues, mut wiring) in with_tap {
        let opened = open(name, queues).await;
        if let (Err(error), true) = (&opened, index >= plan.nics.len()) {
            warn!(%error, tap = name, "no place for an interface that comes later");
            plan.spares.truncate(index - plan.nics.len());
            break;
        }
        let tap = opened.map_err(|error| match error.raw_os_error() {
            // A TAP device of others, or a device of another kind.
            Some(EBUSY | EINVAL) => {
                let what = format!("the name {name}, for the NIC's TAP device, is in use");
                fail(index, what)
                    .with_help("another machine may have this interface; each needs its own")
            }
            _ => fail(index, format!("the TAP device {name} cannot be made: {error}"))
                .with_help("start the container with `--cap-add NET_ADMIN`"),
        })?;
        if let Some(Wiring::Macvtap) = plan.nics.get(index).map(|nic| nic.wiring) {
            let trial = format!("{TRIAL_PREFIX}{index}-{}", std::process::id());
            wirer.try_macvtap(name, &trial).await.map_err(|error| {
                fail(index, format!("the wiring `macvtap` cannot be had: {error}"))
                    .with_help("set the NIC's `wiring` to `tc`, which needs no device node")
            })?;
            wirings.insert(index, wiring);
            continue;
        }
        taps.push(tap);
        wirer.prepare(at_start).await.map_err(|error| fail(index, format!("{name}: {error}")))?;
        if let (Wiring::Tc | Wiring::Auto, Err(error)) = (wiring, wirer.try_redirect(name).await) {
            let what = format!("this kernel cannot redirect frames: {error}");
            if wiring == Wiring::Tc {
                let help =
                    "set the NIC's `wiring` to `bridge`, which loses pause frames, or to `auto`";
                return Err(fail(index, what).with_help(help));
            }
            warn!(tap = name, "{what}; the NIC gets a bridge, which loses pause frames");
            wiring = Wiring::Bridge;
        } else if wiring == Wiring::Auto {
            wiring = Wiring::Tc;
        }
        wirings.insert(index, wiring);
    }
    let machine = machine.clone();
    Ok(Some((Ready { plan, machine, wirer, events, wirings, plugged: BTreeMap::new() }, taps)))
}

/// Makes a TAP device. A QEMU of ours that is just dying may still have it for a moment.
async fn open(name: &str, queues: u16) -> io::Result<Tap> {
    let end = Instant::now() + BUSY_LIMIT;
    loop {
        match Tap::open(name, queues) {
            Err(error) if error.raw_os_error() == Some(EBUSY) && Instant::now() < end => {
                sleep(BUSY_POLL).await;
            }
            result => return result,
        }
    }
}

struct Network {
    ready: Ready,
    wires: Wires,
    machine: mpsc::UnboundedSender<machine::Input>,
    /// What is still to be done, one after the other.
    effects: VecDeque<Effect>,
    /// Why NICs are not connected with links that are there.
    problems: BTreeMap<usize, String>,
}

/// Follows the kernel's links. `settled` is told when all that was there at first is connected.
pub(super) async fn run(
    ready: Ready,
    mut inbox: mpsc::UnboundedReceiver<Input>,
    machine: mpsc::UnboundedSender<machine::Input>,
    settled: oneshot::Sender<()>,
) {
    let nics = ready.plan.nics.iter().enumerate();
    let wanted = nics.filter_map(|(index, nic)| Some((index, nic.interface.clone()?.to_string())));
    let first = ready.plan.nics.len();
    let wires =
        Wires::new(wanted).with_spares(first..first + ready.plan.spares.len(), is_automatic);
    let (effects, problems) = (VecDeque::new(), BTreeMap::new());
    let mut network = Network { ready, wires, machine, effects, problems };
    let mut settled = Some(settled);
    network.read_all().await;
    loop {
        if network.effects.is_empty()
            && let Some(settled) = settled.take()
        {
            let _ = settled.send(());
        }
        let timeout = network.wires.poll_timeout().map(Instant::from_std);
        tokio::select! {
            biased;
            // The end does not wait for what has only been begun.
            input = inbox.recv() => match input {
                Some(Input::Query(reply)) => {
                    let _ = reply.send(network.status().await);
                }
                Some(Input::Unplugged(id)) => network.unplugged(&id),
                Some(Input::End(reply)) => {
                    network.ready.wirer.restore().await;
                    let _ = reply.send(());
                    return;
                }
                None => return,
            },
            () = std::future::ready(()), if !network.effects.is_empty() => {
                if let Some(effect) = network.effects.pop_front() {
                    network.carry_out(effect).await;
                }
            }
            () = async {
                match timeout {
                    Some(timeout) => sleep_until(timeout).await,
                    None => std::future::pending().await,
                }
            } => network.follow(|wires, effects| wires.handle_timeout(host::now(), effects)),
            event = network.ready.events.recv() => match event {
                Some(event) => network.heard(event).await,
                None => {
                    warn!("the kernel's network tells nothing any more");
                    return;
                }
            },
        }
    }
}

impl Network {
    /// Tells the pure part, which says what is to be done.
    fn follow(&mut self, input: impl FnOnce(&mut Wires, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        input(&mut self.wires, &mut effects);
        self.effects.extend(effects);
    }

    async fn heard(&mut self, event: Event) {
        let now = host::now();
        match event {
            Event::Link(link) => {
                self.follow(|wires, effects| wires.handle_link(now, link, effects))
            }
            Event::Gone(index) => {
                self.follow(|wires, effects| wires.handle_gone(now, index, effects))
            }
            Event::Address(index) => self.ready.wirer.handle_address(index).await,
            Event::Ingress(index) => self.look(Some(index)).await,
            Event::Lost => {
                warn!("the kernel's network told more than could be heard: all is looked at again");
                self.read_all().await;
                self.look(None).await;
            }
        }
    }

    async fn read_all(&mut self) {
        match self.ready.wirer.links().await {
            Ok(links) => {
                self.follow(|wires, effects| wires.handle_all(host::now(), links, effects));
            }
            Err(error) => warn!(%error, "the network's links cannot be read"),
        }
    }

    /// Looks whether NICs are still connected, all or that of the link with this index.
    async fn look(&mut self, index: Option<u32>) {
        let numbers: Vec<usize> = self.ready.wirings.keys().copied().collect();
        for number in numbers {
            let Some(link) = self.wires.link(number).cloned() else { continue };
            let Some(plan) = self.ready.nic(number).cloned() else { continue };
            if index.is_some_and(|index| index != link.index) {
                continue;
            }
            let wiring = self.ready.wirings.get(&number).copied().unwrap_or(Wiring::Tc);
            if let Err(error) = self.ready.wirer.verify(&plan, &link, wiring).await {
                self.tell(nics::Input::Detach { id: plan.id.clone() });
                self.ready.wirer.unwire(&plan, Some(link.index)).await;
                warn!(nic = plan.id, %error, "connected anew");
                let (now, index) = (host::now(), link.index);
                self.follow(|wires, effects| wires.handle_apart(now, number, index, effects));
            }
        }
    }

    fn failed(&mut self, number: usize, index: u32, plan: &NicPlan, why: &str) {
        let text = why.to_owned();
        if self.problems.insert(number, text).is_none_or(|before| before != why) {
            warn!(nic = plan.id, error = why, "not connected");
        }
        self.follow(|wires, effects| wires.handle_failed(host::now(), number, index, effects));
    }

    fn unplugged(&mut self, id: &str) {
        let number = self.ready.plan.spares.iter().position(|spare| spare.id == id);
        if let Some(number) = number.map(|index| index + self.ready.plan.nics.len()) {
            self.follow(|wires, effects| wires.handle_unplugged(host::now(), number, effects));
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Wire { nic, link } => self.wire(nic, &link).await,
            Effect::Plug { nic, link } => {
                let Some(spare) = self.ready.spare(nic).cloned() else { return };
                let Ok(interface) = link.name.parse() else { return };
                let plan = spare.nic(&self.ready.machine, interface);
                info!(nic = plan.id, interface = link.name, mac = %plan.mac, "plugged in");
                let nic_plan = plan.clone();
                self.ready.plugged.insert(nic, plan);
                let nic = Box::new(nic_plan);
                self.tell(nics::Input::Plug { spare, nic, mtu: link.mtu });
            }
            Effect::Unplug { nic } => {
                let Some(plan) = self.ready.plugged.remove(&nic) else { return };
                info!(nic = plan.id, "unplugged: its interface stays away");
                if let Some(spare) = self.ready.spare(nic).cloned() {
                    self.tell(nics::Input::Unplug { spare });
                }
            }
            Effect::Unwire { nic, index } => {
                let Some(plan) = self.ready.nic(nic).cloned() else { return };
                self.problems.remove(&nic);
                info!(nic = plan.id, "the interface is gone");
                self.tell(nics::Input::Detach { id: plan.id.clone() });
                self.ready.wirer.unwire(&plan, index).await;
            }
            Effect::Mtu { nic, mtu } => {
                let Some(plan) = self.ready.nic(nic).cloned() else { return };
                info!(nic = plan.id, mtu, "the interface has another MTU");
                if let Err(error) = self.ready.wirer.set_mtu(&plan, mtu).await {
                    warn!(nic = plan.id, %error, "the MTU cannot be followed");
                }
                self.tell(nics::Input::HostMtu { id: plan.id.clone(), mtu });
            }
            Effect::Mac { nic, mac } => self.inherit_mac(nic, mac),
            Effect::Carrier { nic, up } => {
                let Some(plan) = self.ready.nic(nic).cloned() else { return };
                info!(nic = plan.id, up, "carrier");
                self.tell(nics::Input::Carrier { id: plan.id.clone(), up });
            }
        }
    }

    async fn wire(&mut self, nic: usize, link: &Link) {
        let Some(plan) = self.ready.nic(nic).cloned() else { return };
        let wiring = self.ready.wirings.get(&nic).copied().unwrap_or(plan.wiring);
        match self.ready.wirer.wire(&plan, link, wiring).await {
            Ok(()) => {
                let Link { name, index, mtu, .. } = link;
                info!(
                    nic = plan.id,
                    interface = name,
                    index,
                    mtu,
                    wiring = wiring.word(),
                    "connected"
                );
                if let (Wiring::Macvtap, Some(tap)) = (wiring, &plan.tap) {
                    match self.ready.wirer.open_macvtap(tap).await {
                        Ok(macvtap) => {
                            self.tell(nics::Input::Attach { id: plan.id.clone(), macvtap });
                        }
                        Err(error) => {
                            self.ready.wirer.unwire(&plan, Some(link.index)).await;
                            return self.failed(nic, link.index, &plan, &error);
                        }
                    }
                }
                self.problems.remove(&nic);
                self.inherit_mac(nic, link.mac);
                if plan.mtu.is_none() {
                    self.tell(nics::Input::HostMtu { id: plan.id.clone(), mtu: *mtu });
                }
                self.follow(|wires, effects| wires.handle_wired(nic, link.index, effects));
            }
            // It may have gone away while we were at it, which the next event tells.
            Err(error) => self.failed(nic, link.index, &plan, &error.to_string()),
        }
    }

    /// A NIC's interface has this address, which may be for the NIC.
    fn inherit_mac(&self, nic: usize, mac: [u8; 6]) {
        if let Some(plan) = self.ready.nic(nic).filter(|plan| plan.inherits_mac)
            && let Some(mac) = MacAddr::new(mac)
        {
            self.tell(nics::Input::Mac { id: plan.id.clone(), mac });
        }
    }

    fn tell(&self, input: nics::Input) {
        let _ = self.machine.send(machine::Input::Nic(input));
    }

    async fn status(&self) -> Vec<LinkStatus> {
        let mut all = Vec::new();
        let nics = self.ready.plan.nics.iter().enumerate();
        let plugged = self.ready.plugged.iter().map(|(index, nic)| (*index, nic));
        for (index, nic) in nics.chain(plugged) {
            let mut status = without_interface(nic);
            let (Some(tap), Some(wiring)) = (&status.tap, self.ready.wirings.get(&index)) else {
                all.push(status);
                continue;
            };
            let counters = self.ready.wirer.counters(tap).await.unwrap_or_default();
            let link = self.wires.link(index);
            wiring.word().clone_into(&mut status.wiring);
            status.connected = link.is_some();
            status.problem = self.problems.get(&index).cloned();
            status.carrier = link.is_some_and(|link| link.has_carrier);
            status.mtu = link.map(|link| link.mtu);
            if let (true, Some(link)) = (nic.inherits_mac, link) {
                status.mac = MacAddr::new(link.mac).unwrap_or(nic.mac).to_string();
            }
            let Counters { sent, received } = counters;
            // What a TAP device sends is what the guest receives. A macvtap device is the guest's own.
            let [to_guest, from_guest] = match wiring {
                Wiring::Macvtap => [received, sent],
                _ => [sent, received],
            };
            status.to_guest_packets = to_guest.packets;
            status.to_guest_dropped = to_guest.dropped;
            status.from_guest_packets = from_guest.packets;
            status.from_guest_dropped = from_guest.dropped;
            all.push(status);
        }
        all
    }
}

/// A NIC of QEMU's own network, or one whose interface nobody has looked for yet.
pub(super) fn without_interface(nic: &NicPlan) -> LinkStatus {
    LinkStatus {
        nic: nic.id.clone(),
        mac: nic.mac.to_string(),
        model: nic.model.driver().to_owned(),
        interface: nic.interface.as_ref().map(ToString::to_string),
        wiring: nic.wiring.word().to_owned(),
        tap: nic.tap.clone(),
        connected: false,
        problem: None,
        carrier: nic.interface.is_none(),
        mtu: None,
        to_guest_packets: 0,
        to_guest_dropped: 0,
        from_guest_packets: 0,
        from_guest_dropped: 0,
    }
}
