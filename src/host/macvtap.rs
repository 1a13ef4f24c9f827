//! macvtap devices: a network device and a character device in one (kernel:
//! drivers/net/macvtap.c).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::libc;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Where device nodes may stand: other file systems of a container are mounted without them.
const DEV: &str = "/dev";

/// Why a device cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its number cannot be read.
    #[error("the number of its device node cannot be read: {0}; /sys has to be this container's")]
    Number(io::Error),
    /// There can be no node.
    #[error("its device node cannot be made: {0}; that needs the capability MKNOD")]
    Node(io::Error),
    /// The node cannot be opened.
    #[error(
        "its device node cannot be opened: {error}; `--device-cgroup-rule 'c {major}:* rwm'`, or as root `--privileged`, allows it"
    )]
    Open {
        /// Why.
        error: io::Error,
        /// Number of the kernel's driver, which differs from host to host.
        major: u64,
    },
}

/// Opens the character device of the macvtap device with this name and index.
///
/// # Errors
/// What it needs and does not get.
pub fn open(name: &str, index: u32) -> Result<OwnedFd, Error> {
    // udev makes nodes; in a container there is none.
    let number = fs_err::read_to_string(format!("/sys/class/net/{name}/tap{index}/dev"));
    let number = number.map_err(Error::Number)?;
    let parse = |text: &str| text.trim().parse::<u64>().ok();
    let (major, minor) = number
        .split_once(':')
        .and_then(|(major, minor)| Some((parse(major)?, parse(minor)?)))
        .ok_or_else(|| Error::Number(io::ErrorKind::InvalidData.into()))?;
    let node = PathBuf::from(DEV).join(format!(".{name}-{major}-{minor}"));
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    mknod(&node, SFlag::S_IFCHR, mode, makedev(major, minor))
        .map_err(|error| Error::Node(error.into()))?;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        // What QEMU expects.
        .custom_flags(libc::O_NONBLOCK)
        .open(&node);
    // The descriptor is enough.
    let _ = fs_err::remove_file(&node);
    opened.map(OwnedFd::from).map_err(|error| Error::Open { error, major })
}
