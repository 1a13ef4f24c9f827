//! The wires, in a network namespace of each test's own: real TAP devices, real traffic control and
//! bridges, no machine. Needs root.
//!
//! The lab's interface is a TAP device as well, so that the test can send any frame into it, and sees
//! any that comes out.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

mod wires;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use qemu_bmc::host::netlink::Netlink;
use qemu_bmc::host::tap::Tap;
use qemu_bmc::host::wiring::{FOLDER, Wirer};
use qemu_bmc::machine::wires::Link;
use qemu_bmc::plan::NicPlan;
use qemu_bmc::profile::document::Wiring;
use tempfile::TempDir;
use wires::{in_namespace, ip, nic};

/// Length of the header before each frame on a TAP device's descriptor (`struct virtio_net_hdr`).
const VNET_HEADER: usize = 10;
/// How long a frame may take.
const LIMIT: Duration = Duration::from_millis(500);
const SOURCE: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

/// All that the namespace has, for a comparison.
fn everything() -> String {
    let mut all = String::new();
    for words in ["-details link show", "address show", "route show table all", "-6 route show"] {
        let text = ip(words);
        // Who has come and gone in between may have changed the order of what stays.
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.contains("ff00::/8")).collect();
        if words.contains("route") {
            lines.sort_unstable();
        }
        all += &lines.join("\n");
        all += "\n";
    }
    let qdiscs = Command::new("tc").args(["qdisc", "show"]).output().unwrap();
    all + &String::from_utf8(qdiscs.stdout).unwrap()
}

/// Waits until it is known that nobody else has our IPv6 addresses.
fn settle() {
    let end = Instant::now() + Duration::from_secs(30);
    while ip("address show").contains("tentative") {
        assert!(Instant::now() < end, "addresses stay tentative");
        std::thread::yield_now();
    }
}

/// One end of a TAP device.
struct End(File);

impl End {
    fn new(tap: &Tap) -> Self {
        Self::of(tap.queues[0].try_clone().unwrap())
    }

    fn of(fd: OwnedFd) -> Self {
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        Self(fd.into())
    }

    fn send(&mut self, frame: &[u8]) {
        let packet = [&[0; VNET_HEADER][..], frame].concat();
        assert_eq!(self.0.write(&packet).unwrap(), packet.len());
    }

    /// Waits for this very frame.
    fn receives(&mut self, frame: &[u8]) -> bool {
        let end = Instant::now() + LIMIT;
        let mut buffer = vec![0; 70_000];
        loop {
            match self.0.read(&mut buffer) {
                Ok(len) if &buffer[VNET_HEADER..len] == frame => return true,
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            let left = end.saturating_duration_since(Instant::now());
            let millis = u16::try_from(left.as_millis()).unwrap();
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(millis)).unwrap() == 0 {
                return false;
            }
        }
    }
}

/// A NIC that is connected with the lab's interface `eth2`.
struct Stand {
    wirer: Wirer,
    nic: NicPlan,
    link: Link,
    lab: End,
    vm: End,
    /// The devices live as long as these.
    _taps: Vec<Tap>,
    _dir: TempDir,
}

async fn stand(wiring: Wiring) -> Stand {
    let dir = tempfile::tempdir().unwrap();
    let lab = Tap::open("eth2", 1).unwrap();
    ip("link set eth2 mtu 9500 up");
    let (netlink, _events) = Netlink::connect().unwrap();
    let mut wirer = Wirer::new(netlink, dir.path()).await;
    let nic = nic("eth2", wiring.word());
    let name = nic.tap.clone().unwrap();
    let tap = Tap::open(&name, 1).unwrap();
    wirer.prepare(&nic.at_start).await.unwrap();
    let mut taps = vec![lab, tap];
    if wiring == Wiring::Macvtap {
        wirer.try_macvtap(&name, "trial").await.unwrap();
        taps.pop();
        // A child of another test's may have its descriptor for a moment.
        let end = Instant::now() + LIMIT;
        while wirer.links().await.unwrap().iter().any(|link| link.name == name) {
            assert!(Instant::now() < end, "{name} stays");
        }
    } else {
        wirer.try_redirect(&name).await.unwrap();
    }
    let links = wirer.links().await.unwrap();
    let link = links.into_iter().find(|link| link.name == "eth2").unwrap();
    wirer.wire(&nic, &link, wiring).await.unwrap();
    let vm = match wiring {
        Wiring::Macvtap => End::of(wirer.open_macvtap(&name).await.unwrap()),
        _ => End::new(&taps[1]),
    };
    Stand { wirer, nic, link, lab: End::new(&taps[0]), vm, _taps: taps, _dir: dir }
}

