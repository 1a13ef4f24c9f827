//! Inputs that are nearly right: what real clients and users have written, with mistakes put in.

pub(crate) use crate::random::Random;

impl Random {
    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Numbers at which something often ends.
const EDGES: [u8; 12] = [0, 1, 2, 4, 0x0F, 0x10, 0x7F, 0x80, 0xA0, 0xAA, 0xFE, 0xFF];

/// Puts mistakes into `bytes`, now and then a part of something else, and sometimes none.
pub(crate) fn mutate(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>], max: usize) {
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(10) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *random.pick(&EDGES);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.byte();
                }
            }
            3 => bytes.insert(at, *random.pick(&EDGES)),
            4 => {
                let end = at + random.below(bytes.len() - at + 1);
                bytes.drain(at..end);
            }
            5 => {
                // Said twice.
                let end = at + random.below(bytes.len() - at + 1);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            6 => bytes.truncate(at),
            7 => {
                let byte = random.byte();
                let len = random.below(max);
                bytes.resize(len.max(bytes.len()), byte);
            }
            8 => {
                let other = random.pick(others);
                let start = random.below(other.len() + 1);
                let end = start + random.below(other.len() - start + 1);
                bytes.splice(at..at, other[start..end].iter().copied());
            }
            _ => {
                let other = random.pick(others);
                bytes.truncate(at);
                bytes.extend(other.iter().skip(at));
            }
        }
        bytes.truncate(max);
    }
}

/// The same of text, by lines and within them.
pub(crate) fn mutate_text(random: &mut Random, text: &str, others: &[String]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..random.below(4) {
        let other = random.pick(others);
        let count = other.lines().count().max(1);
        let line = other.lines().nth(random.below(count)).unwrap_or_default().to_owned();
        let at = random.below(lines.len() + 1);
        match (random.below(4), lines.get_mut(at)) {
            (0, Some(place)) => *place = line,
            (1, Some(_)) => drop(lines.remove(at)),
            // A key with the value of another.
            (2, Some(place)) => {
                if let (Some((key, _)), Some((_, value))) =
                    (place.split_once(['=', ':']), line.split_once(['=', ':']))
                {
                    *place = format!("{key}={value}");
                }
            }
            _ => lines.insert(at, line),
        }
    }
    let mut bytes = lines.join("\n").into_bytes();
    bytes.push(b'\n');
    let others: Vec<Vec<u8>> = others.iter().map(|other| other.clone().into_bytes()).collect();
    if random.once_in(2) {
        mutate(random, &mut bytes, &others, 8192);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
