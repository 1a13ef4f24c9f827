//! Platform event filtering: its parameters (v2.0 chapters 17 and 30).

use serde::{Deserialize, Serialize};

/// Event filters.
pub(in crate::bmc) const FILTERS: usize = 16;
/// Alert policies.
pub(in crate::bmc) const POLICIES: usize = 16;
/// Alert strings, beside the volatile one that has number 0.
pub(in crate::bmc) const STRINGS: usize = 4;
/// Bytes of an alert string, and of a block of it.
pub(in crate::bmc) const STRING_LEN: usize = 64;
/// See [`STRING_LEN`].
pub(in crate::bmc) const BLOCK_LEN: usize = 16;

/// The parameters (table 30-6).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Pef {
    /// Parameter 1.
    pub(in crate::bmc) control: u8,
    /// Parameter 2.
    pub(in crate::bmc) actions: u8,
    /// Parameters 3 and 4, in seconds.
    pub(in crate::bmc) startup_delays_s: [u8; 2],
    /// Parameter 6, without the filter's number.
    pub(in crate::bmc) filters: [[u8; 20]; FILTERS],
    /// Parameter 9, without the entry's number.
    pub(in crate::bmc) policies: [[u8; 3]; POLICIES],
    /// Parameter 10.
    pub(in crate::bmc) guid: [u8; 17],
    /// Parameter 12, without the string's number; the first is the volatile string's.
    pub(in crate::bmc) keys: [[u8; 2]; STRINGS + 1],
    /// Parameter 13.
    pub(in crate::bmc) strings: Vec<Vec<u8>>,
    /// Record that software has processed last (Set Last Processed Event ID).
    pub(in crate::bmc) software_id: u16,
    /// Record that the BMC has processed last.
    pub(in crate::bmc) bmc_id: u16,
    /// Parameter 0: the session that holds "set in progress".
    #[serde(skip)]
    pub(in crate::bmc) set_in_progress_by: Option<u32>,
    /// Postpone timer in seconds; 0: off, FEh: temporarily off, FFh: told, not set.
    #[serde(skip)]
    pub(in crate::bmc) postpone_s: u8,
}

impl Default for Pef {
    fn default() -> Self {
        Self {
            control: 0,
            actions: 0,
            startup_delays_s: [0; 2],
            filters: [[0; 20]; FILTERS],
            // Disabled, for the LAN channel: clients ask what channel an entry's is.
            policies: [[0, 0x10, 0]; POLICIES],
            guid: [0; 17],
            keys: [[0; 2]; STRINGS + 1],
            strings: vec![vec![0; STRING_LEN]; STRINGS + 1],
            software_id: 0,
            bmc_id: 0,
            set_in_progress_by: None,
            postpone_s: 0,
        }
    }
}

impl Pef {
    /// Puts right what a damaged file may hold.
    pub(in crate::bmc) fn settle(&mut self) {
        self.strings.resize(STRINGS + 1, Vec::new());
        self.strings.iter_mut().for_each(|string| string.resize(STRING_LEN, 0));
    }
}
