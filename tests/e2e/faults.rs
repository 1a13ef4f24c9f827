//! What goes wrong around the program: it answers, says what is, and says what has happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::{Machine, Setup, root};
use crate::processes;
use crate::wait::{SOON, wait_until};

/// A machine whose state directory is a file system of its own, mounted with these options; and that
/// directory.
fn on_own_state(options: &str) -> (Setup, PathBuf) {
    let setup = Setup::bare();
    let state = setup.dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let mount = format!("mount -t tmpfs -o {options} tmpfs {}", state.display());
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    let mut wrapper = vec!["unshare", "--mount"];
    if !processes::is_root() {
        wrapper.push("--map-root-user");
    }
    wrapper.extend(["sh", "-c", &script]);
    (setup.wrapped_in(&wrapper), state)
}

#[test]
fn a_read_only_state_directory_is_refused_with_what_to_do() {
    let (setup, state) = on_own_state("ro");
    let output = setup.refused().exits(1).says("Read-only file system");
    let help = "set `state_dir` to a directory that this user can write to";
    output.says(&format!("`state_dir` {}", state.display())).says(help);
}

fn count(machine: &Machine, text: &str) -> usize {
    machine.log().matches(text).count()
}

/// Changes something, and switches power: all works, and that it cannot be kept is said.
fn goes_on(machine: &Machine, name: &str) {
    const NOT_KEPT: &str = "what was changed over IPMI cannot be kept";
    let before = count(machine, NOT_KEPT);
    machine.ipmitool(&["user", "set", "name", "5", name]).succeeds();
    wait_until("it is said", SOON, || count(machine, NOT_KEPT) > before);
    machine.ipmitool(&["user", "list", "1"]).succeeds().says(name);
    machine.power("on");
    machine.wait_on();
    machine.power_is("on");
    machine.wait_state_file("power.state", "on");
    machine.power("off");
    machine.wait_off();
    machine.power_is("off");
    machine.expect_log("the power state cannot be kept");
    machine.health().succeeds();
}

/// Whether these bytes are somewhere in it, as a list of numbers.
fn holds(value: &Value, bytes: &[u8]) -> bool {
    match value {
        Value::Array(items) => {
            let numbers = items.iter().map(Value::as_u64);
            numbers.eq(bytes.iter().map(|byte| Some(u64::from(*byte))))
                || items.iter().any(|item| holds(item, bytes))
        }
        Value::Object(members) => members.values().any(|member| holds(member, bytes)),
        _ => false,
    }
}

/// Whether a user of this name is kept, as the next start of the program finds it.
fn is_kept(state: &Path, name: &str) -> bool {
    let text = fs::read(state.join("bmc.json")).unwrap_or_default();
    serde_json::from_slice(&text).is_ok_and(|value| holds(&value, name.as_bytes()))
}

#[test]
fn a_full_state_directory_holds_up_nobody_and_is_caught_up_with() {
    let (setup, state) = on_own_state("size=256k");
    let machine = setup.start();
    // As the program sees it.
    let state = PathBuf::from(format!("/proc/{}/root{}", machine.pid(), state.display()));
    machine.ipmitool(&["user", "set", "name", "5", "early"]).succeeds();
    wait_until("it is kept", SOON, || is_kept(&state, "early"));

    let filler = state.join("filler");
    // As much as there is room for.
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err());
    goes_on(&machine, "full");
    assert!(is_kept(&state, "early"), "what was kept before is whole");
    fs::remove_file(&filler).unwrap();
    machine.expect_log("what was changed over IPMI is kept now");
    wait_until("it is kept", SOON, || is_kept(&state, "full"));
}

#[test]
fn a_monitor_that_closes_leaves_a_machine_that_can_be_switched_off() {
    let machine = Setup::bare()
        .set(format!("qemu.binary={}", root().join("tests/e2e/deaf-qemu").display()))
        .set("qemu.user=root")
        .start();
    machine.power("on");
    let qemu = machine.wait_on();
    machine.power("reset");
    machine.power_is("on");
    assert_eq!(machine.qemu_pid(), Some(qemu), "it runs");
    machine.power("off");
    machine.expect_log("QEMU's monitor is closed");
    machine.wait_off();
    machine.power_is("off");
    assert!(!processes::exists(qemu));
    machine.power("on");
    assert_ne!(machine.wait_on(), qemu);
}

#[test]
fn a_guest_that_floods_its_console_disturbs_nobody() {
    let machine = Setup::bare()
        .set(format!("qemu.binary={}", root().join("tests/e2e/flooding-qemu").display()))
        .set("qemu.user=root")
        .start();
    machine.power("on");
    machine.wait_on();
    let mut sol = machine.sol();
    let before = processes::rss_kib(machine.pid());
    // Some 18 MB, which ipmitool takes longer for than this test.
    sol.type_line("2500000");
    sol.expect("\r\n1000\r\n");
    for _ in 0..5 {
        let start = Instant::now();
        machine.ipmitool(&["-R", "1", "-N", "5", "mc", "info"]).succeeds();
        machine.power_is("on");
        machine.health().succeeds();
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    let after = processes::rss_kib(machine.pid());
    assert!(after < before + 4096, "{before} KiB before and {after} KiB after");
    machine.power("off");
    machine.wait_off();
}
