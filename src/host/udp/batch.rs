//! Datagrams by the batch, with the address of ours that each came to or goes from: `recvmmsg(2)` and
//! `sendmmsg(2)` with `IP_PKTINFO` (`ip(7)`) or `IPV6_PKTINFO` (`ipv6(7)`). A single
//! one goes by `recvmsg(2)` or `sendmsg(2)`, which cost less than a batch of one.
#![expect(unsafe_code, reason = "nix does not reset its headers between two calls")]

use std::io;
use std::mem::{self, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_NXTHDR, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6,
    IPV6_PKTINFO, c_int, c_uint, cmsghdr, in_addr, in_pktinfo, in6_addr, in6_pktinfo, iovec,
    mmsghdr, msghdr, recvmmsg, recvmsg, sa_family_t, sendmmsg, sendmsg, sockaddr_in, sockaddr_in6,
    socklen_t,
};

/// Most datagrams of a batch.
pub const BATCH: usize = 32;
/// Longest datagram that is read, in bytes. IPMI's are below 600; a longer one is cut, and then malformed.
const MAX_DATAGRAM: usize = 2048;

/// A datagram to send, or one that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The other end.
    pub peer: SocketAddr,
    /// Our address that it came to or goes from. On a socket for IPv6 it is an IPv6 address, too.
    pub at: Option<IpAddr>,
    /// What it holds.
    pub bytes: &'a [u8],
}

#[allow(clippy::cast_possible_truncation, reason = "2 and 10")]
const FAMILY_V4: sa_family_t = AF_INET as sa_family_t;
#[allow(clippy::cast_possible_truncation, reason = "2 and 10")]
const FAMILY_V6: sa_family_t = AF_INET6 as sa_family_t;

/// Room for a control message with the larger of the two structures, aligned as it must be.
type Control = [u64; CONTROL_LEN.div_ceil(8)];
const CONTROL_LEN: usize = control_len(size_of::<in6_pktinfo>());

/// Length of a control message with so many bytes of data and what pads it, as `CMSG_SPACE(3)` tells.
const fn control_len(data_len: usize) -> usize {
    size_of::<cmsghdr>() + data_len.next_multiple_of(8)
}

/// What a header points to.
#[derive(Clone, Copy)]
struct Parts {
    /// Room for an address of either family.
    peer: sockaddr_in6,
    control: Control,
    data: iovec,
}

/// The headers of a batch. What they point to is set before each call, and not used after it.
struct Headers {
    headers: Box<[mmsghdr]>,
    parts: Box<[Parts]>,
}

impl Headers {
    fn new() -> Self {
        // SAFETY: plain data, for which all bits zero are valid.
        let (header, parts): (mmsghdr, Parts) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self { headers: vec![header; BATCH].into(), parts: vec![parts; BATCH].into() }
    }

    /// Sets all of a header: where the data is, and what there is of the rest.
    fn set(&mut self, index: usize, data: iovec, peer_len: usize, control_len: usize) {
        let (header, parts) = (&mut self.headers[index], &mut self.parts[index]);
        parts.data = data;
        let header = &mut header.msg_hdr;
        header.msg_name = (&raw mut parts.peer).cast();
        // At most the length of an address.
        #[allow(clippy::cast_possible_truncation, reason = "see above")]
        {
            header.msg_namelen = peer_len as socklen_t;
        }
        header.msg_iov = &raw mut parts.data;
        header.msg_iovlen = 1;
        header.msg_control = parts.control.as_mut_ptr().cast();
        header.msg_controllen = control_len;
        header.msg_flags = 0;
    }
}

/// What a call has answered: how many.
fn count(result: c_int) -> io::Result<usize> {
    Ok(Errno::result(result)?.cast_unsigned() as usize)
}

/// How many a call is asked for.
#[allow(clippy::cast_possible_truncation, reason = "at most a batch")]
fn asked(len: usize) -> c_uint {
    len as c_uint
}

