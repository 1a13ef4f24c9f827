//! Characters for the console: when they become a packet, and until when it is in flight.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::bmc::sol::retry::Retry;
use crate::bmc::sol::{MAX_CHARACTERS, Tuning};
use crate::wire::sol::operation;

/// With fewer characters than this, more are taken from the hub.
const LOW: usize = 2048;
/// ipmitool takes any SOL packet for the answer to the request that it waits for; it has to be out
/// of Activate Payload's way before the first characters come.
const FIRST_DATA_DELAY: Duration = Duration::from_millis(60);

#[derive(Debug)]
pub(super) struct Outbound {
    /// Those in flight are the first.
    characters: VecDeque<u8>,
    flight: Option<Flight>,
    /// Sequence number of the last packet sent, 1–15.
    sequence: u8,
    /// Since when the characters behind those in flight wait.
    since: Instant,
    /// Nothing is sent before this.
    hold: Instant,
    /// The console asked for a pause (CTS).
    paused: bool,
    /// The console takes nothing more, until it acknowledges something again.
    suspended: bool,
    tuning: Tuning,
    retry: Retry,
}

#[derive(Debug)]
struct Flight {
    sequence: u8,
    len: usize,
    /// For the last time.
    sent: Instant,
    tries: u32,
}

impl Outbound {
    pub(super) fn new(now: Instant, tuning: Tuning) -> Self {
        Self {
            characters: VecDeque::new(),
            flight: None,
            sequence: 0,
            since: now,
            hold: now + FIRST_DATA_DELAY,
            paused: false,
            suspended: false,
            tuning,
            retry: Retry::default(),
        }
    }

    pub(super) fn tune(&mut self, tuning: Tuning) {
        self.tuning = tuning;
    }

    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.characters.len()
    }

    #[must_use]
    pub(super) fn wants_more(&self) -> bool {
        self.characters.len() < LOW
    }

    pub(super) fn push(&mut self, now: Instant, characters: &[u8]) {
        if self.characters.len() == self.flight_len() {
            self.since = now;
        }
        self.characters.extend(characters);
    }

    /// The sequence number of the packet to send now, if there is one.
    pub(super) fn poll(&mut self, now: Instant) -> Option<u8> {
        if let Some(flight) = &mut self.flight {
            let Tuning { retries, interval, .. } = self.tuning;
            if now < flight.sent + self.retry.timeout(flight.tries, retries, interval) {
                return None;
            }
            flight.sent = now;
            flight.tries = flight.tries.saturating_add(1);
            self.retry.handle_timeout();
            return Some(flight.sequence);
        }
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        self.sequence = self.sequence % 15 + 1;
        let len = self.characters.len().min(MAX_CHARACTERS);
        self.flight = Some(Flight { sequence: self.sequence, len, sent: now, tries: 1 });
        self.since = now;
        Some(self.sequence)
    }

    /// Appends the characters in flight.
    pub(super) fn copy_flight(&self, payload: &mut Vec<u8>) {
        payload.extend(self.characters.range(..self.flight_len()));
    }

    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.flight {
            Some(flight) => {
                let Tuning { retries, interval, .. } = self.tuning;
                Some(flight.sent + self.retry.timeout(flight.tries, retries, interval))
            }
            None => self.due(),
        }
    }

    /// When a new packet is due, unless something is in flight.
    fn due(&self) -> Option<Instant> {
        let len = self.characters.len();
        if len == 0 || self.paused {
            return None;
        }
        let Tuning { accumulate, threshold, .. } = self.tuning;
        let enough = if threshold == 0 { MAX_CHARACTERS } else { threshold.min(MAX_CHARACTERS) };
        let waited = if len >= enough { self.since } else { self.since + accumulate };
        Some(self.hold.max(waited))
    }

    /// The console has `accepted` so many characters of the packet `sequence`; `refused`: and takes
    /// no more for now.
    pub(super) fn acknowledge(&mut self, now: Instant, sequence: u8, accepted: u8, refused: bool) {
        if !refused && std::mem::take(&mut self.suspended) {
            self.hold = now;
        }
        let Some(flight) = self.flight.take_if(|flight| flight.sequence == sequence) else {
            return;
        };
        let accepted = usize::from(accepted).min(flight.len);
        self.characters.drain(..accepted);
        if accepted < flight.len {
            // The rest goes out as a new packet, and has waited long enough for that. If nothing
            // fits at all, not at once: that would go round and round.
            self.since = now.checked_sub(self.tuning.accumulate).unwrap_or(now);
            if accepted == 0 || refused {
                self.suspended = true;
                self.hold = now + self.tuning.interval.max(Duration::from_millis(10));
            }
        }
        let age = now.saturating_duration_since(flight.sent);
        self.retry.handle_acknowledged(flight.tries, age);
    }

    /// The operation bits that are about these characters.
    pub(super) fn operate(&mut self, bits: u8) {
        self.paused = bits & operation::CTS_PAUSE != 0;
        if bits & operation::FLUSH_OUTBOUND != 0 {
            // What is in flight stays: a repetition must repeat it.
            self.characters.truncate(self.flight_len());
        }
    }

    fn flight_len(&self) -> usize {
        self.flight.as_ref().map_or(0, |flight| flight.len)
    }
}
