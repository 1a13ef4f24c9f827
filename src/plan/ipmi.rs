//! The BMC: users, identity, addresses.

use std::fmt::Write as _;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::plan::Identity;
use crate::profile::Profile;
use crate::profile::check::{Bind, Declared, Password};
use crate::profile::document::{Machine, UserPrivilege, V15Auth};

/// The BMC's part of the plan.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct IpmiPlan {
    /// UDP port to serve on.
    pub port: u16,
    /// Where to serve.
    #[serde(serialize_with = "bind_as_text")]
    #[schemars(with = "String")]
    pub bind: Bind,
    /// The port that SOL activation names.
    pub advertised_port: u16,
    /// System GUID: the SMBIOS system UUID.
    pub guid: Uuid,
    /// CPU sockets that have a presence sensor.
    pub cpu_sockets: u32,
    /// Cipher suites that are offered, most wanted first.
    pub cipher_suites: Vec<u8>,
    /// How sessions of IPMI 1.5 may be authenticated; empty: there are none.
    pub v15: Vec<V15Auth>,
    /// Bad passwords in a row with which a user is locked out from where they came; 0: never.
    pub bad_password_threshold: u32,
    /// For how long in seconds, and how long they count.
    pub lockout_interval_s: u32,
    /// File that holds K_G; `null`: clients need the password only.
    pub k_g_file: Option<PathBuf>,
    /// Software on the machine reaches the BMC over a KCS system interface.
    pub in_band: bool,
    /// Clients may tell the BMC which addresses it says that it has.
    pub lan_settable: bool,
    /// Users.
    pub users: Vec<UserPlan>,
}

/// One user.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct UserPlan {
    /// User ID: 2 to 15. Slot 1 is the anonymous user, which does not exist here.
    pub slot: u8,
    /// Name.
    pub name: String,
    /// Password, never shown.
    #[serde(serialize_with = "password_as_text")]
    #[schemars(with = "String")]
    pub password: Password,
    /// Highest privilege level.
    pub privilege: UserPrivilege,
    /// Can log in.
    pub enabled: bool,
    /// What of this the profile sets explicitly; the rest can be changed over IPMI for good.
    #[serde(skip)]
    pub declared: Declared,
}

fn bind_text(bind: &Bind) -> String {
    match bind {
        Bind::All => "all interfaces".into(),
        Bind::Address(address) => format!("address {address}"),
        Bind::Interface(name) => format!("interface {name}"),
    }
}

fn password_text(password: &Password) -> String {
    match password {
        Password::Inline(_) => "<secret>".into(),
        Password::File(path) => format!("<in {}>", path.display()),
    }
}

fn bind_as_text<S: Serializer>(bind: &Bind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&bind_text(bind))
}

fn password_as_text<S: Serializer>(password: &Password, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&password_text(password))
}

/// The number of sockets that QEMU makes of what the profile says: it prefers cores.
fn sockets(machine: &Machine) -> u32 {
    let Machine { cpus, sockets, cores, threads, .. } = machine;
    match (sockets, cores) {
        (Some(sockets), _) => *sockets,
        (None, None) => 1,
        (None, Some(cores)) => {
            let in_socket = cores.saturating_mul(threads.unwrap_or(1)).max(1);
            (cpus / in_socket).max(1)
        }
    }
}

impl IpmiPlan {
    pub(super) fn render(profile: &Profile, identity: &Identity) -> Self {
        let users = profile.ipmi.users.iter().zip(2_u8..).map(|(user, slot)| UserPlan {
            slot,
            name: user.name.clone(),
            password: user.password.clone(),
            privilege: user.privilege,
            enabled: user.enabled,
            declared: user.declared,
        });
        Self {
            port: profile.ipmi.port,
            bind: profile.ipmi.bind.clone(),
            advertised_port: profile.ipmi.advertised_port,
            guid: identity.uuid,
            cpu_sockets: sockets(&profile.machine),
            cipher_suites: profile.ipmi.cipher_suites.clone(),
            v15: profile.ipmi.v15.clone(),
            bad_password_threshold: profile.ipmi.bad_password_threshold,
            lockout_interval_s: profile.ipmi.lockout_interval_s,
            k_g_file: profile.ipmi.k_g_file.clone(),
            in_band: profile.ipmi.in_band,
            lan_settable: profile.ipmi.lan_settable,
            users: users.collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "\nipmi");
        let _ = writeln!(out, "  serve   UDP port {}, {}", self.port, bind_text(&self.bind));
        let _ = writeln!(out, "  clients see port {}", self.advertised_port);
        let suites: Vec<String> = self.cipher_suites.iter().map(u8::to_string).collect();
        let _ = writeln!(out, "  cipher suites {}", suites.join(", "));
        let v15: Vec<String> =
            self.v15.iter().map(|auth| format!("{auth:?}").to_lowercase()).collect();
        let v15 = if v15.is_empty() { "off".to_owned() } else { v15.join(", ") };
        let _ = writeln!(out, "  IPMI 1.5 {v15}");
        let _ = match (self.bad_password_threshold, self.lockout_interval_s) {
            (0, _) => writeln!(out, "  lock-out never"),
            (bad, seconds) => {
                writeln!(out, "  lock-out for {seconds} s, by {bad} bad passwords from one address")
            }
        };
        if let Some(path) = &self.k_g_file {
            let _ = writeln!(out, "  K_G     <in {}>", path.display());
        }
        let in_band = if self.in_band { "KCS" } else { "off" };
        let _ = writeln!(out, "  in-band {in_band}");
        if self.lan_settable {
            let _ = writeln!(out, "  LAN     addresses that it tells can be set");
        }
        for UserPlan { slot, name, password, privilege, enabled, .. } in &self.users {
            let privilege = match privilege {
                UserPrivilege::User => "user",
                UserPrivilege::Operator => "operator",
                UserPrivilege::Administrator => "administrator",
            };
            let password = password_text(password);
            let disabled = if *enabled { "" } else { "  disabled" };
            let _ =
                writeln!(out, "  user {slot}  {name}  {privilege}  password {password}{disabled}");
        }
        out
    }
}
