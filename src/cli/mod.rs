//! The command line: reads what the outside hands in, calls the layers, prints, chooses the exit
//! code.

mod args;
mod completions;
mod console;
mod ctl;
mod doctor;
mod man;
mod output;
mod version;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use serde_json::json;

use crate::cli::args::{CheckFormat, Cli, Command, LayerArgs, PlanFormat, SchemaOf};
use crate::cli::version::Version;
use crate::host::{environment, facts};
use crate::plan::{self, Made, Plan};
use crate::profile::diagnostic::{self, At};
use crate::profile::explain::explain;
use crate::profile::layers::File;
use crate::profile::variables::{PROFILE_VARIABLE, VARIABLES};
use crate::profile::{self, Fault, Finding, Inputs, Key, Loaded, Severity, Sources, merge, schema};
use crate::runtime;

/// Default profile: the first that exists, if nobody names another.
const DEFAULT_PROFILES: [&str; 3] =
    ["/etc/qemu-bmc/profile.toml", "/etc/qemu-bmc/profile.yaml", "/etc/qemu-bmc/profile.json"];
/// Exit code for bad input; clap's is the same.
const BAD_INPUT: u8 = 2;
/// Exit code for a failure that the input is not to blame for.
const FAILURE: u8 = 1;
const EXIT_CODES: [(u8, &str); 3] =
    [(0, "success"), (FAILURE, "runtime failure"), (BAD_INPUT, "bad input")];

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::from_arg_matches(&command().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.command.unwrap_or(Command::Run { expect_plan: None }) {
        Command::Run { expect_plan } => run(&cli.layers, expect_plan.as_deref()),
        Command::Plan { format } => plan_command(&cli.layers, format),
        Command::Check { profile_only, format } => check_command(&cli.layers, profile_only, format),
        Command::Explain { key } => explain_command(&cli.layers, key.as_deref()),
        Command::Schema { of } => output::print(&match of {
            SchemaOf::Profile => schema::text(),
            SchemaOf::Plan => plan::schema(),
        }),
        Command::Doctor => {
            let Loaded { profile, sources, findings, .. } = load(&cli.layers);
            show(&findings, &sources);
            profile.as_ref().map_or_else(|| exit_code(&findings), doctor::run)
        }
        Command::Ctl { socket, request } => {
            with_socket(&cli.layers, socket, |socket| ctl::run(socket, request))
        }
        Command::Health { socket } => with_socket(&cli.layers, socket, ctl::health),
        Command::Version { json } => version_command(&cli.layers, json),
        Command::Completions { shell } => output::print(&completions::script(command(), shell)),
        Command::Man => output::print(&man::page(&command())),
    }
}

/// All that may be typed.
fn command() -> clap::Command {
    let command = Cli::command();
    let text = after_long_help(&command);
    command.after_long_help(text)
}

/// The commands that the help shows as examples.
fn examples(command: &clap::Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.lines().map(|line| line.strip_prefix("Example:").unwrap_or(line).trim());
    lines.filter(|line| *line != "Examples:").map(str::to_owned).collect()
}

fn after_long_help(command: &clap::Command) -> String {
    let mut text = String::from("Examples:\n");
    for example in examples(command) {
        text.push_str(&format!("  {example}\n"));
    }
    text.push_str("\nEnvironment variables [default]:\n");
    for variable in VARIABLES {
        text.push_str(&format!("  {:<26} {}\n", variable.name, variable.help));
    }
    text.push_str(&format!(
        "  {:<26} profile files, separated by colons\n  {:<26} any profile key, such as QEMU_BMC__IPMI__PORT\n",
        PROFILE_VARIABLE, "QEMU_BMC__SECTION__KEY"
    ));
    let codes = EXIT_CODES.map(|(code, meaning)| format!("{code} {meaning}"));
    text.push_str(&format!("\nExit codes: {}.", codes.join(", ")));
    text
}

