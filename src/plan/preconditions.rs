//! What a checked profile asks of this host, and the host does not have.

use std::path::Path;

use crate::plan::facts::{Access, FileFact, HostFacts};
use crate::plan::network::{NetworkPlan, left_out};
use crate::plan::qemu::overlay_path;
use crate::profile::check::{Disk, Password, free_slots};
use crate::profile::diagnostic::{At, Finding};
use crate::profile::document::{Accel, FirmwareMode, Overlay};
use crate::profile::variables::nearest;
use crate::profile::{Key, Profile, Sources};
use crate::value::ImageFormat;

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
            let message = format!("the password file {} cannot be used: {reason}", path.display());
            let help =
                "put the user's password into it, or correct `password_file` (IPMI_PASS_FILE)";
            findings.push(Finding::error(at, message).with_help(help));
        }
    }
    if let Some(path) = &profile.ipmi.k_g_file
        && let Some(reason) = facts.bad_password_files.get(path)
    {
        let at = At::Key(Key::from("ipmi.k_g_file"));
        findings.push(Finding::error(at, format!("{}: {reason}", path.display())));
    }
    if let Some(path) = profile.vnc.as_ref().and_then(|vnc| vnc.password_file.as_ref())
        && let Some(reason) = facts.bad_password_files.get(path)
    {
        let at = At::Key(Key::from("vnc.password_file"));
        let message = format!("the password file {} cannot be used: {reason}", path.display());
        let help = "put VNC's password into it, or leave `password_file` out";
        findings.push(Finding::error(at, message).with_help(help));
    }
    let network = NetworkPlan::render(profile, facts);
    findings.extend(taps(profile, facts, &network));
    findings.extend(first_nic(profile, &network));
    if profile.nics_automatic {
        findings.extend(room(profile, facts, &network));
    }
    for (index, nic) in profile.nics.iter().enumerate() {
        if let Some(path) = &nic.rom_file {
            findings.extend(needed(&format!("nics.{index}.rom_file"), path, facts));
        }
    }
    let serials = profile.serials.iter().enumerate();
    let serials = serials.map(|(index, serial)| (format!("serials.{index}.file"), &serial.file));
    let console = ("console.file".to_owned(), &profile.console.file);
    for (key, file) in std::iter::once(console).chain(serials) {
        findings.extend(file.as_ref().and_then(|path| log_file(&key, path, facts)));
    }
    log_files_are_distinct(profile, facts, &mut findings);
    if let Some(path) = &profile.firmware.vars_template {
        findings.extend(needed("firmware.vars_template", path, facts));
    }
    accelerator(profile, facts, &mut findings);
    processor(profile, facts, &mut findings);
    findings.extend(tpm(profile, sources, facts));
    let secure = profile.firmware.secure_boot;
    let uefi = if secure { &facts.uefi_secure } else { &facts.uefi };
    if profile.firmware.mode == FirmwareMode::Uefi && uefi.is_none() {
        let (key, what, instead) = match (secure, &facts.uefi) {
            (true, Some(_)) => (
                "firmware.secure_boot",
                "Secure Boot was asked for, and the OVMF that is installed has no build for it",
                "leave `secure_boot` out",
            ),
            _ => (
                "firmware.mode",
                "UEFI firmware was asked for and OVMF is not installed",
                "use mode `bios`",
            ),
        };
        let finding = Finding::host(At::Key(Key::from(key)), what);
        findings.push(finding.with_help(format!("install it (Debian: `ovmf`), or {instead}")));
    }
    if let Err(reason) = &facts.run_as {
        let help =
            "correct it, or leave it out: QEMU then runs as this user, or for root as `nobody`";
        let at = At::Key(Key::from("qemu.user"));
        findings.push(Finding::error(at, reason).with_help(help));
    }
    findings.extend(qemu(profile, sources, facts));
    findings
}

