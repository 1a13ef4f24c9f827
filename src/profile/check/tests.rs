use std::path::Path;

use super::*;
use crate::profile::document::V15Auth;
use crate::profile::layers::{File, Inputs, merge};

fn findings(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    match checked(text, environment) {
        Ok((_, findings)) | Err(findings) => {
            findings.into_iter().map(|finding| finding.message).collect()
        }
    }
}

fn checked(
    text: &str,
    environment: &[(&str, &str)],
) -> Result<(Profile, Vec<Finding>), Vec<Finding>> {
    let inputs = Inputs {
        ambient: Ambient { name: "node1".into(), root: true, ..Ambient::default() },
        files: vec![File { name: "p.toml".into(), text: text.into() }],
        environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        sets: Vec::new(),
    };
    let merged = merge(&inputs);
    assert_eq!(merged.findings, []);
    check(&merged.document, &merged.sources, &inputs.ambient)
}

#[test]
fn the_empty_profile_is_the_seed() {
    let (profile, findings) = checked("", &[]).unwrap();
    assert_eq!(profile.ipmi.users[0].name, "admin");
    assert_eq!(profile.run_dir, Path::new("/var/run/qemu"));
    assert!(!profile.disks[0].asked_for);
    assert_eq!(findings.len(), 1, "the default password");
    let (profile, _) = checked("", &[("VM_DISK", "/vm/disk.qcow2")]).unwrap();
    assert!(profile.disks[0].asked_for);
}

#[test]
fn the_higher_layer_decides_between_password_and_file() {
    let text = "[[ipmi.users]]\nname = 'a'\npassword = 'x'";
    let (profile, _) = checked(text, &[("IPMI_PASS_FILE", "/p")]).unwrap();
    assert_eq!(profile.ipmi.users[0].password, Password::File("/p".into()));
    let text = "[[ipmi.users]]\nname = 'a'\npassword_file = '/p'";
    let (profile, _) = checked(text, &[("IPMI_PASS", "x")]).unwrap();
    assert!(matches!(profile.ipmi.users[0].password, Password::Inline(_)));
    let text = "[[ipmi.users]]\npassword = 'x'\npassword_file = '/p'";
    assert!(findings(text, &[])[0].contains("both"));
}

#[test]
fn cross_field_rules_name_both_values() {
    let text = "
        boot.order = ['disk', 'disk']
        vnc.port = 80
        machine.cpus = 0
        ipmi.port = 0
        ipmi.bind = 'not an interface'
        disks = [{ path = '/a' }, { path = '/a' }, { size = '1G' }]
        nics = [{ mac = '52:54:00:00:00:01' }, { mac = '52:54:00:00:00:01' }]
        [[ipmi.users]]
        name = 'a_name_that_is_too_long'
        password = 'x'
        [[ipmi.users]]
        name = 'b'
        password = 'x'
        [[ipmi.users]]
        name = 'b'
    ";
    let findings = findings(text, &[]);
    for part in [
        "named twice",
        "port 80",
        "`machine.cpus` cannot be 0",
        "`ipmi.port` cannot be 0",
        "`not an interface` is neither",
        "disks[0] and disks[1] are the same: /a",
        "`disks[2]` has no `path`",
        "nics[0] and nics[1] have the same MAC address, 52:54:00:00:00:01",
        "has 23 bytes",
        "`ipmi.users[2]` has no password",
    ] {
        assert!(findings.iter().any(|text| text.contains(part)), "{part}: {findings:#?}");
    }
    assert_eq!(findings.len(), 10, "{findings:#?}");
}

