//! What the program has of its host: at quiet points, with the machine off and no client there.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::processes;
use crate::soak::scene::Scene;
use crate::wait::{POLL, SOON, wait_for};

/// What the program's memory may grow by from the one half of a run to the other. In the shortest run, the
/// allocator's high-water marks rise by up to 100 KiB, in steps with nothing between; 1 KiB that is lost with
/// each session is more than this, and in half an hour even 50 bytes are.
const ROOM_KIB: u64 = 256;

/// What is the same at each quiet point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holdings {
    descriptors: usize,
    children: Vec<u32>,
    files: BTreeSet<String>,
}

impl Holdings {
    fn of(machine: &Machine) -> Self {
        let files = fs::read_dir(&machine.run_dir).unwrap();
        Self {
            descriptors: fs::read_dir(format!("/proc/{}/fd", machine.pid())).unwrap().count(),
            // Zombies as well.
            children: processes::children(machine.pid()),
            files: files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect(),
        }
    }

    /// What the program has once that stands still: connections that were just closed are still open
    /// for a moment.
    pub(super) fn at_rest(machine: &Machine) -> Self {
        let (mut now, mut since) = (Self::of(machine), Instant::now());
        wait_for("the program is at rest", SOON, || {
            let then = std::mem::replace(&mut now, Self::of(machine));
            if then != now {
                since = Instant::now();
            }
            (since.elapsed() > Duration::from_secs(2)).then(|| now.clone())
        })
    }

    /// Waits until the program has what it had.
    #[track_caller]
    pub(super) fn are_back(&self, machine: &Machine) {
        let start = Instant::now();
        let mut now = Self::of(machine);
        while now != *self && start.elapsed() < SOON {
            thread::sleep(POLL);
            now = Self::of(machine);
        }
        assert_eq!(now, *self, "what the program has now, and what it had");
    }
}

/// How many threads the program has.
pub(super) fn threads(machine: &Machine) -> usize {
    fs::read_dir(format!("/proc/{}/task", machine.pid())).unwrap().count()
}

/// What only this program has in memory and has written to: heap, stacks and statics, in KiB.
pub(super) fn memory_kib(machine: &Machine) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", machine.pid())).unwrap();
    let field = |name: &str| -> u64 {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    field("Anonymous:") + field("Swap:")
}

/// What was measured at a quiet point.
pub(super) struct Sample {
    /// How much the clients had done until then.
    pub(super) done: usize,
    pub(super) memory_kib: u64,
    pub(super) threads: usize,
    pub(super) sessions: u64,
}

impl Sample {
    pub(super) fn take(scene: &Scene) -> Self {
        Self {
            done: scene.total(),
            memory_kib: memory_kib(&scene.machine),
            threads: threads(&scene.machine),
            sessions: scene.machine.status()["sessions"].as_u64().unwrap(),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, memory_kib, threads, sessions } = self;
        write!(f, "{done:6} done: {memory_kib} KiB, {threads} threads, {sessions} sessions")
    }
}

/// Whether memory has grown: by how much the most of the second half is above that of the first, if that
/// is more than there is room for. The first samples are of the time in which tables and buffers are
/// filled for the first time, and do not count.
fn growth(memory_kib: &[u64]) -> Option<u64> {
    let warm = &memory_kib[memory_kib.len() / 4..];
    let (first, second) = warm.split_at(warm.len() / 2);
    let most = |half: &[u64]| half.iter().copied().max().unwrap();
    let grown = most(second).saturating_sub(most(first));
    (grown > ROOM_KIB).then_some(grown)
}

#[track_caller]
pub(super) fn assert_no_growth(samples: &[Sample]) {
    let memory: Vec<u64> = samples.iter().map(|sample| sample.memory_kib).collect();
    let grown = growth(&memory);
    assert_eq!(grown, None, "KiB that memory has grown by, of {memory:?}");
}

#[test]
fn growth_is_told_from_noise() {
    // What is filled once, then some up and down.
    let noise = |number: u64| 1000 + (number * 200).min(600) + number * 37 % 100;
    let run = |leaked: u64| -> Vec<u64> {
        (0..24).map(|number| noise(number) + number * leaked).collect()
    };
    assert_eq!(growth(&run(0)), None);
    // 1 KiB for each of five commands a second, with 10 s between two samples.
    assert!(growth(&run(50)).is_some());
}
