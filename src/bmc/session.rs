//! Sessions: the table, its limits and expiry, sequence windows (v2.0 sections 6.12 and 13.17 on).
//!
//! A session is keyed by its Managed System Session ID, a random number of ours; consoles use the
//! same IDs of theirs again and again. Half-open sessions have table shares of their own, so that
//! a flood of them takes no place from open ones: those whose console has heard an answer are here, the
//! others in [`Attempts`].

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::bmc::Core;
use crate::bmc::attempts::{Attempts, OpenSession, Opened};
use crate::bmc::crypto::{Exchange, Keys, V15Key};
use crate::value::Secret;
use crate::wire::code::{AuthType, Privilege};

/// How long an open session may be silent (v2.0 section 6.12.15: 60 s ± 3 s).
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long a session may take to be set up.
pub(super) const SETUP_LIMIT: Duration = Duration::from_secs(3);
/// How long the session that asked for a warm reset may take to close.
const CLOSING_LIMIT: Duration = Duration::from_secs(3);
/// Most sessions that are open at once: each has a handle of one byte, which is not 0.
pub(super) const MAX_OPEN: usize = 255;
/// How many of them only administrators can open.
const FOR_ADMINISTRATORS: usize = 16;
/// Most sessions at once whose set-up is not over, and whose console has heard an answer.
const MAX_HALF_OPEN: usize = 256;
/// How long the answer to a request is kept for its repetition.
const REPLY_LIMIT: Duration = Duration::from_secs(10);

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// Remote Console Session ID.
    pub(super) console_id: u32,
    /// Where the console was last heard from.
    pub(super) peer: SocketAddr,
    /// At which address of ours, if that is known.
    pub(super) at: Option<IpAddr>,
    /// How far it is.
    pub(super) stage: Stage,
    /// When it ends unless it is used.
    expiry: Instant,
    /// It ends then even if it is used.
    is_closing: bool,
}

/// How far a session is.
#[derive(Debug)]
pub(super) enum Stage {
    /// RAKP Message 2 was sent.
    Challenged(Box<Challenged>),
    /// RAKP Message 4 was sent.
    Open(Box<Open>),
}

/// A session that waits for RAKP Message 3.
#[derive(Debug)]
pub(super) struct Challenged {
    /// What Open Session has settled.
    pub(super) opened: Opened,
    /// What both sides know.
    pub(super) exchange: Exchange,
    /// User ID.
    pub(super) user: u8,
    /// The user's password as of now.
    pub(super) password: Secret,
    /// Highest privilege that was asked for and is granted.
    pub(super) limit: Privilege,
    /// RAKP Message 1 as it came, to know a repetition by.
    pub(super) request: Vec<u8>,
    /// RAKP Message 2 as sent.
    pub(super) response: Vec<u8>,
}

/// An open session.
#[derive(Debug)]
pub(super) struct Open {
    /// How its packets are authenticated and encrypted.
    pub(super) protection: Protection,
    /// User ID.
    pub(super) user: u8,
    /// The user's name when the session was opened, for the log.
    pub(super) user_name: String,
    /// How it was opened, for the log.
    pub(super) way: Way,
    /// Highest privilege of the session.
    pub(super) limit: Privilege,
    /// Privilege as of now.
    pub(super) privilege: Privilege,
    /// Sequence numbers seen.
    pub(super) window: Window,
    /// Last sequence number sent.
    pub(super) sent: u32,
    /// RAKP Message 3, or the message Activate Session, as it came, to know a repetition by.
    pub(super) request: Vec<u8>,
    /// RAKP Message 4, or the answer to Activate Session as a datagram, as sent.
    pub(super) response: Vec<u8>,
    /// The last answer to a command with an effect.
    pub(super) reply: Option<Reply>,
}

/// How a session was opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// IPMI 1.5.
    V15(AuthType),
    /// RMCP+ with this cipher suite.
    Suite(u8),
}

impl Display for Way {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::V15(auth_type) => write!(f, "IPMI-1.5-{auth_type:?}"),
            Self::Suite(number) => write!(f, "suite-{number}"),
        }
    }
}

/// How the packets of a session are authenticated and encrypted.
#[derive(Debug)]
pub(super) enum Protection {
    /// IPMI 1.5.
    V15(V15Key),
    /// RMCP+.
    V20(Box<Keys>),
}

/// What others may know of an open session (v2.0 section 22.20).
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    /// Session handle, 1–255.
    pub(super) handle: u8,
    /// User ID.
    pub(super) user: u8,
    /// Privilege as of now.
    pub(super) privilege: Privilege,
    /// RMCP+, not IPMI 1.5.
    pub(super) rmcp_plus: bool,
    /// Where the console was last heard from.
    pub(super) peer: SocketAddr,
}

