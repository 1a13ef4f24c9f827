//! QEMU's command line.

mod board;
mod handed;
mod network;
mod storage;

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use handed::HandedFile;
pub use storage::overlay_path;

use crate::machine::boot::{BootOrder, boot_order};
use crate::plan::argv::Switch;
use crate::plan::facts::{Access, HostFacts, RunAs};
use crate::plan::{Identity, NetworkPlan};
use crate::profile::Profile;
use crate::profile::check::Vnc;
use crate::profile::document::Accel;
use crate::qmp::Command;
use crate::value::{BootDevice, ImageFormat, MacAddr};

/// File descriptor at which QEMU finds our private QMP connection.
pub const QMP_FD: i32 = 3;
/// File descriptors at which QEMU finds the serial ports, the console first.
pub const SERIAL_FDS: [i32; 3] = [4, 7, 8];
/// File descriptor at which QEMU finds the TPM emulator.
pub const TPM_FD: i32 = 5;
/// File descriptor at which the TPM emulator finds QEMU.
pub const SWTPM_FD: i32 = 3;
/// File descriptor at which QEMU finds the listening socket for the user's own tools.
pub const USER_QMP_FD: i32 = 6;
/// File descriptor at which QEMU finds the listening socket of its system interface, where the BMC
/// waits already.
pub const SYSTEM_INTERFACE_FD: i32 = 9;
/// The first file descriptor of a file that QEMU may not open itself.
const FIRST_FILE_FD: i32 = 10;
/// The file descriptor of the first queue of the first TAP device; the others follow. Beyond those of
/// files.
pub const FIRST_TAP_FD: i32 = 256;
/// The device through which the kernel moves a NIC's packets (kernel: drivers/vhost/net.c).
pub const VHOST_NET: &str = "/dev/vhost-net";
/// ID of the character device of the first serial port.
pub const CONSOLE_CHARDEV: &str = "console0";
/// Name of the QMP socket for the user's own tools, in the run directory.
pub const USER_QMP_SOCKET: &str = "qmp.sock";

/// QEMU's command line and what has to be there before it starts.
#[derive(Clone, Debug)]
pub struct QemuPlan {
    /// Program.
    pub binary: PathBuf,
    /// The profile's boot order.
    pub boot_order: Vec<BootDevice>,
    /// Images to create.
    pub create_disks: Vec<CreateDisk>,
    /// The UEFI variable store.
    pub nvram: Option<Nvram>,
    /// The user that QEMU runs as, if it is not the present one.
    pub run_as: Option<RunAs>,
    /// Where the user's own tools find QMP.
    pub user_qmp: PathBuf,
    /// The TPM emulator, a process beside QEMU's.
    pub swtpm: Option<Swtpm>,
    /// The graphical console, unless it is off.
    pub vnc: Option<Vnc>,
    /// Number of serial ports.
    pub serial_ports: usize,
    /// There is a system interface to the BMC.
    pub in_band: bool,
    /// The machine runs on KVM.
    pub kvm: bool,
    switches: Vec<Switch>,
    /// Devices that firmware can boot from, in the profile's order within each kind.
    bootable: Vec<(BootDevice, String)>,
}

/// An image to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CreateDisk {
    /// Where.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
    /// Size of the disk in bytes; `null`: that of the base.
    pub bytes: Option<u64>,
    /// The image below it, which is not written to.
    pub base: Option<Base>,
    /// Take away the one that is there.
    pub anew: bool,
}

/// The image below an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Base {
    /// Where.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
}

/// A TPM emulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Swtpm {
    /// Program.
    pub binary: PathBuf,
    /// Directory of its state.
    pub state_dir: PathBuf,
    /// Its arguments. Descriptor 3 is its connection to QEMU.
    pub argv: Vec<String>,
}

/// The UEFI variable store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Nvram {
    /// What a new one is copied from.
    pub template: PathBuf,
    /// Where it is.
    pub path: PathBuf,
}

