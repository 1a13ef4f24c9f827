//! What a release consists of: the crate that `cargo package` makes, and the papers that go with the
//! program.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Retrieve;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn run(words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(root()).env("SOURCE_DATE_EPOCH", "1000000000");
    let output = command.output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Name and version of each crate of which the program names a source file, as panic messages
/// and the debugger's line tables do.
fn crates_in(program: &str) -> BTreeSet<(String, String)> {
    let bytes = std::fs::read(program).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let path =
        regex::Regex::new(r"/registry/src/[^/]+/([A-Za-z0-9_-]+)-([0-9][0-9A-Za-z.+-]*)[/\x00]")
            .unwrap();
    path.captures_iter(&text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

/// The schemas that CycloneDX's schema refers to, beside it.
struct Beside(PathBuf);

impl Retrieve for Beside {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name = uri.path().as_str().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(serde_json::from_str(&std::fs::read_to_string(self.0.join(name))?)?)
    }
}

#[test]
fn the_papers_tell_of_every_crate_in_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_qemu-bmc");
    let papers = |name: &str| {
        let out = folder.path().join(name);
        run(&["scripts/release-papers", out.to_str().unwrap(), program]);
        ["qemu-bmc.cdx.json", "THIRD-PARTY-NOTICES.txt"].map(|paper| read(&out.join(paper)))
    };
    let [sbom, notices] = papers("first");
    assert_eq!([sbom.clone(), notices.clone()], papers("second"), "the same every time");

    let sbom: Value = serde_json::from_str(&sbom).unwrap();
    let schemas = root().join("target/python-clients/cyclonedx/cyclonedx/schema/_res");
    let schema = read(&schemas.join("bom-1.5.SNAPSHOT.schema.json"));
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::options()
        .with_base_uri("http://cyclonedx.org/schema/bom-1.5.schema.json")
        .with_retriever(Beside(schemas))
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&sbom)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
    assert_eq!(sbom["metadata"]["timestamp"], "2001-09-09T01:46:40Z");
    let sum = run(&["sha256sum", program]);
    let hash = &sbom["metadata"]["component"]["hashes"][0]["content"];
    assert!(sum.starts_with(hash.as_str().unwrap()), "{hash}");

    let components = sbom["components"].as_array().unwrap();
    let text = |component: &Value, key: &str| component[key].as_str().unwrap().to_owned();
    let listed: BTreeSet<(String, String)> = components
        .iter()
        .map(|component| (text(component, "name"), text(component, "version")))
        .collect();
    let inside = crates_in(program);
    assert!(inside.len() > 50, "{inside:?}");
    // What is built for tests has a feature of hashbrown that only the tests' own crates switch on.
    let missing = inside.difference(&listed).filter(|(name, _)| name != "allocator-api2");
    assert_eq!(missing.collect::<Vec<_>>(), [] as [&(String, String); 0]);
    // Only the tests need these, or let others need them.
    for name in ["proptest", "allocator-api2"] {
        assert!(listed.iter().all(|(listed, _)| listed != name), "{name}");
    }
    let lock = read(&root().join("Cargo.lock"));
    for component in components.iter().filter(|component| component["name"] != "rust-std") {
        let checksum = component["hashes"][0]["content"].as_str().unwrap();
        assert!(lock.contains(&format!("checksum = \"{checksum}\"")), "{component}");
    }
    for component in components {
        let (name, version) = (text(component, "name"), text(component, "version"));
        if name == "rust-std" {
            continue;
        }
        let licence = component["licenses"][0]["expression"].as_str().unwrap();
        let line = format!("\n{name} {version}: {licence}\n");
        assert!(notices.contains(&line), "{line}");
        // Once in the list, and above a text.
        assert!(notices.matches(&format!("{name} {version}")).count() > 1, "{name} has no text");
    }
}

#[test]
fn the_crate_has_what_the_program_is_made_of_and_nothing_else() {
    let list = run(&["cargo", "package", "--list", "--locked", "--allow-dirty"]);
    let files: BTreeSet<&str> = list.lines().collect();
    for file in ["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "CHANGELOG.md"] {
        assert!(files.contains(file), "{file} is not in the crate");
    }
    let folders: BTreeSet<&str> =
        files.iter().filter_map(|file| Some(file.split_once('/')?.0)).collect();
    assert_eq!(
        folders,
        BTreeSet::from(["benches", "docs", "examples", "profiles", "schema", "src"])
    );
}

#[test]
fn the_changelog_tells_of_this_version() {
    let text = read(&root().join("CHANGELOG.md"));
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## [")).collect();
    assert!(headings[0].starts_with(&format!("{}] - ", env!("CARGO_PKG_VERSION"))), "{headings:?}");
}
