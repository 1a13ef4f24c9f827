//! Texts that DCMI lets clients set.

use serde::{Deserialize, Serialize};

/// Texts, where they were set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Dcmi {
    /// Asset tag.
    pub(in crate::bmc) asset_tag: Option<Vec<u8>>,
    /// Management Controller Identifier String, without its final zero.
    pub(in crate::bmc) identifier: Option<Vec<u8>>,
}
