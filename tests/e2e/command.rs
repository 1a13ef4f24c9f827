//! Commands that run to their end, and what they said.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::processes::{self, Signal};

/// No command here takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command said.
#[derive(Debug)]
pub(crate) struct Output {
    line: String,
    /// Exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// A command with the folders of system programs in its `PATH`, and no language but English.
pub(crate) fn tool(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", search_path()).env("LC_ALL", "C");
    command
}

pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Starts a child; a program that is missing is told with the remedy.
pub(crate) fn spawn(command: &mut Command) -> Child {
    match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = command.get_program().display();
            panic!("{name} is missing; `make test` installs what the tests need")
        }
        Err(error) => panic!("{}: {error}", line(command)),
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    run_within(LIMIT, command)
}

/// The same of one that takes its time.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Output {
    let line = line(command);
    let start = Instant::now();
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let pid = child.id();
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = result.recv_timeout(limit) else {
        processes::signal(pid, Signal::SIGKILL);
        panic!("{line}\nstill runs after {limit:?}");
    };
    let output = output.unwrap();
    Output {
        line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: start.elapsed(),
    }
}

fn line(command: &Command) -> String {
    let words: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

impl Output {
    /// Everything it said.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Ended with exit code 0.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "the exit code of {self}");
        self
    }

    /// Ended with any exit code but 0.
    #[track_caller]
    pub(crate) fn fails(self) -> Self {
        assert!(self.code.is_some_and(|code| code != 0), "this should have failed: {self}");
        self
    }

    /// Said this, on stdout or stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.text().contains(words), "`{words}` is not in the answer of {self}");
        self
    }

    #[track_caller]
    pub(crate) fn does_not_say(self, words: &str) -> Self {
        assert!(!self.text().contains(words), "`{words}` is in the answer of {self}");
        self
    }

    /// What stands behind `name:`, as clients print their tables.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> String {
        let field = |line: &str| {
            let (left, right) = line.split_once(':')?;
            (left.trim() == name).then(|| right.trim().to_owned())
        };
        let found = self.stdout.lines().find_map(field);
        found.unwrap_or_else(|| panic!("no `{name}:` in the answer of {self}"))
    }

    #[track_caller]
    pub(crate) fn has_field(self, name: &str, value: &str) -> Self {
        assert_eq!(self.field(name), value, "`{name}` in the answer of {self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\nexit code {:?} after {:?}", self.line, self.code, self.took)?;
        write!(f, "stdout:\n{}stderr:\n{}", self.stdout, self.stderr)
    }
}
