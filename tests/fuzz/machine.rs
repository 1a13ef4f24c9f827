//! Lines of QEMU's monitor, and what the power state machine makes of them.

use std::time::{Duration, Instant};

use qemu_bmc::machine::driver::{Config, Driver, Effect};
use qemu_bmc::machine::{Power, Request};
use qemu_bmc::qmp::Message;
use qemu_bmc::value::BootDevice;

use crate::fuzz;
use crate::mutate::mutate;

const LINES: [&str; 14] = [
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#,
    r#"{"return": {}, "id": 1}"#,
    r#"{"return": {"status": "running", "running": true}, "id": 2}"#,
    r#"{"id": 3, "error": {"class": "GenericError", "desc": "no such device"}}"#,
    r#"{"error": {"class": "CommandNotFound", "desc": "The command was not found"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": false, "reason": "host-qmp-system-reset"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "WATCHDOG", "data": {"action": "reset"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED", "data": {"device": "nic0", "path": "/machine/peripheral/nic0"}}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "POWERDOWN"}"#,
    r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#,
];

const REQUESTS: [Request; 6] =
    [Request::On, Request::Off, Request::Cycle, Request::Reset, Request::Soft, Request::Diag];

#[test]
fn monitor() {
    let corpus: Vec<Vec<u8>> = LINES.iter().map(|line| line.as_bytes().to_vec()).collect();
    fuzz("monitor", |random| {
        let mut now = Instant::now();
        let mut driver = Driver::new(Config {
            boot_order: vec![BootDevice::Disk, BootDevice::Network],
            cycle_interval: Duration::from_secs(1),
            soft_limit: Duration::from_secs(120),
            soft_force: random.once_in(2),
            stop_limit: Duration::from_secs(8),
            setup_limit: Duration::from_secs(10),
        });
        let mut process = false;
        let mut ended = false;
        for _ in 0..64 {
            let mut effects = Vec::new();
            let had_ended = ended;
            now += Duration::from_millis(random.next() % 3000);
            if driver.poll_timeout().is_some_and(|at| at <= now) {
                driver.handle_timeout(now, &mut effects);
            }
            match random.below(8) {
                0 | 1 => {
                    let request = *random.pick(&REQUESTS);
                    let _ = driver.handle_request(now, request, &mut effects);
                }
                2 if process => {
                    driver.handle_exit(now, random.once_in(2), "gone".into(), &mut effects);
                    process = false;
                }
                3 if random.once_in(32) => {
                    driver.handle_end(now, &mut effects);
                    ended = true;
                }
                _ if process => {
                    let mut line = random.pick(&corpus).clone();
                    mutate(random, &mut line, &corpus, 2000);
                    match Message::decode(String::from_utf8_lossy(&line).trim()) {
                        Ok(Message::Greeting(_)) => driver.handle_monitor_ready(now, &mut effects),
                        Ok(Message::Event(event)) => {
                            driver.handle_qmp_event(now, &event, &mut effects);
                        }
                        Ok(Message::Return { .. }) | Err(_) => {}
                    }
                }
                _ => {}
            }
            assert!(effects.len() <= 16, "{effects:?}");
            for effect in effects {
                if let Effect::Spawn { .. } = effect {
                    assert!(!process, "two processes");
                    assert!(!had_ended, "a start after the end");
                    process = true;
                }
            }
            assert!(!process || driver.status().power == Power::On, "{:?}", driver.status());
        }
    });
}
