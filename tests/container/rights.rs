//! What the container is allowed, from nothing to the usual, and what QEMU has of it.

use crate::container::{Container, Setup};
use crate::engine::{build, image};
use crate::lab::{half, node};
use crate::report::check;
use crate::terminal::Terminal;

/// A field of `/proc/PID/status` of QEMU.
#[track_caller]
fn of_qemu(container: &Container, field: &str) -> String {
    let path = format!("/proc/{}/status", container.wait_qemu());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

const NO_CAPABILITY: &str = "0000000000000000";
const NOBODY: &str = "65534";

#[track_caller]
fn qemu_is_nobody(container: &Container) {
    assert_eq!(of_qemu(container, "Uid"), NOBODY);
    qemu_can_nothing(container);
}

/// Not even as root, if it has to be root.
#[track_caller]
fn qemu_can_nothing(container: &Container) {
    for field in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(of_qemu(container, field), NO_CAPABILITY, "{field}");
    }
    assert_eq!(of_qemu(container, "NoNewPrivs"), "1");
    assert_eq!(of_qemu(container, "Seccomp"), "2");
}

#[track_caller]
fn power_works(container: &Container) {
    for (action, answer, state) in [("off", "Down/Off", "off"), ("on", "Up/On", "on")] {
        container.switch(action, answer);
        container.wait_power(state);
    }
}

#[track_caller]
fn link_works(container: &Container) {
    half(container, "eth2");
    container.wait_carrier("eth2", true);
}

/// The demo guest reaches QEMU's own network.
#[track_caller]
fn reaches_out(guest: &mut Terminal) {
    crate::wait::wait_until("an address", crate::wait::SOON, || {
        guest.shell("ip -4 addr show dev eth0").contains("10.0.2.15")
    });
    let ping = "ping -c 1 -W 2 10.0.2.2 > /dev/null && echo they-see";
    assert!(guest.shell(ping).contains("they-see"));
}

pub(crate) fn group() {
    const STRICT: [&str; 2] = ["--cap-drop=ALL", "--security-opt=no-new-privileges"];
    check("NET_ADMIN and /dev/net/tun: links work, QEMU is nobody and can nothing", || {
        let usual = node("usual", 1).ready();
        assert_eq!(usual.inspect("{{.HostConfig.Privileged}}"), "false");
        qemu_is_nobody(&usual);
        link_works(&usual);
        power_works(&usual);
    });
    check("--cap-drop ALL, no-new-privileges beside it: the same, and QEMU can nothing", || {
        let strict = node("strict", 1).options(STRICT).ready();
        qemu_can_nothing(&strict);
        link_works(&strict);
        power_works(&strict);
        strict.wait_healthy();
        assert_eq!(strict.stop(10).1, 0);
    });
    check("--cap-drop ALL, and four capabilities for a change of user: QEMU is nobody", || {
        let four = ["CHOWN", "KILL", "SETGID", "SETUID"].map(|name| format!("--cap-add={name}"));
        let four = node("four", 1).options(STRICT).options(four).ready();
        qemu_is_nobody(&four);
        link_works(&four);
        power_works(&four);
    });
    check("no device and no capability at all: emulated, on QEMU's own network", || {
        let bare = Setup::bare("bare")
            .options(STRICT)
            .guest()
            .env("QEMU_BMC__NICS__0__WIRING", "user")
            .off()
            .ready();
        reaches_out(&mut bare.boot_guest());
        qemu_can_nothing(&bare);
        assert_eq!(bare.stop(10).1, 0);
    });
    check("a link without the right to it: an error that says what to add", || {
        let without = Setup::bare("without").env("VM_NETWORKS", "eth2").run();
        without.exits(1).says("--device /dev/net/tun");
        let without = Setup::bare("without").options(["--device=/dev/net/tun"]);
        without.env("VM_NETWORKS", "eth2").run().exits(1).says("--cap-add NET_ADMIN");
    });
    check("a read-only root file system", || {
        let fixed = node("fixed", 1).options(["--read-only", "--tmpfs=/run"]).ready();
        qemu_is_nobody(&fixed);
        link_works(&fixed);
        power_works(&fixed);
    });
    check("KVM is in the arguments where there is /dev/kvm", || {
        if !std::path::Path::new("/dev/kvm").exists() {
            let missing = Setup::new("kvm").env("QEMU_BMC__MACHINE__ACCEL", "kvm").run();
            missing.exits(2).says("--device /dev/kvm");
            return;
        }
        // Planned only: KVM under another hypervisor may not run at all.
        let kvm = Setup::new("kvm").options(["--device=/dev/kvm"]).env("ENABLE_KVM", "true").off();
        kvm.ready().exec(&["qemu-bmc", "plan"]).succeeds().says("accel=kvm");
    });
    check("a derived image: apt works, and a TPM is there", || {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "FROM {}\nRUN apt-get update && apt-get install -y --no-install-recommends swtpm\n",
            image()
        );
        std::fs::write(folder.path().join("Dockerfile"), text).unwrap();
        let tag = format!("qemu-bmc-test-{}-derived", std::process::id());
        build(&tag, folder.path());
        {
            let derived =
                Setup::new("tpm").image(&tag).env("QEMU_BMC__TPM__BINARY", "swtpm").ready();
            assert!(derived.qemu_argv().contains("tpm-"), "{}", derived.qemu_argv());
            derived.wait_power("on");
        }
        crate::engine::docker(["rmi", &tag]).succeeds();
    });
}
