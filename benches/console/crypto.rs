//! Cipher suites 3 and 17: keyed hashes, and packets of a session, sealed and opened.

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit};
use hmac::{Hmac, KeyInit, Mac};

use super::IPMI;

/// Length of RMCP and session header.
pub(super) const HEADER: usize = 16;
const IV: usize = 16;

/// Cipher suites (v2.0 table 22-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Three,
    Seventeen,
}

impl Suite {
    /// Numbers of its algorithms: authentication, integrity, confidentiality.
    pub(super) fn algorithms(self) -> [u8; 3] {
        match self {
            Self::Three => [1, 1, 1],
            Self::Seventeen => [3, 4, 1],
        }
    }

    /// Length of an AuthCode, and of the check value in RAKP Message 4.
    pub(super) fn code_len(self) -> usize {
        match self {
            Self::Three => 12,
            Self::Seventeen => 16,
        }
    }
}

/// An HMAC with its key absorbed.
#[derive(Clone)]
pub(super) enum Hash {
    Sha1(Hmac<sha1::Sha1>),
    Sha256(Hmac<sha2::Sha256>),
}

impl Hash {
    pub(super) fn new(suite: Suite, key: &[u8]) -> Self {
        match suite {
            Suite::Three => Self::Sha1(KeyInit::new_from_slice(key).unwrap()),
            Suite::Seventeen => Self::Sha256(KeyInit::new_from_slice(key).unwrap()),
        }
    }

    /// The code over these, in the front of what is answered, and its length.
    pub(super) fn code(&self, parts: &[&[u8]]) -> ([u8; 32], usize) {
        let mut out = [0; 32];
        let len = match self {
            Self::Sha1(keyed) => code(keyed.clone(), parts, &mut out),
            Self::Sha256(keyed) => code(keyed.clone(), parts, &mut out),
        };
        (out, len)
    }
}

fn code<M: Mac>(mut keyed: M, parts: &[&[u8]], out: &mut [u8; 32]) -> usize {
    parts.iter().for_each(|part| keyed.update(part));
    let bytes = keyed.finalize().into_bytes();
    out[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}

/// What a session's packets are sealed and opened with. Keys and key schedules are made once.
pub(crate) struct Sealer {
    console_id: u32,
    managed_id: u32,
    k1: Hash,
    aes: Aes128,
    code_len: usize,
    sequence: u32,
    request_sequence: u8,
}

impl Sealer {
    /// Of the session with these IDs and this session integrity key.
    pub(super) fn new(suite: Suite, console_id: u32, managed_id: u32, by_sik: &Hash) -> Self {
        let (k1, len) = by_sik.code(&[&[1; 20]]);
        let (k2, _) = by_sik.code(&[&[2; 20]]);
        Self {
            console_id,
            managed_id,
            k1: Hash::new(suite, &k1[..len]),
            aes: Aes128::new_from_slice(&k2[..16]).unwrap(),
            code_len: suite.code_len(),
            sequence: 0,
            request_sequence: 0,
        }
    }

    /// Both ends in one: it opens what it has sealed.
    pub(crate) fn alone(suite: Suite, id: u32) -> Self {
        Self::new(suite, id, id, &Hash::new(suite, b"nobody's"))
    }

    /// The Managed System Session ID.
    pub(crate) fn managed_id(&self) -> u32 {
        self.managed_id
    }

    /// A datagram with this payload.
    pub(crate) fn seal(&mut self, payload_type: u8, payload: &[u8], out: &mut Vec<u8>) {
        self.sequence += 1;
        let pad = (16 - (payload.len() + 1) % 16) % 16;
        let encrypted = IV + payload.len() + pad + 1;
        out.clear();
        out.extend([6, 0, 0xFF, 7, 6, 0xC0 | payload_type]);
        out.extend(self.managed_id.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(u16::try_from(encrypted).unwrap().to_le_bytes());
        // A vector that nobody has used, as the mode wants it; that nobody can guess it is no matter.
        let mut iv = [0x77; IV];
        iv[..4].copy_from_slice(&self.sequence.to_le_bytes());
        out.extend(iv);
        out.extend(payload);
        out.extend((1..=pad).map(|byte| byte as u8));
        out.push(pad as u8);
        let plain = &mut out[HEADER + IV..];
        let len = plain.len();
        cbc::Encryptor::inner_iv_init(self.aes.clone(), &iv.into())
            .encrypt_padded::<NoPadding>(plain, len)
            .unwrap();
        let pad = (4 - (out.len() - 4 + 2) % 4) % 4;
        out.extend([0xFF; 3].iter().take(pad));
        out.extend([pad as u8, 7]);
        let (code, _) = self.k1.code(&[&out[4..]]);
        out.extend(&code[..self.code_len]);
    }

    /// A datagram with a request to the BMC.
    pub(crate) fn request(&mut self, net_fn: u8, command: u8, data: &[u8], out: &mut Vec<u8>) {
        self.request_sequence = (self.request_sequence + 1) % 64;
        let mut message = [0; 64];
        message[..2].copy_from_slice(&[0x20, net_fn << 2]);
        message[2] = checksum(&message[..2]);
        message[3..6].copy_from_slice(&[0x81, self.request_sequence << 2, command]);
        let end = 6 + data.len();
        message[6..end].copy_from_slice(data);
        message[end] = checksum(&message[3..end]);
        self.seal(IPMI, &message[..=end], out);
    }

    /// Payload type and payload of a datagram of this session, verified and decrypted in its place.
    pub(crate) fn open<'a>(&self, datagram: &'a mut [u8]) -> Option<(u8, &'a [u8])> {
        let [6, 0, 0xFF, 7, 6, kind, id @ ..] = &*datagram else {
            panic!("this is not RMCP+: {datagram:02x?}")
        };
        if id[..4] != self.console_id.to_le_bytes() {
            return None;
        }
        assert_eq!(kind & 0xC0, 0xC0, "encrypted and authenticated");
        let payload_type = kind & 0x3F;
        let payload_len = usize::from(u16::from_le_bytes([datagram[14], datagram[15]]));
        let end = datagram.len() - self.code_len;
        let (covered, code) = datagram.split_at_mut(end);
        assert_eq!(*code, self.k1.code(&[&covered[4..]]).0[..self.code_len], "AuthCode");
        let (iv, plain) = covered[HEADER..HEADER + payload_len].split_at_mut(IV);
        let iv: [u8; IV] = (&*iv).try_into().unwrap();
        cbc::Decryptor::inner_iv_init(self.aes.clone(), &iv.into())
            .decrypt_padded::<NoPadding>(plain)
            .unwrap();
        let pad = usize::from(plain[plain.len() - 1]);
        let plain = &plain[..plain.len() - 1 - pad];
        Some((payload_type, plain))
    }

    /// Completion code and data, if this payload is the response to the last request.
    pub(crate) fn response<'a>(&self, payload: &'a [u8]) -> Option<(u8, &'a [u8])> {
        let [_, _, _, _, sequence, _, code, data @ .., _] = payload else { return None };
        (*sequence == self.request_sequence << 2).then_some((*code, data))
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}
