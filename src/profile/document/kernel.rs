//! `[kernel]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Linux kernel to boot directly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Kernel image. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, example = &"/vm/vmlinuz")]
    pub path: Option<PathBuf>,
    /// Initial RAM disk. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/vm/initrd.img")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line. Default: empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"console=ttyS0 root=/dev/vda1")]
    pub cmdline: Option<String>,
}
