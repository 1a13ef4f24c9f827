//! Interfaces as the VM's NICs, in network namespaces, with what containerlab does to them.

use crate::command::{run, spawn, tool};
use crate::machine::{Machine, PASSWORD, Setup};
use crate::namespace::{Namespace, link};
use crate::processes::{self, Signal};
use crate::terminal::Terminal;
use crate::wait::{SOON, wait_until};

fn demo() -> Setup {
    Setup::demo().set("nics.0.wiring=tc").set("nics.0.interface=eth2")
}

#[track_caller]
fn wait_carrier(machine: &Machine, up: bool) {
    wait_until(&format!("the carrier is {up}"), SOON, || {
        machine.status()["links"][0]["carrier"] == up
    });
}

/// The guest's own view of its first NIC's carrier.
#[track_caller]
fn wait_guest_carrier(terminal: &mut Terminal, up: bool) {
    let wanted = if up { "1" } else { "0" };
    wait_until(&format!("the guest sees carrier {wanted}"), SOON, || {
        terminal.shell("cat /sys/class/net/eth0/carrier").trim() == wanted
    });
}

#[test]
fn two_machines_back_to_back_whatever_the_lab_does() {
    let (one, two) = (Namespace::new(), Namespace::new());
    let first = one.machine(demo().set("name=one"));
    let second = two.machine(demo().set("name=two").set("nics.0.wiring=bridge"));
    // No interface yet: the machines start all the same.
    let mut guest = one.boot(&first);
    guest.shell("ip link set eth0 up");
    wait_guest_carrier(&mut guest, false);
    assert_eq!(first.status()["links"][0]["connected"], false);
    link((&one, "eth2"), (&two, "eth2"), 9500);
    wait_carrier(&first, true);
    wait_guest_carrier(&mut guest, true);
    let mut other = two.boot(&second);
    let macs = [&first, &second].map(|machine| machine.status()["links"][0]["mac"].clone());
    assert_ne!(macs[0], macs[1]);
    guest.shell("ip addr add 10.0.0.1/24 dev eth0");
    guest.shell("ip link set eth0 mtu 9000");
    other.shell("ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up");
    // The interface was there when the second one was switched on.
    assert!(other.shell("cat /sys/class/net/eth0/mtu").contains("9500"));
    let ping = "ping -c 3 -w 15 10.0.0.2 > /dev/null && echo they-see";
    assert!(guest.shell(ping).contains("they-see"));
    let jumbo = "ping -c 3 -w 15 -s 8972 10.0.0.2 > /dev/null && echo they-see";
    assert!(guest.shell(jumbo).contains("they-see"), "9000-byte packets");
    // 100 MiB over TCP, with the same sum at both ends, although the link is deleted and made anew,
    // with other indexes, while they are under way.
    guest.shell("dd if=/dev/urandom of=/tmp/f bs=1M count=10 2>/dev/null");
    guest.shell("all() { for i in 0 1 2 3 4 5 6 7 8 9; do cat /tmp/f; done; }");
    let sum = guest.shell("all | md5sum | cut -c1-32").trim().to_owned();
    other.type_line("nc -l -p 7000 | md5sum | cut -c1-32; echo \"received\"");
    guest.type_line("until all | nc 10.0.0.2 7000; do sleep 1; done; echo \"sent\"");
    let sent = |machine: &Machine| machine.status()["links"][0]["from_guest_packets"].as_u64();
    let wait_packets = || {
        let before = sent(&first).unwrap_or_default();
        wait_until("packets flow", SOON, || sent(&first) > Some(before + 500));
    };
    for _ in 0..2 {
        wait_packets();
        one.ip("link del eth2");
        wait_carrier(&first, false);
        wait_carrier(&second, false);
        link((&one, "eth2"), (&two, "eth2"), 9500);
        wait_carrier(&first, true);
    }
    wait_packets();
    guest.expect_within(SOON * 6, "sent\r\n");
    assert!(other.expect("received\r\n").contains(&sum), "{sum}");
    // The other side goes down, and comes back.
    two.ip("link set eth2 down");
    wait_guest_carrier(&mut guest, false);
    two.ip("link set eth2 up");
    wait_guest_carrier(&mut guest, true);
    one.ip("link set eth2 mtu 1400");
    wait_until("the MTU is followed", SOON, || one.ip("link show qbt-eth2").contains("mtu 1400"));
    let shown = first.ctl(&["links"]).succeeds();
    shown.says("virtio-net-pci  tc with eth2").says("connected, carrier, MTU 1400");
}

