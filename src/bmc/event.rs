//! What the engine asks of the outside.

use crate::machine;
use crate::machine::boot::Override;

/// A wish that the engine cannot fulfil itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An accepted power request.
    Power(machine::Request),
    /// The boot override has changed.
    Boot(Option<Override>),
    /// Characters for the serial port.
    Console(Vec<u8>),
    /// A break on the serial port.
    Break,
    /// What clients have changed, to be handed in again by [`restore`](crate::bmc::Bmc::restore)
    /// after a restart; JSON, and it holds passwords.
    Save(String),
}
