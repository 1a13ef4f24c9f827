//! `[console]` and `[[serials]]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The console: the VM's first serial port. Serial-over-LAN, `qemu-bmc ctl console` and
/// `console.sock` in the run directory show it without further ado.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// How much of what it has shown is kept for viewers that come later, in KiB.
    #[schemars(range(max = 65536), example = 256)]
    pub history_kib: u32,
    /// Serial-over-LAN begins with the history, not with what comes next.
    #[schemars(example = true)]
    pub sol_replay: bool,
    /// Print what it shows to standard output, line by line and without control sequences.
    #[schemars(example = true)]
    pub stdout: bool,
    /// File that gets all it shows, as it is. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/var/log/node1-console.log")]
    pub file: Option<PathBuf>,
    /// Size in MiB at which the file is put aside as `FILE.1`, and a new one begun.
    #[schemars(range(min = 1, max = 65536), example = 100)]
    pub file_mib: u32,
    /// Number of such older files that are kept.
    #[schemars(range(max = 99), example = 9)]
    pub file_count: u32,
}

impl Default for Console {
    fn default() -> Self {
        let Serial { file, file_mib, file_count, .. } = Serial::default();
        Self { history_kib: 64, sol_replay: false, stdout: false, file, file_mib, file_count }
    }
}

/// A further serial port of the VM, the second or third.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Serial {
    /// File that gets all it says, as it is. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/var/log/node1-serial1.log")]
    pub file: Option<PathBuf>,
    /// Size in MiB at which the file is put aside as `FILE.1`, and a new one begun.
    #[schemars(range(min = 1, max = 65536), example = 100)]
    pub file_mib: u32,
    /// Number of such older files that are kept.
    #[schemars(range(max = 99), example = 9)]
    pub file_count: u32,
    /// Serve it on a UNIX stream socket in the run directory: `serial1.sock` for the second port,
    /// `serial2.sock` for the third. Any number of clients.
    #[schemars(example = true)]
    pub socket: bool,
}

impl Default for Serial {
    fn default() -> Self {
        Self { file: None, file_mib: 10, file_count: 3, socket: false }
    }
}
