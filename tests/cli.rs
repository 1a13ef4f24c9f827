//! The command line as a shell sees it: what it prints, where that goes, and the exit code.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the program in `dir` with no environment but `PATH`.
fn run(dir: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
        .args(arguments)
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir.path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a profile in each language, all for the same machine.
fn profiles() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "p.toml",
        "name = 'n'\ndisks = []\nrun_dir = 'run'\nstate_dir = 'state'\n[machine]\naccel = 'tcg'\n\
         [ipmi]\nport = 24999\n[[ipmi.users]]\nname = 'a'\npassword = '0123'\n",
    );
    write(
        "p.yaml",
        "# yaml-language-server: $schema=profile.schema.json\nname: n\ndisks: []\nrun_dir: run\n\
         state_dir: state\nmachine: {accel: tcg}\nipmi:\n  port: 24999\n  users:\n  - name: a\n    \
         password: '0123'\n",
    );
    write(
        "p.json",
        "{\"$schema\": \"profile.schema.json\", \"name\": \"n\", \"disks\": [], \"run_dir\": \"run\",\n\
         \"state_dir\": \"state\", \"machine\": {\"accel\": \"tcg\"},\n\
         \"ipmi\": {\"port\": 24999, \"users\": [{\"name\": \"a\", \"password\": \"0123\"}]}}",
    );
    dir
}

#[test]
fn toml_yaml_and_json_say_the_same() {
    let dir = profiles();
    let plan = |name| run(&dir, &["plan", "--format", "json", "--profile", name]);
    let toml = plan("p.toml");
    assert!(toml.status.success(), "{}", text(&toml.stderr));
    for name in ["p.yaml", "p.json"] {
        assert_eq!(text(&plan(name).stdout), text(&toml.stdout), "{name}");
    }
}

