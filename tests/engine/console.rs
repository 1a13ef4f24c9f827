//! A remote console in memory, written from the specification and not from the engine: it makes and
//! checks every code itself.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use aes::Aes128;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use md5::Digest;
use qemu_bmc::bmc::event::Request;
use qemu_bmc::bmc::{Bmc, Config, User};
use qemu_bmc::machine;
use qemu_bmc::plan::{LanIdentity, SensorsPlan};
use qemu_bmc::profile::check::Declared;
use qemu_bmc::profile::document::Restore;
use qemu_bmc::value::Secret;
use qemu_bmc::wire::code::{AuthType, Privilege};

use crate::vector_engine;

pub const GUID: [u8; 16] = *b"0123456789abcdef";
pub const CONSOLE_ID: u32 = 0xA0A2_A3A4;
/// Flag beside the payload type.
const ENCRYPTED: u8 = 0x80;
const CONSOLE_RANDOM: [u8; 16] = [0x5A; 16];

/// Passwords are the names with `-secret` behind them.
pub fn config() -> Config {
    let user = |name: &str, privilege| User {
        name: name.into(),
        password: Secret::new(format!("{name}-secret")).unwrap(),
        privilege,
        enabled: true,
        declared: Declared::default(),
    };
    Config {
        users: vec![
            user("admin", Privilege::ADMINISTRATOR),
            user("operator", Privilege::OPERATOR),
            user("user", Privilege::USER),
        ],
        cipher_suites: vec![17, 3],
        v15: vec![AuthType::MD5],
        bad_password_threshold: 20,
        lockout_interval_s: 60,
        k_g: None,
        guid: GUID,
        advertised_port: 6231,
        sol_replay: false,
        kernel: false,
        uefi: false,
        restore: Restore::AlwaysOn,
        restore_declared: true,
        cycle_interval_s: 1,
        cycle_interval_declared: false,
        name: "node1".into(),
        asset_tag: None,
        identity: vector_engine::identity(),
        cpu_sockets: 2,
        sensors: SensorsPlan::built_in(2, 1 << 30),
        lan: LanIdentity::default(),
        lan_settable: false,
    }
}

pub fn engine() -> Bmc {
    Bmc::new(config(), [7; 32])
}

/// The engine, a clock, and one address to talk from.
pub struct Rig {
    pub bmc: Bmc,
    pub now: Instant,
    pub from: SocketAddr,
    /// The BMC's address.
    pub at: Option<IpAddr>,
}

impl Rig {
    pub fn new() -> Self {
        let (from, at) = ("192.0.2.1:50000".parse().unwrap(), "192.0.2.100".parse().ok());
        Self { bmc: engine(), now: Instant::now(), from, at }
    }

    pub fn with(config: Config) -> Self {
        Self { bmc: Bmc::new(config, [7; 32]), ..Self::new() }
    }

    /// Sends a datagram and answers the datagrams that come back.
    pub fn exchange(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.now += Duration::from_millis(1);
        self.bmc.handle_datagram(self.now, self.from, self.at, datagram);
        self.receive()
    }

    /// What the engine sends by itself.
    pub fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(transmit) = self.bmc.poll_transmit(self.now) {
            assert_eq!((transmit.to, transmit.from), (self.from, self.at));
            out.push(transmit.datagram);
        }
        out
    }

    pub fn requests(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.bmc.poll_request()).collect()
    }

    /// What is wished of the machine, and nothing else is.
    pub fn power_requests(&mut self) -> Vec<machine::Request> {
        let power = |wish| match wish {
            Request::Power(request, _) => request,
            other => panic!("{other:?}"),
        };
        self.requests().into_iter().map(power).collect()
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.bmc.handle_timeout(self.now);
    }
}

/// Cipher suites by their numbers (v2.0 table 22-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    Zero = 0,
    One = 1,
    Two = 2,
    Three = 3,
    Six = 6,
    Seven = 7,
    Eight = 8,
    Eleven = 11,
    Twelve = 12,
    Fifteen = 15,
    Sixteen = 16,
    Seventeen = 17,
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

