//! The wirings side by side, in one run: packets per second from an interface to the descriptor that
//! QEMU reads, beside a plain veth pair; and TCP between two emulated guests, beside `bridge`.
//!
//! Rounds take turns, so that what else the host does is everybody's. Needs root and the demo guest;
//! `make bench-network` sets them up.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    reason = "a benchmark prints, and uses a part of what the tests have"
)]

#[path = "../tests/e2e/clients.rs"]
mod clients;
#[path = "../tests/e2e/command.rs"]
mod command;
#[path = "../tests/e2e/machine.rs"]
mod machine;
#[path = "../tests/e2e/namespace.rs"]
mod namespace;
#[path = "../tests/e2e/processes.rs"]
mod processes;
#[path = "../tests/e2e/terminal.rs"]
mod terminal;
#[path = "../tests/e2e/wait.rs"]
mod wait;
#[path = "../tests/wires/mod.rs"]
mod wires;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use machine::Setup;
use namespace::{Namespace, link};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qemu_bmc::host::netlink::Netlink;
use qemu_bmc::host::tap::Tap;
use qemu_bmc::host::wiring::Wirer;
use qemu_bmc::plan::NicPlan;
use qemu_bmc::profile::document::Wiring;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use terminal::Terminal;
use wires::{in_namespace, ip, nic};

const WIRINGS: [Wiring; 3] = [Wiring::Tc, Wiring::Bridge, Wiring::Macvtap];
/// Length of the header before each frame on a TAP device's descriptor (`struct virtio_net_hdr`).
const VNET_HEADER: usize = 10;
const ROUNDS: usize = 9;
/// A transfer takes seconds.
const TRANSFERS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);
/// An EtherType for local experiments (IEEE 802).
const EXPERIMENTAL: u16 = 0x88B5;
/// Length of a frame in bytes.
const FRAME: usize = 60;
/// What two guests send each other in a round, in MiB.
const TRANSFER_MIB: u32 = 24;

fn main() {
    // `cargo test --benches` only has to see that it compiles.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    in_namespace(packets);
    transfers();
}

/// One end of a way: a sender or a receiver.
struct End {
    file: File,
    packet: Vec<u8>,
}

impl End {
    /// Frames go through the descriptor behind a header of so many bytes.
    fn new(fd: OwnedFd, header: usize) -> Self {
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut packet = vec![0; header + FRAME];
        packet[header..header + 6].copy_from_slice(&[0x52, 0x54, 0, 9, 9, 9]);
        packet[header + 6..header + 12].copy_from_slice(&[0x52, 0x54, 0, 1, 2, 3]);
        packet[header + 12..header + 14].copy_from_slice(&EXPERIMENTAL.to_be_bytes());
        Self { file: fd.into(), packet }
    }

    /// All frames of an interface, as they are.
    fn raw(interface: &str) -> Self {
        let protocol = Protocol::from(i32::from(EXPERIMENTAL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        let mut storage = SockAddrStorage::zeroed();
        #[expect(unsafe_code, reason = "no library has this address")]
        // SAFETY: the storage is larger than the address, and all of it is valid.
        let address = unsafe {
            let address = storage.view_as::<libc::sockaddr_ll>();
            address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
            address.sll_protocol = EXPERIMENTAL.to_be();
            address.sll_ifindex = if_nametoindex(interface).unwrap().cast_signed();
            SockAddr::new(storage, u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap())
        };
        socket.bind(&address).unwrap();
        Self::new(socket.into(), 0)
    }

    /// Sends frames until it is told to stop.
    fn flood(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            // A full queue drops, as a wire does.
            let _ = self.file.write(&self.packet);
        }
    }

    /// Counts frames for a round, and empties the queue.
    fn count(&mut self) -> u32 {
        let mut buffer = [0; 2048];
        let mut frames = 0;
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            match self.file.read(&mut buffer) {
                Ok(len) => frames += u32::from(len == self.packet.len()),
                Err(_) => {
                    let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
                    poll(&mut fds, PollTimeout::from(5_u16)).unwrap();
                }
            }
        }
        frames
    }
}

/// Packets per second from one end to the other, with a sender that never waits.
fn packets_per_second(from: &mut End, to: &mut End) -> f64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| from.flood(&stop));
        let frames = to.count();
        stop.store(true, Ordering::Relaxed);
        f64::from(frames) / ROUND.as_secs_f64()
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print(unit: &str, base: &str, rows: &mut [(String, Vec<f64>)]) {
    println!("| | {unit}, median | lowest | highest | to {base} |\n|---|---|---|---|---|");
    let reference = median(&mut rows[0].1);
    for (name, values) in rows {
        let middle = median(values);
        let (low, high) = (values[0], values[values.len() - 1]);
        println!("| {name} | {middle:.1} | {low:.1} | {high:.1} | {:.2} |", middle / reference);
    }
    println!();
}

