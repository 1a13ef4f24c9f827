//! What is measured: the echo server, the program, and OpenIPMI's simulator, each as one process that
//! can be started again and again.

pub(crate) mod simulator;

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
    /// With this chassis script.
    IpmiSim(TempDir, u16, String),
}

/// A supervisord that has a machine.
pub(crate) struct Supervisord(Child);

impl Drop for Supervisord {
    fn drop(&mut self) {
        // Its machine ends with it then.
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
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
        Self::IpmiSim(tempfile::tempdir().unwrap(), free_port(), simulator::OFF.to_owned())
    }

    /// Its chassis script asks a supervisord, as docker-qemu-bmc's does.
    pub(crate) fn supervised() -> (Self, Supervisord) {
        let dir = tempfile::tempdir().unwrap();
        let ([program, arguments @ ..], script) = simulator::supervisor(dir.path());
        let mut command = tool(program);
        command.args(arguments).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisord = Supervisord(spawn(&mut command));
        (Self::IpmiSim(dir, free_port(), script), supervisord)
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Echo(port) | Self::IpmiSim(_, port, _) => *port,
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
            Self::IpmiSim(dir, port, script) => {
                let script = simulator::chassis(dir.path(), script);
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
