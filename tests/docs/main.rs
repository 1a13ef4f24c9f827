//! `docs/profile.md`, `docs/environment.md` and `docs/ipmi.md` are made from the schema and from the
//! tables of variables and of IPMI commands. `UPDATE_GOLDEN=1 cargo test --test docs` writes them anew.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::fmt::Write as _;
use std::path::Path;

use qemu_bmc::bmc::{Channels, CommandInfo, commands};
use qemu_bmc::profile::schema;
use qemu_bmc::profile::variables::{Convert, PROFILE_VARIABLE, VARIABLES};
use qemu_bmc::wire::code::{NetFn, Privilege};
use serde_json::Value;

mod pages;

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "docs/{name} is not up to date; UPDATE_GOLDEN=1 writes it");
}

/// Follows a reference, and takes the part of an optional value that is not `null`.
fn resolve<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    if let Some(Value::String(reference)) = node.get("$ref") {
        return resolve(root, &root["$defs"][reference.rsplit('/').next().unwrap()]);
    }
    match node.get("anyOf") {
        Some(Value::Array(choices)) => {
            let real = choices.iter().find(|choice| choice["type"] != "null").unwrap();
            resolve(root, real)
        }
        _ => node,
    }
}

/// What may be written for a value, in words.
fn kind(root: &Value, node: &Value) -> String {
    let node = resolve(root, node);
    let names = node.get("enum").and_then(Value::as_array).cloned();
    let names = names.or_else(|| {
        let choices = node.get("oneOf")?.as_array()?;
        Some(choices.iter().filter_map(|choice| choice.get("const").cloned()).collect())
    });
    if let Some(names) = names {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        return names.join(", ");
    }
    let types: Vec<&str> = match &node["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("a value without a type: {other}"),
    };
    let words: Vec<String> = types
        .iter()
        .filter(|name| **name != "null")
        .map(|name| match *name {
            "string" => "text".to_owned(),
            "boolean" => "`true`, `false`".to_owned(),
            "number" => "number".to_owned(),
            "integer" => match (node.get("minimum"), node.get("maximum")) {
                (Some(min), Some(max)) => format!("{min} to {max}"),
                (None, Some(max)) => format!("0 to {max}"),
                _ => "whole number".to_owned(),
            },
            "array" => format!("list of {}", kind(root, &node["items"])),
            other => other.to_owned(),
        })
        .collect();
    words.join(" or ")
}

fn one_line(text: &Value) -> String {
    text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The table of a section, and the sections in it. Examples have a column where there are any.
fn section(root: &Value, node: &Value, defaults: &Value, out: &mut String) {
    let is_section = |property: &&Value| {
        let target = resolve(root, property);
        let items = target.get("items").map(|items| resolve(root, items));
        [Some(target), items].into_iter().flatten().any(|node| node.get("properties").is_some())
    };
    let properties = node["properties"].as_object().unwrap().iter();
    let keys: Vec<(&String, &Value)> =
        properties.filter(|(_, property)| !is_section(property)).collect();
    let examples = keys.iter().any(|(_, property)| property.get("examples").is_some());
    let (title, line) = if examples { (" example |", "---|") } else { ("", "") };
    let _ = writeln!(out, "| key | value | default |{title} meaning |\n|---|---|---|{line}---|");
    for (name, property) in keys {
        let code = |value: Option<&Value>| match value {
            Some(Value::Null) | None => "–".to_owned(),
            Some(value) => format!("`{value}`").replace('|', "\\|"),
        };
        let default = code(property.get("default").or_else(|| defaults.get(name)));
        let example = code(property["examples"].get(0));
        let example = if examples { format!(" {example} |") } else { String::new() };
        let kind = kind(root, property).replace('|', "\\|");
        let meaning = one_line(&property["description"]).replace('|', "\\|");
        let _ = writeln!(out, "| `{name}` | {kind} | {default} |{example} {meaning} |");
    }
}

#[test]
fn the_profile_reference_is_up_to_date() {
    let root = schema::document();
    let mut out = String::from(
        "# Profile reference\n\nMade from the JSON Schema, `schema/profile.schema.json`. Files are \
         TOML, YAML or JSON, by their extension.\n\n## Top level\n\n",
    );
    section(&root, &root, &Value::Null, &mut out);
    let mut sections: Vec<(String, &Value, &Value)> = Vec::new();
    for (name, property) in root["properties"].as_object().unwrap() {
        sections.push((name.clone(), property, property.get("default").unwrap_or(&Value::Null)));
    }
    while !sections.is_empty() {
        let (name, property, defaults) = sections.remove(0);
        let target = resolve(&root, property);
        let item = target.get("items").map(|items| resolve(&root, items));
        let (title, node) = match item {
            Some(item) if item.get("properties").is_some() => (format!("[[{name}]]"), item),
            _ if target.get("properties").is_some() => (format!("[{name}]"), target),
            _ => continue,
        };
        let _ = writeln!(out, "\n## `{title}`\n\n{}\n", one_line(&property["description"]));
        section(&root, node, defaults, &mut out);
        for (inner, property) in node["properties"].as_object().unwrap() {
            sections.push((format!("{name}.{inner}"), property, &Value::Null));
        }
    }
    compare("profile.md", &out);
}

#[test]
fn the_environment_reference_is_up_to_date() {
    let mut out = String::from(
        "# Environment variables\n\nA variable that is set to the empty string counts as unset. \
         Values are taken as text and read by the type of their key, so the password `0123` stays \
         what it is. Variables win over profile files, and `--set` wins over variables.\n\n\
         | variable | key | meaning [default] |\n|---|---|---|\n",
    );
    for variable in VARIABLES {
        let key = match variable.convert {
            Convert::ByKey => format!("`{}`", variable.key),
            _ => format!("`{}`, in words of its own", variable.key),
        };
        let _ = writeln!(out, "| `{}` | {key} | {} |", variable.name, variable.help);
    }
    let _ = write!(
        out,
        "| `{PROFILE_VARIABLE}` | – | profile files, separated by colons, if no `--profile` is given |\n\
         | `QEMU_BMC__SECTION__KEY` | any | sets the key: `QEMU_BMC__IPMI__PORT=6230`, \
         `QEMU_BMC__DISKS__0__PATH=/vm/a.qcow2`, `QEMU_BMC__BOOT__ORDER=network,disk` |\n\n\
         A variable whose name begins with `VM_`, `IPMI_` or `QEMU_BMC__` and is none of these is \
         warned of.\n",
    );
    compare("environment.md", &out);
}

#[test]
fn the_readme_names_every_profile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    for entry in std::fs::read_dir(root.join("profiles")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("\n| `{name}` | ")), "README.md lacks {name}");
    }
}

