//! Users: access, names, passwords, and what becomes of them after a restart.

use qemu_bmc::bmc::{Bmc, Config, User};
use qemu_bmc::profile::check::Declared;
use qemu_bmc::value::Secret;
use qemu_bmc::wire::code::Privilege;

use crate::APP;
use crate::console::{Refused, Rig, Session, Suite, admin, config, login};

/// Everything, as a profile may say it.
const ALL: Declared = Declared { name: true, password: true, privilege: true, enabled: true };
const NO_ACCESS: u8 = 0x0F;

pub(crate) fn administrator(rig: &mut Rig) -> Session {
    let mut session = admin(rig);
    session.command(rig, APP, 0x3B, &[4]);
    session
}

fn name(id: u8, name: &str) -> Vec<u8> {
    let mut data = vec![id];
    data.extend(name.as_bytes());
    data.resize(17, 0);
    data
}

fn password(id: u8, operation: u8, password: &str, size: usize) -> Vec<u8> {
    let long = if size == 20 { 0x80 } else { 0 };
    let mut data = vec![long | id, operation];
    data.extend(password.as_bytes());
    data.resize(2 + size, 0);
    data
}

/// A new user in slot 5, as ipmitool makes one.
fn make(rig: &mut Rig, session: &mut Session, level: u8) {
    for (command, data) in [
        (0x45, name(5, "carol")),
        (0x47, password(5, 2, "carol-secret", 16)),
        (0x43, vec![0xB1, 5, level, 0]),
        (0x47, password(5, 1, "", 16)),
    ] {
        assert_eq!(session.command(rig, APP, command, &data), (0, vec![]), "{command:x}");
    }
}

#[test]
fn a_user_is_made_logs_in_and_is_taken_away() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, APP, 0x44, &[1, 5]), (0, vec![15, 0x83, 1, NO_ACCESS]));
    assert_eq!(session.command(&mut rig, APP, 0x46, &[5]), (0, vec![0; 16]), "an empty slot");
    make(&mut rig, &mut session, 3);
    assert_eq!(session.command(&mut rig, APP, 0x44, &[0x0E, 5]), (0, vec![15, 0x44, 1, 0x33]));
    assert_eq!(session.command(&mut rig, APP, 0x44, &[0x0F, 5]).1[3], NO_ACCESS, "another channel");
    assert_eq!(session.command(&mut rig, APP, 0x46, &[5]).1, name(5, "carol")[1..]);
    assert!(rig.bmc.poll_save().is_some());
    let refused = login(&mut rig, Suite::Three, "carol", "carol-secret", 0x14).err();
    assert_eq!(refused, Some(Refused::Rakp2(0x09)), "no administrator");
    let mut hers = login(&mut rig, Suite::Three, "carol", "carol-secret", 0x13).unwrap();
    assert_eq!(hers.command(&mut rig, APP, 0x01, &[]).0, 0);
    assert_eq!(rig.bmc.open_sessions(), 2);

    // As pyghmi takes users away.
    assert_eq!(session.command(&mut rig, APP, 0x47, &[5, 0]).0, 0);
    assert_eq!(rig.bmc.open_sessions(), 1, "her session went with her right to it");
    let refused = login(&mut rig, Suite::Three, "carol", "carol-secret", 0x13).err();
    assert_eq!(refused, Some(Refused::Rakp2(0x0D)));
    assert_eq!(session.command(&mut rig, APP, 0x43, &[0xB1, 5, NO_ACCESS, 0]).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x45, &name(5, "")).0, 0);
    // Whoever gets the slot next does not have her password.
    for (command, data) in [(0x45, name(5, "dave")), (0x43, vec![0xB1, 5, 3]), (0x47, vec![5, 1])] {
        assert_eq!(session.command(&mut rig, APP, command, &data).0, 0);
    }
    let refused = login(&mut rig, Suite::Three, "dave", "carol-secret", 0x13).err();
    assert_eq!(refused, Some(Refused::Rakp2(0x0D)));
}

