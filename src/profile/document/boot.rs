//! `[boot]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{BootDevice, InterfaceName};

/// Boot order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Boot {
    /// Kinds of device, most wanted first. Kinds that are not named come last.
    #[schemars(extend("uniqueItems" = true), example = ["network", "disk"])]
    pub order: Vec<BootDevice>,
    /// The NIC that is tried first when the machine boots from the network: its interface, or `nic1`
    /// for the second of the list. Default: the first that can boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eth3")]
    pub first_nic: Option<InterfaceName>,
    /// How long the firmware shows its boot menu, in milliseconds; 0: not at all.
    #[schemars(range(max = 65535), example = 3000)]
    pub menu_timeout_ms: u32,
}

impl Default for Boot {
    fn default() -> Self {
        Self { order: vec![BootDevice::Disk], first_nic: None, menu_timeout_ms: 0 }
    }
}
