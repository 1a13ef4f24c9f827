//! The graphical console: who may look at it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};

use crate::machine::{Setup, free_port};
use crate::wait::{SOON, wait_until};

/// Security types (RFC 6143 section 7.1.2).
const NONE: u8 = 1;
const VNC: u8 = 2;

/// Connects, and answers the security types on offer.
fn connect(port: u16) -> (TcpStream, Vec<u8>) {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let mut version = [0; 12];
    server.read_exact(&mut version).unwrap();
    assert_eq!(&version, b"RFB 003.008\n");
    server.write_all(&version).unwrap();
    let mut count = [0];
    server.read_exact(&mut count).unwrap();
    let mut types = vec![0; count[0].into()];
    server.read_exact(&mut types).unwrap();
    (server, types)
}

/// VNC Authentication (RFC 6143 section 7.2.2).
fn logs_in(port: u16, password: &str) -> bool {
    let (mut server, types) = connect(port);
    assert_eq!(types, [VNC]);
    server.write_all(&[VNC]).unwrap();
    let mut challenge = [0; 16];
    server.read_exact(&mut challenge).unwrap();
    let mut key = [0; 8];
    // Each byte with its bits in reverse order, as all implementations do (erratum 4951).
    key.iter_mut().zip(password.bytes()).for_each(|(key, byte)| *key = byte.reverse_bits());
    let cipher = Des::new(&key.into());
    for block in challenge.as_chunks_mut::<8>().0 {
        cipher.encrypt_block(block.into());
    }
    server.write_all(&challenge).unwrap();
    let mut result = [0; 4];
    server.read_exact(&mut result).unwrap();
    result == [0; 4]
}

#[test]
fn vnc_asks_for_the_password_that_the_profile_names() {
    let port = free_port();
    let setup = Setup::bare();
    let file = setup.file("vnc-password", b"vnc-word\n");
    let machine = setup
        .set("power.restore=always-on")
        .set(format!("vnc.port={port}"))
        .set(format!("vnc.password_file={}", file.display()))
        .start();
    let expect_password = || {
        let qemu = machine.wait_on();
        wait_until("the password is right", SOON, || logs_in(port, "vnc-word"));
        for wrong in ["vnc-worD", "vnc-wor", "", "password"] {
            assert!(!logs_in(port, wrong), "logged in with `{wrong}`");
        }
        let argv = fs::read(format!("/proc/{qemu}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&argv).contains("vnc-word"), "ps shows the password");
        qemu
    };
    let first = expect_password();
    // Each process has to be told anew.
    machine.power("cycle");
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != first));
    expect_password();
    assert!(!machine.log().contains("vnc-word"), "the log shows the password");
}

#[test]
fn vnc_without_a_password_lets_everybody_in() {
    let port = free_port();
    let machine =
        Setup::bare().set("power.restore=always-on").set(format!("vnc.port={port}")).start();
    machine.wait_on();
    assert_eq!(connect(port).1, [NONE]);
}
