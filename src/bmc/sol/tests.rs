//! SOL against a console in memory, over a link that loses, doubles and reorders.

use std::collections::VecDeque;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::console::{From, Hub};
use crate::wire::sol::HEADER_LEN;

const SESSION: u32 = 7;
const MS: Duration = Duration::from_millis(1);
const FIRST_DATA_DELAY: Duration = Duration::from_millis(60);
const TUNING: Tuning = Tuning {
    accumulate: Duration::from_millis(5),
    threshold: 1,
    retries: 7,
    interval: Duration::from_millis(200),
};

fn start_with(tuning: Tuning) -> (Sol, Instant) {
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    let now = Instant::now();
    let mut sol = Sol::default();
    sol.activate(now, SESSION, tuning, false);
    assert_eq!(sol.poll_watch(), Some(Watch::Begin { activation: 1, replay: false }));
    assert_eq!(sol.poll_watch(), None, "once");
    (sol, now + FIRST_DATA_DELAY)
}

fn start() -> (Sol, Instant) {
    start_with(TUNING)
}

impl Sol {
    fn console(&mut self, now: Instant, characters: &[u8]) {
        self.handle_console(now, self.activation, characters, false);
    }
}

fn packet(sequence: u8, ack: u8, accepted: u8, data: &[u8]) -> Inbound<'_> {
    Inbound { sequence, ack, accepted, operation: 0, data }
}

#[test]
fn nothing_comes_right_after_activation() {
    let (mut sol, now) = start();
    sol.console(now - FIRST_DATA_DELAY, b"boot");
    assert_eq!(sol.poll_transmit(now - FIRST_DATA_DELAY), None);
    assert_eq!(sol.poll_timeout(), Some(now));
    let (_, payload) = sol.poll_transmit(now).unwrap();
    assert_eq!(payload, [&[1, 0, 0, 0], &b"boot"[..]].concat());
}

#[test]
fn unacknowledged_data_is_sent_again_and_again() {
    let (mut sol, mut now) = start();
    sol.console(now, b"x");
    let (_, first) = sol.poll_transmit(now).unwrap();
    for _ in 0..100 {
        assert_eq!(sol.poll_transmit(now), None);
        now = sol.poll_timeout().unwrap();
        let (_, again) = sol.poll_transmit(now).unwrap();
        assert_eq!(again, first);
    }
    sol.handle_packet(now, SESSION, 1, &packet(0, 1, 1, b""), true);
    assert_eq!(sol.poll_timeout(), None);
}

#[test]
fn a_partial_acknowledgement_leaves_the_rest_for_a_new_packet() {
    let (mut sol, now) = start();
    sol.console(now, b"abcdef");
    sol.poll_transmit(now).unwrap();
    sol.handle_packet(now, SESSION, 1, &packet(0, 1, 2, b""), true);
    let (_, payload) = sol.poll_transmit(now).unwrap();
    assert_eq!(payload, b"\x02\0\0\0cdef");
}

#[test]
fn an_acknowledgement_that_was_overtaken_is_not_taken_for_a_newer_one() {
    let (mut sol, now) = start();
    for sequence in 1..=15 {
        sol.console(now, b"x");
        sol.poll_transmit(now).unwrap();
        let acknowledgement = packet(sequence, sequence, 1, b"");
        sol.handle_packet(now, SESSION, 100 + u32::from(sequence), &acknowledgement, true);
        sol.poll_transmit(now);
    }
    sol.console(now, b"new");
    let (_, payload) = sol.poll_transmit(now).unwrap();
    assert_eq!(payload[0], 1, "the numbers begin again");
    sol.handle_packet(now, SESSION, 99, &packet(0, 1, 1, b""), true);
    assert!(sol.poll_timeout().is_some(), "still waiting");
    sol.handle_packet(now, SESSION, 116, &packet(0, 1, 3, b""), true);
    assert_eq!(sol.poll_timeout(), None);
}

