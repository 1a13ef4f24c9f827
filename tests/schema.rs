//! The committed schema is the generated one, and profiles in the repository fit it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};

use qemu_bmc::profile::schema;
use serde_json::Value;

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
    for wrong in ["nmae = 'x'", "machine.cpus = 'four'", "ipmi.port = 0", "boot.order = ['floppy']"]
    {
        let value: toml::Table = wrong.parse().unwrap();
        assert!(!validator.is_valid(&serde_json::to_value(value).unwrap()), "{wrong}");
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