impl QemuPlan {
    pub(super) fn render(
        profile: &Profile,
        facts: &HostFacts,
        identity: &Identity,
        network: &NetworkPlan,
    ) -> Self {
        let binary = facts.qemu.clone().unwrap_or_else(|| profile.qemu_binary.clone());
        let mut plan = Self {
            binary,
            boot_order: profile.boot.order.clone(),
            create_disks: Vec::new(),
            nvram: None,
            run_as: facts.run_as.clone().ok().flatten(),
            user_qmp: profile.run_dir.join(USER_QMP_SOCKET),
            swtpm: None,
            vnc: profile.vnc.clone(),
            serial_ports: 1 + profile.serials.len(),
            in_band: profile.ipmi.in_band,
            kvm: match profile.machine.accel {
                Accel::Auto => facts.kvm == Access::Usable,
                Accel::Kvm => true,
                Accel::Tcg => false,
            },
            switches: Vec::new(),
            bootable: Vec::new(),
        };
        plan.machine(profile, facts, identity, plan.kvm);
        plan.display();
        plan.boot(profile);
        plan.disks(profile, facts);
        plan.cdroms(profile);
        plan.nics(network, profile.boot.first_nic.as_ref());
        plan.tpm(profile, facts);
        plan.entropy(profile);
        plan.serial();
        plan.system_interface();
        plan.monitors();
        // QEMU needs none of these after its start, and the guest must not have them.
        plan.list(
            "-sandbox",
            [
                ("", "on"),
                ("obsolete", "deny"),
                ("elevateprivileges", "deny"),
                ("spawn", "deny"),
                ("resourcecontrol", "deny"),
            ],
        );
        plan.switches.extend(profile.qemu_extra_args.iter().cloned().map(Switch::Extra));
        plan
    }

    /// All arguments behind the program's name, for a start that boots in this order. `setup`: the
    /// firmware offers its set-up for a moment, whatever the profile says.
    #[must_use]
    pub fn argv(&self, order: &BootOrder, setup: bool) -> Vec<String> {
        let mut switches = self.switches_with(order);
        if setup {
            self.offer_setup(&mut switches);
        }
        self.hand_over(&mut switches);
        switches.iter().flat_map(Switch::arguments).collect()
    }

    /// The files that QEMU is handed, because as another user it may not open them.
    #[must_use]
    pub fn handed_files(&self) -> Vec<HandedFile> {
        self.hand_over(&mut self.switches.clone())
    }

    /// Puts descriptors in the place of paths, if QEMU runs as another user.
    fn hand_over(&self, switches: &mut Vec<Switch>) -> Vec<HandedFile> {
        let mut files = Vec::new();
        if self.run_as.is_none() {
            return files;
        }
        let mut sets = Vec::new();
        for switch in switches.iter_mut() {
            match switch {
                Switch::Json("-blockdev", entries) => {
                    handed::block_device(entries, &mut files, &mut sets);
                }
                Switch::Json("-device", entries) => handed::boot_rom(entries, &mut files),
                Switch::Json("-netdev", entries) => handed::vhost_net(entries, &mut files),
                Switch::Text("-kernel" | "-initrd", path) => handed::path(path, &mut files),
                _ => {}
            }
        }
        let sets = sets.into_iter().map(|fd: i32| {
            Switch::List("-add-fd", vec![("fd", fd.to_string()), ("set", fd.to_string())])
        });
        switches.splice(0..0, sets);
        files
    }

    /// A kernel is booted directly, before all that the boot order names.
    #[must_use]
    pub fn boots_kernel(&self) -> bool {
        self.switches.iter().any(|switch| matches!(switch, Switch::Text("-kernel", _)))
    }

