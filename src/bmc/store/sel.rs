//! The System Event Log (v2.0 chapter 31).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bmc::store::hex;

/// Entries that are kept. The oldest makes room for the newest: what has just happened is what
/// people look for.
pub(in crate::bmc) const CAPACITY: usize = 1024;
/// How many entries are as good as all, and that in percent: time to look at them.
pub(in crate::bmc) const ALMOST_FULL: usize = CAPACITY / 10 * 9;
pub(in crate::bmc) const ALMOST_FULL_PERCENT: u8 = 90;
/// Longest note in bytes.
const MAX_NOTE_LEN: usize = 240;
/// Bytes of an entry (table 32-1).
pub(in crate::bmc) const ENTRY_LEN: usize = 16;

/// Permission to read or delete in several steps (v2.0 sections 31.4 and 33.11).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::bmc) struct Reservation {
    last: u16,
    valid: bool,
}

impl Reservation {
    /// A new ID, which is never 0; the one before is of no use any more.
    pub(in crate::bmc) fn make(&mut self) -> u16 {
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.valid = true;
        self.last
    }

    /// What it was made for has changed.
    pub(in crate::bmc) fn cancel(&mut self) {
        self.valid = false;
    }

    /// `id` is the reservation that holds.
    #[must_use]
    pub(in crate::bmc) fn is(self, id: u16) -> bool {
        self.valid && self.last == id
    }
}

/// An entry that arrives in parts.
#[derive(Clone, Debug, Default)]
pub(in crate::bmc) struct Partial {
    /// The record ID it will have; 0: nothing has arrived.
    pub(in crate::bmc) id: u16,
    /// What has arrived.
    pub(in crate::bmc) bytes: Vec<u8>,
}

/// The log.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Sel {
    #[serde(with = "hex")]
    entries: Vec<Vec<u8>>,
    /// What an entry has no room for, by its ID: who it was, or why.
    notes: BTreeMap<u16, String>,
    /// The ID that was given last.
    last_id: u16,
    /// Entries were dropped since the log was cleared.
    pub(in crate::bmc) overflow: bool,
    /// When an entry was added, in the log's own time.
    pub(in crate::bmc) added_s: u32,
    /// When entries were deleted.
    pub(in crate::bmc) erased_s: u32,
    /// The log's time minus that of the host, in seconds (Set SEL Time).
    pub(in crate::bmc) time_offset_s: i64,
    /// Minutes between the log's time and UTC (Set SEL Time UTC Offset).
    pub(in crate::bmc) utc_offset_min: i16,
    #[serde(skip)]
    pub(in crate::bmc) reservation: Reservation,
    #[serde(skip)]
    pub(in crate::bmc) partial: Partial,
}

impl Sel {
    /// How many entries there are.
    #[must_use]
    pub(in crate::bmc) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The ID of the newest entry; 0 if there is none.
    #[must_use]
    pub(in crate::bmc) fn newest(&self) -> u16 {
        self.entries.last().map_or(0, |entry| id_of(entry))
    }

    /// The entry with this ID, where 0 means the oldest and FFFFh the newest, and the ID of the one
    /// that follows, or FFFFh.
    #[must_use]
    pub(in crate::bmc) fn get(&self, id: u16) -> Option<(&[u8], u16)> {
        let place = self.place(id)?;
        let next = self.entries.get(place + 1).map_or(0xFFFF, |entry| id_of(entry));
        Some((self.entries.get(place)?, next))
    }

    fn place(&self, id: u16) -> Option<usize> {
        match id {
            0 => Some(0),
            0xFFFF => self.entries.len().checked_sub(1),
            _ => self.entries.iter().position(|entry| id_of(entry) == id),
        }
    }

    /// Adds an entry under an ID of its own, which it answers.
    pub(in crate::bmc) fn add(&mut self, mut entry: [u8; ENTRY_LEN], time_s: u32) -> u16 {
        if self.entries.len() >= CAPACITY {
            for entry in self.entries.drain(..=self.entries.len() - CAPACITY) {
                self.notes.remove(&id_of(&entry));
            }
            self.overflow = true;
            self.reservation.cancel();
        }
        let id = self.free_id();
        self.last_id = id;
        entry[..2].copy_from_slice(&id.to_le_bytes());
        // Record types 00h to DFh have a time stamp (section 32.1).
        if entry[2] < 0xE0 {
            entry[3..7].copy_from_slice(&time_s.to_le_bytes());
        }
        self.entries.push(entry.to_vec());
        self.added_s = time_s;
        id
    }

