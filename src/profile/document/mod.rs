//! The document: what may be written in a profile, one file per section.
//!
//! The doc comments here are the descriptions in the JSON Schema.

mod boot;
mod cdrom;
mod console;
mod disk;
mod firmware;
mod identity;
mod ipmi;
mod kernel;
mod machine;
mod nic;
mod power;
mod qemu;
mod sensor;
mod tpm;
mod vnc;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use boot::Boot;
pub use cdrom::Cdrom;
pub use console::{Console, Serial};
pub use disk::{Disk, DiskBus, Overlay};
pub use firmware::{Firmware, FirmwareMode};
pub use identity::Identity;
pub use ipmi::{Ipmi, User, UserPrivilege, V15Auth};
pub use kernel::Kernel;
pub use machine::{Accel, Machine};
pub use nic::{Duplex, Mac, Nic, NicModel, Wiring};
pub use power::{Power, Restore, SoftPolicy};
pub use qemu::Qemu;
pub use sensor::{Per, Sensor, SensorKind};
pub use tpm::{Tpm, TpmModel};
pub use vnc::Vnc;

use crate::value::MachineName;

/// A qemu-bmc machine profile: one virtual machine with its BMC.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// Machine name: seed of the UUID, the MAC addresses and the serial number. Default: the
    /// containerlab node name, else the host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"node1")]
    pub name: Option<MachineName>,
    /// Log at debug level.
    #[schemars(example = true)]
    pub debug: bool,
    /// Directory of sockets and other files of the running program. Default: `/var/run/qemu` for
    /// root, else `qemu-bmc/NAME` in the user's runtime directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/var/run/qemu")]
    pub run_dir: Option<PathBuf>,
    /// Directory of all state that outlives a restart. Default: `/var/lib/qemu-bmc` for root, else
    /// `qemu-bmc/NAME` in the user's state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/var/lib/qemu-bmc")]
    pub state_dir: Option<PathBuf>,
    /// Who the machine says it is: to its guest by SMBIOS, to others by IPMI.
    pub identity: Identity,
    /// Board, processors, memory.
    pub machine: Machine,
    /// BIOS or UEFI.
    pub firmware: Firmware,
    /// Boot order.
    pub boot: Boot,
    /// Disks, the main one first.
    pub disks: Vec<Disk>,
    /// CD-ROM drives.
    pub cdroms: Vec<Cdrom>,
    /// A Linux kernel to boot directly, before any boot device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// Network interfaces of the VM.
    pub nics: Vec<Nic>,
    /// Number of interfaces that can become NICs of the running machine when they come later,
    /// unannounced: PCIe ports that are kept free. Counts only where `nics` is left out.
    #[schemars(range(max = 8), example = 2)]
    pub spare_nics: u16,
    /// A TPM 2.0, emulated by swtpm. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Tpm>,
    /// A random number generator (virtio-rng). UEFI's network boot needs one.
    #[schemars(example = false)]
    pub rng: bool,
    /// The first serial port.
    pub console: Console,
    /// Further serial ports, at most two.
    #[schemars(length(max = 2))]
    pub serials: Vec<Serial>,
    /// Graphical console.
    pub vnc: Vnc,
    /// The BMC on the network.
    pub ipmi: Ipmi,
    /// Sensors that read as a number, in place of the built-in ones. Default: temperatures, fans and a
    /// voltage that are constants, the load of the processors and of the memory, and a power that
    /// follows the processors.
    #[schemars(length(max = 16))]
    pub sensors: Vec<Sensor>,
    /// Power policies and limits.
    pub power: Power,
    /// The QEMU program.
    pub qemu: Qemu,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            name: None,
            debug: false,
            run_dir: None,
            state_dir: None,
            identity: Identity::default(),
            machine: Machine::default(),
            firmware: Firmware::default(),
            boot: Boot::default(),
            disks: vec![Disk { path: Some("/vm/disk.qcow2".into()), ..Disk::default() }],
            cdroms: Vec::new(),
            kernel: None,
            nics: Vec::new(),
            spare_nics: 4,
            tpm: None,
            rng: true,
            console: Console::default(),
            serials: Vec::new(),
            vnc: Vnc::default(),
            ipmi: Ipmi::default(),
            sensors: Vec::new(),
            power: Power::default(),
            qemu: Qemu::default(),
        }
    }
}
