//! The kernel's links, over rtnetlink. No sysfs and no sysctl: both are read-only in a container.

mod address;
mod watch;

use std::fmt;
use std::io;

pub use address::{Address, Route};
use futures_util::stream::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoPortData, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVtapMode, State,
};
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMacVtap, LinkMessageBuilder, LinkUnspec,
    MulticastGroup, new_multicast_connection,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
pub use watch::Watch;

use crate::machine::wires::Link;

/// A request that the kernel has refused.
#[derive(Debug)]
pub struct Error {
    /// What was to be done.
    what: String,
    error: rtnetlink::Error,
}

impl Error {
    /// A link is not there.
    pub(super) fn missing(name: &str) -> Self {
        Self::new(format!("{name} is not there"))
    }

    /// Without a word of the kernel's.
    pub(super) fn new(what: String) -> Self {
        Self { what, error: rtnetlink::Error::RequestFailed }
    }

    /// The kernel's error number, if it is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match &self.error {
            rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            rtnetlink::Error::NetlinkError(message) => {
                write!(f, "{}: {}", self.what, message.to_io())
            }
            rtnetlink::Error::RequestFailed => write!(f, "{}", self.what),
            error => write!(f, "{}: {error}", self.what),
        }
    }
}

impl std::error::Error for Error {}

/// Error number: somebody else has it.
pub const EBUSY: i32 = nix::libc::EBUSY;
/// Error number: it is of another kind.
pub const EINVAL: i32 = nix::libc::EINVAL;

/// What the kernel tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is new or has changed.
    Link(Link),
    /// A link is gone from the namespace.
    Gone(u32),
    /// The link with this index has got an address.
    Address(u32),
    /// What comes in on the link with this index is not looked at any more.
    Ingress(u32),
    /// Something was lost: all links have to be read again.
    Lost,
}

/// Packets and drops of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What it has sent.
    pub sent: Counter,
    /// What it has received.
    pub received: Counter,
}

/// One direction of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Packets dropped.
    pub dropped: u64,
}

/// A connection with the kernel. Dropped, it is closed.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    tasks: [AbortHandle; 2],
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

type Result<T = ()> = std::result::Result<T, Error>;

/// Adds what was to be done to an error.
trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error { what: what(), error })
    }
}

/// Link settings by index.
fn link(index: u32) -> LinkMessageBuilder<LinkUnspec> {
    LinkUnspec::new_with_index(index)
}

