//! The soak: clients of all kinds at once, for as long as one likes, on a machine whose QEMU is killed and
//! whose link comes and goes.
//!
//! `SOAK_SECONDS` says how long, `SOAK_SEED` what the clients choose. The same seed makes each client
//! choose the same, but not at the same moment.

mod clients;
mod expected;
mod growth;
mod guest;
mod scene;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::SOL_READY;
use crate::machine::Setup;
use crate::namespace::Namespace;
use crate::processes::Signal;
use crate::random::Random;
use crate::soak::clients::ALL;
use crate::soak::growth::{Holdings, Sample, assert_no_growth, threads};
use crate::soak::scene::{EXPIRY, EndsOnPanic, Scene};
use crate::wait::{BOOT, SOON, wait_until};

/// How long it takes unless `SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 120;
/// How many quiet points there are at least, however slow the host is.
const SAMPLES: usize = 12;
/// How long the clients work from one to the next, in seconds: the longer the run, the longer.
const INTERVAL_S: std::ops::RangeInclusive<u64> = 5..=30;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

impl Scene {
    /// Waits until the machine is off, and nothing is under way.
    fn off(&self) {
        wait_until("nothing is under way", SOON * 2, || {
            self.machine.status()["operation"].is_null()
        });
        self.ipmitool("power off").succeeds().says("Chassis Power Control: Down/Off");
        self.machine.wait_off();
    }

    /// With no other client there, all works.
    fn probe(&self) {
        self.off();
        self.wait_carrier(true);
        // A client that was killed may have it yet.
        self.ipmitool("sol deactivate");
        let mut console = self.sol();
        console.expect(SOL_READY);
        self.ipmitool("power on").succeeds().says("Chassis Power Control: Up/On");
        console.expect_within(BOOT, guest::UP);
        for key in ["s", "o", "a", "k"] {
            console.press(key);
            console.expect(key);
        }
        console.press("\r~.");
        console.expect("[terminated ipmitool]");
        assert_eq!(console.end(), 0);
        self.off();
        // So that it is as long at each quiet point.
        self.ipmitool("sel clear").succeeds();
    }

    /// Looks at the machine while no client is at work.
    fn quiet(&self, holdings: &Holdings, judged: &mut usize) -> Sample {
        let _alone = self.gate.write().unwrap();
        self.probe();
        holdings.are_back(&self.machine);
        wait_until("no more sessions than were left", SOON, || {
            let open = self.machine.status()["sessions"].as_u64().unwrap();
            usize::try_from(open).unwrap() <= self.sessions_left()
        });
        let log = self.machine.log();
        self.judge_log(&log, *judged);
        *judged = log.len();
        let sample = Sample::take(self);
        eprintln!("{sample}");
        sample
    }

    /// Keeps the program's log, for whoever looks for the cause of a failure.
    fn keep_log(&self) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.log");
        std::fs::write(&path, self.machine.log()).unwrap();
        eprintln!("the program's log: {}", path.display());
    }
}

/// Lets all clients work for this time, and answers what was seen at the quiet points between.
fn soak(scene: &Scene, seed: u64, limit: Duration, holdings: &Holdings) -> Vec<Sample> {
    let _ends = EndsOnPanic(scene);
    let start = Instant::now();
    let interval_s = (limit.as_secs() / 24).clamp(*INTERVAL_S.start(), *INTERVAL_S.end());
    let (mut samples, mut judged) = (Vec::new(), 0);
    thread::scope(|scope| {
        let _ends = EndsOnPanic(scene);
        let clients = (1..).zip(&ALL).map(|(number, client)| {
            scope.spawn(move || {
                let _ends = EndsOnPanic(scene);
                client.work(scene, Random::new(seed.wrapping_mul(1000).wrapping_add(number)));
            })
        });
        let clients: Vec<_> = clients.collect();
        while !scene.is_over() && (start.elapsed() < limit || samples.len() < SAMPLES) {
            scene.pause(Duration::from_secs(interval_s));
            samples.push(scene.quiet(holdings, &mut judged));
        }
        scene.end();
        for client in clients {
            if let Err(panic) = client.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    samples.push(scene.quiet(holdings, &mut judged));
    samples
}

#[test]
fn mixed_clients_leave_nothing_behind() {
    let seed = number("SOAK_SEED", 0);
    let limit = Duration::from_secs(number("SOAK_SECONDS", SECONDS));
    eprintln!("SOAK_SECONDS={} SOAK_SEED={seed} cargo test --test e2e soak::", limit.as_secs());
    let (node, lab) = (Namespace::new(), Namespace::new());
    let setup = Setup::bare();
    let disk = setup.file("disk.raw", &guest::disk());
    let machine = node.machine(
        setup
            .set(format!("disks.0.path={}", disk.display()))
            .set("disks.0.format=raw")
            .set("nics.0.wiring=tc")
            .set("nics.0.interface=eth2")
            .set("power.soft_limit_s=1")
            // It is soon full, and grows no more.
            .set("console.history_kib=4"),
    );
    let scene = Scene::new(machine, node, lab);
    scene.link();
    // What is opened once, and stays open, is.
    scene.probe();
    let holdings = Holdings::at_rest(&scene.machine);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let samples = soak(&scene, seed, limit, &holdings);
        eprint!("{holdings:?}, {} actions:\n{}", scene.total(), scene.tally());
        wait_until("no session is left", EXPIRY, || scene.machine.status()["sessions"] == 0);
        // Another is there while something is written to the disk, and some time after.
        wait_until("one thread is left", SOON, || threads(&scene.machine) == 1);
        assert_no_growth(&samples);
    }));
    if let Err(panic) = result {
        scene.keep_log();
        std::panic::resume_unwind(panic);
    }
    let Scene { mut machine, .. } = scene;
    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    machine.assert_cleaned_up();
}
