//! The SEL says who did it, and what was changed is told.

use std::time::Duration;

use qemu_bmc::bmc::SelEntry;
use qemu_bmc::bmc::event::Request as Wish;
use qemu_bmc::machine::{Event, Origin, Power, Refusal, Request, StartCause, Status, StopCause};
use qemu_bmc::profile::document::Restore;

use crate::console::{Refused, Rig, Session, Suite, config, login};
use crate::storage::{administrator, events, started};
use crate::{CHASSIS, ON, answered};

const STORAGE: u8 = 0x0A;

fn doing(power: Power, operation: Request) -> Status {
    Status { power, operation: Some(operation), ..Status::OFF }
}

/// What the SEL says of what follows: `sensor: event (detail)`.
fn story(rig: &mut Rig, act: impl FnOnce(&mut Rig)) -> Vec<String> {
    let seen = rig.bmc.sel().len();
    act(rig);
    let text = |entry: SelEntry| {
        let ended = if entry.asserted { "" } else { "no longer " };
        let detail = entry.detail.map_or(String::new(), |detail| format!(" ({detail})"));
        format!("{}: {ended}{}{detail}", entry.sensor, entry.event)
    };
    rig.bmc.sel().into_iter().skip(seen).map(text).collect()
}

fn happens(rig: &mut Rig, status: Status, event: Event) {
    rig.bmc.handle_machine(rig.now, status, &event);
}

/// A chassis control command, which the machine takes, and which makes it `status`.
fn control(rig: &mut Rig, session: &mut Session, operation: u8, status: Status) {
    assert_eq!(session.command(rig, CHASSIS, 0x02, &[operation]).0, 0);
    answered(rig, status);
}

/// The newest event.
fn last(rig: &mut Rig, session: &mut Session) -> [u8; 6] {
    *events(rig, session, 0).last().unwrap()
}

#[test]
fn power_by_a_user_over_the_lan_is_told_with_name_and_address() {
    let (mut rig, mut session) = started();
    let id = format!("session {:#010x}", session.managed_id);
    let who = format!("user admin (2) from 192.0.2.1:50000, {id}");
    let told = story(&mut rig, |rig| {
        control(rig, &mut session, 1, doing(Power::On, Request::On));
        happens(rig, ON, Event::Started(StartCause::PowerOn));
    });
    let restart = "System Boot: restart, cause: chassis control command, channel 1h".to_owned();
    let up = format!("System Boot: initiated by power up (power on by {who})");
    let acpi_on = "ACPI State: S0/G0: working".to_owned();
    assert_eq!(told, [acpi_on.clone(), up, restart.clone()]);

    let told = story(&mut rig, |rig| {
        control(rig, &mut session, 3, ON);
        happens(rig, ON, Event::Started(StartCause::Reset));
    });
    let reset = format!("System Boot: initiated by hard reset (reset by {who})");
    assert_eq!(told, [reset, restart.clone()]);

    let told = story(&mut rig, |rig| {
        control(rig, &mut session, 2, doing(Power::On, Request::Cycle));
        happens(rig, doing(Power::Off, Request::Cycle), Event::Stopped(StopCause::Request));
        happens(rig, ON, Event::Started(StartCause::PowerCycle));
    });
    let cycle = format!("Power Unit: power cycle (power cycle by {who})");
    let up = format!("System Boot: initiated by power up (power on after power cycle by {who})");
    assert_eq!(told, [cycle, acpi_on, up, restart]);

    // Soft, and the guest obeys.
    let told = story(&mut rig, |rig| {
        control(rig, &mut session, 5, doing(Power::On, Request::Soft));
        happens(rig, Status::OFF, Event::Stopped(StopCause::Guest));
    });
    let why = format!("the guest shut down, asked to by {who}");
    assert_eq!(
        told,
        [
            format!("Power Button: power button pressed (soft shutdown by {who})"),
            format!("OS Stop: graceful shutdown ({why})"),
            format!("Power Unit: power off ({why})"),
            "ACPI State: S5/G2: soft off".to_owned(),
        ]
    );
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));

    // An interrupt on the way changes nothing about who asked for the shutdown.
    let told = story(&mut rig, |rig| {
        control(rig, &mut session, 5, doing(Power::On, Request::Soft));
        let interrupt = Event::Requested(Request::Diag, Origin::Ctl, Ok(()));
        happens(rig, doing(Power::On, Request::Soft), interrupt);
        let refused = Event::Requested(Request::On, Origin::Ctl, Err(Refusal::Busy));
        happens(rig, doing(Power::On, Request::Soft), refused);
        happens(rig, Status::OFF, Event::Stopped(StopCause::Guest));
    });
    assert_eq!(told[1], "Diag Interrupt: diagnostic interrupt (sent by ctl)");
    assert_eq!(told[2], format!("OS Stop: graceful shutdown ({why})"));
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));

    let told = story(&mut rig, |rig| control(rig, &mut session, 4, ON));
    assert_eq!(told, [format!("Diag Interrupt: diagnostic interrupt (sent by {who})")]);
    let told = story(&mut rig, |rig| {
        control(rig, &mut session, 0, doing(Power::On, Request::Off));
        happens(rig, Status::OFF, Event::Stopped(StopCause::Request));
    });
    assert_eq!(told[0], format!("Power Unit: power off (power off by {who})"));
    let unit = events(&mut rig, &mut session, 0);
    let off = unit.iter().rev().find(|event| event[1] == 1).unwrap();
    assert_eq!(*off, [0x09, 1, 0x6F, 0xA0, 1, 0x12], "chassis control; channel 1, user 2");
}

