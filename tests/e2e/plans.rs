//! Every plan of the cases (`tests/cases`), carried out: the real QEMU takes the command line, makes
//! the machine, and answers.
//!
//! What a case names is made in a directory of the test's own, and the profile's keys are set to that;
//! the host's facts are the real ones. QEMU emulates, and does not let the guest begin.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};
use qemu_bmc::host::tap::Tap;
use qemu_bmc::host::{dirs, facts, process};
use qemu_bmc::machine::boot::boot_order;
use qemu_bmc::plan::facts::FileFact;
use qemu_bmc::plan::{HostFacts, Plan, make};
use qemu_bmc::profile::diagnostic::render;
use qemu_bmc::profile::{Document, Key, Merged, load, merge};
use qemu_bmc::qmp::{Command, Request};
use qemu_bmc::value::{BootDevice, ImageFormat};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::case::{self, Case};
use crate::command::{run, tool};
use crate::processes;
use crate::wait::SOON;

/// Size of images and other files, where nothing asks for another.
const BYTES: u64 = 1 << 20;
/// The guest does not begin.
const NOT_YET: &str = "-S";
/// As long as VNC's can be.
const PASSWORD: &str = "password";

#[test]
fn the_real_qemu_takes_every_plan() {
    let mut failures = String::new();
    let mut ports = free_ports();
    let mut taken = 0;
    for case in case::all() {
        let Some((_, told)) = case.make().plan else { continue };
        let dir = tempfile::Builder::new().prefix("qemu-bmc-plan-").tempdir().unwrap();
        // QEMU may run as another user, and its program may be here.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let document = merge(&case.inputs).document;
        if document.tpm.is_some() && facts::program(Path::new("swtpm")).is_none() {
            eprintln!("{}: not given to QEMU: swtpm is not installed", case.name);
            continue;
        }
        let stand = Stand { dir: dir.path(), case: &case, told: &told };
        let here = stand.plan(&document, ports.next().unwrap());
        match here.and_then(|here| stand.differs(&here).and_then(|()| carry_out(&here))) {
            Ok(()) => taken += 1,
            Err(reason) => failures.push_str(&format!("\n==== {}\n{reason}\n", case.name)),
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(taken >= 40, "only {taken} plans");
}

/// TCP ports for VNC that nobody has, one after the other. Other tests take some of the first.
fn free_ports() -> impl Iterator<Item = u16> {
    (7000..12000).filter(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
}

/// A place where what a case names is really there.
struct Stand<'a> {
    dir: &'a Path,
    case: &'a Case,
    /// The plan that the case tells.
    told: &'a Plan,
}

impl Stand<'_> {
    /// The plan of the case, here.
    fn plan(&self, document: &Document, vnc_port: u16) -> Result<Plan, String> {
        let mut inputs = self.case.inputs.clone();
        let mut set = |key: &str, value: &str| inputs.sets.push(format!("{key}={value}"));
        for (key, text) in case::leaves(document) {
            if let Some(path) = self.make(&key, &text)? {
                set(&key, &path.display().to_string());
            }
        }
        for (index, disk) in document.disks.iter().enumerate() {
            if let (Some(path), Some(_)) = (&disk.path, disk.sha256) {
                let sum = Sha256::digest(fs::read(self.moved(path)).unwrap());
                let digits: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
                set(&format!("disks.{index}.sha256"), &digits);
            }
        }
        // A socket's path has to be short, wherever temporary directories are.
        set("run_dir", &self.directory("run"));
        if document.state_dir.is_none() {
            set("state_dir", &self.directory("state"));
        }
        if document.vnc.port != 0 {
            set("vnc.port", &vnc_port.to_string());
        }
        if let Some(features) =
            document.machine.cpu.as_ref().and_then(|cpu| cpu.strip_prefix("host"))
        {
            set("machine.cpu", &format!("max{features}"));
        }
        let most = facts::host_memory_mib().unwrap_or_default() / 2;
        if document.machine.memory.mib() > most {
            eprintln!(
                "{}: with 256 MiB, as this host has not twice as much as it wants",
                self.case.name
            );
            set("machine.memory", "256");
        }
        if document.qemu.user.is_some() && !processes::is_root() {
            eprintln!("{}: with QEMU as this user, who may not change", self.case.name);
            set("qemu.user", &geteuid().to_string());
        }
        let mut extra_args = document.qemu.extra_args.clone();
        extra_args.push(NOT_YET.to_owned());
        set("qemu.extra_args", &toml::Value::from(extra_args).to_string());
        // Tests never use KVM.
        set("machine.accel", "tcg");
        let made = make(load(&inputs, Vec::new()), true, |profile| {
            let told = self.case.host();
            let (interfaces, clab_links) = (told.interfaces, told.clab_links);
            HostFacts { interfaces, clab_links, ..facts::probe(profile) }
        });
        let findings = render(&made.findings, &made.sources, false);
        made.plan.map(|(_, plan)| plan).ok_or(findings)
    }

    /// The plan that was made here has the switches of the one that the case tells.
    fn differs(&self, here: &Plan) -> Result<(), String> {
        if !self.case.strict {
            eprintln!("{}: its plan is for a lesser host", self.case.name);
            return Ok(());
        }
        let names = |plan: &Plan| -> Vec<String> {
            plan.qemu.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
        };
        let (told, mut here) = (names(self.told), names(here));
        here.pop_if(|name| name == NOT_YET);
        if told == here { Ok(()) } else { Err(format!("told is\n{told:?}\nand made is\n{here:?}")) }
    }

    fn moved(&self, path: &Path) -> PathBuf {
        self.dir.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn directory(&self, name: &str) -> String {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).unwrap();
        path.display().to_string()
    }

    /// Makes what `key` names, if it is the name of a file or directory, and answers where.
    fn make(&self, key: &str, text: &str) -> Result<Option<PathBuf>, String> {
        let last = key.rsplit('.').next().unwrap_or_default();
        if !text.starts_with('/') && !["path", "initrd"].contains(&last) {
            return Ok(None);
        }
        let merged: Merged = merge(&self.case.inputs);
        let fact = self.case.facts.host(&merged.document).file(Path::new(text));
        let created = self.told.qemu.create_disks.iter().any(|disk| disk.path == Path::new(text));
        let asked_for = created || !merged.sources.is_default(&Key::from(key));
        if fact == FileFact::Missing && !asked_for {
            // Nobody asked for it, so it need not be there.
            return if Path::new(text).exists() {
                Err(format!("this host has {text}, which no test may touch"))
            } else {
                Ok(None)
            };
        }
        let path = self.moved(Path::new(text));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match (last, fact) {
            ("run_dir" | "state_dir", _) => fs::create_dir_all(&path).unwrap(),
            ("password_file" | "k_g_file", _) => fs::write(&path, PASSWORD).unwrap(),
            ("binary", _) => {
                let name = path.file_name().unwrap().to_str().unwrap();
                let program = facts::program(Path::new(name));
                symlink(program.ok_or_else(|| format!("{name} is not installed"))?, &path).unwrap();
            }
            // QEMU wants both halves of the firmware to fill flash chips.
            ("vars_template", _) => {
                let vars = Path::new("/usr/share/OVMF/OVMF_VARS_4M.fd");
                fs::copy(vars, &path).map_err(|error| format!("{}: {error}", vars.display()))?;
            }
            ("path", FileFact::File(_)) if key.starts_with("kernel") => {
                fs::write(&path, kernel()).unwrap();
            }
            (_, FileFact::Missing) => {}
            (_, FileFact::Directory) => fs::create_dir_all(&path).unwrap(),
            (_, FileFact::File(format)) if format != ImageFormat::Raw => {
                let create = ["create", "-q", "-f", format.driver()];
                run(tool("qemu-img").args(create).arg(&path).arg(BYTES.to_string())).succeeds();
            }
            (_, fact) => {
                if fact == FileFact::BlockDevice {
                    eprintln!("{}: {text} is a file here, no block device", self.case.name);
                }
                File::create(&path).unwrap().set_len(BYTES).unwrap();
            }
        }
        Ok(Some(path))
    }
}

/// As much of a Linux kernel as QEMU reads (Linux's Documentation/arch/x86/boot.rst).
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 1 << 16];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    // Version 2.2 of the protocol, the first with a place for the command line.
    image[0x206..0x208].copy_from_slice(&0x202_u16.to_le_bytes());
    image
}

