//! The cases of `tests/cases`: what each hands to the program, and the host it stands on. How they
//! are written is told in `tests/cases.rs`.
#![allow(dead_code, reason = "each test that has this module uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use qemu_bmc::plan::facts::{Access, FileFact, UefiFiles};
use qemu_bmc::plan::{HostFacts, Made, RunAs, make};
use qemu_bmc::profile::layers::File;
use qemu_bmc::profile::{Ambient, Document, Inputs, load, merge};
use qemu_bmc::value::{ImageFormat, Sha256Sum};
use serde::Deserialize;

/// Profiles that are cases, and what the names of their golden files begin with.
const FOLDERS: [(&str, &str); 2] = [("tests/cases", ""), ("profiles", "profile-")];
/// What may stand beside a case.
pub(crate) const BESIDE: [&str; 3] = ["env", "args", "facts"];
/// Extensions of profiles.
const PROFILES: [&str; 4] = ["toml", "yaml", "yml", "json"];

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// Name of its golden file, without extension.
    pub(crate) name: String,
    /// What it hands to the program.
    pub(crate) inputs: Inputs,
    /// `run`, not `plan`.
    pub(crate) strict: bool,
    /// Its host, as far as it is not like every other.
    pub(crate) facts: Facts,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where golden files are.
pub(crate) fn folder() -> PathBuf {
    root().join("tests/cases")
}

/// All cases, by name.
pub(crate) fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = FOLDERS
        .iter()
        .flat_map(|(folder, prefix)| {
            let entries = std::fs::read_dir(root().join(folder)).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| is_profile(path));
            paths.map(move |path| Case::read(&path, prefix))
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    for pair in cases.windows(2) {
        assert_ne!(pair[0].name, pair[1].name, "two cases of one name");
    }
    cases
}

