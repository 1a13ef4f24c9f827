//! The program as its users meet it: the real binary, QEMU (emulating, never KVM) and real IPMI
//! clients, all as child processes.
//!
//! Every test has a machine of its own, with its own port and directories, so tests run side by
//! side. Nothing sleeps to let something happen: all waiting is for a condition, with a limit.
//! A tool or a guest that is missing fails the test; `make test` installs the one and builds the
//! other.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests start processes, look at the clock and may panic"
)]

mod bmc;
mod boot;
#[path = "../case/mod.rs"]
mod case;
mod clients;
mod command;
mod commissioning;
mod console;
mod errors;
mod faults;
mod files;
mod floods;
mod freeipmi;
mod in_band;
mod lan;
mod login;
mod lossy;
mod machine;
mod many;
mod media;
mod namespace;
mod network;
mod pid1;
mod plans;
mod power;
mod processes;
mod profile;
mod profiles;
mod qemu;
#[path = "../random/mod.rs"]
mod random;
mod secrets;
mod sensors;
mod shells;
mod soak;
mod sol;
mod stop;
mod story;
mod terminal;
mod trio;
mod user;
mod vnc;
mod wait;
mod watchdog;
