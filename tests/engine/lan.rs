//! LAN configuration.

use std::net::Ipv4Addr;

use qemu_bmc::bmc::Bmc;
use qemu_bmc::plan::LanIdentity;

use crate::console::{Rig, Session, config};
use crate::users::administrator;

const TRANSPORT: u8 = 0x0C;

fn rig() -> Rig {
    let lan = LanIdentity {
        address: Ipv4Addr::new(192, 0, 2, 10),
        prefix: 24,
        gateway: Ipv4Addr::new(192, 0, 2, 1),
        gateway_mac: [2, 0, 0, 0, 0, 1],
        mac: [2, 0, 0, 0, 0, 10],
        ipv6: vec![("fd00::10".parse().unwrap(), 64)],
    };
    let mut config = config();
    config.lan = lan;
    Rig { bmc: Bmc::new(config, [7; 32]), ..Rig::new() }
}

fn get(rig: &mut Rig, session: &mut Session, parameter: u8, selector: u8) -> Result<Vec<u8>, u8> {
    let (code, data) = session.command(rig, TRANSPORT, 0x02, &[1, parameter, selector, 0]);
    if code != 0 {
        return Err(code);
    }
    assert_eq!(data[0], 0x11);
    Ok(data[1..].to_vec())
}

fn set(rig: &mut Rig, session: &mut Session, parameter: u8, value: &[u8]) -> u8 {
    session.command(rig, TRANSPORT, 0x01, &[&[1, parameter][..], value].concat()).0
}

#[test]
fn addresses_are_told_and_written_only_as_they_are() {
    let mut rig = rig();
    let mut session = administrator(&mut rig);
    for (parameter, value) in [
        (3, vec![192, 0, 2, 10]),
        (4, vec![1]),
        (5, vec![2, 0, 0, 0, 0, 10]),
        (6, vec![255, 255, 255, 0]),
        (8, vec![0x57, 0x18]),
        (12, vec![192, 0, 2, 1]),
        (13, vec![2, 0, 0, 0, 0, 1]),
        (14, vec![0; 4]),
        (17, vec![4]),
        (22, vec![2]),
        (23, vec![0, 3, 17]),
        (26, vec![0; 6]),
        (50, vec![2]),
        (55, vec![1, 0, 0]),
    ] {
        assert_eq!(get(&mut rig, &mut session, parameter, 0), Ok(value.clone()), "{parameter}");
        assert_eq!(set(&mut rig, &mut session, parameter, &value), 0, "{parameter}");
        let mut other = value;
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(set(&mut rig, &mut session, parameter, &other), 0x82, "{parameter}");
    }
    let v6 = get(&mut rig, &mut session, 56, 0).unwrap();
    assert_eq!((v6.len(), &v6[..4], &v6[18..]), (20, &[0, 0x80, 0xFD, 0][..], &[64, 0][..]));
    assert_eq!(get(&mut rig, &mut session, 56, 1), Err(0xC9));
    assert_eq!(get(&mut rig, &mut session, 9, 0), Err(0x80));
    assert_eq!(set(&mut rig, &mut session, 200, &[0]), 0x80);
    assert!(rig.bmc.poll_save().is_none());
}

#[test]
fn other_parameters_are_remembered() {
    let mut rig = rig();
    let mut session = administrator(&mut rig);
    let mut community = b"traps".to_vec();
    community.resize(18, 0);
    for (parameter, selector, value) in [
        (2, 0, vec![0; 5]),
        (7, 0, vec![0x20, 0x40, 0x10]),
        (16, 0, community),
        (18, 4, vec![4, 0x80, 3, 2]),
        (19, 1, vec![1, 0, 0, 198, 51, 100, 7, 2, 0, 0, 0, 0, 9]),
        (20, 0, vec![100, 0]),
        (21, 0, vec![5]),
        (24, 0, vec![0, 0x44, 0x40, 0, 0, 0, 0, 0, 0]),
        (25, 1, vec![1, 0x10, 7, 0]),
        (52, 0, vec![1]),
        (53, 0, vec![32]),
        (54, 0, vec![1, 2, 3]),
    ] {
        assert_eq!(set(&mut rig, &mut session, parameter, &value), 0, "{parameter}");
        assert_eq!(get(&mut rig, &mut session, parameter, selector), Ok(value), "{parameter}");
        assert_eq!(set(&mut rig, &mut session, parameter, &[]), 0xC7, "{parameter}");
    }
    assert_eq!(set(&mut rig, &mut session, 18, &[5, 0, 0, 0]), 0xC9);
    assert_eq!(set(&mut rig, &mut session, 20, &[100, 0x80]), 0x82, "VLAN on");
    assert_eq!(set(&mut rig, &mut session, 2, &[2, 0, 0, 0, 0]), 0xC9, "MD2 is not offered");
    let saved = rig.bmc.poll_save().unwrap();
    let mut rig = self::rig();
    rig.bmc.restore(&saved).unwrap();
    let mut session = administrator(&mut rig);
    assert_eq!(get(&mut rig, &mut session, 21, 0), Ok(vec![5]));
    assert_eq!(get(&mut rig, &mut session, 18, 4), Ok(vec![4, 0x80, 3, 2]));
}

