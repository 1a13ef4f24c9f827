//! Packets in words, for the log.
//!
//! What may be secret stays out: passwords, keys, and the characters of the console.

use std::fmt::{self, Display, Formatter};

use crate::machine::boot::{BootTarget, Lifetime, Override};
use crate::value::BootDevice;

/// Bytes in hexadecimal, as `ipmitool raw` prints them.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Set bits of a byte, by name from bit 0 on; a bit without a name has none.
pub(super) struct Bits<'a>(pub(super) u8, pub(super) [&'a str; 8]);

impl Display for Bits<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = self.1.iter().enumerate().filter(|(bit, _)| self.0 & 1 << bit != 0);
        let names: Vec<&str> = names.map(|(_, name)| *name).filter(|n| !n.is_empty()).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

/// A boot override.
pub(super) fn override_words(boot: Override) -> String {
    let target = match boot.target {
        BootTarget::Device(BootDevice::Disk) => "disk",
        BootTarget::Device(BootDevice::Cdrom) => "CD-ROM",
        BootTarget::Device(BootDevice::Network) => "network",
        BootTarget::Setup => "firmware set-up",
        BootTarget::Default => "the profile's boot order",
    };
    let lifetime = match boot.lifetime {
        Lifetime::Once => "once",
        Lifetime::Always => "always",
    };
    format!("{target}, {lifetime}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(Hex(&[]).to_string(), "");
        assert_eq!(Hex(&[0x0A, 0xFF]).to_string(), "0a ff");
        let names = ["flush", "", "", "", "break", "", "", "nack"];
        assert_eq!(Bits(0x91, names).to_string(), "flush, break, nack");
        assert_eq!(Bits(0x02, names).to_string(), "none");
    }
}
