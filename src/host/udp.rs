//! The BMC's UDP socket.

mod batch;

pub use self::batch::{BATCH, Datagram};

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use crate::host::udp::batch::{Inbox, Outbox};
use crate::profile::check::Bind;

/// A UDP socket that tells at which of our addresses it was asked, and answers from there. The kernel would
/// choose one by its routes, and a console whose socket is connected does not hear that.
pub struct Udp {
    socket: UdpSocket,
    inbox: Inbox,
    outbox: Outbox,
}

impl Debug for Udp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Udp {
    /// Opens the socket. Served on all addresses, it is one IPv6 socket that takes IPv4 as well, or
    /// an IPv4 socket where the kernel has no IPv6.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind(bind: &Bind, port: u16) -> io::Result<Self> {
        let socket = UdpSocket::from_std(socket(bind, port)?.into())?;
        if socket.local_addr()?.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        let (inbox, outbox) = (Inbox::new(), Outbox::new());
        Ok(Self { socket, inbox, outbox })
    }

    /// Waits until there may be something to receive.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives datagrams, at most so many and at most a batch, and answers how many;
    /// [`Self::datagram`] has them then.
    ///
    /// # Errors
    /// `WouldBlock` if there are none; ICMP errors of datagrams that were sent.
    pub fn receive(&mut self, room: usize) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, || self.inbox.receive(self.socket.as_fd(), room))
    }

    /// One of the datagrams that were received last.
    #[must_use]
    pub fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        self.inbox.get(index)
    }

    /// Sends datagrams. What does not go is as good as lost on the way.
    pub fn send<'a>(&mut self, datagrams: impl Iterator<Item = Datagram<'a>> + Clone) {
        let mut left = datagrams;
        while let Some(first) = left.clone().next() {
            let batch = left.clone();
            let mut result = self
                .socket
                .try_io(Interest::WRITABLE, || self.outbox.send(self.socket.as_fd(), batch));
            if let Err(error) = &result
                && error.kind() != io::ErrorKind::WouldBlock
                && first.at.is_some()
            {
                // Asked by broadcast, or the address is gone.
                let alone = std::iter::once(Datagram { at: None, ..first });
                result = self.outbox.send(self.socket.as_fd(), alone);
            }
            let gone = result.unwrap_or_else(|error| {
                debug!(%error, to = %first.peer, "sending a datagram");
                1
            });
            left.by_ref().take(gone).for_each(drop);
        }
    }
}

/// Whether [`Udp::bind`] would succeed now.
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
