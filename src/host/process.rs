//! QEMU's process: started with our descriptors, signalled, reaped.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use nix::errno::Errno;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};

use crate::host::tap::{self, Tap};
use crate::host::{dirs, environment};
use crate::machine::boot::BootOrder;
use crate::plan::qemu::{
    CreateDisk, FIRST_TAP_FD, HandedFile, QMP_FD, SERIAL_FDS, SWTPM_FD, SYSTEM_INTERFACE_FD, Swtpm,
    TPM_FD, USER_QMP_FD,
};
use crate::plan::{QemuPlan, RunAs};

/// Size of the socket's buffer towards the guest, in bytes. The kernel has a least one, and takes that.
const SOCKET_BUFFER: usize = 1;

/// Name of the system interface's socket in the run directory, where it is for a moment only.
const SYSTEM_INTERFACE_SOCKET: &str = "kcs.sock";

/// A running QEMU and our ends of what it holds.
#[derive(Debug)]
pub struct Process {
    /// Process ID. Valid until [`reap`] has told of it.
    pub pid: i32,
    /// Process ID of the TPM emulator beside it.
    pub swtpm: Option<i32>,
    /// Our QMP connection.
    pub qmp: UnixStream,
    /// The serial ports, the console first.
    pub serials: Vec<UnixStream>,
    /// Its system interface, if it has one.
    pub system_interface: Option<UnixStream>,
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

/// Limits what a serial port's socket holds of characters that QEMU has not read.
///
/// # Errors
/// The kernel's.
pub fn limit_unread(port: &UnixStream) -> io::Result<()> {
    Ok(setsockopt(port, sockopt::SndBuf, &SOCKET_BUFFER)?)
}

/// Starts QEMU, and before it the TPM emulator that it wants. They die with us, whatever becomes of
/// us. `setup`: the firmware offers its set-up for a moment.
///
/// # Errors
/// In words, for an operator.
pub fn spawn(
    plan: &QemuPlan,
    order: &BootOrder,
    setup: bool,
    taps: &[Tap],
) -> Result<Process, String> {
    let QemuPlan { binary, swtpm, run_as, user_qmp, .. } = plan;
    let run_as = run_as.as_ref();
    let failed = |error: io::Error| format!("{} cannot be started: {error}", binary.display());
    let (qmp, qemu_qmp) = UnixStream::pair().map_err(failed)?;
    let (output, their_output) = io::pipe().map_err(failed)?;
    let listener = dirs::remove(user_qmp)
        .and_then(|()| UnixListener::bind(user_qmp))
        .map_err(|error| format!("{}: {error}", user_qmp.display()))?;
    let mut descriptors = vec![(qemu_qmp.into(), QMP_FD), (listener.into(), USER_QMP_FD)];
    let mut serials = Vec::new();
    for fd in SERIAL_FDS.into_iter().take(plan.serial_ports) {
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        serials.push(ours);
        descriptors.push((theirs.into(), fd));
    }
    let mut system_interface = None;
    if plan.in_band {
        let path = user_qmp.with_file_name(SYSTEM_INTERFACE_SOCKET);
        let (listener, ours) =
            listen_for_us(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        system_interface = Some(ours);
        descriptors.push((listener.into(), SYSTEM_INTERFACE_FD));
    }
    for file in plan.handed_files() {
        let opened = open(&file).map_err(|error| format!("{}: {error}", file.path.display()))?;
        descriptors.push((opened, file.fd));
    }
    for (queue, fd) in taps.iter().flat_map(|tap| &tap.queues).zip(FIRST_TAP_FD..) {
        // What came while the machine was off is not for this start.
        tap::drain(queue).map_err(failed)?;
        descriptors.push((queue.try_clone().map_err(failed)?, fd));
    }
    let mut swtpm_pid = None;
    if let Some(Swtpm { binary, state_dir, argv }) = swtpm {
        let failed = |error: io::Error| format!("{} cannot be started: {error}", binary.display());
        dirs::make(state_dir)
            .and_then(|()| give(state_dir, run_as))
            .map_err(|error| format!("the TPM's state: {error}"))?;
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let their_output = their_output.try_clone().map_err(failed)?;
        let mut command = environment::command(binary);
        command.args(argv).current_dir(state_dir);
        let descriptor = vec![(theirs.into(), SWTPM_FD)];
        swtpm_pid = Some(spawn_one(command, descriptor, their_output, run_as).map_err(failed)?);
        descriptors.push((ours.into(), TPM_FD));
    }
    let mut command = environment::command(binary);
    command.args(plan.argv(order, setup));
    let pid = spawn_one(command, descriptors, their_output, run_as).map_err(failed)?;
    Ok(Process { pid, swtpm: swtpm_pid, qmp, serials, system_interface, output })
}

/// A listening socket that nobody finds, and the one connection that waits on it.
fn listen_for_us(path: &Path) -> io::Result<(UnixListener, UnixStream)> {
    dirs::remove(path)?;
    let listener = UnixListener::bind(path)?;
    let ours = UnixStream::connect(path);
    dirs::remove(path)?;
    Ok((listener, ours?))
}

/// Opens a file for QEMU.
fn open(file: &HandedFile) -> io::Result<OwnedFd> {
    let HandedFile { path, writable, reopened, .. } = file;
    let mut opened = std::fs::OpenOptions::new().read(true).write(*writable).open(path)?;
    if !reopened || opened.metadata()?.mode() & 0o004 != 0 {
        return Ok(opened.into());
    }
    // QEMU may not open it again: it gets a copy that anybody may.
    let copy = memfd_create(c"qemu-bmc", MFdFlags::MFD_CLOEXEC)?;
    io::copy(&mut opened, &mut std::fs::File::from(copy.try_clone()?))?;
    Ok(copy)
}

/// Gives a directory and what is in it to the user that QEMU runs as.
fn give(dir: &Path, run_as: Option<&RunAs>) -> io::Result<()> {
    let Some(RunAs { uid, gid, .. }) = run_as else { return Ok(()) };
    for entry in std::fs::read_dir(dir)? {
        lchown(entry?.path(), Some(*uid), Some(*gid))?;
    }
    lchown(dir, Some(*uid), Some(*gid))
}

/// Starts a process with these descriptors at these numbers.
fn spawn_one(
    mut command: Command,
    descriptors: Vec<(OwnedFd, i32)>,
    output: PipeWriter,
    run_as: Option<&RunAs>,
) -> io::Result<i32> {
    let mappings = descriptors
        .into_iter()
        .map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd })
        .collect();
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Its own process group: Ctrl-C in a terminal is for us, and we let the guest down gently.
        .process_group(0)
        .fd_mappings(mappings)
        .map_err(io::Error::other)?;
    let parent = Pid::this();
    let user = run_as.map(|RunAs { uid, gid, groups, .. }| {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        (Uid::from_raw(*uid), Gid::from_raw(*gid), groups)
    });
    #[expect(unsafe_code, reason = "the parent-death signal has to be set in the child")]
    // SAFETY: between fork and exec the closure makes a few system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some((uid, gid, groups)) = &user {
                if *uid == Uid::effective() {
                    drop_capabilities()?;
                } else {
                    setgroups(groups)?;
                    setgid(*gid)?;
                    setuid(*uid)?;
                }
                prctl::set_no_new_privs()?;
            }
            // Last: a change of user takes the signal away.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // We may have died before that; then nobody would send the signal.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// Gives up all capabilities. Without new privileges, no exec brings them back, not even root's.
fn drop_capabilities() -> Result<(), Errno> {
    /// Version, process (0: this one), and of each half of the bits: effective, permitted, inheritable
    /// (capset(2)).
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    const NONE: [[u32; 3]; 2] = [[0; 3]; 2];
    #[expect(unsafe_code, reason = "nix has no capset")]
    // SAFETY: the kernel reads both structures, which have the layout that this version asks for.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), NONE.as_ptr()) };
    Errno::result(result).map(drop)
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

/// Creates a disk image, unless the one that is there is to stay. To be called before anybody reaps.
/// Says whether it did.
///
/// # Errors
/// In words, for an operator.
pub fn create_disk(disk: &CreateDisk) -> Result<bool, String> {
    if disk.anew {
        dirs::remove(&disk.path).map_err(|error| error.to_string())?;
    } else if disk.path.exists() {
        return Ok(false);
    }
    let output = environment::command("qemu-img")
        .args(disk.qemu_img())
        .output()
        .map_err(|error| format!("qemu-img cannot be started: {error}"))?;
    if output.status.success() {
        Ok(true)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
