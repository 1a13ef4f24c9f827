//! Attempts at a session that were answered once: anybody can make them, from wherever he says that he is.
//!
//! A session ID that says all by itself is no way to keep nothing of them, as TCP does with its cookies: it
//! has 32 bits, and RAKP Message 1 repeats neither the console's ID nor the algorithms. So each is kept, in
//! little room, and there is room for as many as come while a console is on its way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::bmc::crypto::CipherSuite;
use crate::bmc::session::network;
use crate::wire::code::Privilege;
use crate::wire::rakp::{OpenSessionRequest, OpenSessionResponse};

/// Most attempts of a kind at once.
const MAX: usize = 4096;
/// How many attempts of a console, the latest first, are looked at for a repetition: it repeats its last one.
const LATEST: usize = 16;

/// An attempt at a session.
pub(super) trait Attempt {
    /// The session ID that it was answered with.
    fn id(&self) -> u32;
    /// Where the answer went.
    fn peer(&self) -> SocketAddr;
    /// When it ends.
    fn expiry(&self) -> Instant;
}

/// What Open Session has settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// Where the response went.
    pub(super) peer: SocketAddr,
    /// Remote Console Session ID.
    pub(super) console_id: u32,
    /// Cipher suite.
    pub(super) suite: CipherSuite,
    /// Highest privilege level that the response has promised.
    pub(super) limit: Privilege,
    /// When the attempt ends.
    pub(super) expiry: Instant,
}

/// An attempt at a session of RMCP+.
#[derive(Debug)]
pub(super) struct OpenSession {
    /// What was settled.
    pub(super) opened: Opened,
    /// The request, to know a repetition by.
    pub(super) request: [u8; OpenSessionRequest::LEN],
    /// The response.
    pub(super) response: OpenSessionResponse,
}

impl Attempt for OpenSession {
    fn id(&self) -> u32 {
        self.response.managed_session_id
    }

    fn peer(&self) -> SocketAddr {
        self.opened.peer
    }

    fn expiry(&self) -> Instant {
        self.opened.expiry
    }
}

/// When an attempt came: none came earlier that has a higher number.
type Turn = u64;

/// All attempts of a kind.
#[derive(Debug)]
pub(super) struct Attempts<T> {
    all: BTreeMap<Turn, T>,
    next: Turn,
    by_id: BTreeMap<u32, Turn>,
    by_peer: BTreeSet<(SocketAddr, Turn)>,
    by_network: BTreeSet<(IpAddr, Turn)>,
    counts: BTreeMap<IpAddr, usize>,
    /// Which network makes room is the last one: it has most attempts, and of several such the oldest.
    ranks: BTreeSet<(usize, Reverse<Turn>, IpAddr)>,
}

impl<T> Default for Attempts<T> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            next: 0,
            by_id: BTreeMap::new(),
            by_peer: BTreeSet::new(),
            by_network: BTreeSet::new(),
            counts: BTreeMap::new(),
            ranks: BTreeSet::new(),
        }
    }
}

impl<T: Attempt> Attempts<T> {
    /// The attempt with this ID.
    #[must_use]
    pub(super) fn get(&self, id: u32) -> Option<&T> {
        self.by_id.get(&id).and_then(|turn| self.all.get(turn))
    }

    /// The latest attempt from `peer` of which this holds.
    #[must_use]
    pub(super) fn find(&self, peer: SocketAddr, holds: impl Fn(&T) -> bool) -> Option<&T> {
        let of_peer = self.by_peer.range((peer, Turn::MIN)..=(peer, Turn::MAX)).rev();
        of_peer.take(LATEST).filter_map(|(_, turn)| self.all.get(turn)).find(|found| holds(found))
    }

