//! `[qemu]`.

use std::path::PathBuf;

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
    /// Extra arguments, appended last.
    #[schemars(example = ["-global", "ICH9-LPC.disable_s3=1"])]
    pub extra_args: Vec<String>,
}
