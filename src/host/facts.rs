//! Reads [`HostFacts`]: what the plan of a profile depends on. Looks, and changes nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Buf;
use nix::unistd::{AccessFlags, Gid, Uid, User, access, getegid, geteuid};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::host::environment;
use crate::host::tap::TUN;
use crate::plan::facts::{Access, FileFact, HostFacts, OverlayFact, RunAs, UefiFiles};
use crate::plan::qemu::VHOST_NET;
use crate::plan::qemu::overlay_path;
use crate::profile::Profile;
use crate::profile::check::Password;
use crate::profile::document::{Accel, Overlay};
use crate::value::{BmcKey, ImageFormat, Secret, Sha256Sum};

const KVM: &str = "/dev/kvm";
/// User that QEMU runs as by default, if we are root.
const UNPRIVILEGED: &str = "nobody";

/// OVMF with System Management Mode, and variables with Microsoft's keys: Debian and Fedora.
const OVMF_SECURE: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
];

/// Where distributions put OVMF: Debian, Fedora, NixOS and Arch. Code and template of its variables.
const OVMF: [(&str, &str); 4] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/run/libvirt/nix-ovmf/OVMF_CODE.fd", "/run/libvirt/nix-ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

/// Reads all facts for `profile`.
#[must_use]
pub fn probe(profile: &Profile) -> HostFacts {
    let mut files = BTreeMap::new();
    let mut real_paths = BTreeMap::new();
    for path in [&profile.run_dir, &profile.state_dir] {
        real_paths.insert(path.clone(), real(path));
    }
    let mut look = |path: &Path, write: bool| {
        files.insert(path.to_owned(), file(path, write));
        real_paths.insert(path.to_owned(), real(path));
    };
    for disk in &profile.disks {
        look(&disk.path, disk.is_written());
        look(parent_of(&disk.path), false);
    }
    for cdrom in &profile.cdroms {
        look(cdrom, false);
    }
    if let Some(kernel) = &profile.kernel {
        look(&kernel.path, false);
        if let Some(initrd) = &kernel.initrd {
            look(initrd, false);
        }
    }
    if let Some(template) = &profile.firmware.vars_template {
        look(template, false);
    }
    for nic in &profile.nics {
        nic.rom_file.iter().for_each(|rom| look(rom, false));
    }
    let serials = profile.serials.iter().map(|serial| &serial.file);
    for file in std::iter::once(&profile.console.file).chain(serials).flatten() {
        look(file, true);
        look(parent_of(file), false);
    }
    real_paths.retain(|path, real| path != real);
    let with_sum = profile.disks.iter().filter(|disk| disk.sha256.is_some());
    let sums = with_sum.filter_map(|disk| Some((disk.path.clone(), sha256(&disk.path).ok()?)));
    let bases = profile.disks.iter().filter(|disk| disk.overlay.is_some());
    let sizes = bases.filter_map(|disk| Some((disk.path.clone(), disk_bytes(&disk.path).ok()?)));
    let kept = profile.disks.iter().filter(|disk| disk.overlay == Some(Overlay::Kept));
    let overlays = kept.filter_map(|disk| {
        let path = overlay_path(&profile.state_dir, disk.index);
        let fact = overlay(&path).ok()?;
        Some((path, fact))
    });
    let mut bad_password_files = BTreeMap::new();
    for user in &profile.ipmi.users {
        if let Password::File(path) = &user.password
            && let Err(reason) = password(path)
        {
            bad_password_files.insert(path.clone(), reason);
        }
    }
    if let Some(path) = &profile.ipmi.k_g_file
        && let Err(reason) = k_g(path)
    {
        bad_password_files.insert(path.clone(), reason);
    }
    if let Some(path) = profile.vnc.as_ref().and_then(|vnc| vnc.password_file.as_ref())
        && let Err(reason) = vnc_password(path)
    {
        bad_password_files.insert(path.clone(), reason);
    }
    let qemu = program(&profile.qemu_binary);
    let ask = |wanted: bool, option| {
        qemu.as_deref().filter(|_| wanted).and_then(|qemu| qemu_list(qemu, option))
    };
    HostFacts {
        working_dir: std::env::current_dir().unwrap_or_default(),
        kvm: kvm(),
        run_as: run_as(profile.qemu_user.as_deref(), profile.machine.accel),
        machine_types: ask(profile.machine.machine_type != "q35", "-machine"),
        cpu_models: ask(profile.machine.cpu.is_some(), "-cpu"),
        uefi: uefi(&OVMF).or_else(|| qemu.as_deref().and_then(uefi_of)),
        uefi_secure: uefi(&OVMF_SECURE),
        swtpm: profile.tpm.as_ref().and_then(|tpm| program(&tpm.binary)),
        sha256: sums.collect(),
        disk_bytes: sizes.collect(),
        overlays: overlays.collect(),
        qemu,
        files,
        real_paths,
        bad_password_files,
        interfaces: interfaces(),
        clab_links: environment::clab_links(),
        tap: tap(),
        vhost_net: open_both_ways(VHOST_NET).is_ok(),
    }
}

