//! What the operator asked for: layers of text to a checked [`Profile`].
//!
//! ```text
//! defaults < files < environment < command line ──layers::merge──▶ Document ──check──▶ Profile
//!                                                    └── Sources: which layer set which key
//! ```
//!
//! All text is handed in; nothing here reads a file or the environment.

pub mod check;
pub mod diagnostic;
pub mod document;
pub mod explain;
pub mod layers;
pub mod load;
pub mod schema;
pub mod sources;
pub mod text;
mod tree;
pub mod variables;

pub use check::{Profile, check};
pub use diagnostic::{Fault, Finding, Severity};
pub use document::Document;
pub use layers::{Ambient, Inputs, Merged, merge};
pub use load::{Loaded, load};
pub use sources::{Key, Sources};