#[test]
fn key_strokes_are_acknowledged_and_repetitions_are_not_typed_twice() {
    let (mut sol, now) = start();
    let ls = packet(1, 0, 0, b"ls");
    assert_eq!(sol.handle_packet(now, SESSION, 1, &ls, true).characters, b"ls");
    assert_eq!(sol.poll_transmit(now), Some((SESSION, vec![0, 1, 2, 0])));
    assert_eq!(sol.handle_packet(now, SESSION, 2, &ls, true).characters, b"");
    assert_eq!(sol.poll_transmit(now), Some((SESSION, vec![0, 1, 2, 0])));
    let newline = packet(2, 0, 0, b"\r");
    assert_eq!(sol.handle_packet(now, SESSION, 4, &newline, true).characters, b"\r");
    assert_eq!(sol.handle_packet(now, SESSION, 3, &ls, true).characters, b"", "overtaken");
}

#[test]
fn without_room_an_acknowledgement_waits_for_it() {
    let (mut sol, now) = start();
    assert_eq!(sol.handle_packet(now, SESSION, 1, &packet(1, 0, 0, b"ls"), false).characters, b"");
    assert!(sol.wants_room());
    assert_eq!(sol.poll_transmit(now), None);
    let again = sol.handle_packet(now, SESSION, 2, &packet(1, 0, 0, b"ls"), false);
    assert_eq!((again.characters, sol.poll_transmit(now)), (&b""[..], None));
    assert_eq!(sol.handle_room(), Some(b"ls".to_vec()));
    assert_eq!(sol.handle_room(), None, "once");
    assert_eq!(sol.poll_transmit(now), Some((SESSION, vec![0, 1, 2, 0])));
}

#[test]
fn without_room_for_too_long_characters_are_dropped_and_the_console_goes_on() {
    let (mut sol, begin) = start();
    sol.handle_packet(begin, SESSION, 1, &packet(1, 0, 0, b"~"), false);
    // Repeated, as all clients do it; none of them understands that nothing was accepted.
    for number in 2..5 {
        let now = begin + OVERRUN * (number - 1) / 4;
        sol.handle_packet(now, SESSION, number, &packet(1, 0, 0, b"~"), false);
        assert_eq!(sol.poll_transmit(now), None);
    }
    assert_eq!(sol.poll_timeout(), Some(begin + OVERRUN));
    let now = begin + OVERRUN;
    assert_eq!(sol.poll_transmit(now), Some((SESSION, vec![0, 1, 1, 0])));
    assert!(!sol.wants_room(), "dropped");
    let mut typed = |number: u32, room| {
        let sequence = u8::try_from(number).unwrap();
        let packet = packet(sequence, 0, 0, b"~");
        let taken = sol.handle_packet(now, SESSION, 10 + number, &packet, room).characters.len();
        (taken, sol.poll_transmit(now).map(|(_, payload)| payload[1..3].to_vec()))
    };
    assert_eq!(typed(2, false), (0, Some(vec![2, 1])), "at once");
    assert_eq!(typed(3, true), (1, Some(vec![3, 1])), "there is room again");
    assert_eq!(typed(4, false), (0, None), "and then it is waited for again");
}

#[test]
fn characters_wait_for_the_threshold_or_the_interval() {
    let (mut sol, now) = start_with(Tuning { accumulate: 50 * MS, threshold: 4, ..TUNING });
    sol.console(now, b"abc");
    assert_eq!(sol.poll_transmit(now), None);
    assert_eq!(sol.poll_timeout(), Some(now + 50 * MS));
    sol.console(now + MS, b"d");
    assert_eq!(sol.poll_transmit(now + MS).unwrap().1, b"\x01\0\0\0abcd");
    sol.console(now + 2 * MS, b"e");
    sol.handle_packet(now + 2 * MS, SESSION, 1, &packet(0, 1, 4, b""), true);
    assert_eq!(sol.poll_transmit(now + 2 * MS), None);
    assert_eq!(sol.poll_transmit(sol.poll_timeout().unwrap()).unwrap().1, b"\x02\0\0\0e");
}

