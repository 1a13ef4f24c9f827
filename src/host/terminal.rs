//! The terminal that the program was started on, and standard output.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// What ends the program from outside, and leaves it time for a last word.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Standard input as a terminal that hands on each key as it is pressed; as it was before, when
/// dropped, or when a signal ends the program.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Sets the terminal so; `None` if standard input is not one. To be called before there are
    /// other threads: they would take the signals.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter() -> io::Result<Option<Self>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&input)?;
        restore_at_signal(before.clone())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&input, SetArg::TCSADRAIN, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

fn restore_at_signal(before: Termios) -> io::Result<()> {
    let ending: SigSet = ENDING.into_iter().collect();
    ending.thread_block()?;
    thread::spawn(move || {
        let Ok(signal) = ending.wait() else { return };
        // Not after what the terminal may not have taken yet: it may take nothing any more.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
        let _ = ending.thread_unblock();
        let _ = raise(signal);
    });
    Ok(())
}

/// Waits until there is something to read from `input`, and answers whether standard output still
/// has a reader.
///
/// # Errors
/// The kernel's.
pub fn wait_to_show(input: impl AsFd) -> io::Result<bool> {
    let out = io::stdout();
    let mut both = [
        PollFd::new(input.as_fd(), PollFlags::POLLIN),
        PollFd::new(out.as_fd(), PollFlags::empty()),
    ];
    poll(&mut both, PollTimeout::NONE)?;
    Ok(!both[1].any().unwrap_or(true))
}