#[test]
fn power_by_others_is_told_as_theirs() {
    let (mut rig, mut session) = started();
    let asks = |rig: &mut Rig, status, request, origin| {
        happens(rig, status, Event::Requested(request, origin, Ok(())));
    };
    let told = story(&mut rig, |rig| {
        asks(rig, doing(Power::On, Request::On), Request::On, Origin::Ctl);
        happens(rig, ON, Event::Started(StartCause::PowerOn));
    });
    assert_eq!(told[1], "System Boot: initiated by power up (power on by ctl)");
    assert_eq!(told[2], "System Boot: restart, cause: power button");
    assert_eq!(session.command(&mut rig, CHASSIS, 0x07, &[]), (0, vec![3, 0]));
    let told = story(&mut rig, |rig| asks(rig, ON, Request::Diag, Origin::Ctl));
    let diag = "Diag Interrupt: diagnostic interrupt (sent by ctl)";
    assert_eq!(told, [diag]);
    assert_eq!(last(&mut rig, &mut session), [0x13, 0x0A, 0x6F, 0xA0, 3, 0]);

    let told = story(&mut rig, |rig| {
        happens(rig, ON, Event::Panicked);
        happens(rig, ON, Event::Started(StartCause::Guest));
    });
    assert_eq!(
        told,
        [
            "OS Stop: run-time critical stop (the guest's kernel has panicked)",
            "System Boot: warm reset by the operating system (reboot by the guest)",
            "System Boot: restart, cause: soft reset",
        ]
    );
    let told = story(&mut rig, |rig| {
        happens(rig, ON, Event::Panicked);
        happens(rig, Status::OFF, Event::Stopped(StopCause::Guest));
    });
    assert_eq!(
        told[1..],
        [
            "Power Unit: power off (off after the panic of the guest's kernel)",
            "ACPI State: S5/G2: soft off",
        ]
    );
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));
    let told = story(&mut rig, |rig| {
        happens(rig, ON, Event::WatchdogExpired("reset".into()));
        happens(rig, ON, Event::Started(StartCause::Guest));
        happens(rig, ON, Event::Started(StartCause::Guest));
    });
    assert_eq!(
        told[..3],
        [
            "Watchdog: hard reset, use: OEM (the machine's own watchdog has expired, action reset)",
            "System Boot: warm reset by the operating system (reset by the machine's own watchdog)",
            "System Boot: restart, cause: watchdog",
        ]
    );
    assert_eq!(told[4], "System Boot: restart, cause: soft reset", "that was the guest alone");

    // The end of the program: ACPI, and off when the guest does not heed it.
    let told = story(&mut rig, |rig| {
        asks(rig, ON, Request::Soft, Origin::End);
        happens(rig, doing(Power::On, Request::Soft), Event::Changed);
        happens(rig, Status::OFF, Event::Stopped(StopCause::Request));
    });
    let pressed = "Power Button: power button pressed (soft shutdown by the end of qemu-bmc)";
    assert_eq!(told[0], pressed);
    assert_eq!(told[1], "Power Unit: power off (switched off: qemu-bmc ends)");
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));
    let crash = StopCause::Crash("killed by SIGKILL".into());
    let crashed = Status { fault: true, ..Status::OFF };
    let told = story(&mut rig, |rig| happens(rig, crashed, Event::Stopped(crash)));
    assert_eq!(told[0], "Power Unit: power unit failure (QEMU crashed: killed by SIGKILL)");
    let status = session.command(&mut rig, CHASSIS, 0x01, &[]).1;
    assert_eq!(status[1] & 0x0F, 0x08, "by a power fault");
}

