//! Serial-over-LAN with ipmitool on a terminal.

use std::time::Duration;

use crate::clients::{ADMIN, ipmitool_at};
use crate::command::{run, tool};
use crate::machine::{Setup, root};
use crate::terminal::PROMPT;
use crate::wait::{BOOT, SOON, wait_until};

/// How ipmitool says good-bye when it is told that SOL has ended.
const CLOSED: &str = "SOL session closed by BMC";

#[test]
fn a_shell_over_sol_loses_nothing_in_either_direction() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    // Not in the command's echo.
    assert_eq!(sol.shell("echo $((6*7*1000))"), "42000\r\n");

    // Many packets' worth of output.
    let numbers: String = (1..=3000).map(|number| format!("{number}\r\n")).collect();
    assert!(sol.shell("seq 1 3000") == numbers, "output with a hole, or in another order");

    // 100 KiB of input at once: more than waits anywhere on the way.
    let lines: Vec<String> = (1..=1640).map(|line| format!("{line:-<62}")).collect();
    sol.type_line("stty -echo; cat > /tmp/pasted; stty echo");
    sol.expect("stty echo\r\n");
    sol.press(&lines.join("\r"));
    sol.press("\r\u{4}");
    sol.expect_within(BOOT, PROMPT);
    let expected: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    assert_eq!(sol.shell("cat /tmp/pasted"), expected);
}

#[test]
fn a_break_reaches_the_guest() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    // ipmitool takes `~` for its own at the start of a line only.
    sol.press("\r");
    sol.expect(PROMPT);
    sol.press("~B");
    sol.expect("~B [send break]");
    sol.press("h");
    // The kernel's help on SysRq keys.
    sol.expect("sysrq: HELP : ");
}

#[test]
fn firmware_is_seen_from_its_first_byte_at_every_start() {
    let machine = Setup::bare().start();
    let mut sol = machine.sol();
    for action in ["on", "cycle"] {
        machine.power(action);
        // SeaBIOS clears the terminal first; nothing is before that, and nothing is missing.
        let before = sol.expect("SeaBIOS (version ");
        assert!(before.starts_with("\u{1b}c"), "the first byte is cut: {before:?}");
        assert_eq!(without_escapes(&before), "", "something is between: {before:?}");
        sol.expect("No bootable device.\r\n");
        machine.wait_on();
    }
    assert!(machine.status()["sol_active"].as_bool().unwrap());
}

/// Drops terminal control sequences: `ESC c` and `ESC [ … letter`.
fn without_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next() == Some('[') => {
                chars.find(char::is_ascii_alphabetic);
            }
            '\u{1b}' => {}
            c => out.push(c),
        }
    }
    out
}

#[test]
fn sol_belongs_to_one_session_and_another_can_end_it() {
    let machine = Setup::bare().start();
    let mut first = machine.sol();
    let second = run(ipmitool_at(machine.port(), ADMIN).args(["sol", "activate"]));
    second.says("SOL payload already active on another session");
    assert_eq!(machine.status()["sol_active"], true);

    machine.ipmitool(&["sol", "deactivate"]).succeeds();
    // ipmitool overlooks the good-bye, and notices when nobody takes what is typed.
    first.press("x");
    first.expect(CLOSED);
    assert_ne!(first.end(), 0);
    machine.ipmitool(&["sol", "deactivate"]).says("SOL payload already de-activated");

    let mut third = machine.sol();
    machine.power("on");
    third.expect("SeaBIOS (version ");
    // Enter, and the escape to leave.
    third.press("\r~.");
    third.expect("[terminated ipmitool]");
    assert_eq!(third.end(), 0);
    wait_until("SOL is free", SOON, || machine.status()["sol_active"] == false);
    machine.sol();
}

#[test]
fn a_client_that_died_does_not_keep_sol() {
    let machine = Setup::bare().start();
    let mut dead = machine.sol();
    dead.kill_program();
    assert_eq!(machine.status()["sol_active"], true, "nobody knows yet");
    machine.ipmitool(&["sol", "deactivate"]).succeeds();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect("SeaBIOS (version ");
}

