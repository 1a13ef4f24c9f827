//! `[machine]`, `[vnc]` and `[qemu]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::MemorySize;

/// Processor, memory, accelerator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// Accelerator: `auto` takes KVM where it is usable and else warns and emulates.
    pub accel: Accel,
    /// Memory, with a unit or in MiB.
    pub memory: MemorySize,
    /// Number of vCPUs.
    #[schemars(range(min = 1, max = 255))]
    pub cpus: u32,
}

impl Default for Machine {
    fn default() -> Self {
        let memory = MemorySize::from_mib(2048).expect("the default is in range");
        Self { accel: Accel::Auto, memory, cpus: 2 }
    }
}

/// How the VM's processors run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// KVM where it is usable, else TCG with a warning.
    Auto,
    /// KVM; an error where it is not usable.
    Kvm,
    /// QEMU's emulator: slow, works everywhere.
    Tcg,
}

/// Graphical console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Vnc {
    /// TCP port, 5900 or above; 0 switches VNC off.
    pub port: u16,
}

impl Default for Vnc {
    fn default() -> Self {
        Self { port: 5900 }
    }
}

/// The QEMU program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Qemu {
    /// Program to start: a path, or a name that is looked up in `PATH`. Default:
    /// `qemu-system-x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
    /// Extra arguments, appended last.
    pub extra_args: Vec<String>,
}