    /// The arguments of an ordinary start, one switch a line, quoted for a shell.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.switches_with(&boot_order(&self.boot_order, None))
            .into_iter()
            .map(|switch| words(&switch.arguments()))
    }

    /// Tells the guest this MTU, if its NIC can.
    pub fn set_host_mtu(&mut self, id: &str, mtu: u32) {
        if let Some(device) = self.device(id)
            && device.get("driver").and_then(Value::as_str) == Some("virtio-net-pci")
        {
            // The property's largest.
            device.insert("host_mtu".into(), mtu.min(u16::MAX.into()).into());
        }
    }

    /// Gives a NIC this address.
    pub fn set_mac(&mut self, id: &str, mac: MacAddr) {
        if let Some(device) = self.device(id) {
            device.insert("mac".into(), mac.to_string().into());
        }
    }

    fn device(&mut self, id: &str) -> Option<&mut Map<String, Value>> {
        self.switches.iter_mut().find_map(|switch| match switch {
            Switch::Json("-device", entries)
                if entries.get("id").and_then(Value::as_str) == Some(id) =>
            {
                Some(entries)
            }
            _ => None,
        })
    }

    /// The QMP commands that make the next reset boot in this order.
    #[must_use]
    pub fn set_boot_order(&self, order: &BootOrder) -> Vec<Command> {
        let set = |id: &str, index: i64| Command::QomSet {
            path: format!("/machine/peripheral/{id}"),
            property: "bootindex".into(),
            value: index.into(),
        };
        // QEMU refuses an index that another device still has: free all of them first.
        let free = self.bootable.iter().map(|(_, id)| set(id, -1));
        let indexes = self.boot_indexes(order);
        free.chain(indexes.iter().map(|(id, index)| set(id, *index))).collect()
    }

    fn boot_indexes(&self, order: &BootOrder) -> Vec<(&str, i64)> {
        let of_kind = |kind: &BootDevice| {
            let kind = *kind;
            self.bootable.iter().filter(move |(device, _)| *device == kind)
        };
        order.iter().flat_map(of_kind).map(|(_, id)| id.as_str()).zip(1..).collect()
    }

    fn switches_with(&self, order: &BootOrder) -> Vec<Switch> {
        let indexes = self.boot_indexes(order);
        let mut switches = self.switches.clone();
        for switch in &mut switches {
            if let Switch::Json("-device", entries) = switch
                && let Some(Value::String(id)) = entries.get("id")
                && let Some((_, index)) = indexes.iter().find(|(bootable, _)| bootable == id)
            {
                entries.insert("bootindex".into(), (*index).into());
            }
        }
        switches
    }

    fn flag(&mut self, name: &'static str) {
        self.switches.push(Switch::Flag(name));
    }

    fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.switches.push(Switch::Text(name, value.into()));
    }

    fn list<V: Into<String>>(
        &mut self,
        name: &'static str,
        entries: impl IntoIterator<Item = (&'static str, V)>,
    ) {
        let entries = entries.into_iter().map(|(key, value)| (key, value.into())).collect();
        self.switches.push(Switch::List(name, entries));
    }

    fn json(&mut self, name: &'static str, value: Value) {
        self.switches.push(Switch::json(name, value));
    }

    fn serial(&mut self) {
        for (number, fd) in SERIAL_FDS.into_iter().enumerate().take(self.serial_ports) {
            let id = format!("console{number}");
            self.list(
                "-chardev",
                [("", "socket".to_owned()), ("id", id.clone()), ("fd", fd.to_string())],
            );
            self.text("-serial", format!("chardev:{id}"));
        }
    }

    /// A KCS system interface with the BMC behind it. QEMU is the one that listens: it crashes when it is
    /// connected before the device is there (QEMU 7.2).
    fn system_interface(&mut self) {
        if !self.in_band {
            return;
        }
        self.list(
            "-chardev",
            [
                ("", "socket".to_owned()),
                ("id", "ipmi0".into()),
                ("fd", SYSTEM_INTERFACE_FD.to_string()),
                ("server", "on".into()),
                ("wait", "off".into()),
            ],
        );
        let bmc = json!({ "driver": "ipmi-bmc-extern", "id": "bmc0", "chardev": "ipmi0" });
        self.json("-device", bmc);
        self.json("-device", json!({ "driver": "isa-ipmi-kcs", "id": "kcs0", "bmc": "bmc0" }));
    }

    /// Ours on an inherited descriptor, and one for the user's tools, because a QMP socket serves
    /// one client at a time.
    fn monitors(&mut self) {
        self.list(
            "-chardev",
            [("", "socket".to_owned()), ("id", "qmp0".into()), ("fd", QMP_FD.to_string())],
        );
        self.list("-mon", [("chardev", "qmp0"), ("mode", "control")]);
        self.list(
            "-chardev",
            [
                ("", "socket".to_owned()),
                ("id", "qmp1".into()),
                ("fd", USER_QMP_FD.to_string()),
                ("server", "on".into()),
                ("wait", "off".into()),
            ],
        );
        self.list("-mon", [("chardev", "qmp1"), ("mode", "control")]);
    }
}

