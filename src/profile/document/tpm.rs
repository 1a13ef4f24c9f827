//! `[tpm]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A TPM 2.0, emulated by swtpm; its state is kept in the state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tpm {
    /// What the guest sees.
    #[schemars(example = &"tis")]
    pub model: TpmModel,
    /// The swtpm program: a path, or a name that is looked up in `PATH`.
    #[schemars(example = &"/usr/bin/swtpm")]
    pub binary: PathBuf,
}

impl Default for Tpm {
    fn default() -> Self {
        Self { model: TpmModel::Crb, binary: "swtpm".into() }
    }
}

/// A TPM's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TpmModel {
    /// Command Response Buffer.
    Crb,
    /// TPM Interface Specification: FIFO.
    Tis,
}

impl TpmModel {
    /// QEMU's device.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::Crb => "tpm-crb",
            Self::Tis => "tpm-tis",
        }
    }
}
