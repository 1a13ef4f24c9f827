//! K_G, the key that a BMC can demand beside the user's password.

use std::fmt;

use zeroize::Zeroizing;

/// K_G, 20 bytes (IPMI v2.0 section 13.33). Never printed; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct BmcKey(Zeroizing<[u8; Self::LEN]>);

/// Why bytes cannot be K_G.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BmcKeyError {
    /// Nothing there.
    #[error("the key is empty")]
    Empty,
    /// More than 20 bytes of text; holds the length found.
    #[error("the key has {0} bytes; K_G has 20, as text or as `0x` and 40 hexadecimal digits")]
    TooLong(usize),
    /// Begins with `0x`, and what follows are not 40 hexadecimal digits.
    #[error("the key begins with 0x, and what follows is not 40 hexadecimal digits")]
    NotHex,
    /// All bytes are zero, which clients take for "no key".
    #[error("the key is all zeros, which means that there is none")]
    Zero,
}

impl BmcKey {
    /// Length in bytes.
    pub const LEN: usize = 20;

    /// The key itself. All zeros are a key here: "none".
    #[must_use]
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a key as people write it: at most 20 bytes of text, which are padded with zeros as
    /// clients do, or `0x` and 40 hexadecimal digits.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &[u8]) -> Result<Self, BmcKeyError> {
        let mut key = Zeroizing::new([0; Self::LEN]);
        if let Some(digits) = text.strip_prefix(b"0x") {
            if digits.len() != 2 * Self::LEN {
                return Err(BmcKeyError::NotHex);
            }
            for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
                let pair = std::str::from_utf8(pair).map_err(|_| BmcKeyError::NotHex)?;
                let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
                let value = u8::from_str_radix(pair, 16).ok().filter(|_| is_hex);
                *byte = value.ok_or(BmcKeyError::NotHex)?;
            }
        } else if text.is_empty() {
            return Err(BmcKeyError::Empty);
        } else {
            let start = key.get_mut(..text.len()).ok_or(BmcKeyError::TooLong(text.len()))?;
            start.copy_from_slice(text);
        }
        let key = Self(key);
        if key.is_set() { Ok(key) } else { Err(BmcKeyError::Zero) }
    }

    /// It is a key, and not "none".
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.iter().any(|byte| *byte != 0)
    }

    /// The key's bytes, for key derivation and for the state directory only.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for BmcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_hexadecimal() {
        let text = BmcKey::parse(b"01234567890123456789").unwrap();
        assert_eq!(text.expose(), b"01234567890123456789");
        let hex = BmcKey::parse(b"0x3031323334353637383930313233343536373839").unwrap();
        assert_eq!(text, hex);
        assert_eq!(
            BmcKey::parse(b"short").unwrap().expose(),
            b"short\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
        assert!(!format!("{hex:?}").contains("30"));
    }

    #[test]
    fn what_is_no_key() {
        assert_eq!(BmcKey::parse(b""), Err(BmcKeyError::Empty));
        assert_eq!(BmcKey::parse(&[b'x'; 21]), Err(BmcKeyError::TooLong(21)));
        assert_eq!(BmcKey::parse(b"0x00"), Err(BmcKeyError::NotHex));
        for digit in ["g", "+", " "] {
            let text = format!("0x{}{digit}", "0".repeat(39));
            assert_eq!(BmcKey::parse(text.as_bytes()), Err(BmcKeyError::NotHex));
            let text = format!("0x{digit}{}", "0".repeat(39));
            assert_eq!(BmcKey::parse(text.as_bytes()), Err(BmcKeyError::NotHex));
        }
        let zeros = format!("0x{}", "0".repeat(40));
        assert_eq!(BmcKey::parse(zeros.as_bytes()), Err(BmcKeyError::Zero));
    }
}
