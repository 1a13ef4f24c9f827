//! The IPMI LAN message: addresses, NetFn, sequence, command, two checksums (v2.0 section 13.8).

use bytes::Buf;

use crate::wire::DecodeError;
use crate::wire::code::{CompletionCode, NetFn};

/// A request as it stands in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Responder's address: 20h for a BMC.
    pub responder: u8,
    /// Network function, always even.
    pub net_fn: NetFn,
    /// Responder's LUN.
    pub lun: u8,
    /// Requester's address or software ID: 81h for remote console software.
    pub requester: u8,
    /// Requester's sequence number (upper six bits) and LUN, to be echoed as they are.
    pub sequence_lun: u8,
    /// Command number.
    pub command: u8,
    /// Request data.
    pub data: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// When it is short, a checksum is wrong, or it is a response (odd NetFn).
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (head, tail) = bytes.split_at_checked(3).ok_or(DecodeError::Truncated)?;
        let [body @ .., body_checksum] = tail else {
            return Err(DecodeError::Truncated);
        };
        let [responder, net_fn_lun, head_checksum] = *head else {
            return Err(DecodeError::Truncated);
        };
        let mut data = body;
        let requester = data.try_get_u8()?;
        let sequence_lun = data.try_get_u8()?;
        let command = data.try_get_u8()?;
        if checksum(&head[..2]) != head_checksum || checksum(body) != *body_checksum {
            return Err(DecodeError::Checksum);
        }
        let net_fn = NetFn(net_fn_lun >> 2);
        if net_fn.0 & 1 != 0 {
            return Err(DecodeError::Unexpected("response"));
        }
        Ok(Self { responder, net_fn, lun: net_fn_lun & 3, requester, sequence_lun, command, data })
    }

    /// The response to this request, ready to be a payload.
    #[must_use]
    pub fn respond(&self, code: CompletionCode, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + data.len());
        self.write_response(code, data, &mut out);
        out
    }

    /// Writes that response into `out`, in place of what is there.
    pub fn write_response(&self, code: CompletionCode, data: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend([self.requester, (self.net_fn.0 | 1) << 2 | self.sequence_lun & 3]);
        out.push(checksum(out));
        // The response carries the LUN that was addressed beside the requester's sequence number.
        out.extend([self.responder, self.sequence_lun & !3 | self.lun, self.command, code.0]);
        out.extend_from_slice(data);
        out.push(checksum(&out[3..]));
    }
}

/// Two's complement checksum: the sum over `bytes` and it is zero modulo 256.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    /// Get Channel Authentication Capabilities as ipmitool 1.8.19 sends it.
    const AUTH_CAPS: [u8; 9] = hex!("20 18 c8 81 00 38 8e 04 b5");

    #[test]
    fn request_of_ipmitool() {
        let request = Request::decode(&AUTH_CAPS).unwrap();
        assert_eq!(
            request,
            Request {
                responder: 0x20,
                net_fn: NetFn::APP,
                lun: 0,
                requester: 0x81,
                sequence_lun: 0,
                command: 0x38,
                data: &[0x8E, 0x04],
            }
        );
        assert_eq!(
            request.respond(CompletionCode::OK, &[0xAA]),
            hex!("81 1c 63 20 00 38 00 aa fe")
        );
    }

    #[test]
    fn sequence_number_and_luns_are_echoed() {
        // rsLUN 2, rqSeq 0x15, rqLUN 1.
        let mut bytes = vec![0x20, 0x18 | 2];
        bytes.push(checksum(&bytes));
        bytes.extend([0x81, 0x15 << 2 | 1, 0x01]);
        bytes.push(checksum(&bytes[3..]));
        let response = Request::decode(&bytes).unwrap().respond(CompletionCode::OK, &[]);
        assert_eq!(response[1], 0x1C | 1, "addressed to the requester's LUN");
        assert_eq!(response[4], 0x15 << 2 | 2, "from the LUN that was addressed");
        assert_eq!(checksum(&response[..3]), 0);
        assert_eq!(checksum(&response[3..]), 0);
    }

    #[test]
    fn damage_is_noticed() {
        for len in 0..AUTH_CAPS.len() {
            assert!(Request::decode(&AUTH_CAPS[..len]).is_err(), "{len}");
        }
        for index in 0..AUTH_CAPS.len() {
            let mut bytes = AUTH_CAPS;
            bytes[index] ^= 0x10;
            assert_eq!(Request::decode(&bytes), Err(DecodeError::Checksum), "{index}");
        }
        let mut response = AUTH_CAPS;
        response[1] += 4;
        response[2] -= 4;
        assert_eq!(Request::decode(&response), Err(DecodeError::Unexpected("response")));
    }
}
