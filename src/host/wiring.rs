//! Connects interfaces with TAP devices, and puts back what was there before.
//!
//! What an interface was like is in a file before it is changed, so that the next run can put it back
//! when this one dies.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

use crate::host::netlink::{Address, Counters, Error, Netlink, Route};
use crate::host::{dirs, macvtap};
use crate::machine::wires::Link;
use crate::plan::{NicPlan, Step};
use crate::profile::document::Wiring;

/// Folder of the run directory for what is done to the network.
pub const FOLDER: &str = "network";
/// Name of the file in the run directory.
const JOURNAL: &str = "network/interfaces.json";
/// The kernel is not to make IPv6 addresses (`IN6_ADDR_GEN_MODE_NONE`).
const NO_GENERATION: u8 = 1;
/// Largest MTU of a TAP device (drivers/net/tun.c: 65535 less the header).
const MAX_TAP_MTU: u32 = 65521;

/// What an interface was like.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    name: String,
    index: u32,
    mac: [u8; 6],
    was_promiscuous: bool,
    ipv6_generation: Option<u8>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// What comes in on it is redirected.
    redirected: bool,
    /// What is made over it, a bridge or a macvtap device.
    device: Option<String>,
}

/// Hands on the kernel's network.
#[derive(Debug)]
pub struct Wirer {
    netlink: Netlink,
    path: PathBuf,
    /// By index.
    saved: BTreeMap<u32, Saved>,
    /// MAC addresses of interfaces that went away, to another namespace perhaps, while they took all
    /// packets for our sake.
    made_promiscuous: BTreeSet<[u8; 6]>,
}

type Result<T = ()> = std::result::Result<T, Error>;

impl Wirer {
    /// A run that died has left something to be put back.
    #[must_use]
    pub fn has_left(run_dir: &Path) -> bool {
        run_dir.join(JOURNAL).exists()
    }

    /// Puts back what a run that died has left, and begins anew.
    pub async fn new(netlink: Netlink, run_dir: &Path) -> Self {
        let path = run_dir.join(JOURNAL);
        let left = fs_err::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let left: Vec<Saved> = left.unwrap_or_default();
        let saved = left.into_iter().map(|saved| (saved.index, saved)).collect();
        let mut wirer = Self { netlink, path, saved, made_promiscuous: BTreeSet::new() };
        let links = wirer.netlink.links().await.unwrap_or_default();
        // An index is given anew in another network namespace, as of a container that was restarted.
        let is_there = |saved: &Saved| {
            let is_it = |link: &Link| link.name == saved.name || link.mac == saved.mac;
            links.iter().any(|link| link.index == saved.index && is_it(link))
        };
        let indexes: Vec<(u32, bool)> =
            wirer.saved.values().map(|saved| (saved.index, is_there(saved))).collect();
        for (index, is_there) in indexes {
            if is_there {
                info!(index, "an earlier run has left an interface changed; it is put back");
            }
            wirer.let_go(index, is_there).await;
        }
        wirer
    }

