//! Serial-over-LAN, one instance: the state machine between console bytes and SOL packets (v2.0
//! sections 15.9–15.11).
//!
//! Stop and wait in both directions: one packet to the console is in flight until it is
//! acknowledged, and is sent again, for as long as the session lives, when no acknowledgement
//! comes. Characters are taken from the serial port's hub a few at a time; what waits, waits there.

mod outbound;
mod retry;

use std::time::{Duration, Instant};

use crate::bmc::event::Watch;
use crate::bmc::sol::outbound::Outbound;
use crate::wire::sol::{Inbound, OutboundHeader, operation, status};

/// Largest payload to the console: 4 header bytes and 255 characters, the most that the
/// accepted-character count can tell.
pub(super) const MAX_OUTBOUND: u16 = 259;
/// Largest payload from the console, as it is told. pyghmi takes it for a count of characters, sends the
/// header beside, and would never miss those that cannot be counted.
pub(super) const MAX_INBOUND: u16 = 255;
const MAX_CHARACTERS: usize = 255;
/// How long an acknowledgement waits for the serial port to take the characters, before they are
/// dropped, as a UART does that overruns. Until then, the console sends them again, and reads no key
/// meanwhile, not even that of its escape; ipmitool gives up after 4 s. To say that none were accepted
/// is no way out: what ipmitool sends again then, pyghmi does not; and of what is refused by a NACK,
/// it is the other way round.
const OVERRUN: Duration = Duration::from_secs(2);

/// What SOL's configuration says of packets (v2.0 section 26.3, parameters 3 and 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuning {
    /// How long characters wait for more.
    pub(super) accumulate: Duration,
    /// So many do not wait; 0: only a full packet does not.
    pub(super) threshold: usize,
    /// How often a packet is sent again at the pace of the round trip.
    pub(super) retries: u8,
    /// Longest time between these.
    pub(super) interval: Duration,
}

/// The SOL instance.
#[derive(Debug, Default)]
pub(super) struct Sol {
    active: Option<Active>,
    /// A last packet to a session that lost SOL to another one.
    farewell: Option<u32>,
    /// Counts activations: what was taken from the hub for an earlier one is not for this one.
    activation: u32,
    /// The hub is to be told that nobody watches any more.
    left: bool,
}

#[derive(Debug)]
struct Active {
    /// Managed System Session ID of the owner.
    session: u32,
    /// The owner wants its packets encrypted, if its session can do that.
    encrypted: bool,
    outbound: Outbound,
    /// Acknowledgement to send: sequence number and count.
    ack: Option<(u8, u8)>,
    /// The last packet with characters from the console: sequence number, count accepted, session
    /// sequence number.
    last: Option<(u8, u8, u32)>,
    /// Characters of that packet, which the serial port does not take now, and until when it may.
    kept_back: Option<(Vec<u8>, Instant)>,
    /// Since when the serial port has taken no characters that came for it.
    no_room_since: Option<Instant>,
    /// Session sequence number of the newest packet that acknowledged something.
    newest_ack: Option<u32>,
    /// Status bits for the next packet.
    status: u8,
    /// Start with the history; `None`: the hub knows of us.
    replay: Option<bool>,
    /// The hub was asked for characters, and has none yet.
    asked: bool,
    /// The hub will not have any more.
    over: bool,
}

/// What a packet from the console asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming<'a> {
    /// Characters for the serial port.
    pub(super) characters: &'a [u8],
    /// Send a break.
    pub(super) send_break: bool,
    /// Drop the characters that the serial port has not taken yet.
    pub(super) flush: bool,
}

