//! Power control with ipmitool and `ctl`, and what becomes of QEMU's process.

use crate::machine::Setup;
use crate::processes;
use crate::wait::{BOOT, SOON, wait_until};

#[test]
fn on_off_and_cycle_start_and_end_processes() {
    let machine = Setup::bare().start();
    machine.power_is("off");
    assert_eq!(machine.state_file("power.state"), "off\n");
    machine.power("off");
    machine.power_is("off");

    machine.power("on");
    machine.power_is("on");
    let first = machine.wait_on();
    machine.wait_state_file("power.state", "on");
    machine.power("on");
    assert_eq!(machine.qemu_pid(), Some(first), "on, when on, does nothing");

    machine.power("cycle");
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != first));
    let second = machine.wait_on();
    assert!(!processes::exists(first), "the old process is gone");
    assert!(processes::exists(second));
    machine.power_is("on");
    machine.wait_state_file("power.state", "on");

    machine.power("off");
    machine.wait_off();
    machine.power_is("off");
    assert!(!processes::exists(second), "not as a zombie either");
    assert_eq!(machine.qemu_pid(), None);
    machine.wait_state_file("power.state", "off");
    assert_eq!(processes::children(machine.pid()), [0_u32; 0], "no child is left");
}

#[test]
fn cycle_and_reset_of_a_machine_that_is_off_are_refused() {
    let machine = Setup::bare().start();
    for (action, name) in [("cycle", "Cycle"), ("reset", "Reset")] {
        machine.ipmitool(&["power", action]).fails().says(&format!(
            "Set Chassis Power Control to {name} failed: Command not supported in present state"
        ));
        machine.ctl(&["power", action]).exits(1).says("not possible while the machine is off");
    }
    machine.power_is("off");
    assert_eq!(machine.qemu_pid(), None);
}

#[test]
fn power_is_on_from_the_start_unless_the_profile_says_otherwise() {
    let machine = Setup::bare().set("power.restore=always-on").start();
    machine.wait_on();
    machine.power_is("on");
    machine
        .ipmitool(&["chassis", "status"])
        .has_field("System Power", "on")
        .has_field("Power Restore Policy", "always-on");
}

#[test]
fn cycle_is_a_new_process_and_reset_the_same_and_both_boot_the_guest_again() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let first = machine.wait_on();
    sol.shell("touch /tmp/not-here-after-a-boot");

    machine.power("cycle");
    // Firmware output again, on the session that was there before.
    sol.expect("SeaBIOS (version");
    sol.expect_guest();
    let second = machine.wait_on();
    assert_ne!(second, first);
    assert!(!processes::exists(first));
    assert_eq!(sol.shell("ls /tmp; echo $((40 + 2))"), "42\r\n");

    sol.shell("touch /tmp/not-here-after-a-boot");
    machine.power("reset");
    sol.expect("SeaBIOS (version");
    sol.expect_guest();
    assert_eq!(machine.qemu_pid(), Some(second));
    assert_eq!(sol.shell("ls /tmp; echo $((40 + 2))"), "42\r\n");
}

#[test]
fn soft_lets_the_guest_shut_itself_down() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let qemu = machine.wait_on();

    machine.power("soft");
    sol.expect("demo guest: poweroff");
    machine.wait_off();
    machine.power_is("off");
    assert!(!processes::exists(qemu));
    machine.wait_state_file("power.state", "off");
    machine.expect_log("machine is off cause=Guest");
    let status = machine.status();
    assert_eq!(status["fault"], false, "a guest that shuts down has not failed: {status}");
}

#[test]
fn a_reboot_of_the_guest_keeps_process_and_session() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let qemu = machine.wait_on();
    sol.type_line("reboot");
    sol.expect("demo guest: reboot");
    sol.expect_within(BOOT, "SeaBIOS (version");
    sol.expect_guest();
    assert_eq!(machine.qemu_pid(), Some(qemu));
    sol.type_line("poweroff");
    sol.expect("demo guest: poweroff");
    machine.wait_off();
}

#[test]
fn ctl_switches_power_too() {
    let machine = Setup::bare().start();
    machine.ctl(&["power", "on"]).succeeds();
    let first = machine.wait_on();
    machine.power_is("on");
    machine
        .ctl(&["status"])
        .succeeds()
        .says("power     on\n")
        .says(&format!("qemu      process {first}\n"));

    machine.ctl(&["power", "reset"]).succeeds();
    assert_eq!(machine.wait_on(), first);
    machine.ctl(&["power", "diag"]).succeeds();

    machine.ctl(&["power", "cycle"]).succeeds();
    machine.ctl(&["power", "off"]).exits(1).says("busy with another power operation");
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != first));
    let second = machine.wait_on();

    machine.ctl(&["power", "off"]).succeeds();
    machine.wait_off();
    machine.power_is("off");
    assert!(!processes::exists(second));
    machine.ctl(&["power", "off"]).succeeds();
}

#[test]
fn a_soft_shutdown_that_the_guest_ignores_ends_as_the_profile_says() {
    // Firmware does not know the power button.
    let machine = Setup::bare().set("power.soft_limit_s=1").set("power.soft_policy=force").start();
    machine.power("on");
    let qemu = machine.wait_on();
    machine.power("soft");
    machine.wait_off();
    assert!(!processes::exists(qemu));

    let machine = Setup::bare().set("power.soft_limit_s=1").start();
    machine.power("on");
    let qemu = machine.wait_on();
    machine.power("soft");
    assert_eq!(machine.status()["operation"], "soft");
    assert_eq!(machine.wait_on(), qemu, "left alone");
    machine.power("off");
    machine.wait_off();
}