#[test]
fn a_nack_suspends_until_an_acknowledgement() {
    let (mut sol, now) = start();
    sol.console(now, b"abc");
    sol.poll_transmit(now).unwrap();
    let nack = Inbound { operation: operation::NACK, ..packet(0, 1, 1, b"") };
    sol.handle_packet(now, SESSION, 1, &nack, true);
    assert_eq!(sol.poll_transmit(now), None);
    let resume = packet(0, 1, 1, b"");
    sol.handle_packet(now + MS, SESSION, 2, &resume, true);
    assert_eq!(sol.poll_transmit(now + MS).unwrap().1, b"\x02\0\0\0bc");
}

#[test]
fn a_pause_and_the_flushes_are_heeded() {
    let (mut sol, now) = start();
    let operate = |operation| Inbound { operation, ..packet(0, 0, 0, b"") };
    sol.handle_packet(now, SESSION, 1, &operate(operation::CTS_PAUSE), true);
    sol.console(now, b"old");
    assert_eq!((sol.poll_transmit(now), sol.poll_timeout()), (None, None));
    sol.handle_packet(
        now,
        SESSION,
        2,
        &operate(operation::CTS_PAUSE | operation::FLUSH_OUTBOUND),
        true,
    );
    sol.console(now, b"new");
    let flush = operate(operation::FLUSH_INBOUND);
    assert!(sol.handle_packet(now, SESSION, 3, &flush, true).flush);
    assert_eq!(sol.poll_transmit(now).unwrap().1, b"\x01\0\0\0new");
}

#[test]
fn the_hub_is_asked_for_more_while_little_is_there_and_told_of_the_end() {
    let (mut sol, now) = start();
    sol.console(now, b"some");
    assert_eq!(sol.poll_watch(), Some(Watch::More));
    sol.console(now, &[b'.'; 4096]);
    assert_eq!(sol.poll_watch(), None, "enough");
    sol.deactivate(SESSION);
    assert_eq!(sol.poll_watch(), Some(Watch::Leave));
    assert_eq!(sol.poll_watch(), None);
    sol.activate(now, SESSION, TUNING, true);
    assert_eq!(sol.poll_watch(), Some(Watch::Begin { activation: 2, replay: true }));
    sol.handle_console(now, 1, b"of the one before", false);
    assert!(sol.active.as_ref().unwrap().outbound.is_empty());
    assert!(!sol.is_delivered(), "there may be more");
    sol.console(now, b"");
    assert!(sol.is_delivered());
    assert_eq!(sol.poll_watch(), None, "there is no more");
}

#[test]
fn only_the_owner_is_heard_and_it_is_told_when_it_loses_sol() {
    let (mut sol, now) = start();
    assert_eq!(sol.handle_packet(now, 8, 1, &packet(1, 0, 0, b"x"), true), Incoming::default());
    sol.deactivate(8);
    assert_eq!(sol.poll_transmit(now), Some((SESSION, vec![0, 0, 0, status::DEACTIVATING])));
    assert_eq!(sol.owner(), None);
    sol.activate(now, SESSION, TUNING, false);
    sol.deactivate(SESSION);
    assert_eq!(sol.poll_transmit(now), None);
}

#[test]
fn break_is_sent_once() {
    let (mut sol, now) = start();
    let mut packet = packet(1, 0, 0, b"");
    packet.operation = operation::BREAK;
    assert!(sol.handle_packet(now, SESSION, 1, &packet, true).send_break);
    assert!(!sol.handle_packet(now, SESSION, 2, &packet, true).send_break);
}

