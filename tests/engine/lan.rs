//! LAN configuration.

use std::net::Ipv4Addr;

use qemu_bmc::bmc::{Bmc, Config};
use qemu_bmc::plan::LanIdentity;

use crate::console::{Rig, Session, Suite, config, login};
use crate::users::administrator;

const TRANSPORT: u8 = 0x0C;

fn identity() -> LanIdentity {
    LanIdentity {
        address: Ipv4Addr::new(192, 0, 2, 10),
        prefix: 24,
        gateway: Ipv4Addr::new(192, 0, 2, 1),
        gateway_mac: [2, 0, 0, 0, 0, 1],
        mac: [2, 0, 0, 0, 0, 10],
        ipv6: vec![("fd00::10".parse().unwrap(), 64)],
    }
}

fn rig() -> Rig {
    Rig::with(Config { lan: identity(), ..config() })
}

fn settable() -> Rig {
    Rig::with(Config { lan: identity(), lan_settable: true, ..config() })
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
    let mut session = login(&mut rig, Suite::Three, "admin", "admin-secret", 0x14).unwrap();
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

#[test]
fn the_interface_is_followed() {
    for mut rig in [rig(), settable()] {
        let mut session = administrator(&mut rig);
        assert_eq!(get(&mut rig, &mut session, 3, 0), Ok(vec![192, 0, 2, 10]));
        rig.bmc.handle_lan(LanIdentity {
            address: Ipv4Addr::new(198, 51, 100, 7),
            prefix: 22,
            gateway: Ipv4Addr::new(198, 51, 100, 1),
            gateway_mac: [2, 0, 0, 0, 0, 2],
            mac: [2, 0, 0, 0, 0, 11],
            ipv6: Vec::new(),
        });
        for (parameter, value) in [
            (3, vec![198, 51, 100, 7]),
            (5, vec![2, 0, 0, 0, 0, 11]),
            (6, vec![255, 255, 252, 0]),
            (12, vec![198, 51, 100, 1]),
            (13, vec![2, 0, 0, 0, 0, 2]),
            (51, vec![0]),
        ] {
            assert_eq!(get(&mut rig, &mut session, parameter, 0), Ok(value), "{parameter}");
        }
        assert!(rig.bmc.poll_save().is_none());
        assert_eq!(rig.bmc.differences(), []);
    }
}

#[test]
fn addresses_that_can_be_set_are_told_kept_and_logged() {
    let mut rig = settable();
    let mut session = administrator(&mut rig);
    let other: [(u8, &str, Vec<u8>, [&str; 2]); 8] = [
        (3, "IP address", vec![198, 51, 100, 9], ["192.0.2.10", "198.51.100.9"]),
        (4, "IP address source", vec![2], ["static", "DHCP"]),
        (5, "MAC address", vec![2, 0, 0, 0, 1, 1], ["02:00:00:00:00:0a", "02:00:00:00:01:01"]),
        (6, "subnet mask", vec![255, 255, 0, 0], ["255.255.255.0", "255.255.0.0"]),
        (12, "default gateway", vec![198, 51, 100, 1], ["192.0.2.1", "198.51.100.1"]),
        (
            13,
            "MAC address of the default gateway",
            vec![2, 0, 0, 0, 1, 2],
            ["02:00:00:00:00:01", "02:00:00:00:01:02"],
        ),
        (14, "backup gateway", vec![198, 51, 100, 2], ["0.0.0.0", "198.51.100.2"]),
        (
            15,
            "MAC address of the backup gateway",
            vec![2, 0, 0, 0, 1, 3],
            ["00:00:00:00:00:00", "02:00:00:00:01:03"],
        ),
    ];
    for (parameter, name, value, [own, now]) in &other {
        let before = get(&mut rig, &mut session, *parameter, 0).unwrap();
        assert_eq!(set(&mut rig, &mut session, *parameter, &before), 0, "{name}");
        assert!(rig.bmc.poll_save().is_none(), "{name}: it is so already");
        let logged = rig.bmc.sel().len();
        assert_eq!(set(&mut rig, &mut session, *parameter, value), 0, "{name}");
        assert_eq!(get(&mut rig, &mut session, *parameter, 0).as_ref(), Ok(value), "{name}");
        assert!(rig.bmc.poll_save().is_some(), "{name}");
        let [entry] = &rig.bmc.sel()[logged..] else { panic!("{name}: not logged once") };
        assert_eq!(entry.event, "system reconfigured");
        let detail = entry.detail.as_ref().unwrap();
        let who = format!("LAN {name} set to {now} by user admin (2) from 192.0.2.1:50000, ");
        assert!(detail.starts_with(&who), "{detail}");
        let differences = rig.bmc.differences();
        let difference = differences.iter().find(|found| found.setting == format!("LAN {name}"));
        let difference = difference.unwrap();
        assert_eq!([&difference.profile, &difference.now], [own, now], "{name}");
        // Cut short, it changes nothing.
        assert_eq!(set(&mut rig, &mut session, *parameter, &value[1..]), 0xC7, "{name}");
        assert_eq!(set(&mut rig, &mut session, *parameter, &[&value[..], &[0]].concat()), 0xC7);
    }
    assert_eq!(rig.bmc.differences().len(), other.len());
    for (parameter, value) in [
        (3, vec![224, 0, 0, 1]),
        (3, vec![255; 4]),
        (4, vec![5]),
        (5, vec![1, 0, 0x5E, 0, 0, 1]),
        (6, vec![255, 0, 255, 0]),
        (12, vec![239, 1, 1, 1]),
    ] {
        assert_eq!(set(&mut rig, &mut session, parameter, &value), 0xC9, "{parameter} {value:?}");
    }
    assert!(rig.bmc.poll_save().is_none());
    // The rest is read-only as ever.
    assert_eq!(set(&mut rig, &mut session, 8, &[0x6F, 0x03]), 0x82);
    assert_eq!(set(&mut rig, &mut session, 26, &[1; 6]), 0x82);
    let mut operator = login(&mut rig, Suite::Three, "operator", "operator-secret", 0x13).unwrap();
    operator.command(&mut rig, 0x06, 0x3B, &[3]);
    assert_eq!(set(&mut rig, &mut operator, 3, &[192, 0, 2, 10]), 0xD4);
    assert_eq!(get(&mut rig, &mut operator, 3, 0), Ok(vec![198, 51, 100, 9]));

    // It outlives a restart, and what the interface has does not count any more.
    assert_eq!(set(&mut rig, &mut session, 16, &[0; 18]), 0);
    let saved = rig.bmc.poll_save().unwrap();
    let mut rig = settable();
    rig.bmc.restore(&saved).unwrap();
    rig.bmc.handle_lan(LanIdentity { address: Ipv4Addr::new(10, 0, 0, 1), ..identity() });
    let mut session = administrator(&mut rig);
    for (parameter, name, value, _) in &other {
        assert_eq!(get(&mut rig, &mut session, *parameter, 0).as_ref(), Ok(value), "{name}");
    }
    // Unless it is set to what that has: then it follows again.
    assert_eq!(set(&mut rig, &mut session, 3, &[10, 0, 0, 1]), 0);
    rig.bmc.handle_lan(LanIdentity { address: Ipv4Addr::new(10, 0, 0, 2), ..identity() });
    assert_eq!(get(&mut rig, &mut session, 3, 0), Ok(vec![10, 0, 0, 2]));
    // No MAC address is none of its own.
    assert_eq!(set(&mut rig, &mut session, 5, &[0; 6]), 0);
    assert_eq!(get(&mut rig, &mut session, 5, 0), Ok(vec![2, 0, 0, 0, 0, 10]));

    // Where the profile does not allow it, it is as if it had never been set.
    let mut rig = self::rig();
    rig.bmc.restore(&saved).unwrap();
    let mut session = administrator(&mut rig);
    assert_eq!(get(&mut rig, &mut session, 3, 0), Ok(vec![192, 0, 2, 10]));
    assert_eq!(get(&mut rig, &mut session, 4, 0), Ok(vec![1]));
    assert_eq!(set(&mut rig, &mut session, 3, &[198, 51, 100, 9]), 0x82);
    let settings: Vec<String> =
        rig.bmc.differences().into_iter().map(|difference| difference.setting).collect();
    assert_eq!(settings, ["lan.community"]);
}
