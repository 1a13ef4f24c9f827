//! Passwords: they arrive as they were written.

use std::fs;

use serde_json::json;

use crate::clients::Login;
use crate::machine::{Machine, Setup, USER};

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
