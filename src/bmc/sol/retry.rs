//! When a packet is sent again: after the time that an acknowledgement takes by experience, measured
//! as TCP does (RFC 6298), and longer each time. Sooner than TCP: with one packet in flight, a copy
//! too many costs little, and waiting costs all the speed there is.

use std::time::Duration;

/// Before a round trip has been measured.
const INITIAL: Duration = Duration::from_millis(200);
/// Less would be about the scheduling of processes, not the network.
const MIN: Duration = Duration::from_micros(200);
/// For a packet whose retries are used up. It is not dropped, as section 15.11 would have it: then
/// a short failure of the network would tear a hole.
const MAX: Duration = Duration::from_secs(1);
/// Beyond this, doubling makes no difference.
const MOST_DOUBLINGS: u32 = 13;

/// The round-trip time as measured, and what follows from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    /// Smoothed, and its variation.
    measured: Option<(Duration, Duration)>,
    /// How often the time out has doubled since the last measurement.
    doublings: u32,
}

impl Retry {
    /// A packet was acknowledged that was sent `tries` times, for the first time `age` ago.
    pub(super) fn handle_acknowledged(&mut self, tries: u32, age: Duration) {
        if tries > 1 {
            // Nobody knows which of them was acknowledged; the time out stays as long as it was.
            return;
        }
        // Longer than it would have been waited for: the way itself has become longer.
        let changed = std::mem::take(&mut self.doublings) > 0 && age > self.base();
        self.measured = Some(match self.measured.filter(|_| !changed) {
            None => (age, age / 2),
            Some((smoothed, variation)) => {
                let variation = (3 * variation + smoothed.abs_diff(age)) / 4;
                ((7 * smoothed + age) / 8, variation)
            }
        });
    }

    /// A packet was not acknowledged in time.
    pub(super) fn handle_timeout(&mut self) {
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
    }

    /// How long to wait after the given try, if the first `retries` are at most `interval` apart.
    #[must_use]
    pub(super) fn timeout(&self, tries: u32, retries: u8, interval: Duration) -> Duration {
        let longest = if tries <= u32::from(retries) { interval.min(MAX) } else { MAX };
        (self.base() * (1 << self.doublings)).min(longest).max(MIN)
    }

    fn base(&self) -> Duration {
        let measured = |(smoothed, variation)| 2 * (smoothed + variation);
        self.measured.map_or(INITIAL, measured).max(MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_time_out_follows_the_round_trip() {
        let mut retry = Retry::default();
        let timeout = |retry: &Retry, tries| retry.timeout(tries, 7, 200 * MS);
        assert_eq!(timeout(&retry, 1), 200 * MS);
        for _ in 0..50 {
            retry.handle_acknowledged(1, MS / 20);
        }
        assert_eq!(timeout(&retry, 1), MIN, "on this host");
        retry.handle_timeout();
        assert_eq!(timeout(&retry, 2), 2 * MIN);
        retry.handle_acknowledged(2, 100 * MS);
        assert_eq!(timeout(&retry, 1), 2 * MIN, "until it is measured anew");
        for tries in 2..=20 {
            retry.handle_timeout();
            assert!(timeout(&retry, tries) <= if tries <= 7 { 200 * MS } else { MAX });
        }
        assert_eq!(timeout(&retry, 8), MAX, "slower, and for ever");
        retry.handle_acknowledged(1, 300 * MS);
        assert!(timeout(&retry, 8) > 300 * MS, "the way has become longer");
    }
}
