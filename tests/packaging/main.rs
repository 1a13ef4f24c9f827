//! The files that package the program, held against the program: what they name exists, what they
//! set is known, what they repeat is the same.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

#[path = "../nix/mod.rs"]
mod nix;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use qemu_bmc::profile::document::Document;
use qemu_bmc::profile::layers::File;
use qemu_bmc::profile::variables::{PROFILE_VARIABLE, VARIABLES, key_of_generic};
use qemu_bmc::profile::{Ambient, Inputs, Merged, check, merge};
use serde_json::Value;

mod kubernetes;
mod topologies;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Runs the program with this environment and no other.
fn program(arguments: &[&str], environment: &[(String, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/root");
    command.envs(environment.iter().cloned()).current_dir(root()).output().unwrap()
}

fn is_known(variable: &str) -> bool {
    VARIABLES.iter().any(|known| known.name == variable)
        || variable == PROFILE_VARIABLE
        || key_of_generic(variable).is_some()
}

/// Keyword and arguments of each instruction of a Dockerfile. (The parsers on crates.io know no
/// `HEALTHCHECK`, or lose what stands in quotes.)
fn instructions(text: &str) -> Vec<(String, String)> {
    const PLAIN: &str = "ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN STOPSIGNAL \
                         VOLUME WORKDIR";
    let mut instructions = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            open.push_str(part);
            continue;
        }
        open.push_str(line);
        let (keyword, arguments) = open.split_once(' ').unwrap_or((&open, ""));
        assert!(PLAIN.split(' ').any(|plain| plain == keyword), "not plain: {open}");
        instructions.push((keyword.to_owned(), arguments.trim().to_owned()));
        open.clear();
    }
    assert_eq!(open, "", "the last line continues");
    instructions
}

struct Dockerfile(Vec<(String, String)>);

impl Dockerfile {
    fn read() -> Self {
        Self(instructions(&read("Dockerfile")))
    }

    fn all(&self, keyword: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == keyword).map(|(_, text)| text.as_str())
    }

    /// Arguments of the instruction that has to be there once.
    fn one(&self, keyword: &str) -> &str {
        let found: Vec<&str> = self.all(keyword).collect();
        assert_eq!(found.len(), 1, "{keyword}: {found:?}");
        found[0]
    }

    /// The words of an instruction in its JSON form.
    fn list(&self, keyword: &str) -> Vec<String> {
        serde_json::from_str(self.one(keyword)).unwrap()
    }

    /// What all instructions `NAME=value …` of this keyword set.
    fn pairs(&self, keyword: &str) -> Vec<(String, String)> {
        let words = self.all(keyword).flat_map(|text| shlex::split(text).unwrap());
        words.map(|word| word.split_once('=').map(|(k, v)| (k.into(), v.into())).unwrap()).collect()
    }
}

fn merged(files: &[&str], environment: &[(String, String)]) -> Merged {
    let file = |text: &&str| File { name: "p.toml".into(), text: (*text).into() };
    merge(&Inputs {
        ambient: Ambient { name: "node1".into(), root: true, ..Ambient::default() },
        files: files.iter().map(file).collect(),
        environment: environment.to_vec(),
        sets: Vec::new(),
    })
}

fn defaults() -> Document {
    merged(&[], &[]).document
}

/// The classic builder, BuildKit, Podman and kaniko can all build it.
fn assert_plain(text: &str) {
    assert!(!text.lines().any(|line| line.replace(' ', "").starts_with("#syntax=")));
    for (keyword, arguments) in instructions(text) {
        for feature in ["<<", "--link", "--mount", "--parents", "--checks"] {
            assert!(!arguments.contains(feature), "{keyword} {arguments}");
        }
    }
}

#[test]
fn the_dockerfile_is_plain() {
    assert_plain(&read("Dockerfile"));
}

#[test]
fn the_image_changes_no_default_and_outranks_no_profile() {
    let (for_scripts, environment): (Vec<_>, Vec<_>) =
        Dockerfile::read().pairs("ENV").into_iter().partition(|(name, _)| name == "SERIAL_SOCK");
    for (name, value) in &environment {
        assert!(is_known(name), "ENV {name}");
        assert_eq!(value, "", "ENV {name} would outrank every profile");
        assert!(!name.contains("PASS"), "ENV {name}: no secret in an image");
    }
    let console = defaults().run_dir.unwrap().join("console.sock");
    assert_eq!(for_scripts, [("SERIAL_SOCK".to_owned(), console.display().to_string())]);
    // Scripts look for them in the container's environment.
    for name in ["VM_MEMORY", "IPMI_USER"] {
        assert!(environment.iter().any(|(other, _)| other == name), "ENV has no {name}");
    }

    let with = merged(&[], &environment);
    assert_eq!(with.findings, []);
    let json = |document: &Document| serde_json::to_value(document).unwrap();
    assert_eq!(json(&with.document), json(&defaults()));
    let ambient = Ambient { name: "node1".into(), root: true, ..Ambient::default() };
    let (profile, findings) = check(&with.document, &with.sources, &ambient).unwrap();
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(messages, ["the IPMI user `admin` has the default password"]);
    assert!(!profile.disks[0].asked_for, "a missing default disk has to stay a warning");
}

