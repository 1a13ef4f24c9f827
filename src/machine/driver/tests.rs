//! The driver against a model of a QEMU process.

use super::*;
use crate::machine::boot::Lifetime;

fn config() -> Config {
    Config {
        boot_order: vec![BootDevice::Disk],
        cycle_interval: Duration::from_secs(1),
        soft_limit: Duration::from_secs(120),
        soft_force: false,
        stop_limit: Duration::from_secs(8),
        setup_limit: Duration::from_secs(10),
    }
}

/// A driver, a clock, and the process that its effects would have made.
struct Rig {
    driver: Driver,
    now: Instant,
    process: bool,
    spawned: usize,
    exited: bool,
    events: Vec<Event>,
    qmp: Vec<qmp::Command>,
    orders: Vec<BootOrder>,
    keys: usize,
}

impl Rig {
    fn new() -> Self {
        Self {
            driver: Driver::new(config()),
            #[allow(clippy::disallowed_methods, reason = "any instant will do")]
            now: Instant::now(),
            process: false,
            spawned: 0,
            exited: false,
            events: Vec::new(),
            qmp: Vec::new(),
            orders: Vec::new(),
            keys: 0,
        }
    }

    fn running() -> Self {
        let mut rig = Self::new();
        rig.request(Request::On).unwrap();
        rig.ready();
        rig.expire();
        rig.events.clear();
        rig
    }

