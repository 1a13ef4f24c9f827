//! What the kernel tells of links, addresses, routes and neighbours, for those who look again then.

use std::io;
use std::net::Ipv4Addr;

use futures_util::stream::StreamExt;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::plan::LanIdentity;

/// Hears that something has changed. Dropped, it is closed.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::UnboundedReceiver<Change>,
    tasks: [AbortHandle; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A link, an address, or a route; or nobody knows what.
    Any,
    /// The MAC address of a neighbour is known.
    Neighbour(Ipv4Addr, [u8; 6]),
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Watch {
    /// Hears of what changes from now on.
    ///
    /// # Errors
    /// When there is no netlink socket to be had.
    #[expect(clippy::disallowed_methods, reason = "the connection is a task of its own")]
    pub fn new() -> io::Result<Self> {
        let (connection, _, mut messages) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Neigh,
        ])?;
        let (sender, changes) = mpsc::unbounded_channel();
        let connection = tokio::task::spawn_local(connection).abort_handle();
        let heard = tokio::task::spawn_local(async move {
            while let Some((message, _)) = messages.next().await {
                let Some(change) = change(&message.payload) else { continue };
                if sender.send(change).is_err() {
                    return;
                }
            }
        });
        Ok(Self { changes, tasks: [connection, heard.abort_handle()] })
    }

    /// Waits until the interface that the BMC serves on may not be as `known` any more. Answers `false`
    /// when the kernel will tell nothing again.
    pub async fn changed(&mut self, known: &LanIdentity) -> bool {
        loop {
            match self.changes.recv().await {
                None => return false,
                Some(Change::Any) => return true,
                // Neighbours are confirmed again and again, which is nothing new.
                Some(Change::Neighbour(address, mac)) => {
                    if address == known.gateway && mac != known.gateway_mac {
                        return true;
                    }
                }
            }
        }
    }
}

fn change(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    use RouteNetlinkMessage::{
        DelAddress, DelLink, DelRoute, NewAddress, NewLink, NewNeighbour, NewRoute,
    };
    match payload {
        NetlinkPayload::InnerMessage(
            NewLink(_) | DelLink(_) | NewAddress(_) | DelAddress(_) | NewRoute(_) | DelRoute(_),
        )
        | NetlinkPayload::Overrun(_) => Some(Change::Any),
        NetlinkPayload::InnerMessage(NewNeighbour(message)) => neighbour(message),
        _ => None,
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<Change> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(*found);
            }
            NeighbourAttribute::LinkLayerAddress(octets) => mac = octets.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some(Change::Neighbour(address?, mac?))
}