fn is_profile(path: &Path) -> bool {
    path.extension().is_some_and(|found| PROFILES.iter().any(|known| found == *known))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Case {
    /// Reads the case of the profile `path` with what stands beside it.
    pub(crate) fn read(path: &Path, prefix: &str) -> Self {
        let name = format!("{prefix}{}", path.file_stem().unwrap().display());
        let beside = |extension: &str| {
            let path = folder().join(format!("{name}.{extension}"));
            if path.exists() { text(&path) } else { String::new() }
        };
        let facts = Facts::read(&name, &beside("facts"));
        let arguments = beside("args");
        // As its user would name it, wherever the repository is.
        let file = File { name: path.file_name().unwrap().display().to_string(), text: text(path) };
        let mut case = Self {
            inputs: Inputs {
                ambient: facts.ambient.clone().into(),
                files: vec![file],
                environment: variables(&name, &beside("env")),
                sets: Vec::new(),
            },
            strict: true,
            facts,
            name,
        };
        case.arguments(&arguments);
        case
    }

    /// What the command line says, one word a line.
    fn arguments(&mut self, text: &str) {
        let mut words = text.lines();
        while let Some(word) = words.next() {
            let mut value = || {
                words.next().unwrap_or_else(|| panic!("{}.args: nothing after {word}", self.name))
            };
            match word {
                "plan" => self.strict = false,
                "--set" => self.inputs.sets.push(value().to_owned()),
                "--profile" => {
                    let name = value().to_owned();
                    let text = self::text(&folder().join(&name));
                    self.inputs.files.push(File { name, text });
                }
                other => panic!("{}.args: {other}: only `plan`, `--set`, `--profile`", self.name),
            }
        }
    }

    /// What the program makes of it on its host.
    /// The host that the case is for.
    #[allow(dead_code, reason = "for the end-to-end tests")]
    pub(crate) fn host(&self) -> HostFacts {
        self.facts.host(&merge(&self.inputs).document)
    }

    pub(crate) fn make(&self) -> Made {
        let document = merge(&self.inputs).document;
        let facts = self.facts.host(&document);
        let known = |path: &PathBuf| facts.files.contains_key(path);
        for path in self.facts.files.keys() {
            assert!(
                known(path) && texts(&document).iter().any(|text| path_is_of(path, text)),
                "{}.facts: the profile does not name {}",
                self.name,
                path.display()
            );
        }
        for path in self.facts.bad_password_files.keys() {
            let named = texts(&document).iter().any(|text| Path::new(text) == path);
            assert!(named, "{}.facts: no password is in {}", self.name, path.display());
        }
        make(load(&self.inputs, Vec::new()), self.strict, |_| facts)
    }
}

/// `NAME=VALUE` lines.
fn variables(case: &str, text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(|line| {
            let pair = line.split_once('=');
            let (name, value) = pair.unwrap_or_else(|| panic!("{case}.env: {line}: no `=`"));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// What a `.facts` file says: how this host differs from one that has everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Facts {
    ambient: Surroundings,
    /// Why KVM is not usable.
    kvm: Option<Unusable>,
    qemu: Missing,
    /// The user to run QEMU as, or why there is none.
    run_as: Option<User>,
    /// What QEMU lists; not given: some of each.
    machine_types: Option<Vec<String>>,
    cpu_models: Option<Vec<String>>,
    uefi: Missing,
    uefi_secure: Missing,
    swtpm: Missing,
    /// Files that the profile names, and their directories.
    pub(crate) files: BTreeMap<PathBuf, Fact>,
    /// Those of its paths that are other ones.
    real_paths: BTreeMap<PathBuf, PathBuf>,
    /// Password files that cannot be used, and why.
    bad_password_files: BTreeMap<PathBuf, String>,
    /// Sums of files; not given: what the profile expects.
    sha256: BTreeMap<PathBuf, Sha256Sum>,
    /// Sizes of the disks below overlays.
    disk_bytes: BTreeMap<PathBuf, u64>,
    /// Network interfaces; not given: `lo` and `eth0`.
    interfaces: Option<Vec<String>>,
    clab_links: Option<u32>,
    /// Why TAP devices cannot be made.
    tap: Option<Unusable>,
    /// There is `/dev/vhost-net`.
    vhost_net: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unusable {
    reason: String,
    help: String,
}

/// A user to run QEMU as. Not given: `nobody`, with the group that may use KVM.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum User {
    /// The present one.
    Same,
    Other {
        name: String,
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
    },
    /// Why not.
    Impossible(String),
}

/// Such as `qemu = "missing"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    #[default]
    #[serde(skip)]
    There,
    Missing,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Fact {
    Missing,
    Directory,
    BlockDevice,
    Special,
    Unreadable(String),
    Raw,
    Qcow2,
    Vmdk,
    Vhdx,
    Vdi,
}

/// What the defaults depend on. Not given: those of root on a host called `host`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Surroundings {
    name: String,
    root: bool,
    user_run_dir: Option<PathBuf>,
    user_state_dir: Option<PathBuf>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { name: "host".into(), root: true, user_run_dir: None, user_state_dir: None }
    }
}

impl User {
    fn nobody() -> Self {
        Self::Other { name: "nobody".into(), uid: 65534, gid: 65534, groups: vec![105] }
    }
}

impl From<Surroundings> for Ambient {
    fn from(surroundings: Surroundings) -> Self {
        let Surroundings { name, root, user_run_dir, user_state_dir } = surroundings;
        Self { name, root, user_run_dir, user_state_dir }
    }
}

impl From<Fact> for FileFact {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Missing => Self::Missing,
            Fact::Directory => Self::Directory,
            Fact::BlockDevice => Self::BlockDevice,
            Fact::Special => Self::Special,
            Fact::Unreadable(reason) => Self::Unreadable(reason),
            Fact::Raw => Self::File(ImageFormat::Raw),
            Fact::Qcow2 => Self::File(ImageFormat::Qcow2),
            Fact::Vmdk => Self::File(ImageFormat::Vmdk),
            Fact::Vhdx => Self::File(ImageFormat::Vhdx),
            Fact::Vdi => Self::File(ImageFormat::Vdi),
        }
    }
}

impl Facts {
    fn read(case: &str, text: &str) -> Self {
        toml::from_str(text).unwrap_or_else(|error| panic!("{case}.facts: {error}"))
    }

