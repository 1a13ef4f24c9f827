//! QEMU's switches as values, and how each becomes arguments.
//!
//! `-device`, `-netdev`, `-blockdev` and `-object` take JSON (QEMU 6.2 and later), where a comma in
//! a path means nothing. The other switches take `key=value` lists, where a comma is doubled.

use serde_json::{Map, Value};

/// One switch of QEMU's command line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Switch {
    /// Without a value: `-nodefaults`.
    Flag(&'static str),
    /// With one value, as it is: `-kernel FILE`.
    Text(&'static str, String),
    /// With a value and a list: `-machine q35,accel=kvm`.
    List(&'static str, Vec<(&'static str, String)>),
    /// With a JSON object: `-device {…}`.
    Json(&'static str, Map<String, Value>),
    /// One of the operator's extra arguments.
    Extra(String),
}

impl Switch {
    pub(super) fn json(name: &'static str, value: Value) -> Self {
        match value {
            Value::Object(entries) => Self::Json(name, entries),
            other => unreachable!("{name} takes an object, not {other}"),
        }
    }

    /// The switch's arguments: one, or two.
    pub(super) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Flag(name) => vec![(*name).to_owned()],
            Self::Text(name, value) => vec![(*name).to_owned(), value.clone()],
            Self::List(name, entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| {
                        let value = value.replace(',', ",,");
                        if key.is_empty() { value } else { format!("{key}={value}") }
                    })
                    .collect();
                vec![(*name).to_owned(), entries.join(",")]
            }
            Self::Json(name, entries) => {
                vec![(*name).to_owned(), Value::Object(entries.clone()).to_string()]
            }
            Self::Extra(argument) => vec![argument.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commas_are_doubled_in_lists_only() {
        let list = Switch::List("-chardev", vec![("", "socket".into()), ("path", "/a,b".into())]);
        assert_eq!(list.arguments(), ["-chardev", "socket,path=/a,,b"]);
        let json = Switch::json("-blockdev", json!({ "filename": "/a,\"b" }));
        assert_eq!(json.arguments(), ["-blockdev", r#"{"filename":"/a,\"b"}"#]);
        let text = Switch::Text("-append", "console=ttyS0,115200".into());
        assert_eq!(text.arguments(), ["-append", "console=ttyS0,115200"]);
    }
}
