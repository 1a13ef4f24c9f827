//! `doctor`: what this host has of what the profile needs, and how to mend what it lacks.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::{FAILURE, output};
use crate::host::{facts, udp};
use crate::plan::facts::Access;
use crate::plan::qemu::VHOST_NET;
use crate::profile::Profile;
use crate::profile::document::{Accel, FirmwareMode};

/// How it is with one thing.
enum Verdict {
    /// As it should be; says how it is.
    Good(String),
    /// It works, but not as well as it could; says why, and what would mend it.
    Poor(String, String),
    /// The machine would not start.
    Bad(String, String),
}

use Verdict::{Bad, Good, Poor};

pub(super) fn run(profile: &Profile) -> ExitCode {
    let host = facts::probe(profile);
    let checks = [
        ("QEMU", qemu(profile, host.qemu.as_deref())),
        ("KVM", kvm(profile, &host.kvm)),
        ("UEFI", uefi(profile, host.uefi.as_ref().map(|files| files.code.display().to_string()))),
        ("qemu-img", qemu_img(profile)),
        ("TAP", tap(profile, &host.tap)),
        ("vhost-net", vhost_net(host.vhost_net)),
        ("memory", memory(profile)),
        ("run_dir", directory("run_dir", &profile.run_dir)),
        ("state_dir", directory("state_dir", &profile.state_dir)),
        ("IPMI port", ipmi_port(profile)),
    ];
    let mut bad = false;
    let mut out = String::new();
    for (name, verdict) in checks {
        let (word, text, help) = match verdict {
            Good(text) => ("ok", text, None),
            Poor(text, help) => ("poor", text, Some(help)),
            Bad(text, help) => {
                bad = true;
                ("BAD", text, Some(help))
            }
        };
        let _ = writeln!(out, "{word:<5} {name:<10} {text}");
        if let Some(help) = help {
            let _ = writeln!(out, "      {:<10} = help: {help}", "");
        }
    }
    output::print_then(&out, || if bad { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

fn qemu(profile: &Profile, program: Option<&Path>) -> Verdict {
    let help = "install it (Debian: `qemu-system-x86`), or set `qemu.binary` (QEMU_BINARY)";
    match program {
        None => Bad(format!("no `{}`", profile.qemu_binary.display()), help.into()),
        Some(program) => match facts::qemu_version(program) {
            Some(version) => Good(format!("{}: {version}", program.display())),
            None => Bad(format!("{} does not tell its version", program.display()), help.into()),
        },
    }
}

fn kvm(profile: &Profile, access: &Access) -> Verdict {
    match (access, profile.machine.accel) {
        (Access::Usable, Accel::Tcg) => Good("usable, but the profile says `tcg`".into()),
        (Access::Usable, _) => Good("usable".into()),
        (Access::Unusable { reason, help }, Accel::Kvm) => Bad(reason.clone(), help.clone()),
        (Access::Unusable { reason, .. }, Accel::Tcg) => {
            Good(format!("{reason}; the profile says `tcg`"))
        }
        (Access::Unusable { reason, help }, Accel::Auto) => {
            Poor(format!("{reason}, so QEMU emulates: slow"), help.clone())
        }
    }
}

fn uefi(profile: &Profile, code: Option<String>) -> Verdict {
    let help = "install OVMF (Debian: `ovmf`)";
    match (code, profile.firmware.mode) {
        (Some(code), _) => Good(code),
        (None, FirmwareMode::Bios) => Good("no OVMF; the profile says `bios`".into()),
        (None, FirmwareMode::Uefi) => Bad("no OVMF".into(), help.into()),
    }
}

fn qemu_img(profile: &Profile) -> Verdict {
    let creates = profile.disks.iter().any(|disk| disk.size.is_some() && !disk.path.exists());
    let help = "install it (Debian: `qemu-utils`)";
    match facts::program(Path::new("qemu-img")) {
        Some(path) => Good(path.display().to_string()),
        None if creates => Bad("not there; a disk is to be created".into(), help.into()),
        None => Good("not there; no disk is to be created".into()),
    }
}

fn tap(profile: &Profile, access: &Access) -> Verdict {
    let wanted = profile.nics.iter().any(|nic| nic.interface.is_some());
    match access {
        Access::Usable => Good("devices can be made".into()),
        Access::Unusable { reason, help } if wanted => Bad(reason.clone(), help.clone()),
        Access::Unusable { reason, help } if profile.nics_automatic => {
            Poor(format!("{reason}, so no interface can be the VM's"), help.clone())
        }
        Access::Unusable { reason, .. } => Good(format!("{reason}; no NIC has an interface")),
    }
}

fn vhost_net(there: bool) -> Verdict {
    if there {
        Good(format!("{VHOST_NET}: the kernel moves the packets of virtio NICs"))
    } else {
        Good(format!("no {VHOST_NET}: QEMU moves packets itself, which takes more time"))
    }
}

fn memory(profile: &Profile) -> Verdict {
    let wanted = profile.machine.memory.mib();
    match facts::host_memory_mib() {
        Some(there) if there < wanted => Poor(
            format!("the machine has {wanted} MiB, the host only {there} MiB"),
            "lower `machine.memory` (VM_MEMORY)".into(),
        ),
        Some(there) => Good(format!("{wanted} MiB of the host's {there} MiB")),
        None => Good(format!("{wanted} MiB; the host's is unknown")),
    }
}

fn directory(key: &str, path: &Path) -> Verdict {
    match facts::could_write(path) {
        Ok(()) => Good(path.display().to_string()),
        Err(reason) => {
            Bad(reason, format!("set `{key}` to a directory that this user can write to"))
        }
    }
}

fn ipmi_port(profile: &Profile) -> Verdict {
    let port = profile.ipmi.port;
    match udp::can_bind(&profile.ipmi.bind, port) {
        Ok(()) => Good(format!("UDP {port} is free")),
        Err(error) => Bad(
            format!("UDP {port}: {error}"),
            "another qemu-bmc? stop it, or set `ipmi.port` (IPMI_PORT) and `ipmi.bind`".into(),
        ),
    }
}
