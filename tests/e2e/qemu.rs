//! QEMU that dies, does not start, or does not talk: the BMC goes on.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::machine::{Setup, root};
use crate::processes::{self, Signal};
use crate::wait::SOON;

#[test]
fn after_a_crash_of_qemu_the_machine_is_off_and_can_be_switched_on() {
    let machine = Setup::bare().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect("SeaBIOS (version ");
    let first = machine.wait_on();

    processes::signal(first, Signal::SIGKILL);
    // The file is written without anybody asking.
    machine.wait_state_file("power.state", "off");
    machine.power_is("off");
    assert!(!processes::exists(first), "not as a zombie either");
    machine
        .ctl(&["status"])
        .succeeds()
        .says("power     off\n")
        .says("failed    killed by SIGKILL\n");
    machine.ipmitool(&["chassis", "status"]).has_field("Main Power Fault", "true");
    machine.expect_log("machine is off cause=Crash(\"killed by SIGKILL\")");

    machine.power("on");
    // On the session that was there before.
    sol.expect("SeaBIOS (version ");
    let second = machine.wait_on();
    assert_ne!(first, second);
    machine.power_is("on");
    machine.ipmitool(&["chassis", "status"]).has_field("Main Power Fault", "false");
    machine.ctl(&["status"]).succeeds().does_not_say("failed");
}

#[test]
fn qemu_that_does_not_start_leaves_a_bmc_that_says_why() {
    let mut machine =
        Setup::bare().set("power.restore=always-on").set("qemu.extra_args=[\"-nonsense\"]").start();
    machine.expect_log("QEMU: qemu-system-x86_64: -nonsense: invalid option");
    machine.wait_off();
    machine.power_is("off");
    machine.ipmitool(&["chassis", "status"]).has_field("Main Power Fault", "true");
    machine.ctl(&["status"]).succeeds().says("failed    exit status 1: ").says("-nonsense");
    machine.health().succeeds();
    machine.power("on");
    machine.wait_off();
    machine.ipmitool(&["mc", "info"]).succeeds();

    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    machine.assert_cleaned_up();
}

#[test]
fn the_bmc_does_not_wait_for_qemu() {
    // A file of the repository: one that a test writes can be busy when it is to be executed.
    let silent = root().join("tests/e2e/silent-qemu");
    let mut machine = Setup::bare()
        .set(format!("qemu.binary={}", silent.display()))
        .set("power.restore=always-on")
        .start();
    let start = Instant::now();
    machine.ipmitool(&["mc", "info"]).succeeds().has_field("Device ID", "32");
    machine.power_is("on");
    machine.health().succeeds();
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    let status = machine.status();
    assert_eq!(status["operation"], "on", "QEMU has not said that it is up: {status}");
    let qemu = machine.qemu_pid().unwrap();

    machine.power("off");
    machine.wait_off();
    assert!(!processes::exists(qemu));
    machine.power("on");
    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    machine.assert_cleaned_up();
}

#[test]
fn qemu_that_hangs_holds_up_nobody_and_is_killed_in_the_end() {
    let machine = Setup::bare().start();
    machine.power("on");
    let qemu = machine.wait_on();
    processes::signal(qemu, Signal::SIGSTOP);
    let start = Instant::now();
    machine.power("off");
    machine.power_is("on");
    machine.ipmitool(&["mc", "info"]).succeeds();
    // Asking again is no conflict, and something else is.
    machine.power("off");
    machine.ipmitool(&["power", "on"]).fails().says("Node busy");
    machine.health().succeeds();
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    machine.wait_off();
    assert!(!processes::exists(qemu));
    machine.power("on");
    machine.wait_on();
}

#[test]
fn the_users_qmp_socket_is_free_and_its_quit_is_no_crash() {
    let setup = Setup::bare();
    // A comma separates QEMU's options.
    let odd = setup.dir.path().join("run, of \"e2e\"");
    let machine = setup.run_dir(odd, true).start();
    machine.power("on");
    machine.wait_on();
    let mut socket = UnixStream::connect(machine.run_dir.join("qmp.sock")).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut greeting = String::new();
    BufReader::new(&socket).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("{\"QMP\":"), "{greeting}");
    socket.write_all(b"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}").unwrap();
    machine.wait_off();
    machine.power_is("off");
    machine.expect_log("machine is off cause=Outside");
    machine.ctl(&["status"]).does_not_say("failed");
}