#[test]
fn passwords_are_of_sixteen_or_twenty_bytes() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    make(&mut rig, &mut session, 3);
    let mut ask = |data: Vec<u8>| session.command(&mut rig, APP, 0x47, &data).0;
    assert_eq!(ask(password(5, 3, "carol-secret", 16)), 0);
    assert_eq!(ask(password(5, 3, "carol-secreT", 16)), 0x80);
    assert_eq!(ask(password(5, 3, "carol-secret", 20)), 0x81, "stored as one of 16");
    assert_eq!(ask(password(5, 2, "twenty-bytes-long-12", 20)), 0);
    assert_eq!(ask(password(5, 3, "twenty-bytes-long-12", 20)), 0);
    assert_eq!(ask(password(5, 3, "twenty-bytes-lon", 16)), 0x81);
    assert_eq!(ask(password(6, 3, "", 16)), 0x80, "nobody there");
    for wrong in [vec![5], vec![5, 2], password(5, 2, "x", 17), password(5, 0, "x", 3)] {
        assert_eq!(ask(wrong), 0xC7);
    }
    let mut size_and_bit_differ = password(5, 2, "x", 20);
    size_and_bit_differ[0] = 5;
    assert_eq!(ask(size_and_bit_differ), 0xC7);
    assert_eq!(ask(password(5, 2, "a\0b", 16)), 0xCC);
    assert_eq!(ask(password(0, 2, "x", 16)), 0xCC);
    assert_eq!(ask(password(16, 2, "x", 16)), 0xCC);
    // Enabling and disabling, with a password of either size, and without.
    for data in [vec![5, 0], vec![5, 1], password(5, 0, "", 16), password(5, 1, "y", 20)] {
        assert_eq!(ask(data), 0);
    }
    login(&mut rig, Suite::Three, "carol", "twenty-bytes-long-12", 0x13).unwrap();
}

#[test]
fn the_anonymous_user_stays_what_he_is() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut ask = |command, data: &[u8]| session.command(&mut rig, APP, command, data).0;
    assert_eq!(ask(0x45, &name(1, "ghost")), 0xCC);
    assert_eq!(ask(0x47, &[1, 1]), 0xCC, "enable");
    assert_eq!(ask(0x47, &password(1, 2, "boo", 16)), 0xCC);
    assert_eq!(ask(0x43, &[0xB1, 1, 4, 0]), 0xCC);
    // What FreeIPMI writes back unchanged is no harm.
    assert_eq!(ask(0x45, &name(1, "")), 0);
    assert_eq!(ask(0x47, &[1, 0]), 0);
    assert_eq!(ask(0x43, &[0x81, 1, NO_ACCESS]), 0);
}

#[test]
fn names_are_unique_and_users_known() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut ask = |command, data: &[u8]| session.command(&mut rig, APP, command, data).0;
    assert_eq!(ask(0x45, &name(5, "admin")), 0xCC);
    assert_eq!(ask(0x45, &name(2, "admin")), 0, "his own");
    assert_eq!(ask(0x45, &name(5, "a\0b")), 0xCC);
    assert_eq!(ask(0x45, &name(5, "x")[..16]), 0xC7);
    assert_eq!(ask(0x46, &[0]), 0xCC);
    assert_eq!(ask(0x46, &[16]), 0xCC);
    assert_eq!(ask(0x44, &[2, 2]), 0xCC, "no such channel");
    assert_eq!(ask(0x43, &[0xB1, 5, 0]), 0xCC, "no such level");
    assert_eq!(ask(0x43, &[0xB1, 5]), 0xC7);
}

#[test]
fn the_last_administrator_cannot_be_locked_out() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let all = [
        (0x47, vec![2, 0]),
        (0x47, password(2, 2, "", 16)),
        (0x45, name(2, "")),
        (0x43, vec![0x01, 2, 3]),
        (0x43, vec![0x01, 2, NO_ACCESS]),
        (0x43, vec![0xA1, 2, 4]),
    ];
    for (command, data) in &all {
        assert_eq!(session.command(&mut rig, APP, *command, data).0, 0xD5, "{data:?}");
    }
    assert!(rig.bmc.poll_save().is_none(), "nothing has changed");
    assert_eq!(session.command(&mut rig, APP, 0x47, &password(2, 2, "new", 16)).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x45, &name(2, "root")).0, 0);
    rig.bmc.poll_save().unwrap();
    // With another one he can go, even by his own hand.
    let mut session = login(&mut rig, Suite::Three, "root", "new", 0x14).unwrap();
    session.command(&mut rig, APP, 0x3B, &[4]);
    make(&mut rig, &mut session, 4);
    assert_eq!(session.command(&mut rig, APP, 0x47, &[2, 0]).0, 0);
    assert_eq!(rig.bmc.open_sessions(), 0);
    login(&mut rig, Suite::Three, "carol", "carol-secret", 0x14).unwrap();
}

#[test]
fn only_administrators_change_users() {
    let mut rig = Rig::new();
    let mut session = login(&mut rig, Suite::Three, "operator", "operator-secret", 0x13).unwrap();
    session.command(&mut rig, APP, 0x3B, &[3]);
    assert_eq!(session.command(&mut rig, APP, 0x46, &[2]).0, 0);
    for command in [0x43, 0x45, 0x47, 0x40, 0x4C, 0x56] {
        assert_eq!(session.command(&mut rig, APP, command, &[]).0, 0xD4, "{command:x}");
    }
}

