//! IPMI 1.5 sessions, with a console of their own.

use std::time::Duration;

use md5::Digest;
use qemu_bmc::bmc::Config;
use qemu_bmc::machine::{self, Event, StartCause};
use qemu_bmc::value::Secret;
use qemu_bmc::wire::code::AuthType;

use crate::console::{self, Rig, checksum, message, setup_datagram, v15_datagram};
use crate::{APP, CHASSIS, ON};

pub const NONE: AuthType = AuthType::NONE;
pub const MD2: AuthType = AuthType::MD2;
pub const MD5: AuthType = AuthType::MD5;
pub const PASSWORD: AuthType = AuthType::PASSWORD;
const ALL: [AuthType; 4] = [MD5, MD2, PASSWORD, NONE];

/// An IPMI 1.5 datagram.
pub fn packet(auth_type: u8, sequence: u32, id: u32, code: &[u8], message: &[u8]) -> Vec<u8> {
    let mut out = vec![6, 0, 0xFF, 7, auth_type];
    out.extend(sequence.to_le_bytes());
    out.extend(id.to_le_bytes());
    out.extend(code);
    out.push(u8::try_from(message.len()).unwrap());
    out.extend(message);
    out
}

fn auth_code(auth: AuthType, password: &str, id: u32, sequence: u32, message: &[u8]) -> Vec<u8> {
    let mut padded = password.as_bytes().to_vec();
    padded.resize(16, 0);
    let (id, sequence) = (id.to_le_bytes(), sequence.to_le_bytes());
    let whole = [&padded[..], &id, message, &sequence, &padded].concat();
    match auth {
        MD5 => md5::Md5::digest(whole).to_vec(),
        MD2 => md2::Md2::digest(whole).to_vec(),
        PASSWORD => padded,
        _ => Vec::new(),
    }
}

/// A session as the console has it.
pub struct Session {
    auth: AuthType,
    password: String,
    pub id: u32,
    /// The next one to send.
    pub sequence: u32,
    /// The next one to come.
    expected: u32,
    request_sequence: u8,
}

impl Session {
    pub fn seal_as(&self, sequence: u32, message: &[u8]) -> Vec<u8> {
        let code = auth_code(self.auth, &self.password, self.id, sequence, message);
        packet(self.auth.0, sequence, self.id, &code, message)
    }

    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        self.seal_as(self.sequence - 1, message)
    }

    /// Checks a datagram of the session and answers its message.
    fn unseal(&mut self, datagram: &[u8]) -> Vec<u8> {
        let code_len = if self.auth == NONE { 0 } else { 16 };
        let message = &datagram[14 + code_len..];
        let code = auth_code(self.auth, &self.password, self.id, self.expected, message);
        assert_eq!(datagram, packet(self.auth.0, self.expected, self.id, &code, message));
        self.expected = self.expected.wrapping_add(1).max(1);
        message.to_vec()
    }

    pub fn command(
        &mut self,
        rig: &mut Rig,
        net_fn: u8,
        command: u8,
        data: &[u8],
    ) -> (u8, Vec<u8>) {
        self.request_sequence = (self.request_sequence + 1) % 64;
        let datagram = self.seal(&message(net_fn, command, self.request_sequence, data));
        let answers = rig.exchange(&datagram);
        let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
        let response = self.unseal(answer);
        assert_eq!(response[..2], [0x81, (net_fn | 1) << 2]);
        assert_eq!(response[3..6], [0x20, self.request_sequence << 2, command]);
        assert_eq!((checksum(&response[..3]), checksum(&response[3..])), (0, 0));
        (response[6], response[7..response.len() - 1].to_vec())
    }
}

/// Get Session Challenge: session ID and challenge string, or the completion code.
pub fn challenge(rig: &mut Rig, auth: AuthType, name: &str) -> Result<(u32, [u8; 16]), u8> {
    let mut data = vec![auth.0];
    data.extend(name.as_bytes());
    data.resize(17, 0);
    let answers = rig.exchange(&v15_datagram(&message(APP, 0x39, 1, &data)));
    let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
    let response = &answer[14..];
    if response[6] != 0 {
        assert_eq!(response.len(), 8);
        return Err(response[6]);
    }
    assert_eq!(response.len(), 8 + 20);
    let id = u32::from_le_bytes(response[7..11].try_into().unwrap());
    Ok((id, response[11..27].try_into().unwrap()))
}

