//! Datagrams from who has not logged in, and the conversations of who has, with mistakes.

use std::path::Path;

use qemu_bmc::bmc::event::Request;
use qemu_bmc::wire::rmcp::Datagram;
use qemu_bmc::wire::session::SessionPacket;

use crate::console::{Rig, checksum};
use crate::mutate::mutate;
use crate::{fuzz, vector_engine};

/// What is answered before login: NetFn, and command.
const ALLOWED: [(u8, u8); 5] =
    [(0x1C, 0x37), (0x1C, 0x38), (0x1C, 0x54), (0x1C, 0x39), (0x1C, 0x3A)];
/// Most that goes out for one datagram that came in before login.
const MAX_ANSWER_LEN: usize = 128;

/// What real clients have sent, by conversation.
pub(crate) fn conversations() -> Vec<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let hex = |line: &str| -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        (0..line.len()).step_by(2).map(byte).collect()
    };
    let read = |path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("> ")).map(hex).collect()
    };
    paths.into_iter().map(read).collect()
}

/// Makes lengths and checksums right again, so that what is behind them is reached.
fn mend(datagram: &mut [u8]) {
    let start = match datagram {
        [_, _, _, 7, 6, kind, ..] if *kind & 0x3F == 0 && datagram.len() > 16 => {
            let len = u16::try_from(datagram.len() - 16).unwrap_or(u16::MAX);
            datagram[14..16].copy_from_slice(&len.to_le_bytes());
            16
        }
        [_, _, _, 7, 6, ..] if datagram.len() > 16 => {
            let len = u16::try_from(datagram.len() - 16).unwrap_or(u16::MAX);
            datagram[14..16].copy_from_slice(&len.to_le_bytes());
            return;
        }
        [_, _, _, 7, 0, ..] if datagram.len() > 14 => {
            datagram[13] = u8::try_from(datagram.len() - 14).unwrap_or(u8::MAX);
            14
        }
        _ => return,
    };
    let message = &mut datagram[start..];
    if let [responder, net_fn, check, rest @ .., last] = message {
        *check = checksum(&[*responder, *net_fn]);
        *last = checksum(rest);
    }
}

/// An answer that goes to somebody who has not logged in.
fn is_allowed(answer: &[u8]) -> bool {
    match answer {
        // A pong.
        [6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x40, ..] => answer.len() == 28,
        [6, 0, 0xFF, 7, 6, 0x11 | 0x13 | 0x15, 0, 0, 0, 0, ..] => true,
        [6, 0, 0xFF, 7, 6, 0, 0, 0, 0, 0, ..] => allows(&answer[16..]),
        [6, 0, 0xFF, 7, 0, 0, 0, 0, 0, ..] => allows(&answer[14..]),
        _ => false,
    }
}

fn allows(message: &[u8]) -> bool {
    let [_, net_fn, _, _, _, command, code, ..] = message else { return false };
    // Activate Session with nobody's ID is told so, and no more.
    // The LUN is that of who asks.
    ALLOWED.contains(&(net_fn & 0xFC, *command)) && (*command != 0x3A || *code != 0)
}

#[test]
fn before_login() {
    let corpus: Vec<Vec<u8>> = conversations().into_iter().flatten().collect();
    assert!(corpus.len() > 100);
    fuzz("before_login", |random| {
        // Its session IDs are not those of the conversations.
        let mut rig = Rig::new();
        for _ in 0..32 {
            let mut datagram = random.pick(&corpus).clone();
            mutate(random, &mut datagram, &corpus, 700);
            if random.once_in(2) {
                mend(&mut datagram);
            }
            let answers = rig.exchange(&datagram);
            assert!(answers.len() <= 1, "{datagram:02x?}: {answers:02x?}");
            for answer in answers {
                assert!(is_allowed(&answer), "{datagram:02x?}: {answer:02x?}");
                assert!(answer.len() <= MAX_ANSWER_LEN, "{datagram:02x?}: {answer:02x?}");
            }
        }
        assert_eq!(rig.bmc.open_sessions(), 0);
        assert_eq!(rig.requests(), []);
        assert!(rig.bmc.sel().len() <= 16, "strangers fill the log");
    });
}

/// Power requests among all.
fn power(requests: &[Request]) -> usize {
    requests.iter().filter(|request| matches!(request, Request::Power(..))).count()
}

#[test]
fn conversations_gone_wrong() {
    let conversations = conversations();
    let all: Vec<Vec<u8>> = conversations.iter().flatten().cloned().collect();
    let asked: Vec<usize> = conversations
        .iter()
        .map(|conversation| {
            let mut rig = Rig { bmc: vector_engine::engine(), ..Rig::new() };
            conversation.iter().for_each(|datagram| drop(rig.exchange(datagram)));
            power(&rig.requests())
        })
        .collect();
    assert!(asked.iter().sum::<usize>() >= 3, "some of them switch power: {asked:?}");
    fuzz("conversations_gone_wrong", |random| {
        let index = random.below(conversations.len());
        // The seed is the one that they were captured with: logins succeed.
        let mut rig = Rig { bmc: vector_engine::engine(), ..Rig::new() };
        let mut packets = conversations[index].clone();
        for _ in 0..random.below(4) {
            let at = random.below(packets.len());
            match random.below(4) {
                0 => packets.swap(at, at.saturating_sub(1)),
                1 => packets.insert(at, packets[at].clone()),
                2 => {
                    let mut packet = packets[at].clone();
                    mutate(random, &mut packet, &all, 700);
                    packets.insert(at, packet);
                }
                _ => drop(packets.remove(at)),
            }
            if packets.is_empty() {
                return;
            }
        }
        // And all of it once more, as somebody may who has listened.
        packets.extend(packets.clone());
        for packet in packets {
            for answer in rig.exchange(&packet) {
                if answer[3] == 7 {
                    let Datagram::Ipmi(bytes) = Datagram::decode(&answer).unwrap() else {
                        panic!()
                    };
                    SessionPacket::decode(bytes).unwrap();
                } else {
                    assert!(is_allowed(&answer), "{answer:02x?}");
                }
            }
        }
        assert!(rig.bmc.open_sessions() <= 1);
        let done = power(&rig.requests());
        assert!(done <= asked[index], "{done} power requests of {}", asked[index]);
    });
}
