//! The BMC's UDP socket.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::profile::check::Bind;

/// How many consoles are remembered before the ones that were not heard from are forgotten.
const GENERATION: usize = 1024;

/// A UDP socket that answers from the address that it was asked at. The kernel would choose one by
/// its routes, and a console whose socket is connected does not hear that.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    is_ipv6: bool,
    /// At which of our addresses a console has asked, and the same of those heard from before.
    asked_at: [HashMap<SocketAddr, IpAddr>; 2],
}

impl Udp {
    /// Opens the socket. Served on all addresses, it is one IPv6 socket that takes IPv4 as well, or
    /// an IPv4 socket where the kernel has no IPv6.
    ///
    /// # Errors
    /// The kernel's.
    pub fn bind(bind: &Bind, port: u16) -> io::Result<Self> {
        let socket = UdpSocket::from_std(socket(bind, port)?.into())?;
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        if is_ipv6 {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        Ok(Self { socket, is_ipv6, asked_at: Default::default() })
    }

    /// Waits until there may be something to receive.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives a datagram: its length, and where it is from.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; ICMP errors of datagrams that were sent.
    pub fn try_receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let fd = self.socket.as_raw_fd();
        let (len, from, at) = self.socket.try_io(Interest::READABLE, || {
            let mut control = cmsg_space!(in6_pktinfo, in_pktinfo);
            let mut parts = [IoSliceMut::new(buffer)];
            let message =
                recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::empty())?;
            let from = message.address.as_ref().and_then(address);
            let from = from.ok_or_else(|| io::Error::other("a datagram from nowhere"))?;
            let at = message.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    Some(Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr)).into())
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into())
                }
                _ => None,
            });
            Ok((message.bytes, from, at))
        })?;
        if let Some(at) = at {
            self.remember(from, at);
        }
        Ok((len, from))
    }

    /// Sends a datagram, from the address that this console has asked at.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; the kernel's.
    pub fn try_send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let from = self.asked_at.iter().find_map(|generation| generation.get(&to).copied());
        match self.send_from(datagram, to, from) {
            // Asked by broadcast, or the address is gone.
            Err(error) if from.is_some() && error.kind() != io::ErrorKind::WouldBlock => {
                self.send_from(datagram, to, None)
            }
            result => result,
        }
    }

    fn send_from(&self, datagram: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let v4 = match from {
            Some(IpAddr::V4(from)) if !self.is_ipv6 => Some(in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr { s_addr: from.to_bits().to_be() },
                ipi_addr: in_addr { s_addr: 0 },
            }),
            _ => None,
        };
        let v6 = match from {
            Some(IpAddr::V6(from)) if self.is_ipv6 => {
                let ipi6_addr = in6_addr { s6_addr: from.octets() };
                Some(in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 })
            }
            _ => None,
        };
        let v4 = v4.iter().map(ControlMessage::Ipv4PacketInfo);
        let control: Vec<_> = v4.chain(v6.iter().map(ControlMessage::Ipv6PacketInfo)).collect();
        let to = SockaddrStorage::from(to);
        self.socket.try_io(Interest::WRITABLE, || {
            sendmsg(fd, &[IoSlice::new(datagram)], &control, MsgFlags::empty(), Some(&to))?;
            Ok(())
        })
    }

    fn remember(&mut self, from: SocketAddr, at: IpAddr) {
        let [heard, before] = &mut self.asked_at;
        if heard.len() >= GENERATION && !heard.contains_key(&from) {
            *before = std::mem::take(heard);
        }
        heard.insert(from, at);
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddrV4::from(*address).into());
    v4.or_else(|| Some(SocketAddrV6::from(*storage.as_sockaddr_in6()?).into()))
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
