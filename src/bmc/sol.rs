//! Serial-over-LAN, one instance: the state machine between console bytes and SOL packets (v2.0
//! sections 15.9–15.11).
//!
//! Stop and wait in both directions: one packet to the console is in flight until it is
//! acknowledged, and is sent again, for as long as the session lives, when no acknowledgement
//! comes. Characters that arrive meanwhile wait in a bounded buffer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::sol::{Inbound, OutboundHeader, operation, status};

/// Largest payload in either direction: 4 header bytes and 255 characters, the most that the
/// accepted-character count can tell.
pub(super) const MAX_PAYLOAD: u16 = 259;
const MAX_CHARACTERS: usize = 255;
/// Characters that may wait for the console. When there are more, the oldest are lost, and the
/// next packet says so.
const OUTBOUND_LIMIT: usize = 1 << 20;
/// ipmitool takes any SOL packet for the answer to the request that it waits for; it has to be out
/// of Activate Payload's way before the first characters come.
const FIRST_DATA_DELAY: Duration = Duration::from_millis(60);
/// Retransmission timeout before a round trip has been measured.
const INITIAL_RTO: Duration = Duration::from_millis(200);
const MIN_RTO: Duration = Duration::from_millis(20);
const MAX_RTO: Duration = Duration::from_secs(1);

/// The SOL instance.
#[derive(Debug, Default)]
pub(super) struct Sol {
    active: Option<Active>,
    /// A last packet to a session that lost SOL to another one.
    farewell: Option<u32>,
}

#[derive(Debug)]
struct Active {
    /// Managed System Session ID of the owner.
    session: u32,
    /// Characters for the console; those in flight are the first.
    outbound: VecDeque<u8>,
    flight: Option<Flight>,
    /// Sequence number of the last packet sent, 1–15.
    sequence: u8,
    /// Nothing is sent before this.
    hold: Instant,
    /// The console asked for a pause (CTS).
    paused: bool,
    /// Acknowledgement to send: sequence number and count.
    ack: Option<(u8, u8)>,
    /// The last packet with characters from the console: sequence number, count accepted, session
    /// sequence number.
    last: Option<(u8, u8, u32)>,
    /// Session sequence number of the newest packet that acknowledged something.
    newest_ack: Option<u32>,
    /// Status bits for the next packet.
    status: u8,
    /// Smoothed round-trip time.
    round_trip: Option<Duration>,
}

#[derive(Debug)]
struct Flight {
    sequence: u8,
    len: usize,
    sent: Instant,
    tries: u32,
}

/// What a packet from the console asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming<'a> {
    /// Characters for the serial port.
    pub(super) characters: &'a [u8],
    /// Send a break.
    pub(super) send_break: bool,
}

impl Sol {
    /// The session that has SOL.
    #[must_use]
    pub(super) fn owner(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.session)
    }

    /// Nobody waits for characters that have come from the serial port.
    #[must_use]
    pub(super) fn is_delivered(&self) -> bool {
        self.active.as_ref().is_none_or(|active| active.outbound.is_empty())
    }

    /// Gives SOL to `session`, which must have found it free.
    pub(super) fn activate(&mut self, now: Instant, session: u32) {
        self.active = Some(Active {
            session,
            outbound: VecDeque::new(),
            flight: None,
            sequence: 0,
            hold: now + FIRST_DATA_DELAY,
            paused: false,
            ack: None,
            last: None,
            newest_ack: None,
            status: 0,
            round_trip: None,
        });
    }

    /// Ends SOL at the wish of `by`. If that is not the owner, the owner is told.
    pub(super) fn deactivate(&mut self, by: u32) {
        if let Some(active) = self.active.take()
            && active.session != by
        {
            self.farewell = Some(active.session);
        }
    }

    /// `session` is gone, and with it SOL if it had it.
    pub(super) fn session_ended(&mut self, session: u32) {
        if self.owner() == Some(session) {
            self.active = None;
        }
        if self.farewell == Some(session) {
            self.farewell = None;
        }
    }

    /// Characters from the serial port.
    pub(super) fn handle_console(&mut self, characters: &[u8]) {
        let Some(active) = &mut self.active else { return };
        active.outbound.extend(characters);
        let in_flight = active.flight.as_ref().map_or(0, |flight| flight.len);
        let excess = active.outbound.len().saturating_sub(OUTBOUND_LIMIT.max(in_flight));
        if excess > 0 {
            // What is in flight stays: a repetition must repeat it.
            active.outbound.drain(in_flight..in_flight + excess);
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
        let repeated = match active.last {
            // A repetition that was overtaken by the packet after it: its characters are in.
            Some((_, _, last)) if is_older(session_sequence, last) => {
                return Incoming::default();
            }
            Some((sequence, accepted, _)) if sequence == packet.sequence => {
                active.ack = Some((sequence, accepted));
                true
            }
            _ => false,
        };
        if repeated {
            return Incoming::default();
        }
        active.operate(packet.operation);
        let send_break = packet.operation & operation::BREAK != 0;
        if packet.sequence == 0 {
            return Incoming { characters: &[], send_break };
        }
        let count = if room { packet.data.len().min(MAX_CHARACTERS) } else { 0 };
        let accepted = u8::try_from(count).unwrap_or(u8::MAX);
        active.ack = Some((packet.sequence, accepted));
        active.last = Some((packet.sequence, accepted, session_sequence));
        Incoming { characters: &packet.data[..count], send_break }
    }

    /// The next payload to send and the session to send it to.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<(u32, Vec<u8>)> {
        if let Some(session) = self.farewell.take() {
            let header =
                OutboundHeader { sequence: 0, ack: 0, accepted: 0, status: status::DEACTIVATING };
            return Some((session, header.encode().to_vec()));
        }
        let active = self.active.as_mut()?;
        let session = active.session;
        let (sequence, len) = active.next_data(now);
        if sequence == 0 && active.ack.is_none() {
            return None;
        }
        let (ack, accepted) = active.ack.take().unwrap_or_default();
        let status = std::mem::take(&mut active.status);
        let header = OutboundHeader { sequence, ack, accepted, status };
        let mut payload = Vec::with_capacity(header.encode().len() + len);
        payload.extend_from_slice(&header.encode());
        payload.extend(active.outbound.iter().take(len));
        Some((session, payload))
    }

    /// When [`Self::poll_transmit`] has something to send, if nothing else happens.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let active = self.active.as_ref()?;
        match &active.flight {
            Some(flight) => Some(flight.sent + active.timeout(flight.tries)),
            None if active.outbound.is_empty() || active.paused => None,
            None => Some(active.hold),
        }
    }
}