/// Whether the machine has room for the interfaces that are its own by themselves.
fn room(profile: &Profile, facts: &HostFacts, network: &NetworkPlan) -> Option<Finding> {
    let nics = network.nics.len();
    let free = free_slots(profile.disks.iter().map(|disk| &disk.bus));
    let at = || At::Key(Key::from("nics"));
    if nics > free {
        let message =
            format!("{nics} interfaces are the VM's, and {free} PCI slots are left for them");
        let help = "name those that it is to have (VM_NETWORKS), or put disks on bus `scsi`";
        return Some(Finding::error(at(), message).with_help(help));
    }
    let too_many = left_out(facts);
    (too_many > 0).then(|| {
        let message = format!("{too_many} interfaces are left out: the VM takes 16 by itself");
        Finding::warning(at(), message).with_help("name those that it is to have (VM_NETWORKS)")
    })
}

/// What NICs with interfaces need.
fn taps(profile: &Profile, facts: &HostFacts, network: &NetworkPlan) -> Option<Finding> {
    let first = network.nics.iter().position(|nic| nic.interface.is_some());
    let key = |index: usize| {
        let key = if profile.nics_automatic {
            "nics".to_owned()
        } else {
            format!("nics.{index}.interface")
        };
        At::Key(Key::from(key))
    };
    let (Some(index), Access::Unusable { reason, help }) = (first, &facts.tap) else {
        return None;
    };
    let message = format!("an interface cannot become the VM's: {reason}");
    let help = format!("{help}, or use no NIC with an interface (VM_NETWORKS=none)");
    Some(Finding::host(key(index), message).with_help(help))
}

/// The NIC that a boot from the network begins with.
fn first_nic(profile: &Profile, network: &NetworkPlan) -> Option<Finding> {
    let name = profile.boot.first_nic.as_ref()?;
    let at = At::Key(Key::from("boot.first_nic"));
    let Some(nic) = network.nics.iter().find(|nic| nic.is_called(name)) else {
        let names = network.nics.iter().map(|nic| match &nic.interface {
            Some(interface) => interface.as_str(),
            None => &nic.id,
        });
        let names: Vec<&str> = names.collect();
        let help = match names[..] {
            [] => "leave it out: the machine has no NIC".to_owned(),
            _ => format!("name one of {}, or leave it out", names.join(", ")),
        };
        return Some(Finding::error(at, format!("no NIC is called {name}")).with_help(help));
    };
    if nic.boot_rom {
        return None;
    }
    let message = format!("{name} is to be booted from first, and its `boot_rom` is false");
    Some(Finding::error(at, message).with_help("leave one of them out"))
}

fn disks(profile: &Profile, facts: &HostFacts, findings: &mut Vec<Finding>) {
    for disk in &profile.disks {
        let key = |name: &str| At::Key(Key::from(format!("disks.{}.{name}", disk.index)));
        let path = disk.path.display();
        match (facts.file(&disk.path), disk.size) {
            (FileFact::Missing, _) if disk.overlay.is_some() => {
                let message = format!("the base of the overlay, {path}, is not there");
                let help = "correct the path, or leave `overlay` out";
                findings.push(Finding::error(key("path"), message).with_help(help));
            }
            (FileFact::Missing, None) if !disk.asked_for => {
                let message = format!("no disk: {path} is not there");
                let help = "set `disks` (VM_DISK), or a size to create it (VM_DISK_SIZE); \
                            `disks = []` says that none is wanted";
                findings.push(Finding::warning(key("path"), message).with_help(help));
            }
            (FileFact::Missing, None) => {
                let message = format!("the disk {path} is not there");
                let help = "correct the path, or set the disk's `size` (VM_DISK_SIZE) to create it";
                findings.push(Finding::error(key("path"), message).with_help(help));
            }
            (FileFact::Missing, Some(_)) => {
                let parent = disk.path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or_else(|| Path::new("."));
                if facts.file(parent) != FileFact::Directory {
                    let parent = parent.display();
                    let message =
                        format!("the disk {path} cannot be created: no directory {parent}");
                    let help = "create the directory, or correct the path";
                    findings.push(Finding::error(key("path"), message).with_help(help));
                }
            }
            (fact, _) => {
                let lacking = needed(&format!("disks.{}.path", disk.index), &disk.path, facts);
                match (lacking, fact) {
                    (Some(finding), _) => findings.push(finding),
                    (None, FileFact::File(found)) => image(profile, disk, found, facts, findings),
                    (None, _) => image(profile, disk, ImageFormat::Raw, facts, findings),
                }
            }
        }
    }
}

