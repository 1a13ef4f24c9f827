//! The SDR repository, as far as clients change it (v2.0 chapter 33). The BMC's own records are
//! made anew at every start, and stay.

use serde::{Deserialize, Serialize};

use crate::bmc::store::hex;
use crate::bmc::store::sel::{Partial, Reservation};

/// Records that clients may add.
pub(in crate::bmc) const CAPACITY: usize = 64;
/// Bytes of the longest record: header, and what its length byte can say at most for it to be read
/// in one piece over every transport.
pub(in crate::bmc) const MAX_RECORD_LEN: usize = 64;

/// What is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Sdr {
    /// Records of clients.
    #[serde(with = "hex")]
    pub(in crate::bmc) added: Vec<Vec<u8>>,
    /// SHA-256 of the BMC's own records, in hexadecimal: clients keep copies of records, and tell
    /// by the time of the last addition whether they are still good.
    pub(in crate::bmc) digest: String,
    /// When records were added last.
    pub(in crate::bmc) added_s: u32,
    /// When records were deleted last.
    pub(in crate::bmc) erased_s: u32,
    #[serde(skip)]
    pub(in crate::bmc) reservation: Reservation,
    #[serde(skip)]
    pub(in crate::bmc) partial: Partial,
}

impl Sdr {
    /// Puts right what a damaged file may hold, and numbers records anew behind the BMC's `own`,
    /// which may be more than they were.
    pub(in crate::bmc) fn settle(&mut self, own: &[Vec<u8>]) {
        self.added.retain(|record| record.len() > 5 && record.len() <= MAX_RECORD_LEN);
        self.added.truncate(CAPACITY);
        let first = u16::try_from(own.len() + 1).unwrap_or(1);
        for (id, record) in (first..).zip(&mut self.added) {
            record[..2].copy_from_slice(&id.to_le_bytes());
        }
    }
}
