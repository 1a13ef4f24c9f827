//! Sizes with units: memory and disks.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units that a size may carry. QEMU and the seed read `M` and `G` as binary units, and so do we.
const UNITS: [(&str, u32); 13] = [
    ("KiB", 10),
    ("MiB", 20),
    ("GiB", 30),
    ("TiB", 40),
    ("KB", 10),
    ("MB", 20),
    ("GB", 30),
    ("TB", 40),
    ("K", 10),
    ("M", 20),
    ("G", 30),
    ("T", 40),
    ("B", 0),
];

/// A number of bytes from text such as `4GiB`, `4096M` or, without a unit, a count of `bare` units
/// (a power of two).
fn parse_bytes(text: &str, bare: u32) -> Option<u64> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((lower.strip_suffix(&unit.to_ascii_lowercase())?, *shift)))
        .unwrap_or((&lower, bare));
    let digits = digits.trim_end();
    // `u64::from_str` takes a leading plus sign; nobody means it.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn display_bytes(bytes: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bytes {
        0 => f.write_str("0B"),
        n if n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
        n if n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
        n if n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
        n => write!(f, "{n}B"),
    }
}

/// The VM's memory, a whole number of MiB. Without a unit, text and numbers count MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    mib: u64,
}

impl MemorySize {
    /// Smallest memory that firmware starts in, in MiB.
    pub const MIN_MIB: u64 = 16;
    /// Largest memory accepted, in MiB: 16 TiB, far above any host.
    pub const MAX_MIB: u64 = 16 << 20;

    /// A memory of `mib` MiB.
    ///
    /// # Errors
    /// When it is outside [`Self::MIN_MIB`]..=[`Self::MAX_MIB`].
    pub fn from_mib(mib: u64) -> Result<Self, String> {
        if mib < Self::MIN_MIB {
            Err(format!(
                "{mib} MiB of memory is too little: at least {} MiB; is a unit missing? write for \
                 example `4GiB`",
                Self::MIN_MIB
            ))
        } else if mib > Self::MAX_MIB {
            Err(format!("{mib} MiB of memory is too much: at most {} TiB", Self::MAX_MIB >> 20))
        } else {
            Ok(Self { mib })
        }
    }

    /// The size in MiB.
    #[must_use]
    pub fn mib(self) -> u64 {
        self.mib
    }
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = parse_bytes(text, 20).ok_or_else(|| {
            format!("`{text}` is not a memory size; write MiB (`2048`) or a unit (`4GiB`, `4096M`)")
        })?;
        if bytes % (1 << 20) != 0 {
            return Err(format!("`{text}` is not a whole number of MiB"));
        }
        Self::from_mib(bytes >> 20)
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_bytes(self.mib << 20, f)
    }
}

/// A disk size in bytes. Without a unit, text counts bytes, as `qemu-img create` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize {
    bytes: u64,
}

impl ByteSize {
    /// The size in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match parse_bytes(text, 0) {
            None => Err(format!("`{text}` is not a disk size; write for example `20GiB` or `20G`")),
            Some(bytes) if bytes < 1 << 20 => Err(format!(
                "`{text}` is below 1 MiB; is a unit missing? write for example `20GiB`"
            )),
            Some(bytes) if bytes % 512 != 0 => {
                Err(format!("`{text}` is not a whole number of 512-byte sectors"))
            }
            Some(bytes) => Ok(Self { bytes }),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_bytes(self.bytes, f)
    }
}

/// Text with a unit, or a bare number, as both TOML types may be written for a memory size.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size such as \"4GiB\" or a number of MiB")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(mib) => Self::from_mib(mib),
            NumberOrText::Text(text) => text.parse(),
        }
        .map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for MemorySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for MemorySize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MemorySize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": Self::MIN_MIB,
            "maximum": Self::MAX_MIB,
            "pattern": "^\\s*[0-9]+\\s*([KkMmGgTt]([Ii]?[Bb])?|[Bb])?\\s*$",
            "examples": ["4GiB", "4096M", 2048],
        })
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^\\s*[0-9]+\\s*([KkMmGgTt]([Ii]?[Bb])?|[Bb])?\\s*$",
            "examples": ["20GiB", "512M"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_units() {
        let mib = |text: &str| text.parse::<MemorySize>().map(MemorySize::mib);
        assert_eq!(mib("2048"), Ok(2048));
        assert_eq!(mib("4GiB"), Ok(4096));
        assert_eq!(mib("4096M"), Ok(4096));
        assert_eq!(mib("1 GB"), Ok(1024));
        assert_eq!(mib("524288K"), Ok(512));
        for bad in [
            "abc",
            "",
            "-1",
            "+1024",
            "4Gi",
            "1.5G",
            "0",
            "8",
            "99999999999999999999T",
            "20000000G",
        ] {
            assert!(mib(bad).is_err(), "{bad}");
        }
        assert!(mib("1025K").unwrap_err().contains("whole number of MiB"));
        assert_eq!("4096".parse::<MemorySize>().unwrap().to_string(), "4GiB");
    }

    #[test]
    fn disk_units() {
        assert_eq!("20G".parse::<ByteSize>().unwrap().bytes(), 20 << 30);
        assert!("20".parse::<ByteSize>().unwrap_err().contains("unit missing"));
    }
}