/// Reads all that the outside hands in.
fn read_inputs(args: &LayerArgs) -> (Inputs, Vec<Finding>) {
    let variables = environment::variables();
    let mut findings = Vec::new();
    let mut names: Vec<String> =
        args.profile.iter().map(|path| path.display().to_string()).collect();
    if names.is_empty() {
        let listed = variables.iter().find(|(name, _)| name == PROFILE_VARIABLE);
        let listed = listed.map_or("", |(_, text)| text.as_str());
        names.extend(listed.split(':').filter(|name| !name.is_empty()).map(str::to_owned));
    }
    if names.is_empty() {
        let default = DEFAULT_PROFILES.into_iter().find(|path| Path::new(path).exists());
        names.extend(default.map(str::to_owned));
    }
    let mut files = Vec::new();
    for name in names {
        match fs_err::read_to_string(&name) {
            Ok(text) => files.push(File { name, text }),
            Err(error) => findings.push(
                Finding::error(At::Nowhere, format!("the profile cannot be read: {error}"))
                    .with_help("correct `--profile` (QEMU_BMC_PROFILE)"),
            ),
        }
    }
    let ambient = environment::ambient();
    (Inputs { ambient, files, environment: variables, sets: args.set.clone() }, findings)
}

fn load(args: &LayerArgs) -> Loaded {
    let (inputs, unread) = read_inputs(args);
    profile::load(&inputs, unread)
}

/// Loads a profile, looks at the host, and renders the plan; `strict` as in [`plan::make`].
fn load_plan(args: &LayerArgs, strict: bool) -> Made {
    plan::make(load(args), strict, facts::probe)
}

fn show(findings: &[Finding], sources: &Sources) {
    let color = std::io::stderr().is_terminal();
    output::complain(&diagnostic::render(findings, sources, color));
}

/// The exit code that errors call for.
fn exit_code(findings: &[Finding]) -> ExitCode {
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    if errors().any(|finding| finding.fault == Fault::Input) {
        ExitCode::from(BAD_INPUT)
    } else if errors().next().is_some() {
        ExitCode::from(FAILURE)
    } else {
        ExitCode::SUCCESS
    }
}

fn run(args: &LayerArgs, expected: Option<&str>) -> ExitCode {
    let Made { plan, sources, findings } = load_plan(args, true);
    show(&findings, &sources);
    let Some((profile, plan)) = plan else { return exit_code(&findings) };
    if let Some(expected) = expected
        && let Err(finding) = expect_plan(&plan, expected)
    {
        show(std::slice::from_ref(&finding), &sources);
        return exit_code(&[finding]);
    }
    let level = if profile.debug { tracing::Level::DEBUG } else { tracing::Level::INFO };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(output::Log::new)
        .init();
    match runtime::run(plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(findings) => {
            show(&findings, &sources);
            exit_code(&findings)
        }
    }
}

/// Holds `plan` against a digest, or against a file that holds a plan.
fn expect_plan(plan: &Plan, expected: &str) -> Result<(), Finding> {
    let error = |message: String| Finding::error(At::Nowhere, message);
    let digest = plan.digest();
    if expected.starts_with("sha256:") {
        if expected == digest {
            return Ok(());
        }
        return Err(error(format!("the plan is {digest}, not {expected}")).with_help(
            "keep `qemu-bmc plan --format json` in a file and give that: then the difference is shown",
        ));
    }
    let pinned = fs_err::read_to_string(expected)
        .map_err(|reason| error(format!("the expected plan cannot be read: {reason}")))?;
    let now = plan.json();
    if pinned == now {
        return Ok(());
    }
    let difference = similar::TextDiff::from_lines(&pinned, &now);
    let difference =
        difference.unified_diff().context_radius(2).header(expected, "the plan now").to_string();
    output::complain(&difference);
    Err(error(format!("the plan is not the one in {expected}"))
        .with_help("change the profile back, or pin the new plan: qemu-bmc plan --format json"))
}

fn plan_command(args: &LayerArgs, format: PlanFormat) -> ExitCode {
    let Made { plan, sources, findings } = load_plan(args, false);
    show(&findings, &sources);
    let Some((_, plan)) = plan else { return exit_code(&findings) };
    output::print(&match format {
        PlanFormat::Text => plan.text(),
        PlanFormat::Json => plan.json(),
        PlanFormat::Argv => plan.shell(),
    })
}

