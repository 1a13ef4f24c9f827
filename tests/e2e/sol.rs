//! Serial-over-LAN with ipmitool on a terminal.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::clients::{ADMIN, ipmitool_at};
use crate::command::{Output, run, run_within, tool};
use crate::machine::{Machine, Setup, root};
use crate::processes::{self, Signal};
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
    assert!(sol.shell("seq 1 3000") == numbers(3000), "output with a hole, or in another order");

    let lines = lines_to_paste();
    sol.type_line(PASTE);
    sol.expect(PASTE_BEGINS);
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
fn ipmitool_leaves_a_guest_that_reads_nothing() {
    let machine = Setup::bare().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect("No bootable device.\r\n");
    let qemu = machine.wait_on();
    processes::signal(qemu, Signal::SIGSTOP);
    for _ in 0..900 {
        sol.press("\r");
    }
    sol.press("~.");
    sol.expect("[terminated ipmitool]");
    assert_eq!(sol.end(), 0);
    wait_until("SOL is free", SOON, || machine.status()["sol_active"] == false);
    processes::signal(qemu, Signal::SIGCONT);
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

fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\r\n")).collect()
}

/// 100 KiB of input: more than waits anywhere on the way.
fn lines_to_paste() -> Vec<String> {
    (1..=1640).map(|line| format!("{line:-<62}")).collect()
}

/// Without the terminal's own XOFF and XON in what it shows.
const PASTE: &str = "stty -echo -ixoff; echo ready; cat > /tmp/pasted; stty echo";
/// Before it, what is pasted would be shown, and be too much for a terminal that nobody reads.
const PASTE_BEGINS: &str = "\r\nready\r\n";

/// FreeIPMI's console ends with `internal error` when it has no room for what comes: from the BMC, when
/// its own output is not read as fast, and from its user, when he pastes faster than the BMC takes. So
/// no more at once than it has room for.
#[test]
fn ipmiconsole_loses_nothing_in_either_direction() {
    let machine = Setup::demo().start();
    let mut console = machine.ipmiconsole();
    machine.power("on");
    console.expect_guest();
    let some = numbers(1500);
    for _ in 0..20 {
        assert!(console.shell("seq 1 1500") == some, "output with a hole, or in another order");
    }

    let lines = lines_to_paste();
    // Without the terminal's own XOFF and XON in what it shows.
    console.type_line("stty -ixoff; cat > /tmp/pasted");
    console.expect("cat > /tmp/pasted\r\n");
    for some in lines.chunks(64) {
        console.press(&(some.join("\r") + "\r"));
        console.expect(&format!("{}\r\n", some.last().unwrap()));
    }
    console.press("\u{4}");
    console.expect(PROMPT);
    for (last, some) in (1..).map(|part| 160 * part).zip(lines.chunks(160)) {
        let (last, count) = (last.min(lines.len()), some.len());
        let shown = console.shell(&format!("head -n {last} /tmp/pasted | tail -n {count}"));
        assert_eq!(shown, some.iter().map(|line| format!("{line}\r\n")).collect::<String>());
    }
}

/// A pyghmi console of this machine: what it shows when it has typed these lines, and has seen after
/// each what follows it.
fn pyghmi(machine: &Machine, lines: &[[&str; 2]]) -> Output {
    let python = root().join("target/python-clients/bin/python");
    assert!(python.exists(), "no pyghmi: `make python-clients` installs it");
    let mut command = tool(python);
    command.arg(root().join("tests/e2e/pyghmi-console"));
    command.args([&machine.port().to_string(), ADMIN.user, ADMIN.password]);
    command.arg(BULK.as_secs().to_string()).args(lines.as_flattened());
    run_within(BULK, &mut command).succeeds()
}

/// For much, by clients that take their time, on a host that does other things as well.
const BULK: Duration = Duration::from_secs(240);

