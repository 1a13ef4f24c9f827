//! The hub: one buffer of what the port has said last, and a place in it for each viewer.
//!
//! A viewer takes at its own speed. One that is so far behind that the buffer does not reach back to
//! it skips what is gone, and is told how much that was. So memory is bounded whatever the viewers
//! do, and none holds up the port or another viewer.

use std::collections::{BTreeMap, VecDeque};

/// How far a viewer may be behind, in bytes.
const BACKLOG: u64 = 1 << 20;

/// A viewer, by the number that [`Hub::attach`] gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Viewer(u64);

/// Where a viewer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With what comes next.
    Now,
    /// With the history.
    History,
}

/// What a viewer is to see next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes before these that are gone.
    pub skipped: u64,
    /// What the port has said.
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// The bytes, behind a line that tells of those that were skipped, if any were.
    #[must_use]
    pub fn marked(self) -> Vec<u8> {
        if self.skipped == 0 {
            return self.bytes;
        }
        let mut marked = format!("\r\n[qemu-bmc: {} bytes skipped]\r\n", self.skipped).into_bytes();
        marked.extend(self.bytes);
        marked
    }
}

/// What a serial port has said last, and its viewers.
#[derive(Debug, Default)]
pub struct Hub {
    /// The last bytes.
    buffer: VecDeque<u8>,
    /// Count of all bytes so far.
    end: u64,
    /// How much is kept for viewers that are still to come, in bytes.
    history: u64,
    /// How many bytes had come at the place that each viewer has reached.
    viewers: BTreeMap<Viewer, u64>,
    attached: u64,
}

impl Hub {
    /// A hub that keeps this many bytes as history.
    #[must_use]
    pub fn new(history: usize) -> Self {
        Self { history: wide(history), ..Self::default() }
    }

    /// The port says something.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
        self.end += wide(bytes.len());
        let slowest = self.viewers.values().min().map_or(0, |place| self.end - place);
        let kept = self.history.max(slowest.min(BACKLOG));
        let excess = wide(self.buffer.len()).saturating_sub(kept);
        self.buffer.drain(..narrow(excess));
    }

    /// A new viewer.
    pub fn attach(&mut self, from: From) -> Viewer {
        self.attached += 1;
        let viewer = Viewer(self.attached);
        let place = match from {
            From::Now => self.end,
            From::History => self.start().max(self.end.saturating_sub(self.history)),
        };
        self.viewers.insert(viewer, place);
        viewer
    }

    /// A viewer goes.
    pub fn detach(&mut self, viewer: Viewer) {
        self.viewers.remove(&viewer);
    }

    /// How many bytes a viewer has still to take; what it will have to skip is among them.
    #[must_use]
    pub fn behind(&self, viewer: Viewer) -> u64 {
        self.viewers.get(&viewer).map_or(0, |place| self.end - place)
    }

    /// The next bytes for a viewer, at most `max`; `None` if there are none.
    pub fn take(&mut self, viewer: Viewer, max: usize) -> Option<Chunk> {
        let (start, end) = (self.start(), self.end);
        let place = self.viewers.get_mut(&viewer).filter(|place| **place < end)?;
        let from = start.max(*place);
        let skipped = from - *place;
        let to = end.min(from.saturating_add(wide(max)));
        *place = to;
        let range = narrow(from - start)..narrow(to - start);
        Some(Chunk { skipped, bytes: self.buffer.range(range).copied().collect() })
    }

    /// Count of bytes before the first one that is kept.
    fn start(&self) -> u64 {
        self.end - wide(self.buffer.len())
    }
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn narrow(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(hub: &mut Hub, viewer: Viewer) -> Vec<u8> {
        std::iter::from_fn(|| hub.take(viewer, 3)).flat_map(Chunk::marked).collect()
    }

    #[test]
    fn each_viewer_sees_all_from_where_it_began() {
        let mut hub = Hub::new(4);
        let first = hub.attach(From::Now);
        hub.push(b"firmware");
        let late = hub.attach(From::Now);
        let curious = hub.attach(From::History);
        hub.push(b" kernel");
        assert_eq!(all(&mut hub, first), b"firmware kernel");
        assert_eq!(all(&mut hub, late), b" kernel");
        assert_eq!(all(&mut hub, curious), b"ware kernel");
        assert_eq!(hub.take(first, 3), None);
        hub.push(b"!");
        assert_eq!((hub.behind(first), all(&mut hub, first)), (1, b"!".to_vec()));
        hub.detach(late);
        assert_eq!(hub.take(late, 9), None);
    }

    #[test]
    fn a_stopped_viewer_costs_bounded_memory_and_is_told_what_it_missed() {
        let mut hub = Hub::new(16);
        let stopped = hub.attach(From::Now);
        let live = hub.attach(From::Now);
        let mut seen = 0;
        for _ in 0..2048 {
            hub.push(&[b'.'; 1024]);
            seen += all(&mut hub, live).len();
            assert!(wide(hub.buffer.len()) <= BACKLOG);
        }
        assert_eq!(seen, 2 << 20, "the other one is not touched by it");
        let chunk = hub.take(stopped, usize::MAX).unwrap();
        assert_eq!((chunk.skipped, wide(chunk.bytes.len())), (1 << 20, BACKLOG));
        assert!(chunk.marked().starts_with(b"\r\n[qemu-bmc: 1048576 bytes skipped]\r\n."));
        hub.push(b"last");
        assert_eq!(hub.take(stopped, 9), Some(Chunk { skipped: 0, bytes: b"last".to_vec() }));
        assert!(hub.buffer.len() <= 16, "only history is kept when all have seen all");
    }

    #[test]
    fn without_history_nothing_is_kept_for_nobody() {
        let mut hub = Hub::new(0);
        hub.push(b"nobody is there");
        assert!(hub.buffer.is_empty());
        let viewer = hub.attach(From::History);
        assert_eq!(hub.take(viewer, 9), None);
    }
}