    /// The host: it has KVM, QEMU, OVMF, swtpm, and every file that the document names, unless this says
    /// otherwise.
    pub(crate) fn host(&self, document: &Document) -> HostFacts {
        let mut files = BTreeMap::new();
        for text in texts(document) {
            let path = PathBuf::from(text);
            if let Some(parent) = parent(&path) {
                files.entry(parent).or_insert(FileFact::Directory);
            }
            let fact = ordinary(&path);
            files.insert(path, fact);
        }
        files.extend(self.files.iter().map(|(path, fact)| (path.clone(), fact.clone().into())));
        let disks = document.disks.iter();
        let sums = disks.filter_map(|disk| Some((disk.path.clone()?, disk.sha256?)));
        let ovmf = |missing: Missing, build: &str, keys: &str| {
            (missing == Missing::There).then(|| UefiFiles {
                code: format!("/usr/share/OVMF/OVMF_CODE_4M{build}.fd").into(),
                vars: format!("/usr/share/OVMF/OVMF_VARS_4M{keys}.fd").into(),
            })
        };
        let program =
            |missing: Missing, path: &str| (missing == Missing::There).then(|| PathBuf::from(path));
        let list = |given: &Option<Vec<String>>, some: &[&str]| {
            given.clone().or_else(|| Some(some.iter().map(|&name| name.to_owned()).collect()))
        };
        HostFacts {
            working_dir: "/srv".into(),
            kvm: match self.kvm.clone() {
                None => Access::Usable,
                Some(Unusable { reason, help }) => Access::Unusable { reason, help },
            },
            qemu: program(self.qemu, "/usr/bin/qemu-system-x86_64"),
            run_as: match self.run_as.clone().unwrap_or_else(User::nobody) {
                User::Same => Ok(None),
                User::Other { name, uid, gid, groups } => {
                    Ok(Some(RunAs { name, uid, gid, groups }))
                }
                User::Impossible(reason) => Err(reason),
            },
            machine_types: list(&self.machine_types, &["q35", "pc-q35-7.2", "pc-q35-6.2"]),
            cpu_models: list(&self.cpu_models, &["max", "host", "qemu64", "Skylake-Server-v4"]),
            uefi: ovmf(self.uefi, "", ""),
            uefi_secure: ovmf(self.uefi_secure, ".secboot", ".ms"),
            swtpm: program(self.swtpm, "/usr/bin/swtpm"),
            sha256: sums.chain(self.sha256.clone()).collect(),
            disk_bytes: self.disk_bytes.clone(),
            overlays: BTreeMap::new(),
            files,
            real_paths: self.real_paths.clone(),
            bad_password_files: self.bad_password_files.clone(),
            interfaces: self
                .interfaces
                .clone()
                .unwrap_or_else(|| ["lo", "eth0"].map(str::to_owned).into()),
            clab_links: self.clab_links,
            tap: match self.tap.clone() {
                None => Access::Usable,
                Some(Unusable { reason, help }) => Access::Unusable { reason, help },
            },
            vhost_net: self.vhost_net,
        }
    }
}

/// What a file of this name is, if nothing is said of it.
fn ordinary(path: &Path) -> FileFact {
    if path.starts_with("/dev") {
        FileFact::BlockDevice
    } else if path.extension().is_some_and(|extension| extension == "qcow2") {
        FileFact::File(ImageFormat::Qcow2)
    } else {
        FileFact::File(ImageFormat::Raw)
    }
}

/// The directory that a path is in, as the program names it.
fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { ".".into() } else { parent.to_owned() })
}

fn path_is_of(path: &Path, text: &str) -> bool {
    let named = Path::new(text);
    named == path || parent(named).as_deref() == Some(path)
}

/// Every text in the document: any of them may be the name of a file, also in keys to come.
fn texts(document: &Document) -> Vec<String> {
    leaves(document).into_iter().map(|(_, text)| text).collect()
}

/// Every text in the document, with its key.
pub(crate) fn leaves(document: &Document) -> Vec<(String, String)> {
    fn collect(key: &str, value: &serde_json::Value, found: &mut Vec<(String, String)>) {
        let child = |name: &str| if key.is_empty() { name.into() } else { format!("{key}.{name}") };
        match value {
            serde_json::Value::String(text) => found.push((key.to_owned(), text.clone())),
            serde_json::Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    collect(&child(&index.to_string()), item, found);
                }
            }
            serde_json::Value::Object(entries) => {
                for (name, value) in entries {
                    collect(&child(name), value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect("", &serde_json::to_value(document).unwrap(), &mut found);
    found
}