/// An image that is there is what the profile says of it.
fn image(
    profile: &Profile,
    disk: &Disk,
    found: ImageFormat,
    facts: &HostFacts,
    findings: &mut Vec<Finding>,
) {
    let key = |name: &str| At::Key(Key::from(format!("disks.{}.{name}", disk.index)));
    let path = disk.path.display();
    match disk.format {
        Some(ImageFormat::Raw) if found != ImageFormat::Raw => findings.push(
            Finding::warning(
                key("format"),
                format!("{path} looks like {}, and `format` is `raw`", found.driver()),
            )
            .with_help(
                "the guest will see the bytes of the file; leave `format` out to have it read",
            ),
        ),
        Some(format) if found != format => findings.push(
            Finding::error(
                key("format"),
                format!("{path} is {}, and `format` is `{}`", found.driver(), format.driver()),
            )
            .with_help("leave `format` out: it is read from the image"),
        ),
        _ => {}
    }
    if let Some(expected) = disk.sha256 {
        match facts.sha256.get(&disk.path) {
            Some(found) if *found == expected => {}
            Some(found) => findings.push(
                Finding::error(key("sha256"), format!("the SHA-256 of {path} is {found}"))
                    .with_help("it is another image than the one that was meant; get that, or write this sum"),
            ),
            None => {
                let message = format!("the SHA-256 of {path} cannot be told: it could not be read");
                findings.push(Finding::host(key("sha256"), message));
            }
        }
    }
    let overlay = overlay_path(&profile.state_dir, disk.index);
    if let (Some(Overlay::Kept), Some(fact)) = (disk.overlay, facts.overlays.get(&overlay)) {
        let base = facts.working_dir.join(&disk.path);
        let (overlay, its_base) = (overlay.display(), fact.base.display());
        if fact.base != base {
            let message = format!(
                "{overlay} is kept and was made over {its_base}, not over {}",
                base.display()
            );
            let help = "name that base again, or remove the overlay, and with it all that the guest \
                        has written";
            findings.push(Finding::error(key("path"), message).with_help(help));
        }
        if let Some(size) = disk.size.map(|size| size.bytes()).filter(|size| *size != fact.bytes) {
            let message =
                format!("`size` is {size} bytes, and {overlay}, which is kept, has {}", fact.bytes);
            let help = "leave `size` out, or remove the overlay, and with it all that the guest has \
                        written; `qemu-img resize` makes it larger";
            findings.push(Finding::error(key("size"), message).with_help(help));
        }
    }
    if disk.overlay.is_some()
        && let (Some(size), Some(base)) = (disk.size, facts.disk_bytes.get(&disk.path))
        && size.bytes() < *base
    {
        let message = format!("`size` is {} bytes, and the base, {path}, is {base}", size.bytes());
        findings
            .push(Finding::error(key("size"), message).with_help(
                "the end of the base would be cut off; write more, or leave `size` out",
            ));
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
        FileFact::Special => Some(
            Finding::error(at, format!("{path_text} is neither a file nor a block device"))
                .with_help("name a file"),
        ),
        FileFact::Unreadable(reason) => Some(
            Finding::host(at, format!("{path_text}: {reason}"))
                .with_help("let this user read and write it, or run as another user"),
        ),
    }
}

/// A file that is written to, and created if it is missing.
fn log_file(key: &str, path: &Path, facts: &HostFacts) -> Option<Finding> {
    let at = At::Key(Key::from(key));
    match facts.file(path) {
        FileFact::Missing => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or_else(|| Path::new("."));
            let message =
                format!("{} cannot be written: no directory {}", path.display(), parent.display());
            let finding = Finding::error(at, message);
            (facts.file(parent) != FileFact::Directory)
                .then(|| finding.with_help("create the directory, or correct the path"))
        }
        FileFact::BlockDevice | FileFact::Special => {
            let message = format!("{} is not a file", path.display());
            let help = "name a file, or one to be created; for none, leave it out";
            Some(Finding::error(at, message).with_help(help))
        }
        _ => needed(key, path, facts),
    }
}

