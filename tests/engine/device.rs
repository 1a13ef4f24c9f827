//! The BMC's own commands: chassis policy and counters, reset, watchdog, system info, DCMI.

use std::time::Duration;

use qemu_bmc::bmc::event::Request;
use qemu_bmc::machine::{self, Event, Origin, StartCause, Status, StopCause};

use crate::console::{Rig, Session, admin, engine, login};
use crate::{APP, CHASSIS, ON, answered, switched_on};

const GROUP: u8 = 0x2C;

fn administrator(rig: &mut Rig) -> Session {
    let mut session = admin(rig);
    session.command(rig, APP, 0x3B, &[4]);
    session
}

#[test]
fn a_reset_of_the_bmc_ends_all_sessions_and_leaves_the_machine_alone() {
    for command in [0x02, 0x03] {
        let mut rig = Rig::new();
        switched_on(&mut rig);
        let mut session = administrator(&mut rig);
        let _other = admin(&mut rig);
        assert_eq!(session.command(&mut rig, APP, command, &[]), (0, vec![]));
        if command == 0x03 {
            // Who asked for a warm reset can close, and has not long for it.
            assert_eq!(rig.bmc.open_sessions(), 1);
            rig.pass(Duration::from_secs(2));
            assert_eq!(session.command(&mut rig, APP, 0x01, &[]).0, 0);
            rig.pass(Duration::from_secs(2));
        }
        assert_eq!(rig.bmc.open_sessions(), 0);
        assert_eq!(rig.requests(), []);
        let mut again =
            login(&mut rig, crate::Suite::Three, "admin", "admin-secret", 0x14).unwrap();
        assert_eq!(again.command(&mut rig, CHASSIS, 0x01, &[]).1[0] & 1, 1, "still on");
    }
}

#[test]
fn the_restart_cause_says_who_it_was() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut cause = |rig: &mut Rig| session.command(rig, CHASSIS, 0x07, &[]).1[0];
    assert_eq!(cause(&mut rig), 0x0);
    let restored = Event::Requested(machine::Request::On, Origin::RestorePolicy, Ok(()));
    rig.bmc.handle_machine(rig.now, Status::OFF, &restored);
    switched_on(&mut rig);
    assert_eq!(cause(&mut rig), 0x6, "always restored");
    let started = |rig: &mut Rig, how| {
        let now = rig.now;
        rig.bmc.handle_machine(now, ON, &Event::Started(how));
    };
    started(&mut rig, StartCause::Guest);
    assert_eq!(cause(&mut rig), 0xA);
    started(&mut rig, StartCause::Reset);
    assert_eq!(cause(&mut rig), 0x2, "not by IPMI");
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[3]).0, 0);
    answered(&mut rig, ON);
    started(&mut rig, StartCause::Reset);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x07, &[]).1[0], 0x1);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[2]).0, 0);
    answered(&mut rig, Status { operation: Some(machine::Request::Cycle), ..ON });
    started(&mut rig, StartCause::PowerCycle);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x01, &[]).1[1] & 0x10, 0x10, "on by IPMI");
}

#[test]
fn the_restore_policy_is_kept_unless_the_profile_says_otherwise() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x06, &[3]), (0, vec![7]), "only a question");
    assert_eq!(rig.bmc.poll_save(), None);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x06, &[1]), (0, vec![7]));
    assert_eq!(session.command(&mut rig, CHASSIS, 0x01, &[]).1[0], 0x20, "previous");
    assert_eq!(session.command(&mut rig, CHASSIS, 0x06, &[4]).0, 0xCC);
    let saved = rig.bmc.poll_save().unwrap();
    let mut again = Rig { bmc: engine(), ..Rig::new() };
    again.bmc.restore(&saved).unwrap();
    let mut session = administrator(&mut again);
    assert_eq!(session.command(&mut again, CHASSIS, 0x01, &[]).1[0], 0x40, "declared: always on");
    assert!(again.bmc.restore("{").is_err());
}

#[test]
fn hours_identify_and_the_cycle_interval() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    switched_on(&mut rig);
    let identified = |rig: &mut Rig, session: &mut Session| {
        session.command(rig, CHASSIS, 0x01, &[]).1[2] >> 4 & 3
    };
    assert_eq!(session.command(&mut rig, CHASSIS, 0x04, &[]).0, 0);
    assert_eq!(identified(&mut rig, &mut session), 1);
    rig.pass(Duration::from_secs(15));
    assert_eq!(identified(&mut rig, &mut session), 0);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x04, &[0, 1]).0, 0);
    assert_eq!(identified(&mut rig, &mut session), 2);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x04, &[0]).0, 0);
    assert_eq!(identified(&mut rig, &mut session), 0);

    assert_eq!(session.command(&mut rig, CHASSIS, 0x0B, &[7]).0, 0);
    assert_eq!(rig.requests(), [Request::CycleInterval(Duration::from_secs(7))]);

    rig.pass(Duration::from_secs(3600 * 2));
    let now = rig.now;
    let off = Status::OFF;
    rig.bmc.handle_machine(now, off, &Event::Stopped(StopCause::Request));
    rig.pass(Duration::from_secs(3600 * 5));
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x0F, &[]), (0, vec![60, 2, 0, 0, 0]));
}

