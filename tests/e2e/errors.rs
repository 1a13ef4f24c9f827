//! What is wrong is said before anything is started: all of it, where it came from, and what to
//! write instead.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use crate::machine::Setup;
use crate::processes;

#[test]
fn a_bad_variable_is_named_with_its_text_and_what_to_write() {
    Setup::bare()
        .env("VM_MEMORY", "abc")
        .refused()
        .exits(2)
        .says("VM_MEMORY=abc")
        .says("`abc` is not a memory size")
        .says("write MiB (`2048`) or a unit (`4GiB`, `4096M`)");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
    let setup = Setup::bare();
    let path = setup.dir.path().join("typo.toml");
    fs::write(&path, "name = \"t\"\n\n[machine]\nmemroy = \"1GiB\"\n").unwrap();
    setup
        .profile(path.clone())
        .refused()
        .exits(2)
        .says("unknown key `memroy` in `machine`")
        .says(&format!("{}:4:1", path.display()))
        .says("did you mean `memory`?");
}

#[test]
fn a_disk_that_was_asked_for_must_be_there() {
    Setup::bare()
        .env("VM_DISK", "/nowhere/disk.qcow2")
        .refused()
        .exits(2)
        .says("the disk /nowhere/disk.qcow2 is not there")
        .says("VM_DISK=/nowhere/disk.qcow2")
        .says("VM_DISK_SIZE");
}

#[test]
fn all_mistakes_are_told_at_once() {
    Setup::bare()
        .env("VM_MEMORY", "abc")
        .env("VM_BOOT", "x")
        .env("VM_MEMROY", "4096")
        .set("machine.cpus=0")
        .set("ipmi.prot=623")
        .set("power.restore=sometimes")
        .refused()
        .exits(2)
        .says("`abc` is not a memory size")
        .says("VM_BOOT=x")
        .says("VM_MEMROY")
        .says("VM_MEMORY`")
        .says("machine.cpus")
        .says("unknown key `prot` in `ipmi`")
        .says("`sometimes`")
        .says("always-on");
}

#[test]
fn passwords_are_never_printed() {
    let secret = "much-too-long-for-an-ipmi-password";
    for setup in [
        Setup::bare().env("IPMI_PASS", secret),
        Setup::bare().set(format!("ipmi.users.0.password={secret}")),
    ] {
        setup.refused().exits(2).says("password").does_not_say(secret);
    }
}

#[test]
fn a_udp_port_in_use_is_named_with_where_it_was_set() {
    let setup = Setup::bare();
    let _taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, setup.port)).unwrap();
    let port = setup.port;
    setup
        .refused()
        .exits(1)
        .says(&format!("UDP port {port} is in use"))
        .says(&format!("--set ipmi.port={port}"))
        .says("set `ipmi.port` (IPMI_PORT)");
    // A variable loses against a flag, so the flag has to go.
    let setup = Setup::bare().unset("ipmi.port").env("IPMI_PORT", port.to_string());
    setup.refused().exits(1).says(&format!("IPMI_PORT={port}"));
}

#[test]
fn a_vnc_port_in_use_is_named() {
    let (_taken, port) = (5900..6100)
        .find_map(|port| Some((TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?, port)))
        .unwrap();
    Setup::bare()
        .env("VNC_PORT", port.to_string())
        .refused()
        .exits(1)
        .says(&format!("TCP port {port} for VNC"))
        .says(&format!("VNC_PORT={port}"))
        .says("set `vnc.port` (VNC_PORT)");
}

#[test]
fn a_port_for_the_console_that_cannot_be_had_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    Setup::bare()
        .set(format!("console.tcp_port={port}"))
        .refused()
        .exits(1)
        .says(&format!("TCP port {port} is in use"))
        .says(&format!("--set console.tcp_port={port}"))
        .says("set `console.tcp_port` to another");
    Setup::bare()
        .set("console.tcp_port=9002")
        // Of a network for documentation: nobody has it.
        .set("console.tcp_address=192.0.2.1")
        .refused()
        .exits(1)
        .says("192.0.2.1:9002 cannot be served on")
        .says("--set console.tcp_address=192.0.2.1")
        .says("leave `console.tcp_address` out");
}

#[test]
fn without_qemu_it_says_what_to_install() {
    let setup = Setup::bare();
    let empty = setup.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    setup
        .env("PATH", empty.display().to_string())
        .refused()
        .exits(1)
        .says("QEMU is not installed")
        .says("`qemu-system-x86`");
}

#[test]
fn kvm_that_was_asked_for_must_be_usable() {
    let setup = Setup::bare().set("machine.accel=kvm");
    // A socket cannot be opened, whoever tries: KVM is never used, not even if this test fails.
    let unusable = setup.dir.path().join("not-kvm");
    let _socket = UnixListener::bind(&unusable).unwrap();
    let hide = "set -e; test ! -e /dev/kvm || mount --bind \"$0\" /dev/kvm; exec \"$@\"";
    let mut wrapper = vec!["unshare", "--mount"];
    if !processes::is_root() {
        wrapper.push("--map-root-user");
    }
    let unusable = unusable.display().to_string();
    wrapper.extend(["sh", "-c", hide, &unusable]);
    setup
        .wrapped_in(&wrapper)
        .refused()
        .exits(1)
        .says("KVM was asked for and is not usable: /dev/kvm")
        .says("machine.accel=kvm")
        .says("use `auto` or `tcg`");
}

#[test]
fn a_low_port_is_refused_to_a_user_without_privileges() {
    // A network of its own: there the limit is 1024, whatever this host has.
    let mut wrapper = vec!["unshare", "--net"];
    if !processes::is_root() {
        wrapper.push("--user");
    }
    Setup::bare()
        .wrapped_in(&wrapper)
        .unprivileged()
        .set("ipmi.port=623")
        .refused()
        .exits(1)
        .says("UDP port 623 may not be opened by this user")
        .says("ipmi.port")
        .says("such as 6230");
}

#[test]
fn a_user_without_privileges_runs_a_machine_with_the_default_directories() {
    let setup = Setup::bare().unprivileged().unset("state_dir");
    let (home, runtime) = (setup.dir.path().to_owned(), setup.dir.path().join("runtime"));
    let machine = setup
        .env("XDG_RUNTIME_DIR", runtime.display().to_string())
        .run_dir(runtime.join("qemu-bmc/e2e"), false)
        .set("power.restore=always-on")
        .start();
    machine.ipmitool(&["mc", "info"]).succeeds().has_field("Device ID", "32");
    let qemu = machine.wait_on();
    let owner = fs::metadata(format!("/proc/{qemu}")).unwrap().uid();
    assert_ne!(owner, 0, "QEMU runs as root");
    assert!(home.join(".local/state/qemu-bmc/e2e").exists(), "the state directory is at home");
    machine.power("off");
    machine.wait_off();
    machine.power_is("off");
}
