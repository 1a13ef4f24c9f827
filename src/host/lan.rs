//! What the interface that the BMC serves on is to the network.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, SocketAddrV6};
use std::str::FromStr as _;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

use crate::plan::LanIdentity;
use crate::profile::check::Bind;

/// Looks at the interface that `bind` names or has the address of. Without either it is the one of
/// the default route, else the first that is no loopback.
#[must_use]
pub fn identity(bind: &Bind) -> LanIdentity {
    let addresses: Vec<InterfaceAddress> = getifaddrs().into_iter().flatten().collect();
    let routes = fs_err::read_to_string("/proc/net/route").unwrap_or_default();
    let neighbours = fs_err::read_to_string("/proc/net/arp").unwrap_or_default();
    let route = default_route(&routes);
    let Some(name) = interface(bind, &addresses, route.as_ref().map(|(name, _)| *name)) else {
        return LanIdentity::default();
    };
    let mut identity = LanIdentity::default();
    let mut found_v4 = false;
    for entry in addresses.iter().filter(|entry| entry.interface_name == name) {
        if let (false, Some((address, prefix))) = (found_v4, v4(entry)) {
            (identity.address, identity.prefix) = (address, prefix);
            // The address that is served on, if the interface has several.
            found_v4 = !matches!(bind, Bind::Address(IpAddr::V4(bound)) if *bound != address);
        }
        identity.ipv6.extend(v6(entry));
        identity.mac = mac(entry).unwrap_or(identity.mac);
    }
    if identity.mac == [0; 6] {
        // Loopback has none; another one's is better than none. Only TAP devices may be there beside it:
        // they have no address, and each time another MAC address.
        let named = |entry: &InterfaceAddress| {
            let name = &entry.interface_name;
            addresses.iter().any(|other| other.interface_name == *name && v4(other).is_some())
        };
        let others = addresses.iter().filter(|entry| named(entry));
        identity.mac = others.filter_map(mac).find(|mac| *mac != [0; 6]).unwrap_or_default();
    }
    if let Some((_, gateway)) = route.filter(|(interface, _)| *interface == name) {
        identity.gateway = gateway;
        identity.gateway_mac = neighbour(&neighbours, gateway).unwrap_or_default();
    }
    identity
}

fn interface(
    bind: &Bind,
    addresses: &[InterfaceAddress],
    default_route: Option<&str>,
) -> Option<String> {
    match bind {
        Bind::Interface(name) => return Some(name.clone()),
        Bind::Address(address) if !address.is_unspecified() => {
            let has = |entry: &&InterfaceAddress| match address {
                IpAddr::V4(wanted) => v4(entry).is_some_and(|(address, _)| address == *wanted),
                IpAddr::V6(wanted) => v6(entry).is_some_and(|(address, _)| address == *wanted),
            };
            if let Some(entry) = addresses.iter().find(has) {
                return Some(entry.interface_name.clone());
            }
        }
        Bind::Address(_) | Bind::All => {}
    }
    let usable = |entry: &&InterfaceAddress| {
        !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK)
            && entry.flags.contains(InterfaceFlags::IFF_UP)
            && v4(entry).is_some()
    };
    let first = || addresses.iter().find(usable).or_else(|| addresses.first());
    let first = || first().map(|entry| entry.interface_name.clone());
    default_route.map(str::to_owned).or_else(first)
}

fn v4(entry: &InterfaceAddress) -> Option<(Ipv4Addr, u8)> {
    let address = SocketAddrV4::from(*entry.address?.as_sockaddr_in()?);
    let mask = entry.netmask.and_then(|mask| Some(SocketAddrV4::from(*mask.as_sockaddr_in()?)));
    let bits = mask.map_or(32, |mask| mask.ip().to_bits().leading_ones());
    Some((*address.ip(), u8::try_from(bits).unwrap_or(32)))
}

fn v6(entry: &InterfaceAddress) -> Option<(std::net::Ipv6Addr, u8)> {
    let address = SocketAddrV6::from(*entry.address?.as_sockaddr_in6()?);
    let mask = entry.netmask.and_then(|mask| Some(SocketAddrV6::from(*mask.as_sockaddr_in6()?)));
    let bits = mask.map_or(128, |mask| mask.ip().to_bits().leading_ones());
    Some((*address.ip(), u8::try_from(bits).unwrap_or(128)))
}

fn mac(entry: &InterfaceAddress) -> Option<[u8; 6]> {
    entry.address?.as_link_addr()?.addr()
}

/// Interface and gateway of the default route, from `/proc/net/route`.
fn default_route(text: &str) -> Option<(&str, Ipv4Addr)> {
    text.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (name, destination, gateway) = (words.next()?, words.next()?, words.next()?);
        let mask = words.nth(4)?;
        // The kernel prints what is in network order as a number of the host's.
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let is_default = destination == "00000000" && mask == "00000000";
        is_default.then(|| (name, Ipv4Addr::from(gateway.to_ne_bytes())))
    })
}

/// A neighbour's MAC address, from `/proc/net/arp`.
fn neighbour(text: &str, address: Ipv4Addr) -> Option<[u8; 6]> {
    let line = text.lines().skip(1).find(|line| {
        let first = line.split_whitespace().next().unwrap_or_default();
        Ipv4Addr::from_str(first) == Ok(address)
    })?;
    let mut octets = line.split_whitespace().nth(3)?.split(':');
    let mut mac = [0; 6];
    for octet in &mut mac {
        *octet = u8::from_str_radix(octets.next()?, 16).ok()?;
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_and_its_gateway() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
            eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\n";
        assert_eq!(default_route(routes), Some(("eth0", Ipv4Addr::new(192, 0, 2, 1))));
        assert_eq!(default_route(""), None);
        let arp = "IP address HW type Flags HW address Mask Device\n\
            192.0.2.10 0x1 0x2 02:fc:00:00:00:06 * eth0\n\
            192.0.2.1 0x1 0x2 02:fc:00:00:00:05 * eth0\n";
        let gateway = neighbour(arp, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(gateway, Some([2, 0xFC, 0, 0, 0, 5]));
        assert_eq!(neighbour(arp, Ipv4Addr::new(192, 0, 2, 3)), None);
    }

    #[test]
    fn loopback_is_found_by_its_address_and_has_a_mask() {
        let found = identity(&Bind::Address(Ipv4Addr::LOCALHOST.into()));
        assert_eq!((found.address, found.prefix), (Ipv4Addr::LOCALHOST, 8));
    }
}
