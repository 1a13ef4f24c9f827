//! The interface that the BMC serves on, as LAN configuration commands tell it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What the BMC is on the network; unknown parts are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanIdentity {
    /// IPv4 address.
    pub address: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix: u8,
    /// Gateway of the default route.
    pub gateway: Ipv4Addr,
    /// MAC address of the gateway.
    pub gateway_mac: [u8; 6],
    /// MAC address.
    pub mac: [u8; 6],
    /// IPv6 addresses with the length of their networks' prefixes.
    pub ipv6: Vec<(Ipv6Addr, u8)>,
}

impl Default for LanIdentity {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Ipv4Addr::UNSPECIFIED,
            gateway_mac: [0; 6],
            mac: [0; 6],
            ipv6: Vec::new(),
        }
    }
}

impl LanIdentity {
    /// The prefix as a mask.
    #[must_use]
    pub fn netmask(&self) -> Ipv4Addr {
        let host_bits = 32_u32.saturating_sub(u32::from(self.prefix));
        Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks() {
        let mask = |prefix| LanIdentity { prefix, ..LanIdentity::default() }.netmask().to_string();
        assert_eq!(mask(0), "0.0.0.0");
        assert_eq!(mask(24), "255.255.255.0");
        assert_eq!(mask(31), "255.255.255.254");
        assert_eq!(mask(32), "255.255.255.255");
        assert_eq!(mask(200), "255.255.255.255");
    }
}
