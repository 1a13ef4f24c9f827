//! Addresses of links, and routes over them, with all that it takes to put them back.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::stream::TryStreamExt;
use rtnetlink::packet_core::{Emitable, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType,
};
use serde::{Deserialize, Serialize};

use super::{Doing, Netlink, Result};

/// An IP address of a link, with all that it takes to put it back as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The other side of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Length of the network's prefix.
    pub prefix_len: u8,
    broadcast: Option<Ipv4Addr>,
    label: Option<String>,
    scope: u8,
    /// It is not looked whether somebody else has it (RFC 4862 section 5.4).
    nodad: bool,
    /// The kernel makes no route to its network.
    noprefixroute: bool,
    /// Metric of that route.
    metric: Option<u32>,
    /// For how many seconds it is preferred, and for how many valid, where that ends.
    lifetimes_s: Option<[u32; 2]>,
}

/// A route over a link that somebody has made: the kernel's own message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route(Vec<u8>);

impl Netlink {
    /// The addresses of a link.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let messages = self.handle.address().get().set_link_index_filter(index).execute();
        let messages: Vec<AddressMessage> =
            messages.try_collect().await.doing(|| format!("addresses of link {index}"))?;
        Ok(messages.into_iter().filter_map(|message| Address::read(&message)).collect())
    }

    /// Removes an address. One that is gone already is no error: a primary address takes its
    /// secondaries with it, and a link all of them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_address(&self, index: u32, address: &Address) -> Result {
        const GONE: [Option<i32>; 2] = [Some(nix::libc::EADDRNOTAVAIL), Some(nix::libc::ENODEV)];
        let removed = self.handle.address().del(address.message(index)).execute().await;
        match removed.doing(|| format!("removing {address}")) {
            Err(error) if GONE.contains(&error.errno()) => Ok(()),
            other => other,
        }
    }

    /// Puts an address back. One that is there already is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn add_address(&self, index: u32, address: &Address) -> Result {
        let mut request = self.handle.address().add(index, address.ip, address.prefix_len);
        *request.message_mut() = address.message(index);
        match request.execute().await.doing(|| format!("putting back {address}")) {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// The routes that go with a link's addresses: over it, or from one of them; but for those that the
    /// kernel makes by itself. Those with more than one way are not among them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn routes(&self, index: u32, addresses: &[Address]) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for address_family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = address_family;
            let found = self.handle.route().get(request).execute();
            let found: Vec<RouteMessage> =
                found.try_collect().await.doing(|| format!("routes over link {index}"))?;
            routes.extend(
                found.into_iter().filter_map(|message| Route::read(message, index, addresses)),
            );
        }
        Ok(routes)
    }

    /// Puts routes back, those that others go through before these. One that is there already is no
    /// error.
    ///
    /// # Errors
    /// When the kernel refuses one of them; the others are back.
    pub async fn add_routes(&self, routes: &[Route]) -> Result {
        let mut left: Vec<RouteMessage> =
            routes.iter().filter_map(|route| RouteMessage::parse(&route.0).ok()).collect();
        loop {
            let (mut refused, mut error) = (Vec::new(), None);
            for message in &left {
                let added = self.handle.route().add(message.clone()).execute().await;
                match added.doing(|| "putting back a route".into()) {
                    Err(error) if error.errno() == Some(nix::libc::EEXIST) => {}
                    Err(why) => {
                        refused.push(message.clone());
                        error = Some(why);
                    }
                    Ok(()) => {}
                }
            }
            match error {
                Some(error) if refused.len() == left.len() => return Err(error),
                Some(_) => left = refused,
                None => return Ok(()),
            }
        }
    }
}

impl Route {
    fn read(mut message: RouteMessage, index: u32, addresses: &[Address]) -> Option<Self> {
        let RouteMessage { header, attributes, .. } = &mut message;
        let by_kernel = matches!(header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra);
        let goes = |attribute: &RouteAttribute| match attribute {
            RouteAttribute::Oif(over) => *over == index,
            RouteAttribute::PrefSource(from) => {
                addresses.iter().any(|address| RouteAddress::from(address.ip) == *from)
            }
            _ => false,
        };
        if by_kernel || !attributes.iter().any(goes) || header.kind != RouteType::Unicast {
            return None;
        }
        // What is going on is not part of it.
        header.flags &= RouteFlags::Onlink;
        attributes.retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_)));
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        Some(Self(bytes))
    }
}

impl Address {
    /// The same, for as long as it is there: what is left of its lifetime may differ.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.ip, self.prefix_len, self.peer) == (other.ip, other.prefix_len, other.peer)
    }

    fn read(message: &AddressMessage) -> Option<Self> {
        let (mut ip, mut address, mut broadcast, mut label) = (None, None, None, None);
        let (mut noprefixroute, mut metric, mut lifetimes_s) = (false, None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(local) => ip = Some(*local),
                AddressAttribute::Address(other) => address = Some(*other),
                AddressAttribute::Broadcast(found) => broadcast = Some(*found),
                AddressAttribute::Label(found) => label = Some(found.clone()),
                AddressAttribute::Flags(flags) => {
                    noprefixroute = flags.contains(AddressFlags::Noprefixroute);
                }
                AddressAttribute::RoutePriority(found) => metric = Some(*found),
                AddressAttribute::CacheInfo(info) if info.ifa_valid != u32::MAX => {
                    lifetimes_s = Some([info.ifa_preferred, info.ifa_valid]);
                }
                _ => {}
            }
        }
        let ip = ip.or(address)?;
        let (prefix_len, scope) = (message.header.prefix_len, u8::from(message.header.scope));
        let nodad = message.header.flags.contains(AddressHeaderFlags::Nodad);
        let peer = address.filter(|a| *a != ip);
        let found = Self {
            ip,
            peer,
            prefix_len,
            broadcast,
            label,
            scope,
            nodad,
            noprefixroute,
            metric,
            lifetimes_s,
        };
        Some(found)
    }

    fn message(&self, index: u32) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family =
            if self.ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.index = index;
        message.header.prefix_len = self.prefix_len;
        message.header.scope = self.scope.into();
        message.attributes.push(AddressAttribute::Local(self.ip));
        message.attributes.push(AddressAttribute::Address(self.peer.unwrap_or(self.ip)));
        message.attributes.extend(self.broadcast.map(AddressAttribute::Broadcast));
        message.attributes.extend(self.label.clone().map(AddressAttribute::Label));
        if self.nodad {
            message.header.flags |= AddressHeaderFlags::Nodad;
        }
        if self.noprefixroute {
            // These stand in place of the header's.
            let nodad = if self.nodad { AddressFlags::Nodad } else { AddressFlags::empty() };
            let flags = AddressFlags::Noprefixroute | nodad;
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        message.attributes.extend(self.metric.map(AddressAttribute::RoutePriority));
        message.attributes.extend(self.lifetimes_s.map(|[preferred, valid]| {
            let mut info = CacheInfo::default();
            (info.ifa_preferred, info.ifa_valid) = (preferred, valid);
            AddressAttribute::CacheInfo(info)
        }));
        message
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_len)
    }
}
