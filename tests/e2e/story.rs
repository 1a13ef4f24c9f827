//! What the System Event Log tells of the machine, to each client, and what outlives a crash.

use std::fs;
use std::path::PathBuf;

use crate::clients::{ADMIN, Login};
use crate::machine::{Machine, Setup};
use crate::processes::{self, Signal};
use crate::wait::{BOOT, SOON, wait_until};

fn state(machine: &Machine, name: &str) -> PathBuf {
    machine.setup.dir.path().join("state").join(name)
}

/// Waits until `ctl sel list` has a line that ends so.
#[track_caller]
pub(crate) fn told(machine: &Machine, text: &str) {
    wait_until(&format!("`{text}` in the log"), SOON, || {
        let list = machine.ctl(&["sel", "list"]).succeeds().stdout;
        list.lines().any(|line| line.ends_with(text))
    });
}

/// Kills the program, and starts it again.
#[track_caller]
fn kill(machine: &mut Machine) {
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    // QEMU dies with it, at once but not in the same instant.
    wait_until("QEMU is gone", SOON, || machine.processes().is_empty());
    machine.start_again();
}

#[test]
fn who_did_it_is_told_to_every_client_and_kept() {
    let mut machine = Setup::bare().set("power.stop_limit_s=1").start();
    machine.ipmitool(&["sel", "clear"]).succeeds();
    machine.ipmitool(&["chassis", "bootdev", "pxe"]).succeeds();
    machine.power("on");
    machine.wait_on();
    told(&machine, "System Boot: PXE boot requested (boot override used: network, once)");
    machine.power("reset");
    machine
        .ipmitool(&["chassis", "restart_cause"])
        .succeeds()
        .says("chassis power control command");
    machine.ctl(&["power", "diag"]).succeeds();
    machine.ctl(&["power", "cycle"]).succeeds();
    told(&machine, "System Boot: restart, cause: power button");
    machine.ctl(&["power", "off"]).succeeds();
    told(&machine, "Power Unit: power off (power off by ctl)");
    let wrong = Login { password: "wrong", ..ADMIN };
    machine.ipmitool_as(wrong, &["-R", "1", "mc", "info"]).fails();
    told(&machine, " not completed: wrong password?)");

    let list = machine.ctl(&["sel", "list"]).succeeds().stdout;
    for text in [
        "SEL: log cleared (cleared by user admin (2) from 127.0.0.1:",
        "System Event: system reconfigured (boot override set to network, once by user admin (2) from",
        "System Boot: initiated by power up (power on by user admin (2) from 127.0.0.1:",
        "System Boot: restart, cause: chassis control command, channel 1h",
        "System Boot: initiated by hard reset (reset by user admin (2) from 127.0.0.1:",
        "Diag Interrupt: diagnostic interrupt (sent by ctl)",
        "Power Unit: power cycle (power cycle by ctl)",
        "System Boot: initiated by power up (power on after power cycle by ctl)",
        "Session Audit: invalid user name or password, user ID 2 (login of user \"admin\" from 127.0.0.1:",
    ] {
        assert!(list.contains(text), "`{text}` in\n{list}");
    }
    let elist = machine.ipmitool(&["sel", "elist"]).succeeds();
    for text in [
        "Event Logging Disabled SEL | Log area reset/cleared",
        "System Event System Event | System Reconfigured",
        "System Boot Initiated System Boot | Initiated by power up",
        "System Boot Initiated System Boot | System Restart",
        "System Boot Initiated System Boot | User requested PXE boot",
        "System Boot Initiated System Boot | Initiated by hard reset",
        "Critical Interrupt Diag Interrupt |",
        "Power Unit Power Unit | Power cycle",
        "Power Unit Power Unit | Power off/down",
        "System ACPI Power State ACPI State | S5/G2: soft-off",
        "Session Audit",
    ] {
        assert!(elist.stdout.contains(text), "`{text}` in\n{}", elist.stdout);
    }
    let cache = format!("--sdr-cache-directory={}", machine.setup.dir.path().display());
    let words = ["--quiet-cache", &cache, "--no-header-output"];
    let sel = machine.freeipmi("ipmi-sel", &words).succeeds();
    for text in [
        "System Restart ; Chassis Control command ; Channel Number used to deliver command that \
         generated restart #1",
        "System Restart ; power-up via power pushbutton",
        "User requested PXE boot",
        "Invalid Username or Password",
        "Power Cycle",
    ] {
        assert!(sel.stdout.contains(text), "`{text}` in\n{}", sel.stdout);
    }

    // The end of the program is a part of the story.
    machine.power("on");
    machine.wait_on();
    machine.restart();
    told(&machine, "Power Unit: power off (switched off: qemu-bmc ends)");
    let after = machine.ctl(&["sel", "list"]).succeeds().stdout;
    assert!(after.starts_with(&list), "kept:\n{after}");
    assert!(!after.contains("AC lost"), "{after}");
}