    fn act(&mut self, input: impl FnOnce(&mut Driver, Instant, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        input(&mut self.driver, self.now, &mut effects);
        for effect in effects {
            match effect {
                Effect::Spawn { order, .. } => {
                    assert!(!self.process, "two processes");
                    self.process = true;
                    self.spawned += 1;
                    self.orders.push(order);
                }
                Effect::Qmp(command) => {
                    assert!(self.process, "{command:?} without a process");
                    self.qmp.push(command);
                }
                Effect::SetBootOrder(order) => {
                    assert!(self.process, "boot order without a process");
                    self.orders.push(order);
                }
                Effect::PressSetupKey => {
                    assert!(self.process, "key without a process");
                    self.keys += 1;
                }
                Effect::Terminate | Effect::Kill => {
                    assert!(self.process, "signal without a process");
                }
                Effect::Report(status, event) => {
                    assert_eq!(status, self.driver.status(), "reported status is stale");
                    self.events.push(event);
                }
                Effect::Exit => {
                    assert!(!self.process, "exit with a process left");
                    self.exited = true;
                }
            }
        }
        let on = self.driver.status().power == Power::On;
        assert_eq!(on, self.process, "power state is not the truth");
    }

    fn request(&mut self, request: Request) -> Result<(), Refusal> {
        let mut result = Ok(());
        self.act(|driver, now, effects| result = driver.handle_request(now, request, effects));
        result
    }

    fn ready(&mut self) {
        self.act(|driver, now, effects| driver.handle_monitor_ready(now, effects));
    }

    fn exit(&mut self, clean: bool) {
        self.process = false;
        self.act(|driver, now, effects| driver.handle_exit(now, clean, "signal 9".into(), effects));
    }

    fn event(&mut self, event: &qmp::Event) {
        self.act(|driver, now, effects| driver.handle_qmp_event(now, event, effects));
    }

    fn expire(&mut self) {
        if let Some(deadline) = self.driver.poll_timeout() {
            self.now = deadline;
            self.act(|driver, now, effects| driver.handle_timeout(now, effects));
        }
    }

    fn end(&mut self) {
        self.act(|driver, now, effects| driver.handle_end(now, effects));
    }
}

const GUEST_RESET: fn() -> qmp::Event =
    || qmp::Event::Reset { guest: true, reason: "guest-reset".into() };
const HOST_RESET: fn() -> qmp::Event =
    || qmp::Event::Reset { guest: false, reason: "host-qmp-system-reset".into() };

#[test]
fn cycle_is_a_new_process_after_the_interval() {
    let mut rig = Rig::running();
    rig.request(Request::Cycle).unwrap();
    assert_eq!(rig.qmp, [qmp::Command::Quit]);
    assert_eq!(rig.request(Request::Off), Err(Refusal::Busy));
    rig.exit(true);
    assert_eq!(rig.driver.status().power, Power::Off);
    assert_eq!(rig.request(Request::On), Err(Refusal::Busy));
    let before = rig.now;
    rig.expire();
    assert_eq!(rig.now - before, config().cycle_interval);
    assert_eq!(rig.spawned, 2);
    rig.ready();
    assert_eq!(rig.events.last(), Some(&Event::Started(StartCause::PowerCycle)));
    assert_eq!(rig.driver.status().operation, None);
}

#[test]
fn a_process_that_does_not_quit_is_terminated_then_killed() {
    let mut rig = Rig::running();
    rig.request(Request::Off).unwrap();
    let mut effects = Vec::new();
    rig.now += QUIT_LIMIT;
    rig.driver.handle_timeout(rig.now, &mut effects);
    rig.now += QUIT_LIMIT;
    rig.driver.handle_timeout(rig.now, &mut effects);
    rig.now += QUIT_LIMIT;
    rig.driver.handle_timeout(rig.now, &mut effects);
    assert_eq!(effects, [Effect::Terminate, Effect::Kill, Effect::Kill]);
    rig.exit(false);
    assert_eq!(rig.driver.status(), Status::OFF, "asked for, so no fault");
}

#[test]
fn soft_waits_for_the_guest_and_lets_it_be() {
    let mut rig = Rig::running();
    rig.request(Request::Soft).unwrap();
    assert_eq!(rig.qmp, [qmp::Command::SystemPowerdown]);
    assert_eq!(rig.request(Request::On), Err(Refusal::Busy));
    rig.expire();
    assert_eq!(rig.driver.status().operation, None);
    assert_eq!(rig.driver.status().power, Power::On);
}

#[test]
fn soft_with_force_ends_the_process_after_the_limit() {
    let mut rig = Rig::running();
    rig.driver.config.soft_force = true;
    rig.request(Request::Soft).unwrap();
    rig.expire();
    assert_eq!(rig.qmp, [qmp::Command::SystemPowerdown, qmp::Command::Quit]);
}

#[test]
fn guest_shutdown_is_off_and_a_crash_is_a_fault() {
    let mut rig = Rig::running();
    rig.event(&qmp::Event::Shutdown { guest: true, reason: "guest-shutdown".into() });
    rig.exit(true);
    assert_eq!(rig.events.last(), Some(&Event::Stopped(StopCause::Guest)));
    assert!(!rig.driver.status().fault);

    let mut rig = Rig::running();
    rig.exit(false);
    assert_eq!(rig.events.last(), Some(&Event::Stopped(StopCause::Crash("signal 9".into()))));
    assert!(rig.driver.status().fault);
    rig.request(Request::On).unwrap();
    assert!(!rig.driver.status().fault);
}

#[test]
fn one_time_boot_is_used_up_by_any_kind_of_start() {
    use BootDevice::{Cdrom, Disk, Network};
    let normal = [Disk, Cdrom, Network];
    let pxe_first = [Network, Disk, Cdrom];
    let pxe = Override { number: 1, target: BootTarget::Device(Network), lifetime: Lifetime::Once };
    let starts: [fn(&mut Rig); 4] = [
        |rig| rig.event(&GUEST_RESET()),
        |rig| rig.event(&HOST_RESET()),
        |rig| {
            rig.request(Request::Cycle).unwrap();
            rig.exit(true);
            rig.expire();
            rig.ready();
        },
        |rig| {
            rig.request(Request::Off).unwrap();
            rig.exit(true);
            rig.request(Request::On).unwrap();
            rig.ready();
        },
    ];
    for start in starts {
        let mut rig = Rig::running();
        rig.orders.clear();
        rig.act(|driver, _, effects| driver.handle_boot(Some(pxe), effects));
        start(&mut rig);
        assert_eq!(rig.orders.last(), Some(&pxe_first), "firmware has not looked yet");
        // A guest's reboot is several resets.
        rig.event(&GUEST_RESET());
        rig.expire();
        assert_eq!(rig.events.last(), Some(&Event::BootUsed(pxe)));
        assert_eq!(rig.orders.last(), Some(&normal), "put back for the start after");
    }
}

#[test]
fn an_override_that_is_set_while_the_machine_starts_is_for_the_next_start() {
    use BootDevice::{Cdrom, Disk, Network};
    let pxe = Override { number: 1, target: BootTarget::Device(Network), lifetime: Lifetime::Once };
    let again = Override { number: 2, ..pxe };
    let mut rig = Rig::running();
    rig.act(|driver, _, effects| driver.handle_boot(Some(pxe), effects));
    rig.event(&HOST_RESET());
    let sent = rig.orders.len();
    rig.act(|driver, _, effects| driver.handle_boot(Some(again), effects));
    assert_eq!(rig.orders.len(), sent, "this start's order is left alone");
    rig.expire();
    assert_eq!(rig.events.last(), Some(&Event::BootUsed(pxe)));
    assert_eq!(rig.driver.boot, Some(again));
    assert_eq!(rig.driver.order(), [Network, Disk, Cdrom]);
}

#[test]
fn an_override_holds_for_a_reset_right_after_a_reset() {
    use BootDevice::{Cdrom, Disk, Network};
    let pxe = Override { number: 1, target: BootTarget::Device(Network), lifetime: Lifetime::Once };
    let mut rig = Rig::running();
    rig.request(Request::Reset).unwrap();
    rig.event(&HOST_RESET());
    rig.act(|driver, _, effects| driver.handle_boot(Some(pxe), effects));
    rig.request(Request::Reset).unwrap();
    assert_eq!(rig.orders.last(), Some(&[Network, Disk, Cdrom]), "set before this reset");
    assert_eq!(rig.qmp.last(), Some(&qmp::Command::SystemReset));
    rig.event(&HOST_RESET());
    rig.event(&GUEST_RESET());
    rig.expire();
    assert_eq!(rig.events.last(), Some(&Event::BootUsed(pxe)));
    assert_eq!(rig.orders.last(), Some(&[Disk, Cdrom, Network]));
}

#[test]
fn persistent_boot_stays() {
    let mut rig = Rig::running();
    let always = Override {
        number: 1,
        target: BootTarget::Device(BootDevice::Cdrom),
        lifetime: Lifetime::Always,
    };
    rig.act(|driver, _, effects| driver.handle_boot(Some(always), effects));
    let set = rig.orders.len();
    for _ in 0..2 {
        rig.event(&GUEST_RESET());
        rig.expire();
    }
    assert_eq!(rig.orders.len(), set, "nothing to put back");
    assert_eq!(rig.driver.order()[0], BootDevice::Cdrom);
}

#[test]
fn ending_gives_the_guest_time_and_the_second_call_does_not() {
    let mut rig = Rig::running();
    rig.end();
    assert_eq!(rig.qmp, [qmp::Command::SystemPowerdown]);
    rig.event(&qmp::Event::Shutdown { guest: true, reason: "guest-shutdown".into() });
    rig.exit(true);
    assert!(rig.exited);

    let mut rig = Rig::running();
    rig.end();
    rig.end();
    assert_eq!(rig.qmp, [qmp::Command::SystemPowerdown, qmp::Command::Quit]);
    assert_eq!(rig.request(Request::On), Err(Refusal::Busy));
    rig.exit(true);
    assert!(rig.exited);

    let mut rig = Rig::new();
    rig.end();
    assert!(rig.exited);
}

#[test]
fn an_off_while_the_program_ends_does_not_wait_for_the_guest() {
    let mut rig = Rig::running();
    rig.end();
    assert_eq!(rig.request(Request::Reset), Err(Refusal::Busy));
    assert_eq!(rig.request(Request::Soft), Err(Refusal::Busy));
    assert_eq!(rig.qmp, [qmp::Command::SystemPowerdown]);
    rig.request(Request::Off).unwrap();
    assert_eq!(rig.qmp, [qmp::Command::SystemPowerdown, qmp::Command::Quit]);
    rig.exit(true);
    assert_eq!(rig.events.last(), Some(&Event::Stopped(StopCause::Request)));
    assert!(rig.exited);
}

#[test]
fn a_start_without_a_monitor_has_failed() {
    let mut rig = Rig::new();
    rig.request(Request::On).unwrap();
    rig.expire();
    rig.exit(false);
    let why = "no monitor within 60 s".to_owned();
    assert_eq!(rig.events.last(), Some(&Event::Stopped(StopCause::NotStarted(why))));
    assert_eq!(rig.driver.status(), Status { fault: true, ..Status::OFF });

    // Cut short by request, it has not.
    rig.request(Request::On).unwrap();
    rig.request(Request::Off).unwrap();
    rig.exit(false);
    assert_eq!(rig.events.last(), Some(&Event::Stopped(StopCause::Request)));
    assert_eq!(rig.driver.status(), Status::OFF);
}

#[test]
fn the_key_for_the_set_up_is_pressed_when_a_new_process_was_started_for_it() {
    let setup = Override { number: 1, target: BootTarget::Setup, lifetime: Lifetime::Once };
    let mut rig = Rig::new();
    rig.act(|driver, _, effects| driver.handle_boot(Some(setup), effects));
    rig.request(Request::On).unwrap();
    rig.ready();
    let start = rig.now;
    while rig.driver.poll_timeout().is_some() {
        rig.expire();
    }
    assert_eq!(rig.keys, 40);
    assert_eq!(rig.now - start, config().setup_limit);
    assert_eq!(rig.events.last(), Some(&Event::BootUsed(setup)));
    rig.event(&GUEST_RESET());
    while rig.driver.poll_timeout().is_some() {
        rig.expire();
    }
    assert_eq!(rig.keys, 40, "once");

    // The firmware of a process that runs already does not wait for a key.
    let again = Override { number: 2, ..setup };
    let mut rig = Rig::running();
    rig.act(|driver, _, effects| driver.handle_boot(Some(again), effects));
    rig.request(Request::Reset).unwrap();
    rig.event(&HOST_RESET());
    while rig.driver.poll_timeout().is_some() {
        rig.expire();
    }
    assert_eq!(rig.keys, 0);
    assert_eq!(rig.events.last(), Some(&Event::BootUsed(again)));
}
