//! QEMU's command line.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use crate::machine::boot::{BootOrder, boot_order};
use crate::plan::argv::Switch;
use crate::plan::facts::{Access, FileFact, HostFacts};
use crate::plan::{Identity, NetworkPlan};
use crate::profile::Profile;
use crate::profile::document::{Accel, FirmwareMode, Wiring};
use crate::qmp::Command;
use crate::value::BootDevice;

/// File descriptor at which QEMU finds our private QMP connection.
pub const QMP_FD: i32 = 3;
/// File descriptor at which QEMU finds the serial console.
pub const CONSOLE_FD: i32 = 4;
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
    /// Images to create if they are missing.
    pub create_disks: Vec<CreateDisk>,
    /// The UEFI variable store.
    pub nvram: Option<Nvram>,
    /// TCP port of VNC.
    pub vnc_port: Option<u16>,
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
    /// Size of the disk in bytes.
    pub bytes: u64,
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
            vnc_port: profile.vnc_port,
            kvm: match profile.machine.accel {
                Accel::Auto => facts.kvm == Access::Usable,
                Accel::Kvm => true,
                Accel::Tcg => false,
            },
            switches: Vec::new(),
            bootable: Vec::new(),
        };
        plan.machine(profile, facts, identity, plan.kvm);
        plan.display(profile);
        plan.boot(profile);
        plan.disks(profile, facts);
        plan.cdroms(profile);
        plan.nics(network);
        plan.entropy();
        plan.serial();
        plan.monitors(profile);
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

    /// All arguments behind the program's name, for a start that boots in this order.
    #[must_use]
    pub fn argv(&self, order: &BootOrder) -> Vec<String> {
        self.switches_with(order).iter().flat_map(Switch::arguments).collect()
    }

    /// The arguments of an ordinary start, one switch a line, quoted for a shell.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.switches_with(&boot_order(&self.boot_order, None)).into_iter().map(|switch| {
            shlex::try_join(switch.arguments().iter().map(String::as_str))
                .expect("the profile was checked for zero bytes")
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

    fn machine(&mut self, profile: &Profile, facts: &HostFacts, identity: &Identity, kvm: bool) {
        self.list("-name", [("guest", identity.name.as_str())]);
        self.flag("-nodefaults");
        self.flag("-no-user-config");

        let mut machine = vec![("", "q35"), ("accel", if kvm { "kvm" } else { "tcg" })];
        // With graphics off, SeaBIOS talks on the serial port as well; a VGA card still works.
        machine.push(("graphics", "off"));
        if let (FirmwareMode::Uefi, Some(uefi)) = (profile.firmware.mode, &facts.uefi) {
            let path = profile.state_dir.join("uefi-vars.fd");
            self.json(
                "-blockdev",
                json!({
                    "driver": "raw",
                    "node-name": "firmware-code",
                    "read-only": true,
                    "file": { "driver": "file", "filename": uefi.code },
                }),
            );
            self.json(
                "-blockdev",
                json!({
                    "driver": "raw",
                    "node-name": "firmware-vars",
                    "file": { "driver": "file", "filename": path },
                }),
            );
            machine.extend([("pflash0", "firmware-code"), ("pflash1", "firmware-vars")]);
            self.nvram = Some(Nvram { template: uefi.vars.clone(), path });
        }
        self.list("-machine", machine);
        self.text("-cpu", if kvm { "host" } else { "max" });
        self.text("-smp", profile.machine.cpus.to_string());
        self.list("-m", [("size", format!("{}M", profile.machine.memory.mib()))]);
        self.text("-uuid", identity.uuid.to_string());
        self.list(
            "-smbios",
            [
                ("type", "1"),
                ("manufacturer", "qemu-bmc"),
                ("product", "Virtual Server"),
                ("serial", &identity.serial),
            ],
        );
        self.list("-rtc", [("base", "utc")]);
    }

    fn display(&mut self, profile: &Profile) {
        match profile.vnc_port {
            Some(port) => {
                self.json("-device", json!({ "driver": "VGA", "id": "vga0" }));
                self.text("-vnc", format!(":{}", port - 5900));
            }
            None => self.text("-display", "none"),
        }
    }

    fn boot(&mut self, profile: &Profile) {
        let mut boot = vec![("strict", "off".to_owned())];
        if profile.boot.menu_timeout_ms > 0 {
            boot.push(("menu", "on".to_owned()));
            boot.push(("splash-time", profile.boot.menu_timeout_ms.to_string()));
        }
        self.list("-boot", boot);
        if let Some(kernel) = &profile.kernel {
            self.text("-kernel", text_of(&kernel.path));
            if let Some(initrd) = &kernel.initrd {
                self.text("-initrd", text_of(initrd));
            }
            if let Some(cmdline) = &kernel.cmdline {
                self.text("-append", cmdline);
            }
        }
    }

    fn disks(&mut self, profile: &Profile, facts: &HostFacts) {
        for (index, disk) in profile.disks.iter().enumerate() {
            let (protocol, format) = match facts.file(&disk.path) {
                FileFact::File(format) => ("file", format.driver()),
                FileFact::BlockDevice => ("host_device", "raw"),
                FileFact::Missing | FileFact::Directory | FileFact::Unreadable(_) => {
                    // Without a size this is a disk that need not be there.
                    let Some(size) = disk.size else { continue };
                    let (path, bytes) = (disk.path.clone(), size.bytes());
                    self.create_disks.push(CreateDisk { path, bytes });
                    ("file", "qcow2")
                }
            };
            let (id, image) = (format!("disk{index}"), format!("disk{index}-image"));
            self.json(
                "-blockdev",
                json!({
                    "driver": format,
                    "node-name": image,
                    "discard": "unmap",
                    "file": { "driver": protocol, "filename": disk.path, "discard": "unmap" },
                }),
            );
            self.json("-device", json!({ "driver": "virtio-blk-pci", "id": id, "drive": image }));
            self.bootable.push((BootDevice::Disk, id));
        }
    }

    fn cdroms(&mut self, profile: &Profile) {
        for (index, path) in profile.cdroms.iter().enumerate() {
            let (id, image) = (format!("cdrom{index}"), format!("cdrom{index}-image"));
            self.json(
                "-blockdev",
                json!({
                    "driver": "raw",
                    "node-name": image,
                    "read-only": true,
                    "file": { "driver": "file", "filename": path, "read-only": true },
                }),
            );
            let bus = format!("ide.{index}");
            let device = json!({ "driver": "ide-cd", "id": id, "bus": bus, "drive": image });
            self.json("-device", device);
            self.bootable.push((BootDevice::Cdrom, id));
        }
    }

    fn nics(&mut self, network: &NetworkPlan) {
        for nic in &network.nics {
            let Wiring::User = nic.wiring;
            self.json("-netdev", json!({ "type": "user", "id": nic.id }));
            let device = json!({
                "driver": "virtio-net-pci",
                "id": nic.id,
                "netdev": nic.id,
                "mac": nic.mac,
            });
            self.json("-device", device);
            self.bootable.push((BootDevice::Network, nic.id.clone()));
        }
    }

    /// UEFI's network boot needs a random number generator.
    fn entropy(&mut self) {
        self.json("-object", json!({ "qom-type": "rng-builtin", "id": "rng0-source" }));
        self.json(
            "-device",
            json!({ "driver": "virtio-rng-pci", "id": "rng0", "rng": "rng0-source" }),
        );
    }

    fn serial(&mut self) {
        self.list(
            "-chardev",
            [
                ("", "socket".to_owned()),
                ("id", CONSOLE_CHARDEV.into()),
                ("fd", CONSOLE_FD.to_string()),
            ],
        );
        self.text("-serial", format!("chardev:{CONSOLE_CHARDEV}"));
    }

    /// Ours on an inherited descriptor, and one for the user's tools, because a QMP socket serves
    /// one client at a time.
    fn monitors(&mut self, profile: &Profile) {
        self.list(
            "-chardev",
            [("", "socket".to_owned()), ("id", "qmp0".into()), ("fd", QMP_FD.to_string())],
        );
        self.list("-mon", [("chardev", "qmp0"), ("mode", "control")]);
        let socket = text_of(&profile.run_dir.join(USER_QMP_SOCKET));
        self.list(
            "-chardev",
            [
                ("", "socket".to_owned()),
                ("id", "qmp1".into()),
                ("path", socket),
                ("server", "on".into()),
                ("wait", "off".into()),
            ],
        );
        self.list("-mon", [("chardev", "qmp1"), ("mode", "control")]);
    }
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
    /// serial console.
    argv: Vec<String>,
    /// The profile's boot order.
    boot_order: &'a [BootDevice],
    /// Disk images to create if they are missing.
    create_disks: &'a [CreateDisk],
    /// The UEFI variable store.
    nvram: &'a Option<Nvram>,
}

impl Serialize for QemuPlan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form {
            binary: &self.binary,
            argv: self.argv(&boot_order(&self.boot_order, None)),
            boot_order: &self.boot_order,
            create_disks: &self.create_disks,
            nvram: &self.nvram,
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
