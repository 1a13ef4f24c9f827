//! Runs a row's command line.

use std::fmt::{self, Display, Formatter};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::command::{spawn, tool};
use crate::processes::{self, Signal};
use crate::rows::Row;
use crate::wait::POLL;

/// A client that takes longer has lost something on the way.
const LIMIT: Duration = Duration::from_secs(12);

struct Outcome {
    /// `None`: killed.
    code: Option<i32>,
    text: String,
}

/// What became of a row.
pub(crate) struct Result {
    pub(crate) line: String,
    /// What was expected and is not so.
    pub(crate) wrong: Vec<String>,
    code: Option<i32>,
    took: Duration,
    text: String,
}

impl Display for Result {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.line)?;
        for wrong in &self.wrong {
            writeln!(f, "  expected: {wrong}")?;
        }
        writeln!(f, "  exit code {:?} after {:.1} s", self.code, self.took.as_secs_f32())?;
        self.text.lines().try_for_each(|line| writeln!(f, "  > {line}"))
    }
}

/// Runs a row, again if it says so, and judges it.
pub(crate) fn row(row: &Row, line: &str, dir: &Path) -> Result {
    let start = Instant::now();
    loop {
        let outcome = run(row, line, dir);
        let wrong = judge(row, &outcome);
        let took = start.elapsed();
        if wrong.is_empty() || !row.retry || took > LIMIT {
            let Outcome { code, text } = outcome;
            return Result { line: line.to_owned(), wrong, code, took, text };
        }
        thread::sleep(POLL);
    }
}

fn judge(row: &Row, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    match (outcome.code, row.exit) {
        (None, _) => wrong.push(format!("an end within {LIMIT:?}")),
        (Some(code), Some(expected)) if code != expected => wrong.push(format!("exit {expected}")),
        _ => {}
    }
    let text = &outcome.text;
    if row.silent && !text.trim().is_empty() {
        wrong.push("silence".to_owned());
    }
    wrong.extend(row.says.iter().filter(|says| !text.contains(*says)).map(|s| format!("says {s}")));
    wrong.extend(row.has.iter().filter(|has| !has.is_match(text)).map(|has| format!("has {has}")));
    wrong.extend(row.not.iter().filter(|not| not.is_match(text)).map(|not| format!("not {not}")));
    wrong
}

/// Collects what comes out of a pipe.
fn drain(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&text);
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut buffer) {
            sink.lock().unwrap().extend_from_slice(&buffer[..len]);
        }
    });
    (text, reader)
}

fn shown(text: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&text.lock().unwrap()).replace("\r\n", "\n")
}

fn run(row: &Row, line: &str, dir: &Path) -> Outcome {
    let words = shlex::split(line).expect("quotes in pairs");
    let mut command = tool(&words[0]);
    command.args(&words[1..]).env("HOME", dir).current_dir(dir);
    command.stdin(if row.keys.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut keyboard: Option<ChildStdin> = child.stdin.take();
    let (stdout, stdout_reader) = drain(child.stdout.take().unwrap());
    let (stderr, stderr_reader) = drain(child.stderr.take().unwrap());
    let mut keys = row.keys.iter().peekable();
    let start = Instant::now();
    let status = loop {
        if let Some((_, keys)) = keys.next_if(|(when, _)| when.is_match(&shown(&stdout))) {
            let keyboard = keyboard.as_mut().expect("a row with keys has a keyboard");
            // A program that has ended does not hear them; its output shows it.
            let _ = keyboard.write_all(keys.as_bytes());
        }
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > LIMIT {
            processes::signal(child.id(), Signal::SIGKILL);
            child.wait().unwrap();
            break None;
        }
        thread::sleep(POLL);
    };
    // What the client has left behind may hold the pipes open.
    if status.is_some() {
        let _ = stdout_reader.join();
        let _ = stderr_reader.join();
    }
    Outcome {
        code: status.and_then(|status| status.code()),
        text: format!("{}{}", shown(&stdout), shown(&stderr)),
    }
}