const OUTBOUND: u32 = 0x1234_5678;

fn activate_data(auth: AuthType, level: u8, string: &[u8; 16], outbound: u32) -> Vec<u8> {
    [&[auth.0, level][..], string, &outbound.to_le_bytes()].concat()
}

/// The datagram of Activate Session.
fn activation(auth: AuthType, password: &str, id: u32, data: &[u8]) -> Vec<u8> {
    let request = message(APP, 0x3A, 2, data);
    packet(auth.0, 0, id, &auth_code(auth, password, id, 0, &request), &request)
}

/// A login with a wrong password, which gets no answer: the completion code of its first half.
pub fn guess(rig: &mut Rig, name: &str) -> Result<(), u8> {
    let (id, string) = challenge(rig, MD5, name)?;
    let request = activation(MD5, "wrong", id, &activate_data(MD5, 2, &string, OUTBOUND));
    assert_eq!(rig.exchange(&request).len(), 0);
    Ok(())
}

pub fn login(
    rig: &mut Rig,
    auth: AuthType,
    name: &str,
    password: &str,
    level: u8,
) -> Result<Session, u8> {
    let (id, string) = challenge(rig, auth, name)?;
    let data = activate_data(auth, level, &string, OUTBOUND);
    let request = activation(auth, password, id, &data);
    let answers = rig.exchange(&request);
    let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
    let mut session = Session {
        auth,
        password: password.into(),
        id,
        sequence: 0,
        expected: OUTBOUND,
        request_sequence: 2,
    };
    // Only an answer within the session has a number.
    if answer[5..9] == [0; 4] {
        return Err(answer[if auth == NONE { 14 } else { 30 } + 6]);
    }
    let response = session.unseal(answer);
    assert_eq!(response[6..8], [0, auth.0]);
    session.id = u32::from_le_bytes(response[8..12].try_into().unwrap());
    session.sequence = u32::from_le_bytes(response[12..16].try_into().unwrap());
    assert_ne!(session.sequence, 0);
    assert_eq!(response[16], level);
    assert_eq!(rig.exchange(&request), answers, "a repetition is answered the same");
    Ok(session)
}

fn admin(rig: &mut Rig) -> Session {
    login(rig, MD5, "admin", "admin-secret", 4).unwrap()
}

fn every_type() -> Rig {
    Rig::with(Config { v15: ALL.to_vec(), ..console::config() })
}

#[test]
fn each_type_works_when_the_profile_names_it() {
    for auth in ALL {
        let mut rig = every_type();
        let mut session = login(&mut rig, auth, "admin", "admin-secret", 4).unwrap();
        assert_eq!(rig.bmc.open_sessions(), 1);
        assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[1]).0, 0xD4, "still user");
        assert_eq!(session.command(&mut rig, APP, 0x3B, &[4]), (0, vec![4]));
        assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[1]).0, 0);
        assert_eq!(session.command(&mut rig, 0x2C, 0x3E, &[0, 2]).0, 0xC1);
        let id = session.id.to_le_bytes();
        assert_eq!(session.command(&mut rig, APP, 0x3C, &id), (0, vec![]));
        assert_eq!(rig.bmc.open_sessions(), 0);
    }
}

#[test]
fn only_types_that_the_profile_names() {
    let mut rig = Rig::new();
    for auth in [MD2, PASSWORD, NONE, AuthType(3), AuthType(5), AuthType(15)] {
        assert_eq!(challenge(&mut rig, auth, "admin"), Err(0xCC), "{auth:?}");
    }
    assert!(challenge(&mut rig, MD5, "admin").is_ok());
    // None at all: nobody answers.
    let mut rig = Rig::with(Config { v15: vec![], ..console::config() });
    let data = [&[2][..], b"admin", &[0; 11]].concat();
    let request = message(APP, 0x39, 1, &data);
    assert_eq!(rig.exchange(&v15_datagram(&request)).len(), 0);
    let mut session = console::admin(&mut rig);
    assert_eq!(session.command(&mut rig, APP, 0x39, &data).0, 0xCC);
}

