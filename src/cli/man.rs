//! The man page: what clap knows of the commands, and what else an operator looks for.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::cli::{DEFAULT_PROFILES, EXIT_CODES, examples};
use crate::control;
use crate::plan::CONSOLE_SOCKET;
use crate::plan::qemu::USER_QMP_SOCKET;
use crate::profile::variables::{GENERIC_PREFIX, PROFILE_VARIABLE, VARIABLES};

type Render = fn(&Man, &mut dyn io::Write) -> io::Result<()>;

/// One page about `command` and all its subcommands.
pub(super) fn page(command: &Command) -> String {
    // Nothing here is newer than the program, whose version stands in the place of a source; an
    // empty date has to be written as one.
    let man = Man::new(command.clone().subcommand_value_name("command"))
        .title(command.get_name().to_uppercase())
        .date("\"\"");
    let head: [Render; 4] = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
    ];
    let mut out: String = head.into_iter().map(|render| text(&man, render)).collect();
    let mut layers = Roff::new();
    layers.control("PP", []).text([roman(
        "The machine is described by a profile: TOML, YAML or JSON. Environment variables win over \
         profile files, and --set wins over both.",
    )]);
    out.push_str(&layers.render());
    out.push_str(&text(&man, Man::render_options_section));
    out.push_str(".SH COMMANDS\n");
    for sub in command.get_subcommands() {
        subcommand(command.get_name(), sub, &mut out);
    }
    for section in [exit_status(), environment(), files(), examples_of_all(command)] {
        out.push_str(&section.render());
    }
    // Each part comes with this; once is enough.
    let preamble = Roff::new().render();
    preamble.clone() + &out.replace(&preamble, "")
}

/// One part of a page.
fn text(man: &Man, render: Render) -> String {
    let mut out = Vec::new();
    render(man, &mut out).expect("a vector can be written to");
    let out = String::from_utf8(out).expect("a man page is text");
    // An empty line of input is bad style in a man page.
    out.replace(".br\n\n.br\n", ".sp\n").replace(" \n", "\n")
}

/// Describes `command` and what is below it, each under a heading of its own.
fn subcommand(parent: &str, command: &Command, out: &mut String) {
    let path = format!("{parent} {}", command.get_name());
    let heading = format!(".SS \"{path}\"\n");
    out.push_str(&heading);
    // Taken from its parent, it has no options but its own.
    let alone = command.clone().bin_name(&path).disable_help_flag(true);
    let man = Man::new(alone.disable_help_subcommand(true).subcommand_value_name("command"));
    let parts: [Render; 3] = [
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ];
    let preamble = Roff::new().render();
    for render in parts {
        let part = text(&man, render).replace(&preamble, "");
        let body = part.split_once('\n').map_or("", |(_heading, body)| body);
        // After a heading, and before an option, a paragraph begins by itself.
        if !out.ends_with(&heading) && !body.is_empty() && !body.starts_with('.') {
            out.push_str(".PP\n");
        }
        out.push_str(body);
    }
    for sub in command.get_subcommands() {
        subcommand(&path, sub, out);
    }
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        roff.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
    }
    roff
}

fn environment() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman("A variable that is set to the empty string counts as unset.")]);
    for variable in VARIABLES {
        roff.control("TP", []).text([bold(variable.name)]);
        roff.text([roman(format!("{}; sets ", variable.help)), italic(variable.key)]);
    }
    roff.control("TP", []).text([bold(PROFILE_VARIABLE)]);
    roff.text([roman("profile files, separated by colons, if no --profile is given")]);
    roff.control("TP", []).text([bold(format!("{GENERIC_PREFIX}SECTION__KEY"))]);
    roff.text([roman("any profile key, such as QEMU_BMC__IPMI__PORT")]);
    roff
}

fn files() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    let mut file = |path: &str, meaning: &str| {
        roff.control("TP", []).text([italic(path)]).text([roman(meaning)]);
    };
    for path in DEFAULT_PROFILES {
        file(path, "the profile, if nobody names another; the first of these that is there");
    }
    let run = "/var/run/qemu";
    for (name, meaning) in [
        (control::SOCKET, "for the commands ctl and health"),
        (CONSOLE_SOCKET, "for the console, for tools of yours; any number at a time"),
        (USER_QMP_SOCKET, "QEMU's monitor (QMP), for tools of yours"),
        ("power.state", "`on` or `off`, for scripts that read it"),
        ("boot.device", "`none`, `pxe`, `disk`, `cdrom` or `bios`, for scripts that read it"),
        ("network", "a folder: what interfaces that the VM has were like, to be put back"),
        ("lock", "keeps a second program out"),
    ] {
        file(&format!("{run}/{name}"), meaning);
    }
    file("/var/lib/qemu-bmc/", "all state that outlives a restart; without it, the profile counts");
    roff.control("PP", []).text([roman(
        "The directories are those of root; others have them in XDG_RUNTIME_DIR and \
         XDG_STATE_HOME. The profile's keys run_dir and state_dir move them.",
    )]);
    roff
}

/// The examples that `--help` shows with each command.
fn examples_of_all(command: &Command) -> Roff {
    fn add(command: &Command, roff: &mut Roff) {
        if let Some(about) = command.get_about() {
            roff.control("PP", []).text([roman(format!("{about}:"))]);
        }
        roff.control("RS", ["4"]).control("EX", []);
        for example in examples(command) {
            roff.text([roman(example)]);
        }
        roff.control("EE", []).control("RE", []);
        for sub in command.get_subcommands() {
            add(sub, roff);
        }
    }
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]).text([roman("With a profile node1.toml:")]);
    for sub in command.get_subcommands() {
        add(sub, &mut roff);
    }
    roff
}
