//! Cipher suites 3 and 17: key exchange codes, session keys, AuthCodes, AES-CBC (v2.0 sections
//! 13.28–13.32).
//!
//! Names follow section 13.31: M is the remote console, C the managed system.

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::wire::code::{Authentication, Confidentiality, Integrity};
use crate::wire::rakp::Proposal;

/// Length of an AES block, and of the initialization vector before each encrypted payload.
const BLOCK_LEN: usize = 16;
/// Length of the constants that K1 and K2 are made from: 20 bytes for SHA-256 as well, which is
/// what ipmitool, FreeIPMI, pyghmi and OpenBMC do.
const CONSTANT_LEN: usize = 20;

/// A cipher suite (v2.0 table 22-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CipherSuite {
    /// Its number.
    pub(super) id: u8,
    /// Authentication algorithm.
    pub(super) authentication: Authentication,
    /// Integrity algorithm.
    pub(super) integrity: Integrity,
    /// Confidentiality algorithm.
    pub(super) confidentiality: Confidentiality,
    hash: Hash,
    /// Length of an AuthCode in a packet, and of the check value in RAKP Message 4.
    pub(super) auth_code_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
}

/// The suites that we know, by number.
pub(super) const SUITES: [CipherSuite; 2] = [
    CipherSuite {
        id: 3,
        authentication: Authentication::HMAC_SHA1,
        integrity: Integrity::HMAC_SHA1_96,
        confidentiality: Confidentiality::AES_CBC_128,
        hash: Hash::Sha1,
        auth_code_len: 12,
    },
    CipherSuite {
        id: 17,
        authentication: Authentication::HMAC_SHA256,
        integrity: Integrity::HMAC_SHA256_128,
        confidentiality: Confidentiality::AES_CBC_128,
        hash: Hash::Sha256,
        auth_code_len: 16,
    },
];

impl CipherSuite {
    /// Whether all that a console proposes is this suite. Judged as a triple: algorithms of two
    /// suites do not make a third one.
    #[must_use]
    pub(super) fn matches(&self, proposal: &Proposal) -> bool {
        proposal.authentication.is_none_or(|algorithm| algorithm == self.authentication)
            && proposal.integrity.is_none_or(|algorithm| algorithm == self.integrity)
            && proposal.confidentiality.is_none_or(|algorithm| algorithm == self.confidentiality)
    }

    fn keyed(&self, key: &[u8]) -> KeyedHash {
        const ANY_LEN: &str = "HMAC takes a key of any length";
        match self.hash {
            Hash::Sha1 => KeyedHash::Sha1(Hmac::new_from_slice(key).expect(ANY_LEN)),
            Hash::Sha256 => KeyedHash::Sha256(Hmac::new_from_slice(key).expect(ANY_LEN)),
        }
    }
}

/// An HMAC with its key already absorbed.
#[derive(Clone)]
enum KeyedHash {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
}

/// The result of an HMAC: 20 or 32 bytes.
struct Code {
    bytes: [u8; 32],
    len: usize,
}

impl std::ops::Deref for Code {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl KeyedHash {
    fn code(&self, parts: &[&[u8]]) -> Code {
        fn finish<M: Mac + Clone>(mac: &M, parts: &[&[u8]]) -> Code {
            let mut mac = mac.clone();
            for part in parts {
                mac.update(part);
            }
            let result = mac.finalize().into_bytes();
            let mut code = Code { bytes: [0; 32], len: result.len() };
            code.bytes[..result.len()].copy_from_slice(&result);
            code
        }
        match self {
            Self::Sha1(mac) => finish(mac, parts),
            Self::Sha256(mac) => finish(mac, parts),
        }
    }
}

/// What both sides know after RAKP Message 2.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// The suite.
    pub(super) suite: CipherSuite,
    /// SIDM: Remote Console Session ID.
    pub(super) console_session_id: u32,
    /// SIDC: Managed System Session ID.
    pub(super) managed_session_id: u32,
    /// RM: Remote Console Random Number.
    pub(super) console_random: [u8; 16],
    /// RC: Managed System Random Number.
    pub(super) managed_random: [u8; 16],
    /// GUIDC: Managed System GUID.
    pub(super) guid: [u8; 16],
    /// `RoleM`, as the console sent it.
    pub(super) role: u8,
    /// `UNameM`.
    pub(super) name: Vec<u8>,
}

