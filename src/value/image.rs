//! Disk images: their formats and their fingerprints.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Format of a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// The bytes of the disk, one after the other.
    Raw,
    /// QEMU's.
    Qcow2,
    /// VMware's.
    Vmdk,
    /// Hyper-V's.
    Vhdx,
    /// VirtualBox's.
    Vdi,
}

impl ImageFormat {
    /// How many bytes of an image [`Self::of`] wants to see.
    pub const PROBE_LEN: usize = 68;

    /// The format of an image that starts with `head`, by its magic number; raw if it has none that
    /// we know.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(b"QFI\xfb") {
            Self::Qcow2
        } else if head.starts_with(b"KDMV") {
            Self::Vmdk
        } else if head.starts_with(b"vhdxfile") {
            Self::Vhdx
        } else if head.get(64..68) == Some(&[0x7f, 0x10, 0xda, 0xbe]) {
            Self::Vdi
        } else {
            Self::Raw
        }
    }

    /// QEMU's name of the format.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
        }
    }
}

/// A SHA-256 of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha256Sum([u8; 32]);

impl From<[u8; 32]> for Sha256Sum {
    fn from(sum: [u8; 32]) -> Self {
        Self(sum)
    }
}

impl FromStr for Sha256Sum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut sum = [0; 32];
        let digits = text.as_bytes();
        let mut legal = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
        for (byte, pair) in sum.iter_mut().zip(digits.chunks(2)) {
            match std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
            {
                Some(value) => *byte = value,
                None => legal = false,
            }
        }
        if legal {
            Ok(Self(sum))
        } else {
            Err(format!(
                "`{text}` is not a SHA-256: 64 hexadecimal digits, as `sha256sum` prints them"
            ))
        }
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Sha256Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Sha256Sum {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sha256Sum".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_magic() {
        assert_eq!(ImageFormat::of(b"QFI\xfb\0\0\0\x03"), ImageFormat::Qcow2);
        assert_eq!(ImageFormat::of(b""), ImageFormat::Raw);
        let mut vdi = [0; 68];
        vdi[64..].copy_from_slice(&[0x7f, 0x10, 0xda, 0xbe]);
        assert_eq!(ImageFormat::of(&vdi), ImageFormat::Vdi);
    }

    #[test]
    fn sums_are_64_digits() {
        let text = "E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(text.parse::<Sha256Sum>().unwrap().to_string(), text.to_lowercase());
        for bad in ["", "e3b0", &text.replace('E', "g"), &format!("{text}00"), &"ü".repeat(32)] {
            assert!(bad.parse::<Sha256Sum>().is_err(), "{bad}");
        }
    }
}