    /// The ID that the next entry gets. After a wrap, old entries may still have theirs.
    #[must_use]
    pub(in crate::bmc) fn free_id(&self) -> u16 {
        let mut id = self.last_id;
        loop {
            id = if id >= 0xFFFE { 1 } else { id + 1 };
            if !self.entries.iter().any(|entry| id_of(entry) == id) {
                return id;
            }
        }
    }

    /// Deletes one entry; answers its ID.
    pub(in crate::bmc) fn delete(&mut self, id: u16, time_s: u32) -> Option<u16> {
        let place = self.place(id).filter(|place| *place < self.entries.len())?;
        let entry = self.entries.remove(place);
        self.notes.remove(&id_of(&entry));
        self.erased_s = time_s;
        self.reservation.cancel();
        Some(id_of(&entry))
    }

    /// Deletes all entries.
    pub(in crate::bmc) fn clear(&mut self, time_s: u32) {
        self.entries.clear();
        self.notes.clear();
        self.last_id = 0;
        self.overflow = false;
        self.erased_s = time_s;
        self.reservation.cancel();
        self.partial = Partial::default();
    }

    /// Puts right what a damaged file may hold.
    pub(in crate::bmc) fn settle(&mut self) {
        self.entries.retain(|entry| entry.len() == ENTRY_LEN);
        let excess = self.entries.len().saturating_sub(CAPACITY);
        self.entries.drain(..excess);
        let entries = &self.entries;
        self.notes.retain(|id, _| entries.iter().any(|entry| id_of(entry) == *id));
    }

    /// Puts words beside an entry: one line, cut when it is too long.
    pub(in crate::bmc) fn annotate(&mut self, id: u16, note: &str) {
        let mut line: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        while line.len() > MAX_NOTE_LEN {
            line.pop();
        }
        self.notes.insert(id, line);
    }

    /// All entries, oldest first, each with what was noted of it.
    pub(in crate::bmc) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&str>)> {
        let note = |entry: &Vec<u8>| self.notes.get(&id_of(entry)).map(String::as_str);
        self.entries.iter().map(move |entry| (entry.as_slice(), note(entry)))
    }
}

/// Its record ID.
pub(in crate::bmc) fn id_of(entry: &[u8]) -> u16 {
    entry.first_chunk().map_or(0, |id| u16::from_le_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_ids_go_round() {
        let mut sel = Sel::default();
        let kept = sel.add([0; ENTRY_LEN], 7);
        for _ in 0..CAPACITY - 1 {
            sel.add([0; ENTRY_LEN], 7);
        }
        assert_eq!((sel.len(), sel.overflow), (CAPACITY, false));
        let reserved = sel.reservation.make();
        sel.add([0; ENTRY_LEN], 8);
        assert_eq!((sel.len(), sel.overflow), (CAPACITY, true));
        assert!(!sel.reservation.is(reserved), "its entries are others now");
        assert_eq!(sel.get(kept), None);
        assert_eq!(sel.get(0).map(|(entry, next)| (id_of(entry), next)), Some((2, 3)));
        // Down to one entry, whose ID is not given again.
        while sel.len() > 1 {
            sel.delete(0xFFFF, 9).unwrap();
        }
        assert_eq!(sel.newest(), 2);
        for _ in 0..0xFFFF {
            let id = sel.add([0; ENTRY_LEN], 9);
            assert!(!matches!(id, 0 | 2 | 0xFFFF), "{id}");
            sel.delete(id, 9).unwrap();
        }
    }

    #[test]
    fn only_records_with_a_time_stamp_get_one() {
        let mut sel = Sel::default();
        for record_type in [0x02, 0xC0, 0xDF, 0xE0, 0xFF] {
            let mut entry = [0xAA; ENTRY_LEN];
            entry[2] = record_type;
            sel.add(entry, 0x0102_0304);
            let time = &sel.get(0xFFFF).unwrap().0[3..7];
            let expected = if record_type < 0xE0 { [4, 3, 2, 1] } else { [0xAA; 4] };
            assert_eq!(time, expected, "{record_type:02x}");
        }
    }
}