/// What has come.
pub(super) struct Inbox {
    headers: Headers,
    buffers: Box<[[u8; MAX_DATAGRAM]]>,
    /// How many there are.
    received: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let buffers = vec![[0; MAX_DATAGRAM]; BATCH].into();
        Self { headers: Headers::new(), buffers, received: 0 }
    }

    /// Receives what waits, at most so many, and answers how many.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, room: usize) -> io::Result<usize> {
        self.received = 0;
        let room = room.min(BATCH);
        for (index, buffer) in self.buffers.iter_mut().enumerate().take(room) {
            let data = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: MAX_DATAGRAM };
            self.headers.set(index, data, size_of::<sockaddr_in6>(), CONTROL_LEN);
        }
        let (fd, headers) = (socket.as_raw_fd(), &mut self.headers.headers);
        if let (1, [header, ..]) = (room, &mut headers[..]) {
            // SAFETY: this header is set, to memory that nobody else has meanwhile.
            let received = Errno::result(unsafe { recvmsg(fd, &raw mut header.msg_hdr, 0) })?;
            #[allow(clippy::cast_possible_truncation, reason = "at most that of a buffer")]
            {
                header.msg_len = received.cast_unsigned() as c_uint;
            }
            self.received = 1;
        } else {
            // SAFETY: `room` headers are set, to memory that nobody else has meanwhile.
            let result =
                unsafe { recvmmsg(fd, headers.as_mut_ptr(), asked(room), 0, ptr::null_mut()) };
            self.received = count(result)?;
        }
        Ok(self.received)
    }

    /// A datagram that was received; `None` if it came from nowhere.
    pub(super) fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let mmsghdr { msg_hdr: header, msg_len } =
            self.headers.headers[..self.received].get(index)?;
        let bytes = &self.buffers[index][..*msg_len as usize];
        Some(Datagram { peer: peer(&self.headers.parts[index].peer)?, at: at(header), bytes })
    }
}