#[test]
fn what_excludes_each_other_is_named_with_both_values() {
    let text = "
        identity = { uuid = '00000000-0000-0000-0000-000000000000', serial = 'é', sku = '' }
        machine = { type = 'pc', cpu = 'host', accel = 'tcg', cpus = 6, sockets = 2, cores = 2, threads = 1 }
        firmware = { secure_boot = true, vars_template = '/v' }
        vnc = { port = 0, password_file = '/p' }
        nics = [{ model = 'e1000', mtu = 1400 }, { boot_rom = false, rom_file = '/r' }, { mtu = 60 }]
        cdroms = [{ path = '/1' }, { path = '/2' }, { path = '/3' }, { path = '/4' }, { path = '/5' }]
        [[disks]]
        path = '/a'
        sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
        serial = 'has space'
        [[disks]]
        path = '/b'
        read_only = true
        overlay = 'kept'
        size = '1G'
        bus = 'sata'
        serial = 'x'
        [[disks]]
        path = '/c'
        serial = 'x'
        bus = 'sata'
        [ipmi]
        cipher_suites = [17, 5, 17]
        [[ipmi.users]]
        name = 'a'
        password = 'b'
        enabled = false
    ";
    let findings = findings(text, &[]);
    for part in [
        "all zero",
        "`identity.serial` cannot be `é`",
        "`identity.sku` cannot be ``",
        "`machine.type` cannot be `pc`",
        "`machine.cpu` is `host`, which needs KVM, and `machine.accel` is `tcg`",
        "`machine.cpus` is 6, and the topology (`sockets` 2, `cores` 2, `threads` 1) makes 4",
        "`firmware.secure_boot` is true, and `firmware.mode` is `bios`",
        "`firmware.vars_template` is set, and `firmware.mode` is `bios`",
        "`vnc.password_file` is set, and `vnc.port` is 0",
        "nics[0] has an `mtu`, and its `model` is `e1000`",
        "nics[1] has a `rom_file`, and its `boot_rom` is false",
        "`nics[2].mtu` cannot be 60",
        "5 CD-ROM drives and 2 SATA disks",
        "disks[0] has a `sha256`, and the guest writes to the image",
        "`has space` cannot be a disk's serial number",
        "disks[1] has an `overlay`, and its `read_only` is true",
        "disks[1] has a `size` to create it at, and its `read_only` is true",
        "disks[1] has `read_only`, and its `bus` is `sata`",
        "disks[1] and disks[2] have the same serial number, x",
        "no cipher suite 5 here",
        "cipher suite 17 is named twice",
        "no user is enabled",
    ] {
        assert!(findings.iter().any(|text| text.contains(part)), "{part}: {findings:#?}");
    }
    assert_eq!(findings.len(), 22, "{findings:#?}");
}

#[test]
fn the_topology_gives_the_number_of_vcpus_or_agrees_with_it() {
    let cpus = |text: &str| checked(text, &[]).map(|(profile, _)| profile.machine.cpus).ok();
    assert_eq!(cpus("machine = { sockets = 2, cores = 4 }"), Some(8));
    assert_eq!(cpus("machine = { cpus = 8, cores = 4 }"), Some(8));
    assert_eq!(cpus("machine = { cpus = 8, sockets = 2, cores = 2, threads = 2 }"), Some(8));
    assert_eq!(cpus("machine = { cpus = 8, sockets = 2, cores = 2, threads = 1 }"), None);
    assert_eq!(cpus("machine = { cpus = 6, cores = 4 }"), None);
    assert_eq!(cpus("machine = { sockets = 100, cores = 4 }"), None);
}

#[test]
fn one_image_may_be_the_base_of_many_disks() {
    let with = |first: &str, second: &str| {
        let text = format!("disks = [{{ path = '/a'{first} }}, {{ path = '/a'{second} }}]");
        checked(&text, &[]).is_ok()
    };
    assert!(with(", overlay = 'kept'", ", overlay = 'throw-away'"));
    assert!(with(", read_only = true", ", overlay = 'kept'"));
    assert!(!with("", ", overlay = 'kept'"));
    assert!(!with(", read_only = true", ""));
}

#[test]
fn what_lets_in_everybody_is_asked_for_by_its_own_name_and_warned_of() {
    let suites =
        |text: &str| checked(text, &[]).map(|(profile, _)| profile.ipmi.cipher_suites).ok();
    assert_eq!(suites(""), Some(vec![17, 3]));
    let all = "ipmi.cipher_suites = [17, 3, 1, 2, 6, 7, 8, 11, 12, 15, 16]";
    assert_eq!(suites(all).map(|suites| suites.len()), Some(11));
    assert_eq!(suites("ipmi.cipher_suites = [17, 0]"), None);
    assert_eq!(suites("ipmi.allow_cipher_suite_0 = true"), Some(vec![17, 3, 0]), "the last");
    for suite in [4, 5, 9, 10, 13, 14] {
        assert_eq!(suites(&format!("ipmi.cipher_suites = [{suite}]")), None, "RC4");
    }
    let says = |text: &str, part: &str| {
        let findings = findings(text, &[]);
        assert!(findings.iter().any(|text| text.contains(part)), "{part}: {findings:#?}");
    };
    says("ipmi.cipher_suites = [0]", "suite 0 lets in everybody");
    says("ipmi.allow_cipher_suite_0 = true", "any password is right");
    says("ipmi.v15 = ['none']", "everybody who knows a user's name");
    says("ipmi.v15 = ['md5', 'password']", "in clear");
    says("ipmi.v15 = ['md5', 'md5']", "md5 is named twice");
    says("ipmi.k_g_file = ''", "the path is empty");
    let v15 = |text: &str| checked(text, &[]).map(|(profile, _)| profile.ipmi.v15).unwrap();
    assert_eq!(v15(""), [V15Auth::Md5]);
    assert_eq!(v15("ipmi.v15 = []"), []);
}
