//! What the BMC says that it is on the network.

use std::fs;

use crate::command::{run, tool};
use crate::machine::{Machine, PASSWORD, Setup, USER};
use crate::namespace::{Namespace, link};
use crate::wait::{SOON, wait_until};

/// Whether what ipmitool prints has this line, `name : value`.
fn prints(text: &str, name: &str, value: &str) -> bool {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.trim(), value.trim())).any(|field| field == (name, value))
}

/// Waits until `lan print` says so.
#[track_caller]
fn wait_printed(print: impl Fn() -> String, name: &str, value: &str) {
    wait_until(&format!("{name} is {value}"), SOON, || prints(&print(), name, value));
}

#[test]
fn an_interface_that_comes_late_is_told_as_it_is() {
    let (ours, theirs) = (Namespace::new(), Namespace::new());
    // Without a NIC, nobody else follows the kernel's links.
    let machine = ours.machine(Setup::bare().env("VM_NETWORKS", "none"));
    let print = || ours.ipmitool(&machine, &["lan", "print", "1"]).succeeds().stdout;
    assert!(!prints(&print(), "IP Address", "192.0.2.10"));
    link((&ours, "eth1"), (&theirs, "eth1"), 1500);
    ours.ip("addr add 192.0.2.10/25 dev eth1");
    wait_printed(print, "IP Address", "192.0.2.10");
    let now = print();
    assert!(prints(&now, "Subnet Mask", "255.255.255.128"), "{now}");
    let shown = ours.ip("link show eth1");
    let mac = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
    assert!(prints(&now, "MAC Address", mac), "{mac} in\n{now}");
    assert!(prints(&now, "Default Gateway IP", "0.0.0.0"), "{now}");

    ours.ip("route add default via 192.0.2.1");
    wait_printed(print, "Default Gateway IP", "192.0.2.1");
    ours.ip("neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth1");
    wait_printed(print, "Default Gateway MAC", "02:00:00:00:00:01");
    ours.ip("link set eth1 address 02:00:00:00:00:99");
    wait_printed(print, "MAC Address", "02:00:00:00:00:99");
    ours.ip("route del default");
    wait_printed(print, "Default Gateway IP", "0.0.0.0");
    ours.ip("addr add 198.51.100.7/24 dev eth1");
    ours.ip("addr del 192.0.2.10/25 dev eth1");
    wait_printed(print, "IP Address", "198.51.100.7");
    ours.ip("link del eth1");
    wait_until("the address is gone", SOON, || !prints(&print(), "IP Address", "198.51.100.7"));
    // It belongs to the container, and clients cannot change it.
    ours.ipmitool(&machine, &["raw", "0x0c", "1", "1", "3", "192", "0", "2", "1"])
        .fails()
        .says("rsp=0x82");
}

#[test]
fn an_interface_that_is_served_on_gets_its_address_later() {
    let (ours, theirs) = (Namespace::new(), Namespace::new());
    link((&ours, "eth1"), (&theirs, "eth1"), 1500);
    let machine = ours.machine(Setup::bare().set("ipmi.bind=eth1"));
    for (namespace, address) in [(&ours, "192.0.2.10/24"), (&theirs, "192.0.2.11/24")] {
        namespace.ip(&format!("addr add {address} dev eth1"));
    }
    let print = || {
        let mut command = tool("ip");
        command.args(["netns", "exec", &theirs.0, "ipmitool", "-I", "lanplus", "-H", "192.0.2.10"]);
        command.args(["-p", &machine.port().to_string(), "-U", USER, "-P", PASSWORD]);
        run(command.args(["lan", "print", "1"])).stdout
    };
    wait_printed(print, "IP Address", "192.0.2.10");
}

