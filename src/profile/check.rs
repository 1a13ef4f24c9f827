//! Document to [`Profile`]: every value legal, nothing missing, or findings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::profile::diagnostic::{At, Finding, Severity};
use crate::profile::document::{
    Boot, Document, Firmware, Machine, Nic, Power, User as DocumentUser, UserPrivilege,
};
use crate::profile::layers::Ambient;
use crate::profile::sources::{Key, Sources};
use crate::value::{ByteSize, MachineName, Secret};

/// Password of the first user if nobody sets one: the seed's.
const DEFAULT_PASSWORD: &str = "password";
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
    /// Processor, memory, accelerator.
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
    /// VNC's TCP port, unless it is off.
    pub vnc_port: Option<u16>,
    /// The BMC.
    pub ipmi: Ipmi,
    /// Power policies.
    pub power: Power,
    /// QEMU program: a path, or a name to be looked up.
    pub qemu_binary: PathBuf,
    /// Extra arguments for QEMU.
    pub qemu_extra_args: Vec<String>,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Image or block device.
    pub path: PathBuf,
    /// Size to create a missing image at.
    pub size: Option<ByteSize>,
    /// Somebody named it: its absence is an error. The default disk may be absent.
    pub asked_for: bool,
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

/// The BMC.
#[derive(Clone, Debug)]
pub struct Ipmi {
    /// UDP port.
    pub port: u16,
    /// Where to serve.
    pub bind: Bind,
    /// The port that clients see.
    pub advertised_port: u16,
    /// Users, the first in slot 2.
    pub users: Vec<User>,
}

/// Where the BMC serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// On all interfaces and addresses.
    All,
    /// On one address.
    Address(IpAddr),
    /// On one interface, whatever its addresses.
    Interface(String),
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Name, 1–16 bytes.
    pub name: String,
    /// Password.
    pub password: Password,
    /// Highest privilege level.
    pub privilege: UserPrivilege,
}

/// A password, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// It stands in the profile.
    Inline(Secret),
    /// It stands in a file.
    File(PathBuf),
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
    let mut check = Check { sources, findings: Vec::new() };
    let profile = check.profile(document, ambient);
    match profile {
        Some(profile) if !check.failed() => Ok((profile, check.findings)),
        _ => Err(check.findings),
    }
}

