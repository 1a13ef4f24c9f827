//! A program on a terminal of its own, as a person uses it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::command::{spawn, tool};
use crate::processes::{self, Signal};
use crate::wait::{BOOT, SOON, wait_for, wait_until};

/// The demo guest's.
pub(crate) const PROMPT: &str = "demo:~# ";

/// The Enter key.
const ENTER: &str = "\r";

/// A running program and all that it has shown.
pub(crate) struct Terminal {
    /// util-linux's `script`, which has the terminal.
    script: Child,
    keyboard: ChildStdin,
    transcript: Arc<Mutex<Vec<u8>>>,
    /// Fills the transcript until the program ends.
    reader: JoinHandle<()>,
    /// Up to here the transcript has been looked at.
    seen: usize,
}

impl Terminal {
    pub(crate) fn open(command: &Command) -> Self {
        let words: Vec<&str> = [command.get_program()]
            .into_iter()
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        let line = format!("exec {}", shlex::try_join(words).unwrap());
        let mut script = spawn(
            tool("script")
                .args(["--quiet", "--return", "--command", &line, "/dev/null"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        );
        let transcript = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, sink) = (script.stdout.take().unwrap(), Arc::clone(&transcript));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = screen.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..len]);
            }
        });
        let keyboard = script.stdin.take().unwrap();
        Self { script, keyboard, transcript, reader, seen: 0 }
    }

    /// Process ID of `script`, which has the program as its child.
    pub(crate) fn id(&self) -> u32 {
        self.script.id()
    }

    /// What was shown from this byte on.
    fn shown(&self, from: usize) -> Vec<u8> {
        // A copy: a panic that holds the lock would poison it for `drop`.
        self.transcript.lock().unwrap()[from..].to_vec()
    }

    /// All that was shown, as text.
    pub(crate) fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.shown(0)).into_owned()
    }

    /// Waits for a text, and answers what came before it since the last time.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        self.expect_within(SOON, text)
    }

    #[track_caller]
    pub(crate) fn expect_within(&mut self, limit: Duration, text: &str) -> String {
        let what = format!("`{}` on the terminal", text.escape_debug());
        // Before this, the text does not begin.
        let mut from = self.seen;
        let at = wait_for(&what, limit, || {
            let ended = self.reader.is_finished();
            let new = self.shown(from);
            let at = new.windows(text.len()).position(|window| window == text.as_bytes());
            assert!(at.is_some() || !ended, "the terminal's program has ended; {what} never came");
            let start = from;
            from += (new.len() + 1).saturating_sub(text.len());
            Some(start + at?)
        });
        let before = self.transcript.lock().unwrap()[self.seen..at].to_vec();
        self.seen = at + text.len();
        String::from_utf8_lossy(&before).into_owned()
    }

    /// Waits for one of these texts, and answers which it was: the first in the list that is there.
    #[track_caller]
    pub(crate) fn expect_one(&mut self, texts: &[&str]) -> usize {
        let what = format!("one of {texts:?} on the terminal");
        let found = wait_for(&what, SOON, || {
            let ended = self.reader.is_finished();
            let new = String::from_utf8_lossy(&self.rest()).into_owned();
            let found = texts.iter().position(|text| new.contains(text));
            assert!(
                found.is_some() || !ended,
                "the terminal's program has ended; {what} never came"
            );
            found
        });
        self.expect(texts[found]);
        found
    }

    /// All that was shown since what was last waited for.
    pub(crate) fn rest(&self) -> Vec<u8> {
        self.shown(self.seen)
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// The same of a program that may have ended. Answers whether it was there.
    pub(crate) fn try_press(&mut self, keys: &str) -> bool {
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).is_ok()
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        self.press(line);
        self.press(ENTER);
    }

    /// Waits until the demo guest has come up.
    #[track_caller]
    pub(crate) fn expect_guest(&mut self) {
        self.expect_within(BOOT, "qemu-bmc demo guest ready");
        self.expect(PROMPT);
    }

    /// Runs a command in the demo guest's shell, whose prompt was seen, and answers its output.
    #[track_caller]
    pub(crate) fn shell(&mut self, command: &str) -> String {
        self.shell_within(SOON, command)
    }

    /// The same of a command that takes its time.
    #[track_caller]
    pub(crate) fn shell_within(&mut self, limit: Duration, command: &str) -> String {
        self.type_line(command);
        // The guest's own terminal shows what was typed.
        self.expect(&format!("{command}\r\n"));
        self.expect_within(limit, PROMPT)
    }

    /// Waits for the program's end and for all that it has shown, and answers its exit code.
    #[track_caller]
    pub(crate) fn end(&mut self) -> i32 {
        let status =
            wait_for("the end of the terminal's program", SOON, || self.script.try_wait().unwrap());
        wait_until("all that it has shown", SOON, || self.reader.is_finished());
        status.code().unwrap()
    }

    /// Kills the program, as a crash would: it says good-bye to nobody.
    pub(crate) fn kill_program(&mut self) {
        let program = wait_for("the terminal's program", SOON, || {
            processes::children(self.id()).first().copied()
        });
        processes::signal(program, Signal::SIGKILL);
        wait_until("the program's end", SOON, || !processes::exists(program));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // With `script` goes the terminal, and with that the program: SIGHUP.
        let _ = self.script.kill();
        let _ = self.script.wait();
        if thread::panicking() {
            eprintln!(
                "==== terminal\n{}\n==== end of the terminal",
                self.transcript()
                    .escape_debug()
                    .to_string()
                    .replace("\\n", "\n")
                    .replace("\\r", "")
            );
        }
    }
}
