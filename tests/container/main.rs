//! The container image, built and run by a real Docker engine; `run.rs` says more.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests start processes, look at the clock and may panic"
)]

#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/command.rs"]
mod command;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/media.rs"]
mod media;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/processes.rs"]
mod processes;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/terminal.rs"]
mod terminal;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/wait.rs"]
mod wait;

mod beyond;
mod container;
mod engine;
mod lab;
mod machine;
mod measure;
mod network;
mod report;
mod rights;
mod run;
mod seed;
mod seed_files;
mod topologies;

#[test]
#[ignore = "needs a Docker engine: make container-test"]
fn checks() {
    run::checks();
}

#[test]
#[ignore = "needs a Docker engine: make container-measure"]
fn figures() {
    measure::figures();
}