    /// All links that are there.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn links(&self) -> Result<Vec<Link>> {
        self.netlink.links().await
    }

    /// Packets and drops of the device called so.
    pub async fn counters(&self, name: &str) -> Option<Counters> {
        let link = self.netlink.by_name(name).await.ok()??;
        self.netlink.counters(link.index).await.ok()
    }

    /// Carries out a NIC's steps at the start, but for the TAP device, which is made already.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn prepare(&self, steps: &[Step]) -> Result {
        for step in steps {
            match step {
                Step::Quiet { name } => {
                    let index = self.index(name).await?;
                    self.quiet(index).await?;
                }
                Step::Up { name } => self.netlink.set_up(self.index(name).await?, true).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Tries whether the kernel can redirect, on a device of ours.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn try_redirect(&self, tap: &str) -> Result {
        let index = self.index(tap).await?;
        let result = self.netlink.redirect(index, index).await;
        self.netlink.stop_redirecting(index).await?;
        result
    }

    /// Tries whether macvtap devices can be made and opened, on a device of ours, which is called `tap`.
    /// `name` is free.
    ///
    /// # Errors
    /// Why they cannot.
    pub async fn try_macvtap(&self, tap: &str, name: &str) -> std::result::Result<(), String> {
        let index = self.index(tap).await.map_err(|error| error.to_string())?;
        let made = self.netlink.add_macvtap(name, index).await;
        let made = made.map_err(|error| error.to_string())?;
        let opened = macvtap::open(name, made);
        self.tell(self.netlink.remove(made).await);
        opened.map(|_| ()).map_err(|error| error.to_string())
    }

    /// The descriptor of a NIC's macvtap device.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open_macvtap(&self, name: &str) -> std::result::Result<OwnedFd, String> {
        let index = self.index(name).await.map_err(|error| error.to_string())?;
        macvtap::open(name, index).map_err(|error| error.to_string())
    }

    /// Connects a NIC with the link that has its interface's name now.
    ///
    /// # Errors
    /// The kernel's; the link is as it was then.
    pub async fn wire(&mut self, nic: &NicPlan, link: &Link, wiring: Wiring) -> Result {
        let mut result = self.carry_out(&nic.steps(wiring), link).await;
        if result.is_ok() {
            result = self.verify(nic, link, wiring).await;
        }
        if result.is_err() {
            self.unwire(nic, Some(link.index)).await;
        }
        result
    }

    /// Reads back from the kernel that a NIC is connected with its link.
    ///
    /// # Errors
    /// What is not as it was made.
    pub async fn verify(&self, nic: &NicPlan, link: &Link, wiring: Wiring) -> Result {
        let Some(tap) = &nic.tap else { return Ok(()) };
        let tap_index = self.index(tap).await?;
        let is_right = match wiring {
            Wiring::Bridge => {
                let bridge = self.netlink.controller(link.index).await?;
                bridge.is_some() && bridge == self.netlink.controller(tap_index).await?
            }
            Wiring::Macvtap => self.netlink.lower(tap_index).await? == Some(link.index),
            Wiring::Tc | Wiring::Auto | Wiring::User => {
                self.netlink.has_ingress(link.index).await?
                    && self.netlink.has_ingress(tap_index).await?
            }
        };
        if is_right {
            Ok(())
        } else {
            Err(Error::new(format!("{} and {tap} are not connected any more", link.name)))
        }
    }

    /// Disconnects a NIC. `index`: its link, if that is still there.
    pub async fn unwire(&mut self, nic: &NicPlan, index: Option<u32>) {
        if let Some(tap) = &nic.tap
            && let Ok(tap) = self.index(tap).await
        {
            self.tell(self.netlink.stop_redirecting(tap).await);
        }
        let wired: Vec<u32> = match (index, &nic.interface) {
            (Some(index), _) => vec![index],
            (None, Some(interface)) => {
                let of_it = self.saved.values().filter(|saved| saved.name == interface.as_str());
                of_it.map(|saved| saved.index).collect()
            }
            (None, None) => Vec::new(),
        };
        // It may have come back under its index since it was said to be gone.
        let links = self.netlink.links().await.unwrap_or_default();
        for wired in wired {
            let is_there = links.iter().any(|link| link.index == wired);
            self.let_go(wired, is_there).await;
        }
    }

    /// Gives a NIC's devices an MTU.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn set_mtu(&self, nic: &NicPlan, mtu: u32) -> Result {
        let Some(tap) = &nic.tap else { return Ok(()) };
        self.netlink.set_mtu(self.index(tap).await?, mtu.min(MAX_TAP_MTU)).await
    }

    /// Puts back all interfaces.
    pub async fn restore(&mut self) {
        let indexes: Vec<u32> = self.saved.keys().copied().collect();
        let links = self.netlink.links().await.unwrap_or_default();
        for index in indexes {
            let is_there = links.iter().any(|link| link.index == index);
            self.let_go(index, is_there).await;
        }
    }

    async fn carry_out(&mut self, steps: &[Step], link: &Link) -> Result {
        // The interface by its index: its name may be another one's in a moment.
        let interface = link.name.clone();
        for step in steps {
            debug!(%step, "network");
            match step {
                Step::Adopt { .. } => self.adopt(steps, link).await?,
                Step::Mtu { name, .. } => {
                    let index = self.index(name).await?;
                    self.netlink.set_mtu(index, link.mtu.min(MAX_TAP_MTU)).await?;
                }
                Step::Macvtap { name, .. } => {
                    let index = self.netlink.add_macvtap(name, link.index).await?;
                    self.netlink.set_promiscuous(index, true).await?;
                }
                Step::Redirect { from, to } => {
                    let from = self.index_of(from, &interface, link.index).await?;
                    let to = self.index_of(to, &interface, link.index).await?;
                    self.netlink.redirect(from, to).await?;
                }
                Step::Bridge { name } => self.netlink.add_bridge(name).await?,
                Step::Port { bridge, port } => {
                    let bridge = self.index(bridge).await?;
                    let port = self.index_of(port, &interface, link.index).await?;
                    self.netlink.add_port(bridge, port).await?;
                }
                Step::Quiet { name } => self.quiet(self.index(name).await?).await?,
                Step::Up { name } => self.netlink.set_up(self.index(name).await?, true).await?,
                Step::Tap { .. } => {}
            }
        }
        Ok(())
    }

    async fn adopt(&mut self, steps: &[Step], link: &Link) -> Result {
        let index = link.index;
        let addresses = self.netlink.addresses(index).await?;
        let device = steps.iter().find_map(|step| match step {
            Step::Bridge { name } | Step::Macvtap { name, .. } => Some(name.clone()),
            _ => None,
        });
        let redirected = steps
            .iter()
            .any(|step| matches!(step, Step::Redirect { from, .. } if *from == link.name));
        if redirected && self.netlink.has_ingress(index).await? {
            let what = format!("{} has an ingress queueing discipline of others'", link.name);
            return Err(Error::new(what));
        }
        if let Some(device) = &device {
            if self.netlink.by_name(device).await?.is_some() {
                return Err(Error::new(format!("the name {device} is in use")));
            }
            if self.netlink.controller(index).await?.is_some() {
                let what = format!("{} is a port of another bridge or bond", link.name);
                return Err(Error::new(what));
            }
        }
        let ours = self.made_promiscuous.contains(&link.mac);
        let saved = Saved {
            name: link.name.clone(),
            index,
            mac: link.mac,
            was_promiscuous: self.netlink.is_promiscuous(index).await? && !ours,
            ipv6_generation: self.netlink.ipv6_generation(index).await?,
            addresses: addresses.clone(),
            routes: self.netlink.routes(index, &addresses).await?,
            redirected,
            device,
        };
        self.saved.insert(index, saved);
        self.write();
        self.quiet(index).await?;
        for address in &addresses {
            info!(interface = link.name, %address, "an address is removed while the VM has the interface");
            self.netlink.remove_address(index, address).await?;
        }
        self.netlink.set_promiscuous(index, true).await
    }

    /// A link has got an address: if the VM has it, the address is remembered and removed.
    pub async fn handle_address(&mut self, index: u32) {
        if !self.saved.contains_key(&index) {
            return;
        }
        let read = async || {
            let addresses = self.netlink.addresses(index).await?;
            let routes = self.netlink.routes(index, &addresses).await?;
            Ok((addresses, routes))
        };
        let (new, routes) = match read().await {
            Ok(read) => read,
            Err::<_, Error>(error) => return debug!(%error, "network"),
        };
        if let Some(saved) = self.saved.get_mut(&index) {
            saved.routes.retain(|known| !routes.contains(known));
            saved.routes.extend(routes);
            saved.addresses.retain(|known| !new.iter().any(|address| address.is_same(known)));
            saved.addresses.extend(new.clone());
        }
        self.write();
        for address in &new {
            info!(index, %address, "an address is removed while the VM has the interface");
            if let Err(error) = self.netlink.remove_address(index, address).await {
                warn!(%error, "the container may answer in place of the VM");
            }
        }
    }

    /// Puts a link back as it was. `is_there`: it has not gone meanwhile.
    async fn let_go(&mut self, index: u32, is_there: bool) {
        let Some(saved) = self.saved.remove(&index) else { return };
        if let Some(device) = &saved.device
            && let Ok(Some(device)) = self.netlink.by_name(device).await
        {
            self.tell(self.netlink.remove(device.index).await);
        }
        if is_there {
            if saved.redirected {
                self.tell(self.netlink.stop_redirecting(index).await);
            }
            if !saved.was_promiscuous {
                self.tell(self.netlink.set_promiscuous(index, false).await);
            }
            for address in &saved.addresses {
                self.tell(self.netlink.add_address(index, address).await);
            }
            self.tell(self.netlink.add_routes(&saved.routes).await);
            if let Some(mode) = saved.ipv6_generation {
                self.tell(self.netlink.set_ipv6_generation(index, mode).await);
            }
        } else if !saved.was_promiscuous {
            self.made_promiscuous.insert(saved.mac);
        }
        self.write();
    }

    async fn quiet(&self, index: u32) -> Result {
        // A kernel without IPv6 has nothing to keep quiet.
        if self.netlink.ipv6_generation(index).await?.is_some() {
            self.netlink.set_ipv6_generation(index, NO_GENERATION).await?;
        }
        Ok(())
    }

    async fn index(&self, name: &str) -> Result<u32> {
        let link = self.netlink.by_name(name).await?;
        link.map(|link| link.index).ok_or_else(|| Error::missing(name))
    }

    async fn index_of(&self, name: &str, interface: &str, index: u32) -> Result<u32> {
        if name == interface { Ok(index) } else { self.index(name).await }
    }

    /// What cannot be put back is told, and no reason to stop. A link that is gone is nothing.
    fn tell(&self, result: Result) {
        if let Err(error) = result {
            if error.errno() == Some(nix::libc::ENODEV) {
                debug!(%error, "network");
            } else {
                warn!(%error, "the network cannot be put back");
            }
        }
    }

    fn write(&self) {
        let saved: Vec<&Saved> = self.saved.values().collect();
        let result = if saved.is_empty() {
            dirs::remove(&self.path)
        } else {
            serde_json::to_vec_pretty(&saved)
                .map_err(std::io::Error::other)
                .and_then(|text| dirs::write_whole(&self.path, &text, dirs::PUBLIC))
        };
        if let Err(error) = result {
            warn!(%error, "what the interfaces were like cannot be kept");
        }
    }
}
