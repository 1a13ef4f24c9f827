//! Imports point one way: each module may use modules of lower layers only, and only the crates that
//! its row names. `docs/ARCHITECTURE.md` explains the layers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};

struct Row {
    module: &'static str,
    /// Modules of this crate that it may use.
    modules: &'static [&'static str],
    /// Crates beside std that it may use.
    crates: &'static [&'static str],
}

const fn row(
    module: &'static str,
    modules: &'static [&'static str],
    crates: &'static [&'static str],
) -> Row {
    Row { module, modules, crates }
}

/// Lowest layer first; no row may name a module that stands below it.
#[rustfmt::skip]
const LAYERS: [Row; 13] = [
    row("value", &[], &["schemars", "serde", "sha2", "thiserror", "uuid", "zeroize"]),
    row("qmp", &["value"], &["serde", "serde_json"]),
    row("wire", &[], &["bytes", "thiserror"]),
    row("console", &[], &[]),
    row("machine", &["value", "qmp"], &["serde", "thiserror"]),
    row("profile", &["value"], &["annotate_snippets", "figment", "schemars", "serde", "serde_json", "serde_saphyr", "shlex", "strsim", "toml", "uuid"]),
    row("control", &["machine"], &["serde"]),
    row("plan", &["value", "qmp", "profile", "machine"], &["schemars", "serde", "serde_json", "sha2", "shlex", "uuid"]),
    row("bmc", &["value", "wire", "console", "machine", "profile", "plan"], &["aes", "bytes", "cbc", "chacha20", "hmac", "md2", "md5", "rand_core", "serde", "serde_json", "sha1", "sha2", "subtle", "thiserror", "tracing", "zeroize"]),
    row("host", &["value", "qmp", "machine", "profile", "plan"], &["bytes", "command_fds", "fs_err", "futures_util", "getrandom", "nix", "rtnetlink", "serde", "serde_json", "sha2", "socket2", "thiserror", "tokio", "tracing", "zeroize"]),
    row("runtime", &["value", "qmp", "console", "machine", "profile", "control", "plan", "bmc", "host"], &["fs_err", "serde_json", "tokio", "tracing"]),
    row("cli", &["console", "machine", "profile", "control", "plan", "host", "runtime"], &["clap", "clap_complete", "clap_mangen", "fs_err", "serde", "serde_json", "similar", "tracing", "tracing_subscriber"]),
    row("main", &["cli"], &["qemu_bmc"]),
];

/// Words that may stand before `::` at the start of a path and are no crate.
const NO_CRATE: [&str; 5] = ["std", "core", "super", "self", "crate"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Identifiers that follow each `prefix` in a line.
fn after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).map(move |(at, _)| {
        let rest = &line[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn imports_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for path in &files {
        let relative = path.strip_prefix(&root).unwrap().display().to_string();
        let module = relative.split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let Some(row) = LAYERS.iter().find(|row| row.module == module) else {
            wrong.push(format!("{relative}: the module {module} has no row in LAYERS"));
            continue;
        };
        let is_test = relative.ends_with("tests.rs");
        let text = std::fs::read_to_string(path).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with("#[cfg(test)]") {
                break;
            }
            if line.trim_start().starts_with("//") {
                continue;
            }
            if line.contains("use crate::{") {
                wrong.push(format!("{relative}:{number}: one `use crate::module::…` per module"));
            }
            for used in after(line, "crate::").chain(after(line, "qemu_bmc::")) {
                if used != module && !row.modules.contains(&used) && !used.is_empty() {
                    wrong.push(format!("{relative}:{number}: {module} may not use {used}"));
                }
            }
            let import = line.trim_start();
            let import = import.strip_prefix("pub ").unwrap_or(import);
            let Some(used) = import.strip_prefix("use ").and_then(|rest| rest.split("::").next())
            else {
                continue;
            };
            // `use sibling::Item` of a module of the same folder.
            let sibling = path.with_file_name(format!("{used}.rs"));
            let is_sibling = path.ends_with("mod.rs")
                && (sibling.exists() || path.with_file_name(used).exists());
            let is_module_like = used.starts_with(|c: char| c.is_ascii_lowercase());
            let is_crate = is_module_like && !NO_CRATE.contains(&used) && !is_sibling;
            if is_crate && !is_test && !row.crates.contains(&used) {
                wrong.push(format!("{relative}:{number}: {module} may not use the crate {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_table_itself_points_one_way() {
    for (index, row) in LAYERS.iter().enumerate() {
        for module in row.modules {
            assert!(
                LAYERS[..index].iter().any(|lower| lower.module == *module),
                "{} uses {module}, which does not stand above it",
                row.module
            );
        }
    }
}

/// Files stay small enough to read: at most 600 lines without their tests.
#[test]
fn files_stay_small() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}
