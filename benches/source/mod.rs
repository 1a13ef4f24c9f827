//! What is at the other end of the serial line: it echoes, floods when it is told how much, swallows
//! and answers with a sum.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

/// These bytes are orders; a number of four bytes follows. All others are echoed.
const FLOOD: u8 = 1;
const SWALLOW: u8 = 2;

/// An order to send so many bytes.
pub(crate) fn flood(len: usize) -> Vec<u8> {
    order(FLOOD, len)
}

/// An order to take so many bytes.
pub(crate) fn swallow(len: usize) -> Vec<u8> {
    order(SWALLOW, len)
}

fn order(word: u8, len: usize) -> Vec<u8> {
    [&[word][..], &u32::try_from(len).unwrap().to_le_bytes()].concat()
}

/// The byte at this place of a flood.
pub(crate) fn pattern(place: u64) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8)) as u8
}

/// The sum of what was swallowed, after this one (FNV-1a).
pub(crate) fn sum(before: u64, bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(before, step)
}

fn serve(mut read: impl Read, mut write: impl Write) {
    let mut order = Vec::new();
    let (mut left, mut summed) = (0, 0);
    let mut buffer = [0; 65536];
    while let Ok(len @ 1..) = read.read(&mut buffer) {
        let mut bytes = &buffer[..len];
        while !bytes.is_empty() {
            if left > 0 {
                let (taken, rest) = bytes.split_at(bytes.len().min(left));
                summed = sum(summed, taken);
                left -= taken.len();
                bytes = rest;
                if left == 0 {
                    write.write_all(&u64::to_le_bytes(summed)).unwrap();
                }
                continue;
            }
            let (byte, rest) = (bytes[0], &bytes[1..]);
            bytes = rest;
            if order.is_empty() && ![FLOOD, SWALLOW].contains(&byte) {
                write.write_all(&[byte]).unwrap();
                continue;
            }
            order.push(byte);
            if let [word, number @ ..] = &order[..]
                && let Ok(number) = <[u8; 4]>::try_from(number)
            {
                let number = u32::from_le_bytes(number);
                if *word == FLOOD {
                    let all: Vec<u8> = (0..number.into()).map(pattern).collect();
                    write.write_all(&all).unwrap();
                } else {
                    (left, summed) = (number as usize, 0);
                }
                order.clear();
            }
        }
    }
}

/// Serves whoever connects, one after the other.
pub(crate) fn as_server(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for stream in listener.incoming().flatten() {
        stream.set_nodelay(true).unwrap();
        serve(&stream, &stream);
    }
}

fn inherited(fd: i32) -> UnixStream {
    #[expect(unsafe_code, reason = "the descriptor is what this process was started with")]
    // SAFETY: nobody else in this process has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    fd.into()
}

/// In the place of QEMU, as far as it is asked: QMP at descriptor 3, the serial port at 4.
pub(crate) fn as_qemu() {
    let mut qmp = inherited(3);
    let serial = inherited(4);
    thread::spawn(move || serve(&serial, &serial));
    let version = r#"{"qemu":{"major":10,"minor":0,"micro":0},"package":""}"#;
    writeln!(qmp, r#"{{"QMP":{{"version":{version},"capabilities":[]}}}}"#).unwrap();
    for line in BufReader::new(qmp.try_clone().unwrap()).lines() {
        let request: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        writeln!(qmp, r#"{{"return":{{}},"id":{}}}"#, request["id"]).unwrap();
        if request["execute"] == "quit" {
            return;
        }
    }
}