fn frame(destination: [u8; 6], ether_type: u16, len: usize) -> Vec<u8> {
    let mut frame = [&destination[..], &SOURCE, &ether_type.to_be_bytes()].concat();
    frame.extend((0..=u8::MAX).cycle().take(len));
    frame
}

fn link_local(last: u8) -> [u8; 6] {
    [0x01, 0x80, 0xC2, 0, 0, last]
}

/// Frames that labs send, by name.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    /// For local experiments (IEEE 802, EtherType 88B5h).
    const EXPERIMENTAL: u16 = 0x88B5;
    const OTHER: [u8; 6] = [0x52, 0x54, 0, 9, 9, 9];
    let mut qinq = frame(OTHER, 0x88A8, 64);
    qinq.splice(14..18, [0, 10, 0x81, 0x00]);
    vec![
        ("unicast", frame(OTHER, EXPERIMENTAL, 100)),
        ("broadcast", frame([0xFF; 6], 0x0806, 46)),
        ("VLAN", frame(OTHER, 0x8100, 100)),
        ("QinQ", qinq),
        ("MPLS", frame(OTHER, 0x8847, 100)),
        ("PPPoE", frame(OTHER, 0x8863, 100)),
        ("jumbo 9500", frame(OTHER, EXPERIMENTAL, 9500)),
        ("malformed IP", frame(OTHER, 0x0800, 100)),
        ("STP", frame(link_local(0), 0x0026, 46)),
        ("pause", frame(link_local(1), 0x8808, 46)),
        ("LACP", frame(link_local(2), 0x8809, 110)),
        ("802.1X", frame(link_local(3), 0x888E, 46)),
        ("LLDP", frame(link_local(0x0E), 0x88CC, 100)),
        ("CDP", frame([0x01, 0x00, 0x0C, 0xCC, 0xCC, 0xCC], 0x2000, 100)),
    ]
}

/// A row of the table in `docs/network.md`.
fn row(name: &str, passes: [[bool; 2]; 3]) -> String {
    let mark = |passes| if passes { "ok" } else { "-" };
    let [tc, bridge, macvtap] = passes.map(|[to, from]| format!("{}/{}", mark(to), mark(from)));
    format!("| {name} | {tc} | {bridge} | {macvtap} |\n")
}

#[test]
fn which_frames_pass_is_as_the_documentation_says() {
    let (sender, receiver) = std::sync::mpsc::channel();
    for wiring in [Wiring::Tc, Wiring::Bridge, Wiring::Macvtap] {
        let sender = sender.clone();
        in_namespace(move || async move {
            let mut stand = stand(wiring).await;
            for (name, frame) in frames() {
                stand.lab.send(&frame);
                let to_vm = stand.vm.receives(&frame);
                let mut back = frame.clone();
                // From another address: a bridge learns.
                back[11] ^= 0xFF;
                stand.vm.send(&back);
                let from_vm = stand.lab.receives(&back);
                sender.send((name, [to_vm, from_vm])).unwrap();
            }
        });
    }
    drop(sender);
    let all: Vec<(&str, [bool; 2])> = receiver.iter().collect();
    let (tc, others) = all.split_at(all.len() / 3);
    let (bridge, macvtap) = others.split_at(others.len() / 2);
    let rows = tc.iter().zip(bridge).zip(macvtap);
    let rows = rows.map(|((tc, bridge), macvtap)| row(tc.0, [tc.1, bridge.1, macvtap.1]));
    let table: String = rows.collect();
    assert!(tc.iter().all(|(_, passes)| *passes == [true, true]), "tc passes everything\n{table}");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(root.join("docs/network.md")).unwrap_or_default();
    assert!(docs.contains(&table), "docs/network.md ought to have this:\n{table}");
}

