//! The VM's NICs, and what is done to the container's network for them.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::plan::HostFacts;
use crate::plan::facts::Access;
use crate::plan::qemu::FIRST_TAP_FD;
use crate::profile::Profile;
use crate::profile::check::free_slots;
use crate::profile::document::{Duplex, Mac, Nic, NicModel, Wiring};
use crate::value::{InterfaceName, MacAddr, MachineName};

/// What the names of our TAP devices begin with.
const TAP_PREFIX: &str = "qbt-";
/// What the names of our bridges begin with.
const BRIDGE_PREFIX: &str = "qbb-";
/// The first interface that is the VM's by itself: eth0 is management, eth1 the IPMI network.
const FIRST: u32 = 2;
/// Most NICs of a machine that takes its interfaces by itself.
const MOST: u32 = 16;

/// The VM's NICs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NetworkPlan {
    /// In the order of their PCI addresses.
    pub nics: Vec<NicPlan>,
    /// For interfaces that come later, unannounced.
    pub spares: Vec<Spare>,
}

/// A TAP device and a PCIe port for a NIC that is plugged into the running machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Spare {
    /// QEMU's ID of the device, when it is plugged in.
    pub id: String,
    /// QEMU's ID of its back end.
    pub netdev: String,
    /// QEMU's ID of the PCIe port.
    pub port: String,
    /// The TAP device.
    pub tap: String,
    /// Descriptor at which QEMU finds it.
    pub fd: i32,
    /// What is done before the machine starts, in this order.
    pub at_start: Vec<Step>,
}

impl Spare {
    /// `first_fd`: the descriptor of the first spare.
    fn new(machine: &MachineName, index: u16, first_fd: i32) -> Self {
        // Machines in one namespace have different names, and so have their spares.
        let [a, b, c, d, ..] = Sha256::digest(machine.as_str()).0;
        let tap = format!("{TAP_PREFIX}{a:02x}{b:02x}{c:02x}{d:02x}.{index}");
        Self {
            at_start: at_start(&tap, 1),
            id: format!("plug{index}"),
            netdev: format!("spare{index}"),
            port: format!("port{index}"),
            tap,
            fd: first_fd + i32::from(index),
        }
    }

    /// The NIC for an interface that has come.
    #[must_use]
    pub fn nic(&self, machine: &MachineName, interface: InterfaceName) -> NicPlan {
        let mac = MacAddr::derived(machine.as_str(), interface.as_str());
        let when_there = wire(Wiring::Tc, &interface, &self.tap);
        NicPlan {
            id: self.id.clone(),
            wiring: Wiring::Tc,
            tap: Some(self.tap.clone()),
            at_start: self.at_start.clone(),
            when_there,
            mac,
            boot_rom: false,
            interface: Some(interface),
            ..NicPlan::plain()
        }
    }
}

/// The interfaces that would be the VM's by themselves, and are too many.
#[must_use]
pub(super) fn left_out(facts: &HostFacts) -> usize {
    let there = facts.interfaces.iter().filter(|name| is_automatic(name)).count();
    let promised = facts.clab_links.unwrap_or_default().saturating_sub(1) as usize;
    there.max(promised).saturating_sub(MOST as usize)
}

/// Whether an interface is the VM's where nobody says which are.
#[must_use]
pub fn is_automatic(name: &str) -> bool {
    automatic_number(name).is_some()
}

/// The number in the name of an interface that is the VM's by itself.
fn automatic_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("eth")?.parse().ok()?;
    // Not eth02, nor eth+2.
    (number >= FIRST && name == format!("eth{number}")).then_some(number)
}

fn at_start(tap: &str, queues: u16) -> Vec<Step> {
    let name = || tap.to_owned();
    vec![
        Step::Tap { name: name(), queues },
        Step::Quiet { name: name() },
        Step::Up { name: name() },
    ]
}

/// One NIC.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NicPlan {
    /// QEMU's ID of device and back end.
    pub id: String,
    /// The container's interface that it is connected with.
    pub interface: Option<InterfaceName>,
    /// How it is connected.
    pub wiring: Wiring,
    /// Its TAP device.
    pub tap: Option<String>,
    /// What is done before the machine starts, in this order.
    pub at_start: Vec<Step>,
    /// What is done when the interface is there, in this order; undone in reverse.
    pub when_there: Vec<Step>,
    /// What the guest sees.
    pub model: NicModel,
    /// Its address.
    pub mac: MacAddr,
    /// If the interface is there when the machine is switched on, it has the interface's.
    pub inherits_mac: bool,
    /// MTU that the guest is told, in bytes, if the profile says it.
    pub mtu: Option<u16>,
    /// Queues.
    pub queues: u16,
    /// The kernel moves its packets, not QEMU.
    pub vhost_net: bool,
    /// Speed that the guest is told, in Mbit/s.
    pub speed_mbps: u32,
    /// Duplex mode that the guest is told.
    pub duplex: Duplex,
    /// It has a boot ROM.
    pub boot_rom: bool,
    /// A boot ROM in place of QEMU's.
    pub rom_file: Option<PathBuf>,
}