async fn packets() {
    let dir = tempfile::tempdir().unwrap();
    let veth = |a: &str, b: &str| {
        ip(&format!("link add {a} type veth peer name {b}"));
        ip(&format!("link set {a} up"));
        ip(&format!("link set {b} up"));
    };
    veth("plain0", "plain1");
    let mut ways = vec![("veth".to_owned(), End::raw("plain0"), End::raw("plain1"))];
    let (netlink, _events) = Netlink::connect().unwrap();
    let mut wirer = Wirer::new(netlink, dir.path()).await;
    let mut taps = Vec::new();
    for wiring in WIRINGS {
        let (lab, interface) = (format!("lab-{}", wiring.word()), format!("i-{}", wiring.word()));
        veth(&lab, &interface);
        let nic: NicPlan = nic(&interface, wiring.word());
        let name = nic.tap.clone().unwrap();
        if wiring != Wiring::Macvtap {
            taps.push(Tap::open(&name, 1).unwrap());
            wirer.prepare(&nic.at_start).await.unwrap();
        }
        let links = wirer.links().await.unwrap();
        let link = links.into_iter().find(|link| link.name == interface).unwrap();
        wirer.wire(&nic, &link, wiring).await.unwrap();
        let fd = match wiring {
            Wiring::Macvtap => wirer.open_macvtap(&name).await.unwrap(),
            _ => taps[taps.len() - 1].queues[0].try_clone().unwrap(),
        };
        ways.push((wiring.word().to_owned(), End::raw(&lab), End::new(fd, VNET_HEADER)));
    }
    for to_vm in [true, false] {
        let mut rows: Vec<_> = ways.iter().map(|(name, ..)| (name.clone(), Vec::new())).collect();
        for _ in 0..ROUNDS {
            for ((_, lab, vm), (_, values)) in ways.iter_mut().zip(&mut rows) {
                let (from, to) = if to_vm { (lab, vm) } else { (vm, lab) };
                values.push(packets_per_second(from, to) / 1000.0);
            }
        }
        println!("Frames of {FRAME} bytes {} the VM\n", if to_vm { "to" } else { "from" });
        print("1000 a second", "veth", &mut rows);
    }
}

/// Two guests with a link in each wiring, which take turns.
fn transfers() {
    let (one, two) = (Namespace::new(), Namespace::new());
    // The first is what the others are told beside.
    let wirings = [Wiring::Bridge, Wiring::Tc, Wiring::Macvtap];
    let setup = |name: &str| {
        let nics = wirings.iter().enumerate().flat_map(|(index, wiring)| {
            let interface = format!("nics.{index}.interface=eth{}", index + 2);
            [interface, format!("nics.{index}.wiring={}", wiring.word())]
        });
        nics.fold(Setup::demo().set(format!("name={name}")), Setup::set)
    };
    let machines = [one.machine(setup("one")), two.machine(setup("two"))];
    for index in 0..wirings.len() {
        let interface = format!("eth{}", index + 2);
        link((&one, &interface), (&two, &interface), 1500);
    }
    let mut guests = [one.boot(&machines[0]), two.boot(&machines[1])];
    for (guest, host) in guests.iter_mut().zip(1..) {
        guest.shell("killall udhcpc");
        for index in 0..wirings.len() {
            let up = format!("ip addr add 10.0.{index}.{host}/24 dev eth{index}");
            guest.shell(&format!("{up}; ip link set eth{index} up"));
        }
    }
    let [sender, receiver] = &mut guests;
    let mut rows: Vec<_> =
        wirings.iter().map(|wiring| (wiring.word().to_owned(), Vec::new())).collect();
    for _ in 0..TRANSFERS {
        for (index, (_, values)) in rows.iter_mut().enumerate() {
            values.push(transfer(sender, receiver, index));
        }
    }
    println!("TCP from guest to guest, emulated, {TRANSFER_MIB} MiB a round\n");
    print("MiB a second", "bridge", &mut rows);
}

fn transfer(sender: &mut Terminal, receiver: &mut Terminal, index: usize) -> f64 {
    receiver.type_line("nc -l -p 7000 > /dev/null; echo \"received\"");
    let zeros = format!("dd if=/dev/zero bs=1M count={TRANSFER_MIB} 2>/dev/null");
    let start = Instant::now();
    // The listener may not be there yet.
    sender.type_line(&format!("until {zeros} | nc 10.0.{index}.2 7000; do :; done"));
    receiver.expect_within(Duration::from_secs(120), "received\r\n");
    f64::from(TRANSFER_MIB) / start.elapsed().as_secs_f64()
}
