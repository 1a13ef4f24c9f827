//! `[ipmi]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Secret;

/// The BMC on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ipmi {
    /// UDP port.
    #[schemars(range(min = 1), example = 6230)]
    pub port: u16,
    /// Network interface or IP address to serve on. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eth1")]
    pub bind: Option<String>,
    /// The port that clients see, for a port mapping such as `-p 6231:623/udp`; Serial-over-LAN
    /// names it. Default: `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), example = 6231)]
    pub advertised_port: Option<u16>,
    /// RMCP+ cipher suites that are offered, by number (v2.0 table 22-20), most wanted first.
    #[schemars(length(min = 1), inner(range(min = 1, max = 17)), extend("uniqueItems" = true), example = [17])]
    pub cipher_suites: Vec<u8>,
    /// Offer cipher suite 0 as well, with which any password is right. For tests of clients only.
    #[schemars(example = true)]
    pub allow_cipher_suite_0: bool,
    /// How a session of IPMI 1.5 may be authenticated; an empty list switches IPMI 1.5 off.
    #[schemars(extend("uniqueItems" = true), example = ["md5", "md2"])]
    pub v15: Vec<V15Auth>,
    /// Number of bad passwords in a row after which a user cannot log in from the address that they came
    /// from (of IPv6: the network of 64 bits), for `lockout_interval_s`. From elsewhere, the user can. 0:
    /// no limit.
    #[schemars(range(max = 255), example = 3)]
    pub bad_password_threshold: u32,
    /// How long a lock-out is, and how long a bad password counts, in seconds.
    #[schemars(range(min = 1, max = 86400), example = 300)]
    pub lockout_interval_s: u32,
    /// File that holds K_G, a key that clients must have beside the password (`ipmitool -k`): at
    /// most 20 bytes of text, or `0x` and 40 hexadecimal digits; one line end after it is dropped.
    /// IPMI 1.5 does not know it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/run/secrets/k_g")]
    pub k_g_file: Option<PathBuf>,
    /// Software on the machine reaches the BMC over a KCS system interface, without a password, as an
    /// administrator, as on metal.
    #[schemars(example = false)]
    pub in_band: bool,
    /// Clients may set IP address and its source, MAC address, netmask and gateways (LAN parameters 3
    /// to 6 and 12 to 15). It is kept and told again, and is only what the BMC says: the container's
    /// interface stays as it is. Otherwise they are read-only.
    #[schemars(example = true)]
    pub lan_settable: bool,
    /// Users, the first in user slot 2. Default: administrator `admin` with password `password`.
    #[schemars(length(max = 14), example = [serde_json::json!({"name": "admin", "password_file": "/run/secrets/ipmi"})])]
    pub users: Vec<User>,
}

impl Default for Ipmi {
    fn default() -> Self {
        Self {
            port: 623,
            bind: None,
            advertised_port: None,
            cipher_suites: vec![17, 3],
            allow_cipher_suite_0: false,
            v15: vec![V15Auth::Md5],
            bad_password_threshold: 20,
            lockout_interval_s: 60,
            k_g_file: None,
            in_band: true,
            lan_settable: false,
            users: Vec::new(),
        }
    }
}

/// Authentication type of IPMI 1.5 (IPMI v2.0 section 22.17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum V15Auth {
    /// MD5 of password and message.
    Md5,
    /// MD2 of password and message.
    Md2,
    /// The password itself in every message, readable by all on the way.
    Password,
    /// Nothing: who knows a user's name is let in.
    None,
}

/// An IPMI user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// User name, 1 to 16 bytes. Default for the first user: `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), example = &"operator")]
    pub name: Option<String>,
    /// Password, 1 to 20 bytes; better is `password_file`. Default for the first user: `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"correct horse")]
    pub password: Option<Secret>,
    /// File that holds the password; one line end after it is dropped. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/run/secrets/ipmi")]
    pub password_file: Option<PathBuf>,
    /// Highest privilege level that the user can have.
    #[schemars(example = &"operator")]
    pub privilege: UserPrivilege,
    /// The user can log in.
    #[schemars(example = false)]
    pub enabled: bool,
}

impl Default for User {
    fn default() -> Self {
        Self {
            name: None,
            password: None,
            password_file: None,
            privilege: UserPrivilege::Administrator,
            enabled: true,
        }
    }
}

/// Privilege level of a user (IPMI v2.0 section 6.8).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum UserPrivilege {
    /// Reads.
    User,
    /// Reads, switches power, sets boot devices.
    Operator,
    /// Everything.
    Administrator,
}
