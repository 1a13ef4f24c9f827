//! Session headers of IPMI 1.5 and 2.0, and the RMCP+ trailer (v2.0 section 13.6, tables 13-8 and
//! 13-9; section 13.28.4 for the trailer).
//!
//! A trailer is only cut off here; whether its AuthCode is right is `bmc::session`'s to say.

use bytes::{Buf, BufMut};

use crate::wire::DecodeError;
use crate::wire::code::{AuthType, PayloadType};
use crate::wire::rmcp::{self, HEADER_LEN};

/// Authentication Type/Format that marks RMCP+ (v2.0 table 13-9).
const FORMAT_RMCP_PLUS: u8 = 0x06;
const ENCRYPTED: u8 = 0x80;
const AUTHENTICATED: u8 = 0x40;
/// Next Header field of every RMCP+ trailer.
const NEXT_HEADER: u8 = 0x07;
/// Integrity pad byte.
const PAD: u8 = 0xFF;

/// A session header and the bytes it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPacket<'a> {
    /// IPMI 1.5 framing.
    V15(V15<'a>),
    /// IPMI 2.0 (RMCP+) framing.
    V20(V20<'a>),
}

/// An IPMI 1.5 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V15<'a> {
    /// Authentication type.
    pub auth_type: AuthType,
    /// Session sequence number.
    pub sequence: u32,
    /// Session ID, 0 outside a session.
    pub session_id: u32,
    /// The AuthCode, of every authentication type but "none".
    pub auth_code: Option<[u8; 16]>,
    /// The IPMI message.
    pub payload: &'a [u8],
}

/// An IPMI 2.0 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V20<'a> {
    /// Payload type without its two flag bits.
    pub payload_type: PayloadType,
    /// The payload is encrypted.
    pub encrypted: bool,
    /// A trailer with an AuthCode follows the payload.
    pub authenticated: bool,
    /// Session ID that the receiver chose; 0 outside a session.
    pub session_id: u32,
    /// Session sequence number.
    pub sequence: u32,
    /// The payload, still encrypted if `encrypted`.
    pub payload: &'a [u8],
    /// From the format byte on: all that is in the datagram behind the RMCP header. The AuthCode
    /// is its tail and covers what is before it.
    pub whole: &'a [u8],
    /// What follows the payload: integrity pad, pad length, next header, AuthCode; or nothing.
    pub trailer: &'a [u8],
}

impl<'a> SessionPacket<'a> {
    /// Reads the session header at the start of `whole` (the bytes behind the RMCP header).
    ///
    /// Bytes behind an IPMI 1.5 payload are ignored: a legacy pad byte is legal there.
    ///
    /// # Errors
    /// When it is short, or its format is neither 1.5 nor 2.0.
    pub fn decode(whole: &'a [u8]) -> Result<Self, DecodeError> {
        let mut bytes = whole;
        match bytes.try_get_u8()? {
            FORMAT_RMCP_PLUS => V20::decode(whole, bytes).map(Self::V20),
            auth_type => V15::decode(AuthType(auth_type), bytes).map(Self::V15),
        }
    }
}

impl<'a> V15<'a> {
    /// Longest payload in bytes: its length has one byte.
    pub const MAX_PAYLOAD: usize = 255;

    /// `payload` outside a session.
    #[must_use]
    pub fn outside_session(payload: &'a [u8]) -> Self {
        Self { auth_type: AuthType::NONE, sequence: 0, session_id: 0, auth_code: None, payload }
    }

    fn decode(auth_type: AuthType, mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let sequence = bytes.try_get_u32_le()?;
        let session_id = bytes.try_get_u32_le()?;
        let auth_code = match auth_type {
            AuthType::NONE => None,
            AuthType::MD2 | AuthType::MD5 | AuthType::PASSWORD => {
                let mut code = [0; 16];
                bytes.try_copy_to_slice(&mut code)?;
                Some(code)
            }
            _ => return Err(DecodeError::Unexpected("authentication type")),
        };
        let len = usize::from(bytes.try_get_u8()?);
        let payload = bytes.get(..len).ok_or(DecodeError::Truncated)?;
        Ok(Self { auth_type, sequence, session_id, auth_code, payload })
    }

