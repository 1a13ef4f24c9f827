//! Golden plans: `<case>.toml` in `profiles/` and `tests/plan/`, with the host facts below, gives
//! `tests/plan/<case>.plan`. `UPDATE_GOLDEN=1 cargo test --test plan` writes them anew; read the
//! difference before you commit it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use qemu_bmc::plan::facts::{Access, FileFact, UefiFiles};
use qemu_bmc::plan::{HostFacts, Plan, RunAs, preconditions, render};
use qemu_bmc::profile::layers::File;
use qemu_bmc::profile::{Ambient, Inputs, Profile, Severity, check, merge};
use qemu_bmc::value::ImageFormat;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A host with everything: KVM, OVMF, and every file that the profile names but those in `/missing`.
fn facts(profile: &Profile) -> HostFacts {
    let mut files = BTreeMap::new();
    let mut there = |path: &Path| {
        let fact = if path.starts_with("/missing") {
            FileFact::Missing
        } else if path.starts_with("/dev") {
            FileFact::BlockDevice
        } else if path.extension().is_some_and(|extension| extension == "qcow2") {
            FileFact::File(ImageFormat::Qcow2)
        } else {
            FileFact::File(ImageFormat::Raw)
        };
        files.insert(path.to_owned(), fact);
    };
    profile.disks.iter().for_each(|disk| there(&disk.path));
    profile.cdroms.iter().for_each(|cdrom| there(cdrom));
    if let Some(kernel) = &profile.kernel {
        there(&kernel.path);
        kernel.initrd.iter().for_each(|initrd| there(initrd));
    }
    profile.firmware.vars_template.iter().for_each(|template| there(template));
    profile.nics.iter().filter_map(|nic| nic.rom_file.as_ref()).for_each(|rom| there(rom));
    files.insert("/missing".into(), FileFact::Directory);
    let with_sum = profile.disks.iter().filter_map(|disk| Some((disk.path.clone(), disk.sha256?)));
    let uefi = |build: &str, keys: &str| UefiFiles {
        code: format!("/usr/share/OVMF/OVMF_CODE_4M{build}.fd").into(),
        vars: format!("/usr/share/OVMF/OVMF_VARS_4M{keys}.fd").into(),
    };
    HostFacts {
        working_dir: "/".into(),
        kvm: Access::Usable,
        qemu: Some("/usr/bin/qemu-system-x86_64".into()),
        run_as: Ok(Some(RunAs {
            name: "nobody".into(),
            uid: 65534,
            gid: 65534,
            groups: vec![105],
        })),
        machine_types: None,
        cpu_models: None,
        uefi: Some(uefi("", "")),
        uefi_secure: Some(uefi(".secboot", ".ms")),
        swtpm: Some("/usr/bin/swtpm".into()),
        sha256: with_sum.collect(),
        disk_bytes: BTreeMap::new(),
        files,
        bad_password_files: BTreeMap::new(),
    }
}

fn plan(name: &str, text: &str) -> Plan {
    let inputs = Inputs {
        ambient: Ambient { name: "host".into(), root: true, ..Ambient::default() },
        files: vec![File { name: format!("{name}.toml"), text: text.into() }],
        ..Inputs::default()
    };
    let merged = merge(&inputs);
    assert_eq!(merged.findings, [], "{name}");
    let (profile, _) = check(&merged.document, &merged.sources, &inputs.ambient).unwrap();
    let facts = facts(&profile);
    let findings = preconditions(&profile, &merged.sources, &facts);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning), "{findings:?}");
    render(&profile, &facts)
}

#[test]
fn plans_are_as_they_were() {
    let golden = root().join("tests/plan");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut cases = 0;
    for folder in [root().join("profiles"), golden.clone()] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let plan = plan(&name, &text).text();
            let expected = golden.join(format!("{name}.plan"));
            if update {
                std::fs::write(&expected, &plan).unwrap();
            }
            let committed = std::fs::read_to_string(&expected).unwrap_or_default();
            assert!(
                committed == plan,
                "{} has changed; the plan is now:\n{plan}\nUPDATE_GOLDEN=1 writes it",
                expected.display()
            );
            cases += 1;
        }
    }
    assert!(cases >= 6, "only {cases} cases");
}

#[test]
fn equal_plans_have_equal_digests_and_fit_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(&qemu_bmc::plan::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let full = std::fs::read_to_string(root().join("tests/plan/full.toml")).unwrap();
    for text in [&full, "disks = []"] {
        let plan = plan("p", text);
        let json: serde_json::Value = serde_json::from_str(&plan.json()).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
        assert_eq!(json["digest"], plan.digest());
    }
    let digest = |text| plan("p", text).digest();
    assert_eq!(digest("disks = []"), digest("disks = [] # the same"));
    assert_ne!(digest("disks = []"), digest("disks = []\nmachine.cpus = 3"));
}

#[test]
fn no_plan_shows_a_password() {
    let plan = plan("secret", "disks = []\n[[ipmi.users]]\nname = 'a'\npassword = 'hunter2'");
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
        let inputs = Inputs {
            ambient: Ambient { name: "host".into(), root: true, ..Ambient::default() },
            files: vec![File { name: "p.toml".into(), text: document.to_string() }],
            ..Inputs::default()
        };
        let merged = merge(&inputs);
        let checked = check(&merged.document, &merged.sources, &inputs.ambient);
        let valid = merged.findings.is_empty() && checked.is_ok();
        prop_assert_eq!(valid, (1..=255).contains(&cpus) && (port == 0 || port >= 5900));
        if let (true, Ok((profile, _))) = (valid, checked) {
            let mut facts = facts(&profile);
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
            ]);
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