fn peer(name: &sockaddr_in6) -> Option<SocketAddr> {
    match c_int::from(name.sin6_family) {
        AF_INET6 => {
            let address = Ipv6Addr::from_octets(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(address, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        AF_INET => {
            // SAFETY: the kernel has written the address of the other family, which is shorter and no
            // more aligned.
            let name = unsafe { &*(&raw const *name).cast::<sockaddr_in>() };
            let address = Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
        }
        _ => None,
    }
}

/// At which address of ours it came.
fn at(header: &msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel has written this header, and whole control messages; they are aligned.
    unsafe {
        let mut message = CMSG_FIRSTHDR(header);
        while let Some(&cmsghdr { cmsg_level, cmsg_type, .. }) = message.as_ref() {
            match (cmsg_level, cmsg_type) {
                (IPPROTO_IP, IP_PKTINFO) => {
                    let info = CMSG_DATA(message).cast::<in_pktinfo>().read_unaligned();
                    return Some(
                        Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr)).into(),
                    );
                }
                (IPPROTO_IPV6, IPV6_PKTINFO) => {
                    let info = CMSG_DATA(message).cast::<in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from_octets(info.ipi6_addr.s6_addr).into());
                }
                _ => message = CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

/// What is sent.
pub(super) struct Outbox {
    headers: Headers,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { headers: Headers::new() }
    }

    /// Sends datagrams, up to a batch, and answers how many went; an error is that of the first.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = Datagram<'a>>,
    ) -> io::Result<usize> {
        let mut len = 0;
        for (index, datagram) in datagrams.take(BATCH).enumerate() {
            let parts = &mut self.headers.parts[index];
            let peer_len = write_peer(&mut parts.peer, datagram.peer);
            let control_len = datagram.at.map_or(0, |at| write_at(&mut parts.control, at));
            let bytes = datagram.bytes;
            let data = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            self.headers.set(index, data, peer_len, control_len);
            len = index + 1;
        }
        let (fd, headers) = (socket.as_raw_fd(), &mut self.headers.headers);
        // SAFETY: `len` headers are set, to memory that stays as it is meanwhile; the kernel reads the
        // data, and does not write it.
        unsafe {
            if let (1, [header, ..]) = (len, &headers[..]) {
                Errno::result(sendmsg(fd, &raw const header.msg_hdr, 0))?;
                return Ok(1);
            }
            count(sendmmsg(fd, headers.as_mut_ptr(), asked(len), 0))
        }
    }
}

/// Writes an address, and answers its length.
fn write_peer(name: &mut sockaddr_in6, peer: SocketAddr) -> usize {
    match peer {
        SocketAddr::V6(peer) => {
            name.sin6_family = FAMILY_V6;
            name.sin6_port = peer.port().to_be();
            name.sin6_flowinfo = peer.flowinfo();
            name.sin6_addr = in6_addr { s6_addr: peer.ip().octets() };
            name.sin6_scope_id = peer.scope_id();
            size_of::<sockaddr_in6>()
        }
        SocketAddr::V4(peer) => {
            let v4 = sockaddr_in {
                sin_family: FAMILY_V4,
                sin_port: peer.port().to_be(),
                sin_addr: in_addr { s_addr: peer.ip().to_bits().to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: the address of the other family is shorter and no more aligned.
            unsafe { (&raw mut *name).cast::<sockaddr_in>().write(v4) };
            size_of::<sockaddr_in>()
        }
    }
}

/// Writes the control message that sends from this address, and answers its length.
fn write_at(control: &mut Control, at: IpAddr) -> usize {
    let (cmsg_level, cmsg_type, data_len) = match at {
        IpAddr::V4(_) => (IPPROTO_IP, IP_PKTINFO, size_of::<in_pktinfo>()),
        IpAddr::V6(_) => (IPPROTO_IPV6, IPV6_PKTINFO, size_of::<in6_pktinfo>()),
    };
    let start = cmsghdr { cmsg_len: size_of::<cmsghdr>() + data_len, cmsg_level, cmsg_type };
    let header = control.as_mut_ptr().cast::<cmsghdr>();
    // SAFETY: there is room for a header and the longer of the two, and both are aligned to four bytes.
    unsafe {
        header.write(start);
        let data = header.add(1);
        match at {
            IpAddr::V4(at) => data.cast::<in_pktinfo>().write(in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr { s_addr: at.to_bits().to_be() },
                ipi_addr: in_addr { s_addr: 0 },
            }),
            IpAddr::V6(at) => data.cast::<in6_pktinfo>().write(in6_pktinfo {
                ipi6_addr: in6_addr { s6_addr: at.octets() },
                ipi6_ifindex: 0,
            }),
        }
    }
    control_len(data_len)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    /// A socket of ours at any address, and one that talks to it at this address.
    fn sockets(any: IpAddr, at: IpAddr) -> (UdpSocket, UdpSocket) {
        let ours = UdpSocket::bind((any, 0)).unwrap();
        if any.is_ipv6() {
            setsockopt(&ours, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
        } else {
            setsockopt(&ours, sockopt::Ipv4PacketInfo, &true).unwrap();
        }
        ours.set_nonblocking(true).unwrap();
        let theirs = UdpSocket::bind((if at.is_ipv6() { "::1" } else { "127.0.0.1" }, 0)).unwrap();
        theirs.connect((at, ours.local_addr().unwrap().port())).unwrap();
        theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (ours, theirs)
    }

    /// Says something, more and too much, and hears all of it again, from where it has asked.
    fn there_and_back(any: &str, at: &str, seen_at: &str) {
        let (ours, theirs) = sockets(any.parse().unwrap(), at.parse().unwrap());
        let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
        for len in [1, 0, MAX_DATAGRAM + 1, 3] {
            theirs.send(&vec![0x5A; len]).unwrap();
        }
        let mut buffer = [0; 2 * MAX_DATAGRAM];
        for lens in [&[1][..], &[0, MAX_DATAGRAM, 3]] {
            let room = if lens.len() == 1 { 1 } else { BATCH };
            assert_eq!(inbox.receive(ours.as_fd(), room).unwrap(), lens.len());
            let heard: Vec<_> = (0..lens.len()).map(|index| inbox.get(index).unwrap()).collect();
            assert_eq!(inbox.get(lens.len()), None);
            for (datagram, len) in heard.iter().zip(lens) {
                assert_eq!(datagram.bytes, vec![0x5A; *len]);
                assert_eq!(datagram.at, Some(seen_at.parse().unwrap()));
                assert_eq!(datagram.peer.port(), theirs.local_addr().unwrap().port());
            }
            assert_eq!(outbox.send(ours.as_fd(), heard.into_iter()).unwrap(), lens.len());
            for len in lens {
                assert_eq!(theirs.recv(&mut buffer).unwrap(), *len);
            }
        }
        let error = inbox.receive(ours.as_fd(), BATCH).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(inbox.get(0), None);
    }

    #[test]
    fn datagrams_of_ipv4() {
        there_and_back("0.0.0.0", "127.0.0.2", "127.0.0.2");
    }

    #[test]
    fn datagrams_of_ipv6() {
        there_and_back("::", "::1", "::1");
    }

    #[test]
    fn datagrams_of_ipv4_on_a_socket_for_both() {
        there_and_back("::", "127.0.0.2", "::ffff:127.0.0.2");
    }

    #[test]
    fn a_batch_is_not_larger_than_it_can_be() {
        let (ours, theirs) = sockets("0.0.0.0".parse().unwrap(), "127.0.0.1".parse().unwrap());
        let (mut inbox, mut outbox) = (Inbox::new(), Outbox::new());
        for _ in 0..=BATCH {
            theirs.send(&[1]).unwrap();
        }
        assert_eq!(inbox.receive(ours.as_fd(), usize::MAX).unwrap(), BATCH);
        let heard = inbox.get(0).unwrap();
        let sent = outbox.send(ours.as_fd(), std::iter::repeat_n(heard, BATCH + 1)).unwrap();
        assert_eq!(sent, BATCH);
        assert_eq!(inbox.receive(ours.as_fd(), BATCH).unwrap(), 1);
    }
}
