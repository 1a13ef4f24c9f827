//! Users: fifteen slots (v2.0 section 6.9).
//!
//! What is saved of a user is what differs from the profile: a user who leaves the profile must not
//! live on in the state directory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bmc::{self, Difference};
use crate::profile::check::Declared;
use crate::value::Secret;
use crate::wire::code::Privilege;

/// User IDs go from 1 to this.
pub(in crate::bmc) const SLOTS: u8 = 15;

/// The user without a name, who can never log in.
pub(in crate::bmc) const ANONYMOUS: u8 = 1;
/// Longest name in bytes (section 22.28).
pub(in crate::bmc) const MAX_NAME_LEN: usize = 16;

/// One user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::bmc) struct User {
    /// Name, at most 16 bytes, without trailing zeros; empty: nobody can be called so.
    pub(in crate::bmc) name: Vec<u8>,
    /// Password; `None`: nobody can log in.
    pub(in crate::bmc) password: Option<Secret>,
    /// It was set as a 20-byte password: IPMI 1.5 cannot use it.
    pub(in crate::bmc) long_password: bool,
    /// Can log in.
    pub(in crate::bmc) enabled: bool,
    /// What it may do on the LAN channel.
    pub(in crate::bmc) lan: Access,
    /// What it may do on the system interface.
    pub(in crate::bmc) system: Access,
    /// May use SOL.
    pub(in crate::bmc) sol: bool,
}

/// What a user may do on a channel (v2.0 table 22-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct Access {
    /// Highest privilege level, 1 to 4; 0Fh: no access. 0: not set.
    pub(in crate::bmc) limit: u8,
    /// May log in for IPMI messages.
    pub(in crate::bmc) messaging: bool,
    /// May be used for link authentication.
    pub(in crate::bmc) link: bool,
    /// Only by callback.
    pub(in crate::bmc) callback: bool,
}

impl Access {
    /// The highest privilege level, if there is any.
    #[must_use]
    pub(in crate::bmc) fn privilege(self) -> Option<Privilege> {
        (1..=4).contains(&self.limit).then_some(Privilege(self.limit))
    }
}

impl User {
    /// May log in on the LAN, at some level. There is nobody here to call back.
    pub(in crate::bmc) fn may_log_in(&self) -> bool {
        self.enabled
            && self.password.is_some()
            && !self.name.is_empty()
            && self.lan.messaging
            && !self.lan.callback
            && self.lan.privilege().is_some()
    }

    /// May log in on the LAN as administrator.
    fn is_administrator(&self) -> bool {
        self.may_log_in() && self.lan.privilege() == Some(Privilege::ADMINISTRATOR)
    }
}

impl From<&bmc::User> for User {
    fn from(user: &bmc::User) -> Self {
        let access =
            Access { limit: user.privilege.0, messaging: true, link: true, callback: false };
        Self {
            name: user.name.clone(),
            // The stored size (section 22.30): what fits into 16 bytes is a 16-byte password.
            long_password: user.password.expose().len() > 16,
            password: Some(user.password.clone()),
            enabled: user.enabled,
            lan: access,
            system: access,
            sol: true,
        }
    }
}

/// A change was refused: nobody could administer the BMC any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bmc) struct LastAdministrator;

/// All users.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Changes", into = "Changes")]
pub(in crate::bmc) struct Users {
    /// By user ID, from 1 on.
    slots: [User; SLOTS as usize],
    /// The same as the profile has them, and what it sets explicitly.
    profile: [(User, Declared); SLOTS as usize],
    /// What was read and is not merged yet.
    saved: Changes,
}

impl Users {
    /// The profile's users, the first in slot 2.
    #[must_use]
    pub(in crate::bmc) fn new(profile: &[bmc::User]) -> Self {
        let mut users = Self::default();
        let later = users.slots.iter_mut().zip(&mut users.profile).skip(usize::from(ANONYMOUS));
        for ((slot, in_profile), user) in later.zip(profile) {
            *slot = user.into();
            *in_profile = (slot.clone(), user.declared);
        }
        users
    }

