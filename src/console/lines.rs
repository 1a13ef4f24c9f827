//! A console as lines of a log: without what moves a cursor or clears a screen.

/// Longest line in bytes; what is longer becomes several.
const LONGEST: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// In a control sequence (ECMA-48 section 5.4): up to its final byte.
    Sequence,
    /// In a control string (section 5.6): up to BEL or ST.
    ControlString,
}

/// Makes lines of what a console shows.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    state: State,
    line: Vec<u8>,
}

impl Lines {
    /// The lines that these bytes complete, each with its end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            self.state = match (self.state, byte) {
                (_, 0x1B) => State::Escape,
                (State::Escape, b'[') => State::Sequence,
                (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::ControlString,
                (State::Escape, 0x20..=0x2F) => State::Escape,
                (State::Sequence, 0x20..=0x3F) => State::Sequence,
                (State::ControlString, byte) if *byte != 0x07 => State::ControlString,
                (State::Text, byte) => {
                    match byte {
                        b'\n' => self.end(&mut out),
                        b'\t' | 0x20..=0x7E | 0x80.. => self.line.push(*byte),
                        _ => {}
                    }
                    if self.line.len() >= LONGEST {
                        self.end(&mut out);
                    }
                    State::Text
                }
                _ => State::Text,
            };
        }
        out
    }

    /// The line that has no end yet, if there is one.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.line.is_empty() {
            self.end(&mut out);
        }
        out
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.line);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_text_however_they_arrive() {
        let shown = b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n\x1b]0;title\x07a\tb\x08\r\nlogin: ";
        for len in 1..shown.len() {
            let mut lines = Lines::default();
            let mut out: Vec<u8> = shown.chunks(len).flat_map(|part| lines.push(part)).collect();
            assert_eq!(out, b"SeaBIOS\na\tb\n");
            out.extend(lines.finish());
            assert_eq!(out, b"SeaBIOS\na\tb\nlogin: \n");
            assert_eq!(lines.finish(), b"");
        }
        let long = Lines::default().push(&[b'x'; 3 * LONGEST]);
        assert_eq!(long.iter().filter(|byte| **byte == b'\n').count(), 3);
    }
}
