//! IPMI, RMCP and ASF bytes to values and back. No state, no keys, no clock.
//!
//! **Panic contract of the layer:** every `decode` takes any bytes and answers a value or a
//! [`DecodeError`]; every `encode` of a value that a caller can build succeeds. Values that a
//! client may invent (codes, reserved bits) are kept as open sets, see [`code`].
//!
//! "v2.0" in section numbers is *IPMI v2.0 rev. 1.1*; "ASF" is *Alert Standard Format v2.0*.

pub mod code;
pub mod message;
pub mod rakp;
pub mod rmcp;
pub mod session;
pub mod sol;
pub mod vm;

/// Why bytes are not the thing they should be. The datagram is dropped; the reason is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the fixed part or a length field calls for.
    #[error("truncated")]
    Truncated,
    /// A field that must have one value has another one; names the field.
    #[error("unexpected {0}")]
    Unexpected(&'static str),
    /// A checksum of the LAN message does not add up.
    #[error("bad checksum")]
    Checksum,
}

impl From<bytes::TryGetError> for DecodeError {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Truncated
    }
}