#[test]
fn a_dead_clients_session_expires_and_sol_is_free() {
    let machine = Setup::bare().start();
    machine.sol().kill_program();
    let second = run(ipmitool_at(machine.port(), ADMIN).args(["sol", "activate"]));
    second.says("SOL payload already active on another session");
    // The idle limit of sessions is 60 s.
    wait_until("SOL is free", Duration::from_secs(70), || machine.status()["sol_active"] == false);
    machine.sol();
}

#[test]
fn pyghmi_has_a_console() {
    let python = root().join("target/python-clients/bin/python");
    assert!(python.exists(), "no pyghmi: `make python-clients` installs it");
    let machine = Setup::demo().start();
    machine.power("on");
    let mut sol = machine.sol();
    sol.expect_guest();
    sol.press("~.");
    sol.end();
    let port = machine.port().to_string();
    let output = run(tool(python).arg(root().join("tests/e2e/pyghmi-console")).args([
        &port,
        ADMIN.user,
        ADMIN.password,
        PROMPT,
        "echo $((6*7*1000))",
        "seq 1 2000",
    ]))
    .succeeds();
    let numbers: String = (1..=2000).map(|number| format!("{number}\r\n")).collect();
    assert!(output.stdout.contains("\r\n42000\r\n"), "{output}");
    assert!(output.stdout.contains(&format!("seq 1 2000\r\n{numbers}{PROMPT}")), "{output}");
    wait_until("pyghmi has let go of SOL", SOON, || machine.status()["sol_active"] == false);
}

#[test]
fn sol_settings_are_read_and_written_by_ipmitool() {
    let machine = Setup::bare().start();
    let info = |machine: &crate::machine::Machine| machine.ipmitool(&["sol", "info"]).succeeds();
    info(&machine)
        .has_field("Set in progress", "set-complete")
        .has_field("Enabled", "true")
        .has_field("Privilege Level", "OPERATOR")
        .has_field("Character Accumulate Level (ms)", "5")
        .has_field("Character Send Threshold", "1")
        .has_field("Retry Count", "7")
        .has_field("Retry Interval (ms)", "200")
        .has_field("Non-Volatile Bit Rate (kbps)", "115.2")
        .has_field("Payload Channel", "1 (0x01)")
        .has_field("Payload Port", &machine.port().to_string());
    for (name, value) in [
        ("privilege-level", "admin"),
        ("character-accumulate-level", "20"),
        ("character-send-threshold", "100"),
        ("retry-count", "3"),
        ("retry-interval", "50"),
        ("non-volatile-bit-rate", "19.2"),
        ("volatile-bit-rate", "38.4"),
        ("force-encryption", "true"),
    ] {
        machine.ipmitool(&["sol", "set", name, value, "1"]).succeeds();
    }
    info(&machine)
        .has_field("Set in progress", "set-complete")
        .has_field("Force Encryption", "true")
        .has_field("Privilege Level", "ADMINISTRATOR")
        .has_field("Character Accumulate Level (ms)", "100")
        .has_field("Character Send Threshold", "100")
        .has_field("Retry Count", "3")
        .has_field("Retry Interval (ms)", "500")
        .has_field("Non-Volatile Bit Rate (kbps)", "19.2")
        .has_field("Volatile Bit Rate (kbps)", "38.4");

    machine.ipmitool(&["sol", "payload", "status", "1", "2"]).says("enabled");
    machine.ipmitool(&["sol", "payload", "disable", "1", "2"]).succeeds();
    machine.ipmitool(&["sol", "payload", "status", "1", "2"]).says("disabled");
    run(ipmitool_at(machine.port(), ADMIN).args(["sol", "activate"])).fails();
    machine.ipmitool(&["sol", "payload", "enable", "1", "2"]).succeeds();
    machine.ipmitool(&["sol", "set", "enabled", "false", "1"]).succeeds();
    run(ipmitool_at(machine.port(), ADMIN).args(["sol", "activate"]))
        .fails()
        .says("SOL payload disabled");
    machine.ipmitool(&["sol", "set", "enabled", "true", "1"]).succeeds();
    machine.sol();
}
