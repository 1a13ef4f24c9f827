//! What a user sends within a session, and what the machine says on its system interface: all with right
//! keys, and nothing else right.

use std::time::Duration;

use qemu_bmc::bmc::event::Request;
use qemu_bmc::bmc::{Bmc, commands};
use qemu_bmc::machine::{Event, StartCause, Status};

use crate::console::{Rig, Session, admin, checksum, config, message};
use crate::fuzz;
use crate::mutate::{Random, mutate};

/// Most that is saved: a full SEL, SDR and FRU, and some room.
const MAX_SAVED_LEN: usize = 4 << 20;

/// Data that commands may understand.
fn corpus() -> Vec<Vec<u8>> {
    let mut data: Vec<Vec<u8>> = [
        &[][..],
        &[0],
        &[1],
        &[1, 1],
        &[1, 1, 0xC0, 0, 0, 0],
        &[2, 2, b'p', b'a', b's', b's'],
        &[5, 0x80, 0x04, 0, 0, 0],
        &[0x0E, 0x04],
        &[0, 0, 0, 0, 0, 0xFF],
        &[0x44, 4, 1, 0x32, 10, 0],
        &[1, 24, 0, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44],
        &[0xDC, 1, 0, 16],
    ]
    .map(<[u8]>::to_vec)
    .into();
    data.push(vec![2; 22]);
    data.push((0..=255).collect());
    data
}

/// A machine that is on, and an administrator's session.
fn start() -> (Rig, Session) {
    let mut rig = Rig::new();
    let now = rig.now;
    rig.bmc.handle_clock(now, 1_700_000_000);
    rig.bmc.handle_machine(now, Status::ON, &Event::Started(StartCause::PowerOn));
    let mut session = admin(&mut rig);
    assert_eq!(session.command(&mut rig, 0x06, 0x3B, &[4]).0, 0);
    (rig, session)
}

fn is_legal(code: u8) -> bool {
    matches!(code, 0x00 | 0x80..=0xBE | 0xC0..=0xD6 | 0xFF)
}

/// Whatever was said to it, it is bounded, and the next one understands what it saves.
fn is_sane(bmc: &mut Bmc) {
    assert!(bmc.sel().len() <= 1024);
    let _ = bmc.differences();
    if let Some(saved) = bmc.poll_save() {
        assert!(saved.len() <= MAX_SAVED_LEN, "{} bytes are saved", saved.len());
        let mut next = Bmc::new(config(), [8; 32]);
        next.restore(&saved).unwrap();
        let _ = next.differences();
    }
}

#[test]
fn in_session() {
    let corpus = corpus();
    let commands = commands();
    fuzz("in_session", |random| {
        let (mut rig, mut session) = start();
        for number in 0..64_u8 {
            let of = random.pick(&commands);
            let mut data = random.pick(&corpus).clone();
            mutate(random, &mut data, &corpus, 260);
            let (mut net_fn, mut command) = (of.net_fn.0, of.command);
            if random.once_in(16) {
                (net_fn, command) = (random.byte() & 0x3F, random.byte());
            }
            let mut payload = message(net_fn, command, number % 64, &data);
            let mut payload_type = 0;
            if random.once_in(8) {
                mutate(random, &mut payload, &corpus, 300);
            }
            if random.once_in(16) {
                payload_type = random.byte() & 0x3F;
            }
            let datagram = session.seal(payload_type, &payload);
            for answer in rig.exchange(&datagram) {
                // A set-up message gets its answer outside the session.
                let (kind, payload) = session.unseal(&answer);
                if kind == 0 {
                    let [_, _, _, _, _, _, code, ..] = payload[..] else {
                        panic!("{payload:02x?}")
                    };
                    assert!(is_legal(code), "{net_fn:02x} {command:02x} {data:02x?}: {code:02x}");
                    assert_eq!((checksum(&payload[..3]), checksum(&payload[3..])), (0, 0));
                }
            }
            if random.once_in(8) {
                rig.pass(Duration::from_millis(random.next() % 20_000));
                rig.receive().iter().for_each(|answer| drop(session.unseal(answer)));
            }
            assert!(rig.requests().len() <= 8, "{net_fn:02x} {command:02x} {data:02x?}");
            // What follows is of no interest to a session that is over.
            if rig.bmc.open_sessions() == 0 {
                break;
            }
        }
        is_sane(&mut rig.bmc);
    });
}

