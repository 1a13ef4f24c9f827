//! The labs in `containerlab/`, played as containerlab plays them: nodes, links, commands, an end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::run;
use crate::container::{Container, Setup};
use crate::engine::{IMAGE, build, docker, repository};
use crate::lab::link;
use crate::machine::ipmitool;
use crate::report::check;
use crate::terminal::Terminal;
use crate::wait::{BOOT, SOON, wait_until};

/// Every topology of this repository.
pub(crate) fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join("containerlab")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(".clab.yml") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no topology");
    found.sort();
    found
}

pub(crate) fn read(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// Text of a YAML scalar.
fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The link ends of a topology, each a node and an interface.
fn links(topology: &Value) -> Vec<[(String, String); 2]> {
    let links = topology["topology"]["links"].as_array().cloned().unwrap_or_default();
    let end = |text: &str| {
        let (node, interface) = text.split_once(':').unwrap();
        (node.to_owned(), interface.to_owned())
    };
    let ends = |link: &Value| texts(&link["endpoints"]).into_iter().map(end).collect::<Vec<_>>();
    links.iter().map(|link| ends(link).try_into().unwrap()).collect()
}

/// An image that a Dockerfile beside the topologies says it is for.
fn build_other(image: &str) {
    let line = format!("docker build -t {} ", image.trim_end_matches(":latest"));
    let mut folders = vec![repository().join("containerlab")];
    while let Some(folder) = folders.pop() {
        let is_it = |text: String| text.contains(&line);
        if fs::read_to_string(folder.join("Dockerfile")).is_ok_and(is_it) {
            build(image, &folder);
            return;
        }
        let inner = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(inner.filter(|path| path.is_dir()));
    }
    panic!("no Dockerfile says `{line}`");
}

/// A lab that was deployed; dropped, it is destroyed.
struct Lab {
    name: String,
    network: String,
    topology: Value,
    nodes: BTreeMap<String, (Value, Container)>,
}

impl Lab {
    fn deploy(path: &Path) -> Self {
        let topology = read(path);
        let name = topology["name"].as_str().unwrap().to_owned();
        let network = format!("qemu-bmc-test-{}-{name}", std::process::id());
        docker(["network", "create", &network]).succeeds();
        let mut lab = Self { name, network, topology, nodes: BTreeMap::new() };
        let mut waiting = lab.merged_nodes();
        while !waiting.is_empty() {
            let (ready, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, node)| lab.has_what_it_waits_for(node));
            assert!(!ready.is_empty(), "nodes wait for each other: {later:?}");
            for (name, node) in ready {
                let container = lab.setup(path, &name, &node).start();
                lab.nodes.insert(name, (node, container));
            }
            waiting = later;
        }
        for [a, b] in links(&lab.topology) {
            link((&lab.nodes[&a.0].1, &a.1), (&lab.nodes[&b.0].1, &b.1));
        }
        for (node, container) in lab.nodes.values() {
            for command in texts(&node["exec"]) {
                container.exec(&command.split(' ').collect::<Vec<_>>()).succeeds();
            }
        }
        lab
    }

    /// The nodes with the topology's defaults.
    fn merged_nodes(&self) -> Vec<(String, Value)> {
        let topology = &self.topology["topology"];
        let merge = |(name, node): (&String, &Value)| {
            let mut merged = topology["defaults"].as_object().cloned().unwrap_or_default();
            merged.extend(node.as_object().unwrap().clone());
            (name.clone(), Value::Object(merged))
        };
        topology["nodes"].as_object().unwrap().iter().map(merge).collect()
    }

    fn has_what_it_waits_for(&self, node: &Value) -> bool {
        let waits = node["stages"]["create"]["wait-for"].as_array().cloned().unwrap_or_default();
        waits.iter().all(|wait| {
            assert_eq!(wait["stage"], "healthy");
            let other = self.nodes.get(wait["node"].as_str().unwrap());
            other.is_some_and(|(_, container)| container.wait_healthy() > std::time::Duration::ZERO)
        })
    }

    fn setup(&self, path: &Path, name: &str, node: &Value) -> Setup {
        assert_eq!(node["privileged"], false, "{name}");
        let folder = path.parent().unwrap();
        let image = node["image"].as_str().unwrap();
        if image != IMAGE {
            build_other(image);
        }
        let mut setup = Setup::bare(&format!("{}-{name}", self.name)).options([
            "--interactive",
            "--tty",
            "--hostname",
            name,
            "--network",
            &self.network,
            "--network-alias",
            &format!("clab-{}-{name}", self.name),
        ]);
        if image != IMAGE {
            setup = setup.image(image);
        }
        let count = links(&self.topology).iter().flatten().filter(|(node, _)| node == name).count();
        setup = setup.env("CLAB_INTFS", &count.to_string()).env("CLAB_LABEL_CLAB_NODE_NAME", name);
        // KVM is left out, as the topologies' own text says what to do without it.
        let devices = texts(&node["devices"]).into_iter().filter(|device| *device != "/dev/kvm");
        setup = setup.options(devices.map(|device| format!("--device={device}")));
        let capabilities = texts(&node["cap-add"]);
        setup = setup.options(capabilities.iter().map(|name| format!("--cap-add={name}")));
        setup = setup.options(texts(&node["ports"]).iter().map(|port| format!("--publish={port}")));
        for bind in texts(&node["binds"]) {
            let (host, inside) = bind.split_once(':').unwrap();
            setup = setup.bind(folder.join(host).canonicalize().unwrap(), inside);
        }
        for (variable, value) in node["env"].as_object().into_iter().flatten() {
            setup = setup.env(variable, &scalar(value));
        }
        let health = &node["healthcheck"];
        if let [_, words @ ..] = &texts(&health["test"])[..] {
            setup = setup.options([format!("--health-cmd={}", words.join(" "))]);
            for (key, option) in [("interval", "interval"), ("timeout", "timeout")] {
                if let Some(seconds) = health[key].as_u64() {
                    setup = setup.options([format!("--health-{option}={seconds}s")]);
                }
            }
        }
        setup
    }

    /// The nodes that are machines.
    fn machines(&self) -> impl Iterator<Item = &(Value, Container)> {
        self.nodes.values().filter(|(node, _)| node["image"] == IMAGE)
    }

    fn container(&self, name: &str) -> &Container {
        &self.nodes[name].1
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.nodes.clear();
        docker(["network", "rm", &self.network]);
    }
}

