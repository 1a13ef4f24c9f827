//! The driver with a model of QEMU, of its firmware and of the BMC, in any order of things.

use proptest::prelude::*;

use super::*;
use crate::machine::boot::Lifetime;

/// What it takes to end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Obeys {
    Quit,
    Terminate,
    Kill,
}

/// What becomes of a process that is started.
#[derive(Clone, Copy, Debug)]
struct Nature {
    obeys: Obeys,
    /// Its monitor never answers.
    mute: bool,
    /// Its guest heeds the power button.
    heeds: bool,
}

/// A QEMU process.
#[derive(Debug)]
struct Qemu {
    nature: Nature,
    /// What `bootindex` says.
    order: BootOrder,
    /// The firmware has something to read `order` for, and this is what it read at first.
    reading: Option<BootOrder>,
    ready: bool,
    /// It will end.
    dying: bool,
    /// It will reset the machine.
    resets: usize,
    /// The start that is under way has this override.
    booting: Option<Override>,
}

#[derive(Debug)]
struct Model {
    driver: Driver,
    now: Instant,
    natures: Vec<Nature>,
    spawned: usize,
    qemu: Option<Qemu>,
    /// The override as it is at this moment.
    armed: Option<Override>,
    /// The override as the BMC knows it, and what it has not heard of yet.
    known: Option<Override>,
    mail: Vec<Override>,
    set: u64,
    /// Numbers of the one-time overrides that a firmware has followed, and of those reported used.
    followed: Vec<u64>,
    used: Vec<u64>,
    /// The order changes because this reset is asked for.
    exited: bool,
    last: Option<Status>,
}

impl Model {
    fn new(config: Config, natures: Vec<Nature>) -> Self {
        Self {
            driver: Driver::new(config),
            #[allow(clippy::disallowed_methods, reason = "any instant will do")]
            now: Instant::now(),
            natures,
            spawned: 0,
            qemu: None,
            armed: None,
            known: None,
            mail: Vec::new(),
            set: 0,
            followed: Vec::new(),
            used: Vec::new(),
            exited: false,
            last: None,
        }
    }

    fn expected(&self) -> BootOrder {
        boot_order(&self.driver.config.boot_order, self.armed)
    }

    fn qemu(&mut self) -> &mut Qemu {
        self.qemu.as_mut().expect("there is a process")
    }

