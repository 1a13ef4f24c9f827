//! A machine of a test's own: the program, its directories, its port.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Output, run, search_path, spawn, tool};
use crate::processes::{self, Signal};
use crate::wait::{POLL, SOON, wait_for, wait_until};

pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "e2e-password";

/// Ends up in the command line of everything that a test's program starts.
const DIR_PREFIX: &str = "qemu-bmc-e2e-";

/// What the machines of all tests have in common. The rest is set by flags, as the tests want.
const PROFILE: &str = r#"
name = "e2e"
disks = []

[machine]
accel = "tcg"
memory = "128MiB"
cpus = 1

[vnc]
port = 0

[power]
restore = "always-off"

[[ipmi.users]]
name = "admin"
password = "e2e-password"
"#;

/// A machine before its start.
pub(crate) struct Setup {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    program: PathBuf,
    profile: PathBuf,
    run_dir: PathBuf,
    sets: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Setup {
    fn new(profile: Option<&Path>) -> Self {
        let dir = tempfile::Builder::new().prefix(DIR_PREFIX).tempdir().unwrap();
        let port = free_port();
        let own = dir.path().join("profile.toml");
        fs::write(&own, PROFILE).unwrap();
        Self {
            program: env!("CARGO_BIN_EXE_qemu-bmc").into(),
            profile: profile.map_or(own, Path::to_owned),
            run_dir: dir.path().join("run"),
            sets: vec![
                format!("run_dir={}", dir.path().join("run").display()),
                format!("state_dir={}", dir.path().join("state").display()),
                format!("ipmi.port={port}"),
            ],
            environment: Vec::new(),
            wrapper: Vec::new(),
            dir,
            port,
        }
    }

    /// A machine with nothing to boot: it sits in its firmware. It is off at first.
    pub(crate) fn bare() -> Self {
        Self::new(None)
    }

    /// The demo machine of `profiles/`, with its Linux guest. It is off at first, so that no byte
    /// of its console is missed.
    pub(crate) fn demo() -> Self {
        for part in ["vmlinuz", "initrd"] {
            let path = root().join("target/guest").join(part);
            assert!(path.exists(), "no {}: `make guest` builds it", path.display());
        }
        Self::new(Some(&root().join("profiles/demo.toml")))
            // Emulated, one processor and little memory boot sooner.
            .set("machine.cpus=1")
            .set("machine.memory=256MiB")
            .set("power.restore=always-off")
            .set(format!("ipmi.users.0.password={PASSWORD}"))
    }

    pub(crate) fn set(mut self, assignment: impl Into<String>) -> Self {
        self.sets.push(assignment.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Takes back a flag that every machine has.
    pub(crate) fn unset(mut self, key: &str) -> Self {
        self.sets.retain(|set| !set.starts_with(&format!("{key}=")));
        self
    }

    /// Takes this file as profile.
    pub(crate) fn profile(mut self, path: PathBuf) -> Self {
        self.profile = path;
        self
    }

    /// Puts these words in front of the program's command line.
    pub(crate) fn wrapped_in(mut self, words: &[&str]) -> Self {
        self.wrapper.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Makes program and directories those of a user without privileges. Tests that run as such
    /// a user have it by nature.
    pub(crate) fn unprivileged(mut self) -> Self {
        const NOBODY: u32 = 65534;
        if processes::is_root() {
            // Cargo's target directory may be out of that user's reach.
            let program = self.dir.path().join("qemu-bmc");
            // By a process of its own: a file that this one has open for writing would be open in
            // whatever another test is just starting, too, and could not be executed meanwhile.
            let copied = tool("cp").arg(&self.program).arg(&program).status().unwrap();
            assert!(copied.success(), "the program cannot be copied");
            self.program = program;
            std::os::unix::fs::chown(self.dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
            self = self.wrapped_in(&["setpriv", &user, &group, "--clear-groups"]);
        }
        self
    }

    /// Takes this run directory. Without `set`, the program has to choose it by itself.
    pub(crate) fn run_dir(mut self, path: PathBuf, set: bool) -> Self {
        self = self.unset("run_dir");
        if set {
            self.sets.push(format!("run_dir={}", path.display()));
        }
        self.run_dir = path;
        self
    }

    /// The program with its profile, and nothing in its environment that was not asked for.
    pub(crate) fn program(&self, subcommand: &str) -> Command {
        let mut words = self.wrapper.iter().cloned().chain([self.program.display().to_string()]);
        let mut command = tool(words.next().unwrap());
        command
            .args(words)
            .arg(subcommand)
            .arg("--profile")
            .arg(&self.profile)
            .args(self.sets.iter().flat_map(|set| ["--set", set]))
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.dir.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // The demo profile names its files from here.
            .current_dir(root());
        command
    }

    /// Runs the program to its end, as it must not stay up.
    pub(crate) fn refused(&self) -> Output {
        let output = run(&mut self.program("run"));
        let left = processes::with_argument(&self.needle());
        assert!(left.is_empty(), "it left processes behind: {left:?}");
        // In another one's directory, the sockets are the other's.
        let own = self.run_dir.starts_with(self.dir.path());
        for name in ["control.sock", "qmp.sock"] {
            assert!(!(own && self.run_dir.join(name).exists()), "it left {name} behind");
        }
        output
    }

    /// A file of this machine's own.
    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// Starts the program and waits until its BMC is up.
    #[track_caller]
    pub(crate) fn start(self) -> Machine {
        let log = self.dir.path().join("log");
        let program = self.spawn(&log);
        let mut machine = Machine { program, log, run_dir: self.run_dir.clone(), setup: self };
        machine.wait_up();
        machine
    }

    fn spawn(&self, log: &Path) -> Child {
        let sink = File::create(log).unwrap();
        spawn(
            self.program("run").stdin(Stdio::null()).stdout(sink.try_clone().unwrap()).stderr(sink),
        )
    }

    fn needle(&self) -> String {
        self.dir.path().display().to_string()
    }
}

/// A running program. Dropped, it is killed with all it has started.
pub(crate) struct Machine {
    program: Child,
    log: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) setup: Setup,
}

impl Machine {
    pub(crate) fn port(&self) -> u16 {
        self.setup.port
    }

    /// What the program has said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    pub(crate) fn expect_log(&self, text: &str) {
        wait_until(&format!("`{text}` in the log"), SOON, || self.log().contains(text));
    }

    /// Process ID of what was started: the program, or what it is wrapped in.
    pub(crate) fn pid(&self) -> u32 {
        self.program.id()
    }

    /// `qemu-bmc ctl …`.
    pub(crate) fn ctl(&self, words: &[&str]) -> Output {
        let socket = self.run_dir.join("control.sock");
        run(tool(&self.setup.program).arg("ctl").arg("--socket").arg(socket).args(words))
    }

    pub(crate) fn health(&self) -> Output {
        let socket = self.run_dir.join("control.sock");
        run(tool(&self.setup.program).arg("health").arg("--socket").arg(socket))
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ctl(&["status", "--json"]).succeeds().stdout).unwrap()
    }

    /// QEMU's process, if the machine is on.
    #[track_caller]
    pub(crate) fn qemu_pid(&self) -> Option<u32> {
        self.status()["qemu_pid"].as_u64().map(|pid| u32::try_from(pid).unwrap())
    }

    /// Waits until the machine has come up, and answers QEMU's process.
    #[track_caller]
    pub(crate) fn wait_on(&self) -> u32 {
        wait_for("the machine is on", SOON, || {
            let status = self.status();
            let settled = status["power"] == "on" && status["operation"].is_null();
            settled.then(|| self.qemu_pid()).flatten()
        })
    }

    #[track_caller]
    pub(crate) fn wait_off(&self) {
        wait_until("the machine is off", SOON, || {
            let status = self.status();
            status["power"] == "off" && status["operation"].is_null()
        });
    }

    /// A file for scripts in the run directory.
    pub(crate) fn state_file(&self, name: &str) -> String {
        fs::read_to_string(self.run_dir.join(name)).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_state_file(&self, name: &str, word: &str) {
        wait_until(&format!("{name} says {word}"), SOON, || {
            self.state_file(name) == format!("{word}\n")
        });
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        processes::signal(self.pid(), signal);
    }

    /// Waits for the program's end.
    #[track_caller]
    pub(crate) fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        wait_for("the program ends", limit, || self.program.try_wait().unwrap())
    }

    #[track_caller]
    fn wait_up(&mut self) {
        wait_until("the BMC is up", SOON, || {
            let ended = self.program.try_wait().unwrap();
            assert!(ended.is_none(), "the program has ended: {ended:?}");
            self.log().contains("BMC is up")
        });
    }

    /// Starts the program once more, with the same profile and directories, after its end.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        assert!(self.program.try_wait().unwrap().is_some(), "the program still runs");
        self.program = self.setup.spawn(&self.log);
        self.wait_up();
    }

    /// Ends the program as a container engine does, and starts it again.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait_end(SOON).code(), Some(0));
        self.assert_cleaned_up();
        self.start_again();
    }