/// Does what the program does at its start, and ends QEMU as soon as it has answered.
fn carry_out(plan: &Plan) -> Result<(), String> {
    for disk in &plan.qemu.create_disks {
        process::create_disk(disk)?;
    }
    if let Some(nvram) = &plan.qemu.nvram {
        dirs::copy_if_missing(&nvram.template, &nvram.path).map_err(|error| error.to_string())?;
    }
    let order = boot_order(&plan.qemu.boot_order, None);
    // Under names that nobody else has: a device goes late, if another thread was just starting a
    // process.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let with_tap = plan.network.nics.iter().filter(|nic| nic.has_tap_at_start());
    let queues = with_tap.map(|nic| nic.queues).chain(plan.network.spares.iter().map(|_| 1));
    let taps = queues.map(|queues| {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("qb{}-{number}", std::process::id());
        Tap::open(&name, queues).map_err(|error| format!("{name}: {error}"))
    });
    let taps = taps.collect::<Result<Vec<_>, _>>()?;
    let process = process::spawn(&plan.qemu, &order, false, &taps)?;
    let mut children = Children(process.swtpm.into_iter().chain([process.pid]).collect());
    let talked = talk(process.qmp, plan);
    if talked.is_err() {
        children.kill();
    }
    let mut output = String::new();
    BufReader::new(process.output).read_to_string(&mut output).unwrap();
    let ends = children.wait();
    let command = || plan.qemu.lines().collect::<Vec<_>>().join(" \\\n");
    // What QEMU's emulator cannot do, and KVM can; and what is only yet to come.
    const EXPECTED: [&str; 4] = [
        // What is behind the hub comes with the interface.
        "is not connected to host network",
        "TCG doesn't support requested feature",
        "This family of AMD CPU doesn't support hyperthreading",
        "Please configure -smp options properly or try enabling topoext feature",
    ];
    let is_ours = |line: &&str| !EXPECTED.iter().any(|part| line.contains(part));
    let said: Vec<&str> = output.lines().filter(is_ours).collect();
    match talked {
        Err(reason) => Err(format!("{reason}\n{output}{}", command())),
        Ok(()) if !said.is_empty() => {
            Err(format!("QEMU said:\n{}\n{}", said.join("\n"), command()))
        }
        Ok(()) if ends.iter().any(|end| !matches!(end, WaitStatus::Exited(_, 0))) => {
            Err(format!("{ends:?}\n{}", command()))
        }
        Ok(()) => Ok(()),
    }
}

