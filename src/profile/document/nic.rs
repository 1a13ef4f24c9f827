//! `[[nics]]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::MacAddr;

/// A network interface of the VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nic {
    /// How it is connected.
    #[schemars(example = &"user")]
    pub wiring: Wiring,
    /// What the guest sees.
    #[schemars(example = &"e1000e")]
    pub model: NicModel,
    /// MAC address. Default: derived from the machine's name and the NIC's place in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"52:54:00:12:34:56")]
    pub mac: Option<MacAddr>,
    /// MTU in bytes that the guest is told to use (model `virtio` only). Default: the guest is not
    /// told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535), example = 1500)]
    pub mtu: Option<u16>,
    /// The firmware can boot from the network by this NIC: it has a boot ROM, and a place in the
    /// boot order.
    #[schemars(example = false)]
    pub boot_rom: bool,
    /// Boot ROM to use, such as an iPXE of your own. Default: QEMU's for this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/vm/ipxe.rom")]
    pub rom_file: Option<PathBuf>,
}

impl Default for Nic {
    fn default() -> Self {
        Self {
            wiring: Wiring::User,
            model: NicModel::Virtio,
            mac: None,
            mtu: None,
            boot_rom: true,
            rom_file: None,
        }
    }
}

/// How a NIC is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wiring {
    /// QEMU's user-mode network: the guest reaches out, with DHCP and DNS; nothing reaches in.
    User,
}

/// A NIC as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NicModel {
    /// virtio-net.
    Virtio,
    /// Intel 82540EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// Realtek RTL8139.
    Rtl8139,
    /// VMware's.
    Vmxnet3,
}

impl NicModel {
    /// QEMU's device.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-net-pci",
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Rtl8139 => "rtl8139",
            Self::Vmxnet3 => "vmxnet3",
        }
    }
}