#[test]
fn the_image_says_what_the_program_does() {
    let file = Dockerfile::read();
    let defaults = defaults();
    let entrypoint = file.list("ENTRYPOINT");
    assert_eq!(entrypoint, ["qemu-bmc"]);
    let health = file.one("HEALTHCHECK").split_once("CMD ").unwrap().1;
    let health: Vec<String> = serde_json::from_str(health).unwrap();
    assert_eq!(health[0], entrypoint[0]);
    for arguments in [&file.list("CMD")[..], &health[1..]] {
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.push("--help");
        assert!(program(&arguments, &[]).status.success(), "{arguments:?}");
    }
    assert_eq!(file.one("STOPSIGNAL"), "SIGTERM");
    assert_eq!(file.one("EXPOSE"), format!("{}/udp {}/tcp", defaults.ipmi.port, defaults.vnc.port));
    let volumes = file.list("VOLUME");
    let disk = defaults.disks[0].path.as_deref().unwrap().parent().unwrap();
    for folder in [disk, defaults.state_dir.as_deref().unwrap()] {
        assert!(volumes.iter().any(|volume| Path::new(volume) == folder), "{}", folder.display());
    }
    let labels = file.pairs("LABEL");
    let label = |name: &str| {
        let name = format!("org.opencontainers.image.{name}");
        labels.iter().find(|(other, _)| *other == name).unwrap().1.as_str()
    };
    assert_eq!(label("title"), env!("CARGO_PKG_NAME"));
    assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
}

#[test]
fn the_image_build_finds_its_files_and_its_rust() {
    let file = Dockerfile::read();
    let ignored = read(".dockerignore");
    for copy in file.all("COPY").filter(|copy| !copy.starts_with("--from=")) {
        let words: Vec<&str> = copy.split(' ').collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "COPY {source}");
            let kept = format!("!{source}");
            assert!(ignored.lines().any(|line| line == kept), ".dockerignore lacks {kept}");
        }
    }
    let bases = file.pairs("ARG");
    for from in file.all("FROM") {
        let base = from.split(' ').next().unwrap();
        assert!(bases.iter().any(|(name, _)| base == format!("${{{name}}}")), "FROM {from}");
    }
    // Not a newer one by accident, nor one too old to compile it.
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(bases.iter().any(|(_, image)| image.starts_with(&format!("rust:{rust}-"))), "{rust}");
    assert!(read("rust-toolchain.toml").contains(&format!("channel = \"{rust}.")), "{rust}");
}

/// The flake and the files that it imports.
fn nix_files() -> Vec<PathBuf> {
    let mut files = vec![root().join("flake.nix")];
    files.extend(std::fs::read_dir(root().join("nix")).unwrap().map(|entry| entry.unwrap().path()));
    assert!(files.len() > 1);
    files
}

#[test]
fn the_compose_file_fits_to_the_program() {
    let compose: Value = serde_saphyr::from_str(&read("docker-compose.yml")).unwrap();
    let scalar = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, service) in compose["services"].as_object().unwrap() {
        let variables = service["environment"].as_object().unwrap();
        let environment: Vec<(String, String)> =
            variables.iter().map(|(name, text)| (name.clone(), scalar(text))).collect();
        for (variable, _) in &environment {
            assert!(is_known(variable), "{name}: {variable}");
        }
        assert_eq!(merged(&[], &environment).findings, [], "{name}");
        assert!(service["privileged"].is_null(), "{name}");
        let advertised = scalar(&variables["IPMI_ADVERTISED_PORT"]);
        let published = format!("127.0.0.1:{advertised}:623/udp");
        let ports = service["ports"].as_array().unwrap();
        assert!(ports.iter().any(|port| *port == published.as_str()), "{name}: {published}");
    }
}

