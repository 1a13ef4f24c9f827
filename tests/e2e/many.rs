//! Several clients at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::machine::Setup;
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
