//! SOL with and without encryption, in the packets themselves.

use std::time::Duration;

use qemu_bmc::bmc::Config;
use qemu_bmc::bmc::event::Request;

use crate::APP;
use crate::console::{self, Rig, Session, Suite, login};
use crate::users::administrator;

const TRANSPORT: u8 = 0x0C;
const SOL: u8 = 1;
const SUSPEND: u8 = 0;
const RESUME: u8 = 1;
const RENEW: u8 = 2;

/// Activate Payload with this auxiliary data.
fn activate(rig: &mut Rig, session: &mut Session, auxiliary: u8) -> u8 {
    let code = session.command(rig, APP, 0x48, &[1, 1, auxiliary, 0, 0, 0]).0;
    rig.pass(Duration::from_millis(100));
    code
}

/// Suspend/Resume Payload Encryption.
fn encryption(rig: &mut Rig, session: &mut Session, operation: u8) -> u8 {
    session.command(rig, APP, 0x55, &[1, 1, operation]).0
}

/// *Force encryption*, with the level *operator*.
fn force(rig: &mut Rig, session: &mut Session, force: bool) {
    let bits = if force { 0x83 } else { 0x03 };
    assert_eq!(session.command(rig, TRANSPORT, 0x21, &[1, 2, bits]).0, 0);
}

/// The one datagram that shows these characters, and is acknowledged.
fn shown(rig: &mut Rig, activation: u32, text: &[u8]) -> Vec<u8> {
    rig.bmc.handle_console(rig.now, activation, text, false);
    let mut datagrams = rig.receive();
    assert_eq!(datagrams.len(), 1);
    datagrams.remove(0)
}

/// Acknowledges the characters that [`shown`] has got as packet `sequence`.
fn acknowledge(rig: &mut Rig, session: &mut Session, sequence: u8, text: &[u8]) {
    let ack = session.seal(SOL, &[0, sequence, u8::try_from(text.len()).unwrap(), 0]);
    rig.exchange(&ack);
}

/// What was typed, of all that is wished.
fn typed(rig: &mut Rig) -> Vec<u8> {
    let characters = |request| match request {
        Request::Console(characters) => Some(characters),
        _ => None,
    };
    rig.requests().into_iter().filter_map(characters).flatten().collect()
}

fn holds(datagram: &[u8], text: &[u8]) -> bool {
    datagram.windows(text.len()).any(|window| window == text)
}

#[test]
fn encryption_is_suspended_and_resumed() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(encryption(&mut rig, &mut session, SUSPEND), 0x83, "not active");
    assert_eq!(activate(&mut rig, &mut session, 0xC0), 0);
    assert_eq!(encryption(&mut rig, &mut session, RESUME), 0, "is encrypted already");
    let datagram = shown(&mut rig, 1, b"secret words");
    assert_eq!(session.unseal(&datagram), (SOL, b"\x01\0\0\0secret words".to_vec()));
    acknowledge(&mut rig, &mut session, 1, b"secret words");
    let packet = session.seal_in_the_clear(SOL, b"\x01\0\0\0plain");
    assert_eq!(rig.exchange(&packet).len(), 0, "it is not suspended yet");
    assert_eq!(typed(&mut rig), b"");

    assert_eq!(encryption(&mut rig, &mut session, SUSPEND), 0);
    let datagram = shown(&mut rig, 1, b"plain words");
    assert!(holds(&datagram, b"plain words"));
    assert_eq!(session.unseal_in_the_clear(&datagram), (SOL, b"\x02\0\0\0plain words".to_vec()));
    acknowledge(&mut rig, &mut session, 2, b"plain words");
    // The console's own packets come either way, and are acknowledged in the clear.
    for (packet, sequence) in [
        (session.seal_in_the_clear(SOL, b"\x01\0\0\0plain"), 1),
        (session.seal(SOL, b"\x02\0\0\0sealed"), 2),
    ] {
        let [answer] = &rig.exchange(&packet)[..] else { panic!() };
        let (_, payload) = session.unseal_in_the_clear(answer);
        assert_eq!(payload[..2], [0, sequence]);
    }
    assert_eq!(typed(&mut rig), b"plainsealed");
    // Without encryption is not without authentication.
    let mut forged = session.seal_in_the_clear(SOL, b"\x03\0\0\0forged");
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(rig.exchange(&forged).len(), 0);
    // Commands are encrypted all the same, and must be.
    let (code, _) = session.command(&mut rig, APP, 0x01, &[]);
    assert_eq!(code, 0);
    let request = console::message(APP, 0x01, 7, &[]);
    let plain = session.seal_in_the_clear(0, &request);
    assert_eq!(rig.exchange(&plain).len(), 0);
    assert_eq!(typed(&mut rig), b"");

    assert_eq!(encryption(&mut rig, &mut session, RESUME), 0);
    let datagram = shown(&mut rig, 1, b"secret again");
    assert!(!holds(&datagram, b"secret again"));
    assert_eq!(session.unseal(&datagram), (SOL, b"\x03\0\0\0secret again".to_vec()));
    let packet = session.seal_in_the_clear(SOL, b"\x03\0\0\0plain");
    assert_eq!(rig.exchange(&packet).len(), 0);
    assert_eq!(typed(&mut rig), b"");
}

