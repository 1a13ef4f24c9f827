//! The channel: access, information, payload access, keys.

use std::time::Duration;

use crate::APP;
use crate::console::{Refused, Rig, Suite, login, open, setup};
use crate::users::administrator;

#[test]
fn access_is_set_for_now_and_for_good() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut ask = |rig: &mut Rig, command, data: &[u8]| session.command(rig, APP, command, data);
    assert_eq!(ask(&mut rig, 0x41, &[1, 0x40]), (0, vec![0x22, 4]));
    assert_eq!(ask(&mut rig, 0x41, &[0x0E, 0x80]), (0, vec![0x22, 4]));
    assert_eq!(ask(&mut rig, 0x40, &[1, 0x80 | 0x03, 0x80 | 0x04]), (0, vec![]));
    assert_eq!(ask(&mut rig, 0x41, &[1, 0x80]), (0, vec![0x03, 4]));
    assert_eq!(ask(&mut rig, 0x41, &[1, 0x40]), (0, vec![0x22, 4]), "as it was");
    assert!(rig.bmc.poll_save().is_none(), "gone with the program");
    assert_eq!(ask(&mut rig, 0x40, &[1, 0x80 | 0x03, 0x83]).0, 0xD5, "no way back from there");
    assert_eq!(ask(&mut rig, 0x40, &[1, 0x40 | 0x23, 0]), (0, vec![]));
    assert_eq!(ask(&mut rig, 0x41, &[1, 0x40]), (0, vec![0x23, 4]));
    assert_eq!(ask(&mut rig, 0x41, &[1, 0x80]), (0, vec![0x03, 4]), "not touched");
    assert!(rig.bmc.poll_save().is_some());

    assert_eq!(ask(&mut rig, 0x40, &[1, 0x40, 0]).0, 0x83, "disabled");
    assert_eq!(ask(&mut rig, 0x40, &[1, 0x81, 0]).0, 0x83, "before boot only");
    assert_eq!(ask(&mut rig, 0x40, &[1, 0x40 | 0x12, 0]).0, 0xCC, "without authentication");
    assert_eq!(ask(&mut rig, 0x40, &[1, 0, 0x43]).0, 0xD5, "no administrator ever again");
    assert_eq!(ask(&mut rig, 0x40, &[1, 0, 0x85]).0, 0xCC);
    assert_eq!(ask(&mut rig, 0x40, &[0x0F, 0x42, 0]).0, 0x82, "has no sessions");
    assert_eq!(ask(&mut rig, 0x41, &[0x0F, 0x40]).0, 0x82);
    assert_eq!(ask(&mut rig, 0x41, &[2, 0x40]).0, 0xCC);
    assert_eq!(ask(&mut rig, 0x41, &[1, 0]).0, 0xCC);
    // A reset of the BMC brings back what is saved.
    assert_eq!(ask(&mut rig, 0x02, &[]).0, 0);
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, APP, 0x41, &[1, 0x80]), (0, vec![0x23, 4]));
}

#[test]
fn two_channels_are_known() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let lan = vec![1, 4, 1, 0x81, 0xF2, 0x1B, 0, 0, 0];
    assert_eq!(session.command(&mut rig, APP, 0x42, &[0x0E]), (0, lan));
    let system = vec![0x0F, 0x0C, 5, 0, 0xF2, 0x1B, 0, 0xFF, 0xFF];
    assert_eq!(session.command(&mut rig, APP, 0x42, &[0x0F]), (0, system));
    for channel in [0, 2, 8, 0x0D] {
        assert_eq!(session.command(&mut rig, APP, 0x42, &[channel]).0, 0xCC);
    }
}

#[test]
fn sol_is_for_those_who_have_payload_access() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut ask = |rig: &mut Rig, command, data: &[u8]| session.command(rig, APP, command, data);
    let activate = [1, 1, 0xC0, 0, 0, 0];
    assert_eq!(ask(&mut rig, 0x4D, &[1, 2]), (0, vec![2, 0, 0, 0]));
    assert_eq!(ask(&mut rig, 0x4C, &[1, 0x40 | 2, 2, 0, 0, 0]), (0, vec![]));
    assert_eq!(ask(&mut rig, 0x4D, &[1, 2]), (0, vec![0, 0, 0, 0]));
    assert_eq!(ask(&mut rig, 0x48, &activate).0, 0xD4);
    assert!(rig.bmc.poll_save().is_some());
    assert_eq!(ask(&mut rig, 0x4C, &[1, 2, 2, 0, 0, 0]).0, 0);
    assert_eq!(ask(&mut rig, 0x48, &activate).0, 0);
    assert_eq!(ask(&mut rig, 0x4C, &[1, 0x80 | 2, 2, 0, 0, 0]).0, 0xCC);
    assert_eq!(ask(&mut rig, 0x4C, &[0x0F, 2, 2, 0, 0, 0]).0, 0xCC);
    assert_eq!(ask(&mut rig, 0x4C, &[1, 2, 2]).0, 0xC7);
}

#[test]
fn k_g_is_set_and_read_and_never_locked() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut ask = |data: &[u8]| session.command(&mut rig, APP, 0x56, data);
    let key = [0x5A; 20];
    assert_eq!(ask(&[1, 0, 1]), (0, [vec![0], vec![0; 20]].concat()));
    assert_eq!(ask(&[&[1, 1, 1][..], &key].concat()), (0, vec![0]));
    assert_eq!(ask(&[1, 0, 1]), (0, [&[0][..], &key].concat()));
    assert_eq!(ask(&[&[1, 1, 1][..], &key[..19]].concat()).0, 0x81);
    assert_eq!(ask(&[&[1, 1, 1][..], &key, &[0]].concat()).0, 0x82);
    assert_eq!(ask(&[1, 2, 1]).0, 0xCC, "lock");
    assert_eq!(ask(&[1, 0, 0]).0, 0x84, "K_R");
    assert_eq!(ask(&[1, 0, 2]).0, 0xCC);
    assert_eq!(ask(&[1, 0]).0, 0xC7);
    assert_eq!(ask(&[0x0F, 0, 1]).0, 0xCC);
    assert!(rig.bmc.poll_save().is_some());
}

#[test]
fn the_table_of_cipher_suites_limits_sessions() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let table = |level: u8| {
        // By number of the suite, two a byte.
        let mut data = vec![1, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        data[4] = level << 4;
        data
    };
    assert_eq!(session.command(&mut rig, 0x0C, 0x01, &table(3)), (0, vec![]));
    let request = crate::console::open_session_request(0, [1, 1, 1]);
    assert_eq!(setup(&mut rig, 0x10, &request)[1..3], [0, 3], "the highest there is");
    let refused = login(&mut rig, Suite::Three, "admin", "admin-secret", 0x14).err();
    assert_eq!(refused, Some(Refused::Rakp2(0x09)));
    login(&mut rig, Suite::Seventeen, "admin", "admin-secret", 0x14).unwrap();
    // The half-open session from above is answered as it was.
    rig.pass(Duration::from_secs(4));
    assert_eq!(session.command(&mut rig, 0x0C, 0x01, &table(0)), (0, vec![]));
    assert_eq!(open(&mut rig, 0, Suite::Three).err(), Some(Refused::OpenSession(0x11)));
    assert_eq!(
        session.command(&mut rig, 0x0C, 0x01, &table(5)).0,
        0xC9,
        "ipmitool would repeat on CCh"
    );
}
