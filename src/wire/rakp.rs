//! RMCP+ session set-up: Open Session and RAKP Messages 1–4 (v2.0 sections 13.17–13.24).
//!
//! Requests that name a session carry what is needed to answer them with a status; key exchange
//! codes are opaque here.

use bytes::{Buf, BufMut};

use crate::wire::DecodeError;
use crate::wire::code::{Authentication, Confidentiality, Integrity, Privilege, RakpStatus};

/// Role byte flag: look the user up by name only (v2.0 table 13-11, byte 25 bit 4).
const NAME_ONLY: u8 = 0x10;

/// The three algorithms that a client proposes. `None`: a payload of length 0, "you choose".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Authentication algorithm.
    pub authentication: Option<Authentication>,
    /// Integrity algorithm.
    pub integrity: Option<Integrity>,
    /// Confidentiality algorithm.
    pub confidentiality: Option<Confidentiality>,
}

/// RMCP+ Open Session Request (v2.0 table 13-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSessionRequest {
    /// Message tag, echoed.
    pub tag: u8,
    /// Requested maximum privilege; 0 asks for the highest.
    pub privilege: u8,
    /// Remote Console Session ID.
    pub console_session_id: u32,
    /// What the console wants to use; `None` if an algorithm payload has a wrong type or length.
    pub proposal: Option<Proposal>,
}

impl OpenSessionRequest {
    /// Length of the payload.
    pub const LEN: usize = 32;

    /// Reads the payload.
    ///
    /// # Errors
    /// When it is short. A malformed algorithm payload is no error here: it has its own status.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let tag = bytes.try_get_u8()?;
        let privilege = bytes.try_get_u8()? & 0x0F;
        let _reserved = bytes.try_get_u16()?;
        let console_session_id = bytes.try_get_u32_le()?;
        let authentication = algorithm(&mut bytes, 0)?;
        let integrity = algorithm(&mut bytes, 1)?;
        let confidentiality = algorithm(&mut bytes, 2)?;
        let proposal = match (authentication, integrity, confidentiality) {
            (Ok(authentication), Ok(integrity), Ok(confidentiality)) => Some(Proposal {
                authentication: authentication.map(Authentication),
                integrity: integrity.map(Integrity),
                confidentiality: confidentiality.map(Confidentiality),
            }),
            _ => None,
        };
        Ok(Self { tag, privilege, console_session_id, proposal })
    }
}

/// An algorithm payload has a wrong type or length.
struct Malformed;

/// Reads one algorithm payload: type, two reserved bytes, length, algorithm, three reserved.
fn algorithm(
    bytes: &mut &[u8],
    payload_type: u8,
) -> Result<Result<Option<u8>, Malformed>, DecodeError> {
    let is_right_type = bytes.try_get_u8()? == payload_type;
    let _reserved = bytes.try_get_u16()?;
    let len = bytes.try_get_u8()?;
    let algorithm = bytes.try_get_u8()? & 0x3F;
    let mut reserved = [0; 3];
    bytes.try_copy_to_slice(&mut reserved)?;
    Ok(match len {
        0 if is_right_type => Ok(None),
        8 if is_right_type => Ok(Some(algorithm)),
        _ => Err(Malformed),
    })
}

/// The accepting RMCP+ Open Session Response (v2.0 table 13-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSessionResponse {
    /// The request's tag.
    pub tag: u8,
    /// Highest privilege that the session can have; never 0.
    pub privilege: Privilege,
    /// The request's console session ID.
    pub console_session_id: u32,
    /// Managed System Session ID, chosen by us.
    pub managed_session_id: u32,
    /// Chosen authentication algorithm.
    pub authentication: Authentication,
    /// Chosen integrity algorithm.
    pub integrity: Integrity,
    /// Chosen confidentiality algorithm.
    pub confidentiality: Confidentiality,
}

