//! What the engine asks of the outside.

use std::time::Duration;

use crate::machine;
use crate::machine::boot::Override;

/// What Serial-over-LAN has to say to the hub of the serial port's viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// A console has begun to watch, and wants what there is.
    Begin {
        /// Goes back with what there is: what an earlier console asked for is not for this one.
        activation: u32,
        /// From the history on.
        replay: bool,
    },
    /// It wants more.
    More,
    /// It has gone.
    Leave,
}

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
    /// Characters that the serial port has not taken yet are to be dropped.
    Flush,
    /// For the hub of the serial port's viewers.
    Watch(Watch),
    /// The time off within a power cycle has changed.
    CycleInterval(Duration),
}
