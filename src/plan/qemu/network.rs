//! NICs.

use serde_json::{Value, json};

use super::{FIRST_TAP_FD, QemuPlan};
use crate::plan::NetworkPlan;
use crate::profile::document::NicModel;
use crate::value::BootDevice;

impl QemuPlan {
    pub(super) fn nics(&mut self, network: &NetworkPlan) {
        let mut tap_fd = FIRST_TAP_FD;
        for nic in &network.nics {
            match nic.tap() {
                None => self.json("-netdev", json!({ "type": "user", "id": nic.id })),
                Some(_) => {
                    let fds: Vec<String> = (0..nic.queues)
                        .map(|queue| (tap_fd + i32::from(queue)).to_string())
                        .collect();
                    let fds = fds.join(":");
                    self.json("-netdev", json!({ "type": "tap", "id": nic.id, "fds": fds }));
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
                self.bootable.push((BootDevice::Network, nic.id.clone()));
            }
        }
    }
}
