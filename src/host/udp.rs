//! The BMC's UDP socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::profile::check::Bind;

/// Opens the socket. Served on all addresses, it is one IPv6 socket that takes IPv4 as well, or an
/// IPv4 socket where the kernel has no IPv6.
///
/// # Errors
/// The kernel's.
pub fn bind(bind: &Bind, port: u16) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket(bind, port)?.into())
}

/// Whether [`bind`] would succeed now.
///
/// # Errors
/// The kernel's.
pub fn can_bind(bind: &Bind, port: u16) -> io::Result<()> {
    socket(bind, port).map(drop)
}

fn socket(bind: &Bind, port: u16) -> io::Result<Socket> {
    let any_v6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let any_v4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let (address, interface) = match bind {
        Bind::Address(address) => return open(*address, port, None),
        Bind::All => (any_v6, None),
        Bind::Interface(name) => (any_v6, Some(name.as_str())),
    };
    match open(address, port, interface) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc_errno::EAFNOSUPPORT | libc_errno::EADDRNOTAVAIL)
            ) =>
        {
            open(any_v4, port, interface)
        }
        result => result,
    }
}

/// Errors of a kernel without IPv6.
mod libc_errno {
    use nix::errno::Errno;

    pub(super) const EAFNOSUPPORT: i32 = Errno::EAFNOSUPPORT as i32;
    pub(super) const EADDRNOTAVAIL: i32 = Errno::EADDRNOTAVAIL as i32;
}

fn open(address: IpAddr, port: u16, interface: Option<&str>) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
