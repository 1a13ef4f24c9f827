//! `version`: which program this is, what it can do, and the QEMU that it would run.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::host::facts;
use crate::profile::check::CIPHER_SUITES;
use crate::profile::{Key, schema};

/// The commit that this was built from, if whoever built it has said so.
const COMMIT: Option<&str> = option_env!("QEMU_BMC_COMMIT");
/// Keys of the profile whose possible values tell programs apart.
const FEATURES: [&str; 6] =
    ["machine.accel", "firmware.mode", "nics.0.wiring", "nics.0.model", "disks.0.bus", "ipmi.v15"];

#[derive(Serialize)]
pub(super) struct Version {
    version: &'static str,
    commit: Option<&'static str>,
    architecture: &'static str,
    features: serde_json::Map<String, Value>,
    qemu: Qemu,
}

#[derive(Serialize)]
struct Qemu {
    path: Option<PathBuf>,
    version: Option<String>,
    /// Why one of them is not known.
    problem: Option<String>,
}

impl Version {
    /// Looks for QEMU as `program`: a path, or a name in `PATH`.
    pub(super) fn look(program: &Path) -> Self {
        let schema = schema::document();
        let choices = FEATURES.map(|key| {
            let values = schema::choices(&schema, &Key::from(key));
            (key.replace(".0.", "."), Value::from(values))
        });
        let mut features: serde_json::Map<String, Value> = choices.into_iter().collect();
        let mut suites = CIPHER_SUITES;
        suites.sort_unstable();
        features.insert("ipmi.cipher_suites".into(), suites.to_vec().into());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: COMMIT.filter(|commit| !commit.is_empty()),
            architecture: std::env::consts::ARCH,
            features,
            qemu: Qemu::look(program),
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text, lists and null are JSON") + "\n"
    }

    pub(super) fn text(&self) -> String {
        let commit = self.commit.unwrap_or("not known");
        let mut text = format!(
            "{} {}\ncommit: {commit}\narchitecture: {}\n",
            env!("CARGO_PKG_NAME"),
            self.version,
            self.architecture
        );
        for (key, values) in &self.features {
            let values = values.as_array().into_iter().flatten();
            let values =
                values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            text.push_str(&format!("{key}: {}\n", values.collect::<Vec<_>>().join(", ")));
        }
        let known = [
            self.qemu.version.clone(),
            self.qemu.path.as_ref().map(|path| path.display().to_string()),
        ];
        let known: Vec<String> =
            known.into_iter().chain([self.qemu.problem.clone()]).flatten().collect();
        text + "QEMU: " + &known.join(", ") + "\n"
    }
}

impl Qemu {
    fn look(program: &Path) -> Self {
        let Some(path) = facts::program(program) else {
            let problem = format!("there is no `{}`", program.display());
            return Self { path: None, version: None, problem: Some(problem) };
        };
        let version = facts::qemu_version(&path).and_then(|line| number(&line));
        let problem = version.is_none().then(|| "it does not tell its version".to_owned());
        Self { path: Some(path), version, problem }
    }
}

/// The number in `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
fn number(line: &str) -> Option<String> {
    let (_, after) = line.split_once(" version ")?;
    after.split_whitespace().next().map(str::to_owned)
}
