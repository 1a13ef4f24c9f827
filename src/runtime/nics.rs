//! The machine's NICs as QEMU has to be told of them: what a process is told when it takes commands,
//! and what it is told while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use serde_json::{Map, Value};
use tracing::warn;

use crate::plan::{NetworkPlan, NicPlan, QemuPlan, Spare};
use crate::qmp::Command;
use crate::value::MacAddr;

/// What has become of a NIC.
#[derive(Debug)]
pub(super) enum Input {
    /// It has a carrier now, or has lost it.
    Carrier {
        /// QEMU's ID of the device.
        id: String,
        /// It has.
        up: bool,
    },
    /// What it is to tell its guest when the machine is switched on.
    HostMtu {
        /// QEMU's ID of the device.
        id: String,
        /// MTU in bytes.
        mtu: u32,
    },
    /// The address that it is to have when the machine is switched on.
    Mac {
        /// QEMU's ID of the device.
        id: String,
        /// The address.
        mac: MacAddr,
    },
    /// It is plugged in.
    Plug {
        /// Where.
        spare: Spare,
        /// The NIC.
        nic: Box<NicPlan>,
        /// MTU that the guest is told, in bytes.
        mtu: u32,
    },
    /// It is unplugged.
    Unplug {
        /// Where.
        spare: Spare,
    },
    /// Its interface's macvtap device is there.
    Attach {
        /// QEMU's ID of the device.
        id: String,
        /// The device.
        macvtap: OwnedFd,
    },
    /// Its interface's macvtap device is gone.
    Detach {
        /// QEMU's ID of the device.
        id: String,
    },
}

/// A command, with a descriptor that goes with it.
pub(super) type Told = (Command, Option<Rc<OwnedFd>>);

/// All NICs.
#[derive(Debug)]
pub(super) struct Nics {
    /// Those with an interface, by ID: whether they have a carrier.
    carriers: BTreeMap<String, bool>,
    /// The macvtap devices that are there, by their NIC's ID.
    attached: BTreeMap<String, Rc<OwnedFd>>,
    /// The back ends of spare NICs that the process has.
    netdevs: BTreeSet<String>,
    /// Unplugged NICs that the guest has not let go of.
    leaving: BTreeSet<String>,
    /// What the process has not been told.
    pending: Vec<Told>,
}

impl Nics {
    pub(super) fn new(plan: &NetworkPlan) -> Self {
        let with_interface = plan.nics.iter().filter(|nic| nic.interface.is_some());
        Self {
            carriers: with_interface.map(|nic| (nic.id.clone(), false)).collect(),
            attached: BTreeMap::new(),
            netdevs: BTreeSet::new(),
            leaving: BTreeSet::new(),
            pending: Vec::new(),
        }
    }

    /// `is_ready`: the process takes commands. One that does not yet is told by [`Self::ready`].
    pub(super) fn handle(
        &mut self,
        input: Input,
        network: &NetworkPlan,
        qemu: &mut QemuPlan,
        is_ready: bool,
    ) {
        match input {
            Input::Carrier { id, up } => {
                if is_ready {
                    self.pending.push((Command::SetLink { name: id.clone(), up }, None));
                }
                self.carriers.insert(id, up);
            }
            Input::Plug { spare, nic, mtu } => {
                let [netdev, device] = qemu.plug(&spare, &nic, mtu);
                self.carriers.insert(nic.id, false);
                // A back end stays when its device is unplugged.
                if self.netdevs.insert(spare.netdev) {
                    self.pending.push((Command::NetdevAdd(netdev), None));
                }
                self.pending.push((Command::DeviceAdd(device), None));
            }
            Input::Unplug { spare } => {
                qemu.unplug(&spare);
                self.carriers.remove(&spare.id);
                self.leaving.insert(spare.id.clone());
                self.pending.push((Command::DeviceDel { id: spare.id }, None));
            }
            Input::Mac { id, mac } => qemu.set_mac(&id, mac),
            Input::HostMtu { id, mtu } => {
                if !network.nics.iter().any(|nic| nic.id == id && nic.mtu.is_some()) {
                    qemu.set_host_mtu(&id, mtu);
                }
            }
            Input::Attach { id, macvtap } => {
                let macvtap = Rc::new(macvtap);
                if is_ready {
                    self.attach(network, &id, &macvtap);
                }
                self.attached.insert(id, macvtap);
            }
            Input::Detach { id } => {
                let was_there = self.attached.remove(&id).is_some();
                if let (true, true, Some(nic)) = (is_ready, was_there, network.numbered(&id)) {
                    let ids = nic.1.back_end_ids();
                    self.pending.extend(ids.map(|id| (Command::NetdevDel { id }, None)));
                }
            }
        }
    }

    fn attach(&mut self, network: &NetworkPlan, id: &str, macvtap: &Rc<OwnedFd>) {
        let Some((number, nic)) = network.numbered(id) else { return };
        let [tap, port] = QemuPlan::back_end(number, nic);
        let name = |netdev: &Map<String, Value>| netdev["fd"].as_str().map(ToOwned::to_owned);
        let Some(name) = name(&tap) else { return warn!(id, "a back end without a descriptor") };
        self.pending.push((Command::GetFd { name }, Some(macvtap.clone())));
        self.pending.push((Command::NetdevAdd(tap), None));
        self.pending.push((Command::NetdevAdd(port), None));
    }

    /// A process has been started with what the command line says now.
    pub(super) fn spawned(&mut self, network: &NetworkPlan) {
        self.pending.clear();
        let there = network.spares.iter().filter(|spare| self.carriers.contains_key(&spare.id));
        self.netdevs = there.map(|spare| spare.netdev.clone()).collect();
    }

    /// The process takes commands now.
    pub(super) fn ready(&mut self, network: &NetworkPlan) {
        // QEMU begins with a carrier everywhere.
        let without = self.carriers.iter().filter(|(_, up)| !**up);
        let down = without.map(|(id, _)| (Command::SetLink { name: id.clone(), up: false }, None));
        self.pending.extend(down);
        for (id, macvtap) in self.attached.clone() {
            self.attach(network, &id, &macvtap);
        }
    }

    /// The guest has let go of a device. Whether that is a NIC whose place is free now.
    pub(super) fn deleted(&mut self, id: &str) -> bool {
        self.leaving.remove(id)
    }

    /// There is no process: the NICs whose places are free now.
    pub(super) fn ended(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.leaving)
    }

    /// What is to be sent to a process that takes commands.
    pub(super) fn take_pending(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.pending)
    }
}