    fn act(&mut self, input: impl FnOnce(&mut Driver, Instant, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        input(&mut self.driver, self.now, &mut effects);
        for (index, effect) in effects.iter().enumerate() {
            match effect {
                Effect::Spawn { order, setup } => {
                    assert!(self.qemu.is_none(), "two processes");
                    assert!(!self.exited, "a start after the end");
                    assert_eq!(*order, self.expected(), "a start with another order");
                    let target = self.armed.map(|boot| boot.target);
                    assert_eq!(*setup, target == Some(BootTarget::Setup));
                    let nature = self.natures[self.spawned % self.natures.len()];
                    self.spawned += 1;
                    self.qemu = Some(Qemu {
                        nature,
                        order: *order,
                        reading: Some(*order),
                        ready: false,
                        dying: false,
                        resets: 0,
                        booting: self.armed,
                    });
                }
                Effect::SetBootOrder(order) => {
                    let reset = Effect::Qmp(qmp::Command::SystemReset);
                    let for_a_reset = effects[index..].contains(&reset);
                    assert!(self.qemu().ready, "boot order before the monitor is ready");
                    let reading = self.qemu().reading.filter(|_| !for_a_reset);
                    assert!(reading.is_none_or(|read| read == *order), "firmware is reading");
                    self.qemu().order = *order;
                }
                Effect::Qmp(command) => {
                    assert!(self.qemu().ready, "{command:?} before the monitor is ready");
                    match command {
                        qmp::Command::Quit => {
                            self.qemu().dying |= self.qemu().nature.obeys == Obeys::Quit;
                        }
                        qmp::Command::SystemPowerdown => {
                            self.qemu().dying |= self.qemu().nature.heeds;
                        }
                        qmp::Command::SystemReset => {
                            let expected = self.expected();
                            assert_eq!(self.qemu().order, expected, "a reset with another order");
                            self.qemu().resets += 1;
                            self.qemu().booting = self.armed;
                            self.qemu().reading = Some(expected);
                        }
                        _ => {}
                    }
                }
                Effect::PressSetupKey => assert!(self.qemu().ready),
                Effect::Terminate => {
                    self.qemu().dying |= self.qemu().nature.obeys <= Obeys::Terminate;
                }
                Effect::Kill => self.qemu().dying = true,
                Effect::Report(status, event) => {
                    self.last = Some(*status);
                    if let Event::BootUsed(used) = event {
                        assert_eq!(used.lifetime, Lifetime::Once, "a persistent one was used up");
                        assert!(!self.used.contains(&used.number), "used twice");
                        self.used.push(used.number);
                        self.mail.push(*used);
                        if self.armed == Some(*used) {
                            self.armed = None;
                        }
                    }
                }
                Effect::Exit => {
                    assert!(self.qemu.is_none(), "the end with a process left");
                    self.exited = true;
                }
            }
        }
        let status = self.driver.status();
        assert_eq!(status.power == Power::On, self.qemu.is_some(), "power is not the truth");
        assert_eq!(self.last.unwrap_or(Status::OFF), status, "the BMC was told something else");
    }

    /// The firmware of the present process runs with what it was started with.
    fn follow(&mut self) {
        if let Some(Override { number, lifetime: Lifetime::Once, .. }) = self.qemu().booting {
            assert!(!self.used.contains(&number), "followed after it was used up");
            if !self.followed.contains(&number) {
                self.followed.push(number);
            }
        }
    }

    fn ready(&mut self) {
        if self.qemu.as_ref().is_some_and(|qemu| !qemu.ready && !qemu.nature.mute) {
            self.qemu().ready = true;
            if self.driver.state == State::Starting {
                self.follow();
            }
            self.act(|driver, now, effects| driver.handle_monitor_ready(now, effects));
        }
    }

    fn reset(&mut self, guest: bool) {
        let event = qmp::Event::Reset { guest, reason: String::new() };
        if self.driver.state != State::Running {
            // It is about to end.
        } else if self.driver.settled.is_none() && !self.driver.resetting {
            // A start of its own, with what is there now.
            let expected = self.expected();
            let armed = self.armed;
            assert_eq!(self.qemu().order, expected, "a reset with another order");
            self.qemu().booting = armed;
            self.qemu().reading = Some(expected);
        }
        if self.driver.state == State::Running {
            self.follow();
        }
        self.act(|driver, now, effects| driver.handle_qmp_event(now, &event, effects));
    }

    fn exit(&mut self, clean: bool) {
        self.qemu = None;
        self.act(|driver, now, effects| driver.handle_exit(now, clean, String::new(), effects));
    }

    fn boot(&mut self, boot: Option<(BootTarget, Lifetime)>) {
        self.set += 1;
        let number = self.set;
        let boot = boot.map(|(target, lifetime)| Override { number, target, lifetime });
        self.armed = boot;
        self.known = boot;
        self.act(|driver, _, effects| driver.handle_boot(boot, effects));
    }

    /// The BMC hears of what was used up, and says so.
    fn deliver(&mut self) {
        for used in std::mem::take(&mut self.mail) {
            if self.known == Some(used) {
                self.known = None;
                self.act(|driver, _, effects| driver.handle_boot(None, effects));
            }
        }
    }

    fn expire(&mut self) {
        if let Some(deadline) = self.driver.poll_timeout() {
            assert!(deadline >= self.now || self.driver.settled.is_some(), "a deadline long ago");
            self.now = self.now.max(deadline);
            if let Some(qemu) = &mut self.qemu
                && self.driver.settled.is_some_and(|settled| settled <= self.now)
            {
                qemu.reading = None;
            }
            self.act(|driver, now, effects| driver.handle_timeout(now, effects));
            assert_ne!(self.driver.poll_timeout(), Some(deadline), "a deadline for ever");
        }
    }

    fn step(&mut self, step: &Step) {
        let ready = self.qemu.as_ref().is_some_and(|qemu| qemu.ready);
        match *step {
            Step::Request(request) => {
                let before = self.driver.status();
                let mut result = Ok(());
                self.act(|driver, now, effects| {
                    result = driver.handle_request(now, request, effects);
                });
                assert_eq!(result, before.admit(request), "the BMC answers something else");
                match result {
                    Ok(()) => {
                        // The BMC counts on it.
                        assert_eq!(self.driver.status(), before.after(request), "{request:?}");
                    }
                    Err(_) => assert_eq!(self.driver.status(), before, "refused, and it did it"),
                }
            }
            Step::Boot(boot) => self.boot(boot),
            Step::Deliver => self.deliver(),
            Step::Ready => self.ready(),
            Step::SpawnFails if self.driver.state == State::Starting && !ready => {
                self.qemu = None;
                self.act(|driver, _, effects| driver.handle_spawn_failed("no".into(), effects));
            }
            Step::Resets if ready => {
                for _ in 0..std::mem::take(&mut self.qemu().resets) {
                    self.reset(false);
                }
            }
            // Those that were asked for come first.
            Step::GuestResets if ready && self.qemu().resets == 0 => self.reset(true),
            Step::GuestShutsDown if ready => {
                self.qemu().dying = true;
                let event = qmp::Event::Shutdown { guest: true, reason: String::new() };
                self.act(|driver, now, effects| driver.handle_qmp_event(now, &event, effects));
            }
            Step::Dies if self.qemu.as_ref().is_some_and(|qemu| qemu.dying) => self.exit(true),
            Step::Crashes if self.qemu.is_some() => self.exit(false),
            Step::Passes(milliseconds) => {
                let then = self.now + Duration::from_millis(milliseconds.into());
                while self.driver.poll_timeout().is_some_and(|deadline| deadline <= then) {
                    self.expire();
                }
                self.now = then;
            }
            Step::Expires => self.expire(),
            Step::End => self.act(|driver, now, effects| driver.handle_end(now, effects)),
            _ => {}
        }
    }

    /// Nothing more is asked for, and all that was is given its time.
    fn come_to_rest(&mut self) {
        for _ in 0..1000 {
            for step in [Step::Ready, Step::Resets, Step::Dies, Step::Deliver, Step::Expires] {
                self.step(&step);
            }
            if self.driver.poll_timeout().is_none() && self.mail.is_empty() {
                return;
            }
        }
        panic!("stuck in {:?}", self.driver);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Request(Request),
    Boot(Option<(BootTarget, Lifetime)>),
    Deliver,
    Ready,
    SpawnFails,
    Resets,
    GuestResets,
    GuestShutsDown,
    Dies,
    Crashes,
    Passes(u16),
    Expires,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    use BootDevice::{Cdrom, Disk, Network};
    use Request::{Cycle, Diag, Off, On, Reset, Soft};
    let request = prop::sample::select(vec![On, On, Off, Cycle, Cycle, Reset, Reset, Soft, Diag]);
    let devices = [Disk, Cdrom, Network].map(BootTarget::Device);
    let targets = devices.into_iter().chain([BootTarget::Setup, BootTarget::Default]);
    let target = prop::sample::select(targets.collect::<Vec<_>>());
    let lifetime = prop::sample::select(vec![Lifetime::Once, Lifetime::Once, Lifetime::Always]);
    prop_oneof![
        10 => request.prop_map(Step::Request),
        6 => prop::option::weighted(0.9, (target, lifetime)).prop_map(Step::Boot),
        4 => Just(Step::Deliver),
        10 => Just(Step::Ready),
        1 => Just(Step::SpawnFails),
        6 => Just(Step::Resets),
        4 => Just(Step::GuestResets),
        1 => Just(Step::GuestShutsDown),
        6 => Just(Step::Dies),
        1 => Just(Step::Crashes),
        4 => (0_u16..2000).prop_map(Step::Passes),
        6 => Just(Step::Expires),
    ]
}

fn nature() -> impl Strategy<Value = Nature> {
    let obeys = prop::sample::select(vec![Obeys::Quit, Obeys::Quit, Obeys::Terminate, Obeys::Kill]);
    (obeys, prop::bool::weighted(0.1), any::<bool>()).prop_map(|(obeys, mute, heeds)| Nature {
        obeys,
        mute,
        heeds,
    })
}

fn model() -> impl Strategy<Value = Model> {
    use BootDevice::{Cdrom, Disk, Network};
    let order = prop::sample::select(vec![vec![], vec![Disk], vec![Network, Disk], vec![Cdrom]]);
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let limits = (seconds(0..3), seconds(1..130), any::<bool>(), seconds(0..10));
    (order, limits, prop::collection::vec(nature(), 1..5)).prop_map(|(order, limits, natures)| {
        let (cycle_interval, soft_limit, soft_force, stop_limit) = limits;
        let config = Config {
            boot_order: order,
            cycle_interval,
            soft_limit,
            soft_force,
            stop_limit,
            setup_limit: Duration::from_secs(3),
        };
        Model::new(config, natures)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// `Model::act` asserts after each step: never two processes, power and reports are the truth, a
    /// start has the order that was set before it, and its firmware finds no other. Here: whatever
    /// was asked for comes to its end, a one-time override that a firmware has followed is used up,
    /// and QEMU has the order of the next start.
    #[test]
    fn one_process_no_operation_for_ever_and_a_one_time_override_once(
        mut model in model(), steps in prop::collection::vec(step(), 0..80),
    ) {
        for step in &steps {
            model.step(step);
        }
        model.come_to_rest();
        prop_assert_eq!(model.driver.status().operation, None);
        prop_assert!(matches!(model.driver.state, State::Off | State::Running));
        prop_assert_eq!(model.known, model.armed);
        prop_assert_eq!(model.driver.boot, model.armed);
        model.followed.sort_unstable();
        model.used.sort_unstable();
        prop_assert_eq!(&model.followed, &model.used);
        let expected = model.expected();
        if let Some(qemu) = &model.qemu {
            prop_assert_eq!(qemu.order, expected);
        }
        // And it is not dead: what is asked for now happens.
        model.natures.iter_mut().for_each(|nature| nature.mute = false);
        model.step(&Step::Request(Request::Off));
        model.come_to_rest();
        prop_assert_eq!(model.driver.status(), Status { fault: model.driver.fault, ..Status::OFF });
        model.step(&Step::Request(Request::On));
        model.come_to_rest();
        prop_assert_eq!(model.driver.status(), Status::ON);
    }

    /// The program ends from wherever the machine got to: at once when asked twice, and within the
    /// limits when asked once.
    #[test]
    fn the_end_comes(
        mut model in model(), steps in prop::collection::vec(step(), 0..40), twice: bool,
        after in prop::collection::vec(step(), 0..20),
    ) {
        for step in &steps {
            model.step(step);
        }
        let start = model.now;
        model.step(&Step::End);
        if twice {
            model.step(&Step::End);
        } else {
            for step in &after {
                model.step(step);
            }
        }
        while !model.exited {
            for step in [Step::Dies, Step::Deliver, Step::Expires] {
                model.step(&step);
            }
            prop_assert!(
                model.now - start < model.driver.config.stop_limit + 4 * QUIT_LIMIT
                    || !twice && model.now - start < Duration::from_secs(60),
                "stuck in {:?}", model.driver
            );
        }
        prop_assert!(model.qemu.is_none());
        if twice {
            prop_assert!(model.now - start <= HURRY_LIMIT);
        }
    }
}
