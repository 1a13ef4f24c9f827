//! Boot overrides: what clients are told, and what the firmware does.

use crate::machine::{Machine, Setup};
use crate::media;
use crate::terminal::Terminal;
use crate::wait::{BOOT, SOON, wait_until};

/// A machine with a disk and a NIC.
fn with_disk_and_nic() -> Setup {
    let setup = Setup::bare();
    let disk = setup.file("disk.raw", &media::disk("disk"));
    setup
        .set(format!("disks.0.path={}", disk.display()))
        .set("nics.0.wiring=user")
        .set("debug=true")
}

/// Waits for a boot, and answers what the firmware tries first.
#[track_caller]
fn first_tried(sol: &mut Terminal) -> String {
    sol.expect_within(BOOT, "SeaBIOS (version ");
    sol.expect_within(BOOT, "Booting from ");
    // The dots behind it are still on their way when the boot sector starts to write.
    sol.expect(".")
}

pub(crate) const DISK: &str = "Hard Disk";
/// The NIC's boot ROM.
pub(crate) const NETWORK: &str = "ROM";

#[track_caller]
pub(crate) fn expect_flags(machine: &Machine, valid: &str, lifetime: &str, device: &str) {
    machine
        .ipmitool(&["chassis", "bootparam", "get", "5"])
        .succeeds()
        .says(&format!("   - Boot Flag {valid}\n"))
        .says(&format!("   - Options apply to {lifetime}\n"))
        .says(&format!("   - Boot Device Selector : {device}\n"));
}

#[track_caller]
pub(crate) fn bootdev(machine: &Machine, words: &[&str]) {
    let answer = format!("Set Boot Device to {}", words[0]);
    machine.ipmitool(&[&["chassis", "bootdev"], words].concat()).succeeds().says(&answer);
}

/// Sets a boot device, and waits until QEMU knows. In the first second after a start it is not told,
/// because a guest's reboot can be several resets in a row.
#[track_caller]
pub(crate) fn bootdev_at_rest(machine: &Machine, device: &str, options: &[&str]) {
    let first = match device {
        "pxe" => "nic0",
        "cdrom" => "cdrom0",
        _ => "disk0",
    };
    let first = format!(r#"/{first}","property":"bootindex","value":1}}"#);
    let before = machine.log().len();
    bootdev(machine, &[&[device], options].concat());
    wait_until("QEMU's boot order is set", SOON, || machine.log()[before..].contains(&first));
}

#[track_caller]
pub(crate) fn expect_no_override(machine: &Machine) {
    machine.wait_state_file("boot.device", "none");
    // `none` is an override, too, until it is used up.
    wait_until("the flags are used up", SOON, || {
        let flags = machine.ipmitool(&["chassis", "bootparam", "get", "5"]).succeeds();
        flags.stdout.contains("   - Boot Flag Invalid\n")
    });
    expect_flags(machine, "Invalid", "only next boot", "No override");
}

#[test]
fn a_one_time_override_is_gone_after_a_start_and_a_persistent_one_stays() {
    let machine = Setup::bare().start();
    expect_no_override(&machine);
    let devices = [
        ("pxe", "Force PXE", "pxe"),
        ("disk", "Force Boot from default Hard-Drive", "disk"),
        ("cdrom", "Force Boot from CD/DVD", "cdrom"),
        ("bios", "Force Boot into BIOS Setup", "bios"),
    ];
    for (device, selector, file) in devices {
        bootdev(&machine, &[device]);
        expect_flags(&machine, "Valid", "only next boot", selector);
        machine.wait_state_file("boot.device", file);
    }
    bootdev(&machine, &["none"]);
    machine.wait_state_file("boot.device", "none");

    bootdev(&machine, &["pxe"]);
    machine.power("on");
    expect_no_override(&machine);

    bootdev(&machine, &["pxe"]);
    expect_flags(&machine, "Valid", "only next boot", "Force PXE");
    machine.power("cycle");
    expect_no_override(&machine);
    machine.wait_on();

    bootdev(&machine, &["cdrom"]);
    machine.power("reset");
    expect_no_override(&machine);

    bootdev(&machine, &["pxe", "options=persistent"]);
    expect_flags(&machine, "Valid", "all future boots", "Force PXE");
    let old = machine.wait_on();
    machine.power("cycle");
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != old));
    machine.wait_on();
    machine.power("reset");
    machine.power("off");
    machine.wait_off();
    expect_flags(&machine, "Valid", "all future boots", "Force PXE");
    assert_eq!(machine.state_file("boot.device"), "pxe\n");
    bootdev(&machine, &["none"]);
    machine.wait_state_file("boot.device", "none");
}