    /// The datagram. [`Self::payload`] must have at most [`Self::MAX_PAYLOAD`] bytes; the rest is
    /// cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let len = self.payload.len().min(Self::MAX_PAYLOAD);
        let mut out = Vec::with_capacity(HEADER_LEN + 26 + len);
        out.put_slice(&rmcp::IPMI_HEADER);
        out.put_u8(self.auth_type.0);
        out.put_u32_le(self.sequence);
        out.put_u32_le(self.session_id);
        out.put_slice(self.auth_code.as_ref().map_or(&[], <[u8; 16]>::as_slice));
        #[allow(clippy::cast_possible_truncation, reason = "at most 255, see above")]
        out.put_u8(len as u8);
        out.put_slice(&self.payload[..len]);
        out
    }
}

impl<'a> V20<'a> {
    fn decode(whole: &'a [u8], mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let flags = bytes.try_get_u8()?;
        let payload_type = PayloadType(flags & !(ENCRYPTED | AUTHENTICATED));
        if payload_type == PayloadType::OEM_EXPLICIT {
            // Six bytes of OEM IANA and payload ID would follow; no such payload is served.
            return Err(DecodeError::Unexpected("OEM payload"));
        }
        let session_id = bytes.try_get_u32_le()?;
        let sequence = bytes.try_get_u32_le()?;
        let len = usize::from(bytes.try_get_u16_le()?);
        let (payload, trailer) = bytes.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        Ok(Self {
            payload_type,
            encrypted: flags & ENCRYPTED != 0,
            authenticated: flags & AUTHENTICATED != 0,
            session_id,
            sequence,
            payload,
            whole,
            trailer,
        })
    }

    /// Splits [`Self::whole`] into what an AuthCode of `code_len` bytes covers, and the code.
    ///
    /// # Errors
    /// When the trailer has not the form of section 13.28.4: pad, pad length, next header, code.
    pub fn split_auth_code(&self, code_len: usize) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
        let covered_trailer =
            self.trailer.len().checked_sub(code_len).ok_or(DecodeError::Truncated)?;
        let [pad @ .., pad_len, next_header] = &self.trailer[..covered_trailer] else {
            return Err(DecodeError::Truncated);
        };
        if *next_header != NEXT_HEADER {
            return Err(DecodeError::Unexpected("next header"));
        }
        // What the pad holds is the sender's business: the AuthCode covers it.
        if pad.len() != usize::from(*pad_len) {
            return Err(DecodeError::Unexpected("integrity pad"));
        }
        Ok(self.whole.split_at(self.whole.len() - code_len))
    }
}

/// Header of an IPMI 2.0 packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V20Header {
    /// Payload type.
    pub payload_type: PayloadType,
    /// The payload is encrypted.
    pub encrypted: bool,
    /// An AuthCode will be appended.
    pub authenticated: bool,
    /// Session ID that the receiver chose; 0 outside a session.
    pub session_id: u32,
    /// Session sequence number; 0 outside a session.
    pub sequence: u32,
}

impl V20Header {
    /// Appends RMCP and session header to `out`, for a payload of `payload_len` bytes.
    pub fn encode(&self, payload_len: u16, out: &mut Vec<u8>) {
        out.put_slice(&rmcp::IPMI_HEADER);
        out.put_u8(FORMAT_RMCP_PLUS);
        let encrypted = if self.encrypted { ENCRYPTED } else { 0 };
        let authenticated = if self.authenticated { AUTHENTICATED } else { 0 };
        out.put_u8(self.payload_type.0 | encrypted | authenticated);
        out.put_u32_le(self.session_id);
        out.put_u32_le(self.sequence);
        out.put_u16_le(payload_len);
    }
}

