//! qemu-bmc turns a container into a server: a QEMU/KVM virtual machine with a BMC.
//!
//! Data flows one way. Configuration: [`profile`] (layers of text → document → checked profile) →
//! [`plan`] (what will be done, as plain data) → [`runtime`]. Datagrams: [`wire`] (bytes) → [`bmc`]
//! (sessions, commands, SOL) → reply. Layers below `host` do no I/O and read no clock; modules
//! stand in layer order here, and `tests/layers.rs` keeps the import direction.
//! `docs/ARCHITECTURE.md` has the picture.

pub mod qmp;
pub mod value;

pub mod console;
pub mod control;
pub mod machine;
pub mod profile;
pub mod wire;

pub mod plan;

pub mod bmc;

pub mod host;

pub mod runtime;

pub mod cli;
