//! What is typed at a console, with `~` at the start of a line as the way out, as in ssh and ipmitool.

/// What comes of the keys that were pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Characters for the port.
    Typed(Vec<u8>),
    /// `~.`: leave.
    Leave,
    /// `~B`: send a break.
    Break,
    /// `~?`: say what there is.
    Help,
}

/// A keyboard.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The next key is the first of a line.
    at_start: bool,
    /// The last one was the escape, and is kept back.
    escaped: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { at_start: true, escaped: false }
    }
}

impl Keys {
    /// Keys were pressed. What follows [`Key::Leave`] does not count.
    pub fn press(&mut self, pressed: &[u8]) -> Vec<Key> {
        let (mut keys, mut typed) = (Vec::new(), Vec::new());
        for key in pressed {
            if std::mem::take(&mut self.escaped) {
                let special = match key {
                    b'.' => Some(Key::Leave),
                    b'B' => Some(Key::Break),
                    b'?' => Some(Key::Help),
                    // Twice: once for the port.
                    b'~' => None,
                    _ => {
                        typed.push(b'~');
                        None
                    }
                };
                if let Some(special) = special {
                    if !typed.is_empty() {
                        keys.push(Key::Typed(std::mem::take(&mut typed)));
                    }
                    keys.push(special);
                    self.at_start = true;
                    continue;
                }
            } else if *key == b'~' && self.at_start {
                self.escaped = true;
                continue;
            }
            typed.push(*key);
            self.at_start = matches!(key, b'\r' | b'\n');
        }
        if !typed.is_empty() {
            keys.push(Key::Typed(typed));
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_counts_at_the_start_of_a_line_only() {
        let typed = |text: &str| Key::Typed(text.into());
        let press = |text: &str| Keys::default().press(text.as_bytes());
        assert_eq!(press("ls ~.\r"), [typed("ls ~.\r")]);
        assert_eq!(press("ls\r~.never"), [typed("ls\r"), Key::Leave, typed("never")]);
        assert_eq!(press("~~/x"), [typed("~/x")]);
        assert_eq!(press("~/x"), [typed("~/x")]);
        assert_eq!(press("~Bh"), [Key::Break, typed("h")]);
        let mut keys = Keys::default();
        assert_eq!(keys.press(b"~"), []);
        assert_eq!(keys.press(b"?"), [Key::Help]);
        assert_eq!(keys.press(b"~"), []);
        assert_eq!(keys.press(b"\r"), [typed("~\r")]);
        assert_eq!(keys.press(b"~."), [Key::Leave]);
    }
}
