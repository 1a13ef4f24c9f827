//! The JSON Schema of a profile, and what it says of a key's type.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::profile::Document;
use crate::profile::sources::Key;

/// The schema as committed under `schema/`: pretty-printed, with a newline at the end.
#[must_use]
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// The schema as a JSON value.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<Document>().to_value();
    if let Some(entries) = schema.as_object_mut() {
        // How a JSON profile names its schema to an editor; no key of ours.
        entries.insert("patternProperties".into(), json!({ "^\\$schema$": { "type": "string" } }));
    }
    schema
}

/// What kind of value a key takes: how text from a variable or flag is to be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text, taken as it is.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list of values of one kind.
    List(Box<Self>),
    /// A section.
    Table,
}

/// The kind of `key`, or `None` if there is no such key in `schema` (from [`document`]).
#[must_use]
pub fn kind(schema: &Value, key: &Key) -> Option<Kind> {
    find(schema, key).map(|node| kind_of(schema, node))
}

/// What the schema says of `key`.
fn find<'a>(schema: &'a Value, key: &Key) -> Option<&'a Value> {
    let mut node = schema;
    for segment in key.segments() {
        node = match segment.parse::<usize>() {
            Ok(_) => node.get("items")?,
            Err(_) => node.get("properties")?.get(segment)?,
        };
        node = resolve(schema, node);
    }
    Some(node)
}

/// The smallest and the largest number that `key` takes, if the schema limits both.
#[must_use]
pub fn range(schema: &Value, key: &Key) -> Option<(u64, u64)> {
    let node = find(schema, key)?;
    Some((node.get("minimum")?.as_u64()?, node.get("maximum")?.as_u64()?))
}

/// The values that `key`, or each entry of that list, takes, if the schema lists them.
#[must_use]
pub fn choices(schema: &Value, key: &Key) -> Vec<String> {
    let node = find(schema, key).unwrap_or(&Value::Null);
    let node = node.get("items").map_or(node, |items| resolve(schema, items));
    let named = |name: &str| node.get(name).and_then(Value::as_array).into_iter().flatten();
    let constants = named("oneOf").filter_map(|choice| choice.get("const"));
    let values = named("enum").chain(constants).filter_map(Value::as_str);
    values.map(str::to_owned).collect()
}

/// What the schema says of `key` in words, if there is such a key.
#[must_use]
pub fn description(schema: &Value, key: &Key) -> Option<String> {
    let name = key.segments().next_back()?;
    let node = find(schema, &key.parent()?)?;
    let node = node.get("properties")?.get(name)?;
    node.get("description")?.as_str().map(str::to_owned)
}

/// The names of the keys in section `key`.
#[must_use]
pub fn children(schema: &Value, key: &Key) -> Vec<String> {
    let properties = find(schema, key).and_then(|node| node.get("properties")?.as_object());
    properties.map(|entries| entries.keys().cloned().collect()).unwrap_or_default()
}

fn kind_of(schema: &Value, node: &Value) -> Kind {
    let node = resolve(schema, node);
    let has = |name: &str| match node.get("type") {
        Some(Value::String(text)) => text == name,
        Some(Value::Array(names)) => names.iter().any(|entry| entry == name),
        _ => false,
    };
    if has("string") {
        Kind::Text
    } else if has("integer") {
        Kind::Integer
    } else if has("number") {
        Kind::Number
    } else if has("boolean") {
        Kind::Boolean
    } else if has("array") {
        let items = node.get("items").unwrap_or(&Value::Null);
        Kind::List(Box::new(kind_of(schema, items)))
    } else if has("object") {
        Kind::Table
    } else {
        // Enumerations with a description for each value have no type: `oneOf` constants.
        Kind::Text
    }
}

/// Follows references, and takes the part of an optional value that is not `null`.
fn resolve<'a>(schema: &'a Value, mut node: &'a Value) -> &'a Value {
    loop {
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            node = schema.get("$defs").and_then(|defs| defs.get(name)).unwrap_or(&Value::Null);
        } else if let Some(Value::Array(choices)) = node.get("anyOf") {
            let real = |choice: &&Value| choice.get("type").is_none_or(|kind| kind != "null");
            node = choices.iter().find(real).unwrap_or(&Value::Null);
        } else {
            return node;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_of_keys() {
        let schema = document();
        let choices = |key: &str| choices(&schema, &Key::from(key));
        assert_eq!(choices("firmware.mode"), ["bios", "uefi"]);
        assert_eq!(choices("nics.0.wiring"), ["tc", "bridge", "macvtap", "auto", "user"]);
        assert_eq!(choices("ipmi.v15"), ["md5", "md2", "password", "none"]);
        assert_eq!(choices("machine.cpus"), [""; 0]);
    }

    #[test]
    fn kinds_of_keys() {
        let schema = document();
        let kind = |key: &str| kind(&schema, &Key::from(key));
        assert_eq!(kind("machine.memory"), Some(Kind::Text));
        assert_eq!(kind("machine.cpus"), Some(Kind::Integer));
        assert_eq!(kind("machine.accel"), Some(Kind::Text));
        assert_eq!(kind("debug"), Some(Kind::Boolean));
        assert_eq!(kind("sensors.0.value"), Some(Kind::Number));
        assert_eq!(kind("sensors.0.per.cpu_percent"), Some(Kind::Number));
        assert_eq!(kind("ipmi.advertised_port"), Some(Kind::Integer));
        assert_eq!(kind("ipmi.users.0.password"), Some(Kind::Text));
        assert_eq!(kind("kernel.path"), Some(Kind::Text));
        assert_eq!(kind("boot.order"), Some(Kind::List(Box::new(Kind::Text))));
        assert_eq!(kind("nics"), Some(Kind::List(Box::new(Kind::Table))));
        assert_eq!(kind("ipmi"), Some(Kind::Table));
        assert_eq!(kind("machine.memroy"), None);
        assert_eq!(kind("machine.memory.x"), None);
    }
}