#[test]
fn guests_aggregate_two_links_and_speak_vlans() {
    let (one, two) = (Namespace::new(), Namespace::new());
    let setup = || demo().set("nics.1.interface=eth3");
    let machines = [one.machine(setup().set("name=one")), two.machine(setup().set("name=two"))];
    for interface in ["eth2", "eth3"] {
        link((&one, interface), (&two, interface), 1500);
    }
    let [mut guest, mut other] = [one.boot(&machines[0]), two.boot(&machines[1])];
    for (terminal, address) in [(&mut guest, "10.0.0.1/24"), (&mut other, "10.0.0.2/24")] {
        terminal.shell("killall udhcpc; ip link set eth0 down; ip link set eth1 down");
        terminal.shell("ip link add bond0 type bond; bond=/sys/class/net/bond0/bonding");
        for (name, value) in [("mode", "802.3ad"), ("lacp_rate", "fast"), ("miimon", "100")] {
            terminal.shell(&format!("echo {value} > $bond/{name}"));
        }
        terminal.shell("echo +eth0 > $bond/slaves; echo +eth1 > $bond/slaves");
        terminal.shell("ip link set bond0 up");
        terminal.shell("ip link add link bond0 name lan5 type vlan id 5; ip link set lan5 up");
        terminal.shell(&format!("ip addr add {address} dev lan5"));
    }
    // Aggregated they are when each has heard the other's LACP frames on both links.
    for terminal in [&mut guest, &mut other] {
        wait_until("both ports are aggregated", SOON, || {
            let shown =
                terminal.shell("grep -E 'Number of ports|Partner Mac' /proc/net/bonding/bond0");
            shown.contains("Number of ports: 2") && !shown.contains("00:00:00:00:00:00")
        });
    }
    let mut they_see = |what: &str| {
        let ping = "ping -c 1 -W 1 10.0.0.2 > /dev/null && echo they-see";
        wait_until(what, SOON, || guest.shell(ping).contains("they-see"));
        guest.shell("cat /proc/net/bonding/bond0")
    };
    they_see("a ping over VLAN 5");
    // With one of the two links, the other carries all.
    two.ip("link set eth3 down");
    wait_until("one port is left", SOON, || {
        they_see("a ping over one of them").contains("Number of ports: 1")
    });
}