#[test]
fn boot_overrides_are_told_when_set_and_when_used() {
    let (mut rig, mut session) = started();
    let set = |rig: &mut Rig, session: &mut Session, flags: [u8; 5]| {
        let data = [&[5][..], &flags].concat();
        assert_eq!(session.command(rig, CHASSIS, 0x08, &data).0, 0);
    };
    let told = story(&mut rig, |rig| {
        set(rig, &mut session, [0xA0, 0x04, 0, 0, 0]);
        // The same again, with another bit that means nothing to the machine.
        set(rig, &mut session, [0x80, 0x04, 0, 0, 0]);
    });
    let [line] = &told[..] else { panic!("{told:?}") };
    let expected = "System Event: system reconfigured (boot override set to network, once by user \
                    admin (2) from 192.0.2.1:50000, session 0x";
    assert!(line.starts_with(expected), "{line}");
    assert_eq!(last(&mut rig, &mut session), [0x12, 9, 0x6F, 0xA0, 0x04, 0xA0]);
    let boot = rig.requests().into_iter().rev().find_map(|wish| match wish {
        Wish::Boot(boot) => boot,
        _ => None,
    });
    let boot = boot.unwrap();
    let told = story(&mut rig, |rig| happens(rig, ON, Event::BootUsed(boot)));
    assert_eq!(told, ["System Boot: PXE boot requested (boot override used: network, once)"]);

    let told = story(&mut rig, |rig| set(rig, &mut session, [0x80, 0, 0, 0, 0]));
    let [line] = &told[..] else { panic!("{told:?}") };
    assert!(line.contains("set to the profile's boot order, once by user admin"), "{line}");

    set(&mut rig, &mut session, [0x80, 0x14, 0, 0, 0]);
    let told = story(&mut rig, |rig| {
        for _ in 0..4 {
            rig.pass(Duration::from_secs(20));
            session.command(rig, 0x06, 0x01, &[]);
        }
    });
    let [line] = &told[..] else { panic!("{told:?}") };
    assert!(
        line.ends_with("(boot override removed by the BMC: no power command came within 60 s)")
    );
}

#[test]
fn a_soft_shutdown_that_was_not_heeded_in_time_is_not_to_blame_for_a_later_one() {
    let (mut rig, mut session) = started();
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));
    control(&mut rig, &mut session, 5, doing(Power::On, Request::Soft));
    happens(&mut rig, doing(Power::On, Request::Soft), Event::Changed);
    happens(&mut rig, ON, Event::Changed);
    let told = story(&mut rig, |rig| {
        happens(rig, Status::OFF, Event::Stopped(StopCause::Guest));
    });
    let why = "the guest shut down by itself";
    assert_eq!(told[0], format!("OS Stop: graceful shutdown ({why})"));
    assert_eq!(told[1], format!("Power Unit: power off ({why})"));
}

#[test]
fn an_off_while_the_program_ends_is_told_with_who_asked() {
    let (mut rig, mut session) = started();
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));
    let ending = Status { ending: true, ..doing(Power::On, Request::Soft) };
    happens(&mut rig, ON, Event::Requested(Request::Soft, Origin::End, Ok(())));
    happens(&mut rig, ending, Event::Changed);
    for refused in [1, 2, 3, 4, 5] {
        assert_eq!(session.command(&mut rig, CHASSIS, 0x02, &[refused]).0, 0xC0);
    }
    let told = story(&mut rig, |rig| {
        let off = Status { operation: Some(Request::Off), ..ending };
        control(rig, &mut session, 0, off);
        happens(rig, Status { ending: true, ..Status::OFF }, Event::Stopped(StopCause::Request));
    });
    assert!(told[0].starts_with("Power Unit: power off (power off by user admin (2)"), "{told:?}");
}

