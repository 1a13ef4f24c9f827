//! `[[cdroms]]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A CD-ROM drive (SATA).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cdrom {
    /// ISO image. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, example = &"/iso/debian-12-netinst.iso")]
    pub path: Option<PathBuf>,
}
