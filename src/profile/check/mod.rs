//! Document to [`Profile`]: every value legal, nothing missing, or findings.
//!
//! One module per noun; each takes its part of the document, and says what is wrong with it and
//! with what it meets in the others.

mod console;
mod ipmi;
mod machine;
mod network;
mod sensors;
mod storage;

use std::path::{Path, PathBuf};

pub use ipmi::{Bind, CIPHER_SUITES, Declared, Ipmi, Password, User};
pub use network::free_slots;
pub use sensors::{DISCRETE_SENSORS, Sensor, Thresholds, is_discrete_sensor};
pub use storage::Disk;

use crate::profile::diagnostic::{At, Finding, Severity};
use crate::profile::document::{
    Boot, Console, Document, Firmware, FirmwareMode, Identity, Machine, Nic, Power, Serial, Tpm,
};
use crate::profile::layers::Ambient;
use crate::profile::sources::{Key, Sources};
use crate::value::{BootDevice, MachineName};

/// Longest path of a UNIX socket in bytes: `sun_path` without its final zero.
const SOCKET_PATH_MAX: usize = 107;
/// The longest name that we give a socket in the run directory.
const LONGEST_SOCKET: &str = "/control.sock";

/// A checked profile. Only [`check`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// Machine name.
    pub name: MachineName,
    /// Log at debug level.
    pub debug: bool,
    /// Directory of sockets.
    pub run_dir: PathBuf,
    /// Directory of state that outlives a restart.
    pub state_dir: PathBuf,
    /// Who the machine says it is.
    pub identity: Identity,
    /// Board, processors, memory.
    pub machine: Machine,
    /// BIOS or UEFI.
    pub firmware: Firmware,
    /// Boot order.
    pub boot: Boot,
    /// Disks.
    pub disks: Vec<Disk>,
    /// ISO images, one drive each.
    pub cdroms: Vec<PathBuf>,
    /// A kernel to boot directly.
    pub kernel: Option<Kernel>,
    /// NICs.
    pub nics: Vec<Nic>,
    /// Nobody says which NICs: the container's interfaces decide.
    pub nics_automatic: bool,
    /// How many interfaces that come later can become NICs.
    pub spare_nics: u16,
    /// A TPM.
    pub tpm: Option<Tpm>,
    /// A random number generator.
    pub rng: bool,
    /// The first serial port.
    pub console: Console,
    /// Further serial ports.
    pub serials: Vec<Serial>,
    /// The graphical console, unless it is off.
    pub vnc: Option<Vnc>,
    /// The BMC.
    pub ipmi: Ipmi,
    /// Sensors that read as a number, if the profile has its own.
    pub sensors: Option<Vec<Sensor>>,
    /// Power policies.
    pub power: Power,
    /// Somebody named the restore policy: one that was set over IPMI does not outlive a restart.
    pub restore_declared: bool,
    /// Somebody named the power cycle interval, with the same consequence.
    pub cycle_interval_declared: bool,
    /// QEMU program: a path, or a name to be looked up.
    pub qemu_binary: PathBuf,
    /// User to run QEMU as, where the profile says it.
    pub qemu_user: Option<String>,
    /// Extra arguments for QEMU.
    pub qemu_extra_args: Vec<String>,
}

/// A kernel to boot directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Image.
    pub path: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Command line.
    pub cmdline: Option<String>,
}

/// The graphical console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vnc {
    /// TCP port, 5900 or above.
    pub port: u16,
    /// File that holds the password, if one is asked for.
    pub password_file: Option<PathBuf>,
}

/// Checks a document.
///
/// # Errors
/// All findings, if one of them is an error. Otherwise the profile comes with its warnings.
pub fn check(
    document: &Document,
    sources: &Sources,
    ambient: &Ambient,
) -> Result<(Profile, Vec<Finding>), Vec<Finding>> {
    match check_all(document, sources, ambient) {
        (Some(profile), findings) if !failed(&findings) => Ok((profile, findings)),
        (_, findings) => Err(findings),
    }
}

