//! `[ipmi]`.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Check;
use crate::profile::diagnostic::{At, Finding};
use crate::profile::document::{Document, User as DocumentUser, UserPrivilege, V15Auth};
use crate::profile::sources::Key;
use crate::value::Secret;

/// Password of the first user if nobody sets one: the seed's.
const DEFAULT_PASSWORD: &str = "password";
/// The cipher suites that a profile can name (v2.0 table 22-20).
pub const CIPHER_SUITES: [u8; 11] = [17, 3, 1, 2, 6, 7, 8, 11, 12, 15, 16];

/// The BMC.
#[derive(Clone, Debug)]
pub struct Ipmi {
    /// UDP port.
    pub port: u16,
    /// Where to serve.
    pub bind: Bind,
    /// The port that clients see.
    pub advertised_port: u16,
    /// Cipher suites, most wanted first.
    pub cipher_suites: Vec<u8>,
    /// Authentication types of IPMI 1.5; none: there are no such sessions.
    pub v15: Vec<V15Auth>,
    /// Bad passwords in a row that lock out; 0: never.
    pub bad_password_threshold: u32,
    /// For how long.
    pub lockout_interval_s: u32,
    /// File that holds K_G.
    pub k_g_file: Option<PathBuf>,
    /// Software on the machine reaches the BMC.
    pub in_band: bool,
    /// Clients may set the addresses that the BMC tells.
    pub lan_settable: bool,
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
    /// Can log in.
    pub enabled: bool,
    /// What of this is set explicitly.
    pub declared: Declared,
}

/// Which keys of a user were set by any layer but the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// `name`.
    pub name: bool,
    /// `password` or `password_file`.
    pub password: bool,
    /// `privilege`.
    pub privilege: bool,
    /// `enabled`.
    pub enabled: bool,
}

/// A password, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// It stands in the profile.
    Inline(Secret),
    /// It stands in a file.
    File(PathBuf),
}

impl Check<'_> {
    pub(super) fn ipmi(&mut self, document: &Document) -> Ipmi {
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
        if !users.is_empty() && users.iter().all(|user| !user.enabled) {
            self.error(
                "ipmi.users",
                "no user is enabled: nobody could log in",
                "set `enabled = true` for one of them",
            );
        }
        self.cipher_suites(&ipmi.cipher_suites);
        let mut cipher_suites = ipmi.cipher_suites.clone();
        if ipmi.allow_cipher_suite_0 {
            self.weak("ipmi.allow_cipher_suite_0", "with cipher suite 0, any password is right");
            cipher_suites.push(0);
        }
        self.v15(&ipmi.v15);
        self.range("ipmi.bad_password_threshold", ipmi.bad_password_threshold, 0, 255);
        self.range("ipmi.lockout_interval_s", ipmi.lockout_interval_s, 1, 86400);
        if let Some(file) = &ipmi.k_g_file {
            self.path("ipmi.k_g_file", file);
            // Without K1, nothing in a session depends on K_G; suites 11 and 12 have the password.
            const WITHOUT: [u8; 6] = [0, 1, 6, 11, 12, 15];
            let mut without = cipher_suites.iter().filter(|suite| WITHOUT.contains(suite));
            if let Some(suite) = without.next() {
                let what = format!("cipher suite {suite} lets in clients that do not know K_G");
                self.warn("ipmi.k_g_file", what, "leave it out of `ipmi.cipher_suites`");
            }
        }
        Ipmi {
            port: ipmi.port,
            bind,
            advertised_port: ipmi.advertised_port.unwrap_or(ipmi.port),
            cipher_suites,
            v15: ipmi.v15.clone(),
            bad_password_threshold: ipmi.bad_password_threshold,
            lockout_interval_s: ipmi.lockout_interval_s,
            k_g_file: ipmi.k_g_file.clone(),
            in_band: ipmi.in_band,
            lan_settable: ipmi.lan_settable,
            users,
        }
    }

    fn cipher_suites(&mut self, suites: &[u8]) {
        let key = "ipmi.cipher_suites";
        let known: Vec<String> = CIPHER_SUITES.iter().map(u8::to_string).collect();
        let known = known.join(", ");
        if suites.is_empty() {
            self.error(
                key,
                "no cipher suite: nobody could log in",
                format!("name some of {known}"),
            );
        }
        for (index, suite) in suites.iter().enumerate() {
            if *suite == 0 {
                self.error(
                    &format!("{key}.{index}"),
                    "cipher suite 0 lets in everybody, and is not offered by its number",
                    "`ipmi.allow_cipher_suite_0 = true` offers it beside the others",
                );
            } else if !CIPHER_SUITES.contains(suite) {
                self.error(
                    &format!("{key}.{index}"),
                    format!("there is no cipher suite {suite} here"),
                    format!("there are {known}"),
                );
            } else if suites[..index].contains(suite) {
                self.error(
                    &format!("{key}.{index}"),
                    format!("cipher suite {suite} is named twice"),
                    "name it once",
                );
            }
        }
    }

    fn v15(&mut self, types: &[V15Auth]) {
        for (index, auth) in types.iter().enumerate() {
            let key = format!("ipmi.v15.{index}");
            if types[..index].contains(auth) {
                let message = format!("{auth:?} is named twice").to_lowercase();
                self.error(&key, message, "name it once");
            }
            match auth {
                V15Auth::None => {
                    self.weak(&key, "IPMI 1.5 lets in everybody who knows a user's name");
                }
                V15Auth::Password => {
                    self.weak(&key, "with IPMI 1.5, passwords can go over the network in clear");
                }
                V15Auth::Md5 | V15Auth::Md2 => {}
            }
        }
    }

    fn weak(&mut self, key: &str, message: &str) {
        let finding = Finding::warning(At::Key(Key::from(key)), message);
        self.findings.push(finding.with_help("do this in a network of your own only"));
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
        Some(User {
            name: name?,
            password: password?,
            privilege: user.privilege,
            enabled: user.enabled,
            declared: Declared {
                name: rank("name") > 0,
                password: inline_rank.max(file_rank) > 0,
                privilege: rank("privilege") > 0,
                enabled: rank("enabled") > 0,
            },
        })
    }
}
