//! Where each value of a document comes from.

use std::fmt;
use std::ops::Range;

use figment::value::Value;

use crate::profile::text::Places;

/// Path of a key: names and list indexes joined by dots, such as `ipmi.users.0.name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A key as somebody types it: `disks[0].path`, as messages print it, or `disks.0.path`.
    #[must_use]
    pub fn typed(path: &str) -> Self {
        Self(path.trim().replace('[', ".").replace(']', ""))
    }

    /// The path's parts.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.').filter(|segment| !segment.is_empty())
    }

    /// This key's child `segment`.
    #[must_use]
    pub fn child(&self, segment: &str) -> Self {
        if self.0.is_empty() {
            Self(segment.to_owned())
        } else {
            Self(format!("{}.{segment}", self.0))
        }
    }

    /// The key that this one is in, if it is not the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0.rsplit_once('.').map_or("", |(parent, _)| parent).to_owned()))
    }

    /// Whether `other` is this key or in it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let mut theirs = other.segments();
        self.segments().all(|segment| theirs.next() == Some(segment))
    }

    /// The value is a secret or may hold one, and so may every text that holds it: all of a user
    /// but what is known to be harmless, since a misspelt password is still a password.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        const HARMLESS: [&str; 4] = ["name", "password_file", "privilege", "enabled"];
        // A number, and of no user.
        if self.0 == "ipmi.bad_password_threshold" {
            return false;
        }
        let last = self.segments().next_back().unwrap_or_default().to_ascii_lowercase();
        let last = last.as_str();
        Self::from("ipmi.users").contains(self) && !HARMLESS.contains(&last)
            || last.contains("pass") && !HARMLESS.contains(&last)
    }
}

impl From<&str> for Key {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

impl From<String> for Key {
    fn from(path: String) -> Self {
        Self(path)
    }
}

/// As written in messages: `ipmi.users[0].name`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            if segment.bytes().all(|byte| byte.is_ascii_digit()) {
                write!(f, "[{segment}]")?;
            } else if index == 0 {
                f.write_str(segment)?;
            } else {
                write!(f, ".{segment}")?;
            }
        }
        Ok(())
    }
}

/// What a layer was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A profile file: its name as given, and its text.
    File {
        /// Name as given on the command line.
        name: String,
        /// The whole text.
        text: String,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
        /// Its text.
        text: String,
    },
    /// A `--set` flag.
    Flag {
        /// The text after `--set`.
        text: String,
    },
}

/// One layer: where it comes from and what it sets.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    /// What it sets. In a layer of one variable or flag, lists are dictionaries by index, because
    /// such a layer changes elements; in other layers a list replaces the list below it.
    pub(super) value: Value,
    /// Where its values stand, if it is a file.
    pub(super) places: Places,
}

/// The layers of a document, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub(super) layers: Vec<Layer>,
}

/// A place that can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The origin.
    pub origin: &'a Origin,
    /// Byte range of the value in a file's text; `None` elsewhere or if it cannot be told.
    pub span: Option<Range<usize>>,
}

impl Sources {
    /// Rank of the highest layer that sets `key` or something in it; 0 is the default layer.
    #[must_use]
    pub fn rank(&self, key: &Key) -> usize {
        for (rank, layer) in self.layers.iter().enumerate().rev() {
            match find(&layer.value, key) {
                Found::Value(_) | Found::ReplacedAbove => return rank,
                Found::Nothing => {}
            }
        }
        0
    }

    /// The layers that set `key` or something in it, and to what, the highest first.
    pub(super) fn history(&self, key: &Key) -> Vec<(&Layer, &Value)> {
        let mut history = Vec::new();
        for layer in self.layers.iter().rev() {
            match find(&layer.value, key) {
                Found::Value(value) => {
                    history.push((layer, value));
                }
                Found::ReplacedAbove => break,
                Found::Nothing => {}
            }
        }
        history
    }

    /// Nobody has set `key`: its value is the default.
    #[must_use]
    pub fn is_default(&self, key: &Key) -> bool {
        self.rank(key) == 0
    }

    /// Where `key` was set: the value itself, else the nearest thing around it that was written.
    #[must_use]
    pub fn locate(&self, key: &Key) -> Location<'_> {
        self.locate_part(key, Part::Value)
    }

    /// Where the name of `key` was written: for keys that should not be there.
    #[must_use]
    pub fn locate_name(&self, key: &Key) -> Location<'_> {
        self.locate_part(key, Part::Name)
    }

    fn locate_part(&self, key: &Key, part: Part) -> Location<'_> {
        let Some(layer) = self.layers.get(self.rank(key)) else {
            return Location { origin: &Origin::Default, span: None };
        };
        let span = match part {
            Part::Name => layer.places.name(key),
            Part::Value => layer.places.value(key),
        };
        Location { origin: &layer.origin, span }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Name,
    Value,
}

enum Found<'a> {
    Value(&'a Value),
    /// The layer replaces a list that would hold the key.
    ReplacedAbove,
    Nothing,
}

fn find<'a>(value: &'a Value, key: &Key) -> Found<'a> {
    let mut value = value;
    for segment in key.segments() {
        value = match value {
            Value::Dict(_, dict) => match dict.get(segment) {
                Some(child) => child,
                None => return Found::Nothing,
            },
            Value::Array(_, items) => {
                match segment.parse::<usize>().ok().and_then(|index| items.get(index)) {
                    Some(child) => child,
                    None => return Found::ReplacedAbove,
                }
            }
            _ => return Found::Nothing,
        };
    }
    Found::Value(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_messages() {
        assert_eq!(Key::from("ipmi.users.0.name").to_string(), "ipmi.users[0].name");
        assert_eq!(Key::from("a.b").parent(), Some(Key::from("a")));
        assert_eq!(Key::from("a").parent(), Some(Key::from("")));
        assert_eq!(Key::from("").parent(), None);
        assert!(Key::from("ipmi.users.0.password").is_secret());
        assert!(!Key::from("ipmi.bad_password_threshold").is_secret());
        assert!(Key::from("ipmi.users.0.bad_password_threshold").is_secret());
        assert!(!Key::from("ipmi.users.0.password_file").is_secret());
    }
}
