//! What the engine asks of the outside.

use std::time::Duration;

use crate::machine;
use crate::machine::boot::Override;

/// A wish that the engine cannot fulfil itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An accepted power request, and who made it.
    Power(machine::Request, machine::Origin),
    /// The boot override has changed.
    Boot(Option<Override>),
    /// Characters for the serial port.
    Console(Vec<u8>),
    /// A break on the serial port.
    Break,
    /// The time off within a power cycle has changed.
    CycleInterval(Duration),
}
