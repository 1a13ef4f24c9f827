//! Nix with this project's flake, in a store of its own, with a small nixpkgs in place of the real
//! one (`tests/nix/nixpkgs`): no network, no root, nothing outside of `target/`.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// What the flake reads; a checkout has more.
const SOURCES: [&str; 6] = ["Cargo.lock", "Cargo.toml", "flake.lock", "flake.nix", "nix", "src"];

pub(crate) struct Flakes {
    folder: PathBuf,
    /// The commit that our flake is at.
    pub(crate) commit: String,
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The flakes, with nothing in the store yet.
pub(crate) fn flakes() -> &'static Flakes {
    static FLAKES: OnceLock<Flakes> = OnceLock::new();
    FLAKES.get_or_init(|| {
        // Of each test program its own, as they may run side by side.
        let name = std::env::current_exe().unwrap().file_stem().unwrap().to_owned();
        Flakes::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("nix").join(name))
    })
}

impl Flakes {
    fn new(folder: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let flakes = Self { folder: folder.to_owned(), commit: String::new() };
        for part in ["project", "nixpkgs", "lab"] {
            let _ = std::fs::remove_dir_all(folder.join(part));
        }
        for part in ["project", "conf", "home"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        let project = folder.join("project");
        let copy = |from: &[PathBuf], to: &Path| {
            done(Command::new("cp").arg("-r").args(from).arg(to));
        };
        copy(&SOURCES.map(|source| root.join(source)), &project);
        copy(&["nixpkgs", "lab"].map(|flake| root.join("tests/nix").join(flake)), folder);
        std::fs::write(
            folder.join("conf/nix.conf"),
            "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\n\
             sandbox = false\n",
        )
        .unwrap();
        // As rustup finds the toolchain here; a build has another home.
        let sysroot = done(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root));
        let home = std::env::var("HOME").unwrap();
        let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
        let path = std::env::var("PATH").unwrap();
        let host = json!({ "path": format!("{sysroot}/bin:{path}"), "cargo_home": cargo_home });
        std::fs::write(folder.join("nixpkgs/host.json"), host.to_string()).unwrap();

        let git = |words: &[&str]| {
            let who = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
            let mut command = Command::new("git");
            command.args(who).args(words).current_dir(&project);
            done(command.env("HOME", folder.join("home")).env("GIT_CONFIG_NOSYSTEM", "1"))
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message=test"]);
        let commit = git(&["rev-parse", "HEAD"]);
        // What an earlier run has built.
        done(&mut flakes.command(&["store", "gc"]));
        Self { commit, ..flakes }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nix");
        command.args(words).current_dir(&self.folder).env("HOME", self.folder.join("home"));
        for (name, part) in
            [("STORE_DIR", "store"), ("STATE_DIR", "var"), ("LOG_DIR", "log"), ("CONF_DIR", "conf")]
        {
            command.env(format!("NIX_{name}"), self.folder.join(part));
        }
        command
    }

    /// `nix WORDS… FLAKE#attribute OPTIONS…`, on the flake that uses ours and has all of its outputs.
    pub(crate) fn try_nix(&self, words: &[&str], attribute: &str, options: &[&str]) -> Output {
        let folder = self.folder.display();
        let hash = if attribute.is_empty() { "" } else { "#" };
        let mut command = self.command(words);
        command.arg(format!("path:{folder}/lab{hash}{attribute}"));
        command.args(["--override-input", "qemu-bmc", &format!("git+file://{folder}/project")]);
        command.args(["--override-input", "nixpkgs", &format!("path:{folder}/nixpkgs")]);
        command.arg("--no-write-lock-file").args(options).output().unwrap_or_else(|error| {
            panic!("nix: {error}; `scripts/setup test` installs it (Debian: nix-bin)")
        })
    }

    pub(crate) fn nix(&self, words: &[&str], attribute: &str, options: &[&str]) -> String {
        let output = self.try_nix(words, attribute, options);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nix {words:?} {attribute}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The value of an attribute, which `function` makes JSON of.
    pub(crate) fn eval(&self, attribute: &str, function: &str) -> Value {
        let text = self.nix(&["eval", "--json"], attribute, &["--apply", function]);
        serde_json::from_str(&text).unwrap()
    }
}