#[test]
fn an_interface_that_never_comes_or_is_parked_elsewhere_is_no_harm() {
    let (lab, node, parking) = (Namespace::new(), Namespace::new(), Namespace::new());
    let machine = node.machine(demo().set("nics.1.interface=eth9"));
    link((&node, "eth2"), (&lab, "x"), 1500);
    let mut guest = node.boot(&machine);
    guest.shell("killall udhcpc; ip link set eth1 up");
    guest.shell("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
    assert_eq!(guest.shell("cat /sys/class/net/eth1/carrier").trim(), "0");
    lab.ip("addr add 10.0.0.2/24 dev x");
    let ping = "ping -c 3 -w 15 10.0.0.2 > /dev/null && echo they-see";
    assert!(guest.shell(ping).contains("they-see"));
    // Renamed, put elsewhere, and brought back.
    let pid = std::process::id();
    node.ip(&format!("link set eth2 name parked{}", pid % 10_000));
    wait_guest_carrier(&mut guest, false);
    node.ip(&format!("link set parked{} netns {}", pid % 10_000, parking.0));
    parking.ip(&format!("link set parked{} netns {}", pid % 10_000, node.0));
    node.ip(&format!("link set parked{} name eth2", pid % 10_000));
    node.ip("link set eth2 up");
    wait_guest_carrier(&mut guest, true);
    assert!(guest.shell(ping).contains("they-see"), "after it was parked");
    assert_eq!(machine.status()["links"][1]["connected"], false);
}

#[test]
fn a_nic_over_macvtap_follows_its_interface() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    let machine = node.machine(demo().set("nics.0.wiring=macvtap"));
    // Switched on before its interface is there, so that the device comes to a running QEMU.
    let mut guest = node.boot(&machine);
    guest.shell("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
    wait_guest_carrier(&mut guest, false);
    let meet = |guest: &mut Terminal| {
        link((&node, "eth2"), (&lab, "x"), 9500);
        lab.ip("addr add 10.0.0.2/24 dev x");
        wait_guest_carrier(guest, true);
    };
    let ping = "ping -c 3 -w 15 10.0.0.2 > /dev/null && echo they-see";
    meet(&mut guest);
    assert!(guest.shell(ping).contains("they-see"));
    let links = || machine.status()["links"][0].clone();
    let count = |name: &str| links()[name].as_u64().unwrap();
    let before = [count("to_guest_packets"), count("from_guest_packets")];
    // One way only: from the guest.
    let answer = |yes: bool| {
        let write = format!("echo {} > /proc/sys/net/ipv4/icmp_echo_ignore_all", u8::from(!yes));
        run(tool("ip").args(["netns", "exec", &lab.0, "sh", "-c", &write])).succeeds();
    };
    answer(false);
    guest.shell("ping -c 20 -i 0.1 -w 2 10.0.0.2 > /dev/null");
    answer(true);
    let after = [count("to_guest_packets"), count("from_guest_packets")];
    assert!(after[1] - before[1] > after[0] - before[0] + 10, "{before:?} {after:?}");
    // Deleted and made anew, with another index.
    node.ip("link del eth2");
    wait_guest_carrier(&mut guest, false);
    meet(&mut guest);
    assert!(guest.shell(ping).contains("they-see"), "made anew");
    // A process that finds it there, and tells its guest of the MTU.
    node.ipmitool(&machine, &["power", "cycle"]).succeeds();
    guest.expect_guest();
    guest.shell("ip link set eth0 mtu 9000; ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
    let jumbo = "ping -c 3 -w 15 -s 8972 10.0.0.2 > /dev/null && echo they-see";
    assert!(guest.shell(jumbo).contains("they-see"), "after a power cycle");
    drop(machine);
    assert!(!node.ip("link").contains("macvtap"), "{}", node.ip("link"));
}

#[test]
fn a_nic_can_have_its_interfaces_address() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    let machine = node.machine(demo().set("nics.0.mac=inherit"));
    link((&node, "eth2"), (&lab, "x"), 1500);
    wait_carrier(&machine, true);
    let mac = machine.status()["links"][0]["mac"].as_str().unwrap().to_owned();
    assert!(mac.starts_with("aa:c1:ab:"), "{mac}");
    // What comes while the machine is off is not for it.
    lab.ip("addr add 10.0.0.2/24 dev x");
    lab.ip(&format!("neigh add 10.0.0.1 lladdr {mac} dev x"));
    let send = "for i in $(seq 100); do echo x > /dev/udp/10.0.0.1/9; done";
    run(tool("ip").args(["netns", "exec", &lab.0, "bash", "-c", send])).succeeds();
    let mut guest = node.boot(&machine);
    let received = guest.shell("cat /sys/class/net/eth0/statistics/rx_packets");
    assert!(received.trim().parse::<u32>().unwrap() < 50, "{received}");
    lab.ip("neigh del 10.0.0.1 dev x");
    assert_eq!(guest.shell("cat /sys/class/net/eth0/address").trim(), mac);
    // What is for this address reaches the guest, and nobody else answers.
    guest.shell("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
    let ping = "ping -c 3 -w 15 10.0.0.2 > /dev/null && echo they-see";
    assert!(guest.shell(ping).contains("they-see"));
    // A kernel at the other end, which looks at checksums: they are still to be done when they leave
    // the guest.
    let received = machine.setup.dir.path().join("received");
    let target = format!("CREATE:{}", received.display());
    let words = ["netns", "exec", &lab.0, "socat", "-u", "TCP-LISTEN:7001,reuseaddr", &target];
    let mut listener = spawn(tool("ip").args(words));
    let make = "dd if=/dev/urandom of=/tmp/f bs=1M count=8 2>/dev/null; md5sum /tmp/f | cut -c1-32";
    let sum = guest.shell(make).trim().to_owned();
    let send = "until nc 10.0.0.2 7001 < /tmp/f; do sleep 1; done; echo sent";
    assert!(guest.shell(send).contains("sent"));
    wait_until("all is received", SOON, || listener.try_wait().unwrap().is_some());
    run(tool("md5sum").arg(&received)).succeeds().says(&sum);
}

#[test]
fn sixteen_interfaces_that_come_by_themselves() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    let setup = Setup::bare().unset("nics").env("CLAB_INTFS", "17");
    let machine = node.machine(setup);
    node.ipmitool(&machine, &["power", "on"]).succeeds();
    let links = |machine: &Machine| machine.status()["links"].as_array().unwrap().clone();
    assert_eq!(links(&machine).len(), 16);
    for number in 2..=17 {
        link((&node, &format!("eth{number}")), (&lab, &format!("n{number}")), 1500);
    }
    wait_until("all are connected", SOON, || {
        links(&machine).iter().all(|link| link["carrier"] == true)
    });
}

#[test]
fn an_interface_that_nobody_announced_is_plugged_in() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    let setup = Setup::demo().profile(crate::machine::root().join("tests/e2e/automatic.toml"));
    let machine =
        node.machine(setup.unset("ipmi.users").set(format!("ipmi.users.0.password={PASSWORD}")));
    let links = |machine: &Machine| machine.status()["links"].as_array().unwrap().clone();
    assert_eq!(links(&machine).len(), 0);
    let mut guest = node.boot(&machine);
    assert!(guest.shell("ls /sys/class/net").trim().ends_with("lo"));
    link((&node, "eth7"), (&lab, "x"), 9500);
    wait_until("the guest has it", SOON, || {
        guest.shell("cat /sys/class/net/eth0/mtu 2>/dev/null").contains("9500")
    });
    guest.shell("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up");
    lab.ip("addr add 10.0.0.2/24 dev x");
    let ping = "ping -c 3 -w 15 10.0.0.2 > /dev/null && echo they-see";
    assert!(guest.shell(ping).contains("they-see"));
    let mac = links(&machine)[0]["mac"].as_str().unwrap().to_owned();
    assert_eq!(guest.shell("cat /sys/class/net/eth0/address").trim(), mac);
    // It is there from the beginning after a power cycle.
    node.ipmitool(&machine, &["power", "cycle"]).succeeds();
    guest.expect_guest();
    assert_eq!(guest.shell("cat /sys/class/net/eth0/address").trim(), mac);
    // Away, it has no carrier; and it is unplugged when it stays away.
    node.ip("link del eth7");
    guest.shell("ip link set eth0 up");
    wait_guest_carrier(&mut guest, false);
    wait_until("it is unplugged", SOON * 3, || {
        links(&machine).is_empty() && guest.shell("ls /sys/class/net").trim().ends_with("lo")
    });
}

