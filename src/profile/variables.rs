//! The environment variables of the seed: the one table in which they are named.
//!
//! Beside them, `QEMU_BMC__SECTION__KEY` sets any key; see [`key_of_generic`].

use crate::profile::sources::Key;

/// How a variable's text becomes a value of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convert {
    /// By the key's own type.
    ByKey,
    /// Letters `c` (disk), `d` (CD-ROM), `n` (network).
    BootLetters,
    /// `true`: accelerator `auto`; `false`: `tcg`.
    KvmSwitch,
    /// `true`: restore policy `always-on`; `false`: `always-off`.
    PowerOnSwitch,
    /// `none`: no NIC.
    Networks,
    /// Words, split as a shell splits them.
    ShellWords,
}

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The key it sets.
    pub key: &'static str,
    /// How.
    pub convert: Convert,
    /// One line of help.
    pub help: &'static str,
}

const fn variable(
    name: &'static str,
    key: &'static str,
    convert: Convert,
    help: &'static str,
) -> Variable {
    Variable { name, key, convert, help }
}

/// All of them. Set to the empty string, a variable counts as unset.
pub const VARIABLES: [Variable; 23] = [
    variable("VM_NAME", "name", Convert::ByKey, "machine name [the container's host name]"),
    variable("VM_MEMORY", "machine.memory", Convert::ByKey, "memory: MiB, or 4GiB, 4096M [2048]"),
    variable("VM_CPUS", "machine.cpus", Convert::ByKey, "number of vCPUs [2]"),
    variable("VM_DISK", "disks.0.path", Convert::ByKey, "main disk [/vm/disk.qcow2]"),
    variable(
        "VM_DISK_SIZE",
        "disks.0.size",
        Convert::ByKey,
        "create the main disk at this size when it is missing",
    ),
    variable("VM_CDROM", "cdroms.0.path", Convert::ByKey, "ISO image"),
    variable("VM_BOOT", "boot.order", Convert::BootLetters, "boot order, letters c d n [c]"),
    variable("VM_BOOT_MODE", "firmware.mode", Convert::ByKey, "bios or uefi [bios]"),
    variable(
        "VM_BOOT_MENU_TIMEOUT",
        "boot.menu_timeout_ms",
        Convert::ByKey,
        "ms the firmware's boot menu is shown [0]",
    ),
    variable("VM_NETWORKS", "nics", Convert::Networks, "`none` for no NIC"),
    variable(
        "ENABLE_KVM",
        "machine.accel",
        Convert::KvmSwitch,
        "true: KVM if usable, else TCG; false: TCG [true]",
    ),
    variable("VNC_PORT", "vnc.port", Convert::ByKey, "VNC's TCP port; 0: off [5900]"),
    variable("IPMI_USER", "ipmi.users.0.name", Convert::ByKey, "IPMI administrator [admin]"),
    variable("IPMI_PASS", "ipmi.users.0.password", Convert::ByKey, "his password [password]"),
    variable(
        "IPMI_PASS_FILE",
        "ipmi.users.0.password_file",
        Convert::ByKey,
        "file that holds his password",
    ),
    variable("IPMI_PORT", "ipmi.port", Convert::ByKey, "IPMI's UDP port [623]"),
    variable(
        "IPMI_INTERFACE",
        "ipmi.bind",
        Convert::ByKey,
        "interface or address to serve IPMI on [all]",
    ),
    variable(
        "IPMI_ADVERTISED_PORT",
        "ipmi.advertised_port",
        Convert::ByKey,
        "the port that IPMI clients see [IPMI_PORT]",
    ),
    variable(
        "POWER_ON_AT_START",
        "power.restore",
        Convert::PowerOnSwitch,
        "start the machine with the program [true]",
    ),
    variable(
        "GRACEFUL_SHUTDOWN_TIMEOUT",
        "power.soft_limit_s",
        Convert::ByKey,
        "s the guest may take for a soft shutdown [120]",
    ),
    variable("QEMU_BINARY", "qemu.binary", Convert::ByKey, "program [qemu-system-x86_64]"),
    variable(
        "QEMU_EXTRA_ARGS",
        "qemu.extra_args",
        Convert::ShellWords,
        "extra arguments for QEMU, split as a shell splits",
    ),
    variable("DEBUG", "debug", Convert::ByKey, "debug logging [false]"),
];

/// Start of a variable that sets any key: `QEMU_BMC__IPMI__PORT` sets `ipmi.port`.
pub const GENERIC_PREFIX: &str = "QEMU_BMC__";

/// Variable that names profile files, separated by colons; read by `cli`.
pub const PROFILE_VARIABLE: &str = "QEMU_BMC_PROFILE";

/// Starts of names that are ours: a variable with one of them that is not known is a mistake.
pub const PREFIXES: [&str; 3] = ["VM_", "IPMI_", GENERIC_PREFIX];

/// The key that a `QEMU_BMC__…` variable sets.
#[must_use]
pub fn key_of_generic(name: &str) -> Option<Key> {
    let path = name.strip_prefix(GENERIC_PREFIX)?;
    Some(Key::from(path.to_lowercase().replace("__", ".")))
}

/// The variable that sets `key`.
#[must_use]
pub fn generic_of_key(key: &Key) -> String {
    let path: Vec<String> = key.segments().map(str::to_uppercase).collect();
    format!("{GENERIC_PREFIX}{}", path.join("__"))
}

/// The name nearest to `wanted` among `names`, if one is near enough to be a typing mistake.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wanted.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::schema;

    #[test]
    fn every_variable_sets_a_key_that_exists() {
        let schema = schema::document();
        for variable in VARIABLES {
            assert!(
                schema::kind(&schema, &Key::from(variable.key)).is_some(),
                "{} sets {}",
                variable.name,
                variable.key
            );
        }
    }

    #[test]
    fn nearest_finds_typing_mistakes_only() {
        let names = || VARIABLES.iter().map(|variable| variable.name);
        assert_eq!(nearest("VM_MEMROY", names()), Some("VM_MEMORY"));
        assert_eq!(nearest("IPMI_PASSWORD", names()), Some("IPMI_PASS"));
        assert_eq!(nearest("VM_SOMETHING_ELSE", names()), None);
        assert_eq!(nearest("wiring", ["mac"]), None);
    }

    #[test]
    fn generic_names() {
        assert_eq!(key_of_generic("QEMU_BMC__IPMI__PORT"), Some(Key::from("ipmi.port")));
        assert_eq!(
            key_of_generic("QEMU_BMC__IPMI__USERS__0__PASSWORD_FILE"),
            Some(Key::from("ipmi.users.0.password_file"))
        );
        assert_eq!(key_of_generic("VM_MEMORY"), None);
        assert_eq!(generic_of_key(&Key::from("ipmi.port")), "QEMU_BMC__IPMI__PORT");
    }
}
