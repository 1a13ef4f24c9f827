//! A disk, a CD-ROM and the network, each of which says who it is: what is booted, and what clients
//! are told before and after.

use std::fs;

use crate::boot::{bootdev, bootdev_at_rest, expect_flags, expect_no_override};
use crate::machine::{Machine, Setup, root};
use crate::media;
use crate::processes::{self, Signal};
use crate::terminal::Terminal;
use crate::wait::{BOOT, SOON, wait_until};

const DISK: &str = "disk booted\r\n";
const CDROM: &str = "cdrom booted\r\n";
const NETWORK: &str = "network booted\r\n";

const ONCE: &str = "only next boot";
const ALWAYS: &str = "all future boots";
const FORCE_CDROM: &str = "Force Boot from CD/DVD";

/// A machine with a disk and a CD-ROM.
fn duo(firmware: &str) -> Setup {
    let setup = Setup::bare();
    let disk = setup.file("disk.raw", &media::disk("disk"));
    let cdrom = setup.file("cd.iso", &media::cdrom("cdrom"));
    setup
        .set(format!("firmware.mode={firmware}"))
        .set(format!("disks.0.path={}", disk.display()))
        .set(format!("cdroms.0.path={}", cdrom.display()))
        .set("debug=true")
}

/// A machine with all three.
fn trio(firmware: &str) -> Setup {
    let setup = duo(firmware).set("nics.0.wiring=user");
    let tftp = setup.dir.path().join("tftp");
    fs::create_dir(&tftp).unwrap();
    let program = match firmware {
        "uefi" => media::efi_program("network"),
        _ => media::bios_program("network"),
    };
    fs::write(tftp.join("boot"), program).unwrap();
    let qemu = root().join("tests/e2e/pxe-qemu");
    let setup = setup.set(format!("qemu.binary={}", qemu.display()));
    // It opens the file itself, which is out of everybody's reach but ours.
    if processes::is_root() { setup.set("qemu.user=root") } else { setup }
}

/// Waits for a boot, and for what says that it was booted; nothing else may have been before.
#[track_caller]
fn boots(sol: &mut Terminal, who: &str) {
    let before = sol.expect_within(2 * BOOT, " booted\r\n");
    let name = who.split(' ').next().unwrap();
    assert!(before.ends_with(name), "{who:?} was to be booted: {}", before.escape_debug());
}

/// Off, if it is not, and on.
#[track_caller]
fn off_and_on(machine: &Machine) {
    machine.power("off");
    machine.wait_off();
    machine.power("on");
}

fn once_and_back(firmware: &str) {
    let machine = duo(firmware).start();
    let mut sol = machine.sol();
    let cdrom_once = || bootdev_at_rest(&machine, "cdrom", &[]);
    let used = |sol: &mut Terminal| {
        boots(sol, CDROM);
        expect_no_override(&machine);
    };

    // The start of a new process, and back by the guest's own reboot.
    bootdev(&machine, &["cdrom"]);
    expect_flags(&machine, "Valid", ONCE, FORCE_CDROM);
    machine.power("on");
    used(&mut sol);
    let first = machine.wait_on();
    sol.press("r");
    boots(&mut sol, DISK);

    // The guest's reboot, and back by a reset.
    cdrom_once();
    expect_flags(&machine, "Valid", ONCE, FORCE_CDROM);
    sol.press("r");
    used(&mut sol);
    machine.power("reset");
    boots(&mut sol, DISK);

    // A reset, and back by a cycle.
    cdrom_once();
    machine.power("reset");
    used(&mut sol);
    assert_eq!(machine.qemu_pid(), Some(first));
    machine.power("cycle");
    boots(&mut sol, DISK);
    expect_no_override(&machine);

    // A cycle, and back by off and on.
    cdrom_once();
    machine.power("cycle");
    used(&mut sol);
    off_and_on(&machine);
    boots(&mut sol, DISK);
    expect_no_override(&machine);
}

#[test]
fn bios_boots_once_from_the_cdrom_by_each_kind_of_start_and_then_from_disk_again() {
    once_and_back("bios");
}

#[test]
fn uefi_boots_once_from_the_cdrom_by_each_kind_of_start_and_then_from_disk_again() {
    once_and_back("uefi");
}

fn persistent_stays(firmware: &str) {
    let mut machine = duo(firmware).start();
    let mut sol = machine.sol();
    let holds = |machine: &Machine| expect_flags(machine, "Valid", ALWAYS, FORCE_CDROM);
    bootdev(&machine, &["cdrom", "options=persistent"]);
    holds(&machine);
    machine.power("on");
    boots(&mut sol, CDROM);
    holds(&machine);
    sol.press("r");
    boots(&mut sol, CDROM);
    holds(&machine);
    machine.power("reset");
    boots(&mut sol, CDROM);
    holds(&machine);

    // The program dies, and with it QEMU; the next one knows.
    drop(sol);
    let qemu = machine.wait_on();
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    wait_until("QEMU's end", SOON, || !processes::exists(qemu));
    machine.start_again();
    machine.power_is("off");
    machine.wait_state_file("boot.device", "cdrom");
    holds(&machine);
    let mut sol = machine.sol();
    machine.power("on");
    boots(&mut sol, CDROM);
    holds(&machine);

    // Taken back while the machine runs.
    bootdev_at_rest(&machine, "none", &[]);
    machine.power("reset");
    boots(&mut sol, DISK);
    expect_no_override(&machine);
}

#[test]
fn bios_boots_from_a_persistent_cdrom_until_it_is_taken_back() {
    persistent_stays("bios");
}