#[test]
fn the_namespace_is_as_it_was_after_the_end_and_after_a_crash() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    link((&node, "eth2"), (&lab, "x"), 9500);
    node.ip("addr add 192.0.2.1/24 dev eth2");
    node.ip("addr add 2001:db8::1/64 dev eth2");
    node.ip("route add 198.51.100.0/24 via 192.0.2.254 src 192.0.2.1 metric 50");
    node.ip("-6 route add 2001:db8:1::/48 via 2001:db8::2");
    let settled = || {
        wait_until("addresses are settled", SOON, || !node.ip("addr").contains("tentative"));
        let routes = ["-j route show table all", "-j -6 route show table all"];
        [node.ip("-j -d link"), node.ip("-j addr"), node.ip(routes[0]), node.ip(routes[1])]
            // What is going on is not state.
            .map(|text| text.replace("\"UNKNOWN\"", "").replace("LOWER_UP", ""))
    };
    let before = settled();
    let mut machine = node.machine(Setup::bare().set("nics.0.interface=eth2"));
    wait_carrier(&machine, true);
    assert!(!node.ip("addr show eth2").contains("192.0.2.1"));
    assert!(!node.ip("route").contains("198.51.100.0"));
    machine.restart();
    wait_carrier(&machine, true);
    // As the kernel's out-of-memory killer would do it.
    processes::signal(machine.pid(), Signal::SIGKILL);
    machine.wait_end(SOON);
    machine.start_again();
    wait_carrier(&machine, true);
    machine.signal(Signal::SIGTERM);
    machine.wait_end(SOON);
    assert_eq!(settled(), before);
}