#[test]
fn sessions_end_with_the_rights_that_opened_them() {
    // Each change takes away the session, whatever was changed before.
    let changes: [(&str, u8, Vec<u8>); 5] = [
        ("password", 0x47, password(5, 2, "another", 16)),
        ("no password", 0x47, password(5, 2, "", 16)),
        ("disabled", 0x47, vec![5, 0]),
        ("demoted", 0x43, vec![0x01, 5, 2]),
        ("callback only", 0x43, vec![0xF1, 5, 4]),
    ];
    for (what, command, data) in changes {
        let mut rig = Rig::new();
        let mut session = administrator(&mut rig);
        make(&mut rig, &mut session, 4);
        let _hers = level_4(&mut rig, "carol", "carol-secret").unwrap();
        let half_open = crate::console::open(&mut rig, 4, Suite::Three).unwrap();
        crate::console::setup(&mut rig, 0x12, &crate::console::rakp1(half_open, 0x14, "carol"));
        assert_eq!(rig.bmc.open_sessions(), 2);
        assert_eq!(session.command(&mut rig, APP, command, &data).0, 0, "{what}");
        assert_eq!(rig.bmc.open_sessions(), 1, "{what}");
        let gone = [&[0x33, 0, 0, 0][..], &half_open.to_le_bytes(), &[0; 20]].concat();
        assert_eq!(crate::console::setup(&mut rig, 0x14, &gone)[1], 0x02, "{what}");
        // And a demoted one is not back by what follows.
        assert_eq!(session.command(&mut rig, APP, 0x45, &name(5, "")).0, 0);
    }
    // His own password does not cut off who sets it.
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let _other = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, APP, 0x47, &password(2, 2, "mine now", 16)).0, 0);
    assert_eq!(rig.bmc.open_sessions(), 1);
    assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0);
}

#[test]
fn a_slot_that_is_emptied_leaves_nothing_to_the_next() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    make(&mut rig, &mut session, 4);
    assert_eq!(session.command(&mut rig, APP, 0x4C, &[1, 5, 2, 0, 0, 0]).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x45, &name(5, "")).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x44, &[1, 5]).1[3], NO_ACCESS);
    assert_eq!(session.command(&mut rig, APP, 0x4D, &[1, 5]).1[0], 0, "no SOL");
    assert_eq!(session.command(&mut rig, APP, 0x45, &name(5, "joe")).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x47, &password(5, 2, "joes", 16)).0, 0);
    let refused = login(&mut rig, Suite::Three, "joe", "joes", 0x12).err();
    assert_eq!(refused, Some(Refused::Rakp2(0x0D)), "nobody has enabled him");
    let mut odd = name(5, "x");
    odd[2] = 0x1B;
    assert_eq!(session.command(&mut rig, APP, 0x45, &odd).0, 0xCC, "not for a log");
}

#[test]
fn who_is_no_administrator_cannot_take_the_last_sessions() {
    let mut rig = Rig::new();
    let mut taken = 0;
    while login(&mut rig, Suite::Three, "user", "user-secret", 0x12).is_ok() {
        taken += 1;
        assert!(taken < 255);
    }
    administrator(&mut rig);
}

#[test]
fn sol_ends_with_the_right_to_it() {
    const TRANSPORT: u8 = 0x0C;
    for (net_fn, command, data) in
        [(APP, 0x4C, vec![1, 0x42, 2, 0, 0, 0]), (TRANSPORT, 0x21, vec![1, 1, 0])]
    {
        let mut rig = Rig::new();
        let mut session = administrator(&mut rig);
        assert_eq!(session.command(&mut rig, APP, 0x48, &[1, 1, 0xC0, 0, 0, 0]).0, 0);
        assert!(rig.bmc.sol_active());
        let request = crate::console::message(net_fn, command, 60, &data);
        let datagram = session.seal(0, &request);
        rig.exchange(&datagram);
        assert!(!rig.bmc.sol_active());
    }
}

fn bmc(users: &[(&str, &str, Declared)]) -> Rig {
    let user = |(name, password, declared): &(&str, &str, Declared)| User {
        name: (*name).into(),
        password: Secret::new(*password).unwrap(),
        privilege: Privilege::ADMINISTRATOR,
        enabled: true,
        declared: *declared,
    };
    let config = Config { users: users.iter().map(user).collect(), ..config() };
    Rig { bmc: Bmc::new(config, [7; 32]), ..Rig::new() }
}

