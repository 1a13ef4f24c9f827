//! What the engine is told at its start.

use crate::plan::{Identity, LanIdentity, Plan, SensorsPlan};
use crate::profile::check::Declared;
use crate::profile::document::{Restore, UserPrivilege, V15Auth};
use crate::value::{BmcKey, Secret};
use crate::wire::code::{AuthType, Privilege};

/// A user who may log in.
#[derive(Clone, Debug)]
pub struct User {
    /// Name.
    pub name: Vec<u8>,
    /// Password.
    pub password: Secret,
    /// Highest privilege level.
    pub privilege: Privilege,
    /// Can log in.
    pub enabled: bool,
    /// What of this the profile sets explicitly.
    pub declared: Declared,
}

/// What the engine has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Users.
    pub users: Vec<User>,
    /// Numbers of the cipher suites that are offered, most wanted first.
    pub cipher_suites: Vec<u8>,
    /// Authentication types of IPMI 1.5 sessions; none: there are no such sessions.
    pub v15: Vec<AuthType>,
    /// Bad passwords in a row with which a user is locked out from where they came; 0: never.
    pub bad_password_threshold: u32,
    /// For how long in seconds, and how long they count.
    pub lockout_interval_s: u32,
    /// K_G, if the profile has one.
    pub k_g: Option<BmcKey>,
    /// System GUID as it goes over the wire.
    pub guid: [u8; 16],
    /// The port that SOL activation names.
    pub advertised_port: u16,
    /// Serial-over-LAN begins with the console's history.
    pub sol_replay: bool,
    /// The machine's firmware is UEFI.
    pub uefi: bool,
    /// The machine's kernel is booted directly: before all that a boot override names.
    pub kernel: bool,
    /// What becomes of the machine when the program starts.
    pub restore: Restore,
    /// The profile says so: a policy that was set over IPMI does not outlive a restart.
    pub restore_declared: bool,
    /// Time off within a power cycle in seconds.
    pub cycle_interval_s: u32,
    /// The profile says so, with the same consequence.
    pub cycle_interval_declared: bool,
    /// The machine's name.
    pub name: String,
    /// The profile's asset tag.
    pub asset_tag: Option<String>,
    /// Who the machine is.
    pub identity: Identity,
    /// CPU sockets that the machine has.
    pub cpu_sockets: u32,
    /// Sensors that read as a number. Of the profile's, thresholds that were set over IPMI do not
    /// outlive a restart.
    pub sensors: SensorsPlan,
    /// The interface that it serves on.
    pub lan: LanIdentity,
    /// Clients may tell the BMC to say that it is something else.
    pub lan_settable: bool,
}

impl Config {
    /// The engine's part of the plan. `passwords`: those of the plan's users, in order, and `k_g`,
    /// as they were read; `lan`: the interface as it is now.
    #[must_use]
    pub fn new(plan: &Plan, passwords: Vec<Secret>, k_g: Option<BmcKey>, lan: LanIdentity) -> Self {
        let (identity, power, serial) = (&plan.identity, &plan.power, &plan.serial);
        let uefi = plan.qemu.nvram.is_some();
        let kernel = plan.qemu.boots_kernel();
        let sensors = plan.sensors.clone();
        let plan = &plan.ipmi;
        let users = plan.users.iter().zip(passwords).map(|(user, password)| User {
            name: user.name.clone().into_bytes(),
            password,
            privilege: match user.privilege {
                UserPrivilege::User => Privilege::USER,
                UserPrivilege::Operator => Privilege::OPERATOR,
                UserPrivilege::Administrator => Privilege::ADMINISTRATOR,
            },
            enabled: user.enabled,
            declared: user.declared,
        });
        // A GUID goes over the wire least significant byte first (v2.0 section 20.8).
        let mut guid = *plan.guid.as_bytes();
        guid.reverse();
        Self {
            users: users.collect(),
            cipher_suites: plan.cipher_suites.clone(),
            v15: plan.v15.iter().map(|auth| auth_type(*auth)).collect(),
            bad_password_threshold: plan.bad_password_threshold,
            lockout_interval_s: plan.lockout_interval_s,
            k_g,
            guid,
            advertised_port: plan.advertised_port,
            sol_replay: serial.sol_replay,
            uefi,
            kernel,
            restore: power.restore,
            restore_declared: power.restore_declared,
            cycle_interval_s: power.cycle_interval_s,
            cycle_interval_declared: power.cycle_interval_declared,
            name: identity.name.to_string(),
            asset_tag: identity.asset_tag.clone(),
            identity: identity.clone(),
            cpu_sockets: plan.cpu_sockets,
            sensors,
            lan,
            lan_settable: plan.lan_settable,
        }
    }
}

fn auth_type(auth: V15Auth) -> AuthType {
    match auth {
        V15Auth::Md5 => AuthType::MD5,
        V15Auth::Md2 => AuthType::MD2,
        V15Auth::Password => AuthType::PASSWORD,
        V15Auth::None => AuthType::NONE,
    }
}