#[test]
fn types_can_be_switched_off_by_level() {
    let mut rig = Rig::new();
    let mut session = console::admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    let mut enable = |rig: &mut Rig, types: [u8; 5]| {
        let data = [&[1, 2][..], &types].concat();
        assert_eq!(session.command(rig, 0x0C, 0x01, &data).0, 0);
    };
    enable(&mut rig, [4, 4, 4, 0, 0]);
    assert_eq!(login(&mut rig, MD5, "admin", "admin-secret", 4).err(), Some(0x86));
    assert!(login(&mut rig, MD5, "admin", "admin-secret", 3).is_ok());
    let offered = |rig: &mut Rig, level| {
        let request = message(APP, 0x38, 1, &[0x01, level]);
        rig.exchange(&v15_datagram(&request))[0][14 + 8]
    };
    assert_eq!((offered(&mut rig, 3), offered(&mut rig, 4)), (4, 0));
    enable(&mut rig, [0; 5]);
    assert_eq!(challenge(&mut rig, MD5, "admin"), Err(0xCC));
}

#[test]
fn who_gets_no_challenge_is_told_why() {
    let mut config = console::config();
    config.users[1].enabled = false;
    config.users[2].password = Secret::new("17-bytes-are-many").unwrap();
    let mut rig = Rig::with(config);
    assert_eq!(challenge(&mut rig, MD5, "nobody"), Err(0x81));
    assert_eq!(challenge(&mut rig, MD5, "operator"), Err(0x81), "disabled");
    assert_eq!(challenge(&mut rig, MD5, "user"), Err(0x81), "a password of 17 bytes");
    assert_eq!(challenge(&mut rig, MD5, ""), Err(0x82), "no anonymous user");
    for len in [0, 1, 16, 18] {
        let request = message(APP, 0x39, 1, &vec![2; len]);
        assert_eq!(rig.exchange(&v15_datagram(&request))[0][14 + 6], 0xC7, "{len}");
    }
    // Not in RMCP+.
    let request = message(APP, 0x39, 1, &[2; 17]);
    assert_eq!(rig.exchange(&setup_datagram(0, &request)).len(), 0);
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let mut rig = every_type();
    for auth in [MD5, MD2, PASSWORD] {
        let refused = |rig: &mut Rig, change: &dyn Fn(&mut Vec<u8>)| {
            let (id, string) = challenge(rig, auth, "operator").unwrap();
            let mut data = activate_data(auth, 3, &string, 7);
            change(&mut data);
            let answers = rig.exchange(&activation(auth, "operator-secret", id, &data));
            let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
            let code = auth_code(auth, "operator-secret", id, 0, &answer[30..]);
            assert_eq!(answer[..], packet(auth.0, 0, id, &code, &answer[30..]));
            answer[30 + 6]
        };
        assert_eq!(refused(&mut rig, &|data| data[1] = 4), 0x86, "more than the user may");
        assert_eq!(refused(&mut rig, &|data| data[1] = 0), 0xCC);
        assert_eq!(refused(&mut rig, &|data| data[1] = 5), 0xCC);
        assert_eq!(refused(&mut rig, &|data| data[0] = 9), 0xCC, "another type");
        assert_eq!(refused(&mut rig, &|data| data[2] ^= 1), 0xCC, "another challenge");
        assert_eq!(refused(&mut rig, &|data| data[18..].fill(0)), 0x84);
        assert_eq!(refused(&mut rig, &|data| data.truncate(21)), 0xC7);
        assert_eq!(refused(&mut rig, &|data| data.push(0)), 0xC7);
        // None of it has spoilt the challenge.
        login(&mut rig, auth, "operator", "operator-secret", 3).unwrap();
    }
    assert_eq!(rig.bmc.open_sessions(), 3);
}