#[test]
fn serial_over_lan() {
    let corpus: Vec<Vec<u8>> = vec![
        b"\x01\x00\x00\x00root\r".to_vec(),
        b"\x00\x01\x05\x00".to_vec(),
        b"\x02\x01\x05\x40".to_vec(),
        b"\x00\x00\x00\x10".to_vec(),
        b"\x03\x02\x00\x02ls -l\r".to_vec(),
        [&b"\x04\x00\x00\x00"[..], &[b'x'; 251]].concat(),
    ];
    fuzz("serial_over_lan", |random| {
        let (mut rig, mut session) = start();
        assert_eq!(session.command(&mut rig, 0x06, 0x48, &[1, 1, 0xC0, 0, 0, 0]).0, 0);
        let (mut sent, mut typed) = (0, 0);
        for _ in 0..64 {
            match random.below(8) {
                0 => {
                    let text = vec![b'o'; random.below(3000)];
                    rig.bmc.handle_console(rig.now, 1, &text, random.once_in(4));
                }
                1 => rig.bmc.handle_console_room(random.once_in(2)),
                2 => rig.pass(Duration::from_millis(random.next() % 2000)),
                _ => {}
            }
            let mut payload = random.pick(&corpus).clone();
            mutate(random, &mut payload, &corpus, 300);
            // Numbers as they come next, so that not all are out of order.
            if let (Some(first), true) = (payload.first_mut(), random.once_in(2)) {
                *first = random.byte() & 0x0F;
            }
            sent += payload.len();
            let datagram = session.seal(1, &payload);
            let mut answers = rig.exchange(&datagram);
            answers.extend(rig.receive());
            for answer in answers {
                let (kind, payload) = session.unseal(&answer);
                assert_eq!(kind, 1);
                assert!((4..=259).contains(&payload.len()), "{payload:02x?}");
            }
            for request in rig.requests() {
                if let Request::Console(characters) = request {
                    typed += characters.len();
                }
            }
            assert!(typed <= sent, "{typed} characters typed of {sent} bytes");
        }
    });
}

/// A message or command as it goes over the stream.
fn escaped(unit: &[u8], end: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in unit {
        match byte {
            0xA0 | 0xA1 | 0xAA => out.extend([0xAA, byte | 0x10]),
            byte => out.push(*byte),
        }
    }
    out.push(end);
    out
}

fn request(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let commands = commands();
    let of = random.pick(&commands);
    let mut data = random.pick(corpus).clone();
    mutate(random, &mut data, corpus, 260);
    let mut message = vec![random.byte(), of.net_fn.0 << 2, of.command];
    message.extend(data);
    message.push(checksum(&message));
    escaped(&message, 0xA0)
}

#[test]
fn system_interface() {
    let corpus = corpus();
    fuzz("system_interface", |random| {
        let (mut rig, _) = start();
        rig.requests();
        rig.bmc.handle_system_interface_start();
        for _ in 0..32 {
            let mut stream = match random.below(8) {
                0 => escaped(&[0xFF, 1], 0xA1),
                1 => escaped(&[0x08, random.byte()], 0xA1),
                2 => escaped(&[0x04], 0xA1),
                _ => request(random, &corpus),
            };
            if random.once_in(4) {
                mutate(random, &mut stream, &corpus, 700);
            }
            let ends = stream.iter().filter(|byte| matches!(byte, 0xA0 | 0xA1)).count();
            rig.bmc.handle_system_interface(rig.now, &stream);
            let mut out = Vec::new();
            while let Some(bytes) = rig.bmc.poll_system_interface() {
                out.extend(bytes);
            }
            // Responses, and what the device is told of flags and interrupts.
            let answers = out.iter().filter(|byte| **byte == 0xA0).count();
            assert!(answers <= ends, "{answers} answers to {ends} requests");
            for unit in out.split(|byte| matches!(byte, 0xA0 | 0xA1)) {
                assert!(unit.len() <= 600, "{} bytes", unit.len());
            }
            assert!(matches!(out.last(), None | Some(0xA0 | 0xA1)), "a part of something");
            assert!(rig.requests().len() <= 8);
            rig.receive();
            if random.once_in(8) {
                rig.pass(Duration::from_millis(random.next() % 20_000));
            }
        }
        is_sane(&mut rig.bmc);
    });
}