#[test]
fn what_was_skipped_is_told() {
    let (mut sol, now) = start();
    sol.console(now, b"first");
    let (_, first) = sol.poll_transmit(now).unwrap();
    sol.handle_console(now, 1, b"last", true);
    let (_, again) = sol.poll_transmit(sol.poll_timeout().unwrap()).unwrap();
    assert_eq!(
        again[HEADER_LEN..],
        first[HEADER_LEN..],
        "what was in flight is repeated as it was"
    );
    assert_eq!(again[3], status::TRANSMIT_OVERRUN);
}

/// After this, the console sends again.
const RESEND: Duration = Duration::from_millis(100);

/// A console as ipmitool is one: acknowledges all it gets, shows a sequence number once, sends one
/// packet at a time until it is acknowledged.
struct Console {
    shown: Vec<u8>,
    last: u8,
    to_send: VecDeque<u8>,
    flight: Option<(u8, Vec<u8>, Instant)>,
    sequence: u8,
    ack: Option<(u8, u8)>,
}

impl Console {
    fn receive(&mut self, payload: &[u8]) {
        let [sequence, ack, accepted, _status, data @ ..] = payload else { panic!() };
        if self.flight.as_ref().is_some_and(|(sequence, ..)| sequence == ack) {
            let (_, sent, _) = self.flight.take().unwrap();
            for byte in sent[usize::from(*accepted)..].iter().rev() {
                self.to_send.push_front(*byte);
            }
        }
        if *sequence != 0 {
            if *sequence != self.last {
                self.shown.extend(data);
                self.last = *sequence;
            }
            self.ack = Some((*sequence, u8::try_from(data.len()).unwrap()));
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (ack, accepted) = self.ack.take().unwrap_or_default();
        let (sequence, data) = match &mut self.flight {
            Some((sequence, data, sent)) if now >= *sent + RESEND => {
                *sent = now;
                (*sequence, data.clone())
            }
            Some(_) => (0, Vec::new()),
            None if self.to_send.is_empty() => (0, Vec::new()),
            None => {
                self.sequence = self.sequence % 15 + 1;
                let len = self.to_send.len().min(200);
                let data: Vec<u8> = self.to_send.drain(..len).collect();
                self.flight = Some((self.sequence, data.clone(), now));
                (self.sequence, data)
            }
        };
        let idle = sequence == 0 && ack == 0;
        (!idle).then(|| [vec![sequence, ack, accepted, 0], data].concat())
    }
}

/// A link that loses, doubles and delays, each packet by itself.
struct Link {
    state: u64,
    /// In percent.
    loss: u64,
    /// Longest delay.
    delay: u64,
    /// Count of packets sent, and those under way: when they arrive, their number, what they are.
    sent: u32,
    way: Vec<(Instant, u32, Vec<u8>)>,
    lost: usize,
}

impl Link {
    fn new(seed: u64, loss: u64, delay: u64) -> Self {
        Self { state: seed, loss, delay, sent: 0, way: Vec::new(), lost: 0 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) % below
    }