#[test]
fn refused_logins_are_told_and_do_not_fill_the_log() {
    let (mut rig, mut session) = started();
    let told = story(&mut rig, |rig| {
        let refused = login(rig, Suite::Three, "nobody", "x", 0x14).err();
        assert_eq!(refused, Some(Refused::Rakp2(0x0D)));
    });
    let invalid = "Session Audit: invalid user name or password";
    let unknown = format!(
        "{invalid}, user ID 0 (login of user \"nobody\" from 192.0.2.1:50000 refused: unknown user)"
    );
    assert_eq!(told, [unknown]);
    // Most consoles find out by themselves that the password is wrong, and go away.
    let told = story(&mut rig, |rig| {
        let refused = login(rig, Suite::Three, "operator", "wrong", 0x13).err();
        assert_eq!(refused, Some(Refused::Rakp2Code));
        rig.pass(Duration::from_secs(4));
    });
    let [line] = &told[..] else { panic!("{told:?}") };
    assert!(line.starts_with(&format!("{invalid}, user ID 3 (")), "{line}");
    assert_eq!(last(&mut rig, &mut session), [0x2A, 0x0B, 0x6F, 0xF2, 3, 1]);
    let told = story(&mut rig, |rig| {
        for _ in 0..200 {
            let _ = login(rig, Suite::Three, "nobody", "x", 0x14);
        }
    });
    assert_eq!(told.len(), 6, "eight in all");
    rig.pass(Duration::from_secs(600));
    let told = story(&mut rig, |rig| {
        let _ = login(rig, Suite::Three, "nobody", "x", 0x14);
    });
    let [line] = &told[..] else { panic!("{told:?}") };
    assert!(line.ends_with("unknown user; 194 others before it are not in the log)"), "{line}");
}

#[test]
fn the_log_says_when_it_is_full_and_who_cleared_it() {
    let (mut rig, mut session) = started();
    let mut record = [0; 16];
    record[2] = 0xC0;
    let mut add = |rig: &mut Rig| session.command(rig, STORAGE, 0x44, &record).0;
    let told = story(&mut rig, |rig| {
        while rig.bmc.sel().len() < 1024 {
            assert_eq!(add(rig), 0);
        }
    });
    let own: Vec<&String> = told.iter().filter(|line| line.starts_with("SEL")).collect();
    assert_eq!(own, ["SEL: log almost full (90 %)", "SEL: log full"]);
    assert_eq!(told.last().unwrap(), "SEL: log full", "it takes the last place");
    assert_eq!(add(&mut rig), 0);
    assert_eq!(rig.bmc.sel().len(), 1024);
    let (code, reserved) = session.command(&mut rig, STORAGE, 0x42, &[]);
    assert_eq!(code, 0);
    let clear = [&reserved[..], b"CLR\xAA"].concat();
    assert_eq!(session.command(&mut rig, STORAGE, 0x47, &clear).0, 0);
    let told = story(&mut rig, |_| {});
    assert_eq!(told, [""; 0]);
    let [entry] = &rig.bmc.sel()[..] else { panic!() };
    assert_eq!((&entry.sensor[..], &entry.event[..]), ("SEL", "log cleared"));
    assert!(entry.detail.as_ref().unwrap().starts_with("cleared by user admin (2) from 192.0.2.1"));
}

/// The same machine after a restart of its program.
fn again(rig: &mut Rig, change: impl FnOnce(&mut qemu_bmc::bmc::Config)) -> Rig {
    let saved = rig.bmc.poll_save().unwrap();
    let mut config = config();
    change(&mut config);
    let mut again = Rig::with(config);
    again.bmc.restore(&saved).unwrap();
    again.bmc.handle_clock(again.now, 1_767_400_000);
    again
}

#[test]
fn a_machine_that_was_on_when_the_program_was_killed_has_lost_power() {
    let (mut rig, mut session) = started();
    control(&mut rig, &mut session, 1, doing(Power::On, Request::On));
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));
    let mut killed = again(&mut rig, |_| {});
    let sel = killed.bmc.sel();
    let [.., lost, _running] = &sel[..] else { panic!("{sel:?}") };
    assert_eq!((&lost.sensor[..], &lost.event[..]), ("Power Unit", "AC lost"));
    assert!(
        sel.iter().any(|entry| entry.detail.as_ref().is_some_and(|d| d.contains("power on by")))
    );
    let mut session = administrator(&mut killed);
    let status = session.command(&mut killed, CHASSIS, 0x01, &[]).1;
    assert_eq!(status[1], 0x11, "on by IPMI, off by AC failure");
    // And once only.
    let before = sel.len();
    let third = again(&mut killed, |_| {});
    assert_eq!(third.bmc.sel().len(), before + 1);

    // One that was switched off in time has not.
    happens(&mut rig, Status::OFF, Event::Stopped(StopCause::Request));
    let sel = again(&mut rig, |_| {}).bmc.sel();
    assert!(sel.iter().all(|entry| entry.event != "AC lost"), "{sel:?}");
}