impl Core {
    /// Session `id` is open: it gets the lowest free handle.
    pub(super) fn session_opened(&mut self, id: u32, peer: SocketAddr, open: &Open) {
        let mut taken = [false; 1 + u8::MAX as usize];
        self.open_sessions.values().for_each(|info| taken[usize::from(info.handle)] = true);
        let handle = (1..=u8::MAX).find(|handle| !taken[usize::from(*handle)]).unwrap_or(u8::MAX);
        let rmcp_plus = matches!(open.protection, Protection::V20(_));
        let (user, privilege) = (open.user, open.privilege);
        self.open_sessions.insert(id, Info { handle, user, privilege, rmcp_plus, peer });
    }
}

/// Whether there is room for one more session with this limit beside `open` others. The last ones are
/// for administrators, whom others could lock out otherwise.
#[must_use]
pub(super) fn has_room(open: usize, limit: Privilege) -> bool {
    let reserved = if limit < Privilege::ADMINISTRATOR { FOR_ADMINISTRATORS } else { 0 };
    open + reserved < MAX_OPEN
}

/// Which attempt at a session makes room for a new one: the oldest of the networks that have most of
/// them, so that a flood from one place displaces itself. Attempts are ID, console and when they end.
fn makes_room(attempts: impl Iterator<Item = (u32, SocketAddr, Instant)>) -> Option<u32> {
    let mut attempts: Vec<(IpAddr, Instant, u32)> =
        attempts.map(|(id, peer, expiry)| (network(peer.ip()), expiry, id)).collect();
    // By network, and the oldest of each first. A flood comes by here with each packet.
    attempts.sort_unstable();
    let networks = attempts.chunk_by(|(one, ..), (other, ..)| one == other);
    // No chunk is empty.
    let most = networks
        .max_by(|one, other| one.len().cmp(&other.len()).then_with(|| other[0].1.cmp(&one[0].1)))?;
    Some(most[0].2)
}

/// Whom an address belongs to: an IPv6 network of one owner has at least 64 bits of addresses.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// An answer that is kept, because a console that did not get it asks again, with the same request
/// sequence number in a packet with a new session sequence number.
#[derive(Debug)]
pub(super) struct Reply {
    at: Instant,
    request: Vec<u8>,
    /// Payload of the response.
    pub(super) response: Vec<u8>,
}

impl Reply {
    /// The response to `request`, a whole LAN message, as of `now`.
    #[must_use]
    pub(super) fn new(now: Instant, request: &[u8], response: &[u8]) -> Self {
        Self { at: now, request: request.to_vec(), response: response.to_vec() }
    }

    /// Whether `request` is the repetition of the one that this answered.
    #[must_use]
    pub(super) fn answers(&self, now: Instant, request: &[u8]) -> bool {
        self.request == request && now.saturating_duration_since(self.at) < REPLY_LIMIT
    }
}

impl Open {
    /// A session of IPMI 1.5.
    #[must_use]
    pub(super) fn is_v15(&self) -> bool {
        matches!(self.protection, Protection::V15(_))
    }

    /// The kept answer to `message`, if this is a repetition.
    #[must_use]
    pub(super) fn repeated(&self, now: Instant, message: &[u8]) -> Option<&[u8]> {
        let reply = self.reply.as_ref().filter(|reply| reply.answers(now, message))?;
        Some(&reply.response)
    }

    /// The next session sequence number to send; never 0, which means "outside a session".
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sent = self.sent.checked_add(1).unwrap_or(1);
        self.sent
    }
}

/// Which session sequence numbers were seen (v2.0 section 6.12.13).
///
/// Numbers ahead are taken however far: they are authenticated, and a console that lost a burst of
/// packets must not be deaf for it. Behind, the last 32 are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u32,
}

impl Window {
    /// The window of a console that has been told to begin with `first`: nothing before it counts.
    pub(super) fn before(first: u32) -> Self {
        Self { highest: first.wrapping_sub(1), seen: u32::MAX }
    }

    /// Takes note of `sequence`. Answers `false` if it was seen already, is too old, or is 0.
    pub(super) fn accept(&mut self, sequence: u32) -> bool {
        if sequence == 0 {
            return false;
        }
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead != 0 && ahead < 1 << 31 {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = sequence;
            return true;
        }
        let behind = self.highest.wrapping_sub(sequence);
        let Some(bit) = 1_u32.checked_shl(behind) else { return false };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// What may become sessions.
    pub(super) attempts: Attempts<OpenSession>,
    sessions: BTreeMap<u32, Session>,
    /// No session expires before this. A session that is used lives longer, so this may be early.
    next_expiry: Option<Instant>,
}

impl Table {
    /// The session with this Managed System Session ID.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// Whether there is a session or an attempt with this ID.
    #[must_use]
    pub(super) fn contains(&self, id: u32) -> bool {
        self.sessions.contains_key(&id) || self.attempts.get(id).is_some()
    }

    /// How many sessions are open.
    #[must_use]
    pub(super) fn open(&self) -> usize {
        self.sessions.values().filter(|session| session.is_open()).count()
    }

