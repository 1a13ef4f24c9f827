//! The committed schema is the generated one, and profiles in the repository fit it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use qemu_bmc::profile::schema;
use serde_json::{Value, json};

/// Profiles that a schema can find wrong.
const WRONG: [&str; 5] = [
    "nmae = 'x'",
    "machine.cpus = 'four'",
    "ipmi.port = 0",
    "boot.order = ['floppy']",
    "disks = [{ pth = '/a' }]",
];

/// Prints, for each file, what is wrong with it or that nothing is.
const VALIDATE: &str = "
import json, sys, tomllib
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    errors = [error.message for error in validator.iter_errors(tomllib.load(open(path, 'rb')))]
    print(json.dumps(errors))
";

/// A Python that has what is needed: Debian's, even if it is not the first in `PATH`.
fn python() -> &'static str {
    let able = |python: &&str| {
        let output = Command::new(python).args(["-c", "import jsonschema, tomllib"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(able);
    found.expect("no Python 3.11 with jsonschema; `scripts/setup test` installs it")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_committed_schemas_are_up_to_date() {
    for (of, text) in [("profile", schema::text()), ("plan", qemu_bmc::plan::schema())] {
        let path = root().join(format!("schema/{of}.schema.json"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "run: cargo run -- schema {of} > schema/{of}.schema.json");
    }
}

#[test]
fn every_profile_fits_the_schema_and_a_wrong_one_does_not() {
    let validator = jsonschema::validator_for(&schema::document()).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("profiles")).unwrap() {
        let path = entry.unwrap().path();
        let errors = errors(&validator, &path);
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        count += 1;
    }
    assert!(count > 0, "no profiles");
    for wrong in WRONG {
        let value: toml::Table = wrong.parse().unwrap();
        assert!(!validator.is_valid(&serde_json::to_value(value).unwrap()), "{wrong}");
    }
}

/// Editors have validators of their own; what one of them makes of the committed schema.
#[test]
fn python_says_the_same_of_every_profile() {
    let dir = tempfile::tempdir().unwrap();
    let mut profiles: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(root().join("profiles")).unwrap() {
        profiles.push(entry.unwrap().path());
    }
    let good = profiles.len();
    assert!(good > 0, "no profiles");
    for (index, wrong) in WRONG.iter().enumerate() {
        let path = dir.path().join(format!("{index}.toml"));
        std::fs::write(&path, wrong).unwrap();
        profiles.push(path);
    }
    let output = Command::new(python())
        .args(["-c", VALIDATE, "schema/profile.schema.json"])
        .args(&profiles)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), profiles.len());
    for (index, (path, errors)) in profiles.iter().zip(said).enumerate() {
        assert_eq!(errors == "[]", index < good, "{}: {errors}", path.display());
    }
}

fn errors(validator: &jsonschema::Validator, path: &Path) -> Vec<String> {
    let value: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let value: Value = serde_json::to_value(value).unwrap();
    validator.iter_errors(&value).map(|error| error.to_string()).collect()
}

#[test]
fn every_key_has_a_description() {
    fn walk(path: &str, node: &Value, missing: &mut Vec<String>) {
        let Value::Object(entries) = node else { return };
        if let Some(Value::Object(properties)) = entries.get("properties") {
            for (name, property) in properties {
                if property.get("description").is_none() {
                    missing.push(format!("{path}.{name}"));
                }
            }
        }
        for (name, child) in entries {
            walk(&format!("{path}/{name}"), child, missing);
        }
    }
    let mut missing = Vec::new();
    walk("", &schema::document(), &mut missing);
    assert!(missing.is_empty(), "{missing:?}");
}

/// Follows a reference, and takes the part of an optional value that is not `null`.
fn resolve<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    if let Some(reference) = node["$ref"].as_str() {
        return resolve(root, &root["$defs"][reference.rsplit('/').next().unwrap()]);
    }
    match node["anyOf"].as_array() {
        Some(choices) => {
            resolve(root, choices.iter().find(|choice| choice["type"] != "null").unwrap())
        }
        None => node,
    }
}

/// A key of a profile and what the schema says of it.
struct Leaf<'a> {
    key: String,
    property: &'a Value,
    default: Option<&'a Value>,
    required: bool,
}

/// All keys in a section and in the sections below it that are no sections themselves.
fn leaves<'a>(
    root: &'a Value,
    prefix: &str,
    node: &'a Value,
    defaults: &'a Value,
    found: &mut Vec<Leaf<'a>>,
) {
    for (name, property) in node["properties"].as_object().unwrap() {
        let key = format!("{prefix}{name}");
        let default = property.get("default").or_else(|| defaults.get(name));
        let target = resolve(root, property);
        if target.get("properties").is_some() {
            leaves(root, &format!("{key}."), target, default.unwrap_or(&Value::Null), found);
            continue;
        }
        if let Some(item) = target.get("items").map(|items| resolve(root, items))
            && item.get("properties").is_some()
        {
            leaves(root, &format!("{key}[]."), item, &Value::Null, found);
            continue;
        }
        let required =
            node["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
        found.push(Leaf { key, property, default, required });
    }
}

/// What a reader has to know of a key: what it is when nobody sets it, what it can look like, and
/// what its number counts.
#[test]
fn every_key_has_an_example_a_default_and_a_unit() {
    let root = schema::document();
    let mut found = Vec::new();
    leaves(&root, "", &root, &Value::Null, &mut found);
    assert!(found.len() > 20, "only {} keys", found.len());
    let mut wrong = Vec::new();
    for Leaf { key, property, default, required } in found {
        let description = property["description"].as_str().unwrap_or_default();
        let says = |words: &[&str]| words.iter().any(|word| description.contains(word));
        if description.is_empty() {
            wrong.push(format!("{key} has no description"));
        }
        let stated = says(&["Default", "Required"]);
        if !required && !stated && default.is_none_or(Value::is_null) {
            wrong.push(format!("{key} has no default, and says neither `Default:` nor `Required`"));
        }
        let name = key.rsplit('.').next().unwrap();
        let is_integer = match &resolve(&root, property)["type"] {
            Value::String(only) => only == "integer",
            Value::Array(several) => several.contains(&json!("integer")),
            _ => false,
        };
        let in_name = ["_s", "_ms", "_mbps", "_mib", "_kib", "_bytes"]
            .iter()
            .any(|unit| name.ends_with(unit))
            || name.split('_').any(|word| word == "port");
        let in_words = says(&["second", "byte", "KiB", "MiB", "GiB", "percent", "umber of"]);
        if is_integer && !in_name && !in_words {
            wrong.push(format!("{key} says not what it counts"));
        }
        let mut own = property.as_object().unwrap().clone();
        own.insert("$defs".into(), root["$defs"].clone());
        let validator = jsonschema::validator_for(&Value::Object(own)).unwrap();
        match property["examples"].as_array() {
            None => wrong.push(format!("{key} has no example")),
            Some(examples) => {
                if examples.is_empty() || examples.contains(&Value::Null) {
                    wrong.push(format!("{key} has an empty example"));
                }
                for example in examples {
                    for error in validator.iter_errors(example) {
                        wrong.push(format!("{key} has a wrong example: {error}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