#[test]
fn uefi_boots_from_a_persistent_cdrom_until_it_is_taken_back() {
    persistent_stays("uefi");
}

#[test]
fn what_was_set_once_waits_for_a_start_through_crashes_and_restarts_and_is_used_then() {
    let mut machine = duo("bios").set("power.restore=always-on").start();
    let qemu = machine.wait_on();
    expect_no_override(&machine);
    // No time limit.
    machine.ipmitool(&["raw", "0x00", "0x08", "0x03", "0x08"]).succeeds();
    bootdev(&machine, &["cdrom"]);
    processes::signal(qemu, Signal::SIGKILL);
    machine.wait_off();
    expect_flags(&machine, "Valid", ONCE, FORCE_CDROM);

    // The start of the program is a start of the machine.
    let saved = machine.setup.dir.path().join("state/bmc.json");
    wait_until("it is saved", SOON, || {
        fs::read_to_string(&saved).is_ok_and(|text| text.contains("\"keep_valid\": 8"))
            && fs::read_to_string(&saved).is_ok_and(|text| text.contains("128,"))
    });
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    machine.start_again();
    // Nobody may have been on the console when it said who it is.
    let command_line = fs::read_to_string(format!("/proc/{}/cmdline", machine.wait_on())).unwrap();
    let drive = command_line.split('\0').find(|argument| argument.contains("\"ide-cd\"")).unwrap();
    assert!(drive.contains("\"bootindex\":1}"), "{drive}");
    expect_no_override(&machine);
    let mut sol = machine.sol();
    machine.power("cycle");
    sol.expect_within(BOOT, DISK);
}

/// Says a line of the transcript, and answers what the client said.
fn told(machine: &Machine, transcript: &mut String, words: &[&str]) -> String {
    let text = machine.ipmitool(words).succeeds().text();
    transcript.push_str(&format!("$ ipmitool -I lanplus … {}\n{text}", words.join(" ")));
    text
}

/// What Ironic's ipmitool driver does to deploy a node. The transcript is shown with `--nocapture`.
#[test]
fn a_node_is_deployed_over_the_network_as_ironic_does_it() {
    let machine = trio("uefi").start();
    let mut sol = machine.sol();
    let transcript = &mut String::new();
    let look = |transcript: &mut String, valid: &str, selector: &str| {
        let flags = told(&machine, transcript, &["chassis", "bootparam", "get", "5"]);
        assert!(flags.contains(&format!("   - Boot Flag {valid}\n")), "{flags}");
        assert!(flags.contains("   - Options apply to only next boot\n"), "{flags}");
        assert!(flags.contains(&format!("   - Boot Device Selector : {selector}\n")), "{flags}");
        told(&machine, transcript, &["sel", "list"])
    };
    machine.power("on");
    boots(&mut sol, DISK);
    expect_no_override(&machine);
    look(transcript, "Invalid", "No override");

    told(&machine, transcript, &["raw", "0x00", "0x08", "0x03", "0x08"]);
    let pxe_once = ["raw", "0x00", "0x08", "0x05", "0xa0", "0x04", "0x00", "0x00", "0x00"];
    told(&machine, transcript, &pxe_once);
    look(transcript, "Valid", "Force PXE");
    let flags = machine.ipmitool(&["chassis", "bootparam", "get", "5"]).succeeds();
    flags.says("   - BIOS EFI boot \n");

    told(&machine, transcript, &["power", "cycle"]);
    boots(&mut sol, NETWORK);
    transcript.push_str("-- on the console: network booted\n");
    expect_no_override(&machine);
    let after_cycle = look(transcript, "Invalid", "No override");

    sol.press("r");
    boots(&mut sol, DISK);
    transcript.push_str("-- the guest reboots; on the console: disk booted\n");
    let after_reboot = look(transcript, "Invalid", "No override");
    assert!(
        after_reboot.lines().count() > after_cycle.lines().count(),
        "the guest's reboot is in the log: {after_reboot}"
    );
    told(&machine, transcript, &["power", "status"]);
    eprintln!("{transcript}");
}

#[test]
fn bios_boots_the_network_once() {
    let machine = trio("bios").start();
    let mut sol = machine.sol();
    bootdev(&machine, &["pxe"]);
    machine.power("on");
    boots(&mut sol, NETWORK);
    expect_no_override(&machine);
    sol.press("r");
    boots(&mut sol, DISK);
}

#[test]
fn bios_shows_its_boot_menu_once() {
    let machine = duo("bios").start();
    let mut sol = machine.sol();
    bootdev(&machine, &["bios"]);
    expect_flags(&machine, "Valid", ONCE, "Force Boot into BIOS Setup");
    machine.power("on");
    sol.expect_within(BOOT, "Press F10 for boot menu.");
    sol.expect_within(BOOT, "Select boot device:");
    expect_no_override(&machine);
    let menu = sol.expect(" DVD/CD [");
    let place = menu.trim_end().trim_end_matches('.').chars().last().unwrap();
    sol.press(&place.to_string());
    boots(&mut sol, CDROM);
    machine.power("cycle");
    boots(&mut sol, DISK);
}

#[test]
fn uefi_shows_its_front_page_once() {
    let machine = duo("uefi").start();
    let mut sol = machine.sol();
    bootdev(&machine, &["bios"]);
    machine.power("on");
    sol.expect_within(2 * BOOT, "Boot Maintenance Manager");
    expect_no_override(&machine);
    machine.power("cycle");
    boots(&mut sol, DISK);
}
