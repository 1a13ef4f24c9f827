//! The machine's name, from which its identity is derived.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::{Uuid, uuid};

/// Namespace of the version 5 UUIDs below; never to be changed, or every machine changes identity.
const MACHINE_NAMESPACE: Uuid = uuid!("6d1b7a0e-5c2f-5d7b-9a51-6b1d3ac1b8f4");

/// A machine name: 1–63 characters, letters, digits, `.`, `_` and `-`, starting with a letter or
/// digit.
///
/// It is the seed of the machine's UUID, MAC addresses and serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineName(String);

impl MachineName {
    /// Longest name in characters: what fits a host name label and IPMI's string fields.
    pub const MAX_LEN: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The machine's UUID: version 5 (RFC 9562 section 5.5) of its name.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        Uuid::new_v5(&MACHINE_NAMESPACE, self.0.as_bytes())
    }

    /// The serial number: the last twelve hexadecimal digits of the UUID, in capitals.
    #[must_use]
    pub fn serial(&self) -> String {
        let digits = self.uuid().simple().to_string();
        digits[20..].to_uppercase()
    }

    /// The serial number of the disk at this place in the list, at most 20 bytes.
    #[must_use]
    pub fn disk_serial(&self, index: usize) -> String {
        format!("{}-{index}", self.serial())
    }
}

impl FromStr for MachineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= Self::MAX_LEN && text.chars().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is not a machine name: 1 to {} letters, digits, `.`, `_` or `-`, \
                 starting with a letter or digit",
                Self::MAX_LEN
            ))
        }
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for MachineName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MachineName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for MachineName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MachineName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
            "examples": ["node1"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_derives_from_the_name_alone() {
        let name: MachineName = "node1".parse().unwrap();
        // Frozen: machines in the field keep their identity over upgrades.
        assert_eq!(name.uuid().to_string(), "78daede5-b785-5c49-aab0-9f433b36b338");
        assert_eq!(name.uuid().get_version_num(), 5);
        assert_eq!(name.serial().len(), 12);
    }

    #[test]
    fn odd_names_are_refused() {
        for bad in ["", "-a", "a b", "a/b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<MachineName>().is_err(), "{bad}");
        }
        assert!("x".repeat(63).parse::<MachineName>().is_ok());
    }
}