#[test]
fn pyghmi_loses_nothing_in_either_direction() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    sol.press("~.");
    sol.end();
    let lines = lines_to_paste();
    let pasted = machine.setup.file("pasted", (lines.join("\r") + "\r\u{4}").as_bytes());
    let output = pyghmi(
        &machine,
        &[
            ["echo $((6*7*1000))", &format!("42000\r\n{PROMPT}")],
            ["seq 1 2000", PROMPT],
            [PASTE, PASTE_BEGINS],
            [&format!("@{}", pasted.display()), PROMPT],
            ["cat /tmp/pasted", PROMPT],
        ],
    );
    let pasted: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let expected = [
        "echo $((6*7*1000))\r\n42000\r\n",
        &format!("seq 1 2000\r\n{}", numbers(2000)),
        &format!("{PASTE}\r\nready\r\n"),
        &format!("cat /tmp/pasted\r\n{pasted}"),
    ]
    .map(|part| part.to_owned() + PROMPT)
    .concat();
    assert_same(&output.stdout, &expected);
    wait_until("pyghmi has let go of SOL", SOON, || machine.status()["sol_active"] == false);
}

#[test]
fn pyghmi_gets_20_mib() {
    /// The numbers up to it are nearly 1 MiB: a client that stands still for a second would skip
    /// some of more than that.
    const LAST: u32 = 140_000;
    let machine = Setup::bare()
        .set(format!("qemu.binary={}", root().join("tests/e2e/flooding-qemu").display()))
        .set("qemu.user=root")
        .start();
    machine.power("on");
    machine.wait_on();
    let output = pyghmi(&machine, &[[&LAST.to_string(), "[end]\r\n"]; 21]);
    assert_same(&output.stdout, &(numbers(LAST) + "[end]\r\n").repeat(21));
    assert!(output.stdout.len() > 20 << 20);
    eprintln!("{} bytes to pyghmi in {:?}", output.stdout.len(), output.took);
}

/// Says where two long texts differ.
#[track_caller]
fn assert_same(shown: &str, expected: &str) {
    if shown != expected {
        let same = shown.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| {
            let bytes = &text.as_bytes()[same.saturating_sub(40)..];
            String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned()
        };
        panic!("behind {same} bytes: {:?} instead of {:?}", from(shown), from(expected));
    }
}

#[test]
fn sol_shows_what_file_and_socket_get_over_power_cycles() {
    let setup = Setup::demo();
    let file = setup.dir.path().join("console");
    let machine = setup.set(format!("console.file={}", file.display())).start();
    let mut socket = UnixStream::connect(machine.run_dir.join("console.sock")).unwrap();
    let from_socket = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&from_socket);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = socket.read(&mut buffer) {
            sink.lock().unwrap().extend_from_slice(&buffer[..len]);
        }
    });
    let mut sol = machine.sol();
    // Once SOL is up, all is of the guest.
    let start = sol.rest().len();
    assert_eq!(start, 0, "nothing is shown of a machine that is off");
    machine.power("on");
    wait_until("the first guest is up", BOOT, || holds(&sol.rest(), PROMPT, 1));
    // In the middle of its output.
    sol.type_line("seq 1 200000");
    wait_until("it is under way", SOON, || holds(&sol.rest(), "\r\n1000\r\n", 1));
    machine.power("cycle");
    // In the middle of the boot.
    wait_until("the second firmware", BOOT, || holds(&sol.rest(), "SeaBIOS (version ", 2));
    machine.wait_on();
    machine.power("cycle");
    wait_until("the third firmware", BOOT, || holds(&sol.rest(), "SeaBIOS (version ", 3));
    wait_until("the third guest is up", BOOT, || sol.rest().ends_with(PROMPT.as_bytes()));

    let on_sol = sol.rest();
    let first = String::from_utf8_lossy(&on_sol[..40.min(on_sol.len())]).into_owned();
    assert!(first.starts_with("\u{1b}c\u{1b}["), "the first byte is cut: {first:?}");
    wait_until("the file has all", SOON, || fs::read(&file).unwrap().len() >= on_sol.len());
    wait_until("the socket has all", SOON, || from_socket.lock().unwrap().len() >= on_sol.len());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_same(&text(&fs::read(&file).unwrap()), &text(&on_sol));
    assert_same(&text(&from_socket.lock().unwrap().clone()), &text(&on_sol));
}

/// Whether a text is in these bytes at least so often.
fn holds(bytes: &[u8], text: &str, times: usize) -> bool {
    String::from_utf8_lossy(bytes).matches(text).count() >= times
}

#[test]
fn sol_settings_are_read_and_written_by_ipmitool() {
    let machine = Setup::bare().start();
    let info = |machine: &Machine| machine.ipmitool(&["sol", "info"]).succeeds();
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
