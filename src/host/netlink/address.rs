//! Addresses of links, and routes over them, with all that it takes to put them back.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::stream::TryStreamExt;
use rtnetlink::packet_core::{Emitable, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType,
};
use serde::{Deserialize, Serialize};

use super::{Doing, Error, Netlink, Result};

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
    /// secondaries with it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_address(&self, index: u32, address: &Address) -> Result {
        let removed = self.handle.address().del(address.message(index)).execute().await;
        match removed.doing(|| format!("removing {address}")) {
            Err(error) if error.errno() == Some(nix::libc::EADDRNOTAVAIL) => Ok(()),
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

    /// The routes over a link, but for those that the kernel makes by itself. Those with more than one
    /// way are not among them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn routes(&self, index: u32) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for address_family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = address_family;
            let found = self.handle.route().get(request).execute();
            let found: Vec<RouteMessage> =
                found.try_collect().await.doing(|| format!("routes over link {index}"))?;
            routes.extend(found.into_iter().filter_map(|message| Route::read(message, index)));
        }
        Ok(routes)
    }

    /// Puts a route back. One that is there already is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn add_route(&self, route: &Route) -> Result {
        let Ok(message) = RouteMessage::parse(&route.0) else {
            return Err(Error::new("a route that is not one".into()));
        };
        match self
            .handle
            .route()
            .add(message)
            .execute()
            .await
            .doing(|| "putting back a route".into())
        {
            Err(error) if error.errno() == Some(nix::libc::EEXIST) => Ok(()),
            other => other,
        }
    }
}

impl Route {
    fn read(mut message: RouteMessage, index: u32) -> Option<Self> {
        let RouteMessage { header, attributes, .. } = &mut message;
        let by_kernel = matches!(header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra);
        let is_over = attributes.contains(&RouteAttribute::Oif(index));
        if by_kernel || !is_over || header.kind != RouteType::Unicast {
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
    fn read(message: &AddressMessage) -> Option<Self> {
        let (mut ip, mut address, mut broadcast, mut label) = (None, None, None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(local) => ip = Some(*local),
                AddressAttribute::Address(other) => address = Some(*other),
                AddressAttribute::Broadcast(found) => broadcast = Some(*found),
                AddressAttribute::Label(found) => label = Some(found.clone()),
                _ => {}
            }
        }
        let ip = ip.or(address)?;
        let (prefix_len, scope) = (message.header.prefix_len, u8::from(message.header.scope));
        let nodad = message.header.flags.contains(AddressHeaderFlags::Nodad);
        let peer = address.filter(|a| *a != ip);
        Some(Self { ip, peer, prefix_len, broadcast, label, scope, nodad })
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
        message
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_len)
    }
}
