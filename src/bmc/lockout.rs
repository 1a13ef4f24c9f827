//! Bad passwords: who has tried too many is refused for a while.
//!
//! They are counted by user and by the network that they come from: whoever counts them up keeps nobody
//! out but himself. The network is the one that the BMC's first answer went to, without which there is
//! no second message: a forged source counts for nobody.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::bmc::session::network;

/// Most users and networks that are counted for. Who has more networks than that has no need to wait.
const MAX_COUNTS: usize = 1024;

/// Bad passwords in a row.
#[derive(Clone, Copy, Debug)]
struct Count {
    bad: u32,
    /// The last one that was counted.
    at: Instant,
}

/// All counts, by network and user ID.
#[derive(Clone, Debug)]
pub(super) struct Lockouts {
    threshold: u32,
    interval: Duration,
    counts: BTreeMap<(IpAddr, u8), Count>,
}

impl Lockouts {
    /// With a `threshold` of 0, nobody is locked out.
    #[must_use]
    pub(super) fn new(threshold: u32, interval_s: u32) -> Self {
        let interval = Duration::from_secs(interval_s.into());
        Self { threshold, interval, counts: BTreeMap::new() }
    }

    /// How long a lock-out is.
    #[must_use]
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether `user` cannot log in from where `peer` is.
    #[must_use]
    pub(super) fn holds(&self, now: Instant, peer: SocketAddr, user: u8) -> bool {
        self.count(now, &(network(peer.ip()), user)).is_some_and(|count| self.is_enough(count.bad))
    }

    /// A password was wrong. Answers whether that was one too many.
    pub(super) fn bad(&mut self, now: Instant, peer: SocketAddr, user: u8) -> bool {
        let key = (network(peer.ip()), user);
        let before = self.count(now, &key).map_or(0, |count| count.bad);
        if self.threshold == 0 || self.is_enough(before) {
            return false;
        }
        if self.counts.len() >= MAX_COUNTS && !self.counts.contains_key(&key) {
            let oldest = self.counts.iter().min_by_key(|(_, count)| count.at);
            oldest.map(|(key, _)| *key).and_then(|key| self.counts.remove(&key));
        }
        let bad = before.saturating_add(1);
        self.counts.insert(key, Count { bad, at: now });
        self.is_enough(bad)
    }

    /// A password was right.
    pub(super) fn good(&mut self, peer: SocketAddr, user: u8) {
        self.counts.remove(&(network(peer.ip()), user));
    }

    /// The user's password, or what he may do, is another now.
    pub(super) fn forget(&mut self, user: u8) {
        self.counts.retain(|(_, of), _| *of != user);
    }

    fn is_enough(&self, bad: u32) -> bool {
        self.threshold != 0 && bad >= self.threshold
    }

    /// What is still counted.
    fn count(&self, now: Instant, key: &(IpAddr, u8)) -> Option<&Count> {
        let counts = |count: &&Count| now.saturating_duration_since(count.at) < self.interval;
        self.counts.get(key).filter(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 50_000)
    }

    #[test]
    fn a_network_is_one_whatever_its_addresses() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let now = Instant::now();
        let mut lockouts = Lockouts::new(2, 60);
        assert!(!lockouts.bad(now, peer("2001:db8::1"), 2));
        assert!(lockouts.bad(now, peer("2001:db8::2"), 2));
        assert!(lockouts.holds(now, peer("2001:db8::3"), 2));
        assert!(!lockouts.holds(now, peer("2001:db8:0:1::1"), 2));
        assert!(!lockouts.holds(now, peer("2001:db8::1"), 3));
        assert!(!lockouts.bad(now, peer("::ffff:192.0.2.1"), 2));
        assert!(lockouts.bad(now, peer("192.0.2.1"), 2), "the same, on a socket for both");
        lockouts.forget(2);
        assert!(!lockouts.holds(now, peer("2001:db8::3"), 2));
    }

    #[test]
    fn any_number_of_networks_takes_no_more_memory() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut lockouts = Lockouts::new(1, 60);
        for number in 0..100_000_u32 {
            let address = IpAddr::V4(number.into());
            let now = start + Duration::from_micros(number.into());
            assert!(lockouts.bad(now, SocketAddr::new(address, 1), 2));
            assert!(lockouts.counts.len() <= MAX_COUNTS);
        }
    }
}