#[test]
fn sol_is_encrypted_as_it_was_activated() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(activate(&mut rig, &mut session, 0x40), 0);
    let datagram = shown(&mut rig, 1, b"plain");
    assert_eq!(session.unseal_in_the_clear(&datagram), (SOL, b"\x01\0\0\0plain".to_vec()));
    acknowledge(&mut rig, &mut session, 1, b"plain");
    // The next one has nothing of it.
    assert_eq!(session.command(&mut rig, APP, 0x49, &[1, 1, 0, 0, 0, 0]).0, 0);
    assert_eq!(activate(&mut rig, &mut session, 0xC0), 0);
    let datagram = shown(&mut rig, 2, b"secret");
    assert_eq!(session.unseal(&datagram), (SOL, b"\x01\0\0\0secret".to_vec()));
}

#[test]
fn forced_encryption_cannot_be_left_out_or_suspended() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    force(&mut rig, &mut session, true);
    assert_eq!(activate(&mut rig, &mut session, 0x40), 0x84);
    assert_eq!(activate(&mut rig, &mut session, 0xC0), 0);
    assert_eq!(encryption(&mut rig, &mut session, SUSPEND), 0x81);
    assert_eq!(encryption(&mut rig, &mut session, RESUME), 0);
    force(&mut rig, &mut session, false);
    assert_eq!(encryption(&mut rig, &mut session, SUSPEND), 0);
    // Forced while it is suspended: at once.
    force(&mut rig, &mut session, true);
    let datagram = shown(&mut rig, 1, b"secret");
    assert_eq!(session.unseal(&datagram), (SOL, b"\x01\0\0\0secret".to_vec()));
    let packet = session.seal_in_the_clear(SOL, b"\x01\0\0\0plain");
    assert_eq!(rig.exchange(&packet).len(), 0);
    assert_eq!(typed(&mut rig), b"");
}

#[test]
fn what_cannot_be_suspended_or_resumed_says_why() {
    let config = Config { cipher_suites: vec![2, 3], ..console::config() };
    let mut rig = Rig::with(config);
    let mut plain = login(&mut rig, Suite::Two, "admin", "admin-secret", 0x14).unwrap();
    plain.command(&mut rig, APP, 0x3B, &[4]);
    assert_eq!(activate(&mut rig, &mut plain, 0xC0), 0x83, "there is no encryption");
    assert_eq!(activate(&mut rig, &mut plain, 0x40), 0);
    for operation in [SUSPEND, RESUME, RENEW] {
        assert_eq!(encryption(&mut rig, &mut plain, operation), 0x82);
    }
    let mut session = login(&mut rig, Suite::Three, "admin", "admin-secret", 0x14).unwrap();
    session.command(&mut rig, APP, 0x3B, &[4]);
    assert_eq!(encryption(&mut rig, &mut session, SUSPEND), 0x83, "it is another's");
    assert_eq!(session.command(&mut rig, APP, 0x49, &[1, 1, 0, 0, 0, 0]).0, 0);
    assert_eq!(activate(&mut rig, &mut session, 0xC0), 0);
    assert_eq!(encryption(&mut rig, &mut session, RENEW), 0x80, "RC4's alone");
    assert_eq!(encryption(&mut rig, &mut session, 3), 0xCC);
    let mut ask = |data: &[u8]| session.command(&mut rig, APP, 0x55, data).0;
    assert_eq!(ask(&[0, 1, SUSPEND]), 0x80, "commands are encrypted as the session is");
    assert_eq!(ask(&[1, 2, SUSPEND]), 0xCC);
    assert_eq!(ask(&[2, 1, SUSPEND]), 0xCC);
    assert_eq!(ask(&[1, 1]), 0xC7);
}
