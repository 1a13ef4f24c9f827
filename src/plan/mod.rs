//! What will be done, as plain data: [`render`] turns a checked profile and host facts into a
//! [`Plan`], and nothing else goes in. Same profile, same facts: the same plan, byte for byte.

mod argv;
pub mod facts;
pub mod ipmi;
mod lan;
mod make;
mod network;
mod preconditions;
pub mod qemu;
mod sensors;
mod serial;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use facts::{HostFacts, RunAs};
pub use ipmi::IpmiPlan;
pub use lan::LanIdentity;
pub use make::{Made, make};
pub use network::{NetworkPlan, NicPlan, Spare, Step, is_automatic};
pub use preconditions::preconditions;
pub use qemu::{CreateDisk, QemuPlan};
pub use sensors::{Scale, SensorPlan, SensorsPlan};
pub use serial::{CONSOLE_SOCKET, LogFilePlan, PortPlan, SerialPlan};

use crate::machine::driver;
use crate::profile::Profile;
use crate::profile::document::{Restore, SoftPolicy};
use crate::value::MachineName;

/// All that the runtime does.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Plan {
    /// Who the machine is.
    pub identity: Identity,
    /// Directory of sockets.
    pub run_dir: PathBuf,
    /// Directory of state that outlives a restart.
    pub state_dir: PathBuf,
    /// QEMU's command line and what it needs.
    pub qemu: QemuPlan,
    /// The VM's NICs.
    pub network: NetworkPlan,
    /// The serial ports.
    pub serial: SerialPlan,
    /// The BMC.
    pub ipmi: IpmiPlan,
    /// The sensors that read as a number.
    pub sensors: SensorsPlan,
    /// Power policies.
    pub power: PowerPlan,
}

/// Who the machine is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Identity {
    /// Name.
    pub name: MachineName,
    /// SMBIOS system UUID, and IPMI System GUID.
    pub uuid: Uuid,
    /// Manufacturer.
    pub manufacturer: String,
    /// Product name.
    pub product: String,
    /// Serial number.
    pub serial: String,
    /// Asset tag of the chassis.
    pub asset_tag: Option<String>,
    /// SKU number.
    pub sku: Option<String>,
}

/// Power policies.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PowerPlan {
    /// What to do when the program starts.
    pub restore: Restore,
    /// The profile says so, and what was set over IPMI does not count.
    pub restore_declared: bool,
    /// Limit of a soft shutdown in seconds.
    pub soft_limit_s: u32,
    /// What follows when it is over.
    pub soft_policy: SoftPolicy,
    /// Time off within a power cycle in seconds.
    pub cycle_interval_s: u32,
    /// The profile says so, and what was set over IPMI does not count.
    pub cycle_interval_declared: bool,
    /// Limit for the guest when the program ends, in seconds.
    pub stop_limit_s: u32,
}

/// Renders the plan. Total: what a profile may ask of a host that lacks it is found by
/// [`preconditions`], which shares `facts`.
#[must_use]
pub fn render(profile: &Profile, facts: &HostFacts) -> Plan {
    let declared = &profile.identity;
    let identity = Identity {
        name: profile.name.clone(),
        uuid: declared.uuid.unwrap_or_else(|| profile.name.uuid()),
        manufacturer: declared.manufacturer.clone(),
        product: declared.product.clone(),
        serial: declared.serial.clone().unwrap_or_else(|| profile.name.serial()),
        asset_tag: declared.asset_tag.clone(),
        sku: declared.sku.clone(),
    };
    let network = NetworkPlan::render(profile, facts);
    Plan {
        qemu: QemuPlan::render(profile, facts, &identity, &network),
        serial: SerialPlan::render(profile),
        ipmi: IpmiPlan::render(profile, &identity),
        network,
        sensors: SensorsPlan::render(profile),
        power: PowerPlan {
            restore: profile.power.restore,
            restore_declared: profile.restore_declared,
            soft_limit_s: profile.power.soft_limit_s,
            soft_policy: profile.power.soft_policy,
            cycle_interval_s: profile.power.cycle_interval_s,
            cycle_interval_declared: profile.cycle_interval_declared,
            stop_limit_s: profile.power.stop_limit_s,
        },
        run_dir: profile.run_dir.clone(),
        state_dir: profile.state_dir.clone(),
        identity,
    }
}

