//! Nothing before login, and no panic whatever comes.

use std::time::Duration;

use proptest::prelude::*;
use qemu_bmc::bmc::Config;
use qemu_bmc::machine::{Event, StartCause};

use crate::console::{self, Rig, Suite, admin, message, open, setup, setup_datagram, v15_datagram};
use crate::v15;

/// Commands that the contract allows before login.
const ALLOWED: [(u8, u8); 3] = [(0x06, 0x37), (0x06, 0x38), (0x06, 0x54)];
/// The set-up of an IPMI 1.5 session, in IPMI 1.5 framing only.
const V15_SETUP: [(u8, u8); 2] = [(0x06, 0x39), (0x06, 0x3A)];

/// Every NetFn and command before login. `v15`: IPMI 1.5 is on.
fn nothing_before_login(rig: &mut Rig, v15: bool) {
    let session = admin(rig);
    for net_fn in 0..64_u8 {
        for command in 0..=255_u8 {
            let allowed = ALLOWED.contains(&(net_fn, command));
            let in_v15 = allowed || v15 && V15_SETUP.contains(&(net_fn, command));
            for data in [&[][..], &[0x0E, 0x04], &[0x0E, 0, 0x80], &[1], &[2; 17], &[2; 22]] {
                let request = message(net_fn, command, 1, data);
                let answered = rig.exchange(&v15_datagram(&request)).len();
                assert_eq!(answered, usize::from(in_v15), "{net_fn:02x} {command:02x}");
                let answered = rig.exchange(&setup_datagram(0, &request)).len();
                assert_eq!(answered, usize::from(allowed), "{net_fn:02x} {command:02x}");
            }
            // With a session ID: the right one without its codes, and a guessed one. What an
            // Activate Session with a guessed one gets is "invalid session ID".
            for data in [&[][..], &[2; 22]] {
                let request = message(net_fn, command, 1, data);
                for id in [session.managed_id, session.managed_id ^ 1, 1] {
                    let mut v20 = setup_datagram(0, &request);
                    v20[6..10].copy_from_slice(&id.to_le_bytes());
                    assert_eq!(rig.exchange(&v20).len(), 0);
                    for auth_type in [0, 1, 2, 4] {
                        let code = [0; 16];
                        let code = if auth_type == 0 { &[][..] } else { &code };
                        let v15_packet = v15::packet(auth_type, 1, id, code, &request);
                        let answers = rig.exchange(&v15_packet);
                        let activates = (net_fn, command) == (0x06, 0x3A);
                        if v15 && activates && id != session.managed_id {
                            assert_eq!(answers.len(), 1);
                            assert_eq!(answers[0][14 + 6], 0x85);
                        } else {
                            assert_eq!(answers.len(), 0, "{net_fn:02x} {command:02x}");
                        }
                    }
                }
            }
        }
    }
    assert_eq!(rig.requests(), []);
    assert_eq!(rig.bmc.open_sessions(), 1);
}

#[test]
fn before_login_only_what_the_contract_names_is_answered() {
    nothing_before_login(&mut Rig::new(), true);
    nothing_before_login(&mut Rig::with(Config { v15: vec![], ..console::config() }), false);
}

#[test]
fn other_payload_types_outside_a_session_are_not_answered() {
    let mut rig = Rig::new();
    for payload_type in 0..=255_u8 {
        let request = message(0x00, 0x01, 1, &[]);
        assert_eq!(
            rig.exchange(&setup_datagram(payload_type, &request)).len(),
            0,
            "{payload_type}"
        );
    }
}

#[test]
fn every_command_takes_data_of_every_length() {
    for fill in [0x00, 0x01, 0x80, 0xFF] {
        for net_fn in [0x00, 0x04, 0x06, 0x0A, 0x0C, 0x2C] {
            let mut rig = Rig::new();
            let now = rig.now;
            rig.bmc.handle_machine(
                now,
                qemu_bmc::machine::Status::OFF,
                &Event::Started(StartCause::PowerOn),
            );
            let mut session = admin(&mut rig);
            session.command(&mut rig, 0x06, 0x3B, &[4]);
            for command in 0..=255_u8 {
                // Close Session would end the run early; it has a test of its own.
                // And so would a reset of the BMC.
                if net_fn == 0x06 && matches!(command, 0x02 | 0x03 | 0x3C) {
                    continue;
                }
                for len in (0..24).chain([32, 64, 128, 240]) {
                    let data = vec![fill; len];
                    session.command(&mut rig, net_fn, command, &data);
                    rig.pass(Duration::from_millis(1));
                    rig.requests();
                }
            }
        }
    }
}