/// Title of a network function's commands (v2.0 table 5-1).
fn title(net_fn: NetFn) -> &'static str {
    match net_fn {
        NetFn::CHASSIS => "Chassis",
        NetFn::BRIDGE => "Bridge",
        NetFn::SENSOR_EVENT => "Sensor/Event",
        NetFn::APP => "Application",
        NetFn::FIRMWARE => "Firmware",
        NetFn::STORAGE => "Storage",
        NetFn::TRANSPORT => "Transport",
        NetFn::GROUP_EXTENSION => "Group extension: DCMI (first data byte DCh)",
        NetFn::OEM_GROUP => "OEM/Group",
        other => panic!("{other:?} needs a title"),
    }
}

#[test]
fn the_command_reference_is_up_to_date() {
    let mut out = String::from(
        "# IPMI commands\n\nMade from the table of commands. Sections are those of the IPMI v2.0 \
         specification, or of the DCMI 1.5 specification for its commands.\n\n\
         - **Privilege**: what the session must have at this moment; less is answered with D4h. \
         *before login*: answered outside a session, too.\n\
         - **Channels**: *LAN*: makes sense in a session only, and is refused in-band.\n\
         - **Kept**: the answer is kept, and a repeated request gets it again and is not run \
         twice.\n\n\
         What is not in this list is answered with C1h (invalid command) whatever the privilege; \
         a wrong length with C7h, and a LUN other than 0 with C2h.\n",
    );
    let mut net_fn = None;
    for CommandInfo { net_fn: of, command, name, section, privilege, channels, effect } in
        commands()
    {
        if net_fn.replace(of) != Some(of) {
            let _ = write!(
                out,
                "\n## {} ({:02X}h)\n\n| command | name | section | privilege | channels | kept |\n\
                 |---|---|---|---|---|---|\n",
                title(of),
                of.0
            );
        }
        let privilege = match privilege {
            None => "*before login*",
            Some(Privilege::CALLBACK) => "callback",
            Some(Privilege::USER) => "user",
            Some(Privilege::OPERATOR) => "operator",
            Some(Privilege::ADMINISTRATOR) => "administrator",
            Some(other) => panic!("{other:?} needs a name"),
        };
        let channels = match channels {
            Channels::All => "all",
            Channels::Lan => "LAN",
        };
        let kept = if effect { "yes" } else { "" };
        let _ = writeln!(
            out,
            "| {command:02X}h | {name} | {section} | {privilege} | {channels} | {kept} |"
        );
    }
    compare("ipmi.md", &out);
}