    /// The open sessions of a user, and those that are being set up.
    #[must_use]
    pub(super) fn of_user(&self, user: u8) -> Vec<u32> {
        let is_his = |session: &Session| match &session.stage {
            Stage::Challenged(challenged) => challenged.user == user,
            Stage::Open(open) => open.user == user,
        };
        self.sessions.iter().filter(|(_, session)| is_his(session)).map(|(id, _)| *id).collect()
    }

    /// RAKP Message 1 of session `id` was answered. If there are too many such, one of them makes room.
    pub(super) fn challenge(&mut self, id: u32, challenged: Challenged) {
        self.attempts.remove(id);
        let half_open = self.sessions.iter().filter(|(_, session)| !session.is_open());
        if !self.sessions.contains_key(&id) && half_open.clone().count() >= MAX_HALF_OPEN {
            let attempts = half_open.map(|(id, session)| (*id, session.peer, session.expiry));
            makes_room(attempts).and_then(|id| self.sessions.remove(&id));
        }
        let Opened { peer, console_id, expiry, .. } = challenged.opened;
        let stage = Stage::Challenged(Box::new(challenged));
        let (at, is_closing) = (None, false);
        self.sessions.insert(id, Session { console_id, peer, at, stage, expiry, is_closing });
        self.expires(expiry);
    }

    /// Adds a session that is open from the beginning, as of IPMI 1.5.
    pub(super) fn insert_open(&mut self, now: Instant, id: u32, peer: SocketAddr, open: Open) {
        let expiry = now + IDLE_LIMIT;
        let stage = Stage::Open(Box::new(open));
        let (at, is_closing) = (None, false);
        self.sessions.insert(id, Session { console_id: id, peer, at, stage, expiry, is_closing });
        self.expires(expiry);
    }

    fn expires(&mut self, expiry: Instant) {
        self.next_expiry = Some(self.next_expiry.map_or(expiry, |next| next.min(expiry)));
    }

    /// Ends all sessions, and answers them. The one that is spared ends soon, used or not.
    pub(super) fn take_all_but(
        &mut self,
        now: Instant,
        spared: Option<u32>,
    ) -> BTreeMap<u32, Session> {
        self.attempts = Attempts::default();
        let spared = spared.and_then(|id| Some((id, self.sessions.remove(&id)?)));
        let ended = std::mem::take(&mut self.sessions);
        self.next_expiry = None;
        if let Some((id, mut session)) = spared {
            session.expiry = now + CLOSING_LIMIT;
            session.is_closing = true;
            self.expires(session.expiry);
            self.sessions.insert(id, session);
        }
        ended
    }

    /// Ends a session.
    pub(super) fn remove(&mut self, id: u32) -> Option<Session> {
        self.sessions.remove(&id)
    }

    /// When [`Self::expire`] wants to be called.
    #[must_use]
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry.into_iter().chain(self.attempts.next_expiry()).min()
    }

    /// Ends sessions that have been silent for too long, and answers them.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(u32, Session)> {
        self.attempts.expire(now);
        if self.next_expiry.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let due: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.expiry <= now)
            .map(|(id, _)| *id)
            .collect();
        let ended = due.into_iter().filter_map(|id| Some((id, self.sessions.remove(&id)?)));
        let ended = ended.collect();
        self.next_expiry = self.sessions.values().map(|session| session.expiry).min();
        ended
    }
}

impl Session {
    /// The console has been let in.
    #[must_use]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// What an open session has.
    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.stage {
            Stage::Open(open) => Some(open),
            _ => None,
        }
    }

    /// An authentic packet came from `peer` to `at`.
    pub(super) fn touch(&mut self, now: Instant, peer: SocketAddr, at: Option<IpAddr>) {
        (self.peer, self.at) = (peer, at);
        if !self.is_closing {
            self.expiry = now + IDLE_LIMIT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_takes_each_number_once() {
        let mut window = Window::default();
        assert!(!window.accept(0));
        // ipmitool's first packet in a session has a number of 3 to 7.
        assert!(window.accept(5));
        assert!(!window.accept(5));
        assert!(window.accept(3), "late, but new");
        assert!(!window.accept(3));
        assert!(window.accept(40));
        assert!(window.accept(9), "31 behind");
        assert!(!window.accept(8), "32 behind");
        assert!(window.accept(1_000_000), "however far ahead");
        assert!(!window.accept(40));
    }

    #[test]
    fn window_wraps() {
        let mut window = Window::default();
        assert!(window.accept(0x7FFF_FFFF));
        assert!(window.accept(0xFFFF_FFFE));
        assert!(window.accept(1));
        assert!(window.accept(0xFFFF_FFFF));
        assert!(!window.accept(0xFFFF_FFFF));
    }

    #[test]
    fn window_of_a_console_that_was_told_where_to_begin() {
        let mut window = Window::before(1);
        assert!(window.accept(1), "exactly the first");
        let mut window = Window::before(100);
        assert!(!window.accept(99));
        assert!(window.accept(101));
        assert!(window.accept(100), "overtaken");
        assert!(!window.accept(100));
        assert!(!window.accept(99));
    }
}