#[test]
fn a_wrong_password_opens_nothing() {
    // As often as it is tried.
    let mut rig =
        Rig::with(Config { v15: ALL.to_vec(), bad_password_threshold: 0, ..console::config() });
    for auth in [MD5, MD2, PASSWORD] {
        let (id, string) = challenge(&mut rig, auth, "admin").unwrap();
        let data = activate_data(auth, 4, &string, 7);
        assert_eq!(rig.exchange(&activation(auth, "wrong", id, &data)).len(), 0);
        // The right code under another type, or none.
        let good = activation(auth, "admin-secret", id, &data);
        for other in ALL.into_iter().filter(|other| *other != auth) {
            let mut packet = good.clone();
            packet[4] = other.0;
            if other == NONE {
                packet.drain(13..29);
            }
            assert_eq!(rig.exchange(&packet).len(), 0, "{other:?}");
        }
        // Any bit of it; a password covers nothing.
        for index in (4..good.len()).filter(|_| auth != PASSWORD) {
            let mut packet = good.clone();
            packet[index] ^= 0x10;
            rig.exchange(&packet);
        }
        assert_eq!(rig.bmc.open_sessions(), 0);
    }
}

#[test]
fn a_challenge_is_for_three_seconds_and_once() {
    let mut rig = Rig::new();
    let (id, string) = challenge(&mut rig, MD5, "admin").unwrap();
    assert_eq!(challenge(&mut rig, MD5, "admin"), Ok((id, string)), "asked again");
    let activate = activation(MD5, "admin-secret", id, &activate_data(MD5, 4, &string, 7));
    rig.pass(Duration::from_secs(3));
    let [answer] = &rig.exchange(&activate)[..] else { panic!() };
    assert_eq!((answer[4], answer[14 + 6]), (0, 0x85), "too late");
    let mut session = admin(&mut rig);
    assert_ne!(session.id, id);
    // What was recorded of an old session opens none.
    let (old, string) = challenge(&mut rig, MD5, "admin").unwrap();
    let activate = activation(MD5, "admin-secret", old, &activate_data(MD5, 4, &string, 7));
    assert_eq!(rig.exchange(&activate).len(), 1);
    assert_eq!(rig.bmc.open_sessions(), 2);
    session.command(&mut rig, APP, 0x3B, &[4]);
    assert_eq!(session.command(&mut rig, APP, 0x3C, &old.to_le_bytes()).0, 0);
    let [answer] = &rig.exchange(&activate)[..] else { panic!() };
    assert_eq!(answer[14 + 6], 0x85);
    assert_eq!(rig.bmc.open_sessions(), 1);
}

#[test]
fn the_first_packet_has_the_number_that_was_told_and_late_ones_count_once() {
    let mut rig = Rig::new();
    let session = admin(&mut rig);
    let first = session.sequence;
    let status = message(CHASSIS, 0x01, 9, &[]);
    assert_eq!(rig.exchange(&session.seal_as(first.wrapping_sub(1), &status)).len(), 0, "before");
    assert_eq!(rig.exchange(&session.seal_as(0, &status)).len(), 0, "outside a session");
    for offset in [0, 2, 1, 5, 30, 3] {
        let datagram = session.seal_as(first + offset, &status);
        assert_eq!(rig.exchange(&datagram).len(), 1, "{offset}");
        assert_eq!(rig.exchange(&datagram).len(), 0, "{offset} again");
    }
    assert_eq!(rig.exchange(&session.seal_as(first + 100, &status)).len(), 1);
    assert_eq!(rig.exchange(&session.seal_as(first + 60, &status)).len(), 0, "too old");
}

#[test]
fn tampered_packets_get_no_answer() {
    for auth in [MD5, MD2] {
        let mut rig = every_type();
        let mut session = login(&mut rig, auth, "admin", "admin-secret", 4).unwrap();
        let datagram = session.seal(&message(CHASSIS, 0x01, 9, &[]));
        for index in 4..datagram.len() {
            let mut tampered = datagram.clone();
            tampered[index] ^= 1;
            assert_eq!(rig.exchange(&tampered).len(), 0, "byte {index}");
        }
        // Without its code, although the profile permits "none".
        let mut plain = datagram.clone();
        plain[4] = 0;
        plain.drain(13..29);
        assert_eq!(rig.exchange(&plain).len(), 0);
        assert_eq!(rig.exchange(&datagram).len(), 1);
    }
}