impl PowerPlan {
    /// The power machine's configuration.
    #[must_use]
    pub fn driver(&self, qemu: &QemuPlan) -> driver::Config {
        let seconds = |count: u32| Duration::from_secs(count.into());
        driver::Config {
            boot_order: qemu.boot_order.clone(),
            cycle_interval: seconds(self.cycle_interval_s),
            soft_limit: seconds(self.soft_limit_s),
            soft_force: self.soft_policy == SoftPolicy::Force,
            stop_limit: seconds(self.stop_limit_s),
            setup_limit: qemu.setup_limit(),
        }
    }
}

impl Plan {
    /// For people: sections, and QEMU's command line one switch a line.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let Identity { name, uuid, manufacturer, product, serial, asset_tag, sku } = &self.identity;
        let _ = writeln!(out, "machine {name}\n  uuid    {uuid}\n  serial  {serial}");
        let _ = writeln!(out, "  product {product} by {manufacturer}");
        for (word, text) in [("asset  ", asset_tag), ("sku    ", sku)] {
            if let Some(text) = text {
                let _ = writeln!(out, "  {word} {text}");
            }
        }
        let _ = writeln!(out, "  run     {}", self.run_dir.display());
        let _ = writeln!(out, "  state   {}", self.state_dir.display());
        let _ = writeln!(out, "\nqemu");
        for disk in &self.qemu.create_disks {
            let _ = writeln!(out, "  {disk}");
        }
        if let Some(nvram) = &self.qemu.nvram {
            let (from, to) = (nvram.template.display(), nvram.path.display());
            let _ = writeln!(out, "  copy {from} to {to} unless it is there");
        }
        if let Some(swtpm) = &self.qemu.swtpm {
            let _ = writeln!(out, "  TPM state in {}", swtpm.state_dir.display());
            let _ = writeln!(out, "  beside it: {}", swtpm.line());
        }
        if let Some(RunAs { name, uid, gid, .. }) = &self.qemu.run_as {
            let _ = writeln!(out, "  as user {name} ({uid}:{gid}), its files opened before");
        }
        let _ = writeln!(out, "  {}", self.qemu.binary.display());
        for line in self.qemu.lines() {
            let _ = writeln!(out, "    {line}");
        }
        out.push_str(&self.network.text());
        out.push_str(&self.serial.text());
        out.push_str(&self.ipmi.text());
        out.push_str(&self.sensors.text());
        let power = &self.power;
        let restore = match power.restore {
            Restore::AlwaysOn => "always-on",
            Restore::AlwaysOff => "always-off",
            Restore::Previous => "previous",
        };
        let policy = match power.soft_policy {
            SoftPolicy::Leave => "leave",
            SoftPolicy::Force => "force",
        };
        let _ = writeln!(
            out,
            "\npower\n  restore {restore}\n  soft    {} s, then {policy}\n  cycle   {} s off\n  stop    {} s",
            power.soft_limit_s, power.cycle_interval_s, power.stop_limit_s
        );
        out
    }

    /// For a shell: the same machine without its BMC, with the console on the terminal.
    ///
    /// The descriptors that only the program can hand on are replaced: the console's by the
    /// terminal, those of further serial ports and of the private monitor by nothing, those of TAP devices
    /// by their names. Nothing connects these with the interfaces. The system interface is left out.
    #[must_use]
    pub fn shell(&self) -> String {
        let quoted = |words: &[&str]| {
            shlex::try_join(words.iter().copied()).expect("the profile was checked for zero bytes")
        };
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let mut steps =
            vec![quoted(&["mkdir", "-p", "--", &text(&self.run_dir), &text(&self.state_dir)])];
        steps.extend(self.qemu.create_disks.iter().map(CreateDisk::shell));
        if let Some(nvram) = &self.qemu.nvram {
            steps.push(quoted(&["cp", "-n", "--", &text(&nvram.template), &text(&nvram.path)]));
        }
        let mut tpm_socket = None;
        if let Some(swtpm) = &self.qemu.swtpm {
            let socket = self.run_dir.join("tpm.sock");
            steps.push(quoted(&["mkdir", "-p", "--", &text(&swtpm.state_dir)]));
            steps.push(format!(
                "(cd {} && {})",
                quoted(&[&text(&swtpm.state_dir)]),
                swtpm.shell(&text(&socket))
            ));
            tpm_socket = Some(text(&socket).replace(',', ",,"));
        }
        let netdev = |line: &str| {
            let is_of = |nic: &&NicPlan| {
                line.starts_with(&format!("-netdev '{{\"type\":\"tap\",\"id\":\"{}\",", nic.id))
            };
            let nic = self.network.nics.iter().find(is_of)?;
            let list = format!(
                "tap,id={},ifname={},script=no,downscript=no,queues={}",
                nic.id,
                nic.tap.as_ref()?,
                nic.queues
            );
            Some(quoted(&["-netdev", &list]))
        };
        let without_bmc = |line: &String| {
            !line.starts_with("-chardev 'socket,id=ipmi0,")
                && !line.starts_with("-device '{\"driver\":\"ipmi-bmc-extern\",")
                && !line.starts_with("-device '{\"driver\":\"isa-ipmi-kcs\",")
        };
        let switches = self.qemu.lines().filter(without_bmc).map(|line| match line.as_str() {
            "-chardev 'socket,id=console0,fd=4'" => {
                "-chardev 'stdio,id=console0,signal=off'".into()
            }
            "-chardev 'socket,id=console1,fd=7'" => "-chardev 'null,id=console1'".into(),
            "-chardev 'socket,id=console2,fd=8'" => "-chardev 'null,id=console2'".into(),
            "-chardev 'socket,id=qmp0,fd=3'" => "-chardev 'null,id=qmp0'".into(),
            "-chardev 'socket,id=qmp1,fd=6,server=on,wait=off'" => {
                let socket = text(&self.qemu.user_qmp).replace(',', ",,");
                let list = format!("socket,id=qmp1,path={socket},server=on,wait=off");
                quoted(&["-chardev", &list])
            }
            "-chardev 'socket,id=tpm0-emulator,fd=5'" => {
                let socket = tpm_socket.as_deref().unwrap_or_default();
                quoted(&["-chardev", &format!("socket,id=tpm0-emulator,path={socket}")])
            }
            other => netdev(other).unwrap_or(line),
        });
        let program = quoted(&[&text(&self.qemu.binary)]);
        let command: Vec<String> = std::iter::once(program).chain(switches).collect();
        steps.push(command.join(" \\\n  "));
        steps.join(" &&\n") + "\n"
    }

    /// For programs: the plan with its [digest](Self::digest), described by [`schema`].
    #[must_use]
    pub fn json(&self) -> String {
        let form = WithDigest { digest: self.digest(), plan: self };
        let mut text = serde_json::to_string_pretty(&form).expect("a plan is plain data");
        text.push('\n');
        text
    }

    /// A fingerprint of the plan: `sha256:` and the hash of its compact JSON form, without the
    /// digest. Equal plans have equal digests; passwords are not part of a plan.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(self).expect("a plan is plain data");
        let mut digest = String::from("sha256:");
        for byte in Sha256::digest(text) {
            let _ = write!(digest, "{byte:02x}");
        }
        digest
    }
}

/// The JSON form of a plan.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Plan", description = "What `qemu-bmc run` would do.")]
struct WithDigest<'a> {
    /// Fingerprint of all the rest, for `run --expect-plan`.
    digest: String,
    #[serde(flatten)]
    plan: &'a Plan,
}

/// The JSON Schema of `plan --format json`: pretty-printed, with a newline at the end.
#[must_use]
pub fn schema() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let settings =
        settings.with(|settings| settings.contract = schemars::generate::Contract::Serialize);
    let schema = settings.into_generator().into_root_schema_for::<WithDigest<'static>>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