impl Suite {
    pub const ALL: [Self; 12] = [
        Self::Zero,
        Self::One,
        Self::Two,
        Self::Three,
        Self::Six,
        Self::Seven,
        Self::Eight,
        Self::Eleven,
        Self::Twelve,
        Self::Fifteen,
        Self::Sixteen,
        Self::Seventeen,
    ];

    fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self.algorithms()[0] {
            0 => Vec::new(),
            1 => mac::<Hmac<sha1::Sha1>>(key, parts),
            2 => mac::<Hmac<md5::Md5>>(key, parts),
            _ => mac::<Hmac<sha2::Sha256>>(key, parts),
        }
    }

    /// Length of the code in RAKP Message 4.
    fn check_len(self) -> usize {
        [0, 12, 16, 16][usize::from(self.algorithms()[0])]
    }

    /// Length of an AuthCode.
    fn code_len(self) -> usize {
        [0, 12, 16, 16, 16][usize::from(self.algorithms()[1])]
    }

    pub fn algorithms(self) -> [u8; 3] {
        match self {
            Self::Zero => [0, 0, 0],
            Self::One => [1, 0, 0],
            Self::Two => [1, 1, 0],
            Self::Three => [1, 1, 1],
            Self::Six => [2, 0, 0],
            Self::Seven => [2, 2, 0],
            Self::Eight => [2, 2, 1],
            Self::Eleven => [2, 3, 0],
            Self::Twelve => [2, 3, 1],
            Self::Fifteen => [3, 0, 0],
            Self::Sixteen => [3, 4, 0],
            Self::Seventeen => [3, 4, 1],
        }
    }

    /// The flags that go with every payload type.
    pub fn flags(self) -> u8 {
        let [_, integrity, confidentiality] = self.algorithms();
        u8::from(integrity != 0) << 6 | u8::from(confidentiality != 0) << 7
    }
}

