//! How fast a serial port is read.
//!
//! As fast as it talks, but for one case: a Serial-over-LAN client that takes what it gets, and is
//! slower than the guest. SOL is to lose nothing, so the port is then slowed down, as a real one
//! would have been from the start: never below what 115.2 kbit/s carry.

use std::time::{Duration, Instant};

/// The client is this far behind before the port is slowed down: half of what may wait for it.
const BEHIND: u64 = 1 << 19;
/// A client that has taken nothing for this long is not waited for.
const STALLED: Duration = Duration::from_secs(1);
/// 115.2 kbit/s, 8 data bits, start and stop bit, for [`TICK`].
const SHARE: usize = 1152;
const TICK: Duration = Duration::from_millis(100);

/// What may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// At most this many bytes.
    UpTo(usize),
    /// Nothing before this.
    NotBefore(Instant),
}

/// The pace of one port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    taken: Option<Instant>,
    next: Option<Instant>,
}

impl Pace {
    /// The client has taken something, or has just come.
    pub fn handle_taken(&mut self, now: Instant) {
        self.taken = Some(now);
    }

    /// What may be read, if the client is `behind` by this many bytes. `most`: what is read at once
    /// if nobody is waited for.
    #[must_use]
    pub fn reading(&self, now: Instant, behind: u64, most: usize) -> Reading {
        if !self.waits(now, behind) {
            return Reading::UpTo(most);
        }
        match self.next.filter(|next| now < *next) {
            Some(next) => Reading::NotBefore(next),
            None => Reading::UpTo(SHARE.min(most)),
        }
    }

    /// Something was read.
    pub fn handle_read(&mut self, now: Instant, behind: u64) {
        self.next = self.waits(now, behind).then(|| now + TICK);
    }

    fn waits(&self, now: Instant, behind: u64) -> bool {
        behind >= BEHIND && self.taken.is_some_and(|taken| now < taken + STALLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_takes_is_waited_for_and_the_port_never_stands_still() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.reading(now, BEHIND, 4096), Reading::UpTo(4096), "it never took anything");
        pace.handle_taken(now);
        assert_eq!(pace.reading(now, BEHIND - 1, 4096), Reading::UpTo(4096), "it is near enough");
        let mut read = 0;
        for _ in 0..50 {
            pace.handle_taken(now);
            match pace.reading(now, BEHIND, 4096) {
                Reading::UpTo(most) => {
                    read += most;
                    pace.handle_read(now, BEHIND);
                }
                Reading::NotBefore(then) => now = then,
            }
        }
        assert_eq!(read, 25 * SHARE, "the line's own speed");
        now += STALLED;
        assert_eq!(pace.reading(now, u64::MAX, 4096), Reading::UpTo(4096), "it has stopped");
    }
}
