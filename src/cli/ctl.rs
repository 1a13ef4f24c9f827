//! `ctl` and `health`: clients of the control socket.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::cli::args::{CtlRequest, PowerAction};
use crate::cli::{FAILURE, console, output};
use crate::control::{Link, Request, Response, Status};
use crate::machine::{self, Power};

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(socket: &Path, request: CtlRequest) -> ExitCode {
    let (request, as_json) = match request {
        CtlRequest::Console { read_only, history } => {
            return match console::run(socket, read_only, history) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&unreachable(socket, &error)),
            };
        }
        CtlRequest::Status { json } => (Request::Status, json),
        CtlRequest::Links { json } => (Request::Links, json),
        CtlRequest::Power { action } => (Request::Power { request: power(action) }, false),
    };
    match ask(socket, request) {
        Ok(Response::Status(status)) if as_json => print_json(&status),
        Ok(Response::Status(status)) => output::print(&status_text(&status)),
        Ok(Response::Links(links)) if as_json => print_json(&links),
        Ok(Response::Links(links)) => output::print(&links_text(&links)),
        Ok(Response::Accepted) => ExitCode::SUCCESS,
        Ok(Response::Refused(reason)) => fail(&format!("refused: {reason}")),
        Err(error) => fail(&unreachable(socket, &error)),
    }
}

pub(super) fn health(socket: &Path) -> ExitCode {
    match ask(socket, Request::Status) {
        Ok(Response::Status(status)) => {
            output::print(&format!("the BMC answers; the machine is {}\n", word(status.power)))
        }
        Ok(_) => fail("the BMC does not answer"),
        Err(error) => fail(&unreachable(socket, &error)),
    }
}

fn print_json(answer: &impl Serialize) -> ExitCode {
    match serde_json::to_string(answer) {
        Ok(text) => output::print(&(text + "\n")),
        Err(error) => fail(&error.to_string()),
    }
}

fn links_text(links: &[Link]) -> String {
    let mut out = String::new();
    for link in links {
        let Link { nic, mac, model, interface, wiring, .. } = link;
        let with = interface.as_ref().map_or(String::new(), |name| format!(" with {name}"));
        let _ = writeln!(out, "{nic}  {mac}  {model}  {wiring}{with}");
        if let Some(tap) = &link.tap {
            let state = match (link.connected, link.carrier, &link.problem) {
                (false, _, None) => "the interface is not there".to_owned(),
                (false, _, Some(problem)) => format!("not connected: {problem}"),
                (true, false, _) => "connected, no carrier".to_owned(),
                (true, true, _) => "connected, carrier".to_owned(),
            };
            let mtu = link.mtu.map_or(String::new(), |mtu| format!(", MTU {mtu}"));
            let _ = writeln!(out, "  {tap}: {state}{mtu}");
            let _ = writeln!(
                out,
                "  to the guest {} packets, {} dropped; from it {}, {} dropped",
                link.to_guest_packets,
                link.to_guest_dropped,
                link.from_guest_packets,
                link.from_guest_dropped
            );
        }
    }
    if links.is_empty() {
        out.push_str("no NIC\n");
    }
    out
}

fn fail(message: &str) -> ExitCode {
    output::complain(&format!("error: {message}\n"));
    ExitCode::from(FAILURE)
}

fn unreachable(socket: &Path, error: &io::Error) -> String {
    format!("no answer from qemu-bmc at {}: {error}", socket.display())
}

/// Asks the running program.
pub(super) fn ask(socket: &Path, request: Request) -> io::Result<Response> {
    Ok(ask_on(socket, request)?.0)
}

/// Asks, and answers with the connection as well.
pub(super) fn ask_on(
    socket: &Path,
    request: Request,
) -> io::Result<(Response, BufReader<UnixStream>)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let (mut answer, mut stream) = (String::new(), BufReader::new(stream));
    stream.read_line(&mut answer)?;
    Ok((serde_json::from_str(&answer)?, stream))
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

fn status_text(status: &Status) -> String {
    let mut lines = vec![
        format!("machine   {}", status.name),
        format!("uuid      {}", status.uuid),
        format!("power     {}", word(status.power)),
    ];
    if let Some(operation) = status.operation {
        lines.push(format!("under way {operation:?}"));
    }
    if let Some(pid) = status.qemu_pid {
        lines.push(format!("qemu      process {pid}"));
    }
    if status.fault
        && let Some(failure) = &status.last_failure
    {
        lines.push(format!("failed    {failure}"));
    }
    lines.push(format!("ipmi      UDP port {}, {} sessions", status.ipmi_port, status.sessions));
    lines.push(format!("sol       {}", if status.sol_active { "active" } else { "free" }));
    lines.push(format!("dropped   {} datagrams", status.dropped_datagrams));
    lines.join("\n") + "\n\n" + &links_text(&status.links)
}