impl Sol {
    /// The session that has SOL.
    #[must_use]
    pub(super) fn owner(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.session)
    }

    /// Nobody waits for characters that have come from the serial port, which will say no more.
    #[must_use]
    pub(super) fn is_delivered(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.over && active.outbound.is_empty())
    }

    /// The console waits for the serial port to take characters.
    #[must_use]
    pub(super) fn wants_room(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.kept_back.is_some())
    }

    /// The session that has SOL, and does not want it encrypted.
    #[must_use]
    pub(super) fn in_the_clear(&self) -> Option<u32> {
        self.active.as_ref().filter(|active| !active.encrypted).map(|active| active.session)
    }

    /// The owner wants its packets encrypted from now on, or not.
    pub(super) fn encrypt(&mut self, encrypted: bool) {
        if let Some(active) = &mut self.active {
            active.encrypted = encrypted;
        }
    }

    /// Gives SOL to `session`, which must have found it free. `replay`: the history comes first.
    pub(super) fn activate(&mut self, now: Instant, session: u32, tuning: Tuning, replay: bool) {
        self.activation = self.activation.wrapping_add(1);
        self.left = false;
        self.active = Some(Active {
            session,
            encrypted: true,
            outbound: Outbound::new(now, tuning),
            ack: None,
            last: None,
            kept_back: None,
            no_room_since: None,
            newest_ack: None,
            status: 0,
            replay: Some(replay),
            asked: false,
            over: false,
        });
    }

    /// The configuration has changed.
    pub(super) fn tune(&mut self, tuning: Tuning) {
        if let Some(active) = &mut self.active {
            active.outbound.tune(tuning);
        }
    }

    /// Ends SOL at the wish of `by`. If that is not the owner, the owner is told.
    pub(super) fn deactivate(&mut self, by: u32) {
        if let Some(active) = self.active.take() {
            self.left = true;
            if active.session != by {
                self.farewell = Some(active.session);
            }
        }
    }

    /// `session` is gone, and with it SOL if it had it.
    pub(super) fn session_ended(&mut self, session: u32) {
        if self.owner() == Some(session) {
            self.active = None;
            self.left = true;
        }
        if self.farewell == Some(session) {
            self.farewell = None;
        }
    }

    /// What the hub is to be told or asked.
    pub(super) fn poll_watch(&mut self) -> Option<Watch> {
        if std::mem::take(&mut self.left) {
            return Some(Watch::Leave);
        }
        let activation = self.activation;
        let active = self.active.as_mut()?;
        if active.asked || active.over || !active.outbound.wants_more() {
            return None;
        }
        active.asked = true;
        Some(match active.replay.take() {
            Some(replay) => Watch::Begin { activation, replay },
            None => Watch::More,
        })
    }

    /// Characters from the hub, for this activation; none: there will be no more. `lost`: some
    /// before them were skipped.
    pub(super) fn handle_console(
        &mut self,
        now: Instant,
        activation: u32,
        characters: &[u8],
        lost: bool,
    ) {
        let Some(active) = self.active.as_mut().filter(|_| activation == self.activation) else {
            return;
        };
        active.asked = false;
        active.over |= characters.is_empty();
        active.outbound.push(now, characters);
        if lost {
            active.status |= status::TRANSMIT_OVERRUN;
        }
    }

    /// A packet from `session` with this session sequence number. `room`: the serial port takes
    /// characters now.
    pub(super) fn handle_packet<'a>(
        &mut self,
        now: Instant,
        session: u32,
        session_sequence: u32,
        packet: &Inbound<'a>,
        room: bool,
    ) -> Incoming<'a> {
        let Some(active) = self.active.as_mut().filter(|active| active.session == session) else {
            return Incoming::default();
        };
        active.acknowledge(now, session_sequence, packet);
        match active.last {
            // A repetition that was overtaken by the packet after it: its characters are in.
            Some((_, _, last)) if is_older(session_sequence, last) => return Incoming::default(),
            Some((sequence, accepted, _)) if sequence == packet.sequence => {
                if active.kept_back.is_none() {
                    active.ack = Some((sequence, accepted));
                }
                return Incoming::default();
            }
            _ => {}
        }
        active.outbound.operate(packet.operation);
        let mut incoming = Incoming {
            characters: &[],
            send_break: packet.operation & operation::BREAK != 0,
            flush: packet.operation & operation::FLUSH_INBOUND != 0,
        };
        if packet.sequence == 0 {
            return incoming;
        }
        let characters = &packet.data[..packet.data.len().min(MAX_CHARACTERS)];
        let accepted = u8::try_from(characters.len()).unwrap_or(u8::MAX);
        active.last = Some((packet.sequence, accepted, session_sequence));
        if room {
            active.no_room_since = None;
        }
        if room || characters.is_empty() {
            active.kept_back = None;
            active.ack = Some((packet.sequence, accepted));
            incoming.characters = characters;
        } else if active.overruns(now) {
            active.kept_back = None;
            active.ack = Some((packet.sequence, accepted));
        } else {
            let since = *active.no_room_since.get_or_insert(now);
            active.kept_back = Some((characters.to_vec(), since + OVERRUN));
        }
        incoming
    }

    /// The serial port takes characters again: those that were kept back.
    pub(super) fn handle_room(&mut self) -> Option<Vec<u8>> {
        let active = self.active.as_mut()?;
        active.no_room_since = None;
        let (characters, _) = active.kept_back.take()?;
        active.ack = active.last.map(|(sequence, accepted, _)| (sequence, accepted));
        Some(characters)
    }

    /// The next payload to send and the session to send it to.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<(u32, Vec<u8>)> {
        if let Some(session) = self.farewell.take() {
            let header =
                OutboundHeader { sequence: 0, ack: 0, accepted: 0, status: status::DEACTIVATING };
            return Some((session, header.encode().to_vec()));
        }
        let active = self.active.as_mut()?;
        if active.kept_back.take_if(|(_, until)| now >= *until).is_some() {
            active.ack = active.last.map(|(sequence, accepted, _)| (sequence, accepted));
        }
        let sequence = active.outbound.poll(now);
        if sequence.is_none() && active.ack.is_none() {
            return None;
        }
        let (ack, accepted) = active.ack.take().unwrap_or_default();
        let status = std::mem::take(&mut active.status);
        let header =
            OutboundHeader { sequence: sequence.unwrap_or_default(), ack, accepted, status };
        let mut payload = Vec::with_capacity(usize::from(MAX_OUTBOUND));
        payload.extend_from_slice(&header.encode());
        if sequence.is_some() {
            active.outbound.copy_flight(&mut payload);
        }
        Some((active.session, payload))
    }

    /// When [`Self::poll_transmit`] has something to send, if nothing else happens.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let active = self.active.as_ref()?;
        let kept_back = active.kept_back.as_ref().map(|(_, until)| *until);
        [active.outbound.poll_timeout(), kept_back].into_iter().flatten().min()
    }
}

impl Active {
    /// There has been no room for too long.
    fn overruns(&self, now: Instant) -> bool {
        self.no_room_since.is_some_and(|since| now >= since + OVERRUN)
    }

    fn acknowledge(&mut self, now: Instant, session_sequence: u32, packet: &Inbound<'_>) {
        if packet.ack == 0
            || self.newest_ack.is_some_and(|newest| is_older(session_sequence, newest))
        {
            return;
        }
        self.newest_ack = Some(session_sequence);
        let refused = packet.operation & operation::NACK != 0;
        self.outbound.acknowledge(now, packet.ack, packet.accepted, refused);
    }
}

/// Whether session sequence number `a` was sent before `b`, over the wrap.
fn is_older(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > 1 << 31
}

#[cfg(test)]
mod tests;
