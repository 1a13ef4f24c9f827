//! Ethernet addresses of the VM's NICs.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// An Ethernet (EUI-48) unicast address, written `52:54:00:12:34:56`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// The address that belongs to `label` (an interface or NIC name) of the machine `machine`.
    ///
    /// `52:54` marks it locally administered and unicast; the other 32 bits are a hash of both
    /// names, because two linked machines whose interfaces have equal names must differ.
    #[must_use]
    pub fn derived(machine: &str, label: &str) -> Self {
        let hash =
            Sha256::new().chain_update(machine).chain_update([0]).chain_update(label).finalize();
        Self([0x52, 0x54, hash[0], hash[1], hash[2], hash[3]])
    }

    /// The address with these octets, if a NIC can have it.
    #[must_use]
    pub fn new(octets: [u8; 6]) -> Option<Self> {
        (octets[0] & 1 == 0 && octets != [0; 6]).then_some(Self(octets))
    }

    /// The six octets in transmission order.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("`{text}` is not a MAC address such as 52:54:00:12:34:56");
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && !part.starts_with('+'))
                .ok_or_else(expected)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| expected())?;
        }
        if parts.next().is_some() {
            return Err(expected());
        }
        if octets[0] & 1 != 0 {
            return Err(format!("`{text}` is a multicast address; a NIC needs a unicast one"));
        }
        if octets == [0; 6] {
            return Err(format!("`{text}` is the all-zero address, which no NIC can have"));
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for MacAddr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MacAddr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$",
            "examples": ["52:54:00:12:34:56"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_address_is_stable_and_differs_by_machine_and_label() {
        let mac = MacAddr::derived("node1", "eth2");
        assert_eq!(mac, MacAddr::derived("node1", "eth2"));
        assert_ne!(mac, MacAddr::derived("node2", "eth2"));
        assert_ne!(mac, MacAddr::derived("node1", "eth3"));
        assert_ne!(MacAddr::derived("a", "bc"), MacAddr::derived("ab", "c"));
        assert_eq!(mac.octets()[0] & 0b11, 0b10, "locally administered and unicast");
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let mac: MacAddr = "52:54:00:Ab:34:56".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:34:56");
        for bad in
            ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:5g", "+2:54:00:12:34:56"]
        {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
        assert!("01:80:c2:00:00:00".parse::<MacAddr>().unwrap_err().contains("multicast"));
        assert!("00:00:00:00:00:00".parse::<MacAddr>().unwrap_err().contains("all-zero"));
    }
}
