//! Every profile in `tests/cases` and `profiles` is a case: what the program makes of it, as a user
//! reads it, is in the golden file `tests/cases/<case>.plan`, or in `<case>.err` if it is refused.
//!
//! | file | is |
//! |---|---|
//! | `<case>.toml`, `.yaml`, `.yml`, `.json` | the profile |
//! | `<case>.env` | environment: lines `NAME=VALUE`, taken as they are |
//! | `<case>.args` | command line, one word a line: `--set` and `key=value`, `--profile` and a further file of this folder's `more/`, `plan` for what `plan` does instead of `run` |
//! | `<case>.facts` | TOML: in what the host differs from one that has everything, see `case::Facts` |
//! | `<case>.plan` | golden: the warnings, then the plan as text |
//! | `<case>.err` | golden: the errors and warnings |
//!
//! `UPDATE_GOLDEN=1 cargo test --test cases` writes the golden files anew and deletes those that no
//! case has. Read the difference as a user would before you commit it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

mod case;

use std::collections::BTreeSet;
use std::path::Path;

use case::Case;
use qemu_bmc::profile::Key;
use qemu_bmc::profile::diagnostic::render;
use qemu_bmc::profile::schema::{self, Kind};

/// Every password in the cases holds this.
const SECRET: &str = "hunter2";

/// The golden file that a case ought to have: its name and its text.
fn golden(case: &Case) -> (String, String) {
    let made = case.make();
    let findings = render(&made.findings, &made.sources, false);
    match made.plan {
        Some((_, plan)) => (format!("{}.plan", case.name), findings + &plan.text()),
        None => (format!("{}.err", case.name), findings),
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}

#[test]
fn cases_are_as_they_were() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = case::all();
    let mut wanted = BTreeSet::new();
    let mut changed = String::new();
    for case in &cases {
        let (name, now) = golden(case);
        assert!(!now.contains(SECRET), "{name} shows a password:\n{now}");
        let path = case::folder().join(&name);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        if update {
            std::fs::write(&path, &now).unwrap();
        } else if before != now {
            let difference = similar::TextDiff::from_lines(&before, &now);
            let difference = difference.unified_diff().header("committed", "now").to_string();
            changed.push_str(&format!("\n{name}\n{difference}"));
        }
        wanted.insert(name);
    }
    let there = names(&case::folder());
    for name in there.iter().filter(|name| has_extension(name, &["plan", "err"])) {
        if !wanted.contains(name) && update {
            std::fs::remove_file(case::folder().join(name)).unwrap();
        } else if !wanted.contains(name) {
            changed.push_str(&format!("\n{name}\nno case gives this\n"));
        }
    }
    assert!(changed.is_empty(), "{changed}\nUPDATE_GOLDEN=1 writes the golden files anew");
}

#[test]
fn what_stands_beside_belongs_to_a_case() {
    let cases = case::all();
    let mut more = BTreeSet::new();
    for case in &cases {
        more.extend(case.inputs.files.iter().filter_map(|file| file.name.strip_prefix("more/")));
    }
    for name in names(&case::folder()) {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
        if case::BESIDE.contains(&extension) {
            assert!(cases.iter().any(|case| case.name == stem), "{name} has no case");
        }
    }
    for name in names(&case::folder().join("more")) {
        assert!(more.contains(name.as_str()), "no case names more/{name}");
    }
}

#[test]
fn there_are_enough_cases_and_a_third_are_errors() {
    let (cases, errors) = {
        let names = names(&case::folder());
        let count = |extensions: &[&str]| {
            names.iter().filter(|name| has_extension(name, extensions)).count()
        };
        (count(&["plan", "err"]), count(&["err"]))
    };
    assert!(cases >= 60, "only {cases} cases");
    assert!(errors * 3 >= cases, "only {errors} of {cases} cases are errors");
}

/// The keys in section `key`, and in all sections and lists of sections below it.
fn keys(schema: &serde_json::Value, key: &Key) -> Vec<Key> {
    let below = |name: String| match schema::kind(schema, &key.child(&name)) {
        Some(Kind::Table) => keys(schema, &key.child(&name)),
        Some(Kind::List(items)) if *items == Kind::Table => {
            keys(schema, &key.child(&name).child("0"))
        }
        _ => vec![key.child(&name)],
    };
    schema::children(schema, key).into_iter().flat_map(below).collect()
}

/// Whether `value` has something at `path`; in a list of sections, any of them will do.
fn has(value: &toml::Value, path: &[&str]) -> bool {
    match (value, path) {
        (toml::Value::Array(items), ["0", rest @ ..]) => items.iter().any(|item| has(item, rest)),
        (_, []) => true,
        (_, [name, rest @ ..]) => value.get(name).is_some_and(|value| has(value, rest)),
    }
}

#[test]
fn the_case_full_has_every_key() {
    let text = std::fs::read_to_string(case::folder().join("full.toml")).unwrap();
    let full = toml::Value::Table(text.parse().unwrap());
    let keys = keys(&schema::document(), &Key::from(""));
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        let path: Vec<&str> = key.segments().collect();
        assert!(has(&full, &path), "full.toml has no {key}");
    }
}
