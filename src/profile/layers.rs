//! Layers of text to one [`Document`]: defaults < files < environment < command line.
//!
//! figment merges; around it, this module
//! - reads text from variables and flags by the type of the key that it is for, so that the
//!   password `0123` stays what it is,
//! - lets such a layer change one element of a list, while a file replaces the list,
//! - goes on after a bad value, so that it does not hide the next one.

use std::path::PathBuf;

use figment::error::{Actual, Kind as FigmentKind};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile as FigmentProfile, Provider};

use crate::profile::diagnostic::{At, Finding};
use crate::profile::document::Document;
use crate::profile::schema::{self, Kind};
use crate::profile::sources::{Key, Layer, Origin, Sources};
use crate::profile::text::{self, Format, Places, Read, Unreadable};
use crate::profile::tree::{keys, nest, put, remove};
use crate::profile::variables::{self, Convert, VARIABLES, Variable};
use crate::value::InterfaceName;

/// What the defaults depend on.
#[derive(Clone, Debug, Default)]
pub struct Ambient {
    /// Name for a machine that has none: the containerlab node name, else the host name.
    pub name: String,
    /// The user is root.
    pub root: bool,
    /// The user's runtime directory, if there is one.
    pub user_run_dir: Option<PathBuf>,
    /// The user's state directory, if there is one.
    pub user_state_dir: Option<PathBuf>,
}

/// A profile file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// Name as given.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// All that a document is made of.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// What the defaults depend on.
    pub ambient: Ambient,
    /// Profile files, the later over the earlier.
    pub files: Vec<File>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Texts of `--set` flags, the later over the earlier.
    pub sets: Vec<String>,
}

/// The merged document. Values that were found wrong stand at their defaults in it.
#[derive(Clone, Debug)]
pub struct Merged {
    /// All layers in one.
    pub document: Document,
    /// Which layer set what.
    pub sources: Sources,
    /// What is wrong with the layers.
    pub findings: Vec<Finding>,
    /// A file could not be read: the document lacks all that it says.
    pub incomplete: bool,
}

/// Merges all layers.
#[must_use]
pub fn merge(inputs: &Inputs) -> Merged {
    let mut merge = Merge {
        schema: schema::document(),
        figment: Figment::new(),
        sources: Sources::default(),
        findings: Vec::new(),
        incomplete: false,
    };
    merge.defaults(&inputs.ambient);
    for file in &inputs.files {
        merge.file(file);
    }
    merge.environment(&inputs.environment);
    for text in &inputs.sets {
        merge.flag(text);
    }
    merge.finish()
}

struct Merge {
    schema: serde_json::Value,
    figment: Figment,
    sources: Sources,
    findings: Vec<Finding>,
    incomplete: bool,
}

impl Merge {
    fn defaults(&mut self, ambient: &Ambient) {
        let mut document = Document { name: ambient.name.parse().ok(), ..Document::default() };
        if ambient.root {
            document.run_dir = Some("/var/run/qemu".into());
            document.state_dir = Some("/var/lib/qemu-bmc".into());
        }
        let value = Value::serialize(&document).expect("the document is plain data");
        self.push(Origin::Default, value.clone(), value, Places::default());
    }

    fn file(&mut self, file: &File) {
        let origin = Origin::File { name: file.name.clone(), text: file.text.clone() };
        let Some(format) = Format::of(&file.name) else {
            let message = format!("`{}` is not a profile's name", file.name);
            let finding = Finding::error(At::Nowhere, message)
                .with_help("profiles end in .toml, .yaml, .yml or .json");
            self.findings.push(finding);
            self.incomplete = true;
            return;
        };
        match text::read(format, &file.text) {
            Ok(Read { value: Value::Dict(tag, mut entries), places }) => {
                // How JSON files name their schema; editors want it, and it says nothing to us.
                entries.remove("$schema");
                let mut value = Value::Dict(tag, entries);
                let layer = value.clone();
                for key in keys(&value, &|_, value| matches!(value, Value::Empty(..))) {
                    let message = format!("`{key}` has no value");
                    let finding = Finding::error(At::Key(key.clone()), message);
                    self.findings.push(finding.with_help("write one, or leave the key out"));
                    remove(&mut value, &key);
                }
                self.push(origin, value, layer, places);
            }
            Ok(_) => {
                let at = At::Origin { origin, span: None };
                let finding = Finding::error(at, "a profile is keys with values; this is not")
                    .with_help(match format {
                        Format::Json => "write for example `{ \"name\": \"node1\" }`",
                        Format::Toml | Format::Yaml => "write for example `name: node1`",
                    });
                self.findings.push(finding);
                self.incomplete = true;
            }
            Err(Unreadable { message, span }) => {
                let at = At::Origin { origin, span };
                let message = format!("not {}: {message}", format.name());
                self.findings.push(Finding::error(at, message));
                self.incomplete = true;
            }
        }
    }

