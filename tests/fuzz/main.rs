//! Fuzzing on the stable toolchain: what is nearly right, for as long as one likes.
//!
//! A target is a function of a seed. `FUZZ_SECONDS` says how long each one runs, `FUZZ_SEED` where it
//! begins; a failure names the seed to begin with that fails at once. Mutations are blind: there is no
//! feedback of coverage, which needs a compiler that is not stable. In exchange the inputs begin as
//! whole conversations of real clients, and the oracles know more than "no panic".
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test, which uses a part of the engine's tests"
)]

#[path = "../case/mod.rs"]
mod case;
#[path = "../engine/console.rs"]
mod console;
mod datagrams;
mod inside;
mod machine;
mod mutate;
mod profiles;
#[path = "../random/mod.rs"]
mod random;
#[path = "../engine/vector_engine.rs"]
mod vector_engine;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use mutate::Random;

/// How long each target runs unless `FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 2;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Runs a target with one seed after another.
fn fuzz(name: &str, target: impl Fn(&mut Random)) {
    let first = number("FUZZ_SEED", 0);
    let limit = Duration::from_secs(number("FUZZ_SECONDS", SECONDS));
    let start = Instant::now();
    let mut seed = first;
    while seed == first || start.elapsed() < limit {
        let run = AssertUnwindSafe(|| target(&mut Random::new(seed)));
        if let Err(panic) = catch_unwind(run) {
            eprintln!("FUZZ_SECONDS=0 FUZZ_SEED={seed} cargo test --test fuzz {name}");
            resume_unwind(panic);
        }
        seed = seed.wrapping_add(1);
    }
    eprintln!("{name}: {} inputs", seed.wrapping_sub(first));
}
