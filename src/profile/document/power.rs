//! `[power]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Power policies and limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Power {
    /// Power state when the program starts.
    #[schemars(example = &"previous")]
    pub restore: Restore,
    /// How long the guest may take for a soft shutdown, in seconds.
    #[schemars(range(min = 1, max = 86400), example = 60)]
    pub soft_limit_s: u32,
    /// What happens when a soft shutdown has not ended within its limit.
    #[schemars(example = &"force")]
    pub soft_policy: SoftPolicy,
    /// Time off within a power cycle, in seconds.
    #[schemars(range(max = 255), example = 5)]
    pub cycle_interval_s: u32,
    /// How long the guest may take to shut down when the program is stopped, in seconds. Keep it
    /// below the container engine's own limit (Docker: 10 s).
    #[schemars(range(max = 86400), example = 60)]
    pub stop_limit_s: u32,
}

impl Default for Power {
    fn default() -> Self {
        Self {
            restore: Restore::AlwaysOn,
            soft_limit_s: 120,
            soft_policy: SoftPolicy::Leave,
            cycle_interval_s: 1,
            stop_limit_s: 8,
        }
    }
}

/// Power state when the program starts (IPMI v2.0 section 28.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restore {
    /// The machine is started.
    AlwaysOn,
    /// The machine stays off.
    AlwaysOff,
    /// As it was when the program ended; the first time: on.
    Previous,
}

/// What happens when a soft shutdown has not ended within its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SoftPolicy {
    /// The machine runs on.
    Leave,
    /// The machine is switched off.
    Force,
}
