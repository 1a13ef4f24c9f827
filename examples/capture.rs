//! Serves the engine on a UDP port with a fixed seed and writes down each datagram, for
//! `scripts/capture-vectors`: `capture PORT FILE`. Ends when its standard input does.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a tool of the tests"
)]

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

#[path = "../tests/engine/vector_engine.rs"]
mod vector_engine;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, file] = &arguments[..] else { panic!("usage: capture PORT FILE") };
    let socket = UdpSocket::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let mut bmc = vector_engine::engine();
    let mut out = String::new();
    let mut buffer = [0; 2048];
    while end.try_recv().is_err() {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let now = Instant::now();
        bmc.handle_datagram(now, from, None, &buffer[..len]);
        line(&mut out, '>', &buffer[..len]);
        while let Some(transmit) = bmc.poll_transmit(now) {
            line(&mut out, '<', &transmit.datagram);
            socket.send_to(&transmit.datagram, transmit.to).unwrap();
        }
    }
    std::fs::write(file, out).unwrap();
}

fn line(out: &mut String, direction: char, bytes: &[u8]) {
    let _ = write!(out, "{direction} ");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('\n');
}
