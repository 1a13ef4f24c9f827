//! Names of network interfaces.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest, Sha256};

/// A name that the kernel takes for a network interface: 1 to 15 bytes without a slash, a colon or a
/// space; nor with a percent sign, at which the kernel puts a number, nor with a semicolon, which is a
/// mistake for a comma.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Longest name in bytes (`IFNAMSIZ` less the final zero).
    pub const MAX_LEN: usize = 15;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for a device of ours that belongs to this interface: `prefix`, which has at most 7
    /// bytes, and the name, or a hash of it where that would be too long.
    #[must_use]
    pub fn companion(&self, prefix: &str) -> String {
        let name = format!("{prefix}{}", self.0);
        if name.len() <= Self::MAX_LEN {
            return name;
        }
        let [a, b, c, d, ..] = Sha256::digest(&self.0).0;
        format!("{prefix}{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl FromStr for InterfaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let odd = |c: char| "/:%;".contains(c) || c.is_whitespace() || c.is_control();
        if text.is_empty() || text == "." || text == ".." || text.contains(odd) {
            Err(format!("`{text}` is not the name of an interface, such as eth2"))
        } else if text.len() > Self::MAX_LEN {
            let max = Self::MAX_LEN;
            Err(format!("`{text}` has {} bytes; an interface's name has at most {max}", text.len()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InterfaceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for InterfaceName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "InterfaceName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": Self::MAX_LEN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_companions() {
        let name: InterfaceName = "eth2".parse().unwrap();
        assert_eq!(name.companion("qbt-"), "qbt-eth2");
        let long: InterfaceName = "a-long-one-0002".parse().unwrap();
        let companion = long.companion("qbt-");
        assert_eq!((companion.len(), &companion[..4]), (12, "qbt-"));
        for wrong in ["", "..", "a b", "eth2:1", "a/b", "sixteen-bytes-xx"] {
            assert!(wrong.parse::<InterfaceName>().is_err(), "{wrong}");
        }
    }
}