/// Asks how the machine is, sets a boot order as a reset would, and lets QEMU quit.
fn talk(stream: UnixStream, plan: &Plan) -> Result<(), String> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut stream = &stream;
    let mut answer = |wanted: &str| -> Result<Value, String> {
        for line in &mut lines {
            let line = line.map_err(|error| format!("its monitor: {error}"))?;
            let message: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
            if let Some(error) = message.get("error") {
                return Err(error["desc"].to_string());
            }
            // Anything else is an event.
            if let Some(answer) = message.get(wanted) {
                return Ok(answer.clone());
            }
        }
        Err("its monitor has closed".to_owned())
    };
    answer("QMP")?;
    let mut send =
        |text: String| stream.write_all(text.as_bytes()).map_err(|error| error.to_string());
    let text = |command: &Command| serde_json::to_string(&Request { command, id: 1 }).unwrap();
    send(text(&Command::QmpCapabilities))?;
    answer("return")?;
    send(r#"{"execute":"query-status"}"#.to_owned())?;
    let status = answer("return")?;
    if status["status"] != "prelaunch" {
        return Err(format!("the machine is not as it should be before its start: {status}"));
    }
    let order = [BootDevice::Network, BootDevice::Cdrom, BootDevice::Disk];
    for command in plan.qemu.set_boot_order(&boot_order(&order, None)) {
        send(text(&command))?;
        answer("return")?;
    }
    send(text(&Command::Quit))?;
    answer("return")?;
    Ok(())
}

/// Processes that are gone when this is.
struct Children(BTreeSet<i32>);

impl Children {
    fn kill(&self) {
        for pid in &self.0 {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    }

    fn wait(&mut self) -> Vec<WaitStatus> {
        let pids = std::mem::take(&mut self.0).into_iter();
        pids.map(|pid| waitpid(Pid::from_raw(pid), None).unwrap()).collect()
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}
