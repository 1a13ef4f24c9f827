//! Several clients at once.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::clients::{ADMIN, ipmitool_at};
use crate::command::run;
use crate::machine::{Machine, Setup};
use crate::processes;
use crate::wait::{SOON, wait_until};

#[test]
fn clients_do_not_disturb_each_other_nor_wait_for_power() {
    let machine = Setup::bare().set("power.restore=always-on").start();
    machine.wait_on();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                for _ in 0..20 {
                    machine.ipmitool(&["mc", "info"]).succeeds().has_field("Device ID", "32");
                    machine.ipmitool(&["power", "status"]).succeeds().says("Chassis Power is o");
                }
            })
        });
        let switcher = scope.spawn(|| {
            let mut cycles = 0;
            while cycles < 3 || !done.load(Ordering::Relaxed) {
                let old = machine.wait_on();
                machine.power("cycle");
                wait_until("a new process", SOON, || {
                    machine.qemu_pid().is_some_and(|pid| pid != old)
                });
                cycles += 1;
            }
        });
        let results = readers.map(thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        let switched = switcher.join();
        for result in results.into_iter().chain([switched]) {
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        }
    });
    machine.wait_on();
    wait_until("all sessions are closed", SOON, || machine.status()["sessions"] == 0);
}

/// What the program's file descriptors are, in words.
fn descriptors(machine: &Machine) -> Vec<String> {
    let all = fs::read_dir(format!("/proc/{}/fd", machine.pid())).unwrap();
    // One may be closed at this moment.
    let all = all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    all.map(|target| target.display().to_string()).collect()
}

/// What the machine is after all power requests that the BMC has accepted, in its own order.
fn power_after(log: &str) -> (bool, usize, usize) {
    let (mut on, mut accepted, mut busy) = (false, 0, 0);
    for line in log.lines().filter(|line| line.contains("Chassis Control ")) {
        busy += usize::from(line.contains("code=NODE_BUSY"));
        if !line.contains("code=OK") {
            continue;
        }
        accepted += 1;
        // 0: off; 1 and 2: on, cycle; the others leave it as it is.
        let data = line.split("data=").nth(1).and_then(|data| data.get(..2)).unwrap();
        on = match data {
            "00" => false,
            "01" | "02" => true,
            _ => on,
        };
    }
    (on, accepted, busy)
}

#[test]
fn of_a_thousand_power_requests_of_three_clients_the_last_accepted_one_counts() {
    const EACH: usize = 334;
    let actions = ["on", "off", "cycle", "reset", "soft", "diag"];
    let machine = Setup::bare()
        .set("power.cycle_interval_s=0")
        .set("power.soft_limit_s=1")
        .set("ipmi.cipher_suites=[3]")
        .start();
    // What is opened once, and stays open, is.
    machine.power("on");
    machine.wait_on();
    machine.power("off");
    machine.wait_off();
    let before = descriptors(&machine);
    assert!(before.len() > 5, "{before:?}");
    thread::scope(|scope| {
        let clients = [1_u64, 2, 3].map(|seed| {
            let machine = &machine;
            scope.spawn(move || {
                // A linear congruential generator (Knuth's MMIX).
                let mut state = seed;
                let mut next = || {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    actions[usize::try_from(state >> 33).unwrap() % actions.len()]
                };
                let lines: String = (0..EACH).map(|_| format!("power {}\n", next())).collect();
                let name = format!("requests-{seed}");
                let file = machine.setup.file(&name, lines.as_bytes());
                let mut command = ipmitool_at(machine.port(), ADMIN);
                run(command.args(["-C", "3", "exec"]).arg(file)).text()
            })
        });
        for client in clients {
            let text = client.join().unwrap();
            assert_eq!(text.matches("Chassis Power Control").count(), EACH, "{text}");
        }
    });
    wait_until("nothing is under way", SOON, || machine.status()["operation"].is_null());
    let log = machine.log();
    let (on, accepted, busy) = power_after(&log);
    assert!(accepted > 100 && busy > 100, "{accepted} accepted, {busy} busy");
    assert!(!log.contains("power request refused"), "accepted by the BMC, and then not done");
    machine.power_is(if on { "on" } else { "off" });
    assert_eq!(machine.status()["power"], if on { "on" } else { "off" });
    let qemus: Vec<u32> = machine.status()["qemu_pid"]
        .as_u64()
        .into_iter()
        .map(|pid| u32::try_from(pid).unwrap())
        .collect();
    assert_eq!(processes::children(machine.pid()), qemus, "one process, no zombie");
    machine.power("off");
    machine.wait_off();
    assert_eq!(processes::children(machine.pid()), [0_u32; 0]);
    wait_until("all sessions are closed", SOON, || machine.status()["sessions"] == 0);
    wait_until(&format!("no more descriptors than {before:?}"), SOON, || {
        descriptors(&machine).len() <= before.len()
    });
}
