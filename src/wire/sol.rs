//! The SOL payload (v2.0 section 15.9, tables 15-2 and 15-3): four header bytes, then characters.
//!
//! The fourth byte is *operation* from console to BMC and *status* from BMC to console; the two
//! directions are two types.

use bytes::Buf;

use crate::wire::DecodeError;

/// Length of the SOL header in bytes.
pub const HEADER_LEN: usize = 4;

/// Operation bits of a packet from the console (v2.0 table 15-2, byte 4).
pub mod operation {
    /// The packet is a NACK (with an acknowledged sequence number).
    pub const NACK: u8 = 0x40;
    /// Assert ring indicator (with NACK clear).
    pub const RING: u8 = 0x20;
    /// Generate a serial break.
    pub const BREAK: u8 = 0x10;
    /// Deassert CTS: pause the baseboard.
    pub const CTS_PAUSE: u8 = 0x08;
    /// Deassert DCD and DSR.
    pub const DROP_DCD_DSR: u8 = 0x04;
    /// Drop what the BMC holds from the console.
    pub const FLUSH_INBOUND: u8 = 0x02;
    /// Drop what the BMC holds for the console.
    pub const FLUSH_OUTBOUND: u8 = 0x01;
    /// The bits in words, from bit 0 on.
    pub const NAMES: [&str; 8] = [
        "flush outbound",
        "flush inbound",
        "drop DCD and DSR",
        "CTS pause",
        "break",
        "ring",
        "NACK",
        "",
    ];
}

/// Status bits of a packet from the BMC (v2.0 table 15-3, byte 4).
pub mod status {
    /// The packet is a NACK.
    pub const NACK: u8 = 0x40;
    /// Character transfer is unavailable: the system is off or reset.
    pub const TRANSFER_UNAVAILABLE: u8 = 0x20;
    /// SOL is or will be deactivated.
    pub const DEACTIVATING: u8 = 0x10;
    /// Characters were lost before this packet: transmit overrun.
    pub const TRANSMIT_OVERRUN: u8 = 0x08;
    /// The baseboard sent a break.
    pub const BREAK_DETECTED: u8 = 0x04;
    /// The bits in words, from bit 0 on.
    pub const NAMES: [&str; 8] = [
        "",
        "",
        "break detected",
        "transmit overrun",
        "deactivating",
        "transfer unavailable",
        "NACK",
        "",
    ];
}

/// A packet from the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbound<'a> {
    /// Packet sequence number, 1–15; 0: only acknowledges or operates.
    pub sequence: u8,
    /// Sequence number that is acknowledged, 0: none.
    pub ack: u8,
    /// Count of characters accepted of the acknowledged packet.
    pub accepted: u8,
    /// Bits of [`operation`].
    pub operation: u8,
    /// Characters for the serial port.
    pub data: &'a [u8],
}

impl<'a> Inbound<'a> {
    /// Reads the payload.
    ///
    /// # Errors
    /// When the header is not complete.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let sequence = bytes.try_get_u8()? & 0x0F;
        let ack = bytes.try_get_u8()? & 0x0F;
        let accepted = bytes.try_get_u8()?;
        let operation = bytes.try_get_u8()?;
        Ok(Self { sequence, ack, accepted, operation, data: bytes })
    }
}

/// The header of a packet to the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundHeader {
    /// Packet sequence number, 1–15; 0: only acknowledges or tells status.
    pub sequence: u8,
    /// Sequence number that is acknowledged, 0: none.
    pub ack: u8,
    /// Count of characters accepted of the acknowledged packet.
    pub accepted: u8,
    /// Bits of [`status`].
    pub status: u8,
}

impl OutboundHeader {
    /// The header's bytes; characters follow.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_LEN] {
        [self.sequence & 0x0F, self.ack & 0x0F, self.accepted, self.status]
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn key_stroke_and_acknowledgement() {
        let bytes = hex!("03 00 00 00 6c 73 0d");
        let packet = Inbound::decode(&bytes).unwrap();
        assert_eq!((packet.sequence, packet.ack, packet.data), (3, 0, &b"ls\r"[..]));
        let bytes = hex!("00 07 20 00");
        let packet = Inbound::decode(&bytes).unwrap();
        assert_eq!((packet.sequence, packet.ack, packet.accepted), (0, 7, 32));
        for len in 0..HEADER_LEN {
            assert_eq!(Inbound::decode(&bytes[..len]), Err(DecodeError::Truncated));
        }
        let header = OutboundHeader { sequence: 0, ack: 3, accepted: 3, status: 0 };
        assert_eq!(header.encode(), hex!("00 03 03 00"));
    }
}
