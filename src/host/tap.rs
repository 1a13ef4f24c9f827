//! TAP devices (kernel: Documentation/networking/tuntap.rst), whose descriptors QEMU is handed.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

/// Where TAP devices come from.
pub const TUN: &str = "/dev/net/tun";

/// A TAP device. It is gone when its last descriptor is closed, whoever has that.
#[derive(Debug)]
pub struct Tap {
    /// Name of the device.
    pub name: String,
    /// One descriptor a queue.
    pub queues: Vec<OwnedFd>,
}

mod ioctl {
    nix::ioctl_readwrite_bad!(
        set_iff,
        nix::request_code_write!(b'T', 202, size_of::<nix::libc::c_int>()),
        nix::libc::ifreq
    );
}

/// Throws away what a device has for its reader.
///
/// # Errors
/// The kernel's.
pub fn drain(queue: &OwnedFd) -> io::Result<()> {
    // QEMU wants it so, too.
    let flags = OFlag::from_bits_truncate(fcntl(queue, FcntlArg::F_GETFL)?);
    fcntl(queue, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let mut frame = [0; 64];
    // The rest of a frame that is longer is gone with it.
    while nix::unistd::read(queue, &mut frame).is_ok() {}
    Ok(())
}

impl Tap {
    /// Makes the device `name`.
    ///
    /// # Errors
    /// `EBUSY` if there is a device of that name, `EPERM` without `CAP_NET_ADMIN`.
    pub fn open(name: &str, queues: u16) -> io::Result<Self> {
        // The header carries checksums and segmentation that are still to be done: so the guest's
        // offloads go on to whoever does them.
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        let multi = if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = libc::c_short::try_from(flags | multi).map_err(io::Error::other)?;
        let mut ifr_name = [0; libc::IFNAMSIZ];
        for (place, byte) in ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
            *place = libc::c_char::from_ne_bytes([byte]);
        }
        let queue = |_| -> io::Result<OwnedFd> {
            let file = OpenOptions::new().read(true).write(true).open(TUN)?;
            let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: flags };
            let mut request = libc::ifreq { ifr_name, ifr_ifru };
            #[expect(unsafe_code, reason = "TAP devices are made by ioctl")]
            // SAFETY: the request is a whole `ifreq`, which is what TUNSETIFF reads and writes.
            unsafe {
                ioctl::set_iff(file.as_raw_fd(), &raw mut request)?;
            }
            Ok(file.into())
        };
        let queues = (0..queues.max(1)).map(queue).collect::<io::Result<_>>()?;
        Ok(Self { name: name.to_owned(), queues })
    }
}
