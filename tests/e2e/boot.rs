//! Boot overrides: what clients are told, and what the firmware does.

use crate::machine::{Machine, Setup};
use crate::terminal::Terminal;
use crate::wait::{BOOT, SOON, wait_until};

/// A boot sector: writes `disk booted` to the serial port, waits for a key there, and resets the
/// machine, as an operating system does that reboots.
const BOOT_SECTOR: [u8; 58] = [
    0xfa, 0xfc, //             cli; cld
    0x31, 0xc0, 0x8e, 0xd8, // ds = 0
    0xbe, 0x2c, 0x7c, //       si = message
    0xba, 0xfd, 0x03, //       send: wait until the line status says "transmitter empty"
    0xec, 0xa8, 0x20, 0x74, 0xf8, //
    0xac, 0x84, 0xc0, 0x74, 0x06, // next character; after the last one, on to `read`
    0xba, 0xf8, 0x03, 0xee, 0xeb, 0xed, // write it, on to `send`
    0xba, 0xfd, 0x03, //       read: wait until the line status says "data ready"
    0xec, 0xa8, 0x01, 0x74, 0xf8, //
    0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, // reset control register: hard reset
    0xeb, 0xf0, //             on to `read`
    b'd', b'i', b's', b'k', b' ', b'b', b'o', b'o', b't', b'e', b'd', b'\r', b'\n', 0,
];

/// A disk that BIOS boots and UEFI does not.
pub(crate) fn bootable_image() -> Vec<u8> {
    let mut image = vec![0; 1 << 20];
    image[..BOOT_SECTOR.len()].copy_from_slice(&BOOT_SECTOR);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

/// A machine with such a disk, and a NIC.
fn with_disk_and_nic() -> Setup {
    let setup = Setup::bare();
    let disk = setup.file("disk.raw", &bootable_image());
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
fn expect_flags(machine: &Machine, valid: &str, lifetime: &str, device: &str) {
    machine
        .ipmitool(&["chassis", "bootparam", "get", "5"])
        .succeeds()
        .says(&format!("   - Boot Flag {valid}\n"))
        .says(&format!("   - Options apply to {lifetime}\n"))
        .says(&format!("   - Boot Device Selector : {device}\n"));
}

#[track_caller]
fn bootdev(machine: &Machine, words: &[&str]) {
    let answer = format!("Set Boot Device to {}", words[0]);
    machine.ipmitool(&[&["chassis", "bootdev"], words].concat()).succeeds().says(&answer);
}

/// Sets the network as boot device, and waits until QEMU knows. In the first second after a start
/// it is not told, because a guest's reboot can be several resets in a row.
#[track_caller]
fn bootdev_pxe_at_rest(machine: &Machine, options: &[&str]) {
    const NIC_FIRST: &str = r#"/nic0","property":"bootindex","value":1}"#;
    let before = machine.log().len();
    bootdev(machine, &[&["pxe"], options].concat());
    wait_until("QEMU's boot order is set", SOON, || machine.log()[before..].contains(NIC_FIRST));
}

#[track_caller]
fn expect_no_override(machine: &Machine) {
    machine.wait_state_file("boot.device", "none");
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
    bootdev_pxe_at_rest(&machine, &[]);
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
    bootdev_pxe_at_rest(&machine, &[]);
    expect_flags(&machine, "Valid", "only next boot", "Force PXE");
    sol.press("r");
    assert_eq!(first_tried(&mut sol), NETWORK);
    expect_no_override(&machine);
    assert_eq!(machine.qemu_pid(), Some(qemu));
    machine.power("reset");
    assert_eq!(first_tried(&mut sol), DISK);
    sol.expect("disk booted");

    bootdev_pxe_at_rest(&machine, &["options=persistent"]);
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

#[test]
fn uefi_follows_an_override_as_bios_does() {
    const CLEAR_SCREEN: &str = "\u{1b}[2J";
    const DISK_FAILED: &str = "BdsDxe: failed to load Boot";
    const NETWORK_BOOT: &str = "Open Source Network Boot Firmware";
    let machine = with_disk_and_nic().set("firmware.mode=uefi").start();
    let mut sol = machine.sol();
    let mut disk_is_first = || {
        sol.expect_within(BOOT, CLEAR_SCREEN);
        sol.expect_within(BOOT, NETWORK_BOOT).contains(DISK_FAILED)
    };
    machine.power("on");
    assert!(disk_is_first());
    bootdev_pxe_at_rest(&machine, &[]);
    machine.power("reset");
    assert!(!disk_is_first());
    expect_no_override(&machine);
    machine.power("cycle");
    assert!(disk_is_first());
}