/// Writes back what FreeIPMI reads of the LAN's configuration, with these changes.
#[track_caller]
fn commit(machine: &Machine, changes: &[(&str, &str)]) -> String {
    let core = ["--category=core", "--section=Lan_Conf"];
    let read = machine.freeipmi("ipmi-config", &[&core[..], &["--checkout"]].concat()).succeeds();
    let mut text = String::new();
    for line in read.stdout.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [key, _] = words[..] else {
            text += &format!("{line}\n");
            continue;
        };
        match changes.iter().find(|(name, _)| *name == key) {
            Some((name, value)) => text += &format!("\t{name}\t{value}\n"),
            None => text += &format!("{line}\n"),
        }
    }
    let file = machine.setup.file("lan.conf", text.as_bytes());
    let name = format!("--filename={}", file.display());
    let written = machine.freeipmi("ipmi-config", &["--category=core", "--commit", &name]);
    written.succeeds();
    fs::remove_file(file).unwrap();
    machine.freeipmi("ipmi-config", &[&core[..], &["--checkout"]].concat()).succeeds().stdout
}

#[test]
fn addresses_that_can_be_set_are_kept_over_a_restart() {
    let mut machine = Setup::bare().set("ipmi.lan_settable=true").start();
    let print = |machine: &Machine| machine.ipmitool(&["lan", "print", "1"]).succeeds().stdout;
    let before = print(&machine);
    for words in [
        &["ipsrc", "static"][..],
        &["ipaddr", "192.0.2.77"],
        &["netmask", "255.255.255.192"],
        &["macaddr", "02:00:00:00:00:77"],
        &["defgw", "ipaddr", "192.0.2.65"],
        &["defgw", "macaddr", "02:00:00:00:00:65"],
        &["bakgw", "ipaddr", "192.0.2.66"],
        &["bakgw", "macaddr", "02:00:00:00:00:66"],
    ] {
        machine.ipmitool(&[&["lan", "set", "1"], words].concat()).succeeds();
    }
    let expected = [
        ("IP Address Source", "Static Address"),
        ("IP Address", "192.0.2.77"),
        ("Subnet Mask", "255.255.255.192"),
        ("MAC Address", "02:00:00:00:00:77"),
        ("Default Gateway IP", "192.0.2.65"),
        ("Default Gateway MAC", "02:00:00:00:00:65"),
        ("Backup Gateway IP", "192.0.2.66"),
        ("Backup Gateway MAC", "02:00:00:00:00:66"),
    ];
    let check = |machine: &Machine| {
        let now = print(machine);
        for (name, value) in expected {
            assert!(prints(&now, name, value), "{name} {value} in\n{now}");
        }
    };
    check(&machine);
    machine.expect_log("LAN IP address set to 192.0.2.77 by user admin (2) from 127.0.0.1:");
    machine.ctl(&["sel", "list"]).succeeds().says("LAN subnet mask set to 255.255.255.192 by user");
    machine.ctl(&["status"]).succeeds().says("LAN default gateway").says("192.0.2.65");
    machine.restart();
    check(&machine);
    machine.ctl(&["status"]).succeeds().says("LAN IP address").says("192.0.2.77");

    let changes = [
        ("IP_Address_Source", "Use_DHCP"),
        ("IP_Address", "192.0.2.78"),
        ("Subnet_Mask", "255.255.255.0"),
        ("Default_Gateway_IP_Address", "192.0.2.1"),
    ];
    let read = commit(&machine, &changes);
    for (name, value) in changes {
        let line = |line: &str| line.split_whitespace().eq([name, value]);
        assert!(read.lines().any(line), "{name} {value} in\n{read}");
    }
    // Without the key, what was set is gone, and the interface was never touched.
    drop(machine);
    let machine = Setup::bare().start();
    assert_eq!(print(&machine), before);
}

#[test]
fn what_is_read_can_be_written_back_where_nothing_can_be_set() {
    let machine = Setup::bare().start();
    let read = commit(&machine, &[]);
    assert_eq!(commit(&machine, &[]), read);
    machine.ipmitool(&["lan", "set", "1", "ipsrc", "static"]).succeeds();
    machine.ctl(&["status"]).succeeds().does_not_say("LAN ");
}