    fn environment(&mut self, environment: &[(String, String)]) {
        let mut environment: Vec<_> =
            environment.iter().filter(|(_, text)| !text.is_empty()).collect();
        // The environment has no order; ours must not depend on the one it comes in.
        environment.sort_by_cached_key(|(name, _)| in_order_of_entries(name));
        // The generic names are the more exact ones, and so they win.
        environment.sort_by_key(|(name, _)| name.starts_with(variables::GENERIC_PREFIX));
        for (name, text) in environment {
            let origin = Origin::Variable { name: name.clone(), text: text.clone() };
            if let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) {
                self.variable(variable, origin, text);
            } else if let Some(key) = variables::key_of_generic(name) {
                match schema::kind(&self.schema, &key) {
                    Some(kind) => self.text(&key, &kind, origin, text),
                    None => self.unknown_variable(name, origin),
                }
            } else if variables::PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                self.unknown_variable(name, origin);
            }
        }
    }

    fn variable(&mut self, variable: &Variable, origin: Origin, text: &str) {
        let key = Key::from(variable.key);
        let value = match variable.convert {
            Convert::ByKey => {
                let kind = schema::kind(&self.schema, &key).unwrap_or(Kind::Text);
                self.text(&key, &kind, origin, text);
                return;
            }
            Convert::BootLetters => boot_letters(text),
            Convert::KvmSwitch => boolean(text).map(|kvm| if kvm { "auto" } else { "tcg" }.into()),
            Convert::PowerOnSwitch => {
                boolean(text).map(|on| if on { "always-on" } else { "always-off" }.into())
            }
            Convert::Networks => match text.trim() {
                "none" => Ok(Value::from(Vec::<Value>::new())),
                names => {
                    let names = names.split(',').map(str::trim);
                    let nics: Result<Vec<Value>, String> = names
                        .map(|name| {
                            let name: InterfaceName = name.parse()?;
                            let name = Value::from(name.as_str());
                            Ok(Value::from(Dict::from([("interface".to_owned(), name)])))
                        })
                        .collect();
                    nics.map(Value::from)
                }
            },
            Convert::ShellWords => match shlex::split(text) {
                Some(words) => Ok(Value::from(words)),
                None => Err("a quote is not closed".to_owned()),
            },
        };
        self.set(&key, origin, value);
    }

    fn unknown_variable(&mut self, name: &str, origin: Origin) {
        let message = format!("unknown variable `{name}`; it is ignored");
        let at = At::Origin { origin, span: None };
        let mut known: Vec<String> =
            VARIABLES.iter().map(|variable| variable.name.to_owned()).collect();
        if let Some(parent) = variables::key_of_generic(name).and_then(|key| key.parent()) {
            let children = schema::children(&self.schema, &parent).into_iter();
            known.extend(children.map(|child| variables::generic_of_key(&parent.child(&child))));
        }
        let help = match variables::nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`qemu-bmc --help` lists the variables".to_owned(),
        };
        self.findings.push(Finding::warning(at, message).with_help(help));
    }

    fn flag(&mut self, text: &str) {
        let origin = Origin::Flag { text: text.to_owned() };
        let (path, value) = match text.split_once('=') {
            Some((path, value)) if Key::typed(path).segments().next().is_some() => (path, value),
            _ => {
                let at = At::Origin { origin, span: None };
                let message = "`--set` takes a key and its value, with `=` between them";
                let help = "write for example `--set machine.cpus=4`";
                self.findings.push(Finding::error(at, message).with_help(help));
                return;
            }
        };
        let key = Key::typed(path);
        let kind = schema::kind(&self.schema, &key).unwrap_or(Kind::Text);
        self.text(&key, &kind, origin, value);
    }

    /// Sets `key` to `text`, read as `kind`.
    fn text(&mut self, key: &Key, kind: &Kind, origin: Origin, text: &str) {
        let of_section = |key: &Key| schema::children(&self.schema, key);
        let value = match kind {
            Kind::Table if !is_toml(text) => {
                let keys = of_section(key).join(", ");
                Err(format!("`{key}` is a section; set one of its keys: {keys}"))
            }
            Kind::List(items) if **items == Kind::Table && !is_toml(text) => {
                let entry = key.child("0");
                let example = of_section(&entry).first().map(|name| entry.child(name));
                let example = example.unwrap_or(entry);
                Err(format!(
                    "`{key}` is a list; set a key of an entry (`{example}`), or all of it \
                             in TOML (`[]`)"
                ))
            }
            Kind::Integer => {
                read_text(kind, text).map_err(|message| match schema::range(&self.schema, key) {
                    Some((min, max)) => {
                        format!("{message}; `{key}` takes one from {min} to {max}")
                    }
                    None => message,
                })
            }
            _ => read_text(kind, text),
        };
        self.set(key, origin, value);
    }

    fn set(&mut self, key: &Key, origin: Origin, value: Result<Value, String>) {
        let places = Places::default();
        let layer = match &value {
            Ok(value) => nest(key, value.clone()),
            // Still a layer: it is what the operator meant to set.
            Err(_) => nest(key, Value::from(false)),
        };
        match value {
            Ok(value) => match self.with_element(key, value) {
                Ok(provider) => {
                    self.figment = std::mem::take(&mut self.figment).merge(provider);
                    self.sources.layers.push(Layer { origin, value: layer, places });
                }
                Err(message) => {
                    let at = At::Origin { origin, span: None };
                    self.findings.push(Finding::error(at, message));
                }
            },
            Err(message) => {
                self.sources.layers.push(Layer { origin, value: layer, places });
                self.findings.push(Finding::error(At::Key(key.clone()), message));
            }
        }
    }

    /// The top-level entry that `key` is in, as merged so far, with `value` at `key`.
    fn with_element(&self, key: &Key, value: Value) -> Result<Entry, String> {
        let segments: Vec<&str> = key.segments().collect();
        let Some((first, rest)) = segments.split_first() else {
            return Err("the key is empty".to_owned());
        };
        let mut entry = self.figment.find_value(first).ok();
        put(&mut entry, rest, value, key)?;
        let dict = entry.map(|value| ((*first).to_owned(), value)).into_iter().collect();
        Ok(Entry(dict))
    }

    /// Merges `value`; `layer` is what the operator meant to set.
    fn push(&mut self, origin: Origin, value: Value, layer: Value, places: Places) {
        let dict = value.into_dict().unwrap_or_default();
        self.figment = std::mem::take(&mut self.figment).merge(Entry(dict));
        self.sources.layers.push(Layer { origin, value: layer, places });
    }

    /// Deserialises. serde stops at the first bad value: note it, take it out, try again.
    fn finish(mut self) -> Merged {
        let mut root = Value::serialize(Dict::new()).expect("an empty dictionary is plain data");
        if let Ok(dict) = self.figment.extract::<Dict>() {
            root = Value::from(dict);
        }
        // serde takes a list for a section, each item for the next key.
        let list_for_section = |key: &Key, value: &Value| {
            matches!(value, Value::Array(..))
                && schema::kind(&self.schema, key) == Some(Kind::Table)
        };
        for key in keys(&root, &list_for_section) {
            let message = format!("`{key}` must be a section, not a list");
            let help = if key.segments().count() == 1 {
                format!("there is one `{key}`; in TOML, write `[{key}]`")
            } else {
                self.keys_of(&key)
            };
            self.findings.push(Finding::error(At::Key(key.clone()), message).with_help(help));
            remove(&mut root, &key);
        }
        let document = loop {
            let entry = Entry(root.as_dict().cloned().unwrap_or_default());
            let error = match Figment::from(entry).extract::<Document>() {
                Ok(document) => break document,
                Err(error) => error,
            };
            let path = Key::from(error.path.join("."));
            let (bad, finding) = self.explain(&path, &error.kind);
            if self.findings.iter().all(|known| known.at != finding.at) {
                self.findings.push(finding);
            }
            if !remove(&mut root, &bad) {
                // Nothing left to take out: the rest cannot be judged before this is mended.
                break Document::default();
            }
        };
        Merged {
            document,
            sources: self.sources,
            findings: self.findings,
            incomplete: self.incomplete,
        }
    }

    /// A help for who has written a key that exists at the wrong place.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let top = schema::children(&self.schema, &Key::from(""));
        if top.iter().any(|known| known == name) {
            return Some(format!("did you mean `{name}` at the top level, outside all sections?"));
        }
        let in_section = |section: &String| {
            let key = Key::from(section.as_str());
            let keys = schema::children(&self.schema, &key);
            keys.iter().any(|known| known == name).then(|| format!("`{}`", key.child(name)))
        };
        let found: Vec<String> = top.iter().filter_map(in_section).collect();
        (!found.is_empty()).then(|| format!("did you mean {}?", found.join(" or ")))
    }

    /// What can be in the section `key`, for a help.
    fn keys_of(&self, key: &Key) -> String {
        format!("its keys: {}", schema::children(&self.schema, key).join(", "))
    }

    /// What serde's error means, and the key to take out.
    fn explain(&self, path: &Key, kind: &FigmentKind) -> (Key, Finding) {
        match kind {
            FigmentKind::UnknownField(name, known) => {
                // figment's path includes the unknown name.
                let key = path.clone();
                let place = match path.parent() {
                    Some(section) if section.segments().next().is_some() => {
                        format!("in `{section}`")
                    }
                    _ => "at the top level".to_owned(),
                };
                let message = format!("unknown key `{name}` {place}");
                let nearest = variables::nearest(name, known.iter().copied());
                let help = match nearest.or_else(|| without_unit(name, known)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => self
                        .elsewhere(name)
                        .unwrap_or_else(|| format!("known keys: {}", known.join(", "))),
                };
                (key.clone(), Finding::error(At::Name(key), message).with_help(help))
            }
            FigmentKind::UnknownVariant(name, known) => {
                let message = format!("`{path}` cannot be `{name}`");
                let help = match variables::nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`? allowed: {}", known.join(", ")),
                    None => format!("allowed: {}", known.join(", ")),
                };
                (path.clone(), Finding::error(At::Key(path.clone()), message).with_help(help))
            }
            FigmentKind::InvalidType(actual, expected)
            | FigmentKind::InvalidValue(actual, expected) => {
                let found = if path.is_secret() { kind_of(actual).into() } else { shown(actual) };
                let kind = schema::kind(&self.schema, path);
                let wanted = match (&kind, schema::range(&self.schema, path)) {
                    (Some(Kind::Integer), Some((min, max))) => {
                        format!("a whole number from {min} to {max}")
                    }
                    _ => in_words(expected),
                };
                let message = format!("`{path}` must be {wanted}, not {found}");
                let help = match (kind, actual) {
                    _ if wanted == "text" => Some("put it in quotes".to_owned()),
                    (Some(Kind::Integer), Actual::Str(text)) if text.parse::<u64>().is_ok() => {
                        Some("write it without quotes".to_owned())
                    }
                    (Some(Kind::Number), Actual::Str(text)) if text.parse::<f64>().is_ok() => {
                        Some("write it without quotes".to_owned())
                    }
                    (Some(Kind::Table), _) => Some(self.keys_of(path)),
                    (Some(Kind::List(_)), _) => Some("a list stands in brackets: `[…]`".to_owned()),
                    _ => None,
                };
                let mut finding = Finding::error(At::Key(path.clone()), message);
                finding.help = help;
                (path.clone(), finding)
            }
            other => {
                let mut text = other.to_string();
                if text.starts_with("UUID parsing failed") {
                    text = "not a UUID; write for example `5a9d882d-7a74-5ead-adb8-671adc89d694`"
                        .into();
                }
                let message =
                    if path.parent().is_none() { text } else { format!("`{path}`: {text}") };
                (path.clone(), Finding::error(At::Key(path.clone()), message))
            }
        }
    }
}

/// The only key that is `name` with more words behind it, as a unit.
fn without_unit<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let has_more = |key: &&&str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
    let mut found = known.iter().filter(has_more);
    found.next().copied().filter(|_| found.next().is_none())
}

/// A value as its writer knows it.
fn shown(actual: &Actual) -> String {
    match actual {
        Actual::Bool(value) => format!("`{value}`"),
        Actual::Unsigned(number) => format!("{number}"),
        Actual::Signed(number) => format!("{number}"),
        Actual::Float(number) => format!("{number}"),
        Actual::Str(text) => format!("the text \"{text}\""),
        other => kind_of(other).to_owned(),
    }
}

/// A value without its text, for secrets.
fn kind_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Seq => "a list",
        Actual::Map => "a section",
        _ => "this",
    }
}

/// serde's names of types, as an operator would say them.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" => "a whole number".into(),
        "f64" => "a number".into(),
        "a string" | "path string" => "text".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        other if other.starts_with("struct ") => "a section".into(),
        other if other.starts_with("enum ") => "one of its names, in quotes".into(),
        other => other.trim_start_matches("expected ").to_owned(),
    }
}

/// Top-level entries as a figment provider.
struct Entry(Dict);

impl Provider for Entry {
    fn metadata(&self) -> Metadata {
        Metadata::named("layer")
    }

    fn data(&self) -> Result<Map<FigmentProfile, Dict>, figment::Error> {
        Ok(Map::from([(FigmentProfile::Default, self.0.clone())]))
    }
}

/// Text from a variable or flag is a list or section as TOML writes it.
fn is_toml(text: &str) -> bool {
    text.trim().starts_with(['[', '{'])
}

/// Text from a variable or flag, as a value of `kind`.
fn read_text(kind: &Kind, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match kind {
        Kind::Text => Ok(Value::from(text)),
        Kind::Integer => match trimmed.parse::<i64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Err(format!("`{trimmed}` is not a whole number")),
        },
        Kind::Number => match trimmed.parse::<f64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Err(format!("`{trimmed}` is not a number")),
        },
        Kind::Boolean => boolean(text).map(Value::from),
        Kind::List(_) | Kind::Table if is_toml(text) => {
            let table = format!("value = {trimmed}").parse::<toml::Table>();
            let value = table.map_err(|error| format!("not TOML: {}", error.message()))?;
            Value::serialize(&value["value"]).map_err(|error| error.to_string())
        }
        Kind::List(items) => {
            let items: Result<Vec<Value>, String> =
                trimmed.split(',').map(|item| read_text(items, item.trim())).collect();
            items.map(Value::from)
        }
        Kind::Table => Err("a section is written in TOML".to_owned()),
    }
}

/// A variable's name to sort by: entry 10 of a list comes behind entry 9.
fn in_order_of_entries(name: &str) -> Vec<(Option<usize>, String)> {
    name.split("__").map(|part| (part.parse().ok(), part.to_owned())).collect()
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{}` is neither `true` nor `false`", text.trim())),
    }
}

fn boot_letters(text: &str) -> Result<Value, String> {
    let device = |letter| match letter {
        'c' => Ok(Value::from("disk")),
        'd' => Ok(Value::from("cdrom")),
        'n' => Ok(Value::from("network")),
        other => Err(format!(
            "`{other}` is not a boot letter; write letters of `c` (disk), `d` (CD-ROM), `n` (network)"
        )),
    };
    text.trim().chars().map(device).collect::<Result<Vec<Value>, _>>().map(Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::BootDevice;

    fn merged(files: &[&str], environment: &[(&str, &str)], sets: &[&str]) -> Merged {
        let named = |(index, text): (usize, &&str)| File {
            name: format!("{index}.toml"),
            text: (*text).to_owned(),
        };
        merge(&Inputs {
            ambient: Ambient { name: "host".into(), root: true, ..Ambient::default() },
            files: files.iter().enumerate().map(named).collect(),
            environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            sets: sets.iter().map(|&text| text.into()).collect(),
        })
    }

    fn clean(files: &[&str], environment: &[(&str, &str)], sets: &[&str]) -> Merged {
        let merged = merged(files, environment, sets);
        assert_eq!(merged.findings, []);
        merged
    }

    #[test]
    fn later_layers_win() {
        let base = "[machine]\ncpus = 3\nmemory = '1GiB'";
        let node = "[machine]\ncpus = 4";
        let merged = clean(&[base, node], &[("VM_MEMORY", "512")], &["vnc.port=0"]);
        assert_eq!(merged.document.machine.cpus, 4);
        assert_eq!(merged.document.machine.memory.mib(), 512);
        assert_eq!(merged.document.vnc.port, 0);
        assert_eq!(merged.sources.rank(&Key::from("machine.cpus")), 2);
        assert!(merged.sources.is_default(&Key::from("ipmi.port")));
    }

    #[test]
    fn a_file_replaces_a_list_and_a_variable_changes_an_element() {
        let base = "[[disks]]\npath = '/a'\n[[disks]]\npath = '/b'";
        let paths = |merged: &Merged| -> Vec<String> {
            let path = |disk: &crate::profile::document::Disk| {
                disk.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
            };
            merged.document.disks.iter().map(path).collect()
        };
        assert_eq!(paths(&clean(&[], &[], &[])), ["/vm/disk.qcow2"]);
        assert_eq!(paths(&clean(&[base], &[], &[])), ["/a", "/b"]);
        assert_eq!(paths(&clean(&[base, "disks = []"], &[], &[])), [""; 0]);
        let merged = clean(&[base], &[("VM_DISK", "/c")], &["disks[2].path=/d"]);
        assert_eq!(paths(&merged), ["/c", "/b", "/d"]);
        assert_eq!(merged.sources.rank(&Key::from("disks.0.path")), 2);
        assert_eq!(merged.sources.rank(&Key::from("disks.1.path")), 1);
    }

    #[test]
    fn text_is_read_by_the_type_of_its_key() {
        for password in ["0123", "true", "1e3", "\"q\"", "[a]", "trailing ", "a=b", "{x}"] {
            let set = format!("ipmi.users.0.password={password}");
            let expected = Some(crate::value::Secret::new(password).unwrap());
            let by_flag = clean(&[], &[], &[&set]);
            assert_eq!(by_flag.document.ipmi.users[0].password, expected);
            let by_variable = clean(&[], &[("IPMI_PASS", password)], &[]);
            assert_eq!(by_variable.document.ipmi.users[0].password, expected);
        }
        let merged = clean(
            &[],
            &[("VM_BOOT", "nc"), ("QEMU_BMC__MACHINE__CPUS", "7"), ("ENABLE_KVM", "false")],
            &["boot.menu_timeout_ms=5", "debug=true"],
        );
        assert_eq!(merged.document.boot.order, [BootDevice::Network, BootDevice::Disk]);
        assert_eq!(merged.document.machine.cpus, 7);
        assert!(merged.document.debug);
        let merged = clean(&[], &[("QEMU_EXTRA_ARGS", "-name 'a b'")], &["boot.order=cdrom,disk"]);
        assert_eq!(merged.document.qemu.extra_args, ["-name", "a b"]);
        assert_eq!(merged.document.boot.order, [BootDevice::Cdrom, BootDevice::Disk]);
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let merged = clean(&[], &[("VM_CPUS", ""), ("IPMI_PASS", "")], &[]);
        assert_eq!(merged.document.machine.cpus, 2);
        assert!(merged.document.ipmi.users.is_empty());
    }

    #[test]
    fn one_bad_value_does_not_hide_the_others() {
        let file = "nmae = 'x'\n[machine]\ncpus = 'four'\nmemory = 'lots'\n[ipmi]\nport = 70000\n[vnc]\nport = 0";
        let merged = merged(
            &[file],
            &[("VM_BOOT", "cx"), ("VNC_PORT", "abc"), ("VM_MEMROY", "1")],
            &["firmware.mode=efi", "nonsense"],
        );
        let messages: Vec<&str> =
            merged.findings.iter().map(|finding| finding.message.as_str()).collect();
        for part in [
            "unknown key `nmae` at the top level",
            "`machine.cpus` must be a whole number from 1 to 255, not the text \"four\"",
            "`lots` is not a memory size",
            "`ipmi.port` must be a whole number from 1 to 65535, not 70000",
            "`x` is not a boot letter",
            "`abc` is not a whole number",
            "unknown variable `VM_MEMROY`",
            "`firmware.mode` cannot be `efi`",
            "`--set` takes a key and its value",
        ] {
            assert!(messages.iter().any(|message| message.contains(part)), "{part}: {messages:#?}");
        }
        assert_eq!(messages.len(), 9, "{messages:#?}");
    }
}
