//! Words shared by all layers: checked newtypes without behaviour of their own.
//!
//! Everything here is a plain value that can only be made legal; nothing reads a file or a clock.

mod bmc_key;
mod boot;
mod image;
mod interface;
mod mac;
mod name;
mod secret;
mod size;

pub use bmc_key::BmcKey;
pub use boot::BootDevice;
pub use image::{ImageFormat, Sha256Sum};
pub use interface::InterfaceName;
pub use mac::MacAddr;
pub use name::MachineName;
pub use secret::Secret;
pub use size::{ByteSize, MemorySize};