#[test]
fn a_session_in_one_framing_is_none_in_the_other() {
    let mut rig = every_type();
    let session = admin(&mut rig);
    let request = message(CHASSIS, 0x01, 9, &[]);
    for flags in [0x00, 0x40, 0x80, 0xC0] {
        let mut v20 = setup_datagram(flags, &request);
        v20[6..10].copy_from_slice(&session.id.to_le_bytes());
        assert_eq!(rig.exchange(&v20).len(), 0);
    }
    let v20 = console::admin(&mut rig);
    for auth in ALL {
        let code = auth_code(auth, "admin-secret", v20.managed_id, 1, &request);
        let v15 = packet(auth.0, 1, v20.managed_id, &code, &request);
        assert_eq!(rig.exchange(&v15).len(), 0);
    }
}

#[test]
fn a_session_without_auth_codes_belongs_to_its_address() {
    for (auth, answers) in [(MD5, 1), (PASSWORD, 0), (NONE, 0)] {
        let mut rig = every_type();
        let mut session = login(&mut rig, auth, "admin", "admin-secret", 4).unwrap();
        rig.from.set_port(50001);
        let datagram = session.seal(&message(CHASSIS, 0x01, 9, &[]));
        assert_eq!(rig.exchange(&datagram).len(), answers, "{auth:?}");
    }
}

#[test]
fn a_repeated_request_is_answered_and_not_executed() {
    let mut rig = Rig::new();
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerOn));
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    let reset = message(CHASSIS, 0x02, 9, &[3]);
    for _ in 0..3 {
        let datagram = session.seal(&reset);
        let [answer] = &rig.exchange(&datagram)[..] else { panic!() };
        assert_eq!(session.unseal(answer)[6], 0);
    }
    assert_eq!(rig.power_requests(), [machine::Request::Reset]);
}

#[test]
fn silence_ends_a_session() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    for _ in 0..3 {
        rig.pass(Duration::from_secs(59));
        assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0);
    }
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.bmc.open_sessions(), 0);
    let datagram = session.seal(&message(APP, 0x01, 9, &[]));
    assert_eq!(rig.exchange(&datagram).len(), 0);
    assert_eq!(rig.bmc.poll_timeout(), None);
}

#[test]
fn sol_is_for_rmcp_plus() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    for flags in [0x00, 0xC0] {
        assert_eq!(session.command(&mut rig, APP, 0x48, &[1, 1, flags, 0, 0, 0]).0, 0xD5);
    }
}

#[test]
fn a_flood_of_challenges_from_many_places_leaves_a_login_alone() {
    let mut rig = Rig::new();
    let home = rig.from;
    let flood = |rig: &mut Rig, packets: std::ops::Range<u32>| {
        for packet in packets {
            let [.., b, c] = packet.to_be_bytes();
            rig.from = format!("10.1.{b}.{c}:623").parse().unwrap();
            rig.now -= Duration::from_millis(1);
            challenge(rig, MD5, "admin").unwrap();
        }
        rig.from = home;
    };
    flood(&mut rig, 0..5_000);
    let (id, string) = challenge(&mut rig, MD5, "admin").unwrap();
    // As many as come while a console is on its way.
    flood(&mut rig, 5_000..9_000);
    assert_eq!(challenge(&mut rig, MD5, "admin"), Ok((id, string)), "asked again");
    let activate = activation(MD5, "admin-secret", id, &activate_data(MD5, 4, &string, 7));
    assert_eq!(rig.exchange(&activate).len(), 1);
    assert_eq!(rig.bmc.open_sessions(), 1);
}

#[test]
fn a_flood_of_challenges_leaves_a_login_alone() {
    let mut rig = Rig::new();
    let (id, string) = challenge(&mut rig, MD5, "admin").unwrap();
    let home = rig.from;
    for port in 1..=2_000 {
        rig.from = "198.51.100.9:1".parse().unwrap();
        rig.from.set_port(port);
        rig.now -= Duration::from_millis(1);
        challenge(&mut rig, MD5, "admin").unwrap();
    }
    rig.from = home;
    let activate = activation(MD5, "admin-secret", id, &activate_data(MD5, 4, &string, 7));
    assert_eq!(rig.exchange(&activate).len(), 1);
    assert_eq!(rig.bmc.open_sessions(), 1);
}