#[test]
fn the_firmware_follows_a_one_time_override_once() {
    let machine = with_disk_and_nic().start();
    let mut sol = machine.sol();
    machine.power("on");
    assert_eq!(first_tried(&mut sol), DISK);
    sol.expect("disk booted");
    expect_no_override(&machine);

    // A reset from outside.
    bootdev_at_rest(&machine, "pxe", &[]);
    machine.power("reset");
    assert_eq!(first_tried(&mut sol), NETWORK);
    expect_no_override(&machine);
    machine.power("reset");
    assert_eq!(first_tried(&mut sol), DISK);
    sol.expect("disk booted");

    // A new process.
    bootdev(&machine, &["pxe"]);
    machine.power("cycle");
    assert_eq!(first_tried(&mut sol), NETWORK);
    expect_no_override(&machine);
    machine.power("cycle");
    assert_eq!(first_tried(&mut sol), DISK);
    sol.expect("disk booted");
}

#[test]
fn the_firmware_follows_an_override_when_the_guest_reboots() {
    let machine = with_disk_and_nic().start();
    let mut sol = machine.sol();
    machine.power("on");
    assert_eq!(first_tried(&mut sol), DISK);
    sol.expect("disk booted");
    let qemu = machine.wait_on();
    sol.press("r");
    assert_eq!(first_tried(&mut sol), DISK);
    sol.expect("disk booted");

    // Set on a machine that runs, it changes nothing before the guest reboots.
    bootdev_at_rest(&machine, "pxe", &[]);
    expect_flags(&machine, "Valid", "only next boot", "Force PXE");
    sol.press("r");
    assert_eq!(first_tried(&mut sol), NETWORK);
    expect_no_override(&machine);
    assert_eq!(machine.qemu_pid(), Some(qemu));
    machine.power("reset");
    assert_eq!(first_tried(&mut sol), DISK);
    sol.expect("disk booted");

    bootdev_at_rest(&machine, "pxe", &["options=persistent"]);
    for _ in 0..2 {
        machine.power("reset");
        assert_eq!(first_tried(&mut sol), NETWORK);
    }
    assert_eq!(machine.qemu_pid(), Some(qemu));
}

#[test]
fn an_override_holds_for_a_reset_right_after_another() {
    let machine = with_disk_and_nic().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_within(BOOT, "disk booted");
    expect_no_override(&machine);
    machine.power("reset");
    bootdev(&machine, &["pxe"]);
    machine.power("reset");
    sol.expect("Booting from ROM...");
    expect_no_override(&machine);
    machine.power("reset");
    assert_eq!(first_tried(&mut sol), DISK);
}

