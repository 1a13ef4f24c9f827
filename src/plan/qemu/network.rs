//! NICs.

use serde_json::{Map, Value, json};

use super::{FIRST_TAP_FD, QemuPlan};
use crate::plan::argv::Switch;
use crate::plan::{NetworkPlan, NicPlan, Spare};
use crate::profile::document::NicModel;
use crate::value::{BootDevice, InterfaceName};

impl QemuPlan {
    /// `first`: the NIC that is tried first by a boot from the network.
    pub(super) fn nics(&mut self, network: &NetworkPlan, first: Option<&InterfaceName>) {
        let others = self.bootable.len();
        let mut tap_fd = FIRST_TAP_FD;
        for (number, nic) in network.nics.iter().enumerate() {
            match &nic.tap {
                // A hub, as what is behind the NIC comes and goes with its interface.
                Some(_) if !nic.has_tap_at_start() => self
                    .json("-netdev", json!({ "type": "hubport", "id": nic.id, "hubid": number })),
                None => self.json("-netdev", json!({ "type": "user", "id": nic.id })),
                Some(_) => {
                    let fds: Vec<String> = (0..nic.queues)
                        .map(|queue| (tap_fd + i32::from(queue)).to_string())
                        .collect();
                    let fds = fds.join(":");
                    let mut netdev = json!({ "type": "tap", "id": nic.id, "fds": fds });
                    if nic.vhost_net {
                        netdev["vhost"] = true.into();
                    }
                    self.json("-netdev", netdev);
                    tap_fd += i32::from(nic.queues);
                }
            }
            let mut device = json!({
                "driver": nic.model.driver(),
                "id": nic.id,
                "netdev": nic.id,
                "mac": nic.mac,
            });
            if nic.model == NicModel::Virtio {
                if let Some(mtu) = nic.mtu {
                    device["host_mtu"] = mtu.into();
                }
                if nic.interface.is_some() {
                    device["speed"] = nic.speed_mbps.into();
                    device["duplex"] = nic.duplex.word().into();
                }
                if nic.queues > 1 {
                    device["mq"] = true.into();
                    // One for each direction of each queue, one for control, one for configuration.
                    device["vectors"] = (2 * nic.queues + 2).into();
                }
            }
            if !nic.boot_rom {
                device["romfile"] = Value::from("");
            } else if let Some(path) = &nic.rom_file {
                device["romfile"] = json!(path);
            }
            self.json("-device", device);
            if nic.boot_rom {
                let is_first = first.is_some_and(|name| nic.is_called(name));
                let at = if is_first { others } else { self.bootable.len() };
                self.bootable.insert(at, (BootDevice::Network, nic.id.clone()));
            }
        }
        if network.nics.is_empty() {
            // `-nodefaults` has said it; this is for those who look for it in the arguments.
            self.text("-nic", "none");
        }
        for (index, spare) in network.spares.iter().enumerate() {
            let chassis = index + 1;
            self.json(
                "-device",
                json!({ "driver": "pcie-root-port", "id": spare.port, "chassis": chassis }),
            );
        }
    }

    /// What a running QEMU has to be told when a NIC of the wiring `macvtap` gets its device: the
    /// device's back end, which has a descriptor called as its ID, and its port of the NIC's hub.
    /// `number`: the NIC's in the plan.
    #[must_use]
    pub fn back_end(number: usize, nic: &NicPlan) -> [Map<String, Value>; 2] {
        let [port, tap] = nic.back_end_ids();
        [
            json!({ "type": "tap", "id": tap, "fd": tap }),
            json!({ "type": "hubport", "id": port, "hubid": number, "netdev": tap }),
        ]
        .map(|value| value.as_object().cloned().unwrap_or_default())
    }

    /// Plugs in a NIC, from the next start on; answers what a running QEMU has to be told: back end
    /// and device.
    pub fn plug(&mut self, spare: &Spare, nic: &NicPlan, mtu: u32) -> [Map<String, Value>; 2] {
        let fds = spare.fd.to_string();
        let netdev = json!({ "type": "tap", "id": spare.netdev, "fds": fds });
        let device = json!({
            "driver": nic.model.driver(),
            "id": spare.id,
            "netdev": spare.netdev,
            "bus": spare.port,
            "mac": nic.mac,
            "speed": nic.speed_mbps,
            "duplex": nic.duplex.word(),
            "host_mtu": mtu,
            "romfile": "",
        });
        self.unplug(spare);
        self.json("-netdev", netdev.clone());
        self.json("-device", device.clone());
        [netdev, device].map(|value| value.as_object().cloned().unwrap_or_default())
    }

    /// The NIC is not there from the next start on.
    pub fn unplug(&mut self, spare: &Spare) {
        self.switches.retain(|switch| match switch {
            Switch::Json("-device" | "-netdev", entries) => {
                let id = entries.get("id").and_then(Value::as_str);
                id != Some(&spare.id) && id != Some(&spare.netdev)
            }
            _ => true,
        });
    }
}
