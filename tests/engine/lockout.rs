//! Bad passwords, by the thousand.

use std::net::SocketAddr;
use std::time::Duration;

use qemu_bmc::bmc::Config;

use crate::console::{self, Refused, Rig, Suite, admin, login, open, setup};
use crate::storage::{events, started};
use crate::v15;

const THRESHOLD: u32 = 20;

/// A login that goes on to the BMC's own judgement, as an attacker's does who does not look at
/// RAKP Message 2: the status of RAKP Message 2, or of 4.
fn guess(rig: &mut Rig, name: &str) -> u8 {
    let id = open(rig, 0, Suite::Three).unwrap();
    let status = setup(rig, 0x12, &console::rakp1(id, 0x12, name))[1];
    if status != 0 {
        return status;
    }
    setup(rig, 0x14, &wrong_rakp3(id))[1]
}

fn wrong_rakp3(id: u32) -> Vec<u8> {
    let mut rakp3 = vec![0x33, 0, 0, 0];
    rakp3.extend(id.to_le_bytes());
    rakp3.extend([0; 20]);
    rakp3
}

fn from(rig: &mut Rig, address: &str) {
    rig.from = SocketAddr::new(address.parse().unwrap(), 50_000);
}

fn logs_in(rig: &mut Rig, name: &str) -> bool {
    match login(rig, Suite::Seventeen, name, &format!("{name}-secret"), 0x12) {
        Ok(mut session) => {
            let id = session.managed_id.to_le_bytes();
            session.command(rig, 0x06, 0x3C, &id);
            true
        }
        Err(Refused::Rakp2(0x0D)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn who_guesses_passwords_keeps_nobody_out_but_himself() {
    let mut rig = Rig::new();
    let mut judged = 0;
    for number in 0..10_000_u32 {
        // Another port each time, and a reconnaissance of other names between.
        rig.from =
            SocketAddr::new("192.0.2.66".parse().unwrap(), u16::try_from(number + 1).unwrap());
        judged += u32::from(guess(&mut rig, "admin") == 0x0F);
        assert_eq!(guess(&mut rig, "nobody"), 0x0D);
        if number % 100 == 0 {
            from(&mut rig, "192.0.2.1");
            assert!(logs_in(&mut rig, "admin"), "from elsewhere, after {number}");
        }
    }
    // One millisecond a datagram: 60 s is 12,000 of them or so.
    assert!((THRESHOLD..=5 * THRESHOLD).contains(&judged), "{judged} of 10,000 were tried");
    from(&mut rig, "192.0.2.66");
    assert!(!logs_in(&mut rig, "admin"), "not even with the right password");
    assert!(logs_in(&mut rig, "operator"), "who is somebody else");
    rig.pass(Duration::from_secs(61));
    assert!(logs_in(&mut rig, "admin"), "not for ever");
}

#[test]
fn attempts_side_by_side_are_no_way_round() {
    let mut rig = Rig::new();
    let attempts: Vec<(u32, Vec<u8>)> = (0..200_u32)
        .map(|number| {
            let mut request = console::open_session_request(0, [1, 1, 1]);
            request[4..8].copy_from_slice(&(number + 1).to_le_bytes());
            if number == 199 {
                request[4..8].copy_from_slice(&console::CONSOLE_ID.to_le_bytes());
            }
            let answer = setup(&mut rig, 0x10, &request);
            let id = u32::from_le_bytes(answer[8..12].try_into().unwrap());
            let rakp2 = setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
            assert_eq!(rakp2[1], 0);
            (id, rakp2)
        })
        .collect();
    // The last of them has the right one, and comes too late.
    let ((id, rakp2), wrong) = attempts.split_last().unwrap();
    let right = ("admin", "admin-secret");
    let right = console::rakp3(Suite::Three, rakp2, *id, right, 0x14);
    for (id, _) in wrong {
        assert_eq!(setup(&mut rig, 0x14, &wrong_rakp3(*id))[1], 0x0F);
    }
    assert_eq!(setup(&mut rig, 0x14, &right)[1], 0x0F);
    assert_eq!(rig.bmc.open_sessions(), 0);
}

#[test]
fn a_forged_source_locks_nobody_out() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        // The attacker hears the answers, or there is no RAKP Message 3; and says that it is the
        // administrator's.
        from(&mut rig, "192.0.2.66");
        let id = open(&mut rig, 0, Suite::Three).unwrap();
        if setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"))[1] == 0 {
            from(&mut rig, "192.0.2.1");
            assert_eq!(setup(&mut rig, 0x14, &wrong_rakp3(id))[1], 0x0F);
        }
    }
    from(&mut rig, "192.0.2.1");
    assert!(logs_in(&mut rig, "admin"));
}

