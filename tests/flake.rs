//! The flake: what it builds, what it gives to others, and what it refuses.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

mod nix;

use std::path::Path;
use std::process::Command;

use nix::flakes;
use serde_json::{Value, json};

/// All outputs for all systems are looked at; those for this system are built, and what is built is
/// run by the checks.
#[test]
fn the_checks_pass_and_a_second_build_is_the_same() {
    let flakes = flakes();
    flakes.nix(&["flake", "check"], "", &[]);
    let output = flakes.nix(&["build", "--no-link", "--json"], "default", &[]);
    let output: Value = serde_json::from_str(&output).unwrap();
    let output = Path::new(output[0]["outputs"]["out"].as_str().unwrap());
    let version =
        Command::new(output.join("bin/qemu-bmc")).args(["version", "--json"]).output().unwrap();
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    assert_eq!(version["commit"], flakes.commit.as_str());
    for file in ["man/man1/qemu-bmc.1", "bash-completion/completions/qemu-bmc"] {
        assert!(output.join("share").join(file).is_file(), "{file}");
    }
    // Fails when one byte differs.
    flakes.nix(&["build", "--no-link", "--rebuild"], "default", &[]);
}

#[test]
fn a_machine_is_checked_when_it_is_built() {
    let flakes = flakes();
    let built = flakes.nix(&["build", "--no-link", "--json"], "machines.right.profile", &[]);
    let built: Value = serde_json::from_str(&built).unwrap();
    let profile = std::fs::read(built[0]["outputs"]["out"].as_str().unwrap()).unwrap();
    let profile: Value = serde_json::from_slice(&profile).unwrap();
    assert_eq!(profile, json!({ "name": "node1", "firmware": { "mode": "uefi" } }));

    let refused = |attribute: &str, parts: &[&str]| {
        let output = flakes.try_nix(&["build", "--no-link"], attribute, &["--print-build-logs"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{attribute}");
        for part in parts {
            assert!(errors.contains(part), "{attribute}: {part}: {errors}");
        }
        errors.into_owned()
    };
    // What `qemu-bmc check` says, all of it.
    refused("machines.wrong", &["`machine.cpus` cannot be 0", "did you mean `mode`?"]);
    let errors =
        refused("machines.secret", &["machine node1: a `password` would be in the Nix store"]);
    assert!(!errors.contains("swordfish"), "{errors}");
}

#[test]
fn the_module_makes_a_unit_of_each_machine() {
    let flakes = flakes();
    let units = "config: builtins.mapAttrs (_: unit: unit.serviceConfig) config.systemd.services";
    let fine = flakes.eval("fine", units);
    let names: Vec<&String> = fine.as_object().unwrap().keys().collect();
    assert_eq!(names, ["qemu-bmc-node1", "qemu-bmc-node2"]);
    let written = &fine["qemu-bmc-node2"]["ReadWritePaths"];
    assert_eq!(*written, json!(["-/run/qemu-bmc/node2", "-/srv/node2", "-/vm"]));
    let ports = "config: config.networking.firewall.allowedUDPPorts";
    assert_eq!(flakes.eval("fine", ports), json!([623, 6232]));

    let failed =
        "config: map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions)";
    assert_eq!(flakes.eval("fine", failed), json!([]));
    let failed = flakes.eval("clash", failed);
    assert_eq!(failed.as_array().unwrap().len(), 1, "{failed}");
    let message = failed[0].as_str().unwrap();
    assert!(message.contains("node1 and node3") && message.contains("UDP 623"), "{message}");
}

/// The commands that the tests need (`scripts/setup test`), and the package of nixpkgs that each is in.
const TOOLS: [(&str, &str); 31] = [
    ("bash", "bash"),
    ("cc", "qemu-bmc"),
    ("col", "util-linux"),
    ("debootstrap", "debootstrap"),
    ("docker", "docker"),
    ("docker-compose", "docker-compose"),
    ("ethtool", "ethtool"),
    ("fish", "fish"),
    ("ip", "iproute2"),
    ("ipmi-chassis", "freeipmi"),
    ("ipmidetect", "freeipmi"),
    ("ipmidetectd", "freeipmi"),
    ("ipmitool", "ipmitool"),
    ("ipmiutil", "ipmiutil"),
    ("iptables", "iptables"),
    ("make", "gnumake"),
    ("mandoc", "mandoc"),
    ("nix", "nix"),
    ("openipmicmd", "openipmi"),
    ("ps", "procps"),
    ("python3", "python3"),
    ("qemu-img", "qemu"),
    ("qemu-system-x86_64", "qemu"),
    ("setsid", "util-linux"),
    ("slirp4netns", "slirp4netns"),
    ("socat", "socat"),
    ("swtpm", "swtpm"),
    ("tcpdump", "tcpdump"),
    ("unshare", "util-linux"),
    ("xz", "xz"),
    ("zsh", "zsh"),
];

#[test]
fn the_development_shell_has_every_tool_of_the_tests() {
    let flakes = flakes();
    let setup = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup"));
    let setup = setup.unwrap();
    let lines = setup.lines().filter_map(|line| line.trim().strip_prefix("commands=\""));
    let commands: Vec<&str> = lines
        .flat_map(|line| line.trim_end_matches('"').split(' '))
        .filter(|word| *word != "$commands")
        .collect();
    assert!(commands.contains(&"ipmitool"), "{commands:?}");

    let names = "shell: map (package: package.arguments.name) (shell.packages ++ shell.inputsFrom)";
    let packages = flakes.eval("devShells.x86_64-linux.default", names);
    let packages: Vec<&str> =
        packages.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for command in commands {
        let known = TOOLS.iter().find(|(other, _)| *other == command);
        let (_, package) = known.unwrap_or_else(|| panic!("TOOLS lacks {command}"));
        // Ours has the compiler, as it is built with it.
        let there = packages
            .iter()
            .any(|name| name == package || name.starts_with("qemu-bmc-") && *package == "qemu-bmc");
        assert!(there, "nix/shell.nix lacks {package} for {command}: {packages:?}");
    }
    for package in ["cargo-deny", "clippy", "git", "rustfmt"] {
        assert!(packages.contains(&package), "nix/shell.nix lacks {package}");
    }
}