impl CreateDisk {
    /// The arguments of `qemu-img` that create it.
    #[must_use]
    pub fn qemu_img(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["create", "-q", "-f", self.format.driver()].map(Into::into).into();
        if let Some(base) = &self.base {
            let base_path = absolute(&base.path);
            arguments.extend(["-b".into(), base_path, "-F".into(), base.format.driver().into()]);
        }
        arguments.push(absolute(&self.path));
        arguments.extend(self.bytes.map(|bytes| bytes.to_string()));
        arguments
    }

    /// The same for a shell.
    pub(super) fn shell(&self) -> String {
        let mut create = vec!["qemu-img".to_owned()];
        create.extend(self.qemu_img());
        let path = absolute(&self.path);
        if self.anew {
            format!("{} && {}", words(&["rm", "-f", &path]), words(&create))
        } else {
            format!("{{ {} || {}; }}", words(&["test", "-e", &path]), words(&create))
        }
    }
}

impl fmt::Display for CreateDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "create {} ({}", self.path.display(), self.format.driver())?;
        if let Some(bytes) = self.bytes {
            write!(f, ", {bytes} bytes")?;
        }
        if let Some(base) = &self.base {
            write!(f, ", over {}", base.path.display())?;
        }
        f.write_str(if self.anew { ") anew" } else { ") unless it is there" })
    }
}

impl Swtpm {
    /// Its command line, for a shell.
    pub(super) fn line(&self) -> String {
        let mut command = vec![text_of(&self.binary)];
        command.extend(self.argv.iter().cloned());
        words(&command)
    }

    /// A command that starts it on a socket, where there is nobody to hand it a descriptor.
    pub(super) fn shell(&self, socket: &str) -> String {
        let ours = format!("type=unixio,clientfd={SWTPM_FD}");
        let theirs = format!("type=unixio,path={socket}");
        let line = self.line().replace(&words(&[ours]), &words(&[theirs]));
        format!("{line} --daemon")
    }
}

/// Words for a shell.
fn words<S: AsRef<str>>(words: &[S]) -> String {
    shlex::try_join(words.iter().map(AsRef::as_ref))
        .expect("the profile was checked for zero bytes")
}

/// A path as programs take it that read options and protocols from a name: it begins with `/` or
/// `./`.
fn absolute(path: &Path) -> String {
    text_of(&Path::new(".").join(path))
}

/// A path of the profile, which was text when it was read.
fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The JSON form of the plan for QEMU.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QemuPlan")]
struct Form<'a> {
    /// Program.
    binary: &'a Path,
    /// Arguments of an ordinary start. Descriptors 3 and 4 are the program's QMP connection and the
    /// console, 5 the TPM emulator, 6 the listening QMP socket for the user's own tools, 7 and 8
    /// further serial ports, 9 the listening socket of the system interface, and from 10 on the handed
    /// files.
    argv: Vec<String>,
    /// The user that QEMU and the TPM emulator run as, if it is not the program's.
    run_as: &'a Option<RunAs>,
    /// Files that are opened by the program and handed to QEMU.
    handed_files: Vec<HandedFile>,
    /// The profile's boot order.
    boot_order: &'a [BootDevice],
    /// Disk images to create if they are missing.
    create_disks: &'a [CreateDisk],
    /// The UEFI variable store.
    nvram: &'a Option<Nvram>,
    /// The TPM emulator. Its connection to QEMU is QEMU's descriptor 5.
    swtpm: &'a Option<Swtpm>,
    /// File that holds VNC's password, which QEMU is told by its monitor.
    vnc_password_file: Option<&'a Path>,
}

impl Serialize for QemuPlan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form {
            binary: &self.binary,
            argv: self.argv(&boot_order(&self.boot_order, None), false),
            run_as: &self.run_as,
            handed_files: self.handed_files(),
            boot_order: &self.boot_order,
            create_disks: &self.create_disks,
            nvram: &self.nvram,
            swtpm: &self.swtpm,
            vnc_password_file: self.vnc.as_ref().and_then(|vnc| vnc.password_file.as_deref()),
        }
        .serialize(serializer)
    }
}

impl JsonSchema for QemuPlan {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Form::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Form::json_schema(generator)
    }
}
