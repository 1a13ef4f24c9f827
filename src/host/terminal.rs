//! The terminal that the program was started on.

use std::io::{self, IsTerminal};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Standard input as a terminal that hands on each key as it is pressed; as it was before, when
/// dropped.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Sets the terminal so; `None` if standard input is not one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter() -> io::Result<Option<Self>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&input)?;
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