/// The user's name and password of every topology here.
fn login(node: &Value, container: &Container) -> [String; 2] {
    let variable = |name: &str| node["env"][name].as_str().map(str::to_owned);
    let password = variable("IPMI_PASS").unwrap_or_else(|| container.read("/run/secrets/ipmi"));
    [variable("IPMI_USER").unwrap_or_else(|| "admin".to_owned()), password]
}

/// Where the node is asked: at its published port, if there is one.
fn client(node: &Value, container: &Container) -> std::process::Command {
    let [user, password] = login(node, container);
    let login = [user.as_str(), password.as_str()];
    let published = texts(&node["ports"]);
    match published.iter().find_map(|port| port.strip_suffix(":623/udp")) {
        Some(port) => {
            let (host, port) = port.rsplit_once(':').unwrap_or(("127.0.0.1", port));
            ipmitool("lanplus", host, port, login)
        }
        None => ipmitool("lanplus", &container.address(), "623", login),
    }
}

#[track_caller]
fn ask(node: &Value, container: &Container, words: &str) -> crate::command::Output {
    run(client(node, container).args(words.split(' ')))
}

#[track_caller]
fn sol(node: &Value, container: &Container) -> Terminal {
    let mut terminal = Terminal::open(client(node, container).args(["sol", "activate"]));
    terminal.expect("SOL Session operational");
    terminal
}

/// Off, and on with somebody at the console.
#[track_caller]
fn boot(node: &Value, container: &Container) -> Terminal {
    let mut terminal = sol(node, container);
    for (action, state) in [("off", "off"), ("on", "on")] {
        ask(node, container, &format!("chassis power {action}")).succeeds();
        wait_until(&format!("power is {state}"), SOON, || {
            ask(node, container, "chassis power status").text().contains(&format!("is {state}"))
        });
    }
    terminal.guest();
    terminal
}

