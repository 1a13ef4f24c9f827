//! Plans: whole, always the same, and without secrets. What the plan of a profile is, is told by the
//! cases (`tests/cases.rs`).
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

mod case;

use case::{Case, Facts};
use proptest::prelude::*;
use qemu_bmc::plan::{Plan, make, render};
use qemu_bmc::profile::layers::File;
use qemu_bmc::profile::{Ambient, Inputs, check, load, merge};

fn inputs(text: String) -> Inputs {
    Inputs {
        ambient: Ambient { name: "host".into(), root: true, ..Ambient::default() },
        files: vec![File { name: "p.toml".into(), text }],
        ..Inputs::default()
    }
}

fn plan(text: &str) -> Plan {
    let inputs = inputs(text.to_owned());
    let facts = Facts::default().host(&merge(&inputs).document);
    let made = make(load(&inputs, Vec::new()), true, |_| facts);
    made.plan.unwrap_or_else(|| panic!("{:?}", made.findings)).1
}

#[test]
fn equal_plans_have_equal_digests_and_fit_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(&qemu_bmc::plan::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let full = Case::read(&case::folder().join("full.toml"), "").make().plan.unwrap().1;
    for plan in [full, plan("disks = []")] {
        let json: serde_json::Value = serde_json::from_str(&plan.json()).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
        assert_eq!(json["digest"], plan.digest());
    }
    let digest = |text| plan(text).digest();
    assert_eq!(digest("disks = []"), digest("disks = [] # the same"));
    assert_ne!(digest("disks = []"), digest("disks = []\nmachine.cpus = 3"));
}

#[test]
fn no_plan_shows_a_password() {
    let plan = plan("disks = []\n[[ipmi.users]]\nname = 'a'\npassword = 'hunter2'");
    for shown in [plan.text(), plan.json(), plan.shell(), format!("{plan:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// Text for paths and command lines: with all that shells, JSON and QEMU's lists trip over.
fn nasty() -> impl Strategy<Value = String> {
    "[a-z,=\"'\\\\ {}$;:é\n-]{1,20}"
}

/// The words of a command line, according to the real shell.
fn as_a_shell_reads(text: &str) -> Vec<String> {
    let script = format!("set -- {text}\nprintf '%s\\0' \"$@\"");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let words = String::from_utf8(output.stdout).unwrap();
    words.split_terminator('\0').map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What `check` accepts is rendered, the same way each time, and whole: each path comes out of
    /// the JSON or the doubled commas as it went in.
    #[test]
    fn accepted_profiles_render(
        disks in prop::collection::vec(nasty(), 0..4),
        cdrom in nasty(),
        cmdline in nasty(),
        cpus in 0_u32..300,
        port in any::<u16>(),
        uefi in any::<bool>(),
        nics in 0_usize..4,
    ) {
        let disks: Vec<toml::Value> = disks
            .iter()
            .enumerate()
            .map(|(index, path)| toml::toml! { path = "" }.into_iter().map(|(key, _)| {
                (key, toml::Value::from(format!("/{index}{path}")))
            }).collect::<toml::Table>().into())
            .collect();
        let mut document = toml::toml! {
            machine.cpus = 0
            vnc.port = 0
            firmware.mode = "bios"
            cdroms = [{ path = "" }]
            kernel = { path = "/kernel", cmdline = "" }
        };
        document["machine"]["cpus"] = cpus.into();
        document["vnc"]["port"] = i64::from(port).into();
        document["firmware"]["mode"] = if uefi { "uefi" } else { "bios" }.into();
        document["cdroms"][0]["path"] = cdrom.clone().into();
        document["kernel"]["cmdline"] = cmdline.clone().into();
        document.insert("disks".into(), disks.into());
        let nics: Vec<toml::Table> = vec![toml::Table::new(); nics];
        document.insert("nics".into(), nics.into());
        let inputs = inputs(document.to_string());
        let merged = merge(&inputs);
        let checked = check(&merged.document, &merged.sources, &inputs.ambient);
        let valid = merged.findings.is_empty() && checked.is_ok();
        prop_assert_eq!(valid, (1..=255).contains(&cpus) && (port == 0 || port >= 5900));
        if let (true, Ok((profile, _))) = (valid, checked) {
            let mut facts = Facts::default().host(&merged.document);
            let plan = render(&profile, &facts);
            prop_assert_eq!(plan.json(), render(&profile, &facts).json());
            let handed = plan.qemu.handed_files();
            for path in profile.disks.iter().map(|disk| &disk.path).chain(&profile.cdroms) {
                prop_assert!(handed.iter().any(|file| file.path == *path), "{:?}", path);
            }
            // With another user, paths are replaced.
            facts.run_as = Ok(None);
            let plan = render(&profile, &facts);
            let argv = plan.qemu.argv(&[
                qemu_bmc::value::BootDevice::Disk,
                qemu_bmc::value::BootDevice::Cdrom,
                qemu_bmc::value::BootDevice::Network,
            ], false);
            let lines: Vec<String> = plan.qemu.lines().collect();
            prop_assert_eq!(&as_a_shell_reads(&lines.join(" \\\n")), &argv);
            prop_assert!(argv.contains(&cmdline));
            let files: Vec<String> = argv
                .iter()
                .zip(argv.iter().skip(1))
                .filter(|(switch, _)| *switch == "-blockdev")
                .filter_map(|(_, json)| serde_json::from_str::<serde_json::Value>(json).unwrap()
                    ["file"]["filename"].as_str().map(str::to_owned))
                .collect();
            for path in profile.disks.iter().map(|disk| &disk.path).chain(&profile.cdroms) {
                prop_assert!(files.contains(&path.display().to_string()), "{:?}", path);
            }
        }
    }
}
