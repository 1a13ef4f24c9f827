//! Passwords: never printed, never serialised, wiped when dropped.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// A password of 1–20 bytes (IPMI v2.0 section 22.30: at most 20 bytes).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why bytes cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing there.
    #[error("the password is empty; IPMI without a password is not offered")]
    Empty,
    /// More than 20 bytes; holds the length found.
    #[error("the password has {0} bytes; IPMI 2.0 passwords have at most 20")]
    TooLong(usize),
    /// A zero byte would end the password early in clients that pad with zeros.
    #[error("the password holds a zero byte, which IPMI clients take as its end")]
    ZeroByte,
}

impl Secret {
    /// Longest password in bytes.
    pub const MAX_LEN: usize = 20;

    /// Checks and keeps `bytes`.
    ///
    /// # Errors
    /// When the bytes cannot be an IPMI password.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let bytes = Zeroizing::new(bytes.into());
        match bytes.len() {
            0 => Err(SecretError::Empty),
            len if len > Self::MAX_LEN => Err(SecretError::TooLong(len)),
            _ if bytes.contains(&0) => Err(SecretError::ZeroByte),
            _ => Ok(Self(bytes)),
        }
    }

    /// The password's bytes, for key derivation only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<secret>")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 20, "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_shown() {
        let secret = Secret::new("hunter2").unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&secret).unwrap().contains("hunter2"));
    }

    #[test]
    fn length_limits() {
        assert_eq!(Secret::new(""), Err(SecretError::Empty));
        assert_eq!(Secret::new("x".repeat(21)), Err(SecretError::TooLong(21)));
        assert_eq!(Secret::new("a\0b"), Err(SecretError::ZeroByte));
        assert!(Secret::new("x".repeat(20)).is_ok());
    }
}
