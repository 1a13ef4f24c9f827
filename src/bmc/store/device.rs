//! Switches of the BMC itself.

use serde::{Deserialize, Serialize};

/// The BMC's switches.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Device {
    /// Events do not go into the SEL.
    pub(in crate::bmc) sel_disabled: bool,
}