impl Netlink {
    /// Connects, and hears of links and of addresses from now on.
    ///
    /// # Errors
    /// When there is no netlink socket to be had.
    #[expect(clippy::disallowed_methods, reason = "the connection is a task of its own")]
    pub fn connect() -> io::Result<(Self, mpsc::UnboundedReceiver<Event>)> {
        let (connection, handle, mut messages) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Tc,
        ])?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let connection = tokio::task::spawn_local(connection).abort_handle();
        let events = tokio::task::spawn_local(async move {
            while let Some((message, _)) = messages.next().await {
                let event = match message.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                        // Bridges tell of their ports as well, in messages of another family.
                        if message.header.interface_family != AddressFamily::Unspec {
                            continue;
                        }
                        Event::Link(read(&message))
                    }
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
                        if message.header.interface_family != AddressFamily::Unspec {
                            continue;
                        }
                        Event::Gone(message.header.index)
                    }
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
                        Event::Address(message.header.index)
                    }
                    NetlinkPayload::InnerMessage(
                        RouteNetlinkMessage::DelQueueDiscipline(message)
                        | RouteNetlinkMessage::DelTrafficFilter(message),
                    ) => match u32::try_from(message.header.index) {
                        Ok(index) => Event::Ingress(index),
                        Err(_) => continue,
                    },
                    NetlinkPayload::Overrun(_) => Event::Lost,
                    _ => continue,
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok((Self { handle, tasks: [connection, events.abort_handle()] }, receiver))
    }

    /// All links.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn links(&self) -> Result<Vec<Link>> {
        let messages = self.handle.link().get().execute();
        messages.map_ok(|message| read(&message)).try_collect().await.doing(|| "the links".into())
    }

    async fn message(&self, index: u32) -> Result<LinkMessage> {
        let mut messages = self.handle.link().get().match_index(index).execute();
        let message = messages.try_next().await.doing(|| format!("link {index}"))?;
        message.ok_or(rtnetlink::Error::RequestFailed).doing(|| format!("link {index}"))
    }

    /// The link of this name, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn by_name(&self, name: &str) -> Result<Option<Link>> {
        Ok(self.links().await?.into_iter().find(|link| link.name == name))
    }

    /// Packets and drops of a link.
    ///
    /// # Errors
    /// When there is no such link.
    pub async fn counters(&self, index: u32) -> Result<Counters> {
        let message = self.message(index).await?;
        let stats = message.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Stats64(stats) => Some(stats),
            _ => None,
        });
        Ok(stats.map_or_else(Counters::default, |stats| Counters {
            sent: Counter { packets: stats.tx_packets, dropped: stats.tx_dropped },
            received: Counter { packets: stats.rx_packets, dropped: stats.rx_dropped },
        }))
    }

    async fn set(&self, message: LinkMessage, what: impl FnOnce() -> String) -> Result {
        self.handle.link().set(message).execute().await.doing(what)
    }

    /// Switches a link on or off.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_up(&self, index: u32, up: bool) -> Result {
        let builder = if up { link(index).up() } else { link(index).down() };
        let word = if up { "on" } else { "off" };
        self.set(builder.build(), || format!("switching link {index} {word}")).await
    }

    /// Sets the MTU in bytes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result {
        self.set(link(index).mtu(mtu).build(), || format!("MTU {mtu} of link {index}")).await
    }

    /// Makes a link take packets for all addresses, or not.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_promiscuous(&self, index: u32, on: bool) -> Result {
        self.set(link(index).promiscuous(on).build(), || format!("promiscuity of link {index}"))
            .await
    }

    /// Whether a link was told to take packets for all addresses.
    ///
    /// # Errors
    /// When there is no such link.
    pub async fn is_promiscuous(&self, index: u32) -> Result<bool> {
        Ok(self.message(index).await?.header.flags.contains(LinkFlags::Promisc))
    }

    /// How the kernel makes IPv6 addresses for a link by itself; `None` if the kernel has no IPv6.
    ///
    /// # Errors
    /// When there is no such link.
    pub async fn ipv6_generation(&self, index: u32) -> Result<Option<u8>> {
        let specs = self.message(index).await?.attributes.into_iter().filter_map(|a| match a {
            LinkAttribute::AfSpecUnspec(specs) => Some(specs),
            _ => None,
        });
        let specs = specs.flatten().filter_map(|spec| match spec {
            AfSpecUnspec::Inet6(attributes) => Some(attributes),
            _ => None,
        });
        Ok(specs.flatten().find_map(|attribute| match attribute {
            AfSpecInet6::AddrGenMode(mode) => Some(u8::from(&mode)),
            _ => None,
        }))
    }

    /// Sets how the kernel makes IPv6 addresses for a link by itself.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn set_ipv6_generation(&self, index: u32, mode: u8) -> Result {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::from(mode));
        let spec = LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]);
        let message = link(index).append_extra_attribute(spec).build();
        self.set(message, || format!("IPv6 address generation of link {index}")).await
    }

    /// The bridge, bond or the like that a link is a port of.
    ///
    /// # Errors
    /// When there is no such link.
    pub async fn controller(&self, index: u32) -> Result<Option<u32>> {
        Ok(self.message(index).await?.attributes.into_iter().find_map(
            |attribute| match attribute {
                LinkAttribute::Controller(controller) => {
                    Some(controller).filter(|index| *index != 0)
                }
                _ => None,
            },
        ))
    }

    /// The link that a link is made over.
    ///
    /// # Errors
    /// When there is no such link.
    pub async fn lower(&self, index: u32) -> Result<Option<u32>> {
        Ok(self.message(index).await?.attributes.into_iter().find_map(
            |attribute| match attribute {
                LinkAttribute::Link(lower) => Some(lower),
                _ => None,
            },
        ))
    }

    /// Whether somebody looks at what comes in on a link already: it has a queueing discipline for that.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn has_ingress(&self, index: u32) -> Result<bool> {
        let found = self.handle.qdisc().get().execute().try_collect::<Vec<TcMessage>>().await;
        let found = found.doing(|| "queueing disciplines".into())?;
        let is_ingress = |attribute: &TcAttribute| match attribute {
            TcAttribute::Kind(kind) => kind == "ingress" || kind == "clsact",
            _ => false,
        };
        let of_it = |message: &&TcMessage| u32::try_from(message.header.index) == Ok(index);
        Ok(found.iter().filter(of_it).any(|message| message.attributes.iter().any(is_ingress)))
    }

    /// Sends everything that comes in on `from` out on `to`.
    ///
    /// # Errors
    /// `ENOENT` or `EOPNOTSUPP` where the kernel lacks ingress, u32 or mirred; `EEXIST` where there
    /// is an ingress queueing discipline already.
    pub async fn redirect(&self, from: u32, to: u32) -> Result {
        let what = || format!("redirecting link {from} to link {to}");
        let signed = |index: u32| i32::try_from(index).unwrap_or(i32::MAX);
        self.handle.qdisc().add(signed(from)).ingress().execute().await.doing(what)?;
        let filter = self.handle.traffic_filter(signed(from)).add();
        let filter = filter.parent(u32::from(TcHandle { major: 0xFFFF, minor: 0 }));
        // ETH_P_ALL, in network order.
        let filter = filter.protocol(0x0003_u16.to_be()).redirect(to).doing(what)?;
        filter.execute().await.doing(what)
    }

    /// Takes away what [`Self::redirect`] has made of a link. Nothing there is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn stop_redirecting(&self, from: u32) -> Result {
        let mut request = self.handle.qdisc().del(i32::try_from(from).unwrap_or(i32::MAX));
        let header = &mut request.message_mut().header;
        header.parent = TcHandle::INGRESS;
        header.handle = TcHandle { major: 0xFFFF, minor: 0 };
        match request.execute().await.doing(|| format!("the ingress of link {from}")) {
            Err(error) if matches!(error.errno(), Some(nix::libc::ENOENT | nix::libc::EINVAL)) => {
                Ok(())
            }
            other => other,
        }
    }

    /// Makes a macvtap device that has the link for itself (mode passthru); answers its index.
    ///
    /// # Errors
    /// `EEXIST` if there is a link of that name, `EBUSY` if somebody else has a device over the link,
    /// `EOPNOTSUPP` where the kernel has no macvtap.
    pub async fn add_macvtap(&self, name: &str, over: u32) -> Result<u32> {
        let message = LinkMacVtap::new(name, over, MacVtapMode::Passthrough).build();
        let what = || format!("macvtap device {name}");
        self.handle.link().add(message).execute().await.doing(what)?;
        let made = self.by_name(name).await?;
        made.map(|link| link.index).ok_or_else(|| Error::missing(name))
    }

    /// Makes a bridge without any wish of its own.
    ///
    /// # Errors
    /// `EEXIST` if there is a link of that name.
    pub async fn add_bridge(&self, name: &str) -> Result {
        let bridge = LinkBridge::new(name).ageing_time(0).mcast_snooping(false).build();
        self.handle.link().add(bridge).execute().await.doing(|| format!("bridge {name}"))
    }

    /// Makes a link a port of a bridge, which passes on link-local frames, too, but for pause frames.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn add_port(&self, bridge: u32, port: u32) -> Result {
        /// Bit n is for 01:80:C2:00:00:0n.
        const ALL_BUT_PAUSE: u16 = 0xFFFD;
        let what = || format!("link {port} as a port of bridge {bridge}");
        self.set(link(port).controller(bridge).build(), what).await?;
        let settings = LinkBridgePort::new(port).group_fwd_mask(ALL_BUT_PAUSE).build();
        self.handle.link().set_port(settings).execute().await.doing(what)?;
        // An old kernel ignores what it does not know.
        let mask = self.message(port).await?.attributes.into_iter().find_map(port_mask);
        if mask == Some(ALL_BUT_PAUSE) {
            Ok(())
        } else {
            let what = format!("{}: the kernel does not pass on link-local frames", what());
            Err(Error::new(what))
        }
    }

    /// Removes a link.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove(&self, index: u32) -> Result {
        self.handle.link().del(index).execute().await.doing(|| format!("removing link {index}"))
    }
}

/// Which link-local frames a port passes on.
fn port_mask(attribute: LinkAttribute) -> Option<u16> {
    let LinkAttribute::LinkInfo(infos) = attribute else { return None };
    let settings = infos.into_iter().find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(settings)) => Some(settings),
        _ => None,
    });
    settings.into_iter().flatten().find_map(|setting| match setting {
        InfoBridgePort::GroupFwdMask(mask) => Some(mask),
        _ => None,
    })
}

fn read(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        is_up: message.header.flags.contains(LinkFlags::Up),
        has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) => {
                link.mac = address.as_slice().try_into().unwrap_or_default();
            }
            LinkAttribute::OperState(State::LowerLayerDown) => link.has_carrier = false,
            _ => {}
        }
    }
    link
}
