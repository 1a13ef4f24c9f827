//! `ctl` and `health`: clients of the control socket.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::FAILURE;
use crate::cli::args::{CtlRequest, PowerAction};
use crate::control::{Request, Response, Status};
use crate::machine::{self, Power};

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(socket: &Path, request: CtlRequest) -> ExitCode {
    let (request, as_json) = match request {
        CtlRequest::Status { json } => (Request::Status, json),
        CtlRequest::Power { action } => (Request::Power { request: power(action) }, false),
    };
    match ask(socket, request) {
        Ok(Response::Status(status)) if as_json => match serde_json::to_string(&status) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error.to_string()),
        },
        Ok(Response::Status(status)) => {
            print_status(&status);
            ExitCode::SUCCESS
        }
        Ok(Response::Accepted) => ExitCode::SUCCESS,
        Ok(Response::Refused(reason)) => fail(&format!("refused: {reason}")),
        Err(error) => fail(&unreachable(socket, &error)),
    }
}

pub(super) fn health(socket: &Path) -> ExitCode {
    match ask(socket, Request::Status) {
        Ok(Response::Status(status)) => {
            println!("the BMC answers; the machine is {}", word(status.power));
            ExitCode::SUCCESS
        }
        Ok(_) => fail("the BMC does not answer"),
        Err(error) => fail(&unreachable(socket, &error)),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(FAILURE)
}

fn unreachable(socket: &Path, error: &io::Error) -> String {
    format!("no answer from qemu-bmc at {}: {error}", socket.display())
}

fn ask(socket: &Path, request: Request) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

fn power(action: PowerAction) -> machine::Request {
    match action {
        PowerAction::On => machine::Request::On,
        PowerAction::Off => machine::Request::Off,
        PowerAction::Soft => machine::Request::Soft,
        PowerAction::Cycle => machine::Request::Cycle,
        PowerAction::Reset => machine::Request::Reset,
        PowerAction::Diag => machine::Request::Diag,
    }
}

fn word(power: Power) -> &'static str {
    match power {
        Power::On => "on",
        Power::Off => "off",
    }
}

fn print_status(status: &Status) {
    println!("machine   {}", status.name);
    println!("uuid      {}", status.uuid);
    println!("power     {}", word(status.power));
    if let Some(operation) = status.operation {
        println!("under way {operation:?}");
    }
    if let Some(pid) = status.qemu_pid {
        println!("qemu      process {pid}");
    }
    if status.fault
        && let Some(failure) = &status.last_failure
    {
        println!("failed    {failure}");
    }
    println!("ipmi      UDP port {}, {} sessions", status.ipmi_port, status.sessions);
    println!("sol       {}", if status.sol_active { "active" } else { "free" });
    println!("dropped   {} datagrams", status.dropped_datagrams);
}