    /// Makes the changes that were saved, but for what the profile sets explicitly.
    pub(in crate::bmc) fn take_over(&mut self, saved: &Self) {
        for (id, change) in &saved.saved {
            let Some(index) = usize::from(*id).checked_sub(1).filter(|_| *id != ANONYMOUS) else {
                continue;
            };
            if let (Some(slot), Some((user, declared))) =
                (self.slots.get_mut(index), self.profile.get(index))
            {
                change.apply(slot, user, *declared);
            }
        }
        // A name that the profile has taken is lost to whom a client had given it.
        for index in 0..self.slots.len() {
            let name = &self.slots[index].name;
            let of_profile = |index: usize| self.profile[index].0.name == *name;
            let others = self.slots.iter().enumerate();
            let taken = others.filter(|(other, user)| *other != index && user.name == *name);
            if name.is_empty() || of_profile(index) || taken.count() == 0 {
                continue;
            }
            self.slots[index] = self.profile[index].0.clone();
        }
    }

    /// How users differ from those of the profile.
    #[must_use]
    pub(in crate::bmc) fn differences(&self) -> Vec<Difference> {
        let mut all = Vec::new();
        for (id, (user, (profile, _))) in (1_u8..).zip(self.slots.iter().zip(&self.profile)) {
            let mut differs = |what: &str, before: String, now: String| {
                if before != now {
                    all.push(Difference::new(format!("ipmi user {id}: {what}"), before, now));
                }
            };
            let name = |user: &User| match &user.name[..] {
                [] => "none".to_owned(),
                name => String::from_utf8_lossy(name).into_owned(),
            };
            differs("name", name(profile), name(user));
            if user.password != profile.password {
                let set = |user: &User| if user.password.is_some() { "<secret>" } else { "none" };
                let now = if user.password.is_some() { "<another>" } else { "none" };
                differs("password", set(profile).to_owned(), now.to_owned());
            }
            let access = |access: Access| match access.privilege() {
                Some(privilege) => {
                    let may = if access.messaging { "" } else { ", no IPMI messages" };
                    format!("{privilege:?}{may}").to_lowercase()
                }
                None => "none".to_owned(),
            };
            differs("enabled", profile.enabled.to_string(), user.enabled.to_string());
            differs("privilege on the LAN", access(profile.lan), access(user.lan));
            differs("privilege on the machine", access(profile.system), access(user.system));
            differs("SOL", profile.sol.to_string(), user.sol.to_string());
        }
        all
    }

    /// Changes a user and tells whether that made a difference.
    ///
    /// # Errors
    /// When it would leave no enabled administrator; then nothing has changed.
    pub(in crate::bmc) fn change(
        &mut self,
        id: u8,
        make: impl FnOnce(&mut User),
    ) -> Result<bool, LastAdministrator> {
        let could = self.has_administrator();
        let Some(user) = self.get_mut(id) else { return Ok(false) };
        let before = user.clone();
        make(user);
        let differs = *user != before;
        if could && !self.has_administrator() {
            if let Some(user) = self.get_mut(id) {
                *user = before;
            }
            return Err(LastAdministrator);
        }
        Ok(differs)
    }

    /// Somebody may log in on the LAN as administrator.
    #[must_use]
    pub(in crate::bmc) fn has_administrator(&self) -> bool {
        self.slots.iter().any(User::is_administrator)
    }

    /// The user with this ID, 1 to [`SLOTS`].
    #[must_use]
    pub(in crate::bmc) fn get(&self, id: u8) -> Option<&User> {
        self.slots.get(usize::from(id).checked_sub(1)?)
    }

    fn get_mut(&mut self, id: u8) -> Option<&mut User> {
        self.slots.get_mut(usize::from(id).checked_sub(1)?)
    }

