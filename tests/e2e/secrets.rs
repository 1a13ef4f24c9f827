//! Passwords: they arrive as they were written, and nobody sees them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::json;

use crate::clients::Login;
use crate::command::run;
use crate::machine::{Machine, Setup, USER};
use crate::processes;
use crate::wait::SOON;

/// What TOML, YAML, JSON, a shell or a reader of numbers could take for something else.
const PASSWORDS: [&str; 7] =
    ["0123", "true", "1e3", "\"q\"", "[a]", "ends in a space ", "äöüßéèêñçø"];
/// The names of users with these passwords.
const NAMES: [&str; 7] = [USER, "u1", "u2", "u3", "u4", "u5", "u6"];

#[track_caller]
fn logs_in(machine: &Machine, user: &'static str, password: &'static str) {
    let output = machine.ipmitool_as(Login { user, password }, &["power", "status"]);
    assert_eq!(output.code, Some(0), "with the password {password:?}: {output}");
    output.says("Chassis Power is off");
}

#[track_caller]
fn all_log_in(machine: &Machine) {
    for (user, password) in NAMES.into_iter().zip(PASSWORDS) {
        logs_in(machine, user, password);
    }
}

#[test]
fn the_longest_one_is_as_long_as_ipmi_permits() {
    assert_eq!(PASSWORDS[6].len(), 20);
}

#[test]
fn a_password_in_its_variable_is_taken_as_it_is() {
    for password in PASSWORDS {
        let machine = Setup::bare().env("IPMI_PASS", password).start();
        logs_in(&machine, USER, password);
    }
}

#[test]
fn a_password_in_a_file_is_taken_as_it_is() {
    for (index, password) in PASSWORDS.into_iter().enumerate() {
        let setup = Setup::bare();
        let file = setup.dir.path().join("password");
        // With or without a line end.
        fs::write(&file, format!("{password}{}", if index % 2 == 0 { "\n" } else { "" })).unwrap();
        let machine = setup.env("IPMI_PASS_FILE", file.display().to_string()).start();
        logs_in(&machine, USER, password);
    }
}

#[test]
fn a_password_in_the_variable_of_its_key_is_taken_as_it_is() {
    for password in PASSWORDS {
        let setup = Setup::bare().env("QEMU_BMC__IPMI__USERS__0__PASSWORD", password);
        logs_in(&setup.start(), USER, password);
    }
}

#[test]
fn a_password_in_a_flag_is_taken_as_it_is() {
    let mut setup = Setup::bare();
    for (index, (name, password)) in NAMES.into_iter().zip(PASSWORDS).enumerate() {
        setup = setup
            .set(format!("ipmi.users.{index}.name={name}"))
            .set(format!("ipmi.users.{index}.password={password}"));
    }
    all_log_in(&setup.start());
}

/// Writes the users into a profile, each by `user`, and logs in with each.
fn with_profile(name: &str, user: impl Fn(&str, &str) -> String, whole: impl Fn(&str) -> String) {
    let users = NAMES.into_iter().zip(PASSWORDS).map(|(name, password)| user(name, password));
    let setup = Setup::bare();
    let path = setup.dir.path().join(name);
    fs::write(&path, whole(&users.collect::<String>())).unwrap();
    let mut setup = setup.profile(path);
    for set in ["disks=[]", "vnc.port=0", "machine.accel=tcg", "power.restore=always-off"] {
        setup = setup.set(set);
    }
    all_log_in(&setup.start());
}

#[test]
fn a_password_in_a_toml_profile_is_taken_as_it_is() {
    let user = |name: &str, password: &str| {
        format!("[[ipmi.users]]\nname = '{name}'\npassword = '{password}'\n")
    };
    with_profile("p.toml", user, str::to_owned);
}

#[test]
fn a_password_in_a_yaml_profile_is_taken_as_it_is() {
    let user =
        |name: &str, password: &str| format!("  - name: {name}\n    password: '{password}'\n");
    with_profile("p.yaml", user, |users| format!("ipmi:\n  users:\n{users}"));
}

#[test]
fn a_password_in_a_json_profile_is_taken_as_it_is() {
    let user =
        |name: &str, password: &str| format!("{},", json!({ "name": name, "password": password }));
    with_profile("p.json", user, |users| {
        format!("{{\"ipmi\": {{\"users\": [{}]}}}}", users.trim_end_matches(','))
    });
}