#[test]
fn the_watchdog_counts_down_and_tells_its_use() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, APP, 0x22, &[]).0, 0x80, "never set");
    assert_eq!(session.command(&mut rig, APP, 0x24, &[0, 1, 0, 0, 100, 0]).0, 0xCC, "no use");
    assert_eq!(session.command(&mut rig, APP, 0x24, &[4, 0x11, 20, 0, 100, 0]).0, 0xCC);
    assert_eq!(session.command(&mut rig, APP, 0x24, &[4, 1, 0, 0x3E, 100, 0]).0, 0);
    let stopped = vec![4, 1, 0, 0, 100, 0, 100, 0];
    assert_eq!(session.command(&mut rig, APP, 0x25, &[]), (0, stopped));
    assert_eq!(session.command(&mut rig, APP, 0x22, &[]).0, 0);
    rig.pass(Duration::from_secs(4));
    let (_, running) = session.command(&mut rig, APP, 0x25, &[]);
    assert_eq!(running[..6], [0x44, 1, 0, 0, 100, 0]);
    // Commands take their time in the rig, too.
    assert!((58..=60).contains(&running[6]), "{running:?}");
    rig.pass(Duration::from_secs(6));
    let expired = vec![4, 1, 0, 1 << 4, 100, 0, 100, 0];
    assert_eq!(session.command(&mut rig, APP, 0x25, &[]), (0, expired));
}

#[test]
fn system_info_is_kept_in_blocks() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let empty = [&[0x11, 0][..], &[0; 16]].concat();
    assert_eq!(session.command(&mut rig, APP, 0x59, &[0, 2, 0, 0]), (0, empty));
    assert_eq!(session.command(&mut rig, APP, 0x59, &[0x80, 2, 0, 0]), (0, vec![0x11]));
    let first = [&[2, 0, 0, 20][..], &[b'a'; 14]].concat();
    assert_eq!(session.command(&mut rig, APP, 0x58, &first).0, 0);
    assert_eq!(session.command(&mut rig, APP, 0x58, &[2, 1, b'b', b'c']).0, 0);
    let second = [&[0x11, 1, b'b', b'c'][..], &[0; 14]].concat();
    assert_eq!(session.command(&mut rig, APP, 0x59, &[0, 2, 1, 0]), (0, second));
    assert_eq!(session.command(&mut rig, APP, 0x59, &[0, 2, 17, 0]).0, 0xC9);
    assert_eq!(session.command(&mut rig, APP, 0x58, &[9, 0, 0]).0, 0x80);
    assert!(rig.bmc.poll_save().unwrap().contains("system_info"));
}

#[test]
fn dcmi_answers_its_own_group_only() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, GROUP, 0x01, &[0x00, 1]).0, 0xC1, "PICMG");
    assert_eq!(session.command(&mut rig, GROUP, 0x01, &[0xDC]).0, 0xC7);
    let (code, data) = session.command(&mut rig, GROUP, 0x01, &[0xDC, 1]);
    assert_eq!((code, &data[..4]), (0, &[0xDC, 1, 5, 2][..]));
    let name = [&[0xDC, 6][..], b"node1\0"].concat();
    assert_eq!(session.command(&mut rig, GROUP, 0x09, &[0xDC, 0, 16]), (0, name));
    let set = [&[0xDC, 0, 4][..], b"tag1"].concat();
    assert_eq!(session.command(&mut rig, GROUP, 0x08, &set), (0, vec![0xDC, 4]));
    let tag = [&[0xDC, 4][..], b"g1"].concat();
    assert_eq!(session.command(&mut rig, GROUP, 0x06, &[0xDC, 2, 16]), (0, tag));
    assert_eq!(session.command(&mut rig, GROUP, 0x06, &[0xDC, 5, 1]).0, 0xC9);
    assert_eq!(session.command(&mut rig, GROUP, 0x08, &[0xDC, 60, 4, 1, 2, 3, 4]).0, 0xC9);
}

#[test]
fn dcmi_knows_the_records_of_temperatures() {
    const STORAGE: u8 = 0x0A;
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    let mut info = |entity, instance, start| {
        session.command(&mut rig, GROUP, 0x07, &[0xDC, 1, entity, instance, start])
    };
    let (code, inlet) = info(0x40, 0, 0);
    assert_eq!((code, &inlet[..3], inlet.len()), (0, &[0xDC, 1, 1][..], 5));
    let (code, cpu) = info(0x41, 0, 0);
    assert_eq!((code, &cpu[..3], cpu.len()), (0, &[0xDC, 1, 1][..], 5));
    assert_eq!(info(0x42, 0, 0), (0, vec![0xDC, 0, 0]));
    assert_eq!(info(0x37, 0, 0).1, inlet, "IPMI's entity ID");
    assert_eq!(info(0x03, 0, 0).1, cpu, "IPMI's entity ID");
    assert_eq!(info(0x07, 0, 0), (0, vec![0xDC, 0, 0]));
    assert_eq!(info(0x40, 1, 0).1, inlet, "the first instance");
    assert_eq!(info(0x40, 2, 0), (0, vec![0xDC, 1, 0]), "there is no second one");
    assert_eq!(info(0x40, 0, 2), (0, vec![0xDC, 1, 0]), "and none from there on");
    assert_eq!(info(0x43, 0, 0).0, 0xCC);
    for (response, name) in [(inlet, "Inlet Temp"), (cpu, "CPU Temp")] {
        let get = [&[0, 0][..], &response[3..5], &[0, 0xFF]].concat();
        let (code, record) = session.command(&mut rig, STORAGE, 0x23, &get);
        assert_eq!(code, 0);
        assert!(record.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
    }
}

#[test]
fn power_is_commanded_once() {
    let mut rig = Rig::new();
    let mut session = administrator(&mut rig);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[1]).0, 0);
    assert_eq!(rig.power_requests(), [machine::Request::On]);
}