/// A change of the container's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Make a TAP device.
    Tap {
        /// Its name.
        name: String,
        /// Its queues.
        queues: u16,
    },
    /// Keep the kernel from making IPv6 addresses for a device.
    Quiet {
        /// Its name.
        name: String,
    },
    /// Switch a device on.
    Up {
        /// Its name.
        name: String,
    },
    /// Make a macvtap device of the interface, which passes all frames.
    Macvtap {
        /// Its name.
        name: String,
        /// The interface.
        over: InterfaceName,
    },
    /// Make the interface the VM's: remember its addresses and remove them, make none, take packets
    /// for all MAC addresses.
    Adopt {
        /// Its name.
        interface: InterfaceName,
    },
    /// Give a device the interface's MTU.
    Mtu {
        /// The device.
        name: String,
        /// The interface.
        like: InterfaceName,
    },
    /// Send all that comes in on one out on the other.
    Redirect {
        /// In.
        from: String,
        /// Out.
        to: String,
    },
    /// Make a bridge.
    Bridge {
        /// Its name.
        name: String,
    },
    /// Make a device a port of a bridge, which passes on link-local frames, too.
    Port {
        /// The bridge.
        bridge: String,
        /// The device.
        port: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap { name, queues: 1 } => write!(f, "make the TAP device {name}"),
            Self::Tap { name, queues } => {
                write!(f, "make the TAP device {name} with {queues} queues")
            }
            Self::Quiet { name } => write!(f, "no IPv6 addresses for {name}"),
            Self::Up { name } => write!(f, "switch {name} on"),
            Self::Adopt { interface } => {
                write!(f, "take over {interface}: remove its addresses, promiscuous")
            }
            Self::Macvtap { name, over } => {
                write!(f, "make the macvtap device {name} over {over}, promiscuous")
            }
            Self::Mtu { name, like } => write!(f, "give {name} the MTU of {like}"),
            Self::Redirect { from, to } => write!(f, "redirect what comes in on {from} to {to}"),
            Self::Bridge { name } => write!(f, "make the bridge {name}"),
            Self::Port { bridge, port } => write!(f, "make {port} a port of {bridge}"),
        }
    }
}

impl NicPlan {
    /// Whether a profile means this NIC: by its interface, or by QEMU's ID of it.
    #[must_use]
    pub fn is_called(&self, name: &InterfaceName) -> bool {
        self.interface.as_ref() == Some(name) || self.id == name.as_str()
    }

    /// A NIC with nothing said of it.
    fn plain() -> Self {
        let nic = Nic::default();
        Self {
            id: String::new(),
            interface: None,
            wiring: nic.wiring(),
            tap: None,
            at_start: Vec::new(),
            when_there: Vec::new(),
            model: nic.model,
            mac: MacAddr::derived("", ""),
            inherits_mac: false,
            mtu: nic.mtu,
            queues: nic.queues,
            vhost_net: false,
            speed_mbps: nic.speed_mbps,
            duplex: nic.duplex,
            boot_rom: nic.boot_rom,
            rom_file: None,
        }
    }

    fn render(profile: &Profile, facts: &HostFacts, index: usize, nic: &Nic) -> Self {
        let id = format!("nic{index}");
        let label = nic.interface.as_ref().map_or(id.as_str(), InterfaceName::as_str);
        let mac = match nic.mac {
            Some(Mac::Address(address)) => address,
            Some(Mac::Inherit) | None => MacAddr::derived(profile.name.as_str(), label),
        };
        let wiring = nic.wiring();
        let tap = nic.interface.as_ref().map(|interface| interface.companion(TAP_PREFIX));
        let mut plan = Self {
            id,
            interface: nic.interface.clone(),
            wiring,
            at_start: match &tap {
                // Its device is made of the interface.
                Some(tap) if wiring != Wiring::Macvtap => at_start(tap, nic.queues),
                _ => Vec::new(),
            },
            tap,
            when_there: Vec::new(),
            model: nic.model,
            mac,
            inherits_mac: nic.mac == Some(Mac::Inherit),
            mtu: nic.mtu,
            queues: nic.queues,
            vhost_net: false,
            speed_mbps: nic.speed_mbps,
            duplex: nic.duplex,
            boot_rom: nic.boot_rom,
            rom_file: nic.rom_file.clone(),
        };
        plan.when_there = plan.steps(wiring);
        plan.vhost_net =
            facts.vhost_net && plan.has_tap_at_start() && plan.model == NicModel::Virtio;
        plan
    }

    /// It has a TAP device as soon as the program runs, whose descriptors QEMU inherits. One that is
    /// of the wiring `macvtap` gets its device with its interface.
    #[must_use]
    pub fn has_tap_at_start(&self) -> bool {
        self.tap.is_some() && self.wiring != Wiring::Macvtap
    }

    /// QEMU's IDs of what stands behind the NIC in the wiring `macvtap`: port of the NIC's hub, and
    /// device. They are removed in this order.
    #[must_use]
    pub fn back_end_ids(&self) -> [String; 2] {
        [format!("{}-port", self.id), format!("{}-macvtap", self.id)]
    }