#[test]
fn power_on_hours_are_kept_each_hour() {
    let (mut rig, _) = started();
    happens(&mut rig, ON, Event::Started(StartCause::PowerOn));
    rig.bmc.poll_save().unwrap();
    for _ in 0..3 {
        // Whenever it is told: a state that repeats costs no second.
        rig.pass(Duration::from_millis(3_600_000));
        happens(&mut rig, ON, Event::Changed);
        assert!(rig.bmc.poll_timeout().is_some());
    }
    let mut killed = again(&mut rig, |_| {});
    let mut session = administrator(&mut killed);
    assert_eq!(session.command(&mut killed, CHASSIS, 0x0F, &[]), (0, vec![60, 3, 0, 0, 0]));
}

#[test]
fn policies_that_were_changed_are_kept_unless_the_profile_names_them() {
    let (mut rig, mut session) = started();
    assert_eq!(rig.bmc.differences(), []);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x06, &[0]).0, 0);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x0B, &[7]).0, 0);
    assert_eq!(session.command(&mut rig, CHASSIS, 0x0A, &[0x03]).0, 0);
    rig.requests();
    let differences = |rig: &Rig| -> Vec<String> {
        let all = rig.bmc.differences().into_iter();
        all.map(|d| format!("{}: {} -> {}", d.setting, d.profile, d.now)).collect()
    };
    let buttons = "disabled buttons: none -> power-off, reset";
    let cycle = "power.cycle_interval_s: 1 -> 7";
    let restore = "power.restore: always-on -> always-off";
    assert_eq!(differences(&rig), [restore, cycle, buttons]);
    rig.bmc.poll_save().unwrap();
    // Saved again by something else.
    session.command(&mut rig, CHASSIS, 0x0B, &[7]);
    let saved = rig.bmc.poll_save().unwrap();
    let start = |declared| {
        let config = qemu_bmc::bmc::Config {
            restore_declared: declared,
            cycle_interval_declared: declared,
            ..config()
        };
        let mut rig = Rig::with(config);
        rig.bmc.restore(&saved).unwrap();
        rig
    };
    let mut kept = start(false);
    assert_eq!(differences(&kept), [restore, cycle, buttons]);
    assert_eq!(kept.bmc.restore_policy(), Restore::AlwaysOff);
    assert_eq!(kept.requests(), [Wish::CycleInterval(Duration::from_secs(7))]);
    let mut declared = start(true);
    assert_eq!(differences(&declared), [buttons]);
    assert_eq!(declared.requests(), []);
}

#[test]
fn what_was_changed_is_told_without_secrets() {
    let (mut rig, mut session) = started();
    let mut run = |rig: &mut Rig, net_fn, command, data: &[u8]| {
        assert_eq!(session.command(rig, net_fn, command, data).0, 0, "{command:#x} {data:02x?}");
    };
    let password = [&[3, 2][..], b"hunter2-hunter2\0"].concat();
    run(&mut rig, 0x06, 0x47, &password);
    let name = [&[6][..], b"mallory\0\0\0\0\0\0\0\0\0"].concat();
    run(&mut rig, 0x06, 0x45, &name);
    let community = [&[1, 16][..], b"hunter2\0\0\0\0\0\0\0\0\0\0\0"].concat();
    run(&mut rig, 0x0C, 0x01, &community);
    run(&mut rig, 0x0C, 0x21, &[1, 4, 3, 20]);
    let all = rig.bmc.differences();
    let text = format!("{all:?}");
    assert!(!text.contains("hunter2") && !text.contains("68 75 6e 74"), "{text}");
    let settings: Vec<&str> = all.iter().map(|difference| &difference.setting[..]).collect();
    let expected =
        ["ipmi user 3: password", "ipmi user 6: name", "lan.community", "sol.retry_count"];
    assert_eq!(settings, expected);
    assert_eq!((&all[3].profile[..], &all[3].now[..]), ("7", "3"));
}
