//! What was read from the host, as plain data. `host::facts` reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{ImageFormat, Sha256Sum};

/// Everything about the host that a plan depends on.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// What relative paths count from.
    pub working_dir: PathBuf,
    /// Whether KVM can be used, or why not.
    pub kvm: Access,
    /// Where the QEMU program was found, if it is there.
    pub qemu: Option<PathBuf>,
    /// The user that QEMU is to run as, if it is not the present one; or why it cannot.
    pub run_as: Result<Option<RunAs>, String>,
    /// The machine types that QEMU has, if the profile names one of them.
    pub machine_types: Option<Vec<String>>,
    /// The CPU models that QEMU has, if the profile names one of them.
    pub cpu_models: Option<Vec<String>>,
    /// UEFI firmware, if it is there.
    pub uefi: Option<UefiFiles>,
    /// UEFI firmware for Secure Boot, if it is there.
    pub uefi_secure: Option<UefiFiles>,
    /// Where the swtpm program was found, if the profile wants it and it is there.
    pub swtpm: Option<PathBuf>,
    /// Every file that the profile names, and the directories of disks to create.
    pub files: BTreeMap<PathBuf, FileFact>,
    /// Of the paths that the profile names: those that are other ones, by way of the working directory
    /// or of symbolic links.
    pub real_paths: BTreeMap<PathBuf, PathBuf>,
    /// SHA-256 of the files for which the profile expects one; files that could not be read are not
    /// among them.
    pub sha256: BTreeMap<PathBuf, Sha256Sum>,
    /// Size in bytes of the disks that the profile wants overlays over, where it can be told.
    pub disk_bytes: BTreeMap<PathBuf, u64>,
    /// The kept overlays that are there.
    pub overlays: BTreeMap<PathBuf, OverlayFact>,
    /// Names of the network interfaces that are there.
    pub interfaces: Vec<String>,
    /// How many links containerlab gives this node, eth1 included (`CLAB_INTFS`).
    pub clab_links: Option<u32>,
    /// Whether TAP devices can be made, or why not.
    pub tap: Access,
    /// The kernel can move packets between TAP devices and guests by itself (`/dev/vhost-net`).
    pub vhost_net: bool,
    /// Password files that cannot be used, and why.
    pub bad_password_files: BTreeMap<PathBuf, String>,
}

/// What the header of an overlay says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayFact {
    /// The base that it was made over.
    pub base: PathBuf,
    /// Size of the disk in bytes.
    pub bytes: u64,
}

/// A user to run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunAs {
    /// Name, or number if it has none.
    pub name: String,
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Further groups: the one that may use KVM.
    pub groups: Vec<u32>,
}

impl HostFacts {
    /// Where `path` is.
    #[must_use]
    pub fn real<'a>(&'a self, path: &'a Path) -> &'a Path {
        self.real_paths.get(path).map_or(path, PathBuf::as_path)
    }

    /// What is known of `path`; a file that nobody looked at counts as missing.
    #[must_use]
    pub fn file(&self, path: &Path) -> FileFact {
        self.files.get(path).cloned().unwrap_or(FileFact::Missing)
    }
}

/// Whether something can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can.
    Usable,
    /// It cannot; says why, and what would mend it.
    Unusable {
        /// What is wrong, such as `/dev/kvm: permission denied`.
        reason: String,
        /// What would mend it.
        help: String,
    },
}

impl Default for Access {
    fn default() -> Self {
        Self::Unusable { reason: "not looked at".into(), help: String::new() }
    }
}

/// UEFI firmware: OVMF's two flash images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UefiFiles {
    /// Code, read-only.
    pub code: PathBuf,
    /// Template of the variable store.
    pub vars: PathBuf,
}

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFact {
    /// Nothing there.
    Missing,
    /// There, but it cannot be read; says why.
    Unreadable(String),
    /// A directory.
    Directory,
    /// A regular file with this image format.
    File(ImageFormat),
    /// A block device.
    BlockDevice,
    /// None of these: a pipe, a socket, another device.
    Special,
}
