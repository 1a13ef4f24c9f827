//! The watchdog timer against a machine that runs.

use crate::machine::{Machine, Setup};
use crate::processes;
use crate::story::told;
use crate::wait::{SOON, wait_until};

/// Sets the timer for an operating system, to two seconds, and starts it.
#[track_caller]
fn start(machine: &Machine, actions: &str, pre_timeout_s: &str) {
    let set = ["raw", "0x06", "0x24", "0x04", actions, pre_timeout_s, "0x3e", "20", "0"];
    machine.ipmitool(&set).succeeds();
    machine.ipmitool(&["mc", "watchdog", "reset"]).succeeds();
}

#[test]
fn a_timer_that_runs_out_resets_cycles_and_switches_off() {
    let machine = Setup::bare().start();
    machine.ipmitool(&["raw", "0x06", "0x22"]).fails().says("rsp=0x80");
    machine.power("on");
    let first = machine.wait_on();

    start(&machine, "0", "0");
    told(&machine, "Watchdog: timer expired, use: SMS/OS");
    assert_eq!(machine.wait_on(), first);

    start(&machine, "1", "0");
    machine.ipmitool(&["mc", "watchdog", "get"]).succeeds().says("SMS/OS").says("Hard Reset");
    told(&machine, "System Boot: initiated by hard reset (reset by the watchdog timer)");
    told(&machine, "System Boot: restart, cause: watchdog");
    assert_eq!(machine.wait_on(), first, "the same process");
    machine.ipmitool(&["chassis", "restart_cause"]).succeeds().says("watchdog expired");
    // As after each start, it has to be set anew.
    machine.ipmitool(&["mc", "watchdog", "reset"]).fails();

    start(&machine, "3", "0");
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != first));
    let second = machine.wait_on();
    assert!(!processes::exists(first));
    told(&machine, "Power Unit: power cycle (power cycle by the watchdog timer)");

    start(&machine, "2", "0");
    machine.wait_off();
    assert!(!processes::exists(second));
    told(&machine, "Power Unit: power off (power off by the watchdog timer)");
    let list = machine.ipmitool(&["sel", "elist"]).succeeds().stdout;
    for text in ["Timer expired", "Hard reset", "Power cycle", "Power down"] {
        assert!(list.contains(&format!("Watchdog2 Watchdog | {text}")), "{text} in\n{list}");
    }
}

#[test]
fn a_timer_stops_when_the_machine_is_switched_off() {
    let machine = Setup::bare().start();
    machine.power("on");
    machine.wait_on();
    start(&machine, "3", "0");
    machine.power("off");
    machine.wait_off();
    let timer = machine.ipmitool(&["mc", "watchdog", "get"]).succeeds().stdout;
    assert!(timer.contains("Stopped"), "{timer}");
}

#[test]
fn the_guest_is_interrupted_before_its_time_is_over() {
    let machine = Setup::demo().start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let qemu = machine.wait_on();
    // All that the kernel says comes to the console.
    sol.shell("echo 8 > /proc/sys/kernel/printk");
    start(&machine, "0x21", "1");
    sol.expect("NMI");
    told(&machine, "Watchdog: timer interrupt, use: SMS/OS, interrupt: NMI");
    told(&machine, "Diag Interrupt: diagnostic interrupt (sent by the watchdog timer)");
    sol.expect("SeaBIOS (version");
    told(&machine, "Watchdog: hard reset, use: SMS/OS, interrupt: NMI");
    assert_eq!(machine.wait_on(), qemu);
    machine.ipmitool(&["sel", "elist"]).succeeds().says("Watchdog2 Watchdog | Timer interrupt");
}
