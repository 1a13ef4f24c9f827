//! SOL against a console in memory, over a link that loses, doubles and reorders.

use proptest::prelude::*;

use super::*;
use crate::wire::sol::HEADER_LEN;

const SESSION: u32 = 7;

fn start() -> (Sol, Instant) {
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    let now = Instant::now();
    let mut sol = Sol::default();
    sol.activate(now, SESSION);
    (sol, now + FIRST_DATA_DELAY)
}

fn packet(sequence: u8, ack: u8, accepted: u8, data: &[u8]) -> Inbound<'_> {
    Inbound { sequence, ack, accepted, operation: 0, data }
}

#[test]
fn nothing_comes_right_after_activation() {
    let (mut sol, now) = start();
    sol.handle_console(b"boot");
    assert_eq!(sol.poll_transmit(now - FIRST_DATA_DELAY), None);
    assert_eq!(sol.poll_timeout(), Some(now));
    let (_, payload) = sol.poll_transmit(now).unwrap();
    assert_eq!(payload, [&[1, 0, 0, 0], &b"boot"[..]].concat());
}

#[test]
fn unacknowledged_data_is_sent_again_and_again() {
    let (mut sol, mut now) = start();
    sol.handle_console(b"x");
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
    sol.handle_console(b"abcdef");
    sol.poll_transmit(now).unwrap();
    sol.handle_packet(now, SESSION, 1, &packet(0, 1, 2, b""), true);
    let (_, payload) = sol.poll_transmit(now).unwrap();
    assert_eq!(payload, b"\x02\0\0\0cdef");
}

#[test]
fn an_acknowledgement_that_was_overtaken_is_not_taken_for_a_newer_one() {
    let (mut sol, now) = start();
    for sequence in 1..=15 {
        sol.handle_console(b"x");
        sol.poll_transmit(now).unwrap();
        let acknowledgement = packet(sequence, sequence, 1, b"");
        sol.handle_packet(now, SESSION, 100 + u32::from(sequence), &acknowledgement, true);
        sol.poll_transmit(now);
    }
    sol.handle_console(b"new");
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
fn without_room_nothing_is_accepted_and_nothing_is_lost() {
    let (mut sol, now) = start();
    assert_eq!(sol.handle_packet(now, SESSION, 1, &packet(1, 0, 0, b"ls"), false).characters, b"");
    assert_eq!(sol.poll_transmit(now), Some((SESSION, vec![0, 1, 0, 0])));
    // ipmitool sends the rest with a new sequence number.
    assert_eq!(sol.handle_packet(now, SESSION, 2, &packet(2, 0, 0, b"ls"), true).characters, b"ls");
}

#[test]
fn only_the_owner_is_heard_and_it_is_told_when_it_loses_sol() {
    let (mut sol, now) = start();
    assert_eq!(sol.handle_packet(now, 8, 1, &packet(1, 0, 0, b"x"), true), Incoming::default());
    sol.deactivate(8);
    assert_eq!(sol.poll_transmit(now), Some((SESSION, vec![0, 0, 0, status::DEACTIVATING])));
    assert_eq!(sol.owner(), None);
    sol.activate(now, SESSION);
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
fn a_console_that_does_not_read_costs_bounded_memory() {
    let (mut sol, now) = start();
    sol.handle_console(b"first");
    sol.poll_transmit(now).unwrap();
    for _ in 0..3 * OUTBOUND_LIMIT / 4096 {
        sol.handle_console(&[b'.'; 4096]);
    }
    sol.handle_console(b"last");
    assert!(sol.active.as_ref().unwrap().outbound.len() <= OUTBOUND_LIMIT);
    let now = sol.poll_timeout().unwrap();
    let (_, again) = sol.poll_transmit(now).unwrap();
    assert_eq!(&again[HEADER_LEN..], b"first", "what was in flight is repeated as it was");
    assert_eq!(again[3], status::TRANSMIT_OVERRUN);
}

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
        let resend = Duration::from_millis(100);
        let (sequence, data) = match &mut self.flight {
            Some((sequence, data, sent)) if now >= *sent + resend => {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the link does, both directions arrive whole, once and in order.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(
        seed in any::<u64>(),
        out_len in 0_usize..20_000,
        in_len in 0_usize..5_000,
        loss in 0_u64..40,
    ) {
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let (mut sol, mut now) = start();
        let sent: Vec<u8> = (0..out_len).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect();
        let typed: Vec<u8> = (0..in_len).map(|index| u8::try_from(index * 11 % 241).unwrap()).collect();
        let mut console = Console {
            shown: Vec::new(),
            last: 0,
            to_send: typed.iter().copied().collect(),
            flight: None,
            sequence: 0,
            ack: None,
        };
        let mut received: Vec<u8> = Vec::new();
        let mut remaining = &sent[..];
        let mut down: Vec<(Instant, Vec<u8>)> = Vec::new();
        let mut up: Vec<(Instant, u32, Vec<u8>)> = Vec::new();
        let mut session_sequence = 0;
        let mut highest_down = 0;
        let mut down_sequence = 0;
        let mut windows: Vec<u32> = Vec::new();
        for _ in 0..200_000 {
            if console.shown.len() == sent.len() && received.len() == typed.len() {
                break;
            }
            now += Duration::from_millis(1);
            let chunk = remaining.len().min(usize::try_from(random(600)).unwrap());
            sol.handle_console(&remaining[..chunk]);
            remaining = &remaining[chunk..];
            while let Some((_, payload)) = sol.poll_transmit(now) {
                down_sequence += 1;
                for _ in 0..1 + u64::from(random(100) < 10) {
                    if random(100) >= loss {
                        let mut stamped = down_sequence.to_string().into_bytes();
                        stamped.push(b':');
                        stamped.extend(&payload);
                        down.push((now + Duration::from_millis(random(30)), stamped));
                    }
                }
            }
            while let Some(payload) = console.transmit(now) {
                session_sequence += 1;
                for _ in 0..1 + u64::from(random(100) < 10) {
                    if random(100) >= loss {
                        let at = now + Duration::from_millis(random(30));
                        up.push((at, session_sequence, payload.clone()));
                    }
                }
            }
            let due: Vec<Vec<u8>> =
                down.extract_if(.., |(at, _)| *at <= now).map(|(_, payload)| payload).collect();
            for stamped in due {
                let colon = stamped.iter().position(|byte| *byte == b':').unwrap();
                let sequence: u32 =
                    std::str::from_utf8(&stamped[..colon]).unwrap().parse().unwrap();
                // The session layer of the console drops what is old.
                if sequence > highest_down {
                    highest_down = sequence;
                    console.receive(&stamped[colon + 1..]);
                }
            }
            let due: Vec<(u32, Vec<u8>)> = up
                .extract_if(.., |(at, ..)| *at <= now)
                .map(|(_, sequence, payload)| (sequence, payload))
                .collect();
            for (sequence, payload) in due {
                // Ours takes every number once, in any order.
                if windows.contains(&sequence) {
                    continue;
                }
                windows.push(sequence);
                let room = random(10) > 0;
                let packet = Inbound::decode(&payload).unwrap();
                let incoming = sol.handle_packet(now, SESSION, sequence, &packet, room);
                received.extend(incoming.characters);
            }
        }
        prop_assert!(console.shown == sent, "to the console: {} of {}", console.shown.len(), sent.len());
        prop_assert!(received == typed, "from the console: {} of {}", received.len(), typed.len());
    }
}
