//! What was read from the host, as plain data. `host::facts` reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything about the host that a plan depends on.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Whether KVM can be used, or why not.
    pub kvm: Access,
    /// Where the QEMU program was found, if it is there.
    pub qemu: Option<PathBuf>,
    /// UEFI firmware, if it is there.
    pub uefi: Option<UefiFiles>,
    /// Every file that the profile names, and the directories of disks to create.
    pub files: BTreeMap<PathBuf, FileFact>,
    /// Password files that cannot be used, and why.
    pub bad_password_files: BTreeMap<PathBuf, String>,
}

impl HostFacts {
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
}

/// Format of a disk image, by the magic number at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// No format that we know.
    Raw,
    /// QEMU's.
    Qcow2,
    /// VMware's.
    Vmdk,
    /// Hyper-V's.
    Vhdx,
    /// VirtualBox's.
    Vdi,
}

impl ImageFormat {
    /// How many bytes of an image [`Self::of`] wants to see.
    pub const PROBE_LEN: usize = 68;

    /// The format of an image that starts with `head`.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(b"QFI\xfb") {
            Self::Qcow2
        } else if head.starts_with(b"KDMV") {
            Self::Vmdk
        } else if head.starts_with(b"vhdxfile") {
            Self::Vhdx
        } else if head.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]) {
            Self::Vdi
        } else {
            Self::Raw
        }
    }

    /// QEMU's name of the format.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
        }
    }
}