impl Exchange {
    fn name_len(&self) -> u8 {
        u8::try_from(self.name.len()).expect("at most 16 by its decoder")
    }

    /// Key exchange code of RAKP Message 2.
    #[must_use]
    pub(super) fn rakp2_code(&self, password: &[u8]) -> Vec<u8> {
        let code = self.suite.keyed(password).code(&[
            &self.console_session_id.to_le_bytes(),
            &self.managed_session_id.to_le_bytes(),
            &self.console_random,
            &self.managed_random,
            &self.guid,
            &[self.role, self.name_len()],
            &self.name,
        ]);
        code.to_vec()
    }

    /// Whether `code` is the key exchange code that RAKP Message 3 must carry.
    #[must_use]
    pub(super) fn rakp3_code_is(&self, password: &[u8], code: &[u8]) -> bool {
        let expected = self.suite.keyed(password).code(&[
            &self.managed_random,
            &self.console_session_id.to_le_bytes(),
            &[self.role, self.name_len()],
            &self.name,
        ]);
        expected.ct_eq(code).into()
    }

    /// The session's keys, and the integrity check value of RAKP Message 4.
    #[must_use]
    pub(super) fn keys(&self, password: &[u8]) -> (Keys, Vec<u8>) {
        // K_G is not set, and so K_UID takes its place (section 13.31).
        let sik = self.suite.keyed(password).code(&[
            &self.console_random,
            &self.managed_random,
            &[self.role, self.name_len()],
            &self.name,
        ]);
        let keyed = self.suite.keyed(&sik);
        let check =
            keyed.code(&[&self.console_random, &self.managed_session_id.to_le_bytes(), &self.guid]);
        let k1 = keyed.code(&[&[1; CONSTANT_LEN]]);
        let k2 = keyed.code(&[&[2; CONSTANT_LEN]]);
        let cipher = Aes128::new_from_slice(&k2[..16]).expect("a key of 16 bytes");
        let keys = Keys {
            integrity: self.suite.keyed(&k1),
            auth_code_len: self.suite.auth_code_len,
            cipher,
        };
        (keys, check[..self.suite.auth_code_len].to_vec())
    }
}

/// Keys of an active session, prepared once.
#[derive(Clone)]
pub(super) struct Keys {
    integrity: KeyedHash,
    auth_code_len: usize,
    cipher: Aes128,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<keys>")
    }
}

impl Keys {
    /// Length of an AuthCode in bytes.
    #[must_use]
    pub(super) fn auth_code_len(&self) -> usize {
        self.auth_code_len
    }

    /// Whether `code` is the AuthCode of `covered`; takes the same time for every wrong code.
    #[must_use]
    pub(super) fn auth_code_is(&self, covered: &[u8], code: &[u8]) -> bool {
        self.integrity.code(&[covered])[..self.auth_code_len].ct_eq(code).into()
    }

    /// Appends the AuthCode of `datagram[from..]` to `datagram`.
    pub(super) fn append_auth_code(&self, datagram: &mut Vec<u8>, from: usize) {
        let code = self.integrity.code(&[&datagram[from..]]);
        datagram.extend_from_slice(&code[..self.auth_code_len]);
    }

    /// Length of `len` bytes when encrypted: vector, data, pad and pad length.
    #[must_use]
    pub(super) fn encrypted_len(len: usize) -> usize {
        BLOCK_LEN + (len + 1).next_multiple_of(BLOCK_LEN)
    }

