//! What is measured: the echo server, the program, and OpenIPMI's simulator, each as one process that
//! can be started again and again.

pub(crate) mod simulator;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::command::{spawn, tool};
use crate::machine::{Setup, free_port};

/// How this program is told to be the echo server; the port follows.
pub(crate) const ECHO: &str = "--echo";

/// An ASF ping (v2.0 section 13.2.3).
pub(crate) const PING: [u8; 12] = [0x06, 0, 0xFF, 0x06, 0, 0, 0x11, 0xBE, 0x80, 0, 0, 0];

/// Ends a process with itself.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) enum Peer {
    Echo(u16),
    QemuBmc(Box<Setup>),
    IpmiSim(TempDir, u16),
}

impl Peer {
    pub(crate) fn echo() -> Self {
        Self::Echo(free_port())
    }

    pub(crate) fn qemu_bmc() -> Self {
        Self::QemuBmc(Box::new(Setup::bare()))
    }

    /// Its chassis is a shell script, as with all who give it one.
    pub(crate) fn ipmi_sim() -> Self {
        Self::IpmiSim(tempfile::tempdir().unwrap(), free_port())
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Echo(port) | Self::IpmiSim(_, port) => *port,
            Self::QemuBmc(setup) => setup.port,
        }
    }

    /// What starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = match self {
            Self::Echo(port) => {
                let mut command = tool(std::env::current_exe().unwrap());
                command.args([ECHO, &port.to_string()]);
                command
            }
            Self::QemuBmc(setup) => setup.program("run"),
            Self::IpmiSim(dir, port) => {
                let script = simulator::chassis(dir.path());
                let words = simulator::configure(dir.path(), *port, &script);
                let mut command = tool(&words[0]);
                command.args(&words[1..]).current_dir(dir.path());
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn start(&self) -> Killed {
        Killed(spawn(&mut self.command()))
    }
}

/// Sends back what comes, until it is killed.
pub(crate) fn serve_echo(port: u16) {
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let mut buffer = [0; 2048];
    loop {
        // An error is that of a client that has gone.
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..len], from);
        }
    }
}
