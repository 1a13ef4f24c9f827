//! RMCP header and ASF presence ping (v2.0 sections 13.1.3 and 13.2; ASF section 3.2).

use bytes::Buf;

use crate::wire::DecodeError;

/// RMCP version 1.0 (v2.0 table 13-8).
const VERSION: u8 = 0x06;
/// RMCP sequence number that asks for no RMCP acknowledgement; all that IPMI uses.
const NO_ACK: u8 = 0xFF;
/// Length of an RMCP header in bytes.
pub const HEADER_LEN: usize = 4;
/// The RMCP header of every IPMI datagram that we send.
pub const IPMI_HEADER: [u8; HEADER_LEN] = [VERSION, 0, NO_ACK, CLASS_IPMI];

const CLASS_ASF: u8 = 0x06;
const CLASS_IPMI: u8 = 0x07;
const ASF_IANA: u32 = 4542;
const ASF_PONG: u8 = 0x40;
const ASF_PING: u8 = 0x80;

/// What a datagram is by its RMCP class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// An IPMI datagram: the session header and all that follows.
    Ipmi(&'a [u8]),
    /// An ASF presence ping.
    Ping {
        /// Message tag, to be echoed.
        tag: u8,
    },
}

impl<'a> Datagram<'a> {
    /// Takes a UDP datagram apart.
    ///
    /// # Errors
    /// When it is not RMCP 1.0, not of a class that we serve, an RMCP acknowledgement, or short.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let version = bytes.try_get_u8()?;
        let _reserved = bytes.try_get_u8()?;
        let _sequence = bytes.try_get_u8()?;
        let class = bytes.try_get_u8()?;
        if version != VERSION {
            return Err(DecodeError::Unexpected("RMCP version"));
        }
        match class {
            CLASS_IPMI => Ok(Self::Ipmi(bytes)),
            CLASS_ASF => {
                let iana = bytes.try_get_u32()?;
                let message_type = bytes.try_get_u8()?;
                let tag = bytes.try_get_u8()?;
                if iana != ASF_IANA {
                    return Err(DecodeError::Unexpected("ASF enterprise number"));
                }
                if message_type != ASF_PING {
                    return Err(DecodeError::Unexpected("ASF message type"));
                }
                Ok(Self::Ping { tag })
            }
            _ => Err(DecodeError::Unexpected("RMCP class")),
        }
    }
}

/// The presence pong that answers a ping with `tag` (ASF section 3.2.4.3; v2.0 table 13-10).
#[must_use]
pub fn pong(tag: u8) -> [u8; 28] {
    let mut pong = [0; 28];
    pong[..4].copy_from_slice(&[VERSION, 0, NO_ACK, CLASS_ASF]);
    pong[4..8].copy_from_slice(&ASF_IANA.to_be_bytes());
    pong[8] = ASF_PONG;
    pong[9] = tag;
    pong[11] = 16;
    pong[12..16].copy_from_slice(&ASF_IANA.to_be_bytes());
    // Supported entities: IPMI (bit 7), ASF version 1.0.
    pong[20] = 0x81;
    pong
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn ping_of_ipmitool_is_answered_in_kind() {
        let ping = hex!("06 00 ff 06 00 00 11 be 80 2a 00 00");
        assert_eq!(Datagram::decode(&ping), Ok(Datagram::Ping { tag: 0x2A }));
        assert_eq!(
            pong(0x2A),
            hex!("0600ff06 000011be 40 2a 00 10 000011be 00000000 81 00 000000000000")
        );
    }

    #[test]
    fn a_pong_is_not_answered() {
        assert!(Datagram::decode(&pong(1)).is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let ping = hex!("06 00 ff 06 00 00 11 be 80 2a");
        for len in 0..ping.len() {
            assert_eq!(Datagram::decode(&ping[..len]), Err(DecodeError::Truncated), "{len}");
        }
    }
}