fn check_command(args: &LayerArgs, profile_only: bool, format: CheckFormat) -> ExitCode {
    let (sources, findings) = if profile_only {
        let Loaded { sources, findings, .. } = load(args);
        (sources, findings)
    } else {
        let Made { sources, findings, .. } = load_plan(args, false);
        (sources, findings)
    };
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let text = match format {
        CheckFormat::Text => {
            show(&findings, &sources);
            let plural = |count| if count == 1 { "" } else { "s" };
            format!("{errors} error{}, {warnings} warning{}\n", plural(errors), plural(warnings))
        }
        CheckFormat::Json => {
            let list: Vec<serde_json::Value> =
                findings.iter().map(|finding| finding_json(finding, &sources)).collect();
            json!({ "errors": errors, "warnings": warnings, "findings": list }).to_string() + "\n"
        }
    };
    output::print_then(&text, || exit_code(&findings))
}

fn explain_command(args: &LayerArgs, key: Option<&str>) -> ExitCode {
    let (inputs, mut findings) = read_inputs(args);
    let merged = merge(&inputs);
    let only = key.map(Key::typed);
    let text = explain(&merged, only.as_ref());
    match &text {
        Some(_) => {}
        None => {
            let message = format!("no layer sets `{}`", key.unwrap_or_default());
            findings.push(
                Finding::error(At::Nowhere, message)
                    .with_help("`qemu-bmc explain` shows all keys that are set"),
            );
        }
    }
    findings.extend(merged.findings);
    show(&findings, &merged.sources);
    output::print_then(&text.unwrap_or_default(), || exit_code(&findings))
}

/// Tells what it can with a wrong profile, too.
fn version_command(args: &LayerArgs, json: bool) -> ExitCode {
    let (inputs, _) = read_inputs(args);
    let version = Version::look(merge(&inputs).document.qemu.program());
    output::print(&if json { version.json() } else { version.text() })
}

fn finding_json(finding: &Finding, sources: &Sources) -> serde_json::Value {
    let key = match &finding.at {
        At::Key(key) | At::Name(key) => Some(key.to_string()),
        At::Origin { .. } | At::Nowhere => None,
    };
    json!({
        "severity": match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "key": key,
        "origin": diagnostic::place(finding, sources),
        "message": finding.message,
        "help": finding.help,
    })
}

/// Calls `act` with the control socket: the one that is named, else that of the profile.
fn with_socket(
    args: &LayerArgs,
    socket: Option<std::path::PathBuf>,
    act: impl FnOnce(&Path) -> ExitCode,
) -> ExitCode {
    if let Some(socket) = socket {
        return act(&socket);
    }
    let Loaded { profile, sources, mut findings, .. } = load(args);
    match profile {
        Some(profile) => act(&profile.run_dir.join(crate::control::SOCKET)),
        None => {
            findings.retain(|finding| finding.severity == Severity::Error);
            show(&findings, &sources);
            exit_code(&findings)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// `command` and all below it.
    fn all(command: clap::Command) -> Vec<clap::Command> {
        let subs = command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned();
        let subs: Vec<clap::Command> = subs.flat_map(all).collect();
        [vec![command], subs].concat()
    }

    #[test]
    fn every_help_has_examples_and_they_can_be_typed() {
        let mut root = command();
        root.build();
        for mut command in all(root) {
            let name = command.get_name().to_owned();
            let examples = examples(&command);
            assert!(!examples.is_empty(), "`{name} --help` has no example");
            for help in [command.render_help(), command.render_long_help()] {
                for example in &examples {
                    assert!(help.to_string().contains(example), "{name}: {example}: {help}");
                }
            }
            for example in examples {
                // Without what a Dockerfile or a shell reads.
                let words = example.replace(['[', ']', ',', '"', '(', ')'], " ");
                let words = words.split_whitespace().skip_while(|word| *word != "qemu-bmc");
                let words = words.take_while(|word| !["|", ">"].contains(word));
                let typed = Cli::try_parse_from(words);
                assert!(typed.is_ok(), "{example}: {}", typed.unwrap_err());
            }
        }
    }
}
