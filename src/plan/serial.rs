//! The serial ports: who sees what they say.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::profile::Profile;

/// Name of the console's socket in the run directory.
pub const CONSOLE_SOCKET: &str = "console.sock";

/// The serial ports.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SerialPlan {
    /// Serial-over-LAN begins with the history.
    pub sol_replay: bool,
    /// The ports, the console first.
    pub ports: Vec<PortPlan>,
}

/// One serial port.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PortPlan {
    /// How much is kept for viewers that come later, in bytes.
    pub history: usize,
    /// UNIX stream socket for the user's own tools.
    pub socket: Option<PathBuf>,
    /// Address and port that serve the same on TCP.
    pub tcp: Option<SocketAddr>,
    /// File that gets all it says.
    pub file: Option<LogFilePlan>,
    /// It is printed to standard output.
    pub stdout: bool,
}

/// A file that begins anew when it is large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LogFilePlan {
    /// Where.
    pub path: PathBuf,
    /// How large, in bytes.
    pub bytes: u64,
    /// How many older ones are kept.
    pub count: u32,
}

impl SerialPlan {
    pub(super) fn render(profile: &Profile) -> Self {
        let file = |path: &Option<PathBuf>, mib: u32, count| {
            let bytes = u64::from(mib) << 20;
            Some(LogFilePlan { path: path.clone()?, bytes, count })
        };
        let socket = |name: &str| Some(profile.run_dir.join(name));
        let console = &profile.console;
        let mut ports = vec![PortPlan {
            history: usize::try_from(console.history_kib).unwrap_or_default() << 10,
            socket: socket(CONSOLE_SOCKET),
            tcp: (console.tcp_port != 0)
                .then(|| SocketAddr::new(console.tcp_address, console.tcp_port)),
            file: file(&console.file, console.file_mib, console.file_count),
            stdout: console.stdout,
        }];
        ports.extend(profile.serials.iter().zip(1..).map(|(serial, number)| PortPlan {
            history: 0,
            socket: serial.socket.then(|| socket(&format!("serial{number}.sock"))).flatten(),
            tcp: None,
            file: file(&serial.file, serial.file_mib, serial.file_count),
            stdout: false,
        }));
        Self { sol_replay: console.sol_replay, ports }
    }

    /// Only what a profile asks for.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if self.sol_replay {
            let _ = writeln!(out, "  SOL begins with the history");
        }
        for (number, port) in self.ports.iter().enumerate() {
            let name = if number == 0 { "console".to_owned() } else { format!("serial{number}") };
            if let Some(socket) = port.socket.as_ref().filter(|_| number > 0) {
                let _ = writeln!(out, "  {name} on {}", socket.display());
            }
            if let Some(tcp) = port.tcp {
                let _ = writeln!(out, "  {name} on TCP {tcp}");
            }
            if let Some(LogFilePlan { path, bytes, count }) = &port.file {
                let (path, mib) = (path.display(), bytes >> 20);
                let _ = writeln!(out, "  {name} to {path}, anew at {mib} MiB, {count} kept");
            }
            if port.stdout {
                let _ = writeln!(out, "  {name} to standard output");
            }
        }
        if out.is_empty() { out } else { format!("\nserial\n{out}") }
    }
}