#[test]
fn what_others_have_made_of_an_interface_stays_theirs() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    link((&node, "eth2"), (&lab, "x"), 9500);
    link((&node, "eth3"), (&lab, "y"), 9500);
    link((&node, "eth4"), (&lab, "z"), 9500);
    node.ip("link add qbb-eth4 type bridge");
    let tc = |words: &str| run(tool("tc").args(["-n", &node.0]).args(words.split(' '))).succeeds();
    for interface in ["eth2", "eth3"] {
        tc(&format!("qdisc add dev {interface} ingress"));
    }
    node.ip("addr add 192.0.2.1/24 dev eth2");
    let setup = Setup::bare().set("nics.0.interface=eth2").set("nics.1.interface=eth3");
    let setup = setup.set("nics.1.wiring=bridge").set("nics.2.interface=eth4");
    let mut machine = node.machine(setup.set("nics.2.wiring=bridge"));
    wait_until("the bridge is there", SOON, || machine.status()["links"][1]["connected"] == true);
    let shown = machine.ctl(&["links"]).succeeds();
    let shown = shown.says("not connected: eth2 has an ingress queueing discipline of others'");
    shown.says("not connected: the name qbb-eth4 is in use");
    assert_eq!(machine.status()["links"][0]["carrier"], false);
    machine.signal(Signal::SIGTERM);
    machine.wait_end(SOON);
    node.ip("link show qbb-eth4");
    for interface in ["eth2", "eth3"] {
        tc(&format!("qdisc show dev {interface} ingress")).says("ingress");
    }
    assert!(node.ip("addr show eth2").contains("192.0.2.1"));
    // Taken away, it is in nobody's way any more.
    machine.start_again();
    tc("qdisc del dev eth2 ingress");
    wait_until("eth2 is connected", SOON, || machine.status()["links"][0]["connected"] == true);
    // And ours is not missed for long.
    tc("qdisc del dev eth2 ingress");
    machine.expect_log("eth2 and qbt-eth2 are not connected any more");
    wait_until("it is again", SOON, || {
        let links = machine.status()["links"].clone();
        links[0]["carrier"] == true && tc("qdisc show dev eth2 ingress").stdout.contains("ingress")
    });
}

#[test]
fn the_guest_is_told_of_what_is_there_when_the_program_starts() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    link((&node, "eth2"), (&lab, "x"), 9000);
    let setup = Setup::bare().set("nics.0.interface=eth2").set("nics.0.mac=inherit");
    let machine = node.machine(setup.set("power.restore=always-on"));
    let pid = machine.wait_on();
    let mac = machine.status()["links"][0]["mac"].as_str().unwrap().to_owned();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(line.contains("\"host_mtu\":9000") && line.contains(&mac), "{line}");
    assert!(mac.starts_with("aa:c1:ab"), "{mac}");
}

#[test]
fn a_name_that_goes_from_one_nic_to_another_takes_its_wire_along() {
    let (lab, node) = (Namespace::new(), Namespace::new());
    link((&node, "eth3"), (&lab, "x"), 1500);
    node.ip("addr add 192.0.2.1/24 dev eth3");
    let setup = Setup::bare().set("nics.0.interface=eth2").set("nics.1.interface=eth3");
    let setup = setup.set("nics.0.wiring=bridge").set("nics.1.wiring=bridge");
    let mut machine = node.machine(setup);
    let connected =
        |machine: &Machine, nic: usize| machine.status()["links"][nic]["connected"] == true;
    wait_until("eth3 is connected", SOON, || connected(&machine, 1));
    node.ip("link set eth3 name eth2");
    wait_until("eth2 is connected", SOON, || connected(&machine, 0) && !connected(&machine, 1));
    assert!(node.ip("link show eth2").contains("master qbb-eth2"));
    machine.signal(Signal::SIGTERM);
    machine.wait_end(SOON);
    assert!(node.ip("addr show eth2").contains("192.0.2.1"));
    let left = node.ip("link");
    assert!(!left.contains("qbb") && !left.contains("PROMISC"), "{left}");
}

#[test]
fn what_the_host_lacks_is_one_finding() {
    let without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    let output = Setup::bare().set("nics.0.interface=eth2").wrapped_in(&without).refused();
    output.exits(1).says("NET_ADMIN is missing").says("--cap-add NET_ADMIN");
    let node = Namespace::new();
    node.ip("link add qbt-eth2 type bridge");
    let setup = Setup::bare().set("nics.0.interface=eth2");
    let output = setup.wrapped_in(&["ip", "netns", "exec", &node.0]).refused();
    output.exits(1).says("the name qbt-eth2, for the NIC's TAP device, is in use");
}
