//! Users: fifteen slots (v2.0 section 6.9).

use serde::{Deserialize, Serialize};

use crate::value::Secret;
use crate::wire::code::Privilege;

/// User IDs go from 1 to this.
pub(in crate::bmc) const SLOTS: u8 = 15;

/// One user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bmc) struct User {
    /// Name, at most 16 bytes, without trailing zeros; empty: nobody can be called so.
    pub(in crate::bmc) name: Vec<u8>,
    /// Password; `None`: nobody can log in.
    #[serde(with = "exposed")]
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

/// All users.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::bmc) struct Users {
    /// By user ID, from 1 on.
    slots: [User; SLOTS as usize],
}

impl Users {
    /// The user with this ID, 1 to [`SLOTS`].
    #[must_use]
    pub(in crate::bmc) fn get(&self, id: u8) -> Option<&User> {
        self.slots.get(usize::from(id).checked_sub(1)?)
    }

    /// The same, to be changed.
    pub(in crate::bmc) fn get_mut(&mut self, id: u8) -> Option<&mut User> {
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