#[test]
fn packets_with_flags_before_there_are_keys_are_no_harm() {
    let mut rig = Rig::new();
    let id = open(&mut rig, 0, Suite::Seventeen).unwrap();
    let flagged = |rig: &mut Rig| {
        for flags in [0x40, 0x80, 0xC0] {
            for payload_type in 0..64 {
                for len in [0, 1, 15, 16, 17, 32, 48, 64] {
                    let mut packet = setup_datagram(flags | payload_type, &vec![0x10; len]);
                    packet[6..10].copy_from_slice(&id.to_le_bytes());
                    packet[10] = 1;
                    assert_eq!(rig.exchange(&packet).len(), 0, "{flags:02x} {payload_type:02x}");
                }
            }
        }
    };
    flagged(&mut rig);
    let rakp2 = setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
    assert_eq!(rakp2[1], 0, "it goes on as if nothing had been");
    flagged(&mut rig);
    let right = ("admin", "admin-secret");
    let rakp3 = console::rakp3(Suite::Seventeen, &rakp2, id, right, 0x14);
    assert_eq!(setup(&mut rig, 0x14, &rakp3)[1], 0);
    assert_eq!(rig.bmc.open_sessions(), 1);
}

/// How much the engine holds, as the length of all of it in words.
fn held(rig: &Rig) -> usize {
    format!("{:?}", rig.bmc).len()
}

#[test]
fn what_a_session_or_an_attempt_had_is_given_back() {
    /// What counters grow by.
    const DIGITS: usize = 200;
    let mut rig = Rig::new();
    let log_in_and_out = |rig: &mut Rig| {
        let mut session = admin(rig);
        session.command(rig, 0x06, 0x01, &[]);
        let id = session.managed_id.to_le_bytes();
        session.command(rig, 0x06, 0x3C, &id);
        let mut session = v15::login(rig, v15::MD5, "admin", "admin-secret", 4).unwrap();
        let id = session.id.to_le_bytes();
        session.command(rig, 0x06, 0x3C, &id);
    };
    log_in_and_out(&mut rig);
    rig.pass(Duration::from_secs(4));
    let before = held(&rig);
    (0..1000).for_each(|_| log_in_and_out(&mut rig));
    rig.pass(Duration::from_secs(4));
    assert!(held(&rig) <= before + DIGITS, "{before}, then {}", held(&rig));
    for number in 1..=2000_u32 {
        let mut request = console::open_session_request(0, [1, 1, 1]);
        request[4..8].copy_from_slice(&number.to_le_bytes());
        setup(&mut rig, 0x10, &request);
    }
    let (asked, home) = (held(&rig), rig.from);
    assert!(asked > before + DIGITS);
    for port in 1..=2000 {
        rig.from.set_port(port);
        v15::challenge(&mut rig, v15::MD5, "admin").unwrap();
    }
    rig.from = home;
    assert!(held(&rig) > asked + DIGITS);
    rig.pass(Duration::from_secs(4));
    assert!(held(&rig) <= before + DIGITS, "{before}, then {}", held(&rig));
}

/// Bytes that look like something: whole set-up messages, cut, grown or with bits turned.
fn lookalike() -> impl Strategy<Value = Vec<u8>> {
    let seeds = vec![
        vec![6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x80, 1, 0, 0],
        v15_datagram(&message(0x06, 0x38, 1, &[0x8E, 4])),
        v15_datagram(&message(0x06, 0x39, 1, &[2; 17])),
        v15::packet(2, 1, 1, &[0; 16], &message(0x06, 0x3A, 1, &[2; 22])),
        setup_datagram(0x10, &console::open_session_request(0, [1, 1, 1])),
        setup_datagram(0x12, &console::rakp1(1, 0x14, "admin")),
        setup_datagram(0x14, &[0x33, 0, 0, 0, 1, 0, 0, 0, 9, 9, 9, 9]),
        setup_datagram(0xC0, &[0x77; 48]),
        setup_datagram(0xC1, &[0x77; 31]),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (prop::sample::select(seeds), edits, 0_usize..600).prop_map(|(mut bytes, edits, len)| {
        for (index, value) in edits {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if len < 300 {
            bytes.truncate(len);
        } else if len < 400 {
            bytes.resize(len, 0xA5);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_datagram_panics(datagrams in prop::collection::vec(
        prop_oneof![prop::collection::vec(any::<u8>(), 0..300), lookalike()], 1..8)
    ) {
        let mut rig = Rig::new();
        for datagram in datagrams {
            rig.exchange(&datagram);
        }
        prop_assert_eq!(rig.bmc.open_sessions(), 0);
        prop_assert_eq!(rig.requests(), []);
    }

    #[test]
    fn no_payload_in_a_session_panics(
        payloads in prop::collection::vec(
            (0_u8..64, prop::collection::vec(any::<u8>(), 0..300)), 1..16),
        commands in prop::collection::vec(
            (0_u8..64, any::<u8>(), prop::collection::vec(any::<u8>(), 0..32)), 1..16),
    ) {
        let mut rig = Rig::new();
        let mut session = admin(&mut rig);
        session.command(&mut rig, 0x06, 0x3B, &[4]);
        session.command(&mut rig, 0x06, 0x48, &[1, 1, 0xC0, 0, 0, 0]);
        for (payload_type, payload) in payloads {
            rig.bmc.handle_console(rig.now, 1, b"output", false);
            let datagram = session.seal(payload_type, &payload);
            rig.exchange(&datagram);
            rig.pass(Duration::from_millis(100));
        }
        for (net_fn, command, data) in commands {
            let request = message(net_fn, command, 1, &data);
            let datagram = session.seal(0, &request);
            rig.exchange(&datagram);
            rig.pass(Duration::from_millis(100));
        }
    }
}