    /// Processes that this machine's program has started, and itself.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes::with_argument(&self.setup.needle())
    }

    /// Nothing is left that anybody would have to clean up.
    #[track_caller]
    pub(crate) fn assert_cleaned_up(&self) {
        assert_eq!(self.processes(), [0_u32; 0], "processes that were left behind");
        for name in ["control.sock", "qmp.sock", "console.sock"] {
            assert!(!self.run_dir.join(name).exists(), "{name} was left behind");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("==== log of qemu-bmc\n{}==== end of the log", self.log());
        }
        let _ = self.program.kill();
        let _ = self.program.wait();
        // QEMU dies with the program, at once but not in the same instant.
        let start = Instant::now();
        while !self.processes().is_empty() && start.elapsed() < SOON {
            thread::sleep(POLL);
        }
        let left = self.processes();
        for pid in &left {
            processes::signal(*pid, Signal::SIGKILL);
        }
        assert!(left.is_empty() || thread::panicking(), "processes outlived the program: {left:?}");
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A port that nobody has, neither for UDP nor for TCP. Not from the range in which clients get theirs from the kernel.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut tried = HashSet::new();
    loop {
        let pid = u16::try_from(std::process::id() % 10_000).unwrap();
        let port = 20_000 + (pid + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        assert!(tried.insert(port), "no port is free");
        let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let udp = |result: io::Result<UdpSocket>| !result.is_err_and(|error| taken(&error));
        if udp(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
            && udp(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)))
            && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        {
            return port;
        }
    }
}
