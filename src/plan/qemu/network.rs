//! NICs.

use serde_json::{Value, json};

use super::QemuPlan;
use crate::plan::NetworkPlan;
use crate::profile::document::{NicModel, Wiring};
use crate::value::BootDevice;

impl QemuPlan {
    pub(super) fn nics(&mut self, network: &NetworkPlan) {
        for nic in &network.nics {
            let Wiring::User = nic.wiring;
            self.json("-netdev", json!({ "type": "user", "id": nic.id }));
            let mut device = json!({
                "driver": nic.model.driver(),
                "id": nic.id,
                "netdev": nic.id,
                "mac": nic.mac,
            });
            if let (NicModel::Virtio, Some(mtu)) = (nic.model, nic.mtu) {
                device["host_mtu"] = mtu.into();
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
