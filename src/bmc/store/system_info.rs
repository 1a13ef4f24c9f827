//! System information that clients and guests leave with the BMC (v2.0 section 22.14b).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Characters in a block, and in the first one beside encoding and length.
pub(in crate::bmc) const BLOCK_LEN: usize = 16;
/// Blocks of a text that are kept: 255 characters and their two bytes of head.
pub(in crate::bmc) const BLOCKS: u8 = 17;

/// Texts by parameter number, in blocks as they were set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct SystemInfo {
    texts: BTreeMap<u8, BTreeMap<u8, Vec<u8>>>,
}

impl SystemInfo {
    /// A block of a text, if one was set; short blocks are filled up with zeros.
    #[must_use]
    pub(in crate::bmc) fn block(&self, parameter: u8, index: u8) -> Option<[u8; BLOCK_LEN]> {
        let set = self.texts.get(&parameter)?.get(&index)?;
        let mut block = [0; BLOCK_LEN];
        let len = set.len().min(BLOCK_LEN);
        block[..len].copy_from_slice(&set[..len]);
        Some(block)
    }

    /// Sets a block. The first one starts a new text.
    pub(in crate::bmc) fn set_block(&mut self, parameter: u8, index: u8, block: &[u8]) {
        let text = self.texts.entry(parameter).or_default();
        if index == 0 {
            text.clear();
        }
        text.insert(index, block.to_vec());
    }
}
