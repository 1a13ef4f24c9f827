//! Profile files: TOML, YAML or JSON to values, with the place of each name and value.

use std::fmt;
use std::ops::Range;

use figment::value::{Dict, Empty, Tag, Value};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use toml::de::{DeTable, DeValue};

use crate::profile::sources::Key;

/// Language of a profile file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.1.
    Toml,
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

impl Format {
    /// The format of a file, by its extension.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Toml => "TOML",
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        }
    }
}

/// A text that was read. A key without a value is `Empty` in it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) value: Value,
    pub(super) places: Places,
}

/// Why a text cannot be read, and where.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) span: Option<Range<usize>>,
}

/// Byte ranges of a value and of what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    span: Option<Range<usize>>,
    inside: Inside,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// Name, its range, and the value's places.
    Entries(Vec<(String, Option<Range<usize>>, Places)>),
    Items(Vec<Places>),
}

impl Places {
    /// Range of the value at `key`, or of the innermost part of its path that is there.
    pub(super) fn value(&self, key: &Key) -> Option<Range<usize>> {
        self.find(key).1
    }

    /// Range of the name at the end of `key`, or what [`Self::value`] says.
    pub(super) fn name(&self, key: &Key) -> Option<Range<usize>> {
        let (name, value) = self.find(key);
        name.or(value)
    }

    fn find(&self, key: &Key) -> (Option<Range<usize>>, Option<Range<usize>>) {
        let mut places = self;
        let mut best = (None, None);
        for segment in key.segments() {
            let child = match &places.inside {
                Inside::Nothing => None,
                Inside::Entries(entries) => entries
                    .iter()
                    .find(|(name, ..)| name == segment)
                    .map(|(_, name, child)| (name.clone(), child)),
                Inside::Items(items) => {
                    let index = segment.parse::<usize>().ok();
                    index.and_then(|index| items.get(index)).map(|child| (None, child))
                }
            };
            let Some((name, child)) = child else { break };
            best = (name, child.span.clone());
            places = child;
        }
        best
    }
}

/// Reads a text.
pub(super) fn read(format: Format, text: &str) -> Result<Read, Unreadable> {
    match format {
        Format::Toml => read_toml(text),
        Format::Yaml => read_yaml(text),
        Format::Json => {
            // YAML takes more than JSON does; what a JSON file may say, JSON's own reader decides.
            serde_json::from_str::<serde_json::Value>(text).map_err(|error| Unreadable {
                message: without_place(&error.to_string()),
                span: Some(offset_of_line(text, error.line(), error.column())),
            })?;
            read_yaml(text)
        }
    }
}

fn read_toml(text: &str) -> Result<Read, Unreadable> {
    let unreadable = |error: toml::de::Error| Unreadable {
        message: toml_message(text, &error),
        span: error.span(),
    };
    let table: toml::Table = toml::from_str(text).map_err(unreadable)?;
    let value = Value::serialize(&table)
        .map_err(|error| Unreadable { message: error.to_string(), span: None })?;
    let places = DeTable::parse(text).map_err(unreadable)?;
    let places = Places { span: None, inside: toml_entries(places.get_ref()) };
    Ok(Read { value, places })
}

/// What is wrong. Of a value that is missing or has no quotes, the reader only says what else it
/// could have been.
fn toml_message(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(text.len(), |span| span.start);
    let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let line = before.rsplit('\n').next().unwrap_or_default();
    if !line.contains('=') || !line.trim_end().ends_with(['=', '[', ',']) {
        error.message().to_owned()
    } else if rest.starts_with(char::is_alphabetic) {
        "text has to stand in quotes".to_owned()
    } else if rest.trim_start_matches(' ').starts_with(['\n', '\r', '#']) {
        "a key without a value; write one, or leave the key out".to_owned()
    } else {
        error.message().to_owned()
    }
}

/// A message without the line and column at its end, which are shown with it.
fn without_place(message: &str) -> String {
    let place = message.rfind(" at line ").unwrap_or(message.len());
    message[..place].to_owned()
}

fn toml_entries(table: &DeTable<'_>) -> Inside {
    let entry = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let text: &std::borrow::Cow<'_, str> = name.get_ref();
        (text.to_string(), Some(name.span()), toml_places(value))
    };
    Inside::Entries(table.iter().map(entry).collect())
}

fn toml_places(value: &toml::Spanned<DeValue<'_>>) -> Places {
    let inside = match value.get_ref() {
        DeValue::Table(table) => toml_entries(table),
        DeValue::Array(items) => Inside::Items(items.iter().map(toml_places).collect()),
        _ => Inside::Nothing,
    };
    Places { span: Some(value.span()), inside }
}

