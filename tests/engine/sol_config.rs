//! SOL configuration, and that it holds.

use crate::APP;
use crate::console::{Rig, Suite, login};
use crate::users::administrator;

const TRANSPORT: u8 = 0x0C;
const ACTIVATE: [u8; 6] = [1, 1, 0xC0, 0, 0, 0];

#[test]
fn parameters_are_written_read_and_saved() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    for (parameter, value) in [
        (1, vec![0]),
        (2, vec![0xC3]),
        (3, vec![20, 100]),
        (4, vec![5, 50]),
        (5, vec![0x06]),
        (6, vec![0x09]),
        (7, vec![1]),
        (8, vec![0x57, 0x18]),
    ] {
        let data = [&[1, parameter][..], &value].concat();
        assert_eq!(session.command(&mut rig, TRANSPORT, 0x21, &data), (0, vec![]), "{parameter}");
        let (code, got) = session.command(&mut rig, TRANSPORT, 0x22, &[1, parameter, 0, 0]);
        assert_eq!((code, &got[1..]), (0, &value[..]), "{parameter}");
    }
    let mut ask = |data: &[u8]| session.command(&mut rig, TRANSPORT, 0x21, data).0;
    assert_eq!(ask(&[1, 8, 0x6F, 2]), 0x82);
    assert_eq!(ask(&[1, 7, 2]), 0x82);
    assert_eq!(ask(&[1, 9, 0]), 0x80);
    assert_eq!(ask(&[1, 2, 0xC1]), 0xCC, "callback");
    assert_eq!(ask(&[1, 5, 0x0B]), 0xCC);
    assert_eq!(ask(&[1, 3, 0, 1]), 0xCC);
    assert_eq!(ask(&[1, 1]), 0xC7);
    assert_eq!(ask(&[2, 1, 1]), 0xCC);
    let saved = rig.bmc.poll_save().unwrap();
    let mut rig = Rig::new();
    rig.bmc.restore(&saved).unwrap();
    let mut session = administrator(&mut rig);
    let mut read = |parameter| {
        session.command(&mut rig, TRANSPORT, 0x22, &[1, parameter, 0, 0]).1[1..].to_vec()
    };
    assert_eq!((read(1), read(2), read(4)), (vec![0], vec![0xC3], vec![5, 50]));
    assert_eq!(read(6), [6], "what was volatile is gone");
}

#[test]
fn only_what_outlives_a_restart_is_saved() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x21, &[1, 6, 7]).0, 0);
    assert!(rig.bmc.poll_save().is_none());
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x21, &[1, 5, 7]).0, 0);
    assert!(rig.bmc.poll_save().is_some());
}

#[test]
fn activation_heeds_the_enable_bit_and_the_level() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut operator = login(&mut rig, Suite::Three, "operator", "operator-secret", 0x13).unwrap();
    assert_eq!(operator.command(&mut rig, APP, 0x48, &ACTIVATE).0, 0xD4, "as user");
    operator.command(&mut rig, APP, 0x3B, &[3]);
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x21, &[1, 2, 0xC4]).0, 0);
    assert_eq!(operator.command(&mut rig, APP, 0x48, &ACTIVATE).0, 0xD4);
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x21, &[1, 2, 0xC3]).0, 0);
    assert_eq!(operator.command(&mut rig, APP, 0x48, &ACTIVATE).0, 0);
    assert_eq!(operator.command(&mut rig, APP, 0x49, &[1, 1, 0, 0, 0, 0]).0, 0);
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x21, &[1, 1, 0]).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x48, &ACTIVATE).0, 0x81);
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x21, &[1, 1, 1]).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x48, &ACTIVATE).0, 0);
}
