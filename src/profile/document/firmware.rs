//! `[firmware]`, `[boot]` and `[kernel]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::BootDevice;

/// BIOS or UEFI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Firmware {
    /// `bios` (SeaBIOS) or `uefi` (OVMF; its variables are kept in the state directory).
    pub mode: FirmwareMode,
}

impl Default for Firmware {
    fn default() -> Self {
        Self { mode: FirmwareMode::Bios }
    }
}

/// Kind of firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FirmwareMode {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// Boot order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Boot {
    /// Kinds of device, most wanted first. Kinds that are not named come last.
    #[schemars(extend("uniqueItems" = true))]
    pub order: Vec<BootDevice>,
    /// How long the firmware shows its boot menu, in milliseconds; 0: not at all.
    #[schemars(range(max = 65535))]
    pub menu_timeout_ms: u32,
}

impl Default for Boot {
    fn default() -> Self {
        Self { order: vec![BootDevice::Disk], menu_timeout_ms: 0 }
    }
}

/// A Linux kernel to boot directly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Kernel image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub path: Option<PathBuf>,
    /// Initial RAM disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
}
