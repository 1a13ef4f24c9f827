//! A container of a check's own.

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{Output, run, tool};
use crate::engine::{docker, image, inspect, repository};
use crate::wait::{SOON, wait_for, wait_until};

/// How long a container may take until it is healthy.
pub(crate) const HEALTHY: Duration = Duration::from_secs(30);

/// A container before its start.
pub(crate) struct Setup {
    name: String,
    image: String,
    options: Vec<String>,
    command: Vec<String>,
}

impl Setup {
    /// With what a machine with links needs, and nothing more. Emulated.
    pub(crate) fn new(name: &str) -> Self {
        Self::bare(name).options(["--cap-add=NET_ADMIN", "--device=/dev/net/tun"])
    }

    /// With nothing that Docker does not give to every container. Emulated.
    pub(crate) fn bare(name: &str) -> Self {
        let setup = Self {
            name: name.to_owned(),
            image: image().to_owned(),
            options: Vec::new(),
            command: Vec::new(),
        };
        setup.options(["--hostname", name]).env("ENABLE_KVM", "false").env("DEBUG", "true")
    }

    pub(crate) fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    pub(crate) fn options<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.options.extend(words.into_iter().map(Into::into));
        self
    }

    pub(crate) fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        self.options(["--env".to_owned(), format!("{name}={value}")])
    }

    /// Mounts a file or folder.
    pub(crate) fn bind(self, host: impl Into<PathBuf>, inside: &str) -> Self {
        let host = host.into();
        self.options([format!("--volume={}:{inside}", host.display())])
    }

    /// The demo guest, which `make guest` builds. One processor and little memory boot sooner. Without
    /// the check of its timer, which an emulated one fails on a host that is very busy.
    pub(crate) fn guest(self) -> Self {
        let guest = repository().join("target/guest");
        assert!(guest.join("initrd").exists(), "no {}: `make guest` builds it", guest.display());
        self.bind(guest, "/guest:ro")
            .env("QEMU_BMC__KERNEL__PATH", "/guest/vmlinuz")
            .env("QEMU_BMC__KERNEL__INITRD", "/guest/initrd")
            .env("QEMU_BMC__KERNEL__CMDLINE", "console=ttyS0 no_timer_check")
            .env("VM_MEMORY", "256")
            .env("VM_CPUS", "1")
    }

    /// Off until somebody switches it on: so no byte of its console is missed.
    pub(crate) fn off(self) -> Self {
        self.env("POWER_ON_AT_START", "false")
    }

    fn words(&self, detached: bool) -> (String, Vec<String>) {
        let name = format!("qemu-bmc-test-{}-{}", std::process::id(), self.name);
        let mut words = vec!["run".to_owned(), "--name".to_owned(), name.clone()];
        words.push(if detached { "--detach" } else { "--rm" }.to_owned());
        words.extend(self.options.iter().cloned());
        words.push(self.image.clone());
        words.extend(self.command.iter().cloned());
        (name, words)
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Output {
        docker(self.words(false).1)
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Container {
        let (name, words) = self.words(true);
        let container = Container { name, started: Instant::now() };
        docker(words).succeeds();
        container
    }

    /// Starts it, and waits until its BMC answers.
    #[track_caller]
    pub(crate) fn ready(&self) -> Container {
        let container = self.start();
        container.wait_ready();
        container
    }
}

/// A container that runs; dropped, it is gone.
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) started: Instant,
}

impl Container {
    #[track_caller]
    pub(crate) fn inspect(&self, format: &str) -> String {
        inspect(&self.name, format)
    }

    /// Process 1 of the container, as this host counts.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        let pid = self.inspect("{{.State.Pid}}").parse().unwrap();
        assert!(pid != 0, "{} does not run: {}", self.name, self.logs());
        pid
    }

    /// Its address on the engine's network.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// A socket of the container in `/var/run`, seen from here, where that link is another one.
    #[track_caller]
    pub(crate) fn socket(&self, inside: &str) -> UnixStream {
        let path = inside.replace("/var/run/", "/run/");
        UnixStream::connect(format!("/proc/{}/root{path}", self.pid())).unwrap()
    }

    #[track_caller]
    pub(crate) fn read(&self, inside: &str) -> String {
        self.exec(&["cat", inside]).succeeds().stdout.trim().to_owned()
    }

    pub(crate) fn exec(&self, words: &[&str]) -> Output {
        docker(["exec", &self.name].iter().chain(words))
    }

    /// `qemu-bmc ctl …`.
    pub(crate) fn ctl(&self, words: &[&str]) -> Output {
        self.exec(&[&["qemu-bmc", "ctl"], words].concat())
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ctl(&["status", "--json"]).succeeds().stdout).unwrap()
    }

    /// A program of this host in the container's network.
    #[track_caller]
    pub(crate) fn in_network<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Output {
        let namespace = format!("--net=/proc/{}/ns/net", self.pid());
        run(tool("nsenter").arg(namespace).args(words))
    }

    #[track_caller]
    pub(crate) fn ip(&self, words: &str) -> String {
        self.in_network(["ip"].into_iter().chain(words.split(' '))).succeeds().stdout
    }

    /// What it has logged.
    pub(crate) fn logs(&self) -> String {
        docker(["logs", &self.name]).text()
    }

    pub(crate) fn health(&self) -> String {
        self.inspect("{{.State.Health.Status}}")
    }

    /// Waits until the engine says that it is healthy, and answers how long that took.
    #[track_caller]
    pub(crate) fn wait_healthy(&self) -> Duration {
        wait_until("healthy", HEALTHY, || {
            assert_eq!(self.inspect("{{.State.Status}}"), "running", "{}", self.logs());
            self.health() == "healthy"
        });
        self.started.elapsed()
    }

    /// Waits until the BMC answers.
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        let answers = || self.exec(&["qemu-bmc", "health"]).code == Some(0);
        wait_until("the BMC answers", SOON, || {
            assert_eq!(self.inspect("{{.State.Status}}"), "running", "{}", self.logs());
            answers()
        });
    }

    /// Process ID of QEMU, as this host counts. A zombie is none.
    #[track_caller]
    pub(crate) fn qemu(&self) -> Option<u32> {
        let mut children = crate::processes::children(self.pid()).into_iter();
        children.find(|pid| argv(*pid).first().is_some_and(|name| name.contains("qemu-system")))
    }

    #[track_caller]
    pub(crate) fn wait_qemu(&self) -> u32 {
        wait_for("QEMU runs", SOON, || self.qemu())
    }

    /// QEMU's command line.
    #[track_caller]
    pub(crate) fn qemu_argv(&self) -> String {
        argv(self.wait_qemu()).join(" ")
    }

    /// Stops it as `docker stop -t` does, and answers how long that took and with what exit code.
    #[track_caller]
    pub(crate) fn stop(&self, limit_s: u32) -> (Duration, i32) {
        let stopped = docker(["stop", "-t", &limit_s.to_string(), &self.name]).succeeds();
        (stopped.took, self.inspect("{{.State.ExitCode}}").parse().unwrap())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(["rm", "--force", "--volumes", &self.name]);
    }
}

/// The words of a process's command line.
pub(crate) fn argv(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
