//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

/// A QEMU/KVM virtual machine with a BMC: IPMI 2.0, Serial-over-LAN and power control.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(after_help = "Example: qemu-bmc --profile node1.toml --set ipmi.port=6230")]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) layers: LayerArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Where the profile comes from.
#[derive(Debug, Args)]
pub(super) struct LayerArgs {
    /// Profile file; repeatable, the later over the earlier.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(super) profile: Vec<PathBuf>,
    /// Set one key of the profile, such as `machine.cpus=4`; repeatable.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start the BMC and the machine, and serve until a signal ends it (the default).
    #[command(after_help = "Example: qemu-bmc run --profile node1.toml --set ipmi.port=6230")]
    Run {
        /// Start only if the plan is this one: a digest (`sha256:…`), or a file that
        /// `plan --format json` has written.
        #[arg(long, value_name = "DIGEST|FILE", value_hint = ValueHint::FilePath)]
        expect_plan: Option<String>,
    },
    /// Print what `run` would do, and do nothing.
    #[command(after_help = "Example: qemu-bmc plan --profile node1.toml --format argv")]
    Plan {
        /// `text` for people, `json` for programs, `argv` for a shell: QEMU's command line, with the
        /// console on the terminal instead of the BMC.
        #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
        format: PlanFormat,
    },
    /// Print all that is wrong with the profile.
    #[command(after_help = "\
Examples:
  VM_MEMORY=abc qemu-bmc check --profile node1.toml
  qemu-bmc check --profile-only --profile node1.toml")]
    Check {
        /// Check only what the profile says, and not whether this host has what it names: for a
        /// profile that is written here and run elsewhere.
        #[arg(long)]
        profile_only: bool,
        /// `text` for people, `json` for programs.
        #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
        format: CheckFormat,
    },
    /// Print every effective value, the layer that set it, and what it overrode.
    #[command(after_help = "Example: qemu-bmc explain machine --profile node1.toml")]
    Explain {
        /// Only this key or section.
        key: Option<String>,
    },
    /// Print a JSON Schema.
    #[command(after_help = "Example: qemu-bmc schema > profile.schema.json")]
    Schema {
        /// Of what.
        #[arg(value_enum, default_value_t = SchemaOf::Profile)]
        of: SchemaOf,
    },
    /// Print what this host has of what the profile needs, and how to mend what it lacks.
    #[command(after_help = "Example: qemu-bmc doctor --profile node1.toml")]
    Doctor,
    /// Talk to the running program.
    #[command(after_help = "Example: qemu-bmc ctl power cycle")]
    Ctl {
        /// The program's control socket. Default: the one in the profile's run directory.
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        #[command(subcommand)]
        request: CtlRequest,
    },
    /// Exit with 0 when the BMC answers, whether the machine is on or off.
    #[command(after_help = "Example: HEALTHCHECK CMD [\"qemu-bmc\", \"health\"]")]
    Health {
        /// The program's control socket. Default: the one in the profile's run directory.
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Print version and commit, what profiles can ask of this build, and the QEMU that `run` would
    /// start.
    ///
    /// As JSON: `version`; `commit`, or null if it is not known; `architecture`; `features`, the values
    /// that keys of the profile take; `qemu`, with `path` and `version`, and if one of them is null,
    /// `problem`.
    #[command(after_help = "Example: qemu-bmc version --json")]
    Version {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Print what makes a shell complete this program's commands and options.
    #[command(after_help = "\
Examples:
  source <(qemu-bmc completions bash)
  source <(qemu-bmc completions zsh)
  qemu-bmc completions fish | source")]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the man page.
    #[command(after_help = "\
Examples:
  qemu-bmc man | man -l -
  qemu-bmc man | install -D -m 644 /dev/stdin /usr/local/share/man/man1/qemu-bmc.1")]
    Man,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PlanFormat {
    Text,
    Json,
    Argv,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SchemaOf {
    /// Profiles.
    Profile,
    /// What `plan --format json` prints.
    Plan,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CheckFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CtlRequest {
    /// How the machine and its BMC are.
    #[command(after_help = "Example: qemu-bmc ctl status --json")]
    Status {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// How the VM's NICs are connected.
    #[command(after_help = "Example: qemu-bmc ctl links")]
    Links {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Watch the console, and type at it; at the start of a line, `~.` leaves, `~B` sends a break.
    #[command(after_help = "\
Examples:
  qemu-bmc ctl console --history
  qemu-bmc ctl console --read-only > console.log")]
    Console {
        /// Type nothing.
        #[arg(long)]
        read_only: bool,
        /// Begin with what it has shown last.
        #[arg(long)]
        history: bool,
    },
    /// Set what the machine boots from at its next start; the running machine does not notice.
    #[command(after_help = "\
Examples:
  qemu-bmc ctl boot pxe
  qemu-bmc ctl boot disk --always
  qemu-bmc ctl boot none")]
    Boot {
        /// From where.
        #[arg(value_enum)]
        device: BootTo,
        /// At the next start only (default).
        #[arg(long, conflicts_with = "always")]
        once: bool,
        /// At each start, until it is changed.
        #[arg(long)]
        always: bool,
        /// By UEFI: what `chassis bootparam get 5` shows; the firmware is the profile's.
        #[arg(long)]
        uefi: bool,
    },
    /// What has happened to the machine.
    #[command(after_help = "Example: qemu-bmc ctl sel list")]
    Sel {
        #[command(subcommand)]
        request: SelRequest,
    },
    /// What the sensors read, and a reading of your own for a test of what watches them.
    #[command(after_help = "Example: qemu-bmc ctl sensor list")]
    Sensor {
        #[command(subcommand)]
        request: SensorRequest,
    },
    /// Switch power.
    #[command(after_help = "Example: qemu-bmc ctl power soft --profile node1.toml")]
    Power {
        /// What to do.
        #[arg(value_enum)]
        action: PowerAction,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum SelRequest {
    /// Print the System Event Log: what happened, and who did it.
    #[command(after_help = "Example: qemu-bmc ctl sel list")]
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum SensorRequest {
    /// Print what each sensor reads, and the states and crossed thresholds of each.
    #[command(after_help = "Example: qemu-bmc ctl sensor list")]
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Make a sensor read as VALUE, until it is cleared or the program ends.
    #[command(after_help = "Example: qemu-bmc ctl sensor set Memory 97")]
    Set {
        /// The sensor.
        name: String,
        /// In the unit of the sensor.
        #[arg(allow_negative_numbers = true, value_parser = finite)]
        value: f64,
    },
    /// Let a sensor read what it would by itself.
    #[command(after_help = "Example: qemu-bmc ctl sensor clear Memory")]
    Clear {
        /// The sensor.
        name: String,
    },
}

fn finite(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| "not a number".to_owned())
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum BootTo {
    /// A disk.
    Disk,
    /// A CD-ROM.
    Cdrom,
    /// The network.
    Pxe,
    /// The firmware's set-up or boot menu.
    Bios,
    /// What the profile says: takes an override away.
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PowerAction {
    /// Start the machine.
    On,
    /// End it at once.
    Off,
    /// Press the ACPI power button.
    Soft,
    /// Off, wait, on.
    Cycle,
    /// Reset it.
    Reset,
    /// Send a diagnostic interrupt (NMI).
    Diag,
}
