//! `[[disks]]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{ByteSize, ImageFormat, Sha256Sum};

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// Image file or block device. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, example = &"/vm/disk.qcow2")]
    pub path: Option<PathBuf>,
    /// Format of the image. Default: read from the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"raw")]
    pub format: Option<ImageFormat>,
    /// What the disk is plugged into.
    #[schemars(example = &"nvme")]
    pub bus: DiskBus,
    /// Create the image (qcow2) at this size when it is missing. With an overlay: size of the disk,
    /// at least that of its base. Default: not created; with an overlay the size of its base.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"20GiB")]
    pub size: Option<ByteSize>,
    /// Leave the image as it is, and write to a qcow2 overlay in the state directory. Default: the
    /// image is written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"kept")]
    pub overlay: Option<Overlay>,
    /// SHA-256 that the image must have, in hexadecimal digits; for an image that is not written to.
    /// Default: not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    pub sha256: Option<Sha256Sum>,
    /// The guest cannot write to the disk.
    #[schemars(example = true)]
    pub read_only: bool,
    /// Serial number, 1 to 20 printable ASCII characters without a space. Default: derived from the
    /// machine's name and the disk's place in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[!-~]{1,20}$"), example = &"WD-1234")]
    pub serial: Option<String>,
}

/// What a disk is plugged into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskBus {
    /// virtio-blk: `/dev/vda` in Linux.
    #[default]
    Virtio,
    /// A port of the board's AHCI controller: `/dev/sda`.
    Sata,
    /// An NVMe controller of its own: `/dev/nvme0n1`.
    Nvme,
    /// A virtio-scsi controller, one for all: `/dev/sda`.
    Scsi,
}

/// What becomes of what the guest writes over a base image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlay {
    /// It is kept, in the state directory.
    Kept,
    /// It is thrown away at each start of the program. A power cycle keeps it.
    ThrowAway,
}