/// Two that write to one file would destroy what is in it.
fn log_files_are_distinct(profile: &Profile, facts: &HostFacts, findings: &mut Vec<Finding>) {
    let disks = profile.disks.iter();
    let disks = disks.map(|disk| (format!("disks[{}]", disk.index), disk.path.as_path()));
    let cdroms = profile.cdroms.iter().enumerate();
    let cdroms = cdroms.map(|(index, path)| (format!("cdroms[{index}]"), path.as_path()));
    let kernel = profile.kernel.iter().flat_map(|kernel| {
        let initrd = kernel.initrd.as_deref().map(|path| ("kernel.initrd".to_owned(), path));
        [Some(("kernel.path".to_owned(), kernel.path.as_path())), initrd].into_iter().flatten()
    });
    let mut taken: Vec<(String, &Path)> = disks.chain(cdroms).chain(kernel).collect();
    let serials = profile.serials.iter().enumerate();
    let serials =
        serials.map(|(index, serial)| (format!("serials.{index}"), serial.file.as_deref()));
    let console = ("console".to_owned(), profile.console.file.as_deref());
    for (section, path) in std::iter::once(console).chain(serials) {
        let Some(path) = path else { continue };
        let mut error = |message: String, help| {
            let at = At::Key(Key::from(format!("{section}.file")));
            findings.push(Finding::error(at, message).with_help(help));
        };
        for (key, directory) in [("run_dir", &profile.run_dir), ("state_dir", &profile.state_dir)] {
            if facts.real(path).parent() == Some(facts.real(directory)) {
                let path = path.display();
                error(
                    format!("{path} is in `{key}`, where the program's own files are"),
                    "write it to another directory",
                );
            }
        }
        let same = |other: &&(String, &Path)| facts.real(other.1) == facts.real(path);
        if let Some((other, _)) = taken.iter().find(same) {
            let message = format!("{} is that of `{other}` as well", path.display());
            error(message, "give each a file of its own");
        }
        taken.push((Key::from(section.as_str()).to_string(), path));
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

fn processor(profile: &Profile, facts: &HostFacts, findings: &mut Vec<Finding>) {
    let unknown = |key: &str, what: &str, name: &str, known: &Option<Vec<String>>, all: &str| {
        let known = known.as_ref()?;
        if known.iter().any(|known| known == name) {
            return None;
        }
        let message = format!("this QEMU has no {what} `{name}`");
        let near = nearest(name, known.iter().map(String::as_str));
        let help = near.map_or_else(
            || format!("`qemu-system-x86_64 {all} help` lists them"),
            |near| format!("did you mean `{near}`?"),
        );
        Some(Finding::error(At::Key(Key::from(key)), message).with_help(help))
    };
    let machine = &profile.machine;
    let name = &machine.machine_type;
    findings.extend(unknown(
        "machine.type",
        "machine type",
        name,
        &facts.machine_types,
        "-machine",
    ));
    let Some(cpu) = &machine.cpu else { return };
    let model = cpu.split(',').next().unwrap_or_default();
    findings.extend(unknown("machine.cpu", "CPU model", model, &facts.cpu_models, "-cpu"));
    if model == "host" && machine.accel == Accel::Auto && facts.kvm != Access::Usable {
        findings.push(
            Finding::host(
                At::Key(Key::from("machine.cpu")),
                "`machine.cpu` is `host`, which needs KVM, and KVM is not usable",
            )
            .with_help("leave `cpu` out: it is then `host` with KVM, and else `max`"),
        );
    }
}

fn tpm(profile: &Profile, sources: &Sources, facts: &HostFacts) -> Option<Finding> {
    let tpm = profile.tpm.as_ref().filter(|_| facts.swtpm.is_none())?;
    let key = Key::from("tpm.binary");
    let binary = tpm.binary.display();
    Some(if sources.is_default(&key) {
        let message = format!("a TPM was asked for and there is no `{binary}`");
        Finding::host(At::Key(Key::from("tpm")), message)
            .with_help("install it (Debian: `swtpm`), or leave `tpm` out")
    } else {
        Finding::error(At::Key(key), format!("`{binary}` is not a program that can be run"))
            .with_help("correct it, or leave it out for `swtpm`")
    })
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
