//! LAN configuration parameters (v2.0 table 23-4) that clients can set.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::wire::code::Privilege;

/// Alert destinations that are saved; number 0, a volatile one, comes on top.
pub(in crate::bmc) const DESTINATIONS: u8 = 4;

/// What clients can set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Lan {
    /// The session that has announced to set parameters.
    #[serde(skip)]
    pub(in crate::bmc) set_in_progress_by: Option<u32>,
    /// Addresses as they were set, where that is not what the interface has.
    pub(in crate::bmc) addresses: Addresses,
    /// Authentication types by privilege level, callback to OEM (parameter 2); `None`: all that
    /// are supported.
    pub(in crate::bmc) auth_enables: Option<[u8; 5]>,
    /// Time to live, flags, precedence and type of service (parameter 7).
    pub(in crate::bmc) ipv4_header: [u8; 3],
    /// Community string of SNMP traps (parameter 16).
    pub(in crate::bmc) community: [u8; 18],
    /// VLAN ID, remembered while VLANs are off (parameter 20).
    pub(in crate::bmc) vlan_id: u16,
    /// VLAN priority (parameter 21).
    pub(in crate::bmc) vlan_priority: u8,
    /// Highest privilege level by number of the cipher suite, for suites that do not have their
    /// default (parameter 24). 0: not to be used.
    pub(in crate::bmc) cipher_privileges: BTreeMap<u8, u8>,
    /// Traffic class, hop limit (parameters 52 and 53).
    pub(in crate::bmc) ipv6_traffic_class: u8,
    pub(in crate::bmc) ipv6_hop_limit: u8,
    /// Flow label (parameter 54).
    pub(in crate::bmc) ipv6_flow_label: [u8; 3],
    /// The volatile alert destination.
    #[serde(skip)]
    volatile_destination: Destination,
    /// Alert destinations from 1 on.
    destinations: [Destination; DESTINATIONS as usize],
}

/// What the BMC says of itself instead of what its interface has; `None`: what that has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Addresses {
    /// IPv4 address (parameter 3).
    pub(in crate::bmc) address: Option<Ipv4Addr>,
    /// Where it is from (parameter 4).
    pub(in crate::bmc) source: Option<u8>,
    /// MAC address (parameter 5).
    pub(in crate::bmc) mac: Option<[u8; 6]>,
    /// Netmask (parameter 6).
    pub(in crate::bmc) netmask: Option<Ipv4Addr>,
    /// Default gateway (parameters 12 and 13).
    pub(in crate::bmc) gateway: Option<Ipv4Addr>,
    pub(in crate::bmc) gateway_mac: Option<[u8; 6]>,
    /// Backup gateway (parameters 14 and 15).
    pub(in crate::bmc) backup_gateway: Option<Ipv4Addr>,
    pub(in crate::bmc) backup_gateway_mac: Option<[u8; 6]>,
}

/// An alert destination (parameters 18, 19 and 25), each as it goes over the wire, without its
/// number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Destination {
    /// Type, acknowledge timeout, retries.
    pub(in crate::bmc) kind: [u8; 3],
    /// Format, gateway, IPv4 address, MAC address.
    pub(in crate::bmc) address: [u8; 12],
    /// VLAN tag: format, tag.
    pub(in crate::bmc) vlan: [u8; 3],
}

impl Default for Lan {
    fn default() -> Self {
        let mut community = [0; 18];
        community[..6].copy_from_slice(b"public");
        Self {
            set_in_progress_by: None,
            addresses: Addresses::default(),
            auth_enables: None,
            ipv4_header: [0x40, 0x40, 0x10],
            community,
            vlan_id: 0,
            vlan_priority: 0,
            cipher_privileges: BTreeMap::new(),
            ipv6_traffic_class: 0,
            ipv6_hop_limit: 64,
            ipv6_flow_label: [0; 3],
            volatile_destination: Destination::default(),
            destinations: [Destination::default(); DESTINATIONS as usize],
        }
    }
}

impl Lan {
    /// The alert destination with this number.
    #[must_use]
    pub(in crate::bmc) fn destination(&self, number: u8) -> Option<&Destination> {
        match usize::from(number).checked_sub(1) {
            None => Some(&self.volatile_destination),
            Some(index) => self.destinations.get(index),
        }
    }

    /// The same, to be changed.
    pub(in crate::bmc) fn destination_mut(&mut self, number: u8) -> Option<&mut Destination> {
        match usize::from(number).checked_sub(1) {
            None => Some(&mut self.volatile_destination),
            Some(index) => self.destinations.get_mut(index),
        }
    }

    /// The table of parameter 24, one nibble a suite, 0 to 15, given the suites that are offered.
    #[must_use]
    pub(in crate::bmc) fn cipher_table(&self, offered: &[u8]) -> [u8; 16] {
        std::array::from_fn(|suite| {
            let suite = u8::try_from(suite).unwrap_or(u8::MAX);
            let level = self.cipher_privileges.get(&suite).copied();
            level.unwrap_or_else(|| default_level(offered, suite))
        })
    }

    /// Keeps a table as [`Self::cipher_table`] has it.
    pub(in crate::bmc) fn set_cipher_table(&mut self, offered: &[u8], table: [u8; 16]) {
        let levels = (0..).zip(table);
        self.cipher_privileges =
            levels.filter(|(suite, level)| *level != default_level(offered, *suite)).collect();
    }

    /// The highest privilege level with a suite that is offered; `None`: not to be used. The table
    /// has no place for suites above 15; these have no limit.
    #[must_use]
    pub(in crate::bmc) fn cipher_limit(&self, suite: u8) -> Option<Privilege> {
        match self.cipher_privileges.get(&suite) {
            Some(level @ 1..=4) => Some(Privilege(*level)),
            Some(_) => None,
            None => Some(Privilege::ADMINISTRATOR),
        }
    }
}

fn default_level(offered: &[u8], suite: u8) -> u8 {
    if offered.contains(&suite) { Privilege::ADMINISTRATOR.0 } else { 0 }
}