#[test]
fn the_flake_is_nix_and_finds_its_files() {
    for file in nix_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.display();
        assert_eq!(rnix::Root::parse(&text).errors(), [], "{name}");
        let paths = rnix::tokenize(&text);
        let paths = paths.filter(|(kind, _)| *kind == rnix::SyntaxKind::TOKEN_PATH_REL);
        for (_, path) in paths {
            assert!(file.parent().unwrap().join(path).exists(), "{name}: {path}");
        }
    }
    let description = format!("description = \"{}\"", env!("CARGO_PKG_DESCRIPTION"));
    assert!(read("flake.nix").contains(&description), "{description}");
}

#[test]
fn the_image_of_the_flake_is_that_of_the_dockerfile() {
    let file = Dockerfile::read();
    let config = nix::flakes().eval("oci-image.image.config", "config: config");
    let list = |key: &str| -> Vec<String> { serde_json::from_value(config[key].clone()).unwrap() };
    let keys =
        |key: &str| -> Vec<String> { config[key].as_object().unwrap().keys().cloned().collect() };
    let sorted = |mut words: Vec<String>| {
        words.sort();
        words
    };
    assert_eq!(list("Entrypoint"), file.list("ENTRYPOINT"));
    assert_eq!(list("Cmd"), file.list("CMD"));
    assert_eq!(config["StopSignal"], file.one("STOPSIGNAL"));
    assert_eq!(keys("Volumes"), sorted(file.list("VOLUME")));
    let ports = file.one("EXPOSE").split(' ').map(str::to_owned).collect();
    assert_eq!(keys("ExposedPorts"), sorted(ports));
    let environment = file.pairs("ENV").into_iter().map(|(name, value)| format!("{name}={value}"));
    assert_eq!(list("Env"), [vec!["PATH=/bin".to_owned()], environment.collect()].concat());
    for (name, value) in file.pairs("LABEL") {
        assert_eq!(config["Labels"][&name], value, "{name}");
    }

    let (options, command) = file.one("HEALTHCHECK").split_once("CMD ").unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    let health = &config["Healthcheck"];
    assert_eq!(health["Test"], serde_json::json!([vec!["CMD".to_owned()], command].concat()));
    let options = options.split_whitespace().map(|option| option.split_once('=').unwrap());
    for (option, value) in options {
        let key = match option {
            "--interval" => "Interval",
            "--timeout" => "Timeout",
            "--start-period" => "StartPeriod",
            other => panic!("{other}"),
        };
        let seconds: u64 = value.strip_suffix('s').unwrap().parse().unwrap();
        assert_eq!(health[key], seconds * 1_000_000_000, "{option}");
    }
}

#[test]
fn the_flake_is_locked() {
    let lock: Value = serde_json::from_str(&read("flake.lock")).unwrap();
    assert_eq!(lock["version"], 7);
    assert_eq!(lock["nodes"][lock["root"].as_str().unwrap()]["inputs"]["nixpkgs"], "nixpkgs");
    let nixpkgs = &lock["nodes"]["nixpkgs"];
    let locked = &nixpkgs["locked"];
    let rev = locked["rev"].as_str().unwrap();
    assert!(rev.len() == 40 && rev.bytes().all(|byte| byte.is_ascii_hexdigit()), "{rev}");
    // SHA-256 in base64: 43 digits and a filler.
    let hash = locked["narHash"].as_str().unwrap().strip_prefix("sha256-").unwrap();
    assert!(hash.len() == 44 && hash.ends_with('='), "{hash}");
    assert!(locked["lastModified"].as_u64().is_some());
    // Nix locks anew, and so needs the network, when this is not what flake.nix asks for.
    let original = &nixpkgs["original"];
    let part = |key: &str| original[key].as_str().unwrap();
    let url = format!("{}:{}/{}/{}", part("type"), part("owner"), part("repo"), part("ref"));
    assert!(read("flake.nix").contains(&format!("inputs.nixpkgs.url = \"{url}\"")), "{url}");
    for key in ["type", "owner", "repo"] {
        assert_eq!(locked[key], original[key]);
    }
}

#[test]
fn make_demo_prints_commands_that_work() {
    let profile = merged(&[&read("profiles/demo.toml")], &[]).document;
    let user = &profile.ipmi.users[0];
    let password = user.password.as_ref().unwrap().expose();
    let line = format!(
        "ipmitool -I lanplus -H 127.0.0.1 -p {} -U {} -P {} ",
        profile.ipmi.port,
        user.name.as_ref().unwrap(),
        std::str::from_utf8(password).unwrap()
    );
    assert!(read("Makefile").contains(&line), "{line}");
}
