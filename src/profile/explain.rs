//! Every effective value, the layer that set it, and what it overrode.

use std::fmt::Write as _;

use figment::value::Value;

use crate::profile::diagnostic;
use crate::profile::layers::Merged;
use crate::profile::schema;
use crate::profile::sources::Key;

/// Text for `explain`: all keys, or `only` and what is in it. `None` if there is no such key.
///
/// A key that nobody has set and that has no default is not there; nor is any secret.
#[must_use]
pub fn explain(merged: &Merged, only: Option<&Key>) -> Option<String> {
    let mut leaves = Vec::new();
    let effective = Value::serialize(&merged.document).expect("the document is plain data");
    flatten(&Key::from(""), &effective, &mut leaves);
    leaves.retain(|(key, _)| only.is_none_or(|only| only.contains(key)));
    if leaves.is_empty() {
        let key = only?;
        let words = schema::description(&schema::document(), key)?;
        let words: Vec<&str> = words.split_whitespace().collect();
        return Some(format!("{key} is not set: {}\n", words.join(" ")));
    }
    let shown: Vec<(String, Vec<String>)> = leaves
        .iter()
        .map(|(key, value)| {
            let text = format!("{key} = {}", shown(key, value));
            let history = merged.sources.history(key);
            let mut history = history
                .into_iter()
                .map(|(layer, value)| (diagnostic::origin_line(layer, key), shown(key, value)));
            let mut lines: Vec<String> =
                history.next().map(|(origin, _)| origin).into_iter().collect();
            lines.extend(history.map(|(origin, value)| format!("over {value}, {origin}")));
            if lines.is_empty() {
                lines.push("default".to_owned());
            }
            (text, lines)
        })
        .collect();
    let width = shown.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0).min(48);
    let mut out = String::new();
    for (text, lines) in shown {
        let mut text = text.as_str();
        for line in lines {
            let _ = writeln!(out, "{text:width$}  {line}");
            text = "";
        }
    }
    Some(out)
}

fn shown(key: &Key, value: &Value) -> String {
    if key.is_secret() {
        return "<secret>".to_owned();
    }
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => match (number.to_u128(), number.to_i128(), number.to_f64()) {
            (Some(number), ..) => number.to_string(),
            (_, Some(number), _) => number.to_string(),
            (_, _, Some(number)) => number.to_string(),
            _ => "?".to_owned(),
        },
        Value::Array(_, items) => {
            let items: Vec<String> = items.iter().map(|item| shown(key, item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Dict(_, entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{name} = {}", shown(&key.child(name), value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        _ => "?".to_owned(),
    }
}

/// Values that stand for themselves: scalars, lists of scalars, and empty lists.
fn flatten(key: &Key, value: &Value, leaves: &mut Vec<(Key, Value)>) {
    match value {
        Value::Dict(_, entries) => {
            for (name, value) in entries {
                flatten(&key.child(name), value, leaves);
            }
        }
        Value::Array(_, items) if items.iter().any(|item| item.as_dict().is_some()) => {
            for (index, value) in items.iter().enumerate() {
                flatten(&key.child(&index.to_string()), value, leaves);
            }
        }
        _ => leaves.push((key.clone(), value.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::layers::{Ambient, File, Inputs, merge};

    fn merged() -> Merged {
        merge(&Inputs {
            ambient: Ambient { name: "host".into(), root: true, ..Ambient::default() },
            files: vec![
                File { name: "base.toml".into(), text: "[machine]\ncpus = 3".into() },
                File { name: "node.yaml".into(), text: "machine:\n  cpus: 4\n".into() },
            ],
            environment: vec![("IPMI_PASS".into(), "hunter2".into())],
            sets: vec!["machine.cpus=5".into()],
        })
    }

    #[test]
    fn each_layer_that_set_a_key_is_named_the_highest_first() {
        let text = explain(&merged(), Some(&Key::from("machine.cpus"))).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "machine.cpus = 5  --set machine.cpus",
                "over 4, node.yaml:2:9",
                "over 3, base.toml:2:8",
                "over 2, default",
            ]
        );
    }

    #[test]
    fn all_keys_and_no_secret() {
        let text = explain(&merged(), None).unwrap();
        assert!(text.contains("ipmi.port = 623"));
        assert!(text.contains("boot.order = [\"disk\"]"));
        assert!(text.contains("ipmi.users[0].password = <secret>"));
        assert!(!text.contains("hunter2"));
        assert_eq!(explain(&merged(), Some(&Key::from("machine.memroy"))), None);
    }
}
