//! What the BMC is on the network: what its interface has, and what clients have set instead.

use std::net::Ipv4Addr;

use tracing::info;

use crate::bmc::store::lan::Addresses;
use crate::bmc::{Bmc, Core, Difference};
use crate::plan::LanIdentity;
use crate::wire::code::CompletionCode;

/// A value that the BMC does not have. Not CCh: ipmitool would ask again for ever.
pub(super) const NOT_TO_BE_HAD: CompletionCode = CompletionCode::OUT_OF_RANGE;

/// The interface that is served on.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    /// What it is.
    pub(super) identity: LanIdentity,
    /// The BMC may be told to say something else.
    pub(super) settable: bool,
}

/// The addresses that [`Core::set_address`] can set, by their parameters (v2.0 table 23-4).
const ADDRESSES: [(u8, &str); 8] = [
    (3, "IP address"),
    (4, "IP address source"),
    (5, "MAC address"),
    (6, "subnet mask"),
    (12, "default gateway"),
    (13, "MAC address of the default gateway"),
    (14, "backup gateway"),
    (15, "MAC address of the backup gateway"),
];

/// Sources of the IP address (v2.0 table 23-4, parameter 4).
const SOURCES: [&str; 5] = ["unspecified", "static", "DHCP", "BIOS or system software", "other"];
/// The BMC does not look for an address itself.
const STATIC: u8 = 1;

impl Bmc {
    /// The interface that the BMC serves on is this by now.
    pub fn handle_lan(&mut self, identity: LanIdentity) {
        let lan = &mut self.core.lan;
        if lan.identity != identity {
            let LanIdentity { address, prefix, gateway, .. } = identity;
            info!(%address, prefix, %gateway, "the BMC's interface has changed");
            lan.identity = identity;
        }
    }
}

impl Core {
    /// The store is an earlier run's: it does not count where the profile does not let clients set
    /// addresses.
    pub(super) fn take_over_lan(&mut self) {
        if !self.lan.settable {
            self.store.lan.addresses = Addresses::default();
        }
    }

    /// What the BMC says that it has, by parameter; `None`: no address.
    pub(super) fn address(&self, parameter: u8) -> Option<Vec<u8>> {
        self.address_with(&self.store.lan.addresses, parameter)
    }

    fn address_with(&self, set: &Addresses, parameter: u8) -> Option<Vec<u8>> {
        let identity = &self.lan.identity;
        let ip = |set: Option<Ipv4Addr>, own: Ipv4Addr| set.unwrap_or(own).octets().to_vec();
        let mac = |set: Option<[u8; 6]>, own: [u8; 6]| set.unwrap_or(own).to_vec();
        Some(match parameter {
            3 => ip(set.address, identity.address),
            4 => vec![set.source.unwrap_or(STATIC)],
            5 => mac(set.mac, self.mac()),
            6 => ip(set.netmask, identity.netmask()),
            12 => ip(set.gateway, identity.gateway),
            13 => mac(set.gateway_mac, identity.gateway_mac),
            14 => ip(set.backup_gateway, Ipv4Addr::UNSPECIFIED),
            15 => mac(set.backup_gateway_mac, [0; 6]),
            _ => return None,
        })
    }

    /// Never all zero, which clients take for a BMC that is not set up.
    fn mac(&self) -> [u8; 6] {
        let [.., a, b, c, d, e] = self.guid;
        let own = self.lan.identity.mac;
        if own == [0; 6] { [0x02, a, b, c, d, e] } else { own }
    }

    /// Remembers what the BMC is to say that it has; nothing of the interface is changed. What that has
    /// anyway is not remembered, and goes on following it. Answers what has changed, if anything has.
    pub(super) fn set_address(
        &mut self,
        parameter: u8,
        value: &[u8],
    ) -> Result<Option<String>, CompletionCode> {
        let before = self.address(parameter);
        let own = self.address_with(&Addresses::default(), parameter);
        let follows = own.as_deref() == Some(value);
        let ip = || match <[u8; 4]>::try_from(value).map(Ipv4Addr::from) {
            Ok(address) if address.is_multicast() || address.is_broadcast() => Err(NOT_TO_BE_HAD),
            Ok(address) => Ok(Some(address).filter(|_| !follows)),
            Err(_) => Err(CompletionCode::LENGTH_INVALID),
        };
        let mac = || match <[u8; 6]>::try_from(value) {
            Ok([first, ..]) if first & 1 != 0 => Err(NOT_TO_BE_HAD),
            Ok(mac) => Ok(Some(mac).filter(|_| !follows)),
            Err(_) => Err(CompletionCode::LENGTH_INVALID),
        };
        let set = &mut self.store.lan.addresses;
        match parameter {
            3 => set.address = ip()?,
            4 => match value {
                [source] if usize::from(*source) < SOURCES.len() => {
                    set.source = Some(*source).filter(|_| !follows);
                }
                [_] => return Err(NOT_TO_BE_HAD),
                _ => return Err(CompletionCode::LENGTH_INVALID),
            },
            5 => set.mac = mac()?.filter(|mac| *mac != [0; 6]),
            6 => match <[u8; 4]>::try_from(value).map(u32::from_be_bytes) {
                Ok(mask) if mask.leading_ones() + mask.trailing_zeros() < 32 => {
                    return Err(NOT_TO_BE_HAD);
                }
                Ok(mask) => set.netmask = Some(mask.into()).filter(|_| !follows),
                Err(_) => return Err(CompletionCode::LENGTH_INVALID),
            },
            12 => set.gateway = ip()?,
            13 => set.gateway_mac = mac()?,
            14 => set.backup_gateway = ip()?,
            15 => set.backup_gateway_mac = mac()?,
            _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
        }
        let now = self.address(parameter);
        self.changed |= now != before;
        let name = ADDRESSES.iter().find(|(number, _)| *number == parameter);
        let shown = now.as_deref().filter(|_| now != before).map(|now| words(parameter, now));
        Ok(name.zip(shown).map(|((_, name), shown)| format!("LAN {name} set to {shown}")))
    }

    /// What clients have set instead of what the interface has.
    pub(super) fn address_differences(&self, all: &mut Vec<Difference>) {
        for (parameter, name) in ADDRESSES {
            let own = self.address_with(&Addresses::default(), parameter).unwrap_or_default();
            let now = self.address(parameter).unwrap_or_default();
            if own != now {
                let [own, now] = [own, now].map(|value| words(parameter, &value));
                all.push(Difference::new(format!("LAN {name}"), own, now));
            }
        }
    }
}

/// The value of a parameter, for people.
fn words(parameter: u8, value: &[u8]) -> String {
    match *value {
        [source] if parameter == 4 => {
            SOURCES.get(usize::from(source)).map_or("unknown", |words| *words).to_owned()
        }
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).to_string(),
        ref octets => {
            let octets: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            octets.join(":")
        }
    }
}
