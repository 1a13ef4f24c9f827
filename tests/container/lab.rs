//! Containers and the links that containerlab gives them: late, renamed, removed and made anew.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::command::{run, tool};
use crate::container::{Container, Setup};
use crate::report::check;
use crate::terminal::Terminal;
use crate::wait::{SOON, wait_until};

/// What containerlab's links have.
pub(crate) const MTU: u32 = 9500;

/// One end of a pair of interfaces in the engine's own namespace: created under a name that means
/// nothing, with checksums in software.
fn pair(mtu: u32) -> [String; 2] {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let names = ["a", "b"].map(|end| format!("clab{}{end}{number}", std::process::id() % 100_000));
    let mtu = mtu.to_string();
    let words = ["link", "add", &names[0], "mtu", &mtu, "type", "veth", "peer", "name", &names[1]];
    run(tool("ip").args(words).args(["mtu", &mtu])).succeeds();
    for name in &names {
        run(tool("ethtool").args(["-K", name, "tx", "off"])).succeeds();
    }
    names
}

/// Moves one end in: name, MAC address, another name, up, one after the other.
fn place(name: &str, container: &Container, interface: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    run(tool("ip").args(["link", "set", name, "netns", &container.pid().to_string()])).succeeds();
    container.ip(&format!("link set {name} name {interface}"));
    container.ip(&format!("link set {interface} address aa:c1:ab:00:00:{number:02x}"));
    container.ip(&format!("link property add dev {interface} altname clab-o-{number}"));
    container.ip(&format!("link set {interface} up"));
}

/// A link between two containers.
pub(crate) fn link(a: (&Container, &str), b: (&Container, &str)) {
    let names = pair(MTU);
    place(&names[0], a.0, a.1);
    place(&names[1], b.0, b.1);
}

/// A link whose other end stays outside; its name.
pub(crate) fn half(container: &Container, interface: &str) -> String {
    let [inner, outer] = pair(MTU);
    place(&inner, container, interface);
    run(tool("ip").args(["link", "set", &outer, "up"])).succeeds();
    outer
}

/// A node as containerlab starts it: on a terminal, with the number of its links.
pub(crate) fn node(name: &str, links: u32) -> Setup {
    Setup::new(name)
        .options(["--interactive", "--tty"])
        .env("CLAB_INTFS", &links.to_string())
        .env("CLAB_LABEL_CLAB_NODE_NAME", name)
}

