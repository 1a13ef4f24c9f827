//! A console as lines of a log: without what moves a cursor or clears a screen.

/// Longest line in bytes; what is longer becomes several.
const LONGEST: usize = 4096;

/// Longest control string in bytes; one that is longer has lost its end.
const LONGEST_STRING: usize = 4096;
/// What follows `ESC ] P` to set a colour of Linux's palette (console_codes(4)): hex digits, no end.
const PALETTE_DIGITS: u8 = 7;

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// In a control sequence (ECMA-48 section 5.4): up to its final byte.
    Sequence,
    /// Behind `ESC ]`: a control string, or one of Linux's own sequences.
    SystemCommand,
    /// So many digits of a colour are still to come.
    Palette(u8),
    /// In a control string (section 5.6) of so many bytes: up to BEL or ST, or to what ends or
    /// cancels a line, where the end is missing.
    ControlString(usize),
    /// Behind C2: the first byte of U+0080 to U+00BF in UTF-8, where the C1 controls are.
    C2,
    /// In a character of UTF-8: so many bytes are still to come.
    Character(u8),
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
            self.state = match (self.state, *byte) {
                (_, 0x1B) => State::Escape,
                (State::Escape, b'[') => State::Sequence,
                (State::Escape, b']') => State::SystemCommand,
                (State::Escape, b'P' | b'X' | b'^' | b'_') => State::ControlString(0),
                (State::Escape, 0x20..=0x2F) => State::Escape,
                (State::Sequence, 0x20..=0x3F) => State::Sequence,
                (State::SystemCommand, b'R') => State::Text,
                (State::SystemCommand, b'P') => State::Palette(PALETTE_DIGITS),
                (State::Palette(1), byte) if byte.is_ascii_hexdigit() => State::Text,
                (State::Palette(left), byte) if byte.is_ascii_hexdigit() => {
                    State::Palette(left - 1)
                }
                (State::SystemCommand | State::ControlString(_), 0x07 | 0x18 | 0x1A) => State::Text,
                (State::SystemCommand, byte) if !matches!(byte, b'\r' | b'\n') => {
                    State::ControlString(1)
                }
                (State::ControlString(len), byte)
                    if len < LONGEST_STRING && !matches!(byte, b'\r' | b'\n') =>
                {
                    State::ControlString(len + 1)
                }
                // CSI; the other C1 controls are dropped.
                (State::C2, 0x9B) => State::Sequence,
                (State::C2, 0x80..=0x9F) => State::Text,
                (State::C2, byte @ 0xA0..=0xBF) => self.text(&[0xC2, byte], &mut out),
                (State::Character(left), 0x80..=0xBF) => {
                    self.line.push(*byte);
                    if left > 1 { State::Character(left - 1) } else { State::Text }
                }
                (State::Escape | State::Sequence, 0x20..) => State::Text,
                (_, byte) => self.text(&[byte], &mut out),
            };
        }
        out
    }

    /// Takes what is shown, and tells what is to follow it.
    fn text(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> State {
        let mut follows = State::Text;
        match bytes {
            b"\n" => self.end(out),
            [0xC2] => follows = State::C2,
            // No character begins so: C1 controls in eight bits, or noise.
            [0x00..=0x08 | 0x0B..=0x1F | 0x7F..=0x9F] => {}
            [first] => {
                self.line.push(*first);
                follows = match first {
                    0xC3..=0xDF => State::Character(1),
                    0xE0..=0xEF => State::Character(2),
                    0xF0..=0xF4 => State::Character(3),
                    _ => State::Text,
                };
            }
            _ => self.line.extend(bytes),
        }
        if self.line.len() >= LONGEST {
            self.end(out);
        }
        follows
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

    fn shown(bytes: &[u8]) -> Vec<u8> {
        let mut lines = Lines::default();
        let mut out: Vec<u8> = bytes.iter().flat_map(|byte| lines.push(&[*byte])).collect();
        out.extend(lines.finish());
        out
    }

    #[test]
    fn a_control_string_without_end_swallows_no_more_than_its_line() {
        for begin in [&b"\x1b]0;title"[..], b"\x1bP1$r", b"\x1b]", b"\x1b_"] {
            for end in [&b"\r\n"[..], b"\n", b"\x18", b"\x1a", b"\x1b\\"] {
                let all = shown(&[begin, end, b"login: "].concat());
                let text = String::from_utf8(all).unwrap();
                assert_eq!(text.trim_start_matches('\n'), "login: \n", "{begin:?} {end:?}");
            }
        }
        let long = shown(&[b"\x1b]0;".to_vec(), vec![b'x'; 2 * LONGEST_STRING]].concat());
        assert!((LONGEST_STRING - 8..=LONGEST_STRING + 8).contains(&long.len()));
    }

    #[test]
    fn sequences_of_the_palette_need_no_end() {
        assert_eq!(shown(b"\x1b]Rlogin\x1b]P1aaBB00: \n"), b"login: \n");
        assert_eq!(shown(b"\x1b]P12\nx"), b"\nx\n");
    }

    #[test]
    fn c1_controls_are_dropped_and_characters_are_not() {
        let text = "\u{9b}31mred\u{85}\u{a0}\u{e9}\u{20ac}\u{1f600}\u{5c0}\n";
        assert_eq!(shown(text.as_bytes()), "red\u{a0}\u{e9}\u{20ac}\u{1f600}\u{5c0}\n".as_bytes());
        assert_eq!(shown(b"a\x9b\x85b\xc2\n"), b"ab\n");
    }
}
