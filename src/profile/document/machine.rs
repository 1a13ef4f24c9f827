//! `[machine]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::MemorySize;

/// Board, processors, memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// QEMU's machine type: `q35`, or one of its versions, such as `pc-q35-7.2`, which stays the
    /// same hardware with every later QEMU.
    #[serde(rename = "type")]
    #[schemars(
        regex(pattern = r"^(q35|pc-q35-[0-9]+\.[0-9]+(\.[0-9]+)?)$"),
        example = &"pc-q35-7.2"
    )]
    pub machine_type: String,
    /// Accelerator: `auto` takes KVM where it is usable and else warns and emulates.
    #[schemars(example = &"tcg")]
    pub accel: Accel,
    /// CPU model, with features to add or to leave out as QEMU writes them. Default: `host` with
    /// KVM, else `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Skylake-Server-v4,-hle")]
    pub cpu: Option<String>,
    /// Memory, with a unit or in MiB.
    #[schemars(example = &"4GiB")]
    pub memory: MemorySize,
    /// Number of vCPUs. Where the topology is given, its product is the default.
    #[schemars(range(min = 1, max = 255), example = 4)]
    pub cpus: u32,
    /// Number of CPU sockets. Default: what the other numbers leave, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255), example = 2)]
    pub sockets: Option<u32>,
    /// Number of cores in a socket. Default: what the other numbers leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255), example = 4)]
    pub cores: Option<u32>,
    /// Number of threads in a core. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255), example = 2)]
    pub threads: Option<u32>,
}

impl Default for Machine {
    fn default() -> Self {
        let memory = MemorySize::from_mib(2048).expect("the default is in range");
        Self {
            machine_type: "q35".into(),
            accel: Accel::Auto,
            cpu: None,
            memory,
            cpus: 2,
            sockets: None,
            cores: None,
            threads: None,
        }
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