/// The path from the root on, without symbolic links as far as it is there.
fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in whole.ancestors() {
        if let (Ok(real), Ok(rest)) = (there.canonicalize(), whole.strip_prefix(there)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    whole
}

/// The directory that a file is in.
fn parent_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

/// Names of the interfaces in this network namespace.
fn interfaces() -> Vec<String> {
    let names = nix::net::if_::if_nameindex();
    let names = names.iter().flat_map(|names| names.iter());
    names.map(|interface| interface.name().to_string_lossy().into_owned()).collect()
}

fn open_both_ways(path: &str) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().read(true).write(true).open(path)
}

/// Whether TAP devices can be made here.
fn tap() -> Access {
    match open_both_ways(TUN) {
        Err(error) => Access::Unusable {
            reason: format!("{TUN}: {error}"),
            help: format!("start the container with `--device {TUN}`"),
        },
        Ok(_) if !environment::has_net_admin() => Access::Unusable {
            reason: "the network may not be changed: the capability NET_ADMIN is missing".into(),
            help: "start the container with `--cap-add NET_ADMIN`".into(),
        },
        Ok(_) => Access::Usable,
    }
}

/// Reads a password file. One line end at its end is not part of the password.
///
/// # Errors
/// Why it cannot be read, or cannot be a password.
pub fn password(path: &Path) -> Result<Secret, String> {
    Secret::new(secret_file(path)?.as_slice()).map_err(|error| error.to_string())
}

/// K_G, read from a file.
///
/// # Errors
/// Why it cannot be read, or cannot be K_G.
pub fn k_g(path: &Path) -> Result<BmcKey, String> {
    BmcKey::parse(&secret_file(path)?).map_err(|error| error.to_string())
}

/// What is in a file, without one line end after it.
fn secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    // More than any password, so that a wrong file is not read to its end.
    const LIMIT: u64 = 4096;
    // A pipe that nobody writes to would hold up the start for ever.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err("not a regular file".to_owned());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
        .map_err(|error| reason(&error))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// The user to run QEMU as, without any capability: the one that was asked for, else `nobody`, or for
/// a root that may not change, or loses KVM by it, root. None: as we are.
fn run_as(wanted: Option<&str>, accel: Accel) -> Result<Option<RunAs>, String> {
    let found = match wanted.unwrap_or(UNPRIVILEGED) {
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            let uid = number.parse().map(Uid::from_raw).map_err(|_| format!("no user {number}"))?;
            let known = User::from_uid(uid).ok().flatten();
            Some((uid, known.map_or_else(|| Gid::from_raw(uid.as_raw()), |user| user.gid)))
        }
        name => User::from_name(name).ok().flatten().map(|user| (user.uid, user.gid)),
    };
    let same = geteuid().is_root().then(|| RunAs {
        name: "root".to_owned(),
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        groups: Vec::new(),
    });
    let (uid, gid) = match (found, wanted) {
        (Some(found), _) => found,
        (None, Some(name)) => return Err(format!("there is no user `{name}` on this host")),
        (None, None) => return Ok(same),
    };
    if uid == geteuid() {
        return Ok(None);
    }
    if !can_change_user() {
        return match wanted {
            None => Ok(same),
            Some(name) => Err(format!(
                "QEMU cannot be run as `{name}`: this process may not change its user (it lacks \
                 one of CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID)"
            )),
        };
    }
    let kvm = std::fs::metadata(KVM).ok().filter(|_| accel != Accel::Tcg);
    let by_group = kvm.as_ref().filter(|kvm| kvm.mode() & 0o060 == 0o060).map(|kvm| kvm.gid());
    if wanted.is_none() && kvm.is_some_and(|kvm| by_group.is_none() && kvm.mode() & 0o006 != 0o006)
    {
        // For root alone: as anybody else, QEMU could not use it.
        return Ok(same);
    }
    let name = wanted.unwrap_or(UNPRIVILEGED).to_owned();
    let groups = by_group.into_iter().collect();
    Ok(Some(RunAs { name, uid: uid.as_raw(), gid: gid.as_raw(), groups }))
}

