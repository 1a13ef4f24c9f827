//! Kinds of boot device, as the profile orders them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of device that firmware can boot from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BootDevice {
    /// The disks, in the order in which the profile lists them.
    Disk,
    /// The CD-ROM drives, in the order in which the profile lists them.
    Cdrom,
    /// The NICs (PXE or UEFI HTTP boot), in the order in which the profile lists them.
    Network,
}
