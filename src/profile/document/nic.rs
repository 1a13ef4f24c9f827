//! `[[nics]]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::MacAddr;

/// A network interface of the VM (virtio-net).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nic {
    /// How it is connected.
    pub wiring: Wiring,
    /// MAC address. Default: derived from the machine's name and the NIC's place in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

/// How a NIC is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wiring {
    /// QEMU's user-mode network: the guest reaches out, with DHCP and DNS; nothing reaches in.
    #[default]
    User,
}
