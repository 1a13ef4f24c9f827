//! What `ctl` and `health` say to the running program over its control socket, and what it answers:
//! one JSON object a line, one request a connection.

use serde::{Deserialize, Serialize};

use crate::machine::{Power, Request as PowerRequest};

/// Name of the control socket in the run directory.
pub const SOCKET: &str = "control.sock";

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// How the machine and its BMC are.
    Status,
    /// Switch power.
    Power {
        /// What to do.
        request: PowerRequest,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Status),
    /// The power request was accepted.
    Accepted,
    /// It was not; says why.
    Refused(String),
}

/// How the machine and its BMC are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Machine name.
    pub name: String,
    /// Machine UUID.
    pub uuid: String,
    /// Power as of now.
    pub power: Power,
    /// The power operation under way.
    pub operation: Option<PowerRequest>,
    /// The machine is off because it crashed or could not be started.
    pub fault: bool,
    /// Process ID of QEMU.
    pub qemu_pid: Option<i32>,
    /// How QEMU ended last, if it ended by itself.
    pub last_failure: Option<String>,
    /// The BMC's UDP port.
    pub ipmi_port: u16,
    /// Open IPMI sessions.
    pub sessions: usize,
    /// Serial-over-LAN is active.
    pub sol_active: bool,
    /// Datagrams that got no answer since the start.
    pub dropped_datagrams: u64,
}
