//! Which groups of checks there are, and how they are run.
//!
//! ```sh
//! make container-test                              # all
//! CONTAINER_GROUPS='lab rights' make container-test
//! make container-measure                           # writes the figures of docs/container.md
//! ```
//!
//! A group has containers of its own, and two groups run at once. The checks of a group run in order;
//! one that fails does not end the others. Machines are emulated: KVM under KVM is not good enough
//! everywhere to boot Linux. `CONTAINER_IMAGE=NAME` takes an image that is there instead of building
//! one, to see what the checks say of a broken one.

use std::sync::Mutex;
use std::thread;

use crate::engine::repository;
use crate::report;
use crate::{beyond, lab, network, rights, seed, seed_files, topologies};

/// Longest first, so that no core is without work at the end.
const GROUPS: [(&str, fn()); 10] = [
    ("topologies", topologies::group),
    ("lab", lab::group),
    ("boot", seed::boot),
    ("life", beyond::life),
    ("seed", seed::group),
    ("rights", rights::group),
    ("network", network::group),
    ("arguments", beyond::arguments),
    ("logins", beyond::logins),
    ("files", seed_files::group),
];
const AT_ONCE: usize = 2;

pub(crate) fn checks() {
    report::catch_messages();
    let wanted = std::env::var("CONTAINER_GROUPS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    for name in &wanted {
        let known = GROUPS.iter().any(|(known, _)| known == name);
        assert!(known, "CONTAINER_GROUPS: no group `{name}`");
    }
    let mut names = vec!["build"];
    let mut left: Vec<(&'static str, fn())> = GROUPS.to_vec();
    left.retain(|(name, _)| wanted.is_empty() || wanted.contains(name));
    names.extend(left.iter().map(|(name, _)| *name));
    left.reverse();
    let left = Mutex::new(left);
    let next = || left.lock().unwrap().pop();
    let mut built = false;
    report::group("build", &mut || built = seed_files::build_image());
    if built {
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some((name, body)) = next() {
                        report::group(name, &mut || body());
                    }
                });
            }
        });
    }
    let (table, well) = report::table(&names);
    println!("\n{table}");
    std::fs::write(repository().join("target/container/checks.md"), &table).unwrap();
    // The hook's words went to the table.
    assert!(well, "see the table");
}