/// What each client writes is read back before a start; after it, what was for one boot is gone.
#[test]
fn what_each_client_has_set_is_told_as_it_is_before_and_after_a_start() {
    let machine = Setup::bare().start();
    let efi = |boot: &str| {
        let text = format!("   - BIOS {boot} boot \n");
        machine.ipmitool(&["chassis", "bootparam", "get", "5"]).succeeds().says(&text);
    };
    let data = |data: &str| {
        let text = format!("Boot parameter data: {data}");
        machine.ipmitool(&["chassis", "bootparam", "get", "5"]).succeeds().says(&text);
    };
    machine.power("on");
    machine.wait_on();
    let start = || {
        machine.power("reset");
        machine.wait_on();
    };
    let gone = || {
        start();
        expect_no_override(&machine);
    };

    bootdev(&machine, &["pxe", "options=persistent,efiboot"]);
    expect_flags(&machine, "Valid", "all future boots", "Force PXE");
    efi("EFI");
    start();
    data("e004000000");
    bootdev(&machine, &["disk", "options=efiboot"]);
    data("a008000000");
    gone();
    bootdev(&machine, &["cdrom", "clear-cmos=yes"]);
    data("8094000000");
    gone();
    // The flag for the time limit, and those for other events.
    let bootflag = |words: &[&str]| {
        machine.ipmitool(&[&["chassis", "bootparam", "set", "bootflag"], words].concat()).succeeds()
    };
    bootflag(&["force_bios", "options=no-timeout,watchdog"]);
    expect_flags(&machine, "Valid", "only next boot", "Force Boot into BIOS Setup");
    gone();
    bootflag(&["force_cdrom"]);
    expect_flags(&machine, "Valid", "only next boot", "Force Boot from CD/DVD");
    gone();
    // What the machine does not have is used up all the same.
    bootdev(&machine, &["floppy"]);
    machine.wait_state_file("boot.device", "none");
    gone();

    // Ironic.
    machine.ipmitool(&["raw", "0x00", "0x08", "0x03", "0x08"]).succeeds();
    let set = |bits: &str, device: &str| {
        let words = ["raw", "0x00", "0x08", "0x05", bits, device, "0x00", "0x00", "0x00"];
        machine.ipmitool(&words).succeeds();
    };
    set("0xe0", "0x04");
    data("e004000000");
    start();
    data("e004000000");
    set("0xa0", "0x04");
    data("a004000000");
    gone();

    // FreeIPMI.
    let config = |words: &[&str]| {
        let category = ["--category=chassis"];
        machine.freeipmi("ipmi-config", &[&category, words].concat())
    };
    let pxe = ["-e", "Chassis_Boot_Flags:Boot_Device=PXE"];
    config(
        &[&["--commit", "-e", "Chassis_Boot_Flags:Boot_Flags_Persistent=No"], &pxe[..]].concat(),
    )
    .succeeds();
    expect_flags(&machine, "Valid", "only next boot", "Force PXE");
    config(&[&["--diff"], &pxe[..]].concat()).succeeds().does_not_say("actual");
    config(&["--diff", "-e", "Chassis_Boot_Flags:Boot_Device=HARD-DRIVE"]).says("actual=`PXE'");
    let checkout = || config(&["--checkout", "--section=Chassis_Boot_Flags"]).succeeds().stdout;
    let device = |checkout: &str| {
        let line = checkout.lines().find(|line| line.trim_start().starts_with("Boot_Device "));
        line.and_then(|line| line.split_whitespace().last()).map(str::to_owned)
    };
    assert_eq!(device(&checkout()).as_deref(), Some("PXE"));
    gone();
    assert_eq!(device(&checkout()).as_deref(), Some("NO-OVERRIDE"));
}

#[test]
fn ctl_sets_an_override_that_clients_are_told_of() {
    let machine = Setup::bare().start();
    let flags = |device: &str, lifetime: &str| expect_flags(&machine, "Valid", lifetime, device);
    machine.ctl(&["boot", "pxe"]).succeeds();
    flags("Force PXE", "only next boot");
    assert_eq!(machine.status()["boot"], "network, once");
    machine.ctl(&["status"]).succeeds().says("boot      network, once\n");
    machine.wait_state_file("boot.device", "pxe");
    machine.ctl(&["boot", "cdrom", "--always", "--uefi"]).succeeds();
    flags("Force Boot from CD/DVD", "all future boots");
    machine.ipmitool(&["chassis", "bootparam", "get", "5"]).says("BIOS EFI boot");
    machine.ctl(&["sel", "list"]).succeeds().says("boot override set to CD-ROM, always by ctl");
    machine.ctl(&["boot", "none"]).succeeds();
    expect_flags(&machine, "Invalid", "only next boot", "No override");
    machine.wait_state_file("boot.device", "none");
    machine.ctl(&["boot", "floppy"]).exits(2).says("possible values: disk, cdrom, pxe, bios, none");
    machine.ctl(&["boot", "disk", "--once", "--always"]).exits(2);
}
