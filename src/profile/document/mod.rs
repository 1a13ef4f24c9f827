//! The document: what may be written in a profile, one file per section.
//!
//! The doc comments here are the descriptions in the JSON Schema.

mod firmware;
mod ipmi;
mod machine;
mod nic;
mod power;
mod storage;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use firmware::{Boot, Firmware, FirmwareMode, Kernel};
pub use ipmi::{Ipmi, User, UserPrivilege};
pub use machine::{Accel, Machine, Qemu, Vnc};
pub use nic::{Nic, Wiring};
pub use power::{Power, Restore, SoftPolicy};
pub use storage::{Cdrom, Disk};

use crate::value::MachineName;

/// A qemu-bmc machine profile: one virtual machine with its BMC.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Document {
    /// Machine name: seed of the UUID, the MAC addresses and the serial number. Default: the
    /// containerlab node name, else the host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<MachineName>,
    /// Log at debug level.
    pub debug: bool,
    /// Directory of sockets and other files of the running program. Default: `/var/run/qemu` for
    /// root, else `qemu-bmc/NAME` in the user's runtime directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_dir: Option<PathBuf>,
    /// Directory of all state that outlives a restart. Default: `/var/lib/qemu-bmc` for root, else
    /// `qemu-bmc/NAME` in the user's state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
    /// Processor, memory, accelerator.
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
    /// Graphical console.
    pub vnc: Vnc,
    /// The BMC on the network.
    pub ipmi: Ipmi,
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
            machine: Machine::default(),
            firmware: Firmware::default(),
            boot: Boot::default(),
            disks: vec![Disk { path: Some("/vm/disk.qcow2".into()), ..Disk::default() }],
            cdroms: Vec::new(),
            kernel: None,
            nics: Vec::new(),
            vnc: Vnc::default(),
            ipmi: Ipmi::default(),
            power: Power::default(),
            qemu: Qemu::default(),
        }
    }
}