#[test]
fn what_the_guest_does_is_in_the_log() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let qemu = machine.wait_on();

    sol.type_line("reboot");
    told(&machine, "System Boot: warm reset by the operating system (reboot by the guest)");
    told(&machine, "System Boot: restart, cause: soft reset");
    sol.expect_within(BOOT, "SeaBIOS (version");
    sol.expect_guest();

    // As on metal, a kernel that has panicked stays as it is, for people to look at.
    sol.type_line("echo c > /proc/sysrq-trigger");
    told(&machine, "OS Stop: run-time critical stop (the guest's kernel has panicked)");
    machine.ipmitool(&["sel", "list"]).succeeds().says("Run-time critical stop");
    assert_eq!(machine.wait_on(), qemu);
    machine.power("reset");
    sol.expect_within(BOOT, "SeaBIOS (version");
    sol.expect_guest();

    sol.type_line("poweroff");
    machine.wait_off();
    told(&machine, "OS Stop: graceful shutdown (the guest shut down by itself)");
    told(&machine, "Power Unit: power off (the guest shut down by itself)");
    assert_eq!(machine.status()["fault"], false);

    machine.power("on");
    processes::signal(machine.wait_on(), Signal::SIGKILL);
    machine.wait_off();
    told(&machine, "Power Unit: power unit failure (QEMU crashed: killed by SIGKILL)");
    assert_eq!(machine.status()["fault"], true);
    machine.ipmitool(&["chassis", "status"]).succeeds().has_field("Main Power Fault", "true");
    machine.power("on");
    machine.wait_on();
}

#[test]
fn a_program_that_was_killed_says_so_at_its_next_start() {
    let mut machine = Setup::bare().start();
    machine.power("on");
    machine.wait_on();
    wait_until("that it is on is saved", SOON, || {
        fs::read_to_string(state(&machine, "bmc.json"))
            .is_ok_and(|text| text.contains(r#""is_on": true"#))
    });
    kill(&mut machine);
    machine.power_is("off");
    told(&machine, "Power Unit: AC lost (qemu-bmc or its host ended while the machine was on)");
    machine.ipmitool(&["sel", "list"]).succeeds().says("Power Unit #0x01 | AC lost");
    machine.ipmitool(&["chassis", "status"]).succeeds().says("Last Power Event     : ac-failed");
}

#[test]
fn the_state_of_before_is_kept_by_the_policy_previous() {
    let mut machine = Setup::bare().set("power.restore=previous").start();
    // The first time, as there is no state of before.
    machine.wait_on();
    told(&machine, "System Boot: restart, cause: previous state restored");
    kill(&mut machine);
    machine.wait_on();
    machine.power("off");
    machine.wait_off();
    kill(&mut machine);
    machine.power_is("off");
}

#[test]
fn no_left_over_of_a_crash_is_an_obstacle() {
    let mut machine = Setup::bare().set("power.restore=previous").start();
    machine.wait_on();
    machine.ipmitool(&["user", "set", "name", "5", "mallory"]).succeeds();
    machine.power("off");
    machine.wait_off();
    machine.signal(Signal::SIGTERM);
    machine.wait_end(SOON);
    let whole = fs::read(state(&machine, "bmc.json")).unwrap();
    // Each state that a write leaves which is cut off: nothing, a part, or all of the new file.
    for len in [0, 1, whole.len() / 2, whole.len()] {
        for (name, contents) in [("bmc.new", &whole[..len]), ("last-power.new", b"o")] {
            fs::write(state(&machine, name), contents).unwrap();
        }
        machine.start_again();
        machine.power_is("off");
        machine.ipmitool(&["user", "list", "1"]).succeeds().says("mallory");
        assert!(!machine.log().contains("damaged"), "{}", machine.log());
        machine.signal(Signal::SIGTERM);
        machine.wait_end(SOON);
        assert!(!state(&machine, "bmc.new").exists(), "the next write takes it away");
    }
    // And what no crash leaves, but a broken disk.
    for (damaged, last) in [(&b"\xFF\xFE"[..], "\0\0"), (b"", "")] {
        fs::write(state(&machine, "bmc.json"), damaged).unwrap();
        fs::write(state(&machine, "last-power"), last).unwrap();
        machine.start_again();
        machine.wait_on();
        machine.expect_log("the file of what was changed over IPMI is damaged");
        machine.expect_log("the file of its last power state is damaged");
        assert_eq!(fs::read(state(&machine, "bmc.json.damaged")).unwrap(), damaged);
        assert_eq!(fs::read(state(&machine, "last-power.damaged")).unwrap(), last.as_bytes());
        machine.signal(Signal::SIGKILL);
        machine.wait_end(SOON);
        wait_until("QEMU is gone", SOON, || machine.processes().is_empty());
    }
}

/// Whether the store holds the variable that lists the boot options.
fn has_boot_order(store: &[u8]) -> bool {
    let name: Vec<u8> = "BootOrder".encode_utf16().flat_map(u16::to_le_bytes).collect();
    store.windows(name.len()).any(|part| part == name)
}

#[test]
fn uefi_variables_outlive_power_cycles_and_the_container() {
    let mut machine = Setup::bare().set("firmware.mode=uefi").start();
    let path = state(&machine, "uefi-vars.fd");
    let fresh = fs::read(&path).unwrap();
    assert!(!has_boot_order(&fresh));
    machine.power("on");
    wait_until("the firmware has written", BOOT, || has_boot_order(&fs::read(&path).unwrap()));
    let first = machine.wait_on();
    machine.power("cycle");
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != first));
    machine.wait_on();
    assert!(has_boot_order(&fs::read(&path).unwrap()));
    machine.power("off");
    machine.wait_off();
    let written = fs::read(&path).unwrap();
    machine.restart();
    assert_eq!(fs::read(&path).unwrap(), written, "nothing but the directory is needed");

    // A store of which only a part is there: QEMU would not start with it.
    machine.signal(Signal::SIGTERM);
    machine.wait_end(SOON);
    fs::write(&path, &written[..written.len() / 2]).unwrap();
    machine.start_again();
    machine.expect_log("the UEFI variables are new ones: their file is damaged");
    assert_eq!(fs::read(&path).unwrap(), fresh);
    machine.power("on");
    machine.wait_on();
}