/// Checks a document. The profile may be there beside errors: not to be carried out, but for more
/// findings.
pub(super) fn check_all(
    document: &Document,
    sources: &Sources,
    ambient: &Ambient,
) -> (Option<Profile>, Vec<Finding>) {
    let mut check = Check { sources, findings: Vec::new() };
    let profile = check.profile(document, ambient);
    (profile, check.findings)
}

fn failed(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

struct Check<'a> {
    sources: &'a Sources,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn error(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let finding = Finding::error(At::Key(Key::from(key)), message).with_help(help);
        self.findings.push(finding);
    }

    fn warn(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let finding = Finding::warning(At::Key(Key::from(key)), message).with_help(help);
        self.findings.push(finding);
    }

    fn profile(&mut self, document: &Document, ambient: &Ambient) -> Option<Profile> {
        if document.name.is_none() && self.sources.is_default(&Key::from("name")) {
            self.findings.push(
                Finding::error(
                    At::Nowhere,
                    format!("the host name `{}` cannot be a machine name", ambient.name),
                )
                .with_help("set `name` in the profile, or VM_NAME"),
            );
        }
        let name = document.name.clone();
        let own = |base: &Option<PathBuf>| {
            Some(base.as_ref()?.join("qemu-bmc").join(name.as_ref()?.as_str()))
        };
        let run_dir = document.run_dir.clone().or_else(|| own(&ambient.user_run_dir));
        let state_dir = document.state_dir.clone().or_else(|| own(&ambient.user_state_dir));
        self.directory("run_dir", run_dir.as_deref());
        self.directory("state_dir", state_dir.as_deref());
        if let Some(run_dir) = &run_dir
            && run_dir.as_os_str().len() + LONGEST_SOCKET.len() > SOCKET_PATH_MAX
        {
            self.error(
                "run_dir",
                format!("`run_dir` is too long for sockets in it: {}", run_dir.display()),
                format!("at most {} bytes", SOCKET_PATH_MAX - LONGEST_SOCKET.len()),
            );
        }

        self.identity(&document.identity);
        let machine = self.machine(&document.machine);
        self.firmware(&document.firmware);
        self.range("power.soft_limit_s", document.power.soft_limit_s, 1, 86400);
        self.range("power.cycle_interval_s", document.power.cycle_interval_s, 0, 255);
        self.range("power.stop_limit_s", document.power.stop_limit_s, 0, 86400);

        let disks = self.disks(document);
        let cdroms = self.cdroms(document);
        let kernel = self.kernel(document);
        self.nics(&document.nics);
        self.range("spare_nics", document.spare_nics.into(), 0, 8);
        self.slots(document);
        self.boot(document);
        if let Some(tpm) = &document.tpm {
            self.path("tpm.binary", &tpm.binary);
        }
        self.consoles(document);
        let vnc = self.vnc(document);
        let ipmi = self.ipmi(document);
        let sensors = self.sensors(&document.sensors);

        let qemu_binary = document.qemu.program().to_owned();
        self.path("qemu.binary", &qemu_binary);
        if let Some(user) = &document.qemu.user
            && (user.is_empty() || user.contains(['\0', ':', '/', ' ']))
        {
            self.error(
                "qemu.user",
                format!("`{}` is not a user", user.escape_debug()),
                "write a user's name or number, such as `nobody`",
            );
        }
        if document.qemu.extra_args.iter().any(|argument| argument.contains('\0')) {
            self.error("qemu.extra_args", "an argument holds a zero byte", "leave it out");
        }

        Some(Profile {
            name: name?,
            debug: document.debug,
            run_dir: run_dir?,
            state_dir: state_dir?,
            identity: document.identity.clone(),
            machine,
            firmware: document.firmware.clone(),
            boot: document.boot.clone(),
            disks,
            cdroms,
            kernel,
            nics: document.nics.clone(),
            nics_automatic: self.sources.is_default(&Key::from("nics")),
            spare_nics: document.spare_nics,
            tpm: document.tpm.clone(),
            rng: document.rng,
            console: document.console.clone(),
            serials: document.serials.clone(),
            vnc,
            ipmi,
            sensors: (!self.sources.is_default(&Key::from("sensors"))).then_some(sensors),
            power: document.power.clone(),
            restore_declared: !self.sources.is_default(&Key::from("power.restore")),
            cycle_interval_declared: !self.sources.is_default(&Key::from("power.cycle_interval_s")),
            qemu_binary,
            qemu_user: document.qemu.user.clone(),
            qemu_extra_args: document.qemu.extra_args.clone(),
        })
    }

    fn range(&mut self, key: &str, value: u32, min: u32, max: u32) {
        if !(min..=max).contains(&value) {
            let message = format!("`{}` cannot be {value}", Key::from(key));
            self.error(key, message, format!("{min} to {max}"));
        }
    }

    /// A text that is 1 to `max` printable ASCII characters.
    fn printable(&mut self, key: &str, text: &str, max: usize) {
        if text.is_empty()
            || text.len() > max
            || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        {
            self.error(
                key,
                format!("`{}` cannot be `{}`", Key::from(key), text.escape_debug()),
                format!("1 to {max} characters, all of them printable ASCII"),
            );
        }
    }

    fn path(&mut self, key: &str, path: &Path) {
        if path.as_os_str().is_empty() {
            self.error(key, "the path is empty", "write a path, or leave the key out");
        } else if path.as_os_str().as_encoded_bytes().contains(&0) {
            self.error(key, "the path holds a zero byte", "no file can have such a name");
        }
    }

    fn directory(&mut self, key: &str, path: Option<&Path>) {
        match path {
            Some(path) => self.path(key, path),
            None => self.findings.push(
                Finding::error(At::Nowhere, format!("there is no default for `{key}`"))
                    .with_help(format!("set `{key}`, or HOME, XDG_RUNTIME_DIR and XDG_STATE_HOME")),
            ),
        }
    }

    /// `path`, or a finding that `section` lacks it.
    fn required(&mut self, section: &str, path: Option<&PathBuf>) -> Option<PathBuf> {
        match path {
            Some(path) => {
                self.path(&format!("{section}.path"), path);
                Some(path.clone())
            }
            None => {
                let message = format!("`{}` has no `path`", Key::from(section));
                self.error(section, message, "write `path = \"…\"`");
                None
            }
        }
    }

    fn kernel(&mut self, document: &Document) -> Option<Kernel> {
        let kernel = document.kernel.as_ref()?;
        let path = self.required("kernel", kernel.path.as_ref());
        if let Some(initrd) = &kernel.initrd {
            self.path("kernel.initrd", initrd);
        }
        if kernel.cmdline.as_ref().is_some_and(|cmdline| cmdline.contains('\0')) {
            self.error("kernel.cmdline", "it holds a zero byte", "leave it out");
        }
        Some(Kernel { path: path?, initrd: kernel.initrd.clone(), cmdline: kernel.cmdline.clone() })
    }

    fn boot(&mut self, document: &Document) {
        self.range("boot.menu_timeout_ms", document.boot.menu_timeout_ms, 0, 65535);
        let order = &document.boot.order;
        if (1..order.len()).any(|index| order[..index].contains(&order[index])) {
            self.error("boot.order", "a boot device is named twice", "name each kind once");
        }
        let network = order.contains(&BootDevice::Network);
        if network && !document.rng && document.firmware.mode == FirmwareMode::Uefi {
            self.warn(
                "rng",
                "UEFI's network boot needs a random number generator: `boot.order` names `network`, \
                 and `rng` is false",
                "leave `rng` out",
            );
        }
    }

    fn vnc(&mut self, document: &Document) -> Option<Vnc> {
        let port = document.vnc.port;
        if (1..5900).contains(&port) {
            self.error(
                "vnc.port",
                format!("VNC cannot use port {port}"),
                "5900 to 65535, or 0 to switch VNC off",
            );
        }
        let password_file = document.vnc.password_file.clone();
        if let Some(path) = &password_file {
            self.path("vnc.password_file", path);
            if port == 0 {
                self.error(
                    "vnc.password_file",
                    "`vnc.password_file` is set, and `vnc.port` is 0: VNC is off",
                    "leave one of them out",
                );
            }
        }
        (port != 0).then_some(Vnc { port, password_file })
    }
}

#[cfg(test)]
mod tests;
