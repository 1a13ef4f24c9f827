//! The BMC by itself: what it logs, where it is reached, its reset, and what it keeps.

use std::net::UdpSocket;
use std::time::Instant;

use crate::clients::{ADMIN, Login};
use crate::command::{Output, run, tool};
use crate::machine::{Machine, Setup};
use crate::processes::Signal;
use crate::wait::SOON;

const NEW_PASSWORD: &str = "hunter2-hunter2";

/// How often `text` is in the log.
fn count(machine: &Machine, text: &str) -> usize {
    machine.log().matches(text).count()
}

#[test]
fn a_session_is_one_line_and_a_change_another() {
    let machine = Setup::bare().start();
    machine.ipmitool(&["-C", "3", "-L", "OPERATOR", "chassis", "identify", "5"]).succeeds();
    machine.expect_log("ended: closed user=");
    let log = machine.log();
    let ended: Vec<&str> = log.lines().filter(|line| line.contains("session 0x")).collect();
    let [line] = &ended[..] else { panic!("{ended:?}") };
    for part in ["user=admin", "from=127.0.0.1:", "way=suite-3", "limit=OPERATOR"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(count(&machine, "Chassis Identify user=admin from=127.0.0.1:"), 1);
    assert_eq!(count(&machine, "data=05 code=OK"), 1);
    // Reading is no change.
    machine.ipmitool(&["mc", "guid"]).succeeds();
    assert_eq!(count(&machine, "Get Device GUID"), 0);
    let output =
        machine.ipmitool_as(Login { password: "wrong", ..ADMIN }, &["-R", "1", "mc", "info"]);
    output.fails();
    machine.expect_log("login not completed: wrong password? user=\"admin\" from=127.0.0.1:");
    machine.ipmitool(&["-I", "lan", "mc", "guid"]).succeeds();
    machine.expect_log("way=IPMI-1.5-MD5");
}

#[test]
fn at_debug_level_packets_are_told_in_words_and_secrets_are_not() {
    let machine = Setup::bare().set("debug=true").start();
    machine.ipmitool(&["mc", "info"]).succeeds();
    for words in [
        "before login: Get Channel Cipher Suites",
        "Open Session Request from=127.0.0.1:",
        "authentication: Some(HMAC_SHA256)",
        "OPEN_SESSION_RESPONSE to=127.0.0.1:",
        "RAKP Message 1 from=127.0.0.1:",
        "user=\"admin\"",
        "RAKP_4 to=127.0.0.1:",
        "status=OK",
        "Get Device ID user=admin",
    ] {
        machine.expect_log(words);
    }
    let mut sol = machine.sol();
    sol.type_line("hunter2");
    machine.expect_log("SOL from=127.0.0.1:");
    machine.ipmitool(&["user", "set", "password", "2", NEW_PASSWORD]).succeeds();
    machine.expect_log("Set User Password user=admin");
    assert_eq!(count(&machine, "hunter2"), 0);
    let hex: Vec<String> = NEW_PASSWORD.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(count(&machine, &hex.join(" ")), 0);
}

fn over(address: &str, machine: &Machine, words: &[&str]) -> Output {
    let mut command = tool("ipmitool");
    command.args(["-H", address, "-p", &machine.port().to_string()]);
    run(command.args(["-U", ADMIN.user, "-P", ADMIN.password]).args(words))
}

#[test]
fn ipv4_and_ipv6_are_served_on_one_port() {
    let machine = Setup::bare().start();
    // The second is an address that the kernel would not choose for an answer.
    for address in ["127.0.0.1", "127.0.0.2", "::1"] {
        for interface in ["lan", "lanplus"] {
            let output = over(address, &machine, &["-I", interface, "session", "info", "active"]);
            output.succeeds().says("active sessions               : 1");
        }
        over(address, &machine, &["-I", "lanplus", "power", "status"]).succeeds().says("is off");
    }
    machine.expect_log("from=[::1]:");
    machine.expect_log("from=127.0.0.1:");
    let output = machine.ipmitool(&["lan6", "print", "1"]);
    output.succeeds().says("IPv6/IPv4 Addressing Enables:");
}

/// Also when many ask at once, and one of them at several addresses.
#[test]
fn each_answer_comes_from_where_it_was_asked_for() {
    const ADDRESSES: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    let machine = Setup::bare().start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = [0; 64];
    for _ in 0..100 {
        for tag in 0..12 {
            let ping = [0x06, 0, 0xFF, 0x06, 0, 0, 0x11, 0xBE, 0x80, tag, 0, 0];
            let address = ADDRESSES[usize::from(tag) % ADDRESSES.len()];
            socket.send_to(&ping, (address, machine.port())).unwrap();
        }
        for _ in 0..12 {
            let (_, from) = socket.recv_from(&mut answer).unwrap();
            let asked = ADDRESSES[usize::from(answer[9]) % ADDRESSES.len()];
            assert_eq!(from.ip().to_string(), asked);
        }
    }
}

#[test]
fn a_reset_of_the_bmc_takes_no_second_and_leaves_the_machine_alone() {
    let machine = Setup::bare().start();
    machine.power("on");
    let qemu = machine.wait_on();
    for kind in ["cold", "warm"] {
        let _sol = machine.sol();
        let begin = Instant::now();
        machine.ipmitool(&["mc", "reset", kind]).succeeds().says(&format!("Sent {kind} reset"));
        machine.power_is("on");
        // ipmitool's own steps are in it: no absolute figure of ours, but the issue's.
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        // ipmitool itself finds out by its keep-alive only.
        machine.sol().type_line("");
        machine.ipmitool(&["sol", "deactivate"]).succeeds();
        assert_eq!(machine.qemu_pid(), Some(qemu));
    }
}

#[test]
fn what_clients_change_outlives_the_program() {
    let mut machine = Setup::bare().start();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for line in [
        "user set name 5 mallory",
        "user set password 5 mallory-secret",
        "channel setaccess 1 5 ipmi=on link=on privilege=4",
        "user enable 5",
        "sol set retry-count 3 1",
        "lan set 1 snmp traps",
        "sel clear",
    ] {
        let line = words(line);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        machine.ipmitool(&line).succeeds();
    }
    machine.restart();
    let mallory = Login { user: "mallory", password: "mallory-secret" };
    machine.ipmitool_as(mallory, &["power", "status"]).succeeds();
    machine.ipmitool(&["sol", "info", "1"]).succeeds().has_field("Retry Count", "3");
    machine.ipmitool(&["lan", "print", "1"]).succeeds().has_field("SNMP Community String", "traps");
    machine.ipmitool(&["sel", "list"]).succeeds().says("Log area reset/cleared");
    let mode = std::fs::metadata(machine.setup.dir.path().join("state/bmc.json"));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(mode.unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_file_of_changes_is_set_aside() {
    let mut machine = Setup::bare().start();
    machine.ipmitool(&["user", "set", "name", "5", "mallory"]).succeeds();
    let file = machine.setup.dir.path().join("state/bmc.json");
    for damaged in [&b"{ \"users\": "[..], b"\xFF\xFE", b"null", b""] {
        machine.signal(Signal::SIGTERM);
        machine.wait_end(SOON);
        std::fs::write(&file, damaged).unwrap();
        machine.start_again();
        machine.power_is("off");
        machine.expect_log("the file of what was changed over IPMI is damaged");
        let aside = file.with_extension("json.damaged");
        assert_eq!(std::fs::read(&aside).unwrap(), damaged);
    }
}