const IN_PROFILE: &str = "in-the-profile-7f3a";
const IN_VARIABLE: &str = "in-a-variable-91c4";
const IN_KEY_VARIABLE: &str = "in-a-key-var-d20b";
const IN_FILE: &str = "in-a-file-58e6";

#[track_caller]
fn holds_no_secret(what: &str, bytes: &[u8]) {
    for secret in [IN_PROFILE, IN_VARIABLE, IN_KEY_VARIABLE, IN_FILE] {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "`{secret}` is in {what}: {}", String::from_utf8_lossy(bytes));
    }
}

/// All files below a directory; sockets hold nothing.
fn files_hold_no_secret(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += files_hold_no_secret(&path);
        } else if path.is_file() {
            holds_no_secret(&path.display().to_string(), &fs::read(&path).unwrap());
            count += 1;
        }
    }
    count
}

#[test]
fn nobody_sees_a_password() {
    let setup = Setup::bare();
    let file = setup.dir.path().join("password");
    fs::write(&file, IN_FILE).unwrap();
    let path = setup.dir.path().join("secrets.toml");
    let profile = format!(
        "disks = []\nvnc.port = 0\nmachine.accel = 'tcg'\nmachine.memory = 128\n\
         firmware.mode = 'uefi'\n\
         [[ipmi.users]]\nname = 'admin'\n\
         [[ipmi.users]]\nname = 'profile'\npassword = '{IN_PROFILE}'\n\
         [[ipmi.users]]\nname = 'file'\npassword_file = '{}'\n\
         [[ipmi.users]]\nname = 'key'\n",
        file.display()
    );
    fs::write(&path, profile).unwrap();
    let machine = setup
        .profile(path)
        .env("IPMI_PASS", IN_VARIABLE)
        .env("QEMU_BMC__IPMI__USERS__3__PASSWORD", IN_KEY_VARIABLE)
        .set("debug=true")
        .start();
    let qemu = machine.wait_on();
    for (user, password) in [
        ("admin", IN_VARIABLE),
        ("profile", IN_PROFILE),
        ("file", IN_FILE),
        ("key", IN_KEY_VARIABLE),
    ] {
        let login = |password| machine.ipmitool_as(Login { user, password }, &["mc", "info"]);
        login(password).succeeds();
        login("wrong").fails();
    }

    for pid in [machine.pid(), qemu] {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!line.is_empty());
        holds_no_secret(&format!("the command line of {pid}"), &line);
    }
    assert_eq!(processes::children(machine.pid()), [qemu], "nobody else got the environment");
    let environment = fs::read(format!("/proc/{qemu}/environ")).unwrap();
    assert!(environment.starts_with(b"PATH=") || environment.windows(6).any(|w| w == b"\0PATH="));
    holds_no_secret("QEMU's environment", &environment);

    let commands: [&[&str]; 12] = [
        &["plan"],
        &["plan", "--format", "json"],
        &["plan", "--format", "argv"],
        &["explain"],
        &["explain", "ipmi"],
        &["check"],
        &["check", "--format", "json"],
        &["doctor"],
        &["schema"],
        &["--help"],
        &["health"],
        &["ctl", "status"],
    ];
    for words in commands {
        let output = run(machine.setup.program(words[0]).args(&words[1..]));
        // `doctor` finds the port taken, by the machine.
        assert!(output.code == Some(0) || words == ["doctor"], "{output}");
        assert!(!output.stdout.is_empty());
        holds_no_secret(&words.join(" "), output.text().as_bytes());
    }
    machine.ctl(&["status", "--json"]).succeeds();
    let mut socket = UnixStream::connect(machine.run_dir.join("control.sock")).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(b"{\"command\":\"status\"}\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"{\"status\":"));
    holds_no_secret("the control socket's answer", &answer);

    assert!(files_hold_no_secret(&machine.run_dir) > 0);
    assert!(files_hold_no_secret(&machine.setup.dir.path().join("state")) > 0);
    machine.ctl(&["power", "off"]).succeeds();
    machine.wait_off();
    let log = machine.log();
    assert!(log.contains("DEBUG"), "{log}");
    holds_no_secret("the log", log.as_bytes());
}