/// An RMCP+ datagram outside a session.
pub fn setup_datagram(payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![6, 0, 0xFF, 7, 6, payload_type, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    out.extend(payload);
    out
}

/// An IPMI 1.5 datagram outside a session.
pub fn v15_datagram(message: &[u8]) -> Vec<u8> {
    let mut out = vec![6, 0, 0xFF, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.push(u8::try_from(message.len()).unwrap());
    out.extend(message);
    out
}

pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

/// A LAN message.
pub fn message(net_fn: u8, command: u8, sequence: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x20, net_fn << 2];
    out.push(checksum(&out));
    out.extend([0x81, sequence << 2, command]);
    out.extend(data);
    out.push(checksum(&out[3..]));
    out
}

pub fn open_session_request(privilege: u8, algorithms: [u8; 3]) -> Vec<u8> {
    let mut out = vec![0x11, privilege, 0, 0];
    out.extend(CONSOLE_ID.to_le_bytes());
    for (kind, algorithm) in (0_u8..).zip(algorithms) {
        out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
    out
}

pub fn rakp1(managed_id: u32, role: u8, name: &str) -> Vec<u8> {
    let mut out = vec![0x22, 0, 0, 0];
    out.extend(managed_id.to_le_bytes());
    out.extend(CONSOLE_RANDOM);
    out.extend([role, 0, 0, u8::try_from(name.len()).unwrap()]);
    out.extend(name.as_bytes());
    out
}

/// The answer to RAKP Message 2.
pub fn rakp3(
    suite: Suite,
    rakp2: &[u8],
    managed_id: u32,
    (name, password): (&str, &str),
    role: u8,
) -> Vec<u8> {
    let name_len = u8::try_from(name.len()).unwrap();
    let parts = [&rakp2[8..24], &CONSOLE_ID.to_le_bytes(), &[role, name_len], name.as_bytes()];
    let mut out = vec![0x33, 0, 0, 0];
    out.extend(managed_id.to_le_bytes());
    out.extend(suite.hmac(password.as_bytes(), &parts));
    out
}

/// How a login ended that did not succeed: which message, which status.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    OpenSession(u8),
    Rakp2(u8),
    /// The console itself finds the BMC's code wrong: the passwords differ.
    Rakp2Code,
    Rakp4(u8),
    /// The same of the BMC's last code: K_G differs.
    Rakp4Code,
}

/// A session as the console has it.
pub struct Session {
    pub suite: Suite,
    pub managed_id: u32,
    password: Vec<u8>,
    k1: Vec<u8>,
    aes: [u8; 16],
    pub sequence: u32,
    last_received: u32,
    pub request_sequence: u8,
}

/// The payload of the one answer to a set-up message, which must have `payload_type`.
pub fn setup(rig: &mut Rig, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let answers = rig.exchange(&setup_datagram(payload_type, payload));
    let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
    assert_eq!(answer[..14], [6, 0, 0xFF, 7, 6, payload_type + 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(usize::from(u16::from_le_bytes([answer[14], answer[15]])), answer.len() - 16);
    answer[16..].to_vec()
}

/// Opens a half-open session and answers its ID.
pub fn open(rig: &mut Rig, privilege: u8, suite: Suite) -> Result<u32, Refused> {
    let request = open_session_request(privilege, suite.algorithms());
    let answer = setup(rig, 0x10, &request);
    assert_eq!(answer[0], 0x11, "tag");
    assert_eq!(answer[4..8], CONSOLE_ID.to_le_bytes());
    if answer[1] != 0 {
        assert_eq!(answer.len(), 8);
        return Err(Refused::OpenSession(answer[1]));
    }
    assert_eq!(answer.len(), 36);
    assert!((1..=4).contains(&answer[2]), "a real maximum privilege");
    for (index, algorithm) in suite.algorithms().into_iter().enumerate() {
        let payload = &answer[12 + 8 * index..20 + 8 * index];
        assert_eq!(payload, [u8::try_from(index).unwrap(), 0, 0, 8, algorithm, 0, 0, 0]);
    }
    Ok(u32::from_le_bytes(answer[8..12].try_into().unwrap()))
}

/// Logs in. `role` is the role byte of RAKP Message 1: `0x14` is "administrator, by name only".
pub fn login(
    rig: &mut Rig,
    suite: Suite,
    name: &str,
    password: &str,
    role: u8,
) -> Result<Session, Refused> {
    login_with(rig, suite, name, password, role, Odd::default())
}

/// What a console may have of its own.
#[derive(Clone, Copy, Default)]
pub struct Odd<'a> {
    pub k_g: Option<&'a [u8]>,
    /// K1 and K2 are made from constants of 32 bytes, as python-ipmi has them.
    pub long_constants: bool,
    /// Somebody else logs in before RAKP Message 3.
    pub overtaken: bool,
}

pub fn login_with(
    rig: &mut Rig,
    suite: Suite,
    name: &str,
    password: &str,
    role: u8,
    odd: Odd<'_>,
) -> Result<Session, Refused> {
    let managed_id = open(rig, 0, suite)?;
    let answer = setup(rig, 0x12, &rakp1(managed_id, role, name));
    assert_eq!((answer[0], &answer[4..8]), (0x22, &CONSOLE_ID.to_le_bytes()[..]));
    if answer[1] != 0 {
        assert_eq!(answer.len(), 8);
        return Err(Refused::Rakp2(answer[1]));
    }
    let managed_random: [u8; 16] = answer[8..24].try_into().unwrap();
    assert_eq!(answer[24..40], GUID);
    let name_len = u8::try_from(name.len()).unwrap();
    let expected = suite.hmac(
        password.as_bytes(),
        &[
            &CONSOLE_ID.to_le_bytes(),
            &managed_id.to_le_bytes(),
            &CONSOLE_RANDOM,
            &managed_random,
            &GUID,
            &[role, name_len],
            name.as_bytes(),
        ],
    );
    if answer[40..] != expected {
        return Err(Refused::Rakp2Code);
    }
    let rakp3 = rakp3(suite, &answer, managed_id, (name, password), role);
    if odd.overtaken {
        admin(rig);
    }
    let answer = setup(rig, 0x14, &rakp3);
    if answer[1] != 0 {
        return Err(Refused::Rakp4(answer[1]));
    }
    let sik = suite.hmac(
        odd.k_g.unwrap_or(password.as_bytes()),
        &[&CONSOLE_RANDOM, &managed_random, &[role, name_len], name.as_bytes()],
    );
    let check = suite.hmac(&sik, &[&CONSOLE_RANDOM, &managed_id.to_le_bytes(), &GUID]);
    if answer[8..] != check[..suite.check_len()] {
        return Err(Refused::Rakp4Code);
    }
    assert_eq!(setup(rig, 0x14, &rakp3), answer, "a repetition is answered the same");
    let constant_len = if odd.long_constants { 32 } else { 20 };
    let k2 = suite.hmac(&sik, &[&[2; 32][..constant_len]]);
    Ok(Session {
        suite,
        managed_id,
        password: password.into(),
        k1: suite.hmac(&sik, &[&[1; 32][..constant_len]]),
        aes: k2.first_chunk().copied().unwrap_or_default(),
        // ipmitool's first packet in a session is not number 1.
        sequence: 4,
        last_received: 0,
        request_sequence: 0,
    })
}

pub fn admin(rig: &mut Rig) -> Session {
    login(rig, Suite::Seventeen, "admin", "admin-secret", 0x14).unwrap()
}

impl Session {
    /// A datagram with any payload, encrypted and authenticated as the suite has it.
    pub fn seal(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        self.seal_as(self.sequence, payload_type, payload)
    }

    pub fn seal_as(&self, sequence: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.seal_with(self.suite.flags(), sequence, payload_type, payload)
    }

    /// A datagram that is not encrypted, whatever the suite, and authenticated as the suite has it.
    pub fn seal_in_the_clear(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        self.seal_with(self.suite.flags() & !ENCRYPTED, self.sequence, payload_type, payload)
    }

    fn seal_with(&self, flags: u8, sequence: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let (iv, plain) =
            if flags & ENCRYPTED != 0 { self.encrypt(payload) } else { (vec![], payload.to_vec()) };
        let mut out = vec![6, 0, 0xFF, 7, 6, flags | payload_type];
        out.extend(self.managed_id.to_le_bytes());
        out.extend(sequence.to_le_bytes());
        out.extend(u16::try_from(iv.len() + plain.len()).unwrap().to_le_bytes());
        out.extend(iv);
        out.extend(plain);
        if self.suite.algorithms()[1] == 0 { out } else { self.sign(out) }
    }

    fn encrypt(&self, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let iv = [0x77; 16];
        let mut plain = payload.to_vec();
        let pad_len = (16 - (payload.len() + 1) % 16) % 16;
        plain.extend((1..=pad_len).map(|byte| u8::try_from(byte).unwrap()));
        plain.push(u8::try_from(pad_len).unwrap());
        let len = plain.len();
        cbc::Encryptor::<Aes128>::new(&self.aes.into(), &iv.into())
            .encrypt_padded::<NoPadding>(&mut plain, len)
            .unwrap();
        (iv.to_vec(), plain)
    }

    fn auth_code(&self, covered: &[u8]) -> Vec<u8> {
        let mut code = if self.suite.algorithms()[1] == 3 {
            let mut password = self.password.clone();
            password.resize(20, 0);
            md5::Md5::digest([&password, covered, &password].concat()).to_vec()
        } else {
            self.suite.hmac(&self.k1, &[covered])
        };
        code.truncate(self.suite.code_len());
        code
    }

    /// Adds the trailer to a datagram.
    pub fn sign(&self, mut out: Vec<u8>) -> Vec<u8> {
        let pad_len = (4 - (out.len() - 4 + 2) % 4) % 4;
        out.extend(vec![0xFF; pad_len]);
        out.extend([u8::try_from(pad_len).unwrap(), 7]);
        let code = self.auth_code(&out[4..]);
        out.extend(code);
        out
    }

    /// Checks and decrypts a datagram from the BMC: payload type and payload.
    pub fn unseal(&mut self, datagram: &[u8]) -> (u8, Vec<u8>) {
        self.unseal_with(self.suite.flags(), datagram)
    }

    /// The same of one that is not encrypted, whatever the suite.
    pub fn unseal_in_the_clear(&mut self, datagram: &[u8]) -> (u8, Vec<u8>) {
        self.unseal_with(self.suite.flags() & !ENCRYPTED, datagram)
    }

    fn unseal_with(&mut self, flags: u8, datagram: &[u8]) -> (u8, Vec<u8>) {
        assert_eq!(datagram[..5], [6, 0, 0xFF, 7, 6]);
        assert_eq!(datagram[5] & 0xC0, flags, "how it is protected");
        assert_eq!(datagram[6..10], CONSOLE_ID.to_le_bytes());
        let sequence = u32::from_le_bytes(datagram[10..14].try_into().unwrap());
        assert_eq!(sequence, self.last_received + 1, "1, 2, 3, … without a gap");
        self.last_received = sequence;
        let (covered, code) = datagram.split_at(datagram.len() - self.suite.code_len());
        let len = usize::from(u16::from_le_bytes([datagram[14], datagram[15]]));
        if self.suite.algorithms()[1] == 0 {
            assert_eq!(datagram.len(), 16 + len, "nothing behind the payload");
        } else {
            assert_eq!((datagram.len() - 4 - code.len()) % 4, 0);
            assert_eq!(code, self.auth_code(&covered[4..]));
        }
        if flags & ENCRYPTED == 0 {
            return (datagram[5] & 0x3F, datagram[16..16 + len].to_vec());
        }
        let iv: [u8; 16] = datagram[16..32].try_into().unwrap();
        let mut plain = datagram[32..16 + len].to_vec();
        cbc::Decryptor::<Aes128>::new(&self.aes.into(), &iv.into())
            .decrypt_padded::<NoPadding>(&mut plain)
            .unwrap();
        let pad_len = usize::from(plain.pop().unwrap());
        let pad = plain.split_off(plain.len() - pad_len);
        assert!(pad.iter().copied().eq(1..=u8::try_from(pad_len).unwrap()));
        (datagram[5] & 0x3F, plain)
    }

    /// Runs a command: completion code and data.
    pub fn command(
        &mut self,
        rig: &mut Rig,
        net_fn: u8,
        command: u8,
        data: &[u8],
    ) -> (u8, Vec<u8>) {
        self.request_sequence = (self.request_sequence + 1) % 64;
        let request = message(net_fn, command, self.request_sequence, data);
        let datagram = self.seal(0, &request);
        let answers = rig.exchange(&datagram);
        let [answer, ..] = &answers[..] else { panic!("no answer to {net_fn:02x} {command:02x}") };
        let (payload_type, response) = self.unseal(answer);
        assert_eq!(payload_type, 0);
        self.response(net_fn, command, &response)
    }

    /// Checks a response's envelope: completion code and data.
    pub fn response(&self, net_fn: u8, command: u8, response: &[u8]) -> (u8, Vec<u8>) {
        assert_eq!(response[..2], [0x81, (net_fn | 1) << 2]);
        assert_eq!(checksum(&response[..3]), 0);
        assert_eq!(response[3..6], [0x20, self.request_sequence << 2, command]);
        assert_eq!(checksum(&response[3..]), 0);
        (response[6], response[7..response.len() - 1].to_vec())
    }
}
