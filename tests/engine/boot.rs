//! System boot options (v2.0 section 28.12).

use std::time::Duration;

use qemu_bmc::bmc::event::Request;
use qemu_bmc::bmc::{Config, SelEntry};
use qemu_bmc::machine::boot::{BootTarget, Lifetime, Override};
use qemu_bmc::machine::{Event, StartCause};
use qemu_bmc::value::BootDevice;

use crate::console::{Rig, Session, admin, config};
use crate::{APP, CHASSIS, ON, switched_on};

#[test]
fn the_boot_initiator_leaves_a_message() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    for (parameter, value) in [
        (1, vec![2]),
        (2, vec![1]),
        (6, vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (7, [&[7][..], b"sixteen bytes..."].concat()),
    ] {
        let data = [&[parameter][..], &value].concat();
        assert_eq!(session.command(&mut rig, CHASSIS, 0x08, &data), (0, vec![]), "{parameter}");
        let set = if parameter == 7 { 7 } else { 0 };
        let read = session.command(&mut rig, CHASSIS, 0x09, &[parameter, set, 0]);
        assert_eq!(read, (0, [&[1, parameter][..], &value].concat()), "{parameter}");
    }
    let too_long = [&[7, 0][..], &[1; 17]].concat();
    assert_eq!(session.command(&mut rig, CHASSIS, 0x08, &too_long).0, 0xC7);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x08, &[7, 8, 1]).0, 0xC9);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x08, &[6, 1]).0, 0xC7);
    assert_eq!(rig.requests(), []);
}

fn set_boot_flags(rig: &mut Rig, session: &mut Session, flags: [u8; 5]) -> Vec<Request> {
    let data = [&[5][..], &flags].concat();
    assert_eq!(session.command(rig, CHASSIS, 0x08, &data).0, 0);
    rig.requests()
}

fn boot_flags(rig: &mut Rig, session: &mut Session) -> Vec<u8> {
    let (code, data) = session.command(rig, CHASSIS, 0x09, &[5, 0, 0]);
    assert_eq!((code, &data[..2]), (0, &[1, 5][..]));
    data[2..].to_vec()
}

#[test]
fn boot_flags_are_read_back_and_used_up() {
    let mut rig = Rig::new();
    switched_on(&mut rig);
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    // The sequence of ipmitool: set in progress, acknowledge, flags, commit, set complete.
    for data in [&[0, 1][..], &[4, 1, 1], &[5, 0x80, 0x04, 0, 0, 0], &[0, 2], &[0, 0]] {
        assert_eq!(session.command(&mut rig, CHASSIS, 0x08, data).0, 0);
    }
    let requests = rig.requests();
    let [Request::Boot(Some(boot))] = requests[..] else { panic!("{requests:?}") };
    assert_eq!(boot.target, BootTarget::Device(BootDevice::Network));
    assert_eq!(boot.lifetime, Lifetime::Once);
    assert_eq!(boot_flags(&mut rig, &mut session), [0x80, 0x04, 0, 0, 0]);
    let now = rig.now;
    rig.bmc.handle_machine(now, ON, &Event::BootUsed(boot));
    assert_eq!(boot_flags(&mut rig, &mut session), [0; 5]);
    assert_eq!(rig.requests(), [Request::Boot(None)]);

    // Persistent and UEFI, as Ironic writes it.
    let requests = set_boot_flags(&mut rig, &mut session, [0xE0, 0x08, 0, 0, 0]);
    let [Request::Boot(Some(Override { lifetime: Lifetime::Always, .. }))] = requests[..] else {
        panic!("{requests:?}");
    };
    let now = rig.now;
    rig.bmc.handle_machine(now, ON, &Event::Started(StartCause::Guest));
    rig.pass(Duration::from_secs(30));
    assert_eq!(boot_flags(&mut rig, &mut session), [0xE0, 0x08, 0, 0, 0]);
}

#[test]
fn boot_flags_are_valid_for_a_minute_unless_told_otherwise() {
    let mut rig = Rig::new();
    switched_on(&mut rig);
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    let later = |rig: &mut Rig, session: &mut Session| {
        for _ in 0..4 {
            rig.pass(Duration::from_secs(20));
            session.command(rig, APP, 0x01, &[]);
        }
        boot_flags(rig, session)
    };
    set_boot_flags(&mut rig, &mut session, [0x80, 0x04, 0, 0, 0]);
    assert_eq!(later(&mut rig, &mut session), [0; 5], "nobody switched power");
    // Ironic: raw 0x00 0x08 0x03 0x08.
    assert_eq!(session.command(&mut rig, CHASSIS, 0x08, &[3, 8]).0, 0);
    set_boot_flags(&mut rig, &mut session, [0x80, 0x04, 0, 0, 0]);
    assert_eq!(later(&mut rig, &mut session), [0x80, 0x04, 0, 0, 0]);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x09, &[3, 0, 0]), (0, vec![1, 3, 8]));
}

