//! Real IPMI clients, one invocation a row: what they are called with, and what they must say.
//!
//! The rows are in `rows/`, one file a group, and each group has a machine of its own, so that
//! groups run side by side; the rows of a group run in order. At the end stands a table. What each
//! client said is left in `target/matrix/`.
//!
//! `MATRIX_PEER=ipmi_sim cargo test --test matrix -- --test-threads 20 --nocapture` asks the same of
//! OpenIPMI's simulator, and shows the two beside each other. Nothing fails then.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests start processes, look at the clock and may panic"
)]

#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/command.rs"]
mod command;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/machine.rs"]
mod machine;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/processes.rs"]
mod processes;
#[allow(dead_code, reason = "shared with the end-to-end tests")]
#[path = "../e2e/wait.rs"]
mod wait;

mod peer;
mod report;
mod rows;
mod run;

use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use crate::command::tool;
use crate::machine::{PASSWORD, USER, root};
use crate::peer::{Peer, Server};
use crate::rows::{Group, Row};

macro_rules! groups {
    ($($name:ident,)*) => {
        const GROUPS: &[&str] = &[$(stringify!($name),)*];

        $(#[test]
        fn $name() {
            run_group(stringify!($name));
        })*
    };
}

groups! {
    freeipmi,
    ipmitool,
    refusals,
    freeipmi_config,
    pyghmi,
    ipmitool_config,
    python_ipmi,
    power,
    ironic,
    maas,
    bmclib,
    ipmitool_lan,
    freeipmi_lan,
    k_g,
    lan_settable,
    cipher_suites,
    cipher_suite_0,
    openipmi,
    ipmi_rs,
    ipmiutil,
}

/// Has a test for each file, and the reverse.
#[test]
fn each_file_of_rows_is_run() {
    let folder = root().join("tests/matrix/rows");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort_unstable();
    let mut groups = GROUPS.to_vec();
    groups.sort_unstable();
    assert_eq!(files, groups);
}

fn run_group(name: &str) {
    let group = Group::read(&root().join("tests/matrix/rows").join(format!("{name}.rows")));
    let peer = Peer::chosen();
    // A machine that does not come up fails all rows, and not the report of the others.
    let server = catch_unwind(AssertUnwindSafe(|| peer.start(&group)));
    let mut failures = String::new();
    let mut results = Vec::new();
    match &server {
        Ok(server) => {
            for row in &group.rows {
                let result = check(server, row);
                let passed = result.wrong.is_empty();
                if !passed {
                    let _ = writeln!(failures, "\n{}:{}: {result}", group.path, row.number);
                }
                results.push((passed, result.to_string()));
            }
        }
        Err(_) => {
            results.extend(group.rows.iter().map(|row| (false, format!("{}\n", row.line))));
            let _ = writeln!(failures, "\n{}: the machine does not start", group.path);
        }
    }
    report::add(peer, name, &results);
    if failures.is_empty() {
        return;
    }
    match peer {
        Peer::QemuBmc => {
            if let Ok(Server::QemuBmc(machine)) = &server {
                eprintln!("==== log of qemu-bmc\n{}==== end of the log", machine.log());
            }
            // Said by itself: a panic while the machine is there would say its log again.
            drop(server);
            panic!("{failures}");
        }
        Peer::IpmiSim => eprintln!("{failures}"),
    }
}

/// Runs one row.
fn check(server: &Server, row: &Row) -> run::Result {
    let dir = server.dir();
    for (name, text) in &row.files {
        fs::write(dir.join(name), text).unwrap();
    }
    let mut variables = variables(server.port(), dir);
    if row.line.contains("{ipmi-rs}") {
        variables.push(("ipmi-rs", client_of_ipmi_rs().to_owned()));
    }
    let line = variables
        .iter()
        .fold(row.line.clone(), |line, (name, value)| line.replace(&format!("{{{name}}}"), value));
    run::row(row, &line, dir)
}

/// What stands for the words in braces of a command line.
fn variables(port: u16, dir: &Path) -> Vec<(&'static str, String)> {
    let python = root().join("target/python-clients/bin/python");
    let path = |name: &str| root().join(name).display().to_string();
    let script = |name: &str| format!("{} {}", python.display(), path(name));
    vec![
        ("port", port.to_string()),
        ("user", USER.to_owned()),
        ("password", PASSWORD.to_owned()),
        ("dir", dir.display().to_string()),
        ("pyghmi", script("tests/matrix/pyghmi_client.py")),
        ("python-ipmi", script("tests/matrix/python_ipmi_client.py")),
        ("at-port-623", path("tests/matrix/at-port-623.sh")),
        ("ipmidetect", path("tests/matrix/ipmidetect.sh")),
    ]
}

/// Cargo builds examples only when all tests are asked for.
fn client_of_ipmi_rs() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = tool(env!("CARGO"));
        cargo.args(["build", "--locked", "--message-format=json", "--example", "ipmi_rs_client"]);
        cargo.arg("--target-dir").arg(target).current_dir(root());
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| Some(message["executable"].as_str()?.to_owned()))
            .expect("the build of a program ends with its path")
    })
}
