//! `ctl` and `health`: clients of the control socket.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::cli::args::{BootTo, CtlRequest, PowerAction, SelRequest, SensorRequest};
use crate::cli::{FAILURE, console, output};
use crate::control::{BootChoice, Difference, Link, Request, Response, SelEntry, Sensor, Status};
use crate::machine::{self, Power};

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(socket: &Path, request: CtlRequest) -> ExitCode {
    let (request, as_json) = match request {
        CtlRequest::Console { read_only, history } => {
            return match console::run(socket, read_only, history) {
                Ok(code) => code,
                Err(error) => fail(&unreachable(socket, &error)),
            };
        }
        CtlRequest::Status { json } => (Request::Status, json),
        CtlRequest::Links { json } => (Request::Links, json),
        CtlRequest::Sel { request: SelRequest::List { json } } => (Request::Sel, json),
        CtlRequest::Sensor { request: SensorRequest::List { json } } => (Request::Sensors, json),
        CtlRequest::Sensor { request: SensorRequest::Set { name, value } } => {
            (Request::Sensor { name, value: Some(value) }, false)
        }
        CtlRequest::Sensor { request: SensorRequest::Clear { name } } => {
            (Request::Sensor { name, value: None }, false)
        }
        CtlRequest::Boot { device, always, uefi, once: _ } => {
            (Request::Boot { device: boot(device), always, uefi }, false)
        }
        CtlRequest::Power { action } => (Request::Power { request: power(action) }, false),
    };
    match ask(socket, request) {
        Ok(Response::Status(status)) if as_json => print_json(&status),
        Ok(Response::Status(status)) => output::print(&status_text(&status)),
        Ok(Response::Links(links)) if as_json => print_json(&links),
        Ok(Response::Links(links)) => output::print(&links_text(&links)),
        Ok(Response::Sel(entries)) if as_json => print_json(&entries),
        Ok(Response::Sel(entries)) => output::print(&sel_text(&entries)),
        Ok(Response::Sensors(sensors)) if as_json => print_json(&sensors),
        Ok(Response::Sensors(sensors)) => output::print(&sensors_text(&sensors)),
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

fn sel_text(entries: &[SelEntry]) -> String {
    let mut out = String::new();
    for SelEntry { id, time_s, sensor, event, asserted, detail, record } in entries {
        let time = time_s.map_or_else(|| " ".repeat(19), date_and_time);
        let _ = write!(out, "{id:>5}  {time}  {sensor}");
        let ended = if *asserted { "" } else { "no longer " };
        // Of what the record says in a way of its own, at least the bytes.
        let _ = match &event[..] {
            "" => write!(out, ": {record}"),
            event => write!(out, ": {ended}{event}"),
        };
        if let Some(detail) = detail {
            let _ = write!(out, " ({detail})");
        }
        out.push('\n');
    }
    if entries.is_empty() {
        out.push_str("the log is empty\n");
    }
    out
}

fn sensors_text(sensors: &[Sensor]) -> String {
    let mut out = String::new();
    for Sensor { number, name, kind, value, unit, states, set } in sensors {
        let reading = match (value, unit) {
            (Some(value), Some(unit)) => format!("{value} {unit}"),
            (None, Some(_)) => "no reading".to_owned(),
            (_, None) if kind == "events" => "events only".to_owned(),
            (_, None) => String::new(),
        };
        let set = set.then(|| "set by ctl".to_owned());
        let notes: Vec<String> = states.iter().cloned().chain(set).collect();
        let line = format!("{number:02X}h  {name:16}  {reading:11}  {}", notes.join(", "));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// A moment of UTC. The days are counted in eras of 400 years from 1 March on, so that leap days come
/// last in their year.
fn date_and_time(unix_s: u32) -> String {
    let (days, rest) = (unix_s / 86400 + 719_468, unix_s % 86400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u32::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
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

fn boot(device: BootTo) -> BootChoice {
    match device {
        BootTo::Disk => BootChoice::Disk,
        BootTo::Cdrom => BootChoice::Cdrom,
        BootTo::Pxe => BootChoice::Pxe,
        BootTo::Bios => BootChoice::Bios,
        BootTo::None => BootChoice::None,
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
    if let Some(boot) = &status.boot {
        lines.push(format!("boot      {boot}"));
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
    match (status.identify, status.identify_left_s) {
        (true, Some(left)) => lines.push(format!("identify  on, for {left} s yet")),
        (true, None) => lines.push("identify  on".to_owned()),
        (false, _) => {}
    }
    for Difference { setting, profile, now } in &status.differences {
        lines.push(format!("changed   {setting}: {now}; the profile: {profile}"));
    }
    lines.join("\n") + "\n\n" + &links_text(&status.links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_calendar() {
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_767_323_045, "2026-01-02 03:04:05"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (u32::MAX, "2106-02-07 06:28:15"),
        ] {
            assert_eq!(date_and_time(unix_s), text);
        }
    }
}
