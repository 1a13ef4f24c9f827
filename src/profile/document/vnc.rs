//! `[vnc]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Graphical console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Vnc {
    /// TCP port, 5900 or above; 0 switches VNC off.
    #[schemars(example = 5901)]
    pub port: u16,
    /// File that holds the password, 1 to 8 bytes; one line end after it is dropped. Default: none
    /// is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/run/secrets/vnc")]
    pub password_file: Option<PathBuf>,
}

impl Default for Vnc {
    fn default() -> Self {
        Self { port: 5900, password_file: None }
    }
}