struct Check<'a> {
    sources: &'a Sources,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn failed(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn error(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let finding = Finding::error(At::Key(Key::from(key)), message).with_help(help);
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

        self.range("machine.cpus", document.machine.cpus, 1, 255);
        self.range("boot.menu_timeout_ms", document.boot.menu_timeout_ms, 0, 65535);
        let order = &document.boot.order;
        if (1..order.len()).any(|index| order[..index].contains(&order[index])) {
            self.error("boot.order", "a boot device is named twice", "name each kind once");
        }
        self.range("power.soft_limit_s", document.power.soft_limit_s, 1, 86400);
        self.range("power.cycle_interval_s", document.power.cycle_interval_s, 0, 255);
        self.range("power.stop_limit_s", document.power.stop_limit_s, 0, 86400);
        if (1..5900).contains(&document.vnc.port) {
            self.error(
                "vnc.port",
                format!("VNC cannot use port {}", document.vnc.port),
                "5900 to 65535, or 0 to switch VNC off",
            );
        }

        let disks = self.disks(document);
        let cdroms = self.cdroms(document);
        let kernel = self.kernel(document);
        self.nics(&document.nics);
        let ipmi = self.ipmi(document);

        let qemu_binary =
            document.qemu.binary.clone().unwrap_or_else(|| "qemu-system-x86_64".into());
        self.path("qemu.binary", &qemu_binary);
        if document.qemu.extra_args.iter().any(|argument| argument.contains('\0')) {
            self.error("qemu.extra_args", "an argument holds a zero byte", "leave it out");
        }

        Some(Profile {
            name: name?,
            debug: document.debug,
            run_dir: run_dir?,
            state_dir: state_dir?,
            machine: document.machine.clone(),
            firmware: document.firmware.clone(),
            boot: document.boot.clone(),
            disks,
            cdroms,
            kernel,
            nics: document.nics.clone(),
            vnc_port: Some(document.vnc.port).filter(|port| *port != 0),
            ipmi,
            power: document.power.clone(),
            qemu_binary,
            qemu_extra_args: document.qemu.extra_args.clone(),
        })
    }

    fn range(&mut self, key: &str, value: u32, min: u32, max: u32) {
        if !(min..=max).contains(&value) {
            self.error(key, format!("`{key}` cannot be {value}"), format!("{min} to {max}"));
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

    fn disks(&mut self, document: &Document) -> Vec<Disk> {
        let mut seen = BTreeMap::new();
        let mut disks = Vec::new();
        for (index, disk) in document.disks.iter().enumerate() {
            let section = format!("disks.{index}");
            let Some(path) = self.required(&section, disk.path.as_ref()) else { continue };
            if let Some(first) = seen.insert(path.clone(), index) {
                self.error(
                    &format!("{section}.path"),
                    format!("disks[{first}] and disks[{index}] are the same: {}", path.display()),
                    "two drives on one image would destroy it; leave one out",
                );
            }
            let key = Key::from(format!("{section}.path"));
            let asked_for = !self.sources.is_default(&key);
            disks.push(Disk { path, size: disk.size, asked_for });
        }
        disks
    }

    fn cdroms(&mut self, document: &Document) -> Vec<PathBuf> {
        if document.cdroms.len() > 6 {
            self.error(
                "cdroms",
                format!("{} CD-ROM drives", document.cdroms.len()),
                "the SATA controller has 6 ports",
            );
        }
        let mut cdroms = Vec::new();
        for (index, cdrom) in document.cdroms.iter().enumerate() {
            cdroms.extend(self.required(&format!("cdroms.{index}"), cdrom.path.as_ref()));
        }
        cdroms
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

    fn nics(&mut self, nics: &[Nic]) {
        if nics.len() > 24 {
            self.error("nics", format!("{} NICs", nics.len()), "at most 24");
        }
        let mut seen = BTreeMap::new();
        for (index, nic) in nics.iter().enumerate() {
            let Some(mac) = nic.mac else { continue };
            if let Some(first) = seen.insert(mac, index) {
                self.error(
                    &format!("nics.{index}.mac"),
                    format!("nics[{first}] and nics[{index}] have the same MAC address, {mac}"),
                    "leave `mac` out: each NIC then gets an address of its own",
                );
            }
        }
    }

    fn ipmi(&mut self, document: &Document) -> Ipmi {
        let ipmi = &document.ipmi;
        for (key, port) in
            [("ipmi.port", Some(ipmi.port)), ("ipmi.advertised_port", ipmi.advertised_port)]
        {
            if port == Some(0) {
                self.error(key, format!("`{key}` cannot be 0"), "1 to 65535");
            }
        }
        let bind = match ipmi.bind.as_deref() {
            None => Bind::All,
            Some(text) => self.bind(text),
        };
        let first = [DocumentUser::default()];
        let users = if ipmi.users.is_empty() { &first[..] } else { &ipmi.users };
        if users.len() > 14 {
            self.error("ipmi.users", format!("{} users", users.len()), "at most 14: slots 2 to 15");
        }
        let users: Vec<User> =
            users.iter().enumerate().filter_map(|(index, user)| self.user(index, user)).collect();
        for (index, user) in users.iter().enumerate() {
            if let Some(first) = users[..index].iter().position(|other| other.name == user.name) {
                self.error(
                    &format!("ipmi.users.{index}.name"),
                    format!("users[{first}] and users[{index}] are both named `{}`", user.name),
                    "give each user a name of its own",
                );
            }
        }
        let advertised_port = ipmi.advertised_port.unwrap_or(ipmi.port);
        Ipmi { port: ipmi.port, bind, advertised_port, users }
    }

    fn bind(&mut self, text: &str) -> Bind {
        if let Ok(address) = text.parse() {
            return Bind::Address(address);
        }
        let like_address = text.chars().all(|c| c.is_ascii_digit() || c == '.');
        let legal = |c: char| !c.is_whitespace() && c != '/' && c != ':' && !c.is_control();
        if text.is_empty() || text.len() > 15 || like_address || !text.chars().all(legal) {
            self.error(
                "ipmi.bind",
                format!("`{text}` is neither an IP address nor an interface name"),
                "write for example `eth1`, `192.0.2.10` or `::1`",
            );
        }
        Bind::Interface(text.to_owned())
    }

    fn user(&mut self, index: usize, user: &DocumentUser) -> Option<User> {
        let section = format!("ipmi.users.{index}");
        let key = |name: &str| format!("{section}.{name}");
        let default = |value: &str| (index == 0).then(|| value.to_owned());
        let name = user.name.clone().or_else(|| default("admin"));
        match &name {
            None => {
                let message = format!("`{}` has no `name`", Key::from(section.as_str()));
                self.error(&section, message, "write `name = \"…\"`");
            }
            Some(name) if name.is_empty() || name.len() > 16 || name.contains('\0') => self.error(
                &key("name"),
                format!("the user name `{name}` has {} bytes", name.len()),
                "1 to 16 bytes, none of them zero (IPMI v2.0 section 22.28)",
            ),
            Some(_) => {}
        }
        let rank = |name: &str| self.sources.rank(&Key::from(key(name)));
        let (inline_rank, file_rank) = (rank("password"), rank("password_file"));
        let password = match (&user.password, &user.password_file) {
            (Some(_), Some(_)) if inline_rank == file_rank => {
                self.error(
                    &key("password_file"),
                    "both `password` and `password_file` are set, by the same file",
                    "keep one of them",
                );
                None
            }
            (Some(_), Some(file)) if file_rank > inline_rank => Some(Password::File(file.clone())),
            (Some(password), _) => Some(Password::Inline(password.clone())),
            (None, Some(file)) => Some(Password::File(file.clone())),
            (None, None) => {
                let password = default(DEFAULT_PASSWORD).and_then(|text| Secret::new(text).ok());
                if password.is_none() {
                    let message = format!("`{}` has no password", Key::from(section.as_str()));
                    self.error(&section, message, "write `password_file = \"…\"`");
                }
                password.map(Password::Inline)
            }
        };
        if let Some(Password::File(file)) = &password {
            self.path(&key("password_file"), file);
        }
        if let Some(Password::Inline(secret)) = &password
            && secret.expose() == DEFAULT_PASSWORD.as_bytes()
        {
            let at = At::Key(Key::from(key("password")));
            let name = name.as_deref().unwrap_or_default();
            let message = format!("the IPMI user `{name}` has the default password");
            let help = "set IPMI_PASS_FILE, IPMI_PASS or the user's `password_file`";
            self.findings.push(Finding::warning(at, message).with_help(help));
        }
        Some(User { name: name?, password: password?, privilege: user.privilege })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::layers::{File, Inputs, merge};

    fn findings(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
        match checked(text, environment) {
            Ok((_, findings)) | Err(findings) => {
                findings.into_iter().map(|finding| finding.message).collect()
            }
        }
    }

    fn checked(
        text: &str,
        environment: &[(&str, &str)],
    ) -> Result<(Profile, Vec<Finding>), Vec<Finding>> {
        let inputs = Inputs {
            ambient: Ambient { name: "node1".into(), root: true, ..Ambient::default() },
            files: vec![File { name: "p.toml".into(), text: text.into() }],
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            sets: Vec::new(),
        };
        let merged = merge(&inputs);
        assert_eq!(merged.findings, []);
        check(&merged.document, &merged.sources, &inputs.ambient)
    }

    #[test]
    fn the_empty_profile_is_the_seed() {
        let (profile, findings) = checked("", &[]).unwrap();
        assert_eq!(profile.ipmi.users[0].name, "admin");
        assert_eq!(profile.run_dir, Path::new("/var/run/qemu"));
        assert!(!profile.disks[0].asked_for);
        assert_eq!(findings.len(), 1, "the default password");
        let (profile, _) = checked("", &[("VM_DISK", "/vm/disk.qcow2")]).unwrap();
        assert!(profile.disks[0].asked_for);
    }

    #[test]
    fn the_higher_layer_decides_between_password_and_file() {
        let text = "[[ipmi.users]]\nname = 'a'\npassword = 'x'";
        let (profile, _) = checked(text, &[("IPMI_PASS_FILE", "/p")]).unwrap();
        assert_eq!(profile.ipmi.users[0].password, Password::File("/p".into()));
        let text = "[[ipmi.users]]\nname = 'a'\npassword_file = '/p'";
        let (profile, _) = checked(text, &[("IPMI_PASS", "x")]).unwrap();
        assert!(matches!(profile.ipmi.users[0].password, Password::Inline(_)));
        let text = "[[ipmi.users]]\npassword = 'x'\npassword_file = '/p'";
        assert!(findings(text, &[])[0].contains("both"));
    }

    #[test]
    fn cross_field_rules_name_both_values() {
        let text = "
            boot.order = ['disk', 'disk']
            vnc.port = 80
            machine.cpus = 0
            ipmi.port = 0
            ipmi.bind = 'not an interface'
            disks = [{ path = '/a' }, { path = '/a' }, { size = '1G' }]
            nics = [{ mac = '52:54:00:00:00:01' }, { mac = '52:54:00:00:00:01' }]
            [[ipmi.users]]
            name = 'a_name_that_is_too_long'
            password = 'x'
            [[ipmi.users]]
            name = 'b'
            password = 'x'
            [[ipmi.users]]
            name = 'b'
        ";
        let findings = findings(text, &[]);
        for part in [
            "named twice",
            "port 80",
            "`machine.cpus` cannot be 0",
            "`ipmi.port` cannot be 0",
            "`not an interface` is neither",
            "disks[0] and disks[1] are the same: /a",
            "`disks[2]` has no `path`",
            "nics[0] and nics[1] have the same MAC address, 52:54:00:00:00:01",
            "has 23 bytes",
            "`ipmi.users[2]` has no password",
        ] {
            assert!(findings.iter().any(|text| text.contains(part)), "{part}: {findings:#?}");
        }
        assert_eq!(findings.len(), 10, "{findings:#?}");
    }
}