/// Appends integrity pad, pad length and next header to a datagram, so that the AuthCode of a
/// packet that starts behind the RMCP header covers a multiple of four bytes.
pub fn pad_trailer(datagram: &mut Vec<u8>) {
    let covered = datagram.len() - HEADER_LEN + 2;
    let pad_len = covered.wrapping_neg() % 4;
    datagram.extend(std::iter::repeat_n(PAD, pad_len));
    #[allow(clippy::cast_possible_truncation, reason = "below 4")]
    datagram.push(pad_len as u8);
    datagram.push(NEXT_HEADER);
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    /// Get Channel Authentication Capabilities as ipmitool 1.8.19 sends it.
    const AUTH_CAPS: [u8; 19] = hex!("00 00000000 00000000 09 20 18 c8 81 00 38 8e 04 b5");

    #[test]
    fn v15_packet_outside_a_session() {
        let packet = SessionPacket::decode(&AUTH_CAPS);
        let expected = V15::outside_session(&hex!("20 18 c8 81 00 38 8e 04 b5"));
        assert_eq!(packet, Ok(SessionPacket::V15(expected)));
        for len in 0..AUTH_CAPS.len() {
            assert_eq!(SessionPacket::decode(&AUTH_CAPS[..len]), Err(DecodeError::Truncated));
        }
        assert_eq!(expected.encode()[HEADER_LEN..], AUTH_CAPS);
    }

    #[test]
    fn v15_packet_with_an_auth_code() {
        let bytes = hex!("02 04030201 08070605 000102030405060708090a0b0c0d0e0f 02 aabb");
        let Ok(SessionPacket::V15(packet)) = SessionPacket::decode(&bytes) else {
            panic!("not an IPMI 1.5 packet");
        };
        assert_eq!((packet.sequence, packet.session_id), (0x0102_0304, 0x0506_0708));
        assert_eq!((packet.auth_type, packet.payload), (AuthType::MD5, &hex!("aabb")[..]));
        assert_eq!(packet.auth_code.unwrap()[15], 15);
        assert_eq!(packet.encode()[HEADER_LEN..], bytes);
        for len in 0..bytes.len() {
            assert_eq!(SessionPacket::decode(&bytes[..len]), Err(DecodeError::Truncated), "{len}");
        }
        for unknown in [0x03, 0x05, 0x07, 0xFF] {
            let mut bytes = bytes;
            bytes[0] = unknown;
            let error = Err(DecodeError::Unexpected("authentication type"));
            assert_eq!(SessionPacket::decode(&bytes), error, "{unknown}");
        }
        let longest = V15::outside_session(&[0; 300]).encode();
        assert_eq!(longest.len(), HEADER_LEN + 10 + V15::MAX_PAYLOAD);
    }

    #[test]
    fn v15_legacy_pad_is_ignored() {
        let mut padded = AUTH_CAPS.to_vec();
        padded.push(0);
        assert_eq!(SessionPacket::decode(&padded), SessionPacket::decode(&AUTH_CAPS));
    }

    #[test]
    fn v20_trailer_is_padded_to_four_and_split_again() {
        for payload_len in 0..9_u16 {
            let header = V20Header {
                payload_type: PayloadType::IPMI,
                encrypted: true,
                authenticated: true,
                session_id: 0x0403_0201,
                sequence: 7,
            };
            let mut datagram = Vec::new();
            header.encode(payload_len, &mut datagram);
            datagram.extend(std::iter::repeat_n(0xA5, usize::from(payload_len)));
            pad_trailer(&mut datagram);
            assert_eq!((datagram.len() - HEADER_LEN) % 4, 0);
            datagram.extend([0xC0; 12]);

            let Ok(SessionPacket::V20(packet)) = SessionPacket::decode(&datagram[HEADER_LEN..])
            else {
                panic!("not an RMCP+ packet");
            };
            assert!(packet.encrypted && packet.authenticated);
            assert_eq!((packet.session_id, packet.sequence), (0x0403_0201, 7));
            assert_eq!(packet.payload.len(), usize::from(payload_len));
            let (covered, code) = packet.split_auth_code(12).unwrap();
            assert_eq!(code, [0xC0; 12]);
            assert_eq!(covered.len(), datagram.len() - HEADER_LEN - 12);
            assert!(packet.split_auth_code(16).is_err());
        }
    }

    #[test]
    fn v20_trailer_in_a_wrong_form_is_refused() {
        let packet = |trailer: &[u8]| {
            let mut whole = hex!("06 40 01000000 01000000 0100 ee").to_vec();
            whole.extend_from_slice(trailer);
            let Ok(SessionPacket::V20(packet)) = SessionPacket::decode(&whole) else {
                panic!("not an RMCP+ packet");
            };
            packet.split_auth_code(2).map(|(covered, _)| covered.len())
        };
        assert_eq!(packet(&hex!("ff 01 07 c0c0")), Ok(16));
        assert_eq!(packet(&hex!("ff 01 08 c0c0")), Err(DecodeError::Unexpected("next header")));
        assert_eq!(packet(&hex!("00 01 07 c0c0")), Ok(16));
        assert_eq!(packet(&hex!("ff 02 07 c0c0")), Err(DecodeError::Unexpected("integrity pad")));
        assert_eq!(packet(&hex!("07 c0c0")), Err(DecodeError::Truncated));
        assert_eq!(packet(&hex!("c0")), Err(DecodeError::Truncated));
    }
}