fn read_yaml(text: &str) -> Result<Read, Unreadable> {
    // An empty file is an empty profile, in YAML as in TOML.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Read { value: Value::from(Dict::new()), places: Places::default() });
    }
    // A machine may be called `n`, and a user `no`: YAML 1.2 has no such booleans.
    let options = serde_saphyr::options! { strict_booleans: true };
    let item: Result<Spanned<Item>, _> = serde_saphyr::from_str_with_options(text, options);
    let item = item.map_err(|error| Unreadable {
        span: error.location().map(|location| {
            let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let (line, column) = (at(location.line()), at(location.column()));
            range(&location).unwrap_or_else(|| offset_of_line(text, line, column))
        }),
        message: {
            let message = without_place(&error.without_snippet().to_string());
            // What the operator cannot do.
            message.replace(", set DuplicateKeyPolicy in Options if acceptable", "")
        },
    })?;
    Ok(Read { value: item.value.value, places: item.value.places })
}

fn range(location: &Location) -> Option<Range<usize>> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    Some(start..start + usize::try_from(span.byte_len()?).ok()?)
}

/// A YAML value with its places.
struct Item {
    value: Value,
    places: Places,
}

impl Item {
    fn scalar(value: impl Into<Value>) -> Self {
        Self { value: value.into(), places: Places::default() }
    }
}

/// The item at a place of its own.
fn placed(item: Spanned<Item>) -> Item {
    let Spanned { value: Item { value, mut places }, referenced, .. } = item;
    places.span = range(&referenced);
    Item { value, places }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;

        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Item, E> {
                Ok(Item::scalar(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Item, E> {
                Ok(Item::scalar(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Item, E> {
                Ok(Item::scalar(value))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Item, E> {
                Ok(Item::scalar(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Item, E> {
                Ok(Item::scalar(value))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Item, E> {
                Ok(Item::scalar(Value::Empty(Tag::Default, Empty::Unit)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
                let (mut values, mut places) = (Vec::new(), Vec::new());
                while let Some(item) = seq.next_element::<Spanned<Item>>()? {
                    let item = placed(item);
                    values.push(item.value);
                    places.push(item.places);
                }
                let places = Places { span: None, inside: Inside::Items(places) };
                Ok(Item { value: values.into(), places })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let (mut values, mut places) = (Dict::new(), Vec::new());
                while let Some(name) = map.next_key::<Spanned<String>>()? {
                    let item = placed(map.next_value()?);
                    places.push((name.value.clone(), range(&name.referenced), item.places));
                    values.insert(name.value, item.value);
                }
                let places = Places { span: None, inside: Inside::Entries(places) };
                Ok(Item { value: values.into(), places })
            }
        }

        deserializer.deserialize_any(ItemVisitor)
    }
}

/// The character at a line and column, both counted from 1.
fn offset_of_line(text: &str, line: usize, column: usize) -> Range<usize> {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1));
    let start: usize = before.map(str::len).sum();
    let mut characters = text[start..].char_indices().map(|(at, _)| start + at);
    let at = characters.nth(column.saturating_sub(1)).unwrap_or(text.len());
    at..characters.next().unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "name = 'a'\n[machine]\ncpus = 4\n[[disks]]\npath = '/ü'\n";
    const YAML: &str = "# ü\nname: a\nmachine:\n  cpus: 4\ndisks:\n  - path: /ü\n";
    const JSON: &str =
        "{\n\t\"name\": \"a\", \"machine\": {\"cpus\": 4},\n\t\"disks\": [{\"path\": \"/ü\"}]}";

    #[test]
    fn all_formats_give_the_same_values_and_their_own_places() {
        for (format, text, path) in [
            (Format::Toml, TOML, "'/ü'"),
            (Format::Yaml, YAML, "/ü"),
            (Format::Json, JSON, "\"/ü\""),
        ] {
            let read = read(format, text).unwrap();
            assert_eq!(read.value.find_ref("name").and_then(Value::as_str), Some("a"));
            let part = |key: &str| read.places.value(&Key::from(key)).map(|span| &text[span]);
            assert_eq!(part("machine.cpus"), Some("4"), "{format:?}");
            assert_eq!(part("disks.0.path"), Some(path), "{format:?}");
            assert_eq!(part("nothing"), None);
            let name = read.places.name(&Key::from("machine.cpus")).map(|span| &text[span]);
            assert_eq!(name.map(|name| name.trim_matches('"')), Some("cpus"), "{format:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (format, text, line) in [
            (Format::Toml, "a = 1\nb = [", 2),
            (Format::Yaml, "a: 1\nb: [1,\n", 2),
            (Format::Yaml, "a: 1\na: 2\n", 2),
            (Format::Json, "{\"a\": 1,\n}", 2),
            (Format::Json, "a: 1", 1),
        ] {
            let error = read(format, text).unwrap_err();
            let span = error.span.expect(text);
            let found = text[..span.start].matches('\n').count() + 1;
            assert!(found >= line, "{text}: line {found}: {}", error.message);
            assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_profile() {
        for text in ["", "# only a comment\n"] {
            for format in [Format::Toml, Format::Yaml] {
                assert_eq!(
                    read(format, text).unwrap().value.as_dict().map(|dict| dict.len()),
                    Some(0)
                );
            }
        }
    }
}