impl Container {
    /// How the NIC with this interface is connected.
    #[track_caller]
    pub(crate) fn nic(&self, interface: &str) -> Value {
        let links = self.status()["links"].as_array().unwrap().clone();
        links.into_iter().find(|link| link["interface"] == interface).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_carrier(&self, interface: &str, up: bool) {
        wait_until(&format!("the carrier of {interface} is {up}"), SOON, || {
            self.nic(interface)["carrier"] == up
        });
    }
}

/// Whether one guest hears the other; ARP and switching on take their time.
#[track_caller]
fn hears(guest: &mut Terminal, address: &str, options: &str) {
    let ping = format!("ping -c 1 -W 1 {options} {address} > /dev/null && echo they-see");
    wait_until(&format!("{address} answers ({options})"), SOON, || {
        guest.shell(&ping).contains("they-see")
    });
}

pub(crate) fn group() {
    // Of two promised links, the first is for the BMC (eth1), and the second for the machine.
    let [one, two] = ["one", "two"].map(|name| node(name, 2).guest().off().ready());
    let mut guests = Vec::new();
    check("nodes start before their links are there, and answer", || {
        for container in [&one, &two] {
            let name = container.inspect("{{.Config.Hostname}}");
            assert_eq!(container.status()["name"], name.as_str());
            let nic = container.nic("eth2");
            assert_eq!((&nic["connected"], &nic["carrier"]), (&false.into(), &false.into()));
            guests.push(container.boot_guest());
        }
    });
    let [first, second] = &mut guests[..] else { return };
    check("two containers linked late: their guests see each other", || {
        first.shell("killall udhcpc; ip link set eth0 up; ip addr add 10.0.0.1/24 dev eth0");
        second.shell("killall udhcpc; ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0");
        link((&one, "eth2"), (&two, "eth2"));
        one.wait_carrier("eth2", true);
        two.wait_carrier("eth2", true);
        hears(first, "10.0.0.2", "");
    });
    check("their MAC addresses differ, and stay over a power cycle", || {
        let macs = [&one, &two].map(|node| node.nic("eth2")["mac"].as_str().unwrap().to_owned());
        assert_ne!(macs[0], macs[1]);
        let seen = first.shell("cat /sys/class/net/eth0/address");
        assert_eq!(seen.trim(), macs[0]);
        one.switch("cycle", "Cycle");
        first.guest();
        assert_eq!(first.shell("cat /sys/class/net/eth0/address").trim(), macs[0]);
        first.shell("killall udhcpc; ip link set eth0 up; ip addr add 10.0.0.1/24 dev eth0");
    });
    check("planned: jumbo frames of 9000 bytes", || {
        assert_eq!(one.nic("eth2")["mtu"], MTU);
        // The second was switched on before its link was there, and so was not told.
        two.switch("cycle", "Cycle");
        second.guest();
        assert_eq!(second.shell("cat /sys/class/net/eth0/mtu").trim(), "9500");
        second.shell("killall udhcpc; ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0");
        hears(first, "10.0.0.2", "-s 8972");
    });
    check("planned: VLANs pass", || {
        for (guest, last) in [(&mut *first, 1), (&mut *second, 2)] {
            guest.shell("ip link add link eth0 name lan5 type vlan id 5; ip link set lan5 up");
            guest.shell(&format!("ip addr add 10.0.5.{last}/24 dev lan5"));
        }
        hears(first, "10.0.5.2", "");
    });
    check("5.20 the interface has no IP address while the VM has it", || {
        one.ip("address add 192.0.2.9/24 dev eth2");
        wait_until("it is removed", SOON, || !one.ip("address show dev eth2").contains("inet"));
    });
    check("a link is removed: no carrier; made anew: they see each other", || {
        one.ip("link del eth2");
        one.wait_carrier("eth2", false);
        two.wait_carrier("eth2", false);
        let carrier = "cat /sys/class/net/eth0/carrier";
        wait_until("the guest sees it", SOON, || first.shell(carrier).trim() == "0");
        link((&one, "eth2"), (&two, "eth2"));
        one.wait_carrier("eth2", true);
        hears(first, "10.0.0.2", "");
    });
    check("an interface is renamed: no carrier; and back", || {
        one.ip("link set eth2 down");
        one.ip("link set eth2 name away");
        one.wait_carrier("eth2", false);
        one.ip("link set away name eth2");
        one.ip("link set eth2 up");
        one.wait_carrier("eth2", true);
        hears(first, "10.0.0.2", "");
    });
    check("a link is added live: a NIC is plugged in; and removed", || {
        link((&one, "eth3"), (&two, "eth3"));
        for (guest, last) in [(&mut *first, 1), (&mut *second, 2)] {
            wait_until("the guest has it", SOON, || {
                guest.shell("ls /sys/class/net").contains("eth1")
            });
            guest.shell(&format!("ip link set eth1 up; ip addr add 10.0.3.{last}/24 dev eth1"));
        }
        hears(first, "10.0.3.2", "");
        one.ip("link del eth3");
        one.wait_carrier("eth3", false);
        hears(first, "10.0.0.2", "");
    });
    check("a container is restarted: links made again carry again", || {
        second.shell("sync");
        crate::engine::docker(["restart", "-t", "10", &two.name]).succeeds();
        two.wait_ready();
        // containerlab makes a node's links anew; of the old one, no end is left.
        wait_until("the other end is gone", SOON, || {
            one.wait_carrier("eth2", false);
            one.nic("eth2")["connected"] == false
        });
        link((&one, "eth2"), (&two, "eth2"));
        *second = two.boot_guest();
        second.shell("killall udhcpc; ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0");
        hears(first, "10.0.0.2", "");
    });
    check("planned: eth2 is absent: the machine runs, and says why it hears nothing", || {
        let alone = Setup::new("alone").env("VM_NETWORKS", "eth2").ready();
        alone.wait_power("on");
        alone.ctl(&["links"]).succeeds().says("the interface is not there");
    });
}