    fn send(&mut self, now: Instant, payload: &[u8]) {
        self.sent += 1;
        for _ in 0..1 + u64::from(self.random(100) < 10) {
            if self.random(100) < self.loss {
                self.lost += 1;
            } else {
                let at = now + Duration::from_micros(self.random(1000 * self.delay));
                self.way.push((at, self.sent, payload.to_vec()));
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.way.iter().map(|(at, ..)| *at).min()
    }

    fn arrived(&mut self, now: Instant) -> Vec<(u32, Vec<u8>)> {
        self.way.sort_by_key(|(at, ..)| *at);
        self.way
            .extract_if(.., |(at, ..)| *at <= now)
            .map(|(_, number, payload)| (number, payload))
            .collect()
    }
}

fn noise(len: usize, factor: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from(((index * factor) ^ (index >> 8)) % 251).unwrap()).collect()
}

/// Sends so many bytes each way: what has arrived, and what was lost of it on the way.
fn exchange(
    out: &[u8],
    typed: &[u8],
    seed: u64,
    loss: u64,
    delay: u64,
) -> (Vec<u8>, Vec<u8>, usize) {
    let (mut sol, mut now) = start();
    let mut console = Console {
        shown: Vec::new(),
        last: 0,
        to_send: typed.iter().copied().collect(),
        flight: None,
        sequence: 0,
        ack: None,
    };
    let (mut down, mut up) = (Link::new(seed, loss, delay), Link::new(!seed, loss, delay));
    let (mut highest_down, mut seen_up) = (0, std::collections::BTreeSet::new());
    let mut hub = Hub::new(0);
    let viewer = hub.attach(From::Now);
    let mut waits = true;
    let (mut remaining, mut received) = (out, Vec::new());
    for _ in 0..2_000_000 {
        if console.shown.len() == out.len() && received.len() == typed.len() {
            break;
        }
        // The guest talks whenever the hub has less than a little.
        if hub.behind(viewer) < 4096 {
            let chunk = remaining.len().min(usize::try_from(down.random(3000)).unwrap());
            hub.push(&remaining[..chunk]);
            remaining = &remaining[chunk..];
        }
        if waits && let Some(chunk) = hub.take(viewer, 4096) {
            waits = false;
            sol.console(now, &chunk.bytes);
        }
        if let Some(watch) = sol.poll_watch() {
            assert_eq!(watch, Watch::More);
            waits = true;
        }
        assert!(sol.active.as_ref().unwrap().outbound.len() < 8192, "bounded");
        while let Some((_, payload)) = sol.poll_transmit(now) {
            down.send(now, &payload);
        }
        while let Some(payload) = console.transmit(now) {
            up.send(now, &payload);
        }
        for (number, payload) in down.arrived(now) {
            // The session layer of the console drops what is old.
            if number > highest_down {
                highest_down = number;
                console.receive(&payload);
            }
        }
        for (number, payload) in up.arrived(now) {
            // Ours takes every number once, in any order.
            if !seen_up.insert(number) {
                continue;
            }
            let room = up.random(10) > 0;
            let packet = Inbound::decode(&payload).unwrap();
            received.extend(sol.handle_packet(now, SESSION, number, &packet, room).characters);
        }
        if sol.wants_room() && up.random(2) == 0 {
            received.extend(sol.handle_room().unwrap());
        }
        let resend = console.flight.as_ref().map(|(.., sent)| *sent + RESEND);
        let soonest = [sol.poll_timeout(), down.next(), up.next(), resend];
        // Whatever comes next, but not the same moment again and again.
        let next = soonest.into_iter().flatten().min().unwrap_or(now);
        now = next.max(now + Duration::from_micros(10));
    }
    (console.shown, received, down.lost + up.lost)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the link does, both directions arrive whole, once and in order.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(
        seed in any::<u64>(),
        out_len in 0_usize..20_000,
        in_len in 0_usize..5_000,
        loss in 0_u64..40,
        delay in 1_u64..60,
    ) {
        let (sent, typed) = (noise(out_len, 7), noise(in_len, 11));
        let (shown, received, _) = exchange(&sent, &typed, seed, loss, delay);
        prop_assert!(shown == sent, "to the console: {} of {}", shown.len(), sent.len());
        prop_assert!(received == typed, "from the console: {} of {}", received.len(), typed.len());
    }
}

#[test]
fn a_mebibyte_each_way_arrives_over_a_link_that_loses_three_of_ten() {
    let (sent, typed) = (noise(1 << 20, 7), noise(1 << 20, 11));
    let (shown, received, lost) = exchange(&sent, &typed, 1, 30, 5);
    assert!(lost > 2000, "it was not bad enough: {lost}");
    assert_eq!((shown.len(), received.len()), (sent.len(), typed.len()));
    assert_eq!(Sha256::digest(shown), Sha256::digest(sent));
    assert_eq!(Sha256::digest(received), Sha256::digest(typed));
}
