//! The engine that real clients talk to when vectors are captured.

use std::time::Instant;

use qemu_bmc::bmc::{Bmc, Config, User};
use qemu_bmc::machine::{Event, StartCause, Status};
use qemu_bmc::plan::{Identity, LanIdentity};
use qemu_bmc::profile::check::Declared;
use qemu_bmc::profile::document::Restore;
use qemu_bmc::value::Secret;
use qemu_bmc::wire::code::{AuthType, Privilege};

/// A machine that is on, one administrator, a fixed seed.
pub fn engine() -> Bmc {
    let config = Config {
        users: vec![User {
            name: b"admin".to_vec(),
            password: Secret::new("vector").unwrap(),
            privilege: Privilege::ADMINISTRATOR,
            enabled: true,
            declared: Declared::default(),
        }],
        cipher_suites: vec![17, 3],
        v15: vec![AuthType::MD5],
        bad_password_threshold: 20,
        lockout_interval_s: 60,
        k_g: None,
        guid: *b"0123456789abcdef",
        advertised_port: 6239,
        sol_replay: false,
        kernel: false,
        uefi: false,
        restore: Restore::AlwaysOn,
        restore_declared: true,
        cycle_interval_s: 1,
        cycle_interval_declared: false,
        name: "node1".into(),
        asset_tag: None,
        identity: identity(),
        sensors: qemu_bmc::plan::SensorsPlan::built_in(2, 1 << 30),
        cpu_sockets: 2,
        lan: LanIdentity::default(),
        lan_settable: false,
    };
    let mut bmc = Bmc::new(config, [42; 32]);
    let status = Status::ON;
    bmc.handle_machine(Instant::now(), status, &Event::Started(StartCause::PowerOn));
    bmc
}

/// Somebody.
pub fn identity() -> Identity {
    Identity {
        name: "node1".parse().unwrap(),
        uuid: "5a9d882d-7a74-5ead-adb8-671adc89d694".parse().unwrap(),
        manufacturer: "Example Corp.".into(),
        product: "Virtual Server".into(),
        serial: "SN0001".into(),
        asset_tag: None,
        sku: Some("R1U".into()),
    }
}
