//! `[qemu]`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The QEMU program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Qemu {
    /// Program to start: a path, or a name that is looked up in `PATH`. Default:
    /// `qemu-system-x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/opt/qemu/bin/qemu-system-x86_64")]
    pub binary: Option<PathBuf>,
    /// User to run QEMU and the TPM emulator as, by name or number; the files that the profile names
    /// are opened before, so that this user needs no access to them. Default for root: `nobody`,
    /// where the container lets us change; else the same user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"qemu")]
    pub user: Option<String>,
    /// Extra arguments, appended last.
    #[schemars(example = ["-global", "ICH9-LPC.disable_s3=1"])]
    pub extra_args: Vec<String>,
}

impl Qemu {
    /// Program to start.
    #[must_use]
    pub fn program(&self) -> &Path {
        self.binary.as_deref().unwrap_or_else(|| Path::new("qemu-system-x86_64"))
    }
}
