//! The Docker engine: images, and commands of its client.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::command::{Output, run, tool};

/// The image that is tested.
pub(crate) const IMAGE: &str = "qemu-bmc:latest";

static TESTED: OnceLock<String> = OnceLock::new();

/// The image that containers are started from.
pub(crate) fn image() -> &'static str {
    TESTED.get_or_init(|| std::env::var("CONTAINER_IMAGE").unwrap_or_else(|_| IMAGE.to_owned()))
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command of Docker's client.
pub(crate) fn docker<S: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = S>) -> Output {
    run(tool("docker").args(words))
}

/// Builds an image from a folder, with the arguments that the environment has, and answers what the
/// builder said.
pub(crate) fn build(tag: &str, folder: &Path) -> String {
    let mut command = tool("docker");
    command.args(["build", "--tag", tag]).env("DOCKER_BUILDKIT", "1");
    let dockerfile = std::fs::read_to_string(folder.join("Dockerfile")).unwrap();
    for name in ["BASE_IMAGE", "RUST_IMAGE", "QEMU_BMC_COMMIT"] {
        // An argument that a Dockerfile does not have is refused.
        if let (Ok(value), true) = (std::env::var(name), dockerfile.contains(name)) {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
    }
    long(command.arg(folder))
}

/// A command that may take minutes.
pub(crate) fn long(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into());
    let [stdout, stderr]: [String; 2] = text;
    let text = stdout + &stderr;
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A part of what `docker inspect` knows.
#[track_caller]
pub(crate) fn inspect(what: &str, format: &str) -> String {
    docker(["inspect", "--format", format, what]).succeeds().stdout.trim().to_owned()
}
