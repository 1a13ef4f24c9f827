//! Who gets in, and what a client sees first.

use std::time::Duration;

use serde_json::Value;

use crate::clients::{ADMIN, Login};
use crate::command::run;
use crate::machine::Setup;

const NO_SESSION: &str = "Unable to establish IPMI v2 / RMCP+ session";

#[test]
fn ipmitool_logs_in_with_cipher_suite_3_or_17_or_what_it_finds() {
    let machine = Setup::bare().start();
    let plan = run(machine.setup.program("plan").args(["--format", "json"])).succeeds();
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let uuid = plan["identity"]["uuid"].as_str().unwrap();
    for suite in [&["-C", "3"][..], &["-C", "17"], &[]] {
        let ask = |words: &[&str]| machine.ipmitool(&[suite, words].concat()).succeeds();
        ask(&["mc", "info"])
            .has_field("Device ID", "32")
            .has_field("IPMI Version", "2.0")
            .says("\n    Chassis Device\n");
        ask(&["mc", "guid"]).has_field("System GUID", uuid).has_field("GUID Encoding", "IPMI");
        ask(&["chassis", "status"])
            .has_field("System Power", "off")
            .has_field("Main Power Fault", "false")
            .has_field("Power Restore Policy", "always-off");
    }
    for suite in ["3", "17"] {
        machine.expect_log(&format!("way=suite-{suite} limit=ADMINISTRATOR"));
    }
    // Of what was authenticated, nothing was odd.
    assert_eq!(machine.status()["dropped_datagrams"], 0);
}

#[test]
fn cipher_suites_without_encryption_are_refused() {
    let machine = Setup::bare().start();
    for suite in ["0", "1", "2"] {
        machine.ipmitool(&["-C", suite, "mc", "info"]).fails().says(NO_SESSION);
    }
    machine.ipmitool(&["mc", "info"]).succeeds();
}

#[test]
fn wrong_password_and_unknown_user_are_refused_at_once() {
    let machine = Setup::bare().start();
    let wrong_password = Login { password: "wrong", ..ADMIN };
    let wrong_user = Login { user: "nobody", ..ADMIN };
    for (login, freeipmi) in
        [(wrong_password, "password invalid"), (wrong_user, "username invalid")]
    {
        for suite in ["3", "17"] {
            let output = machine.ipmitool_as(login, &["-C", suite, "mc", "info"]);
            assert!(output.took < Duration::from_secs(10), "too slow: {output}");
            output.fails().says(NO_SESSION).does_not_say("Device ID");
        }
        machine.freeipmi_as(login, "bmc-info", &[]).fails().says(freeipmi);
        // ipmipower's exit code is 0.
        machine.freeipmi_as(login, "ipmipower", &["--on"]).says(freeipmi);
        machine.freeipmi_as(login, "ipmipower", &["-I", "17", "--on"]).says(freeipmi);
        machine.ipmitool(&["mc", "info"]).succeeds().has_field("Device ID", "32");
    }
    machine.power_is("off");
}

#[test]
fn privileges_are_those_of_the_profile() {
    let machine = Setup::bare()
        .set("ipmi.users.1.name=viewer")
        .set("ipmi.users.1.password=viewer-password")
        .set("ipmi.users.1.privilege=user")
        .set("ipmi.users.2.name=switcher")
        .set("ipmi.users.2.password=switcher-password")
        .set("ipmi.users.2.privilege=operator")
        .start();
    let viewer = Login { user: "viewer", password: "viewer-password" };
    let switcher = Login { user: "switcher", password: "switcher-password" };

    machine.ipmitool_as(viewer, &["-L", "USER", "power", "status"]).succeeds().says("is off");
    machine
        .ipmitool_as(viewer, &["-L", "USER", "power", "on"])
        .says("Insufficient privilege level");
    machine.ipmitool_as(viewer, &["power", "on"]).fails().says(NO_SESSION);
    machine.freeipmi_as(viewer, "bmc-info", &[]).succeeds().has_field("Device ID", "32");
    machine.power_is("off");
    assert_eq!(machine.qemu_pid(), None);

    machine.ipmitool_as(switcher, &["-L", "OPERATOR", "power", "on"]).succeeds().says("Up/On");
    machine.wait_on();
}

#[test]
fn only_the_cipher_suites_of_the_profile_are_offered() {
    let machine = Setup::bare().set("ipmi.cipher_suites=[17]").start();
    machine.ipmitool(&["-C", "3", "mc", "info"]).fails().says(NO_SESSION);
    machine.ipmitool(&["-C", "17", "mc", "info"]).succeeds().has_field("Device ID", "32");
    // Without `-C`, ipmitool takes what it is offered.
    machine.ipmitool(&["mc", "info"]).succeeds();
    machine.freeipmi("bmc-info", &["-I", "3"]).fails().says("cipher suite id unavailable");
    machine.freeipmi("bmc-info", &["-I", "17"]).succeeds();
}

#[test]
fn a_user_who_is_not_enabled_cannot_log_in() {
    let machine = Setup::bare()
        .set("ipmi.users.1.name=former")
        .set("ipmi.users.1.password=former-password")
        .set("ipmi.users.1.enabled=false")
        .set("ipmi.users.2.name=present")
        .set("ipmi.users.2.password=present-password")
        .start();
    let former = Login { user: "former", password: "former-password" };
    let present = Login { user: "present", password: "present-password" };
    for suite in ["3", "17"] {
        machine.ipmitool_as(former, &["-C", suite, "mc", "info"]).fails().says(NO_SESSION);
        machine.ipmitool_as(present, &["-C", suite, "mc", "info"]).succeeds();
    }
    // As if there were none of this name.
    machine.freeipmi_as(former, "bmc-info", &[]).fails().says("username invalid");
}