#[test]
fn a_right_password_ends_the_count_and_so_does_a_new_one() {
    let mut rig = Rig::new();
    for _ in 0..10 {
        for _ in 1..THRESHOLD {
            assert_eq!(guess(&mut rig, "admin"), 0x0F);
        }
        assert!(logs_in(&mut rig, "admin"));
    }
    (0..THRESHOLD).for_each(|_| assert_eq!(guess(&mut rig, "operator"), 0x0F));
    assert!(!logs_in(&mut rig, "operator"));
    let mut session = admin(&mut rig);
    session.command(&mut rig, 0x06, 0x3B, &[4]);
    let mut password = b"another".to_vec();
    password.resize(16, 0);
    let data = [&[3, 2][..], &password].concat();
    assert_eq!(session.command(&mut rig, 0x06, 0x47, &data).0, 0);
    assert!(login(&mut rig, Suite::Seventeen, "operator", "another", 0x12).is_ok());
}

#[test]
fn attempts_that_are_not_completed_count_and_those_of_old_do_not() {
    let mut rig = Rig::new();
    for _ in 0..THRESHOLD {
        let id = open(&mut rig, 0, Suite::Three).unwrap();
        assert_eq!(setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"))[1], 0);
    }
    assert!(logs_in(&mut rig, "user"));
    rig.pass(Duration::from_secs(4));
    assert!(!logs_in(&mut rig, "admin"), "as ipmitool ends an attempt");

    let mut rig = Rig::new();
    for _ in 0..3 * THRESHOLD {
        assert_eq!(guess(&mut rig, "admin"), 0x0F);
        rig.pass(Duration::from_secs(60));
    }
    assert!(logs_in(&mut rig, "admin"));
}

#[test]
fn ipmi_1_5_is_counted_with_it() {
    let mut rig = Rig::new();
    (0..THRESHOLD).for_each(|_| assert_eq!(v15::guess(&mut rig, "admin"), Ok(())));
    assert!(!logs_in(&mut rig, "admin"));
    let refused = v15::login(&mut rig, v15::MD5, "admin", "admin-secret", 2).err();
    assert_eq!(refused, Some(0x81));
    from(&mut rig, "192.0.2.7");
    assert!(v15::login(&mut rig, v15::MD5, "admin", "admin-secret", 2).is_ok());
}

#[test]
fn the_event_log_says_who_is_locked_out_from_where() {
    let (mut rig, mut session) = started();
    from(&mut rig, "192.0.2.66");
    (0..THRESHOLD).for_each(|_| assert_eq!(guess(&mut rig, "admin"), 0x0F));
    from(&mut rig, "192.0.2.1");
    let note = "user \"admin\" is locked out from 192.0.2.66 for 60 s";
    let told: Vec<String> = rig.bmc.sel().into_iter().filter_map(|entry| entry.detail).collect();
    assert!(told.iter().any(|text| text == note), "{told:#?}");
    let events = events(&mut rig, &mut session, 0);
    assert!(events.contains(&[0x2A, 0x0B, 0x6F, 0xF3, 2, 1]), "{events:02x?}");
}

#[test]
fn zero_switches_it_off() {
    let mut rig = Rig::with(Config { bad_password_threshold: 0, ..console::config() });
    (0..1000).for_each(|_| assert_eq!(guess(&mut rig, "admin"), 0x0F));
    assert!(logs_in(&mut rig, "admin"));
}
