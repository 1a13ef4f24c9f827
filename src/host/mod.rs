//! Linux: one kind of effect per file. Nothing here decides anything.
#![expect(clippy::disallowed_methods, reason = "this layer is where the outside is touched")]

pub mod activity;
pub mod dirs;
pub mod environment;
pub mod facts;
pub mod lan;
pub mod log_file;
pub mod macvtap;
pub mod netlink;
pub mod nvram;
pub mod process;
pub mod qmp;
pub mod stdout;
pub mod tap;
pub mod tcp;
pub mod terminal;
pub mod timer;
pub mod udp;
pub mod wiring;

use std::time::{Instant, SystemTime};

/// The clock.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, UTC; 0 on a host whose clock is before that.
#[must_use]
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