    /// All of them with their IDs.
    pub(in crate::bmc) fn iter(&self) -> impl Iterator<Item = (u8, &User)> {
        (1..=SLOTS).zip(&self.slots)
    }

    /// The user who may log in on the LAN by this name.
    #[must_use]
    pub(in crate::bmc) fn by_name(&self, name: &[u8]) -> Option<(u8, &User)> {
        self.iter().find(|(_, user)| !user.name.is_empty() && user.name == name)
    }
}

/// Changes by user ID, as they are saved.
type Changes = BTreeMap<u8, Change>;

/// How a user differs from the profile's user in the same slot; `None`: not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Change {
    /// The name that the profile had for the slot.
    of: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Password>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lan: Option<Access>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Access>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sol: Option<bool>,
}

/// A password that was set, or taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Password {
    #[serde(with = "exposed")]
    secret: Option<Secret>,
    long: bool,
}

impl Change {
    /// How `user` differs from `profile`.
    fn of(user: &User, profile: &User) -> Self {
        fn differing<T: Clone + PartialEq>(now: &T, then: &T) -> Option<T> {
            (now != then).then(|| now.clone())
        }
        let password =
            |user: &User| Password { secret: user.password.clone(), long: user.long_password };
        Self {
            of: profile.name.clone(),
            name: differing(&user.name, &profile.name),
            password: differing(&password(user), &password(profile)),
            enabled: differing(&user.enabled, &profile.enabled),
            lan: differing(&user.lan, &profile.lan),
            system: differing(&user.system, &profile.system),
            sol: differing(&user.sol, &profile.sol),
        }
    }

    /// Makes this change of `user`, whom the profile has as `profile`.
    fn apply(&self, user: &mut User, profile: &User, declared: Declared) {
        // It was about somebody else: who has gone, or made room for a user with a password of
        // his own.
        if self.of != profile.name && (profile.name.is_empty() || declared.password) {
            return;
        }
        let legal = |name: &&Vec<u8>| name.len() <= MAX_NAME_LEN && !name.contains(&0);
        if let Some(name) = self.name.as_ref().filter(legal).filter(|_| !declared.name) {
            user.name.clone_from(name);
        }
        if let Some(password) = self.password.as_ref().filter(|_| !declared.password) {
            user.password.clone_from(&password.secret);
            user.long_password = password.long;
        }
        if let Some(enabled) = self.enabled.filter(|_| !declared.enabled) {
            user.enabled = enabled;
        }
        for (access, change, limit) in [
            (&mut user.lan, self.lan, profile.lan.limit),
            (&mut user.system, self.system, profile.system.limit),
        ] {
            if let Some(change) = change {
                *access = change;
                if declared.privilege {
                    access.limit = limit;
                }
            }
        }
        if declared.enabled && profile.enabled {
            // Who may not exchange messages is not enabled.
            user.lan.messaging = true;
        }
        user.sol = self.sol.unwrap_or(user.sol);
    }
}

impl From<Users> for Changes {
    fn from(users: Users) -> Self {
        let slots = (1..).zip(users.slots.iter().zip(&users.profile));
        let changes = slots.map(|(id, (user, (profile, _)))| (id, Change::of(user, profile)));
        let nothing =
            |change: &Change| *change == Change { of: change.of.clone(), ..Change::default() };
        changes.filter(|(_, change)| !nothing(change)).collect()
    }
}

impl From<Changes> for Users {
    fn from(saved: Changes) -> Self {
        Self { saved, ..Self::default() }
    }
}

/// For the state directory alone: RAKP needs the password itself, so no one-way form of it will do.
mod exposed {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::value::Secret;

    pub(super) fn serialize<S: Serializer>(
        secret: &Option<Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::expose).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Secret>, D::Error> {
        let bytes = Option::<Vec<u8>>::deserialize(deserializer)?;
        bytes.map(Secret::new).transpose().map_err(serde::de::Error::custom)
    }
}
