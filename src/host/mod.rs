//! Linux: one kind of effect per file. Nothing here decides anything.
#![expect(clippy::disallowed_methods, reason = "this layer is where the outside is touched")]

pub mod dirs;
pub mod environment;
pub mod facts;
pub mod process;
pub mod qmp;
pub mod udp;

use std::time::Instant;

/// The clock.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Entropy of the operating system.
///
/// # Panics
/// When the kernel has none to give, which no supported kernel does.
#[must_use]
pub fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the kernel gives random bytes");
    seed
}
