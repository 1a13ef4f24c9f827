//! The process's surroundings as plain data.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::profile::Ambient;

/// The environment, for the layers; what is not text is replaced by U+FFFD.
#[must_use]
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, text)| {
            (name.to_string_lossy().into_owned(), text.to_string_lossy().into_owned())
        })
        .collect()
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// What other programs get of our environment: what QEMU and its libraries look for. Anything else
/// may be a secret, and a password of ours is one.
const FOR_OTHERS: [&str; 12] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "QEMU_MODULE_DIR",
    "XDG_RUNTIME_DIR",
    // For a window, if the operator's extra arguments open one.
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
];

/// A command that sees of our environment only what is for others.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let kept = FOR_OTHERS.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(kept);
    command
}

/// What the defaults of a profile depend on.
#[must_use]
pub fn ambient() -> Ambient {
    let host_name = || {
        let name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        // A qualified name is the host's place in a domain, not its name.
        name.split('.').next().unwrap_or_default().to_owned()
    };
    let home = || variable("HOME").map(PathBuf::from);
    // Without a runtime directory a place in the home directory: below /tmp it could be anybody's.
    let run =
        variable("XDG_RUNTIME_DIR").map(PathBuf::from).or_else(|| Some(home()?.join(".cache")));
    Ambient {
        name: variable("CLAB_LABEL_CLAB_NODE_NAME").unwrap_or_else(host_name),
        root: nix::unistd::geteuid().is_root(),
        user_run_dir: run,
        user_state_dir: variable("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(home()?.join(".local/state"))),
    }
}

/// How many links containerlab says that this node gets.
#[must_use]
pub(super) fn clab_links() -> Option<u32> {
    variable("CLAB_INTFS")?.parse().ok()
}

/// Whether this process may change its network namespace.
#[must_use]
pub(super) fn has_net_admin() -> bool {
    /// Bit of `CAP_NET_ADMIN` (capabilities(7), linux/capability.h).
    const NET_ADMIN: u32 = 12;
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & 1 << NET_ADMIN != 0)
}