#[test]
fn a_mac_address_is_never_all_zero() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mac = get(&mut rig, &mut session, 5, 0).unwrap();
    assert_eq!(mac[0], 2, "locally administered");
    assert_ne!(mac[1..], [0; 5]);
}

#[test]
fn the_last_suite_of_administrators_stays() {
    let mut config = config();
    config.cipher_suites = vec![3];
    let mut rig = Rig { bmc: Bmc::new(config, [7; 32]), ..Rig::new() };
    let mut session = crate::console::login(
        &mut rig,
        crate::console::Suite::Three,
        "admin",
        "admin-secret",
        0x14,
    )
    .unwrap();
    session.command(&mut rig, 0x06, 0x3B, &[4]);
    assert_eq!(set(&mut rig, &mut session, 24, &[0; 9]), 0xD5);
    let table = get(&mut rig, &mut session, 24, 0).unwrap();
    assert_eq!(table, [0, 0, 0x40, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn set_in_progress_belongs_to_a_session() {
    let mut rig = rig();
    let mut one = administrator(&mut rig);
    let mut two = administrator(&mut rig);
    for (net_fn, command) in [(TRANSPORT, 0x01), (TRANSPORT, 0x21)] {
        assert_eq!(one.command(&mut rig, net_fn, command, &[1, 0, 1]).0, 0);
        assert_eq!(two.command(&mut rig, net_fn, command, &[1, 0, 1]).0, 0x81);
        assert_eq!(two.command(&mut rig, net_fn, command + 1, &[1, 0, 0, 0]).1, [0x11, 1]);
        assert_eq!(one.command(&mut rig, net_fn, command, &[1, 0, 2]).0, 0, "nothing to commit");
        assert_eq!(one.command(&mut rig, net_fn, command, &[1, 0, 0]).0, 0);
        assert_eq!(two.command(&mut rig, net_fn, command, &[1, 0, 1]).0, 0);
        assert_eq!(two.command(&mut rig, net_fn, command, &[1, 0, 0]).0, 0);
    }
    assert!(rig.bmc.poll_save().is_none());
}

#[test]
fn statistics_count_and_are_cleared() {
    let mut rig = rig();
    let mut session = administrator(&mut rig);
    let (_, before) = session.command(&mut rig, TRANSPORT, 0x04, &[1, 0]);
    assert_eq!(before.len(), 18);
    let (received, valid) = (before[10], before[12]);
    // The one that asks is received, and not yet found sound.
    assert_eq!(received, valid + 1);
    rig.exchange(b"no datagram of ours");
    let (_, after) = session.command(&mut rig, TRANSPORT, 0x04, &[1, 1]);
    assert_eq!((after[10], after[12]), (received + 2, valid + 1));
    let (_, cleared) = session.command(&mut rig, TRANSPORT, 0x04, &[1, 0]);
    assert_eq!((cleared[10], cleared[12]), (1, 1));
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x03, &[1, 3]), (0, vec![2]));
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x04, &[2, 0]).0, 0xCC);
    // Only the revision.
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x02, &[0x81, 3, 0, 0]), (0, vec![0x11]));
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x02, &[0x0F, 3, 0, 0]).0, 0xCC);
    assert_eq!(session.command(&mut rig, TRANSPORT, 0x02, &[1, 3, 0]).0, 0xC7);
}