pub(crate) fn group() {
    for path in all() {
        let label = path.file_name().unwrap().to_str().unwrap().trim_end_matches(".clab.yml");
        let Some(lab) = check(&format!("{label}: is deployed"), || Lab::deploy(&path)) else {
            continue;
        };
        play(label, &lab);
    }
}

fn play(label: &str, lab: &Lab) {
    check(&format!("{label}: every machine is healthy, and answers"), || {
        for (node, container) in lab.machines() {
            container.wait_healthy();
            ask(node, container, "chassis power status").succeeds().says("Chassis Power is");
        }
    });
    check(&format!("{label}: every link of a machine carries; so it does when made anew"), || {
        for [a, b] in links(&lab.topology) {
            let ends = [&a, &b].map(|(name, interface)| (&lab.nodes[name], interface.as_str()));
            let carries = |up: bool| {
                for ((node, container), interface) in &ends {
                    if node["image"] == IMAGE {
                        container.wait_carrier(interface, up);
                    }
                }
            };
            carries(true);
            ends[0].0.1.ip(&format!("link del {}", ends[0].1));
            carries(false);
            link((&ends[0].0.1, ends[0].1), (&ends[1].0.1, ends[1].1));
            carries(true);
            // As `exec:` does after a deployment.
            for ((node, container), _) in ends {
                for command in texts(&node["exec"]) {
                    container.exec(&command.split(' ').collect::<Vec<_>>()).succeeds();
                }
            }
        }
    });
    match lab.name.as_str() {
        "back-to-back" => back_to_back(label, lab),
        "pxe" => boots_from_the_network(label, lab),
        _ => check_boots(label, lab),
    }
    check(&format!("{label}: destroyed gracefully: each guest shuts down"), || {
        for (_, container) in lab.machines() {
            let (took, code) = container.stop(10);
            assert_eq!(code, 0, "after {took:?}: {}", container.logs());
        }
    });
}

fn check_boots(label: &str, lab: &Lab) {
    check(&format!("{label}: every machine boots, on its console over the LAN"), || {
        for (node, container) in lab.machines() {
            let mut guest = boot(node, container);
            assert_eq!(guest.shell("echo $((6*7*1000))"), "42000\r\n");
        }
    });
}

fn back_to_back(label: &str, lab: &Lab) {
    check(&format!("{label}: the client asks both by name"), || {
        let client = lab.container("client");
        for node in ["node1", "node2"] {
            let host = format!("clab-{}-{node}", lab.name);
            let words = ["-I", "lanplus", "-H", &host, "-U", "admin", "-f", "/run/secrets/ipmi"];
            let words = [&["ipmitool"], &words[..], &["chassis", "power", "status"]].concat();
            client.exec(&words).succeeds().says("Chassis Power is");
        }
    });
    check(&format!("{label}: the two guests reach each other"), || {
        let mut guests: Vec<Terminal> =
            lab.machines().map(|(node, container)| boot(node, container)).collect();
        for (guest, last) in guests.iter_mut().zip(1..) {
            guest.shell("killall udhcpc; ip link set eth0 up");
            guest.shell(&format!("ip address add 10.0.0.{last}/24 dev eth0"));
        }
        wait_until("an answer", SOON, || {
            let ping = "ping -c 1 -W 1 10.0.0.2 > /dev/null && echo they-see";
            guests[0].shell(ping).contains("they-see")
        });
    });
}

fn boots_from_the_network(label: &str, lab: &Lab) {
    check(&format!("{label}: the machine boots from the network, once"), || {
        for (node, container) in lab.machines() {
            assert!(ask(node, container, "chassis power status").text().contains("is off"));
            ask(node, container, "chassis bootdev pxe").succeeds();
            let mut guest = sol(node, container);
            ask(node, container, "chassis power on").succeeds();
            guest.expect_within(4 * BOOT, "qemu-bmc demo guest ready");
            let told = ask(node, container, "chassis bootparam get 5").succeeds();
            told.does_not_say("Force PXE");
        }
    });
}
