//! What a checked profile asks of this host, and the host does not have.

use std::path::Path;

use crate::plan::facts::{Access, FileFact, HostFacts};
use crate::profile::check::Password;
use crate::profile::diagnostic::{At, Finding};
use crate::profile::document::{Accel, FirmwareMode};
use crate::profile::{Key, Profile, Sources};

/// All that stands between this profile and a start on this host. Without an error in it,
/// [`crate::plan::render`] gives a plan that can be carried out.
#[must_use]
pub fn preconditions(profile: &Profile, sources: &Sources, facts: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    disks(profile, facts, &mut findings);
    for (index, path) in profile.cdroms.iter().enumerate() {
        findings.extend(needed(&format!("cdroms.{index}.path"), path, facts));
    }
    if let Some(kernel) = &profile.kernel {
        findings.extend(needed("kernel.path", &kernel.path, facts));
        if let Some(initrd) = &kernel.initrd {
            findings.extend(needed("kernel.initrd", initrd, facts));
        }
    }
    for (index, user) in profile.ipmi.users.iter().enumerate() {
        if let Password::File(path) = &user.password
            && let Some(reason) = facts.bad_password_files.get(path)
        {
            let at = At::Key(Key::from(format!("ipmi.users.{index}.password_file")));
            findings.push(Finding::error(at, format!("{}: {reason}", path.display())));
        }
    }
    accelerator(profile, facts, &mut findings);
    if profile.firmware.mode == FirmwareMode::Uefi && facts.uefi.is_none() {
        let at = At::Key(Key::from("firmware.mode"));
        let finding = Finding::host(at, "UEFI firmware was asked for and OVMF is not installed");
        findings.push(finding.with_help("install it (Debian: `ovmf`), or use mode `bios`"));
    }
    findings.extend(qemu(profile, sources, facts));
    findings
}

fn disks(profile: &Profile, facts: &HostFacts, findings: &mut Vec<Finding>) {
    for (index, disk) in profile.disks.iter().enumerate() {
        let key = format!("disks.{index}.path");
        let path = disk.path.display();
        match (facts.file(&disk.path), disk.size) {
            (FileFact::Missing, None) if !disk.asked_for => {
                let message = format!("no disk: {path} is not there");
                let help = "set `disks` (VM_DISK), or a size to create it (VM_DISK_SIZE); \
                            `disks = []` says that none is wanted";
                findings.push(Finding::warning(At::Key(Key::from(key)), message).with_help(help));
            }
            (FileFact::Missing, None) => {
                let message = format!("the disk {path} is not there");
                let help = "correct the path, or set the disk's `size` (VM_DISK_SIZE) to create it";
                findings.push(Finding::error(At::Key(Key::from(key)), message).with_help(help));
            }
            (FileFact::Missing, Some(_)) => {
                let parent = disk.path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or_else(|| Path::new("."));
                if facts.file(parent) != FileFact::Directory {
                    let parent = parent.display();
                    let message =
                        format!("the disk {path} cannot be created: no directory {parent}");
                    let help = "create the directory, or correct the path";
                    findings.push(Finding::error(At::Key(Key::from(key)), message).with_help(help));
                }
            }
            _ => findings.extend(needed(&key, &disk.path, facts)),
        }
    }
}

/// A file that must be there and readable.
fn needed(key: &str, path: &Path, facts: &HostFacts) -> Option<Finding> {
    let at = At::Key(Key::from(key));
    let path_text = path.display();
    match facts.file(path) {
        FileFact::File(_) | FileFact::BlockDevice => None,
        FileFact::Missing => Some(
            Finding::error(at, format!("{path_text} is not there"))
                .with_help("correct the path; a relative one counts from the working directory"),
        ),
        FileFact::Directory => {
            Some(Finding::error(at, format!("{path_text} is a directory")).with_help("name a file"))
        }
        FileFact::Unreadable(reason) => Some(
            Finding::host(at, format!("{path_text}: {reason}"))
                .with_help("let this user read and write it, or run as another user"),
        ),
    }
}

fn accelerator(profile: &Profile, facts: &HostFacts, findings: &mut Vec<Finding>) {
    let Access::Unusable { reason, help } = &facts.kvm else { return };
    let at = At::Key(Key::from("machine.accel"));
    match profile.machine.accel {
        Accel::Tcg => {}
        Accel::Auto => findings.push(
            Finding::warning(at, format!("KVM is not usable, so QEMU emulates (slow): {reason}"))
                .with_help(format!("{help}; or say `tcg` (ENABLE_KVM=false) if slow is fine")),
        ),
        Accel::Kvm => findings.push(
            Finding::host(at, format!("KVM was asked for and is not usable: {reason}"))
                .with_help(format!("{help}; or use `auto` or `tcg`")),
        ),
    }
}

fn qemu(profile: &Profile, sources: &Sources, facts: &HostFacts) -> Option<Finding> {
    let key = Key::from("qemu.binary");
    let binary = profile.qemu_binary.display();
    match &facts.qemu {
        None if sources.is_default(&key) => Some(
            Finding::host(At::Nowhere, format!("QEMU is not installed: no `{binary}` in PATH"))
                .with_help(
                    "install it (Debian: `qemu-system-x86`), or set `qemu.binary` (QEMU_BINARY)",
                ),
        ),
        None => Some(
            Finding::error(At::Key(key), format!("`{binary}` is not a QEMU that can be run"))
                .with_help("correct it, or leave it out for `qemu-system-x86_64`"),
        ),
        Some(_) => None,
    }
}
