//! A remote console that is fast enough to load a BMC: RMCP+ with cipher suites 3 and 17 over UDP.
//!
//! It verifies each AuthCode and decrypts each reply; keys and key schedules are made once a session.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit};
use hmac::{Hmac, KeyInit, Mac};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
const CONSOLE_ID: u32 = 0xA0A2_A3A4;
const RANDOM: [u8; 16] = [0x5A; 16];
const HEADER: usize = 16;
/// The largest datagram that a BMC sends.
const MOST: usize = 1024;

/// IPMI message.
pub(crate) const IPMI: u8 = 0;
/// Serial-over-LAN.
pub(crate) const SOL: u8 = 1;

/// Cipher suites (v2.0 table 22-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Three,
    Seventeen,
}

#[derive(Clone)]
enum Hash {
    Sha1(Hmac<sha1::Sha1>),
    Sha256(Hmac<sha2::Sha256>),
}

impl Hash {
    fn new(suite: Suite, key: &[u8]) -> Self {
        match suite {
            Suite::Three => Self::Sha1(KeyInit::new_from_slice(key).unwrap()),
            Suite::Seventeen => Self::Sha256(KeyInit::new_from_slice(key).unwrap()),
        }
    }

    /// The code over these, in the front of what is answered.
    fn code(&self, parts: &[&[u8]]) -> ([u8; 32], usize) {
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

/// A session, with a socket of its own.
pub(crate) struct Session {
    pub(crate) socket: UdpSocket,
    managed_id: u32,
    k1: Hash,
    aes: Aes128,
    code_len: usize,
    sequence: u32,
    request_sequence: u8,
    out: Vec<u8>,
    received: [u8; MOST],
}

fn setup(socket: &UdpSocket, payload_type: u8, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = vec![6, 0, 0xFF, 7, 6, payload_type, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    out.extend(payload);
    let mut buffer = [0; MOST];
    socket.send(&out)?;
    loop {
        let len = socket.recv(&mut buffer)?;
        if len > HEADER && buffer[5] == payload_type + 1 {
            let status = buffer[HEADER + 1];
            return match status {
                0 => Ok(buffer[HEADER..len].to_vec()),
                _ => Err(io::Error::other(format!("RAKP status {status:#04x}"))),
            };
        }
    }
}

impl Session {
    /// Logs in as an administrator, by name only.
    pub(crate) fn open(
        to: SocketAddr,
        suite: Suite,
        name: &str,
        password: &str,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LIMIT))?;
        let algorithms = match suite {
            Suite::Three => [1, 1, 1],
            Suite::Seventeen => [3, 4, 1],
        };
        let mut request = vec![0x11, 0, 0, 0];
        request.extend(CONSOLE_ID.to_le_bytes());
        for (kind, algorithm) in (0_u8..).zip(algorithms) {
            request.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        let answer = setup(&socket, 0x10, &request)?;
        let managed: [u8; 4] = answer[8..12].try_into().unwrap();
        let role = [0x14, u8::try_from(name.len()).unwrap()];
        let mut rakp1 = vec![0x22, 0, 0, 0];
        rakp1.extend(managed);
        rakp1.extend(RANDOM);
        rakp1.extend([role[0], 0, 0, role[1]]);
        rakp1.extend(name.as_bytes());
        let answer = setup(&socket, 0x12, &rakp1)?;
        let (managed_random, guid) = (&answer[8..24], &answer[24..40]);
        let ours = CONSOLE_ID.to_le_bytes();
        let by_password = Hash::new(suite, password.as_bytes());
        let parts = [&ours[..], &managed, &RANDOM, managed_random, guid, &role, name.as_bytes()];
        let (expected, len) = by_password.code(&parts);
        assert_eq!(answer[40..], expected[..len], "RAKP 2");
        let (code, len) = by_password.code(&[managed_random, &ours, &role, name.as_bytes()]);
        let mut rakp3 = vec![0x33, 0, 0, 0];
        rakp3.extend(managed);
        rakp3.extend(&code[..len]);
        let (sik, len) = by_password.code(&[&RANDOM, managed_random, &role, name.as_bytes()]);
        let by_sik = Hash::new(suite, &sik[..len]);
        let answer = setup(&socket, 0x14, &rakp3)?;
        let (check, _) = by_sik.code(&[&RANDOM, &managed, guid]);
        let code_len = if suite == Suite::Three { 12 } else { 16 };
        assert_eq!(answer[8..], check[..code_len], "RAKP 4");
        let (k1, len) = by_sik.code(&[&[1; 20]]);
        let (k2, _) = by_sik.code(&[&[2; 20]]);
        let mut session = Self {
            socket,
            managed_id: u32::from_le_bytes(managed),
            k1: Hash::new(suite, &k1[..len]),
            aes: Aes128::new_from_slice(&k2[..16]).unwrap(),
            code_len,
            sequence: 0,
            request_sequence: 0,
            out: Vec::with_capacity(MOST),
            received: [0; MOST],
        };
        // Set Session Privilege Level: administrator.
        assert_eq!(session.command(0x06, 0x3B, &[4])?.0, 0);
        Ok(session)
    }

    /// A datagram with this payload, in `self.out`.
    fn seal(&mut self, payload_type: u8, payload: &[u8]) {
        self.sequence += 1;
        let pad = (16 - (payload.len() + 1) % 16) % 16;
        let encrypted = 16 + payload.len() + pad + 1;
        let out = &mut self.out;
        out.clear();
        out.extend([6, 0, 0xFF, 7, 6, 0xC0 | payload_type]);
        out.extend(self.managed_id.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(u16::try_from(encrypted).unwrap().to_le_bytes());
        // A vector that nobody has used, as the mode wants it; that nobody can guess it is no matter.
        let mut iv = [0x77; 16];
        iv[..4].copy_from_slice(&self.sequence.to_le_bytes());
        out.extend(iv);
        out.extend(payload);
        out.extend((1..=pad).map(|byte| byte as u8));
        out.push(pad as u8);
        let plain = &mut out[HEADER + 16..];
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

    /// Sends a payload.
    pub(crate) fn send(&mut self, payload_type: u8, payload: &[u8]) -> io::Result<()> {
        self.seal(payload_type, payload);
        self.socket.send(&self.out).map(drop)
    }

    /// Waits for a datagram, verifies and decrypts it: payload type and payload.
    pub(crate) fn receive(&mut self) -> io::Result<(u8, &[u8])> {
        let len = self.socket.recv(&mut self.received)?;
        let datagram = &mut self.received[..len];
        assert_eq!(datagram[..5], [6, 0, 0xFF, 7, 6]);
        assert_eq!(datagram[5] & 0xC0, 0xC0, "encrypted and authenticated");
        assert_eq!(datagram[6..10], CONSOLE_ID.to_le_bytes());
        let payload_len = usize::from(u16::from_le_bytes([datagram[14], datagram[15]]));
        let (covered, code) = datagram.split_at_mut(len - self.code_len);
        assert_eq!(*code, self.k1.code(&[&covered[4..]]).0[..self.code_len], "AuthCode");
        let payload_type = covered[5] & 0x3F;
        let (iv, plain) = covered[HEADER..HEADER + payload_len].split_at_mut(16);
        let iv: [u8; 16] = (&*iv).try_into().unwrap();
        cbc::Decryptor::inner_iv_init(self.aes.clone(), &iv.into())
            .decrypt_padded::<NoPadding>(plain)
            .unwrap();
        let pad = usize::from(plain[plain.len() - 1]);
        let plain = &plain[..plain.len() - 1 - pad];
        Ok((payload_type, plain))
    }

    /// Runs a command: completion code, and the length of the data in [`Self::data`].
    pub(crate) fn command(
        &mut self,
        net_fn: u8,
        command: u8,
        data: &[u8],
    ) -> io::Result<(u8, Vec<u8>)> {
        self.request_sequence = (self.request_sequence + 1) % 64;
        let mut message = Vec::with_capacity(7 + data.len());
        message.extend([0x20, net_fn << 2]);
        message.push(checksum(&message));
        message.extend([0x81, self.request_sequence << 2, command]);
        message.extend(data);
        message.push(checksum(&message[3..]));
        self.send(IPMI, &message)?;
        let deadline = Instant::now() + LIMIT;
        let sequence = self.request_sequence << 2;
        loop {
            let (payload_type, response) = self.receive()?;
            if payload_type == IPMI && response[4] == sequence && response[5] == command {
                return Ok((response[6], response[7..response.len() - 1].to_vec()));
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}