    /// What connects its TAP device with the interface, in this wiring.
    #[must_use]
    pub fn steps(&self, wiring: Wiring) -> Vec<Step> {
        match (&self.interface, &self.tap) {
            (Some(interface), Some(tap)) => wire(wiring, interface, tap),
            _ => Vec::new(),
        }
    }
}

fn wire(wiring: Wiring, interface: &InterfaceName, tap: &str) -> Vec<Step> {
    let name = || interface.to_string();
    if wiring == Wiring::Macvtap {
        let name = || tap.to_owned();
        return vec![
            Step::Adopt { interface: interface.clone() },
            Step::Macvtap { name: name(), over: interface.clone() },
            Step::Quiet { name: name() },
            Step::Up { name: name() },
        ];
    }
    let mut steps = vec![
        Step::Adopt { interface: interface.clone() },
        Step::Mtu { name: tap.to_owned(), like: interface.clone() },
    ];
    if wiring == Wiring::Bridge {
        let bridge = interface.companion(BRIDGE_PREFIX);
        steps.extend([
            Step::Bridge { name: bridge.clone() },
            Step::Quiet { name: bridge.clone() },
            Step::Port { bridge: bridge.clone(), port: name() },
            Step::Port { bridge: bridge.clone(), port: tap.to_owned() },
            Step::Up { name: bridge },
        ]);
    } else {
        steps.extend([
            Step::Redirect { from: name(), to: tap.to_owned() },
            Step::Redirect { from: tap.to_owned(), to: name() },
        ]);
    }
    steps
}

impl NetworkPlan {
    pub(super) fn render(profile: &Profile, facts: &HostFacts) -> Self {
        let automatic: Vec<Nic>;
        let nics = if profile.nics_automatic {
            automatic = by_itself(facts).into_iter().map(wired).collect();
            &automatic
        } else {
            &profile.nics
        };
        let nics = nics.iter().enumerate();
        let nics: Vec<_> =
            nics.map(|(index, nic)| NicPlan::render(profile, facts, index, nic)).collect();
        let with_tap = nics.iter().filter(|nic| nic.has_tap_at_start());
        let first_fd = with_tap.fold(FIRST_TAP_FD, |fd, nic| fd + i32::from(nic.queues));
        // Where NICs can be made; where they cannot, nobody has asked for these.
        let spares = profile.nics_automatic && facts.tap == Access::Usable;
        let spares = if spares { profile.spare_nics } else { 0 };
        let free = free_slots(profile.disks.iter().map(|disk| &disk.bus));
        let left = u16::try_from(free.saturating_sub(nics.len())).unwrap_or(u16::MAX);
        let spares = spares.min(left);
        Self {
            nics,
            spares: (0..spares).map(|index| Spare::new(&profile.name, index, first_fd)).collect(),
        }
    }

    /// The NIC with this ID of QEMU's, and its number.
    #[must_use]
    pub fn numbered(&self, id: &str) -> Option<(usize, &NicPlan)> {
        self.nics.iter().enumerate().find(|(_, nic)| nic.id == id)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("\nnetwork\n");
        for nic in &self.nics {
            let NicPlan { id, interface, wiring, model, mac, .. } = nic;
            let with = interface.as_ref().map_or(String::new(), |name| format!(" with {name}"));
            let _ = write!(out, "  {id}  {mac}  {}  {}{with}", model.driver(), wiring.word());
            out.push_str(if nic.vhost_net { ", vhost-net\n" } else { "\n" });
            if nic.inherits_mac {
                out.push_str(
                    "    with the interface's MAC address, if that is there when it starts\n",
                );
            }
            for step in &nic.at_start {
                let _ = writeln!(out, "    {step}");
            }
            if let Some(interface) = interface {
                let _ = writeln!(out, "    when {interface} is there");
            }
            for step in &nic.when_there {
                let _ = writeln!(out, "      {step}");
            }
        }
        if self.nics.is_empty() {
            out.push_str("  no NIC\n");
        }
        if !self.spares.is_empty() {
            let _ = writeln!(out, "  {} places for interfaces that come later", self.spares.len());
        }
        out
    }
}

fn wired(interface: InterfaceName) -> Nic {
    Nic { interface: Some(interface), ..Nic::default() }
}

/// The interfaces that are the VM's where nobody says it: those that are there, and those that
/// containerlab has promised.
fn by_itself(facts: &HostFacts) -> Vec<InterfaceName> {
    let there = facts.interfaces.iter().filter_map(|name| automatic_number(name));
    let mut numbers: Vec<u32> = there.collect();
    let promised = facts.clab_links.unwrap_or_default();
    numbers.extend(FIRST..=promised.min(FIRST + MOST));
    numbers.sort_unstable();
    numbers.dedup();
    numbers.truncate(MOST as usize);
    numbers.into_iter().filter_map(|number| format!("eth{number}").parse().ok()).collect()
}
