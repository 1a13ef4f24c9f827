//! Where each value of a document comes from.

use std::fmt;
use std::ops::Range;

use figment::value::Value;

/// Path of a key: names and list indexes joined by dots, such as `ipmi.users.0.name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
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

    /// The value is a secret, and so is every text that holds it.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.segments().next_back() == Some("password")
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
                Found::Value => return rank,
                Found::ReplacedAbove => return rank,
                Found::Nothing => {}
            }
        }
        0
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
        let span = match &layer.origin {
            Origin::File { text, .. } => span_in_toml(text, key, part),
            _ => None,
        };
        Location { origin: &layer.origin, span }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}

enum Found {
    Value,
    /// The layer replaces a list that would hold the key.
    ReplacedAbove,
    Nothing,
}

fn find(value: &Value, key: &Key) -> Found {
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
    Found::Value
}

/// Byte range of `key` in TOML text, or of the innermost part of its path that is there.
fn span_in_toml(text: &str, key: &Key, part: Part) -> Option<Range<usize>> {
    use toml::de::{DeTable, DeValue};
    let table = DeTable::parse(text).ok()?;
    let mut best = None;
    let mut table = Some(table.get_ref());
    let mut list: Option<&toml::de::DeArray<'_>> = None;
    for segment in key.segments() {
        let child = match (table, list) {
            (Some(entries), _) => {
                entries.get_key_value(segment).map(|(name, child)| (Some(name.span()), child))
            }
            (None, Some(items)) => {
                let index = segment.parse::<usize>().ok();
                index.and_then(|index| items.get(index)).map(|child| (None, child))
            }
            (None, None) => None,
        };
        let Some((name, child)) = child else { break };
        best = name.filter(|_| part == Part::Name).or_else(|| Some(child.span()));
        (table, list) = match child.get_ref() {
            DeValue::Table(entries) => (Some(entries), None),
            DeValue::Array(items) => (None, Some(items)),
            _ => (None, None),
        };
    }
    best
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
        assert!(!Key::from("ipmi.users.0.password_file").is_secret());
    }

    #[test]
    fn spans_reach_into_tables_and_lists() {
        let text = "name = 'a'\n[machine]\ncpus = 4\n[[disks]]\npath = '/x'\n";
        let part =
            |key: &str| span_in_toml(text, &Key::from(key), Part::Value).map(|span| &text[span]);
        let name = span_in_toml(text, &Key::from("machine.cpus"), Part::Name);
        assert_eq!(name.map(|span| &text[span]), Some("cpus"));
        assert_eq!(part("machine.cpus"), Some("4"));
        assert_eq!(part("disks.0.path"), Some("'/x'"));
        assert_eq!(part("nothing"), None);
    }
}