impl Active {
    /// Sequence number and length of the data packet to send now; `(0, 0)` for none.
    fn next_data(&mut self, now: Instant) -> (u8, usize) {
        let timeout = self.flight.as_ref().map(|flight| self.timeout(flight.tries));
        match (&mut self.flight, timeout) {
            (Some(flight), Some(timeout)) => {
                if now < flight.sent + timeout {
                    return (0, 0);
                }
                flight.sent = now;
                flight.tries = flight.tries.saturating_add(1);
                (flight.sequence, flight.len)
            }
            _ => {
                if self.outbound.is_empty() || self.paused || now < self.hold {
                    return (0, 0);
                }
                self.sequence = self.sequence % 15 + 1;
                let len = self.outbound.len().min(MAX_CHARACTERS);
                self.flight = Some(Flight { sequence: self.sequence, len, sent: now, tries: 1 });
                (self.sequence, len)
            }
        }
    }

    /// How long to wait for an acknowledgement of the given try.
    fn timeout(&self, tries: u32) -> Duration {
        let base = self.round_trip.map_or(INITIAL_RTO, |round_trip| 4 * round_trip);
        let doublings = tries.saturating_sub(1).min(6);
        (base.max(MIN_RTO) * (1 << doublings)).min(MAX_RTO)
    }

    fn acknowledge(&mut self, now: Instant, session_sequence: u32, packet: &Inbound<'_>) {
        if packet.ack == 0
            || self.newest_ack.is_some_and(|newest| is_older(session_sequence, newest))
        {
            return;
        }
        self.newest_ack = Some(session_sequence);
        let Some(flight) = self.flight.take_if(|flight| flight.sequence == packet.ack) else {
            return;
        };
        let accepted = usize::from(packet.accepted).min(flight.len);
        self.outbound.drain(..accepted);
        if accepted < flight.len && (accepted == 0 || packet.operation & operation::NACK != 0) {
            // The console is full; the rest goes out as a new packet, but not at once.
            self.hold = now + MIN_RTO;
        }
        if flight.tries == 1 {
            let sample = now.saturating_duration_since(flight.sent);
            self.round_trip = Some(match self.round_trip {
                Some(round_trip) => (7 * round_trip + sample) / 8,
                None => sample,
            });
        }
    }

    fn operate(&mut self, bits: u8) {
        self.paused = bits & operation::CTS_PAUSE != 0;
        if bits & operation::FLUSH_OUTBOUND != 0 {
            let in_flight = self.flight.as_ref().map_or(0, |flight| flight.len);
            self.outbound.truncate(in_flight);
        }
    }
}

/// Whether session sequence number `a` was sent before `b`, over the wrap.
fn is_older(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > 1 << 31
}

#[cfg(test)]
mod tests;