/// Whether we may start a process as another user, give it files, and end it.
fn can_change_user() -> bool {
    /// CAP_CHOWN, CAP_KILL, CAP_SETGID and CAP_SETUID, by their numbers (capabilities(7)).
    const WANTED: u64 = 1 << 0 | 1 << 5 | 1 << 6 | 1 << 7;
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_some_and(|effective| effective & WANTED == WANTED)
}

/// Reads VNC's password file.
///
/// # Errors
/// Why it cannot be read, or cannot be a password.
pub fn vnc_password(path: &Path) -> Result<Secret, String> {
    /// What the protocol's DES key holds (RFC 6143 section 7.2.2).
    const MAX: usize = 8;
    let secret = password(path)?;
    match secret.expose() {
        bytes if bytes.len() > MAX => {
            Err(format!("the password has {} bytes, and VNC takes at most {MAX}", bytes.len()))
        }
        bytes if !bytes.is_ascii() => Err("VNC takes ASCII characters only".to_owned()),
        _ => Ok(secret),
    }
}

/// The names that `QEMU OPTION help` lists.
fn qemu_list(qemu: &Path, option: &str) -> Option<Vec<String>> {
    let output = environment::command(qemu).args([option, "help"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().skip(1).take_while(|line| !line.starts_with("Recognized"));
    // Before version 9, each CPU model has the architecture before it.
    let name = |line: &str| line.split_whitespace().find(|word| *word != "x86").map(str::to_owned);
    Some(lines.filter_map(name).collect()).filter(|_| output.status.success())
}

fn sha256(path: &Path) -> io::Result<Sha256Sum> {
    let (mut file, mut hasher) = (std::fs::File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(<[u8; 32]>::from(hasher.finalize()).into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Size of the disk that an image holds, for the formats that bases come in.
fn disk_bytes(path: &Path) -> io::Result<u64> {
    let mut file = std::fs::File::open(path)?;
    let mut head = [0; ImageFormat::PROBE_LEN];
    let len = file.read(&mut head)?;
    match ImageFormat::of(&head[..len]) {
        // Field `size` of the header, at byte 24 (QEMU's docs/interop/qcow2.txt).
        ImageFormat::Qcow2 => match head[24..32].try_into() {
            Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
            Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        },
        // Also right for a block device, whose metadata tells no size.
        ImageFormat::Raw => file.seek(SeekFrom::End(0)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Reads the header of a qcow2 image (QEMU's docs/interop/qcow2.txt): the name of its backing file
/// and its size.
fn overlay(path: &Path) -> io::Result<OverlayFact> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut file = std::fs::File::open(path)?;
    let mut head = [0; 32];
    file.read_exact(&mut head)?;
    let mut fields = &head[8..];
    let (base_offset, base_len) = (fields.get_u64(), fields.get_u32());
    let _cluster_bits = fields.get_u32();
    let bytes = fields.get_u64();
    // The longest name that the format has.
    if !head.starts_with(b"QFI\xfb") || base_len > 1023 {
        return Err(malformed());
    }
    file.seek(SeekFrom::Start(base_offset))?;
    let mut base = Vec::new();
    file.take(base_len.into()).read_to_end(&mut base)?;
    Ok(OverlayFact { base: OsString::from_vec(base).into(), bytes })
}

/// The first of these pairs that is there.
fn uefi(places: &[(&str, &str)]) -> Option<UefiFiles> {
    let there = |(code, vars): &&(&str, &str)| Path::new(code).exists() && Path::new(vars).exists();
    let (code, vars) = places.iter().find(there)?;
    Some(UefiFiles { code: code.into(), vars: vars.into() })
}

/// UEFI firmware that was installed with this QEMU, as by its own `make install` or by Nix.
fn uefi_of(qemu: &Path) -> Option<UefiFiles> {
    // A link to it may be anywhere.
    let places = [Some(qemu.to_owned()), std::fs::canonicalize(qemu).ok()];
    places.into_iter().flatten().find_map(|program| {
        let folder = program.parent()?.parent()?.join("share/qemu");
        // The variables are those of both x86 builds.
        let (code, vars) = (folder.join("edk2-x86_64-code.fd"), folder.join("edk2-i386-vars.fd"));
        (code.exists() && vars.exists()).then_some(UefiFiles { code, vars })
    })
}

/// What QEMU says of its version, if it says so within reason.
#[must_use]
pub fn qemu_version(program: &Path) -> Option<String> {
    let output = environment::command(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned).filter(|_| output.status.success())
}

/// Why files could not be made in `path`, were it made now; the nearest directory that is there
/// decides.
///
/// # Errors
/// In words.
pub fn could_write(path: &Path) -> Result<(), String> {
    for place in path.ancestors() {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        if !place.exists() {
            continue;
        }
        if !place.is_dir() {
            return Err(format!("{} is not a directory", place.display()));
        }
        return access(place, AccessFlags::W_OK | AccessFlags::X_OK)
            .map_err(|errno| format!("{}: {}", place.display(), errno.desc().to_lowercase()));
    }
    Err("no part of the path is there".to_owned())
}

/// Memory of the host in MiB.
#[must_use]
pub fn host_memory_mib() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

fn kvm() -> Access {
    let unusable = |reason: &str, help: &str| Access::Unusable {
        reason: format!("/dev/kvm: {reason}"),
        help: help.to_owned(),
    };
    match open_both_ways(KVM) {
        Ok(_) => Access::Usable,
        Err(error) if error.kind() == io::ErrorKind::NotFound => unusable(
            "not there",
            "load the kernel's kvm module, or give the container the device (`--device /dev/kvm`)",
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unusable(
            "permission denied",
            "add the user to the group `kvm`, or give the container the device (`--device /dev/kvm`)",
        ),
        Err(error) => {
            unusable(&reason(&error), "give the container the device (`--device /dev/kvm`)")
        }
    }
}

fn file(path: &Path, write: bool) -> FileFact {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return FileFact::Missing;
        }
        Err(error) => return FileFact::Unreadable(reason(&error)),
    };
    if metadata.is_dir() {
        return FileFact::Directory;
    }
    let wanted = if write { AccessFlags::R_OK | AccessFlags::W_OK } else { AccessFlags::R_OK };
    if let Err(errno) = access(path, wanted) {
        return FileFact::Unreadable(errno.desc().to_lowercase());
    }
    if metadata.file_type().is_block_device() {
        return FileFact::BlockDevice;
    }
    if !metadata.is_file() {
        return FileFact::Special;
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(ImageFormat::PROBE_LEN as u64).read_to_end(&mut head));
    match read {
        Ok(_) => FileFact::File(ImageFormat::of(&head)),
        Err(error) => FileFact::Unreadable(reason(&error)),
    }
}

/// A program by path, or by name in `PATH`.
#[must_use]
pub fn program(name: &Path) -> Option<PathBuf> {
    let runs = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.components().count() > 1 {
        return Some(name.to_owned()).filter(runs);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(runs)
}

/// The kernel's reason in lower case, without its number.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_lowercase(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_beside_a_qemu() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["qemu/bin", "qemu/share/qemu", "bin"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        std::fs::write(path("qemu/bin/qemu-system-x86_64"), "").unwrap();
        std::os::unix::fs::symlink("../qemu/bin/qemu-system-x86_64", path("bin/linked")).unwrap();
        std::fs::write(path("qemu/share/qemu/edk2-x86_64-code.fd"), "").unwrap();
        assert_eq!(uefi_of(&path("bin/linked")), None, "there are no variables");
        std::fs::write(path("qemu/share/qemu/edk2-i386-vars.fd"), "").unwrap();
        for program in ["qemu/bin/qemu-system-x86_64", "bin/linked"] {
            let found = uefi_of(&path(program)).unwrap();
            assert!(found.code.ends_with("qemu/share/qemu/edk2-x86_64-code.fd"), "{found:?}");
            assert!(found.vars.ends_with("qemu/share/qemu/edk2-i386-vars.fd"), "{found:?}");
        }
        assert_eq!(uefi_of(Path::new("qemu")), None);
    }

    #[test]
    fn a_path_is_real_as_far_as_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("there")).unwrap();
        std::os::unix::fs::symlink(top.join("there"), top.join("link")).unwrap();
        assert_eq!(real(&top.join("link/new/file")), top.join("there/new/file"));
        assert_eq!(real(&top.join("link")), top.join("there"));
        assert_eq!(real(Path::new("new")), std::env::current_dir().unwrap().join("new"));
    }

    #[test]
    fn password_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            password(&path).map(|secret| secret.expose().to_vec())
        };
        assert_eq!(read(b"0123\n"), Ok(b"0123".to_vec()));
        assert_eq!(read(b"trailing \r\n"), Ok(b"trailing ".to_vec()));
        assert_eq!(read(b"two\n\n"), Ok(b"two\n".to_vec()));
        assert!(read(b"\n").unwrap_err().contains("empty"));
        assert!(read(&[b'x'; 21]).unwrap_err().contains("21 bytes"));
        assert!(password(Path::new("/nonexistent/p")).unwrap_err().contains("no such file"));
        std::fs::write(&path, b"a key\r\n").unwrap();
        assert_eq!(k_g(&path).unwrap().expose()[..6], *b"a key\0");
        std::fs::write(&path, b"0x12\n").unwrap();
        assert!(k_g(&path).unwrap_err().contains("40 hexadecimal digits"));
    }
}
