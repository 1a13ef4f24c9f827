//! docker-qemu-bmc's checks of the network, by their numbers there: its scripts have become steps of
//! the plan, and its bridge is one of the wirings.

use serde_json::Value;

use crate::command::{run, tool};
use crate::container::{Container, Setup};
use crate::engine::docker;
use crate::lab::{half, node};
use crate::report::check;
use crate::wait::{SOON, wait_until};

/// The NICs that are planned in a container with these variables.
#[track_caller]
fn planned(container: &Container, variables: &[&str]) -> Vec<Value> {
    let mut words = vec!["exec"];
    for variable in variables {
        words.extend(["--env", variable]);
    }
    words.extend([container.name.as_str(), "qemu-bmc", "plan", "--format", "json"]);
    let plan: Value = serde_json::from_str(&docker(words).succeeds().stdout).unwrap();
    plan["network"]["nics"].as_array().unwrap().clone()
}

#[track_caller]
fn macs(container: &Container) -> Vec<String> {
    let nics = planned(container, &["VM_NETWORKS=eth2,eth3"]);
    nics.iter().map(|nic| nic["mac"].as_str().unwrap().to_owned()).collect()
}

/// The bridge that an interface is a port of.
#[track_caller]
fn bridge_of(container: &Container, interface: &str) -> Option<String> {
    let shown = container.ip(&format!("-json link show dev {interface}"));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown[0]["master"].as_str().map(str::to_owned)
}

pub(crate) fn group() {
    let none = Setup::new("no-links").ready();
    static_checks(&none);
    drop(none);
    wired();
}

fn static_checks(none: &Container) {
    check("5.1, 5.2, 5.9, 5.10 the plan has the steps of a link", || {
        let nics = planned(none, &["VM_NETWORKS=eth2"]);
        assert_eq!(nics[0]["tap"], "qbt-eth2");
        assert!(nics[0]["at_start"].to_string().contains("\"tap\""), "{}", nics[0]);
        assert!(nics[0]["when_there"].to_string().contains("redirect"), "{}", nics[0]);
    });
    check("5.3 state of the network in the run directory", || {
        none.exec(&["test", "-d", "/var/run/qemu/network"]).succeeds();
    });
    check("5.4, 5.5 VM_NETWORKS says which interfaces", || {
        let names: Vec<Value> = planned(none, &["VM_NETWORKS=eth2,eth3"])
            .iter()
            .map(|nic| nic["interface"].clone())
            .collect();
        assert_eq!(names, ["eth2", "eth3"]);
        assert!(planned(none, &["VM_NETWORKS=none"]).is_empty());
    });
    check("5.6 a MAC address is valid: unicast, and locally administered or QEMU's", || {
        for mac in macs(none) {
            let octets: Vec<u8> =
                mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
            assert_eq!(octets.len(), 6, "{mac}");
            assert_eq!(octets[0] & 3, 2, "{mac}");
        }
    });
    check("5.7 the same interface, the same MAC address", || assert_eq!(macs(none), macs(none)));
    check("5.8 another interface, another MAC address", || {
        let macs = macs(none);
        assert_ne!(macs[0], macs[1]);
    });
    check("5.11 the network in QEMU's arguments", || {
        let argv = none.qemu_argv();
        assert!(argv.contains("-nic none"), "{argv}");
    });
    check("5.14 the container's own interfaces", || {
        let shown = none.ip("-brief link");
        assert!(shown.contains("eth0") && shown.contains("lo"), "{shown}");
    });
    check("5.15 an empty VM_NETWORKS is none", || {
        assert!(planned(none, &["VM_NETWORKS="]).is_empty());
    });
}

fn wired() {
    let wired = node("wired", 1)
        .env("VM_NETWORKS", "eth2")
        .env("QEMU_BMC__NICS__0__WIRING", "bridge")
        .ready();
    check("5.12 a TAP device is there, and QEMU has it", || {
        wait_until("it is", SOON, || wired.ip("-brief link").contains("qbt-eth2"));
        let argv = wired.qemu_argv();
        assert!(argv.contains("-netdev") && argv.contains("\"tap\""), "{argv}");
    });
    let outer = half(&wired, "eth2");
    check("5.16, 5.17, 5.18 interface and TAP device are ports of one bridge", || {
        wait_until("they are", SOON, || bridge_of(&wired, "eth2").is_some());
        let bridge = bridge_of(&wired, "eth2").unwrap();
        assert_eq!(bridge_of(&wired, "qbt-eth2").as_ref(), Some(&bridge));
        assert!(wired.ip("-brief link show type bridge").contains(&bridge));
    });
    check("5.13 what was changed is written down, to be put back", || {
        let noted = wired.read("/var/run/qemu/network/interfaces.json");
        assert!(noted.contains("eth2"), "{noted}");
    });
    check("5.19, 5.20 neither bridge nor interface has an IPv4 address", || {
        wired.ip("address add 192.0.2.9/24 dev eth2");
        wait_until("they have none", SOON, || {
            let bridge = bridge_of(&wired, "eth2").unwrap();
            [&bridge, "eth2", "qbt-eth2"]
                .iter()
                .all(|name| !wired.ip(&format!("address show dev {name}")).contains("inet "))
        });
    });
    check("eth0 keeps its address", || {
        assert!(wired.ip("address show dev eth0").contains("inet "));
    });
    drop(wired);
    check("with the container goes its link", || {
        let there = || run(tool("ip").args(["-brief", "link"])).succeeds().stdout.contains(&outer);
        wait_until("it is gone", SOON, || !there());
    });
}
