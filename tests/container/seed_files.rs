//! The image as a file: that it is built, what it says of itself, what is in it; and the files beside it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::command::{run, tool};
use crate::container::Setup;
use crate::engine::{IMAGE, build, docker, image, inspect, repository};
use crate::measure;
use crate::report::check;

/// Builds the image, unless there is one to be taken.
pub(crate) fn build_image() -> bool {
    let built = check("1.1, 7.6 the image builds", || {
        if image() == IMAGE {
            let said = build(IMAGE, repository());
            fs::write(repository().join("target/container/build.log"), said).unwrap();
        }
        docker(["image", "inspect", image()]).succeeds();
    });
    built.is_some()
}

fn sum(path: &Path) -> String {
    let sum = Sha256::digest(fs::read(path).unwrap());
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn group() {
    files();
    image_itself();
}

fn files() {
    for (name, path) in [
        ("7.1 Dockerfile", "Dockerfile"),
        ("7.2 docker-compose.yml", "docker-compose.yml"),
        ("7.3 containerlab example", "containerlab/demo.clab.yml"),
    ] {
        check(name, || assert!(repository().join(path).is_file(), "no {path}"));
    }
    check("7.4 docker-compose.yml is valid", || {
        let compose = |file: &Path| {
            run(tool("docker-compose").arg("--file").arg(file).args(["config", "--quiet"]))
        };
        let path = repository().join("docker-compose.yml");
        compose(&path).succeeds();
        // What it refuses, so that the above says something.
        let folder = tempfile::tempdir().unwrap();
        let wrong = folder.path().join("docker-compose.yml");
        let text = fs::read_to_string(path).unwrap();
        fs::write(&wrong, text.replace("cap_add:", "cap_ad:")).unwrap();
        compose(&wrong).fails().says("cap_ad");
    });
    check("7.5 topology: name, topology, nodes", || {
        for path in crate::topologies::all() {
            let topology = crate::topologies::read(&path);
            assert!(topology["name"].is_string(), "{}", path.display());
            assert!(topology["topology"]["nodes"].is_object(), "{}", path.display());
        }
    });
}

fn image_itself() {
    check("the image says what it is", || {
        let labels: Value =
            serde_json::from_str(&inspect(image(), "{{json .Config.Labels}}")).unwrap();
        assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
        let said = inspect(image(), "{{.Config.StopSignal}} {{json .Config.Entrypoint}}");
        assert_eq!(said, "SIGTERM [\"qemu-bmc\"]");
        for volume in ["/vm", "/var/lib/qemu-bmc"] {
            assert!(inspect(image(), "{{json .Config.Volumes}}").contains(volume), "{volume}");
        }
        assert!(inspect(image(), "{{json .Config.Healthcheck}}").contains("health"));
    });
    check("no secret and no build tool is in it", || {
        let environment = inspect(image(), "{{json .Config.Env}}");
        assert!(!environment.contains("PASS"), "{environment}");
        let tools = Setup::bare("tools").options(["--entrypoint=sh"]).command(&[
            "-c",
            "for tool in cargo rustc gcc supervisord ipmi_sim python3; do command -v $tool; done; true",
        ]);
        assert_eq!(tools.run().succeeds().text(), "");
    });
    check("no documentation, caches, and other machines' firmware", || {
        let words = "find /usr/share/doc /usr/share/man /usr/share/locale /var/cache /var/lib/apt/lists \
                     /usr/bin/qemu-system-i386 /usr/share/qemu/slof.bin -type f ! -name copyright ! -name 'LICENSE-*' ! -path \
                     '*/common-licenses/*' -size +0 2> /dev/null; true";
        let found = Setup::bare("find").options(["--entrypoint=sh"]).command(&["-c", words]);
        let found = found.run().succeeds().stdout;
        // Of what the base image brings, we are not the judge.
        let base = std::env::var("BASE_IMAGE").unwrap_or_else(|_| "debian:trixie-slim".to_owned());
        let before = Setup::bare("find-base").image(&base).command(&["sh", "-c", words]).run();
        let before: Vec<&str> = before.stdout.lines().collect();
        let ours: Vec<&str> = found.lines().filter(|line| !before.contains(line)).collect();
        assert!(ours.is_empty(), "{ours:?}");
    });
    check("every library that QEMU and the program need is there", || {
        let words = "ldd /usr/bin/qemu-system-x86_64 /usr/bin/qemu-img /usr/bin/ip \
                     /usr/lib/*/qemu/*.so && qemu-bmc --version";
        let shell = Setup::bare("ldd").options(["--entrypoint=sh"]).command(&["-c", words]);
        shell.run().succeeds().does_not_say("not found").says("libslirp");
    });
    check("planned: the image is smaller than 2 GB; this one: than 200 MB", || {
        let bytes = measure::image_bytes(image());
        assert!(bytes < 200_000_000, "{bytes} bytes");
    });
    // A path of a program that scripts/build-release has made, where the builder is of this host.
    if let Ok(here) = std::env::var("CONTAINER_COMPARE") {
        check("the program in it is the one that is built here, bit by bit", || {
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join("qemu-bmc");
            let name = format!("qemu-bmc-test-{}-copy", std::process::id());
            docker(["create", "--name", &name, image()]).succeeds();
            let path = format!("{name}:/usr/local/bin/qemu-bmc");
            let copied = docker(["cp", &path, copy.to_str().unwrap()]);
            docker(["rm", "--volumes", &name]).succeeds();
            copied.succeeds();
            assert_eq!(sum(&copy), sum(&repository().join(here)));
        });
    }
}