impl OpenSessionResponse {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(36);
        out.put_slice(&[self.tag, RakpStatus::OK.0, self.privilege.0, 0]);
        out.put_u32_le(self.console_session_id);
        out.put_u32_le(self.managed_session_id);
        let algorithms = [self.authentication.0, self.integrity.0, self.confidentiality.0];
        for (payload_type, algorithm) in (0_u8..).zip(algorithms) {
            out.put_slice(&[payload_type, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        out
    }
}

/// RAKP Message 1 (v2.0 table 13-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rakp1<'a> {
    /// Message tag, echoed.
    pub tag: u8,
    /// Managed System Session ID.
    pub managed_session_id: u32,
    /// Remote Console Random Number.
    pub console_random: [u8; 16],
    /// The role byte as sent; it goes into every key exchange code.
    pub role: u8,
    /// User name length as sent; may be out of range, then `name` is empty.
    pub name_len: u8,
    /// User name, at most 16 bytes.
    pub name: &'a [u8],
}

impl<'a> Rakp1<'a> {
    /// Longest user name in bytes.
    pub const MAX_NAME_LEN: u8 = 16;

    /// Reads the payload.
    ///
    /// # Errors
    /// When it is short. A name length out of range is no error here: it has its own status.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let tag = bytes.try_get_u8()?;
        let _reserved = bytes.try_get_uint(3)?;
        let managed_session_id = bytes.try_get_u32_le()?;
        let mut console_random = [0; 16];
        bytes.try_copy_to_slice(&mut console_random)?;
        let role = bytes.try_get_u8()?;
        let _reserved = bytes.try_get_u16()?;
        let name_len = bytes.try_get_u8()?;
        let name = if name_len > Self::MAX_NAME_LEN {
            &[]
        } else {
            bytes.get(..usize::from(name_len)).ok_or(DecodeError::Truncated)?
        };
        Ok(Self { tag, managed_session_id, console_random, role, name_len, name })
    }

    /// Requested maximum privilege; 0 asks for the highest.
    #[must_use]
    pub fn privilege(&self) -> u8 {
        self.role & 0x0F
    }

    /// The user is to be looked up by name alone; otherwise by name and privilege.
    #[must_use]
    pub fn name_only(&self) -> bool {
        self.role & NAME_ONLY != 0
    }
}

/// RAKP Message 3 (v2.0 table 13-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rakp3<'a> {
    /// Message tag, echoed.
    pub tag: u8,
    /// What the console thinks of RAKP Message 2.
    pub status: RakpStatus,
    /// Managed System Session ID.
    pub managed_session_id: u32,
    /// Key exchange authentication code; empty if `status` is not OK.
    pub auth_code: &'a [u8],
}

impl<'a> Rakp3<'a> {
    /// Reads the payload.
    ///
    /// # Errors
    /// When it is short.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let tag = bytes.try_get_u8()?;
        let status = RakpStatus(bytes.try_get_u8()?);
        let _reserved = bytes.try_get_u16()?;
        let managed_session_id = bytes.try_get_u32_le()?;
        Ok(Self { tag, status, managed_session_id, auth_code: bytes })
    }
}

/// RAKP Message 2 that accepts (v2.0 table 13-12).
#[must_use]
pub fn rakp2(
    tag: u8,
    console_session_id: u32,
    managed_random: &[u8; 16],
    guid: &[u8; 16],
    auth_code: &[u8],
) -> Vec<u8> {
    let mut out = refusal(tag, RakpStatus::OK, console_session_id);
    out.put_slice(managed_random);
    out.put_slice(guid);
    out.put_slice(auth_code);
    out
}

/// RAKP Message 4 that accepts (v2.0 table 13-14).
#[must_use]
pub fn rakp4(tag: u8, console_session_id: u32, integrity_check_value: &[u8]) -> Vec<u8> {
    let mut out = refusal(tag, RakpStatus::OK, console_session_id);
    out.put_slice(integrity_check_value);
    out
}

