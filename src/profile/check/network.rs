//! `[[nics]]`, and the room for devices.

use std::collections::BTreeMap;

use super::Check;
use crate::profile::document::{DiskBus, Document, Mac, Nic, NicModel, Wiring};

/// Most NICs.
const MAX_NICS: usize = 24;
/// Slots of the PCI root bus (31) less what the board and we put there: host bridge, LPC bridge,
/// graphics, random numbers, SCSI.
const FREE_SLOTS: usize = 26;

/// Slots of the PCI root bus that are left beside these disks.
#[must_use]
pub fn free_slots<'a>(buses: impl Iterator<Item = &'a DiskBus>) -> usize {
    FREE_SLOTS.saturating_sub(on_pci(buses))
}

fn on_pci<'a>(buses: impl Iterator<Item = &'a DiskBus>) -> usize {
    buses.filter(|bus| matches!(bus, DiskBus::Virtio | DiskBus::Nvme)).count()
}

impl Check<'_> {
    pub(super) fn nics(&mut self, nics: &[Nic]) {
        if nics.len() > MAX_NICS {
            self.error("nics", format!("{} NICs", nics.len()), format!("at most {MAX_NICS}"));
        }
        let mut seen = BTreeMap::new();
        let mut interfaces = BTreeMap::new();
        for (index, nic) in nics.iter().enumerate() {
            self.wiring(index, nic);
            let name = nic.interface.as_ref().map_or("", |name| name.as_str());
            let help = match name {
                "lo" => Some("name one that leads somewhere, for example eth2"),
                _ if name.eq_ignore_ascii_case("none") => {
                    Some("for no NIC at all, write `nics = []`, or VM_NETWORKS=none alone")
                }
                _ => None,
            };
            if let Some(help) = help {
                let key = format!("nics.{index}.interface");
                self.error(&key, format!("nics[{index}] cannot have the interface {name}"), help);
            }
            if let Some(name) = &nic.interface
                && let Some(first) = interfaces.insert(name, index)
            {
                self.error(
                    &format!("nics.{index}.interface"),
                    format!("nics[{first}] and nics[{index}] have the same interface, {name}"),
                    "each NIC needs an interface of its own",
                );
            }
            if let Some(Mac::Address(mac)) = nic.mac
                && let Some(first) = seen.insert(mac, index)
            {
                self.error(
                    &format!("nics.{index}.mac"),
                    format!("nics[{first}] and nics[{index}] have the same MAC address, {mac}"),
                    "leave `mac` out: each NIC then gets an address of its own",
                );
            }
            if let Some(mtu) = nic.mtu {
                let key = format!("nics.{index}.mtu");
                self.range(&key, mtu.into(), 68, 65535);
                if nic.model != NicModel::Virtio {
                    self.error(
                        &key,
                        format!(
                            "nics[{index}] has an `mtu`, and its `model` is `{}`",
                            nic.model.driver()
                        ),
                        "only `virtio` can tell the guest its MTU; leave one of them out",
                    );
                }
            }
            if let Some(path) = &nic.rom_file {
                let key = format!("nics.{index}.rom_file");
                self.path(&key, path);
                if !nic.boot_rom {
                    self.error(
                        &key,
                        format!("nics[{index}] has a `rom_file`, and its `boot_rom` is false"),
                        "leave one of them out",
                    );
                }
            }
        }
    }

    /// What it is connected with, and how.
    fn wiring(&mut self, index: usize, nic: &Nic) {
        let key = |name: &str| format!("nics.{index}.{name}");
        match (&nic.interface, nic.wiring()) {
            (Some(name), Wiring::User) => self.error(
                &key("wiring"),
                format!("nics[{index}] has the interface {name}, and its `wiring` is `user`"),
                "leave one of them out: `user` is QEMU's own network, with no interface",
            ),
            (None, wiring @ (Wiring::Tc | Wiring::Bridge | Wiring::Auto | Wiring::Macvtap)) => self
                .error(
                    &key("wiring"),
                    format!("nics[{index}] has the wiring `{}`, and no `interface`", wiring.word()),
                    "name the container's interface, for example `interface = \"eth2\"`",
                ),
            _ => {}
        }
        if nic.mac == Some(Mac::Inherit) && (nic.interface.is_none() || nic.wiring() != Wiring::Tc)
        {
            self.error(
                &key("mac"),
                format!("nics[{index}] inherits its MAC address, and its wiring is not `tc`"),
                "a bridge takes frames for its interface's own address itself: leave `mac` out",
            );
        }
        if nic.queues > 1 && nic.wiring() == Wiring::Macvtap {
            self.error(
                &key("queues"),
                format!("nics[{index}] has {} `queues`, and the wiring `macvtap`", nic.queues),
                "such a NIC has one queue; use the wiring `tc` for more",
            );
        }
        self.range(&key("queues"), nic.queues.into(), 1, 8);
        self.range(&key("speed_mbps"), nic.speed_mbps, 1, 400_000);
        if nic.queues > 1 && (nic.model != NicModel::Virtio || nic.interface.is_none()) {
            self.error(
                &key("queues"),
                format!("nics[{index}] has {} `queues`", nic.queues),
                "only a `virtio` NIC with an `interface` can have more than one",
            );
        }
    }

    /// PCI slots for all.
    pub(super) fn slots(&mut self, document: &Document) {
        let disks = on_pci(document.disks.iter().map(|disk| &disk.bus));
        let nics = document.nics.len();
        if nics <= MAX_NICS && disks + nics > FREE_SLOTS {
            self.error(
                "disks",
                format!("{disks} disks on `virtio` or `nvme` and {nics} NICs"),
                format!(
                    "the machine has {FREE_SLOTS} PCI slots for them; disks on bus `scsi` need none"
                ),
            );
        }
    }
}
