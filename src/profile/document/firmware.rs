//! `[firmware]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// BIOS or UEFI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Firmware {
    /// `bios` (SeaBIOS) or `uefi` (OVMF; its variables are kept in the state directory).
    #[schemars(example = &"uefi")]
    pub mode: FirmwareMode,
    /// UEFI Secure Boot: OVMF's build with System Management Mode, and variables with Microsoft's
    /// keys enrolled.
    #[schemars(example = true)]
    pub secure_boot: bool,
    /// Template of the UEFI variables, such as one with keys of your own enrolled; copied to the
    /// state directory once. Default: OVMF's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/vm/OVMF_VARS_4M.fd")]
    pub vars_template: Option<PathBuf>,
}

impl Default for Firmware {
    fn default() -> Self {
        Self { mode: FirmwareMode::Bios, secure_boot: false, vars_template: None }
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