#[test]
fn everything_is_put_back() {
    for wiring in [Wiring::Tc, Wiring::Bridge] {
        in_namespace(move || async move {
            ip("link add eth2 type veth peer name peer");
            ip("link set eth2 up");
            ip("link set peer up");
            ip("address add 192.0.2.1/24 brd + dev eth2");
            ip("address add 192.0.2.7/24 dev eth2");
            ip("address add 2001:db8::1/64 dev eth2 nodad");
            settle();
            let before = everything();
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
            let nic = nic("eth2", wiring.word());
            let wire = async || {
                let (netlink, _events) = Netlink::connect().unwrap();
                let mut wirer = Wirer::new(netlink, dir.path()).await;
                let tap = Tap::open(&nic.tap.clone().unwrap(), 1).unwrap();
                wirer.prepare(&nic.at_start).await.unwrap();
                let links = wirer.links().await.unwrap();
                let link = links.into_iter().find(|link| link.name == "eth2").unwrap();
                wirer.wire(&nic, &link, wiring).await.unwrap();
                assert!(!ip("address show dev eth2").contains("inet"), "the VM has it");
                (wirer, tap)
            };
            let (mut wirer, tap) = wire().await;
            // An address that comes later goes, too.
            ip("address add 198.51.100.1/24 dev eth2");
            let index = wirer.links().await.unwrap();
            let index = index.into_iter().find(|link| link.name == "eth2").unwrap().index;
            wirer.handle_address(index).await;
            assert!(!ip("address show dev eth2").contains("inet"));
            wirer.restore().await;
            drop((wirer, tap));
            assert!(ip("address show dev eth2").contains("198.51.100.1/24"));
            ip("address del 198.51.100.1/24 dev eth2");
            settle();
            assert_eq!(everything(), before);
            // Killed, and started again.
            let (wirer, tap) = wire().await;
            drop((wirer, tap));
            assert_ne!(everything(), before);
            let (mut wirer, tap) = wire().await;
            wirer.restore().await;
            drop((wirer, tap));
            settle();
            assert_eq!(everything(), before);
            assert_eq!(
                std::fs::read_dir(dir.path().join(FOLDER)).unwrap().count(),
                0,
                "no file is left"
            );
        });
    }
}

#[test]
fn links_that_come_and_go_leave_nothing() {
    in_namespace(|| async {
        let (netlink, _events) = Netlink::connect().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut wirer = Wirer::new(netlink, dir.path()).await;
        let nic = nic("eth2", "bridge");
        let tap = Tap::open(&nic.tap.clone().unwrap(), 1).unwrap();
        wirer.prepare(&nic.at_start).await.unwrap();
        let before = everything();
        for round in 0..200 {
            let wiring = if round % 2 == 0 { Wiring::Tc } else { Wiring::Bridge };
            ip("link add eth2 type veth peer name peer");
            let links = wirer.links().await.unwrap();
            let link = links.into_iter().find(|link| link.name == "eth2").unwrap();
            wirer.wire(&nic, &link, wiring).await.unwrap();
            ip("link del eth2");
            wirer.unwire(&nic, None).await;
        }
        let same = |text: &str| text.replace("mtu 1500", "mtu");
        assert_eq!(same(&everything()), same(&before));
        drop(tap);
    });
}

/// A lab deletes a link whose address has just been seen.
#[test]
fn an_address_that_has_gone_with_its_link_is_no_error() {
    in_namespace(|| async {
        let (netlink, _events) = Netlink::connect().unwrap();
        ip("link add eth2 type veth peer name x");
        for address in ["192.0.2.1/24", "2001:db8::1/64"] {
            ip(&format!("addr add {address} dev eth2"));
        }
        let index = netlink.by_name("eth2").await.unwrap().unwrap().index;
        let addresses = netlink.addresses(index).await.unwrap();
        assert_eq!(addresses.len(), 2);
        ip("link del eth2");
        for address in &addresses {
            netlink.remove_address(index, address).await.unwrap();
        }
    });
}

#[test]
fn the_mtu_is_followed() {
    in_namespace(|| async {
        let stand = stand(Wiring::Tc).await;
        assert!(ip("link show qbt-eth2").contains("mtu 9500"));
        stand.wirer.set_mtu(&stand.nic, 1400).await.unwrap();
        assert!(ip("link show qbt-eth2").contains("mtu 1400"));
        assert_eq!(stand.link.mtu, 9500);
    });
}
