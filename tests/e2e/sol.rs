//! Serial-over-LAN with ipmitool on a terminal.

use crate::clients::{ADMIN, ipmitool_at};
use crate::command::run;
use crate::machine::Setup;
use crate::wait::{SOON, wait_until};

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

    // More than one packet, and more than a serial port's FIFO, of input at once.
    let lines: Vec<String> = (1..=40).map(|line| format!("{line:-<60}")).collect();
    sol.type_line("stty -echo; cat > /tmp/pasted; stty echo");
    sol.expect("stty echo\r\n");
    sol.press(&lines.join("\r"));
    sol.press("\r\u{4}");
    sol.expect(crate::terminal::PROMPT);
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
    sol.expect(crate::terminal::PROMPT);
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
