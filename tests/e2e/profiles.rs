//! The profiles of `profiles/`, started as they are but for paths, ports and the accelerator.

use std::fs;
use std::path::Path;

use crate::machine::{PASSWORD, Setup, free_port, root};

/// Sets what cannot be the same here: where files are, which ports are free, how much there is.
fn prepared(path: &Path) -> Setup {
    let profile: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let mut setup = Setup::bare()
        .profile(path.to_owned())
        .set("machine.accel=tcg")
        .set("machine.memory=256MiB")
        .set("machine.cpus=1")
        // Nobody is there to shut down.
        .set("power.stop_limit_s=0");
    let list = |key: &str| {
        let entries = profile.get(key).and_then(toml::Value::as_array);
        entries.cloned().unwrap_or_default()
    };
    for (index, disk) in list("disks").iter().enumerate() {
        let path = setup.dir.path().join(format!("disk{index}"));
        // What the program creates must not be there; what it does not, must.
        if disk.get("size").is_none() || disk.get("overlay").is_some() {
            fs::write(&path, vec![0; 1 << 20]).unwrap();
        }
        setup = setup.set(format!("disks.{index}.path={}", path.display()));
    }
    if let Some(vnc) = profile.get("vnc")
        && vnc.get("password_file").is_some()
    {
        let file = setup.file("vnc-password", b"vnc-word\n");
        setup = setup.set(format!("vnc.password_file={}", file.display()));
    }
    if profile.get("vnc").is_none_or(|vnc| vnc.get("port").is_none()) {
        setup = setup.set(format!("vnc.port={}", free_port()));
    }
    let user = &profile["ipmi"]["users"][0];
    assert_eq!(user["name"].as_str(), Some("admin"), "{}", path.display());
    if user.get("password_file").is_some() {
        let file = setup.file("ipmi-password", format!("{PASSWORD}\n").as_bytes());
        setup.set(format!("ipmi.users.0.password_file={}", file.display()))
    } else {
        setup.set(format!("ipmi.users.0.password={PASSWORD}"))
    }
}

#[test]
fn each_profile_of_the_repository_starts() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("profiles")).unwrap() {
        let path = entry.unwrap().path();
        let always_off = fs::read_to_string(&path).unwrap().contains("\"always-off\"");
        let machine = prepared(&path).start();
        if always_off {
            machine.power_is("off");
            machine.power("on");
        }
        machine.wait_on();
        machine.power_is("on");
        let status = machine.status();
        assert_eq!(status["fault"], false, "{}: {status}", path.display());
        seen += 1;
    }
    assert!(seen > 1, "no profiles");
}
