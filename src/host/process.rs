//! QEMU's process: started with our descriptors, signalled, reaped.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::plan::qemu::{CONSOLE_FD, CreateDisk, QMP_FD};

/// A running QEMU and our ends of what it holds.
#[derive(Debug)]
pub struct Process {
    /// Process ID. Valid until [`reap`] has told of it.
    pub pid: i32,
    /// Our QMP connection.
    pub qmp: UnixStream,
    /// The first serial port.
    pub console: UnixStream,
    /// What it prints.
    pub output: PipeReader,
}

/// A child that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its process ID, which may be another process's from now on.
    pub pid: i32,
    /// With exit status 0.
    pub clean: bool,
    /// How, in words.
    pub how: String,
}

/// Starts QEMU. It dies with us, whatever becomes of us.
///
/// # Errors
/// The kernel's.
pub fn spawn(binary: &Path, argv: &[String]) -> io::Result<Process> {
    let (qmp, qemu_qmp) = UnixStream::pair()?;
    let (console, qemu_console) = UnixStream::pair()?;
    let (output, qemu_output) = io::pipe()?;
    let mut command = Command::new(binary);
    command
        .args(argv)
        .stdin(Stdio::null())
        .stdout(qemu_output.try_clone()?)
        .stderr(qemu_output)
        // Its own process group: Ctrl-C in a terminal is for us, and we let the guest down gently.
        .process_group(0)
        .fd_mappings(vec![
            FdMapping { parent_fd: OwnedFd::from(qemu_qmp), child_fd: QMP_FD },
            FdMapping { parent_fd: OwnedFd::from(qemu_console), child_fd: CONSOLE_FD },
        ])
        .map_err(io::Error::other)?;
    let parent = Pid::this();
    #[expect(unsafe_code, reason = "the parent-death signal has to be set in the child")]
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // We may have died before that; then nobody would send the signal.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Process { pid, qmp, console, output })
}

/// Sends SIGTERM (`hard`: SIGKILL) to a process that has not been reaped.
pub fn signal(pid: i32, hard: bool) {
    let signal = if hard { Signal::SIGKILL } else { Signal::SIGTERM };
    // ESRCH: it is a zombie that `reap` will tell of.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// All children that have ended since the last call. As PID 1 we also get those of others.
#[must_use]
pub fn reap() -> Vec<Exit> {
    let mut exits = Vec::new();
    loop {
        let exit = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => {
                Exit { pid: pid.as_raw(), clean: status == 0, how: format!("exit status {status}") }
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                Exit { pid: pid.as_raw(), clean: false, how: format!("killed by {signal}") }
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return exits,
            Ok(_) => continue,
        };
        exits.push(exit);
    }
}

/// Creates a disk image. To be called before anybody reaps.
///
/// # Errors
/// In words, for an operator.
pub fn create_disk(disk: &CreateDisk) -> Result<(), String> {
    let output = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        // An option or a protocol to qemu-img, if its name were not put in a folder.
        .arg(Path::new(".").join(&disk.path))
        .arg(disk.bytes.to_string())
        .output()
        .map_err(|error| format!("qemu-img cannot be started: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