/// The eight bytes that every answer in the set-up begins with, and which are all of a refusal:
/// an Open Session Response, RAKP Message 2 or RAKP Message 4 with a status other than OK.
#[must_use]
pub fn refusal(tag: u8, status: RakpStatus, console_session_id: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    out.put_slice(&[tag, status.0, 0, 0]);
    out.put_u32_le(console_session_id);
    out
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    /// Open Session Request of ipmitool 1.8.19 for suite 3.
    const OPEN: [u8; 32] =
        hex!("00 00 0000 a4a3a2a0 00 0000 08 01 000000 01 0000 08 01 000000 02 0000 08 01 000000");

    #[test]
    fn open_session_request() {
        let request = OpenSessionRequest::decode(&OPEN).unwrap();
        assert_eq!((request.tag, request.privilege), (0, 0));
        assert_eq!(request.console_session_id, 0xA0A2_A3A4);
        assert_eq!(
            request.proposal,
            Some(Proposal {
                authentication: Some(Authentication::HMAC_SHA1),
                integrity: Some(Integrity::HMAC_SHA1_96),
                confidentiality: Some(Confidentiality::AES_CBC_128),
            })
        );
        for len in 0..OPEN.len() {
            assert_eq!(OpenSessionRequest::decode(&OPEN[..len]), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn empty_algorithm_payload_leaves_the_choice() {
        let mut bytes = OPEN;
        bytes[11] = 0;
        let proposal = OpenSessionRequest::decode(&bytes).unwrap().proposal;
        assert_eq!(proposal.unwrap().authentication, None);
        for (index, value) in [(8, 3), (11, 7), (16, 0), (27, 9)] {
            let mut bytes = OPEN;
            bytes[index] = value;
            let request = OpenSessionRequest::decode(&bytes).unwrap();
            assert_eq!((request.console_session_id, request.proposal), (0xA0A2_A3A4, None));
        }
    }

    #[test]
    fn open_session_response_has_all_lengths_filled_in() {
        let response = OpenSessionResponse {
            tag: 9,
            privilege: Privilege::ADMINISTRATOR,
            console_session_id: 0xA0A2_A3A4,
            managed_session_id: 0x0102_0304,
            authentication: Authentication::HMAC_SHA256,
            integrity: Integrity::HMAC_SHA256_128,
            confidentiality: Confidentiality::AES_CBC_128,
        };
        assert_eq!(
            response.encode(),
            hex!(
                "09 00 04 00 a4a3a2a0 04030201"
                "00 0000 08 03 000000 01 0000 08 04 000000 02 0000 08 01 000000"
            )
        );
    }

    #[test]
    fn rakp1_with_names_of_any_length() {
        let mut bytes = hex!("05 000000 04030201").to_vec();
        bytes.extend([0xA5; 16]);
        bytes.extend(hex!("14 0000 05"));
        bytes.extend(b"admin");
        let message = Rakp1::decode(&bytes).unwrap();
        assert_eq!(message.managed_session_id, 0x0102_0304);
        assert_eq!((message.name, message.privilege()), (&b"admin"[..], 4));
        assert!(message.name_only());
        for len in 0..bytes.len() {
            assert_eq!(Rakp1::decode(&bytes[..len]), Err(DecodeError::Truncated));
        }
        bytes[27] = 17;
        let message = Rakp1::decode(&bytes).unwrap();
        assert_eq!((message.name_len, message.name), (17, &b""[..]));
    }

    #[test]
    fn rakp3_and_refusal() {
        let bytes = hex!("05 0f 0000 04030201");
        let message = Rakp3::decode(&bytes).unwrap();
        assert_eq!(message.status, RakpStatus::INVALID_INTEGRITY_CHECK_VALUE);
        assert!(message.auth_code.is_empty());
        assert_eq!(
            refusal(5, RakpStatus::UNAUTHORIZED_NAME, 0x0102_0304),
            hex!("05 0d 0000 04030201")
        );
    }
}
