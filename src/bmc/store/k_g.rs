//! K_G as it goes into the state directory.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::value::BmcKey;

pub(super) fn serialize<S: Serializer>(
    key: &Option<BmcKey>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    key.as_ref().map(BmcKey::expose).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BmcKey>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(BmcKey::new))
}
