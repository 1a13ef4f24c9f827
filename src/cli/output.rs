//! Standard output and standard error, which may be closed or full at any time.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::cli::FAILURE;

/// Prints `text`, then answers the exit code.
pub(super) fn print(text: &str) -> ExitCode {
    print_then(text, || ExitCode::SUCCESS)
}

/// Prints `text`, then answers what `code` does, unless the text could not be printed.
pub(super) fn print_then(text: &str, code: impl FnOnce() -> ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code(),
        Err(error) => failed(&error).unwrap_or_else(code),
    }
}

/// Says why standard output cannot be written to, and answers the exit code; `None` if its reader
/// has seen enough.
pub(super) fn failed(error: &io::Error) -> Option<ExitCode> {
    if error.kind() == ErrorKind::BrokenPipe {
        return None;
    }
    complain(&format!("error: standard output: {error}\n"));
    Some(ExitCode::from(FAILURE))
}

/// Prints `text` to standard error. If that is not possible, there is nobody to tell.
pub(super) fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Standard error as the log. A line that cannot be written is lost; the program serves on.
pub(super) struct Log(io::Stderr);

impl Log {
    pub(super) fn new() -> Self {
        Self(io::stderr())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