#[test]
fn mistakes_in_yaml_and_json_are_shown_where_they_are() {
    let dir = profiles();
    for (name, line, wrong) in [
        ("bad.yaml", "bad.yaml:2:9", "machine:\n  cpus: four\n"),
        ("bad.json", "bad.json:2:11", "{\"machine\": {\n  \"cpus\": \"four\"}}"),
    ] {
        std::fs::write(dir.path().join(name), wrong).unwrap();
        let output = run(&dir, &["check", "--profile", "p.toml", "--profile", name]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(line), "{errors}");
        assert!(
            errors.contains("must be a whole number from 1 to 255, not the text \"four\""),
            "{errors}"
        );
    }
    // YAML takes 0123 for a number; the message must not show it all the same.
    std::fs::write(dir.path().join("bad.yaml"), "ipmi: {users: [{name: a, password: 0123}]}\n")
        .unwrap();
    let output = run(&dir, &["check", "--profile", "bad.yaml"]);
    let errors = text(&output.stderr);
    assert!(errors.contains("must be text, not a number") && errors.contains("quotes"), "{errors}");
    assert!(!errors.contains("123"), "{errors}");
    let output = run(&dir, &["check", "--profile", "p.txt"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_profile_can_be_checked_where_its_files_are_not() {
    let dir = profiles();
    let check = |arguments: &[&str]| {
        run(&dir, &[&["check", "--profile", "p.toml"][..], arguments].concat())
    };
    let elsewhere = ["--set", "disks=[{path=\"/nonexistent/d\"}]"];
    let here = check(&elsewhere);
    assert_eq!(here.status.code(), Some(2));
    assert!(text(&here.stderr).contains("/nonexistent/d is not there"), "{}", text(&here.stderr));
    let only = check(&[&["--profile-only"][..], &elsewhere].concat());
    assert_eq!(text(&only.stdout), "0 errors, 0 warnings\n");
    assert_eq!(only.status.code(), Some(0), "{}", text(&only.stderr));
    let wrong = check(&["--profile-only", "--set", "machine.cpus=0"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("machine.cpus"), "{}", text(&wrong.stderr));
}

#[test]
fn explain_names_each_layer() {
    let dir = profiles();
    let output = run(&dir, &["explain", "ipmi", "--profile", "p.yaml", "--set", "ipmi.port=1024"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in
        ["ipmi.port = 1024", "--set ipmi.port\n", "over 24999, p.yaml:8:9", "over 623, default"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("0123"), "{shown}");
    // A finding, or a value, beside a password in one text.
    let users = "ipmi.users=[{name=\"a-name-that-is-too-long\",password=\"S3CRET\"}]";
    for command in ["check", "explain"] {
        let output = run(&dir, &[command, "--set", users]);
        assert!(!(text(&output.stdout) + &text(&output.stderr)).contains("S3CRET"));
        let output = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
            .arg(command)
            .env_clear()
            .env("HOME", dir.path())
            .env("QEMU_BMC__IPMI__USERS", &users["ipmi.users=".len()..])
            .output()
            .unwrap();
        assert!(!(text(&output.stdout) + &text(&output.stderr)).contains("S3CRET"));
    }
    let output = run(&dir, &["explain", "ipmi.prot", "--profile", "p.yaml"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_plan_that_is_not_the_expected_one_is_not_started() {
    let dir = profiles();
    let plan = run(&dir, &["plan", "--format", "json", "--profile", "p.toml"]);
    std::fs::write(dir.path().join("plan.json"), &plan.stdout).unwrap();
    let digest =
        serde_json::from_slice::<serde_json::Value>(&plan.stdout).unwrap()["digest"].clone();
    for expected in ["plan.json", digest.as_str().unwrap()] {
        let changed =
            ["run", "--profile", "p.toml", "--set", "machine.cpus=7", "--expect-plan", expected];
        let output = run(&dir, &changed);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        if expected == "plan.json" {
            assert!(errors.contains("-      \"2\"") && errors.contains("+      \"7\""), "{errors}");
        }
        assert!(!dir.path().join("run").exists(), "something was started");
        // The expected plan gets past this check, up to the program that is not there.
        let same = ["run", "--profile", "p.toml", "--expect-plan", expected];
        let output = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
            .args(same)
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("QEMU is not installed"));
    }
}

#[test]
fn doctor_says_what_is_missing() {
    let dir = profiles();
    let output = run(&dir, &["doctor", "--profile", "p.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&dir, &["doctor", "--profile", "p.toml", "--set", "qemu.binary=/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("BAD   QEMU") && shown.contains("help: install it"), "{shown}");
    let taken = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = format!("ipmi.port={}", taken.local_addr().unwrap().port());
    let output = run(&dir, &["doctor", "--profile", "p.toml", "--set", &port]);
    assert!(text(&output.stdout).contains("BAD   IPMI port"), "{}", text(&output.stdout));
    assert!(!Path::new(&dir.path().join("run")).exists(), "it only looks");
}

#[test]
fn a_misspelt_password_is_a_password_all_the_same() {
    let dir = profiles();
    std::fs::write(dir.path().join("bad.toml"), "[[ipmi.users]]\nname = 'a'\npasswrd = 'S3CRET'\n")
        .unwrap();
    let cases: [&[&str]; 6] = [
        &["--profile", "bad.toml"],
        &["--set", "ipmi.users.0.passwrd=S3CRET"],
        &["--set", "ipmi.users.0=S3CRET"],
        &["--set", "ipmi.users.0.password:S3CRET"],
        &["--set", "ipmi.users=[{nme=\"a\",password=\"S3CRET\"}]"],
        &["--set", "ipmi.passwd=S3CRET"],
    ];
    for format in ["text", "json"] {
        for case in cases {
            let output = run(&dir, &[&["check", "--format", format][..], case].concat());
            assert_eq!(output.status.code(), Some(2), "{case:?}");
            let shown = text(&output.stdout) + &text(&output.stderr);
            assert!(!shown.contains("S3CRET"), "{case:?}: {shown}");
        }
        for variable in [
            "QEMU_BMC__IPMI__USERS",
            "QEMU_BMC__IPMI__PASSWORD",
            "QEMU_BMC__IPMI__USERS__0__PASWORD",
            "IPMI_PASSWORD",
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
                .args(["check", "--format", format])
                .env_clear()
                .env("HOME", dir.path())
                .env(variable, "S3CRET")
                .output()
                .unwrap();
            let shown = text(&output.stdout) + &text(&output.stderr);
            assert!(shown.contains(variable) || shown.contains("ipmi.users"), "{shown}");
            assert!(!shown.contains("S3CRET"), "{variable}: {shown}");
        }
    }
    let unknown = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
        .arg("check")
        .env_clear()
        .env("HOME", dir.path())
        .env("QEMU_BMC__MACHINE__MEMRY", "4")
        .output()
        .unwrap();
    let shown = text(&unknown.stderr);
    assert!(shown.contains("did you mean `QEMU_BMC__MACHINE__MEMORY`?"), "{shown}");
}

#[test]
fn output_that_cannot_be_written_is_no_panic() {
    let dir = profiles();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for command in [&["schema"][..], &["plan", "--profile", "p.toml"], &["check"], &["explain"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
            .args(command)
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .stdout(full())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let errors = text(&output.stderr);
        assert!(errors.contains("standard output"), "{errors}");
        let silent = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
            .args(command)
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .stdout(full())
            .stderr(full())
            .status()
            .unwrap();
        assert_eq!(silent.code(), Some(1), "{command:?}");
    }
}

#[test]
fn the_plan_for_a_shell_runs_in_a_shell() {
    let dir = profiles();
    let output = run(
        &dir,
        &[
            "plan",
            "--format",
            "argv",
            "--profile",
            "p.toml",
            "--set",
            "vnc.port=0",
            "--set",
            "disks.0.path=a,b 'c'.qcow2",
            "--set",
            "disks.0.size=10M",
            "--set",
            // It is started and ended at once.
            "qemu.extra_args=[\"-S\",\"-no-shutdown\"]",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let script = text(&output.stdout);
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let socket = dir.path().join("run/qmp.sock");
    let begin = std::time::Instant::now();
    let mut monitor = loop {
        if let Ok(monitor) = std::os::unix::net::UnixStream::connect(&socket) {
            break monitor;
        }
        if let Some(status) = shell.try_wait().unwrap() {
            let mut errors = String::new();
            std::io::Read::read_to_string(&mut shell.stderr.unwrap(), &mut errors).unwrap();
            panic!("{status}: {errors}\n{script}");
        }
        assert!(begin.elapsed().as_secs() < 60, "QEMU's socket never came");
        std::thread::yield_now();
    };
    let quit = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";
    std::io::Write::write_all(&mut monitor, quit).unwrap();
    assert!(shell.wait().unwrap().success());
    assert!(dir.path().join("a,b 'c'.qcow2").exists());
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    let dir = profiles();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let arguments = [
        "--profile",
        "p.toml",
        "--set",
        "power.restore=always-off",
        "--set",
        "ipmi.port=24998",
        "--set",
        "vnc.port=0",
    ];
    let mut program = Command::new(env!("CARGO_BIN_EXE_qemu-bmc"))
        .arg("run")
        .args(arguments)
        .current_dir(dir.path())
        .stdout(full())
        .stderr(full())
        .spawn()
        .unwrap();
    let begin = std::time::Instant::now();
    while !run(&dir, &[&["health"][..], &arguments].concat()).status.success() {
        assert_eq!(program.try_wait().unwrap(), None, "it has ended");
        assert!(begin.elapsed().as_secs() < 30, "it never answers");
    }
    let pid = nix::unistd::Pid::from_raw(program.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(0));
}

/// A command that has to be there, with `input` as its standard input.
fn tool(words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; `scripts/setup test` installs it", words[0]));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_man_page_is_one_and_names_all() {
    let dir = tempfile::tempdir().unwrap();
    let page = run(&dir, &["man"]);
    assert!(page.status.success());
    let lint = tool(&["mandoc", "-T", "lint", "-W", "warning"], &page.stdout);
    // A page that is made from the program, the same every time, has none.
    let complaints = text(&lint.stdout);
    let complaints: Vec<&str> =
        complaints.lines().filter(|line| !line.contains("missing date")).collect();
    assert_eq!(complaints, [""; 0], "{}", text(&lint.stderr));

    let read = tool(&["mandoc", "-T", "ascii", "-O", "width=1000"], &page.stdout);
    assert!(read.status.success(), "{}", text(&read.stderr));
    // Bold and underlined text is overstruck.
    let read = text(&tool(&["col", "-bx"], &read.stdout).stdout);
    let section = |name: &str| {
        let (_, section) = read.split_once(&format!("\n{name}\n")).expect(name);
        let lines = section.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
        lines.fold(String::from("\n"), |text, line| text + line + "\n")
    };
    let commands = section("COMMANDS");
    for command in ["run", "plan", "check", "explain", "schema", "doctor", "ctl", "ctl status"] {
        assert!(commands.contains(&format!("\n   qemu-bmc {command}\n")), "{command}: {commands}");
    }
    let environment = section("ENVIRONMENT");
    for variable in qemu_bmc::profile::variables::VARIABLES {
        assert!(environment.contains(&format!("\n       {}", variable.name)), "{}", variable.name);
        assert!(environment.contains(variable.help), "{}: {environment}", variable.help);
    }
    assert!(section("FILES").contains("       /var/run/qemu/control.sock\n"));
    assert!(section("EXIT STATUS").contains("       2      bad input\n"));
    assert!(section("EXAMPLES").contains("  qemu-bmc plan --profile node1.toml --format argv\n"));
}

#[test]
fn completions_are_what_each_shell_can_read() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, only_parse) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = run(&dir, &["completions", shell]);
        assert!(script.status.success());
        assert!(!script.stdout.is_empty());
        let path = dir.path().join(shell);
        std::fs::write(&path, script.stdout).unwrap();
        let parsed = tool(&[shell, only_parse, path.to_str().unwrap()], b"");
        assert!(parsed.status.success(), "{shell}: {}", text(&parsed.stderr));
        assert!(parsed.stderr.is_empty(), "{shell}: {}", text(&parsed.stderr));
    }
    let nonsense = run(&dir, &["completions", "csh"]);
    assert_eq!(nonsense.status.code(), Some(2));
    assert!(text(&nonsense.stderr).contains("bash"));
}

/// `qemu-img create` in `dir`.
fn image(dir: &TempDir, arguments: &[&str]) {
    let status = Command::new("qemu-img")
        .args(["create", "-q"])
        .args(arguments)
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_plan_is_the_same_before_and_after_the_first_start_creates_a_disk() {
    let dir = profiles();
    let plan = || {
        let disk = ["--set", "disks.0.path=new.qcow2", "--set", "disks.0.size=1MiB"];
        let output = run(&dir, &[&["plan", "--profile", "p.toml"][..], &disk].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let before = plan();
    image(&dir, &["-f", "qcow2", "new.qcow2", "1M"]);
    assert_eq!(plan(), before);
}

#[test]
fn a_kept_overlay_is_not_put_on_another_base() {
    let dir = profiles();
    for base in ["a.qcow2", "b.qcow2"] {
        image(&dir, &["-f", "qcow2", base, "1M"]);
    }
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let a = dir.path().join("a.qcow2").canonicalize().unwrap();
    let overlay = "state/disk0-overlay.qcow2";
    image(&dir, &["-f", "qcow2", "-b", a.to_str().unwrap(), "-F", "qcow2", overlay]);
    let check = |base: &str, more: &[&str]| {
        let disk = [&format!("--set=disks.0.path={base}"), "--set=disks.0.overlay=kept"];
        let output = run(&dir, &[&["check", "--profile", "p.toml"][..], &disk, more].concat());
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(check("a.qcow2", &[]).0, Some(0));
    let (code, message) = check("b.qcow2", &[]);
    assert_eq!(code, Some(2));
    assert!(message.contains("a.qcow2, not over ") && message.contains("b.qcow2"), "{message}");
    let (code, message) = check("a.qcow2", &["--set=disks.0.size=2MiB"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("`size` is 2097152 bytes"), "{message}");
}

#[test]
fn what_is_wrong_with_the_host_is_told_beside_what_is_wrong_in_the_profile() {
    let dir = profiles();
    let sets =
        ["--set=machine.memory=abc", "--set=cdroms.0.path=/nope.iso", "--set=IPMI_PASS=hush"];
    let output = run(&dir, &[&["check", "--profile", "p.toml"][..], &sets].concat());
    let message = text(&output.stderr);
    assert!(message.contains("`abc` is not a memory size"), "{message}");
    assert!(message.contains("/nope.iso is not there"), "{message}");
    assert!(!message.contains("hush"), "{message}");
}

#[test]
fn explain_shows_defaults_and_what_is_not_set() {
    let dir = profiles();
    let explain = |key: &str| {
        let disk = "--set=disks.0.path=/a";
        let output = run(&dir, &["explain", key, disk, "--profile", "p.toml"]);
        assert!(output.status.success(), "{key}");
        text(&output.stdout)
    };
    assert!(explain("disks.0.bus").contains("\"virtio\"  default"));
    assert!(explain("machine.cpu").contains("is not set: CPU model"));
}

#[test]
fn version_says_what_there_is() {
    let dir = profiles();
    let version = |arguments: &[&str]| {
        let output = run(&dir, &[&["version", "--json"][..], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let known = version(&[]);
    assert_eq!(known["version"], env!("CARGO_PKG_VERSION"));
    // What `cargo test` builds has none, and an empty one is none.
    let commit = option_env!("QEMU_BMC_COMMIT").filter(|commit| !commit.is_empty());
    assert_eq!(known["commit"], serde_json::json!(commit));
    assert_eq!(known["architecture"], std::env::consts::ARCH);
    let features = &known["features"];
    let accels = features["machine.accel"].as_array().unwrap();
    assert!(accels.contains(&"tcg".into()), "{features}");
    for (key, values) in features.as_object().unwrap() {
        // Each value is one that a profile takes.
        let value = &values[0];
        let set = match key.as_str() {
            "nics.wiring" => format!("nics=[{{wiring={value},interface=\"eth2\"}}]"),
            "nics.model" => format!("nics=[{{model={value},wiring=\"user\"}}]"),
            "disks.bus" => format!("disks=[{{path=\"d\",size=\"1M\",bus={value}}}]"),
            "ipmi.v15" | "ipmi.cipher_suites" => format!("{key}=[{value}]"),
            _ => format!("{key}={}", value.as_str().unwrap()),
        };
        let output = run(
            &dir,
            &["explain", key.split('.').next().unwrap(), "--profile", "p.toml", "--set", &set],
        );
        assert!(output.status.success(), "{set}: {}", text(&output.stderr));
    }

    let qemu = &known["qemu"];
    let said = tool(&["qemu-system-x86_64", "--version"], b"");
    let number = qemu["version"].as_str().unwrap();
    assert!(text(&said.stdout).starts_with(&format!("QEMU emulator version {number}")), "{number}");
    assert!(Path::new(qemu["path"].as_str().unwrap()).is_file());
    assert!(qemu["problem"].is_null());

    // A profile that is wrong in something else names the program all the same.
    let missing = ["--set", "machine.cpus=x", "--set", "qemu.binary=/nonexistent/qemu"];
    let absent = &version(&missing)["qemu"];
    assert!(absent["path"].is_null() && absent["version"].is_null(), "{absent}");
    assert_eq!(absent["problem"], "there is no `/nonexistent/qemu`");
    let mute = &version(&["--set", "qemu.binary=/bin/true"])["qemu"];
    assert_eq!(mute["path"], "/bin/true");
    assert!(mute["version"].is_null() && mute["problem"].is_string(), "{mute}");

    let shown = text(&run(&dir, &["version"]).stdout);
    for part in [env!("CARGO_PKG_VERSION"), "commit: ", "nics.wiring: tc, ", number] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