fn level_4(rig: &mut Rig, name: &str, password: &str) -> Result<Session, Refused> {
    let mut session = login(rig, Suite::Three, name, password, 0x14)?;
    session.command(rig, APP, 0x3B, &[4]);
    Ok(session)
}

#[test]
fn after_a_restart_what_the_profile_sets_wins_and_the_rest_is_kept() {
    let default = ("admin", "password", Declared::default());
    let bob = ("bob", "bob-secret", Declared { name: true, password: true, ..Declared::default() });
    let mut rig = bmc(&[default, bob]);
    let mut session = level_4(&mut rig, "admin", "password").unwrap();
    for (command, data) in [
        (0x47, password(2, 2, "changed", 16)),
        (0x47, password(3, 2, "changed", 16)),
        (0x47, vec![3, 0]),
    ] {
        assert_eq!(session.command(&mut rig, APP, command, &data).0, 0);
    }
    make(&mut rig, &mut session, 4);
    let saved = rig.bmc.poll_save().unwrap();

    // The same profile.
    let mut rig = bmc(&[default, bob]);
    rig.bmc.restore(&saved).unwrap();
    assert!(level_4(&mut rig, "admin", "changed").is_ok(), "the default's change is kept");
    assert!(level_4(&mut rig, "carol", "carol-secret").is_ok());
    assert_eq!(
        level_4(&mut rig, "bob", "bob-secret").err(),
        Some(Refused::Rakp2(0x0D)),
        "disabled"
    );
    let mut session = level_4(&mut rig, "carol", "carol-secret").unwrap();
    assert_eq!(session.command(&mut rig, APP, 0x47, &[3, 1]).0, 0);
    assert!(level_4(&mut rig, "bob", "bob-secret").is_ok(), "his password is the profile's");

    // The profile sets more.
    let mut rig = bmc(&[("admin", "mine", ALL), ("bob", "bob-secret", ALL)]);
    rig.bmc.restore(&saved).unwrap();
    assert!(level_4(&mut rig, "admin", "mine").is_ok());
    assert!(level_4(&mut rig, "bob", "bob-secret").is_ok());

    // Bob has left the profile; carol's slot and name are somebody else's now.
    let mut rig = bmc(&[default]);
    rig.bmc.restore(&saved).unwrap();
    assert_eq!(level_4(&mut rig, "bob", "bob-secret").err(), Some(Refused::Rakp2(0x0D)));
    let mut rig = bmc(&[default, ("carol", "hers", ALL)]);
    rig.bmc.restore(&saved).unwrap();
    assert!(level_4(&mut rig, "carol", "hers").is_ok());
    let mut session = level_4(&mut rig, "admin", "changed").unwrap();
    assert_eq!(session.command(&mut rig, APP, 0x46, &[5]).1, [0; 16], "the name is taken");
}

#[test]
fn what_nobody_changed_is_not_saved() {
    let mut rig = bmc(&[("admin", "password", ALL), ("bob", "bob-secret", ALL)]);
    let mut session = level_4(&mut rig, "admin", "password").unwrap();
    // Something else that is saved.
    assert_eq!(session.command(&mut rig, 0x0C, 0x21, &[1, 1, 0]).0, 0);
    let saved = rig.bmc.poll_save().unwrap();
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(saved["users"], serde_json::json!({}));
    assert_eq!(saved["sol"]["enabled"], false);
}

#[test]
fn a_name_of_the_profile_is_its_own_whichever_slot_it_is_in() {
    let default = ("admin", "password", Declared::default());
    let mut rig = bmc(&[default]);
    let mut session = level_4(&mut rig, "admin", "password").unwrap();
    assert_eq!(session.command(&mut rig, APP, 0x45, &name(2, "bob")).0, 0);
    let saved = rig.bmc.poll_save().unwrap();
    let mut rig = bmc(&[default, ("bob", "bob-secret", ALL)]);
    rig.bmc.restore(&saved).unwrap();
    assert!(level_4(&mut rig, "bob", "bob-secret").is_ok());
    assert!(level_4(&mut rig, "admin", "password").is_ok());
}

#[test]
fn a_table_of_cipher_suites_that_leaves_none_is_not_taken_over() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    // Suite 17 has no limit, so this is accepted.
    let none = [&[1, 24, 0][..], &[0; 8]].concat();
    assert_eq!(session.command(&mut rig, 0x0C, 0x01, &none).0, 0);
    let saved = rig.bmc.poll_save().unwrap();
    let mut rig = Rig::with(Config { cipher_suites: vec![3], ..config() });
    rig.bmc.restore(&saved).unwrap();
    assert!(level_4(&mut rig, "admin", "admin-secret").is_ok());
    assert!(rig.bmc.restore("[]").is_err());
    assert!(rig.bmc.restore("null").is_err());
}
