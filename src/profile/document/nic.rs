//! `[[nics]]`.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::value::{InterfaceName, MacAddr};

/// A network interface of the VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nic {
    /// The container's interface that it is connected with; one that is not there yet is waited for,
    /// with the guest's link down. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eth2")]
    pub interface: Option<InterfaceName>,
    /// How it is connected. Default: `tc` with an `interface`, else `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"bridge")]
    pub wiring: Option<Wiring>,
    /// What the guest sees.
    #[schemars(example = &"e1000e")]
    pub model: NicModel,
    /// MAC address, or `inherit` for that of the interface when the machine is switched on (wiring `tc`
    /// only). Default: derived from the machine's name and that of the interface, or the NIC's place in
    /// the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"52:54:00:12:34:56")]
    pub mac: Option<Mac>,
    /// MTU in bytes that the guest is told to use (model `virtio` only). Default: that of the
    /// interface when the machine is switched on; without an interface the guest is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535), example = 1500)]
    pub mtu: Option<u16>,
    /// Number of queues, each for a processor of the guest (model `virtio` with an `interface` only).
    #[schemars(range(min = 1, max = 8), example = 2)]
    pub queues: u16,
    /// Speed in Mbit/s that the guest is told (model `virtio` only). LACP aggregates no ports without.
    #[schemars(range(min = 1, max = 400000), example = 1000)]
    pub speed_mbps: u32,
    /// Duplex mode that the guest is told (model `virtio` only).
    #[schemars(example = &"half")]
    pub duplex: Duplex,
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
            interface: None,
            wiring: None,
            model: NicModel::Virtio,
            mac: None,
            mtu: None,
            queues: 1,
            speed_mbps: 10_000,
            duplex: Duplex::Full,
            boot_rom: true,
            rom_file: None,
        }
    }
}

/// How a NIC is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wiring {
    /// Every frame is passed on, both ways (traffic control, redirect): LLDP, LACP, STP and pause
    /// frames, too.
    Tc,
    /// A Linux bridge, which passes on all but pause frames and malformed ones.
    Bridge,
    /// A macvtap device of the interface, which passes on all but pause frames. Its device node has to
    /// be made, which a container may do only if it is told so. The NIC has one queue and no offloads.
    Macvtap,
    /// `tc` where the kernel has it, else `bridge`, with a warning.
    Auto,
    /// QEMU's user-mode network: the guest reaches out, with DHCP and DNS; nothing reaches in.
    User,
}

/// Where a NIC has its MAC address from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mac {
    /// From its interface.
    Inherit,
    /// From the profile.
    Address(MacAddr),
}

const INHERIT: &str = "inherit";

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inherit => serializer.serialize_str(INHERIT),
            Self::Address(address) => address.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            INHERIT => Ok(Self::Inherit),
            text => text.parse().map(Self::Address).map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for Mac {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mac".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(inherit|[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5})$",
        })
    }
}

/// Duplex mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplex {
    /// Half.
    Half,
    /// Full.
    Full,
}

impl Duplex {
    /// QEMU's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::Full => "full",
        }
    }
}

impl Wiring {
    /// The profile's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Bridge => "bridge",
            Self::Macvtap => "macvtap",
            Self::Auto => "auto",
            Self::User => "user",
        }
    }
}

impl Nic {
    /// How it is connected.
    #[must_use]
    pub fn wiring(&self) -> Wiring {
        let default = if self.interface.is_some() { Wiring::Tc } else { Wiring::User };
        self.wiring.unwrap_or(default)
    }
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