#[test]
fn the_status_says_what_is_not_as_the_profile_has_it() {
    let mut machine = Setup::bare().set("power.cycle_interval_s=2").start();
    machine.ctl(&["status"]).succeeds().does_not_say("changed ");
    machine.ipmitool(&["chassis", "policy", "previous"]).succeeds();
    machine.ipmitool(&["raw", "0", "0x0b", "9"]).succeeds();
    machine.ipmitool(&["user", "set", "name", "5", "mallory"]).succeeds();
    machine.ipmitool(&["user", "set", "password", "5", "mallory-secret"]).succeeds();
    machine.ipmitool(&["lan", "set", "1", "snmp", "mallory-trap"]).succeeds();
    machine.ipmitool(&["chassis", "identify", "force"]).succeeds();
    let status = machine.ctl(&["status"]).succeeds();
    for line in [
        "identify  on\n",
        "changed   power.restore: previous; the profile: always-off\n",
        "changed   power.cycle_interval_s: 9; the profile: 2\n",
        "changed   ipmi user 5: name: mallory; the profile: none\n",
        "changed   ipmi user 5: password: <another>; the profile: none\n",
        "changed   lan.community: <another>; the profile: <secret>\n",
    ] {
        assert!(status.stdout.contains(line), "{line} in\n{}", status.stdout);
    }
    let json = machine.status();
    assert_eq!(json["identify"], true);
    assert_eq!(json["differences"][0]["setting"], "ipmi user 5: name", "{json}");
    machine.expect_log("the chassis identifies itself: on");
    machine.ipmitool(&["chassis", "identify", "30"]).succeeds();
    let left = machine.status()["identify_left_s"].as_u64().unwrap();
    assert!((20..=30).contains(&left), "{left}");
    // What the profile sets holds again after a restart; the rest stays.
    machine.restart();
    machine
        .ctl(&["status"])
        .succeeds()
        .says("changed   ipmi user 5: name: mallory; the profile: none\n")
        .does_not_say("changed   power");
    assert_eq!(machine.status()["identify"], false);
}

#[test]
fn a_watchdog_of_the_machines_own_is_told_apart_from_a_reboot() {
    let device = r#"qemu.extra_args=["-device", "i6300esb"]"#;
    let machine = Setup::demo().set(device).start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let qemu = machine.wait_on();
    // The kernel has no driver for it. Two stages of a second each (Intel 6300ESB I/O Controller Hub
    // Datasheet, section 16: WDT Configuration and WDT Lock Register), and nobody who stops them.
    sol.type_line("cd $(dirname $(grep -l 0x25ab /sys/bus/pci/devices/*/device))");
    sol.type_line("printf '\\004\\000' | dd of=config bs=2 seek=48 conv=notrunc 2> /dev/null");
    sol.type_line("printf '\\002' | dd of=config bs=1 seek=104 conv=notrunc 2> /dev/null");
    told(
        &machine,
        "Watchdog: hard reset, use: OEM (the machine's own watchdog has expired, action reset)",
    );
    told(&machine, "(reset by the machine's own watchdog)");
    machine.ipmitool(&["chassis", "restart_cause"]).succeeds().says("watchdog");
    assert_eq!(machine.wait_on(), qemu);
}

#[test]
fn an_off_that_follows_a_panic_is_told_as_such() {
    let action = r#"qemu.extra_args=["-action", "panic=shutdown"]"#;
    let machine = Setup::demo().set(action).start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    sol.type_line("echo c > /proc/sysrq-trigger");
    machine.wait_off();
    told(&machine, "OS Stop: run-time critical stop (the guest's kernel has panicked)");
    told(&machine, "Power Unit: power off (off after the panic of the guest's kernel)");
    assert_eq!(machine.status()["fault"], false);
}
