//! `[console]` and `[[serials]]`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

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
    /// TCP port that serves the same stream as `console.sock`; 0: none. Nobody is asked who he is:
    /// whoever reaches it sees the console and types at it. Any number of clients.
    #[schemars(example = 9002)]
    pub tcp_port: u16,
    /// The IP address that `tcp_port` is served on. In a container, `127.0.0.1` is the container
    /// itself, and a published port does not reach it.
    #[serde(deserialize_with = "ip_address")]
    #[schemars(example = &"0.0.0.0")]
    pub tcp_address: IpAddr,
}

fn ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let text = text.escape_debug();
        Error::custom(format!("`{text}` is not an IP address, such as `127.0.0.1` or `::1`"))
    })
}

impl Default for Console {
    fn default() -> Self {
        let Serial { file, file_mib, file_count, .. } = Serial::default();
        Self {
            history_kib: 64,
            sol_replay: false,
            stdout: false,
            file,
            file_mib,
            file_count,
            tcp_port: 0,
            tcp_address: Ipv4Addr::LOCALHOST.into(),
        }
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
