//! How the program ends, and what it leaves.

use std::time::{Duration, Instant};

use crate::machine::Setup;
use crate::processes::{self, Signal};
use crate::wait::{SOON, wait_until};

fn ends_gently(signal: Signal) {
    let mut machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let qemu = machine.wait_on();
    let start = Instant::now();
    machine.signal(signal);
    sol.expect("demo guest: poweroff");
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "beyond the limit: {:?}", start.elapsed());
    machine.expect_log(&format!("{signal}: stopping"));
    machine.expect_log("machine is off cause=Guest");
    assert!(!processes::exists(qemu));
    machine.assert_cleaned_up();
    assert_eq!(machine.state_file("power.state"), "off\n");
}

#[test]
fn sigterm_shuts_the_guest_down_and_ends_with_0() {
    ends_gently(Signal::SIGTERM);
}

#[test]
fn sigint_shuts_the_guest_down_and_ends_with_0() {
    ends_gently(Signal::SIGINT);
}

#[test]
fn a_guest_that_ignores_the_shutdown_gets_the_stop_limit_and_no_more() {
    let mut machine =
        Setup::bare().set("power.restore=always-on").set("power.stop_limit_s=2").start();
    machine.wait_on();
    let start = Instant::now();
    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    let took = start.elapsed();
    assert!(took > Duration::from_secs(2), "the guest had only {took:?}");
    assert!(took < Duration::from_secs(8), "took {took:?}");
    machine.assert_cleaned_up();
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let mut machine =
        Setup::bare().set("power.restore=always-on").set("power.stop_limit_s=600").start();
    machine.wait_on();
    machine.signal(Signal::SIGTERM);
    machine.expect_log("SIGTERM: stopping");
    wait_until("the shutdown is under way", SOON, || machine.status()["operation"] == "soft");
    // The BMC answers until the end.
    machine.power_is("on");
    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    machine.assert_cleaned_up();
}

#[test]
fn an_off_while_the_program_ends_does_not_wait_and_is_the_last_power() {
    let mut machine =
        Setup::bare().set("power.restore=previous").set("power.stop_limit_s=600").start();
    machine.wait_on();
    let last_power = machine.setup.dir.path().join("state/last-power");
    wait_until("on is kept", SOON, || {
        std::fs::read_to_string(&last_power).is_ok_and(|word| word == "on\n")
    });
    machine.signal(Signal::SIGTERM);
    wait_until("the shutdown is under way", SOON, || machine.status()["operation"] == "soft");
    machine.ipmitool(&["power", "reset"]).fails().says("Node busy");
    machine.ctl(&["power", "off"]).succeeds();
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    machine.assert_cleaned_up();
    assert_eq!(std::fs::read_to_string(&last_power).unwrap(), "off\n");
}

#[test]
fn a_second_sigterm_does_not_wait_for_a_qemu_that_hangs_either() {
    let mut machine = Setup::bare().set("power.restore=always-on").start();
    processes::signal(machine.wait_on(), Signal::SIGSTOP);
    let start = Instant::now();
    machine.signal(Signal::SIGTERM);
    machine.expect_log("SIGTERM: stopping");
    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
    machine.assert_cleaned_up();
}

#[test]
fn a_program_with_a_machine_that_is_off_ends_at_once() {
    let mut machine = Setup::bare().start();
    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    machine.assert_cleaned_up();
}

#[test]
fn qemu_dies_with_a_program_that_is_killed_and_the_next_one_starts() {
    let mut machine = Setup::bare().set("power.restore=always-on").start();
    let qemu = machine.wait_on();
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    wait_until("QEMU's end", SOON, || !processes::exists(qemu));

    // The dead one's files are no obstacle.
    let next = Setup::bare().run_dir(machine.run_dir.clone(), true).start();
    next.power_is("off");
    next.ctl(&["status"]).succeeds();
}

#[test]
fn a_second_program_with_the_same_run_or_state_directory_is_refused() {
    let machine = Setup::bare().start();
    let in_use = format!("another qemu-bmc (process {}) is running with it", machine.pid());
    let run_dir = machine.run_dir.display().to_string();
    Setup::bare()
        .run_dir(machine.run_dir.clone(), true)
        .refused()
        .exits(1)
        .says(&format!("{run_dir}: {in_use}"))
        .says(&format!("--set run_dir={run_dir}"));
    let state_dir = machine.setup.dir.path().join("state").display().to_string();
    Setup::bare()
        .unset("state_dir")
        .set(format!("state_dir={state_dir}"))
        .refused()
        .exits(1)
        .says(&format!("{state_dir}: {in_use}"))
        .says(&format!("--set state_dir={state_dir}"));
    // The first one's sockets still work.
    machine.ctl(&["status"]).succeeds();
    machine.ipmitool(&["mc", "info"]).succeeds();
}

#[test]
fn health_is_that_of_the_bmc_whether_the_machine_is_on_or_off() {
    let mut machine = Setup::bare().start();
    machine.health().succeeds().says("the machine is off");
    machine.power("on");
    machine.wait_on();
    machine.health().succeeds().says("the machine is on");
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    machine.health().exits(1).says("no answer from qemu-bmc at");
    machine.ctl(&["status"]).exits(1).says("no answer from qemu-bmc at");
}
