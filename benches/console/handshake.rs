//! How a session is opened: Open Session Request, RAKP Messages 1 and 3 (v2.0 sections 13.17 to 13.24).

use super::crypto::{HEADER, Hash, Sealer, Suite};

const RANDOM: [u8; 16] = [0x5A; 16];
/// Administrator, looked up by name only.
const ROLE: u8 = 0x14;

const OPEN_SESSION: u8 = 0x10;
const RAKP_1: u8 = 0x12;
const RAKP_3: u8 = 0x14;

/// Who logs in, and with what.
#[derive(Clone)]
pub(crate) struct Account {
    suite: Suite,
    name: &'static str,
    by_password: Hash,
}

impl Account {
    pub(crate) fn new(suite: Suite, name: &'static str, password: &str) -> Self {
        Self { suite, name, by_password: Hash::new(suite, password.as_bytes()) }
    }

    /// Role, length of the name, name.
    fn named(&self) -> ([u8; 2], &'static [u8]) {
        ([ROLE, u8::try_from(self.name.len()).unwrap()], self.name.as_bytes())
    }
}

/// A session that is being opened.
pub(crate) struct Handshake {
    console_id: u32,
    managed_id: [u8; 4],
    guid: [u8; 16],
    /// HMAC with the session integrity key.
    by_sik: Option<Hash>,
    /// Payload type of what was sent last.
    sent: u8,
}

/// What came of a datagram.
pub(crate) enum Step {
    /// It belongs to something else.
    Foreign,
    /// The next message is to be sent.
    Next,
    /// The session is open.
    Open(Box<Sealer>),
    /// The BMC does not want to, with this status.
    Refused(u8),
}

impl Handshake {
    /// Begins: the first message is to be sent.
    pub(crate) fn start(account: &Account, console_id: u32, out: &mut Vec<u8>) -> Self {
        let started = Self {
            console_id,
            managed_id: [0; 4],
            guid: [0; 16],
            by_sik: None,
            sent: OPEN_SESSION,
        };
        started.head(0x11, out);
        out.extend(console_id.to_le_bytes());
        for (kind, algorithm) in (0_u8..).zip(account.suite.algorithms()) {
            out.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
        }
        finish(out);
        started
    }

    /// Headers, message tag, and three bytes that are status or reserved.
    fn head(&self, tag: u8, out: &mut Vec<u8>) {
        out.clear();
        out.extend([6, 0, 0xFF, 7, 6, self.sent, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend([tag, 0, 0, 0]);
    }

    /// Takes an answer.
    pub(crate) fn hear(&mut self, account: &Account, datagram: &[u8], out: &mut Vec<u8>) -> Step {
        let kind = datagram.get(5);
        let Some([_, status, _, _, console_id @ ..]) = datagram.get(HEADER..) else {
            return Step::Foreign;
        };
        let ours = self.console_id.to_le_bytes();
        if kind != Some(&(self.sent + 1)) || (*status == 0 && console_id.get(..4) != Some(&ours)) {
            return Step::Foreign;
        }
        if *status != 0 {
            return Step::Refused(*status);
        }
        // Behind the console's session ID.
        let answer = &datagram[HEADER + 8..];
        let (role, name) = account.named();
        match self.sent {
            OPEN_SESSION => {
                self.managed_id = answer[..4].try_into().unwrap();
                self.sent = RAKP_1;
                self.head(0x22, out);
                out.extend(self.managed_id);
                out.extend(RANDOM);
                out.extend([role[0], 0, 0, role[1]]);
                out.extend(name);
                finish(out);
                Step::Next
            }
            RAKP_1 => {
                let (random, rest) = answer.split_at(16);
                let (guid, code) = rest.split_at(16);
                self.guid = guid.try_into().unwrap();
                let parts = [&ours[..], &self.managed_id, &RANDOM, random, guid, &role, name];
                let (expected, len) = account.by_password.code(&parts);
                assert_eq!(*code, expected[..len], "RAKP 2");
                let (sik, len) = account.by_password.code(&[&RANDOM, random, &role, name]);
                self.by_sik = Some(Hash::new(account.suite, &sik[..len]));
                self.sent = RAKP_3;
                self.head(0x33, out);
                out.extend(self.managed_id);
                let (code, len) = account.by_password.code(&[random, &ours, &role, name]);
                out.extend(&code[..len]);
                finish(out);
                Step::Next
            }
            _ => {
                let by_sik = self.by_sik.as_ref().unwrap();
                let (check, _) = by_sik.code(&[&RANDOM, &self.managed_id, &self.guid]);
                assert_eq!(*answer, check[..account.suite.code_len()], "RAKP 4");
                let managed_id = u32::from_le_bytes(self.managed_id);
                let sealer = Sealer::new(account.suite, self.console_id, managed_id, by_sik);
                Step::Open(Box::new(sealer))
            }
        }
    }
}

/// Fills in the payload's length.
fn finish(out: &mut [u8]) {
    let len = u16::try_from(out.len() - HEADER).unwrap();
    out[HEADER - 2..HEADER].copy_from_slice(&len.to_le_bytes());
}