    /// Adds an attempt. If there are too many, the network with most makes room: a flood displaces itself,
    /// but for one whose forged source is somebody's own network.
    pub(super) fn insert(&mut self, attempt: T) {
        let network = network(attempt.peer().ip());
        let crowded = self.ranks.last().filter(|_| self.all.len() >= MAX);
        let oldest = crowded.and_then(|(_, _, network)| self.of(*network).next());
        oldest.and_then(|turn| self.take(turn));
        let turn = self.next;
        self.next += 1;
        self.by_id.insert(attempt.id(), turn);
        self.by_peer.insert((attempt.peer(), turn));
        self.all.insert(turn, attempt);
        self.change(network, |attempts| {
            attempts.by_network.insert((network, turn));
            *attempts.counts.entry(network).or_default() += 1;
        });
    }

    /// Takes an attempt out.
    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        self.by_id.get(&id).copied().and_then(|turn| self.take(turn))
    }

    /// Ends all attempts of which this does not hold.
    pub(super) fn retain(&mut self, holds: impl Fn(&T) -> bool) {
        let over = self.all.iter().filter(|(_, attempt)| !holds(attempt));
        let over: Vec<Turn> = over.map(|(turn, _)| *turn).collect();
        for turn in over {
            self.take(turn);
        }
    }

    /// When [`Self::expire`] wants to be called.
    #[must_use]
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.all.first_key_value().map(|(_, attempt)| attempt.expiry())
    }

    /// Ends attempts that have taken too long. All may take equally long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((turn, attempt)) = self.all.first_key_value()
            && attempt.expiry() <= now
        {
            self.take(*turn);
        }
    }

    /// Attempts of a network, the oldest first.
    fn of(&self, network: IpAddr) -> impl Iterator<Item = Turn> {
        self.by_network.range((network, Turn::MIN)..=(network, Turn::MAX)).map(|(_, turn)| *turn)
    }

    fn take(&mut self, turn: Turn) -> Option<T> {
        let attempt = self.all.remove(&turn)?;
        self.by_id.remove(&attempt.id());
        self.by_peer.remove(&(attempt.peer(), turn));
        let network = network(attempt.peer().ip());
        self.change(network, |attempts| {
            attempts.by_network.remove(&(network, turn));
            if let Some(count) = attempts.counts.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    attempts.counts.remove(&network);
                }
            }
        });
        Some(attempt)
    }

    /// Changes the attempts of a network, and so its rank.
    fn change(&mut self, network: IpAddr, change: impl FnOnce(&mut Self)) {
        if let Some(rank) = self.rank(network) {
            self.ranks.remove(&rank);
        }
        change(self);
        self.rank(network).map(|rank| self.ranks.insert(rank));
    }

    fn rank(&self, network: IpAddr) -> Option<(usize, Reverse<Turn>, IpAddr)> {
        let count = self.counts.get(&network)?;
        Some((*count, Reverse(self.of(network).next()?), network))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    #[derive(Debug)]
    struct Any {
        id: u32,
        peer: SocketAddr,
        expiry: Instant,
    }

    impl Attempt for Any {
        fn id(&self) -> u32 {
            self.id
        }

        fn peer(&self) -> SocketAddr {
            self.peer
        }

        fn expiry(&self) -> Instant {
            self.expiry
        }
    }

    fn add(attempts: &mut Attempts<Any>, now: Instant, id: u32, from: &str) {
        attempts.insert(Any { id, peer: from.parse().unwrap(), expiry: now + LIMIT });
    }

    fn has(attempts: &Attempts<Any>, id: u32) -> bool {
        attempts.get(id).is_some()
    }

    /// Nothing is left of what is not there any more.
    fn is_consistent(attempts: &Attempts<Any>) {
        let all = attempts.all.len();
        assert_eq!((attempts.by_id.len(), attempts.by_network.len()), (all, all));
        assert_eq!(attempts.by_peer.len(), all);
        assert_eq!(attempts.counts.values().sum::<usize>(), all);
        assert_eq!(attempts.counts.len(), attempts.ranks.len());
        for network in attempts.counts.keys() {
            assert!(attempts.ranks.contains(&attempts.rank(*network).unwrap()));
        }
    }

    #[test]
    fn a_flood_from_one_address_displaces_itself() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let now = Instant::now();
        let mut attempts = Attempts::<Any>::default();
        add(&mut attempts, now, 1, "192.0.2.1:1");
        for id in 2..=10_000 {
            // Another port each time.
            add(&mut attempts, now, id, &format!("192.0.2.2:{id}"));
        }
        assert!(has(&attempts, 1) && has(&attempts, 10_000) && !has(&attempts, 2));
        assert_eq!(attempts.all.len(), MAX);
        is_consistent(&attempts);
    }

    #[test]
    fn a_flood_in_somebodys_name_takes_as_long() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let now = Instant::now();
        let mut attempts = Attempts::<Any>::default();
        add(&mut attempts, now, 1, "192.0.2.1:1");
        let max = u32::try_from(MAX).unwrap();
        for id in 2..=max {
            add(&mut attempts, now, id, &format!("192.0.2.1:{id}"));
        }
        assert!(has(&attempts, 1));
        add(&mut attempts, now, max + 1, "192.0.2.1:2");
        assert!(!has(&attempts, 1), "the oldest of the network");
        is_consistent(&attempts);
    }

    #[test]
    fn a_flood_from_everywhere_takes_long_to_displace_anybody() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let now = Instant::now();
        let mut attempts = Attempts::<Any>::default();
        let flood = |attempts: &mut Attempts<Any>, ids: std::ops::RangeInclusive<u32>| {
            for id in ids {
                let [.., b, c] = id.to_be_bytes();
                add(attempts, now, id, &format!("10.1.{b}.{c}:623"));
            }
        };
        flood(&mut attempts, 2..=10_000);
        add(&mut attempts, now, 1, "192.0.2.1:1");
        flood(&mut attempts, 10_001..=10_000 + u32::try_from(MAX).unwrap() - 1);
        assert!(has(&attempts, 1));
        flood(&mut attempts, 20_001..=20_001);
        assert!(!has(&attempts, 1), "the oldest, as all have one");
        assert_eq!(attempts.all.len(), MAX);
        // Who has more than the others makes room first.
        add(&mut attempts, now, 30_001, "192.0.2.1:1");
        add(&mut attempts, now, 30_002, "192.0.2.1:1");
        flood(&mut attempts, 40_000..=40_000);
        assert!(!has(&attempts, 30_001) && has(&attempts, 30_002));
        is_consistent(&attempts);
    }

    #[test]
    fn attempts_are_known_again_until_they_end() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut attempts = Attempts::<Any>::default();
        for id in 1..=3 {
            add(&mut attempts, start + Duration::from_secs(id.into()), id, "192.0.2.1:1");
        }
        let found = |attempts: &Attempts<Any>, id, peer: &str| {
            attempts.find(peer.parse().unwrap(), |any| any.id == id).is_some()
        };
        assert!(found(&attempts, 2, "192.0.2.1:1"));
        assert!(!found(&attempts, 2, "192.0.2.1:2"), "somebody else's");
        assert_eq!(attempts.next_expiry(), Some(start + Duration::from_secs(4)));
        attempts.expire(start + Duration::from_secs(5));
        assert!(!has(&attempts, 1) && !has(&attempts, 2) && has(&attempts, 3));
        is_consistent(&attempts);
        add(&mut attempts, start + Duration::from_secs(5), 4, "192.0.2.2:1");
        attempts.retain(|any| any.id != 4);
        assert!(!has(&attempts, 4) && has(&attempts, 3));
        is_consistent(&attempts);
        assert!(attempts.remove(3).is_some() && attempts.remove(3).is_none());
        assert_eq!((attempts.next_expiry(), attempts.all.len()), (None, 0));
        is_consistent(&attempts);
    }
}
