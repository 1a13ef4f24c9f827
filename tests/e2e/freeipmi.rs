//! FreeIPMI's tools, which look at more of an answer than ipmitool does.

use crate::machine::{Machine, Setup};
use crate::processes;
use crate::wait::{SOON, wait_until};

/// As people call it: plain, with the flag that MAAS always gives, and with the other suite.
const VARIANTS: [&[&str]; 3] = [&[], &["-W", "opensesspriv"], &["-I", "17"]];

fn ipmipower(machine: &Machine, variant: &[&str], action: &str, answer: &str) {
    machine
        .freeipmi("ipmipower", &[variant, &[action]].concat())
        .succeeds()
        .says(&format!("127.0.0.1: {answer}\n"));
}

#[test]
fn ipmipower_switches_power_without_workarounds() {
    let machine = Setup::bare().start();
    for variant in VARIANTS {
        ipmipower(&machine, variant, "--stat", "off");
        ipmipower(&machine, variant, "--off", "ok");
        ipmipower(&machine, variant, "--on", "ok");
        let first = machine.wait_on();
        ipmipower(&machine, variant, "--stat", "on");
        ipmipower(&machine, variant, "--on", "ok");

        ipmipower(&machine, variant, "--cycle", "ok");
        wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != first));
        let second = machine.wait_on();
        assert!(!processes::exists(first));

        ipmipower(&machine, variant, "--reset", "ok");
        assert_eq!(machine.wait_on(), second);
        ipmipower(&machine, variant, "--stat", "on");

        ipmipower(&machine, variant, "--off", "ok");
        machine.wait_off();
        ipmipower(&machine, variant, "--stat", "off");
        assert!(!processes::exists(second));
    }
}

#[test]
fn ipmipower_waits_for_on_and_off() {
    let machine = Setup::bare().start();
    ipmipower(&machine, &["--wait-until-on"], "--on", "ok");
    machine.power_is("on");
    ipmipower(&machine, &["--wait-until-off"], "--off", "ok");
    machine.power_is("off");
    // How MAAS starts a node.
    ipmipower(&machine, &["-W", "opensesspriv", "--on-if-off"], "--cycle", "ok");
    machine.wait_on();
}

#[test]
fn ipmi_chassis_reads_and_switches_power() {
    let machine = Setup::bare().start();
    let status = || machine.freeipmi("ipmi-chassis", &["--get-status"]).succeeds();
    let control =
        |action: &str| machine.freeipmi("ipmi-chassis", &[&format!("--chassis-control={action}")]);
    status()
        .has_field("System Power", "off")
        .has_field("Power fault", "false")
        .has_field("Power restore policy", "Always off");
    control("power-cycle").fails().says("bad completion code");

    control("power-up").succeeds();
    let first = machine.wait_on();
    status().has_field("System Power", "on");
    control("power-cycle").succeeds();
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != first));
    let second = machine.wait_on();
    control("hard-reset").succeeds();
    assert_eq!(machine.wait_on(), second);
    control("power-down").succeeds();
    machine.wait_off();
    status().has_field("System Power", "off");
}

#[test]
fn bmc_info_needs_no_workaround() {
    let machine = Setup::bare().start();
    let guid = machine.status()["uuid"].as_str().unwrap().to_owned();
    for suite in ["3", "17"] {
        machine
            .freeipmi("bmc-info", &["-I", suite])
            .succeeds()
            .has_field("Device ID", "32")
            .has_field("IPMI Version", "2.0")
            .has_field("Chassis Device", "supported")
            .has_field("System GUID", &guid)
            .has_field("Medium Type", "802.3 LAN");
    }
}

#[test]
fn ipmiconsole_reaches_the_guest_and_ipmipower_shuts_it_down() {
    let machine = Setup::demo().start();
    let mut console = machine.ipmiconsole();
    machine.freeipmi("ipmipower", &["--on"]).says("127.0.0.1: ok\n");
    console.expect_guest();
    assert_eq!(console.shell("echo $((6*7*1000))"), "42000\r\n");

    // FreeIPMI's console takes SOL over from whoever has it, and tells him.
    let mut second = machine.ipmiconsole();
    console.expect("[SOL session stolen]");
    console.end();
    assert_eq!(second.shell("echo $((6*7*1001))"), "42042\r\n");

    machine.freeipmi("ipmipower", &["--soft"]).says("127.0.0.1: ok\n");
    second.expect("demo guest: poweroff");
    machine.wait_off();
    machine.freeipmi("ipmipower", &["--stat"]).says("127.0.0.1: off\n");

    second.press("&.");
    second.expect("[closing the connection]");
    assert_eq!(second.end(), 0);
    wait_until("SOL is free", SOON, || machine.status()["sol_active"] == false);
}