    /// Appends `iv` and the encrypted `payload` to `out` (section 13.29.2).
    pub(super) fn encrypt(&self, iv: [u8; BLOCK_LEN], payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&iv);
        let start = out.len();
        out.extend_from_slice(payload);
        let pad_len = (payload.len() + 1).wrapping_neg() % BLOCK_LEN;
        #[allow(clippy::cast_possible_truncation, reason = "below 16")]
        out.extend((1..=pad_len as u8).chain([pad_len as u8]));
        let len = out.len() - start;
        cbc::Encryptor::inner_iv_init(&self.cipher, &iv.into())
            .encrypt_padded::<NoPadding>(&mut out[start..], len)
            .expect("padded to whole blocks");
    }

    /// Decrypts `encrypted` in place. Answers the payload, or `None` if it is not one.
    pub(super) fn decrypt<'a>(&self, encrypted: &'a mut [u8]) -> Option<&'a [u8]> {
        let (iv, blocks) = encrypted.split_first_chunk_mut::<BLOCK_LEN>()?;
        let iv = *iv;
        let plain = cbc::Decryptor::inner_iv_init(&self.cipher, &iv.into())
            .decrypt_padded::<NoPadding>(blocks)
            .ok()?;
        let (pad_len, padded) = plain.split_last()?;
        let (payload, pad) =
            padded.split_at_checked(padded.len().checked_sub(usize::from(*pad_len))?)?;
        pad.iter().copied().eq(1..=*pad_len).then_some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::check::CIPHER_SUITES;

    #[test]
    fn a_profile_may_name_what_is_there() {
        let mut there = SUITES.map(|suite| suite.id);
        let mut named = CIPHER_SUITES;
        there.sort_unstable();
        named.sort_unstable();
        assert_eq!(there, named);
    }

    fn keys(suite: CipherSuite) -> Keys {
        let exchange = Exchange {
            suite,
            console_session_id: 1,
            managed_session_id: 2,
            console_random: [3; 16],
            managed_random: [4; 16],
            guid: [5; 16],
            role: 0x14,
            name: b"admin".to_vec(),
        };
        exchange.keys(b"password").0
    }

    #[test]
    fn payloads_of_all_lengths_round_trip() {
        for suite in SUITES {
            let keys = keys(suite);
            for len in 0..100 {
                let payload = vec![0x5A; len];
                let mut out = Vec::new();
                keys.encrypt([7; 16], &payload, &mut out);
                assert_eq!(out.len(), Keys::encrypted_len(len));
                assert_eq!(keys.decrypt(&mut out), Some(&payload[..]));
            }
        }
    }

    #[test]
    fn what_is_no_payload_is_none() {
        let keys = keys(SUITES[0]);
        for len in [0, 1, 15, 16, 17, 31, 33] {
            assert_eq!(keys.decrypt(&mut vec![0; len]), None, "{len}");
        }
        // A pad that is not 1, 2, 3, …: off by one, as some BMCs have it.
        let mut out = vec![7; 16];
        out.extend([0x5A, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        let iv = [7; 16];
        cbc::Encryptor::inner_iv_init(&keys.cipher, &iv.into())
            .encrypt_padded::<NoPadding>(&mut out[16..], 16)
            .unwrap();
        assert_eq!(keys.decrypt(&mut out), None);
    }

    #[test]
    fn auth_code_covers_every_byte() {
        for suite in SUITES {
            let keys = keys(suite);
            let mut datagram = b"0123456789abcdef".to_vec();
            keys.append_auth_code(&mut datagram, 4);
            let len = datagram.len() - keys.auth_code_len();
            assert_eq!(keys.auth_code_len(), suite.auth_code_len);
            assert!(keys.auth_code_is(&datagram[4..len], &datagram[len..]));
            assert!(!keys.auth_code_is(&datagram[4..len], &datagram[len..len + 1]));
            for index in 4..datagram.len() {
                let mut damaged = datagram.clone();
                damaged[index] ^= 1;
                assert!(!keys.auth_code_is(&damaged[4..len], &damaged[len..]), "{index}");
            }
        }
    }

    #[test]
    fn suites_are_judged_as_triples() {
        let proposal = Proposal {
            authentication: Some(Authentication::HMAC_SHA1),
            integrity: Some(Integrity::HMAC_SHA256_128),
            confidentiality: Some(Confidentiality::AES_CBC_128),
        };
        assert!(SUITES.iter().all(|suite| !suite.matches(&proposal)));
        let any = Proposal { authentication: None, integrity: None, confidentiality: None };
        assert!(SUITES.iter().all(|suite| suite.matches(&any)));
    }
}