#[test]
fn boot_flags_outlive_a_restart_of_the_program() {
    let mut rig = Rig::new();
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    set_boot_flags(&mut rig, &mut session, [0xC0, 0x14, 0, 0, 0]);
    let saved = rig.bmc.poll_save().unwrap();
    let mut again = Rig::new();
    again.bmc.restore(&saved).unwrap();
    again.bmc.handle_clock(again.now, 1);
    let requests = again.requests();
    let [Request::Boot(Some(boot))] = requests[..] else { panic!("{requests:?}") };
    assert_eq!(boot.target, BootTarget::Device(BootDevice::Cdrom));
    assert_eq!(boot.lifetime, Lifetime::Always);
    let set = |entry: &SelEntry| entry.event == "system reconfigured";
    assert_eq!(again.bmc.sel().iter().filter(|entry| set(entry)).count(), 1, "by the user alone");
    let mut session = admin(&mut again);
    session.command(&mut again, APP, 0x3B, &[4]);
    assert_eq!(boot_flags(&mut again, &mut session), [0xC0, 0x14, 0, 0, 0]);

    // What was for one time has its time limit there, too, and once used it is gone for good.
    set_boot_flags(&mut again, &mut session, [0x80, 0x04, 0, 0, 0]);
    let saved = again.bmc.poll_save().unwrap();
    let mut third = Rig::new();
    third.bmc.restore(&saved).unwrap();
    third.bmc.handle_clock(third.now, 1);
    let requests = third.requests();
    let [Request::Boot(Some(boot))] = requests[..] else { panic!("{requests:?}") };
    third.pass(Duration::from_secs(61));
    assert_eq!(third.requests(), [Request::Boot(None)]);
    let mut third = Rig::new();
    third.bmc.restore(&saved).unwrap();
    third.bmc.handle_clock(third.now, 1);
    third.bmc.handle_machine(third.now, ON, &Event::BootUsed(boot));
    let saved = third.bmc.poll_save().unwrap();
    let mut last = Rig::new();
    last.bmc.restore(&saved).unwrap();
    last.bmc.handle_clock(last.now, 1);
    assert_eq!(last.requests(), []);
}

#[test]
fn set_in_progress_belongs_to_a_session_and_dies_with_it() {
    let mut rig = Rig::new();
    let mut one = admin(&mut rig);
    let mut two = admin(&mut rig);
    one.command(&mut rig, APP, 0x3B, &[4]);
    two.command(&mut rig, APP, 0x3B, &[4]);
    assert_eq!(one.command(&mut rig, CHASSIS, 0x08, &[0, 1]).0, 0);
    assert_eq!(two.command(&mut rig, CHASSIS, 0x08, &[0, 1]).0, 0x81);
    let id = one.managed_id.to_le_bytes();
    one.command(&mut rig, APP, 0x3C, &id);
    assert_eq!(two.command(&mut rig, CHASSIS, 0x08, &[0, 1]).0, 0);
}

#[test]
fn an_override_that_a_kernel_comes_before_is_used_up_and_not_told_as_used() {
    let used = |kernel, flags| {
        let mut rig = Rig::with(Config { kernel, ..config() });
        switched_on(&mut rig);
        let mut session = admin(&mut rig);
        session.command(&mut rig, APP, 0x3B, &[4]);
        let requests = set_boot_flags(&mut rig, &mut session, flags);
        let [Request::Boot(Some(boot))] = requests[..] else { panic!("{requests:?}") };
        rig.bmc.handle_machine(rig.now, ON, &Event::BootUsed(boot));
        assert_eq!(boot_flags(&mut rig, &mut session), [0; 5]);
        let told = |entry: &SelEntry| entry.detail.as_ref().is_some_and(|d| d.contains("used"));
        rig.bmc.sel().iter().any(told)
    };
    let (pxe, setup) = ([0x80, 0x04, 0, 0, 0], [0x80, 0x18, 0, 0, 0]);
    assert!(used(false, pxe));
    assert!(!used(true, pxe));
    assert!(used(true, setup), "SeaBIOS has its menu before that");
}
