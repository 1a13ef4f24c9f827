//! QEMU runs as another user, who may do nothing, and still gets at its files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::machine::{Machine, Setup, root};
use crate::processes::is_root;

/// The value of a line in `/proc/PID/status`.
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

fn is_confined(machine: &Machine, uid: &str) {
    let pid = machine.wait_on();
    assert_eq!(status(pid, "Uid"), uid);
    assert_eq!(status(pid, "CapEff"), "0000000000000000");
    assert_eq!(status(pid, "CapPrm"), "0000000000000000");
    assert_eq!(status(pid, "NoNewPrivs"), "1");
}

/// A copy that only root may read, in a directory that only root may enter.
fn private(dir: &Path, from: &Path) -> String {
    let folder = dir.join("private");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
    let to = folder.join(from.file_name().unwrap());
    fs::copy(from, &to).unwrap();
    fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
    to.display().to_string()
}

#[test]
fn qemu_is_nobody_and_reads_what_root_may_read() {
    if !is_root() {
        eprintln!("skipped: only root can start QEMU as another user");
        return;
    }
    let setup = Setup::demo();
    let guest = root().join("target/guest");
    let kernel = private(setup.dir.path(), &guest.join("vmlinuz"));
    let initrd = private(setup.dir.path(), &guest.join("initrd"));
    let disk = setup.dir.path().join("private/disk.raw");
    fs::write(&disk, vec![0; 1 << 20]).unwrap();
    fs::set_permissions(&disk, PermissionsExt::from_mode(0o600)).unwrap();
    let machine = setup
        .set(format!("kernel.path={kernel}"))
        .set(format!("kernel.initrd={initrd}"))
        .set(format!("disks.0.path={}", disk.display()))
        .start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    is_confined(&machine, "65534");
    assert_eq!(sol.shell("printf written > /dev/vda && sync && echo ok"), "ok\r\n");
    assert!(fs::read(&disk).unwrap().starts_with(b"written"));
    assert_eq!(fs::metadata(&disk).unwrap().uid(), 0, "the file is still root's");
    // Another process of the same machine gets its files again.
    machine.power("cycle");
    sol.expect_guest();
    is_confined(&machine, "65534");
}

#[test]
fn the_profile_names_the_user() {
    if !is_root() {
        eprintln!("skipped: only root can start QEMU as another user");
        return;
    }
    let machine = Setup::bare().set("qemu.user=12345").set("power.restore=always-on").start();
    is_confined(&machine, "12345");
    let machine = Setup::bare().set("qemu.user=root").set("power.restore=always-on").start();
    assert_eq!(status(machine.wait_on(), "Uid"), "0");
    Setup::bare()
        .set("qemu.user=nobody-here")
        .refused()
        .exits(2)
        .says("there is no user `nobody-here`");
}

#[test]
fn a_root_that_may_not_change_takes_the_capabilities_away() {
    if !is_root() {
        eprintln!("skipped: the program has no capabilities to drop");
        return;
    }
    let drop = ["setpriv", "--bounding-set", "-chown,-kill,-setgid,-setuid"];
    let setup = Setup::bare();
    let disk = setup.file("disk.raw", &vec![0; 1 << 20]);
    // Somebody else's, whom QEMU has no right to override.
    std::os::unix::fs::chown(&disk, Some(12345), None).unwrap();
    fs::set_permissions(&disk, PermissionsExt::from_mode(0o600)).unwrap();
    let setup = setup.set(format!("disks.0.path={}", disk.display()));
    let machine = setup.set("power.restore=always-on").wrapped_in(&drop).start();
    is_confined(&machine, "0");
    let setup = Setup::bare().set("qemu.user=daemon").wrapped_in(&drop);
    setup.refused().exits(2).says("may not change its user");
}
