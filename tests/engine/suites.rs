//! Every cipher suite, K_G, and what a session without integrity or confidentiality is worth.

use qemu_bmc::bmc::Config;
use qemu_bmc::value::BmcKey;

use crate::console::{
    self, Odd, Refused, Rig, Session, Suite, admin, login, login_with, message, v15_datagram,
};
use crate::{APP, CHASSIS};

fn every_suite() -> Rig {
    let cipher_suites = Suite::ALL.iter().rev().map(|suite| *suite as u8).collect();
    Rig::with(Config { cipher_suites, ..console::config() })
}

#[test]
fn each_suite_works_with_exactly_its_codes() {
    for suite in Suite::ALL {
        let mut rig = every_suite();
        let mut session = login(&mut rig, suite, "admin", "admin-secret", 0x14).unwrap();
        let (code, data) = session.command(&mut rig, APP, 0x01, &[]);
        assert_eq!((code, data.len()), (0, 15), "{suite:?}");
        assert_eq!(session.command(&mut rig, APP, 0x3B, &[4]), (0, vec![4]));
        // SOL, with authentication as the suite has it, and with no more encryption.
        for flags in [0x00, 0x40, 0x80, 0xC0] {
            let (code, _) = session.command(&mut rig, APP, 0x48, &[1, 1, flags, 0, 0, 0]);
            let lacks_authentication = suite.flags() & !flags & 0x40 != 0;
            let has_too_much = flags & !suite.flags() != 0;
            let expected = match (lacks_authentication, has_too_much) {
                (true, _) => 0x84,
                (false, true) => 0x83,
                (false, false) => 0x00,
            };
            assert_eq!(code, expected, "{suite:?} {flags:#x}");
            if code == 0 {
                assert_eq!(session.command(&mut rig, APP, 0x49, &[1, 1, 0, 0, 0, 0]).0, 0);
            }
        }
    }
}

#[test]
fn a_wrong_password_is_wrong_with_each_suite_but_0() {
    for suite in Suite::ALL {
        let refused = login(&mut every_suite(), suite, "admin", "wrong", 0x14).err();
        let expected = (suite != Suite::Zero).then_some(Refused::Rakp2Code);
        assert_eq!(refused, expected, "{suite:?}");
    }
}

#[test]
fn a_packet_with_less_or_more_than_its_suite_has_is_dropped() {
    for suite in Suite::ALL {
        let mut rig = every_suite();
        let mut session = login(&mut rig, suite, "admin", "admin-secret", 0x14).unwrap();
        let status = message(CHASSIS, 0x01, 1, &[]);
        for flags in [0x00, 0x40, 0x80, 0xC0] {
            session.sequence += 1;
            let mut packet = session.seal_as(session.sequence, 0, &status);
            let covered = 16 + usize::from(u16::from_le_bytes([packet[14], packet[15]]));
            packet.truncate(covered);
            packet[5] = flags;
            if flags & 0x40 != 0 {
                packet = session.sign(packet);
            }
            let answered = rig.exchange(&packet).len();
            assert_eq!(answered, usize::from(flags == suite.flags()), "{suite:?} {flags:#x}");
        }
    }
}

#[test]
fn a_session_without_integrity_belongs_to_its_address() {
    let from_elsewhere = |suite| {
        let mut rig = every_suite();
        let mut session = login(&mut rig, suite, "admin", "admin-secret", 0x14).unwrap();
        rig.from.set_port(50001);
        let packet = session.seal(0, &message(APP, 0x01, 1, &[]));
        rig.exchange(&packet).len()
    };
    assert_eq!(from_elsewhere(Suite::One), 0);
    assert_eq!(from_elsewhere(Suite::Two), 1, "its AuthCode says who it is");
}

#[test]
fn a_console_with_long_constants_is_understood() {
    for suite in [Suite::Sixteen, Suite::Seventeen] {
        let mut rig = every_suite();
        let odd = Odd { long_constants: true, ..Odd::default() };
        let login = login_with(&mut rig, suite, "admin", "admin-secret", 0x14, odd);
        let mut session = login.unwrap();
        for _ in 0..2 {
            assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0);
        }
    }
}

const K_G: [u8; 20] = *b"a-key-of-twenty-byte";

fn k_g_bit(rig: &mut Rig) -> u8 {
    let request = message(APP, 0x38, 1, &[0x8E, 4]);
    rig.exchange(&v15_datagram(&request))[0][14 + 7 + 2] & 0x20
}

#[test]
fn k_g_is_needed_exactly_when_it_is_set() {
    let with = |rig: &mut Rig, k_g: Option<&[u8]>| -> Result<Session, Refused> {
        let odd = Odd { k_g, ..Odd::default() };
        login_with(rig, Suite::Seventeen, "admin", "admin-secret", 0x14, odd)
    };
    let mut rig = Rig::with(Config { k_g: Some(BmcKey::new(K_G)), ..console::config() });
    assert_eq!(k_g_bit(&mut rig), 0x20);
    let mut session = with(&mut rig, Some(&K_G)).unwrap();
    assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0);
    assert_eq!(with(&mut rig, None).err(), Some(Refused::Rakp4Code));
    assert_eq!(with(&mut rig, Some(b"another")).err(), Some(Refused::Rakp4Code));

    let mut rig = Rig::new();
    assert_eq!(k_g_bit(&mut rig), 0);
    assert_eq!(with(&mut rig, Some(&K_G)).err(), Some(Refused::Rakp4Code));
    admin(&mut rig);
}
