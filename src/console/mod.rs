//! A serial port's console: what it has said, who watches it, and how far each of them is.
//!
//! Pure: bytes and time in, bytes out. `runtime::console` is its hands.

mod hub;
mod keys;
mod lines;
mod pace;

pub use hub::{Chunk, From, Hub, Viewer};
pub use keys::{Key, Keys};
pub use lines::Lines;
pub use pace::{Pace, Reading};
