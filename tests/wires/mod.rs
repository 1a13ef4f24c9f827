//! Network namespaces of one's own, and NICs for the wires in them. Needs root.

use std::future::Future;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use qemu_bmc::plan::{HostFacts, NicPlan, make};
use qemu_bmc::profile::{Ambient, Inputs, load};

/// Runs something in a network namespace that nobody else has.
pub(crate) fn in_namespace<F: Future>(run: impl FnOnce() -> F + Send + 'static) {
    let thread = move || {
        let namespaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        unshare(namespaces).expect("a network namespace; run this as root");
        // As in a container, /sys is this namespace's.
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::MS_RDONLY, none).unwrap();
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, run());
    };
    if let Err(panic) = std::thread::spawn(thread).join() {
        std::panic::resume_unwind(panic);
    }
}

/// `ip WORDS` in this thread's namespace; answers its output.
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A NIC as a profile makes it.
pub(crate) fn nic(interface: &str, wiring: &str) -> NicPlan {
    let inputs = Inputs {
        ambient: Ambient { name: "test".into(), root: true, ..Ambient::default() },
        sets: vec![
            format!("nics.0.interface={interface}"),
            format!("nics.0.wiring={wiring}"),
            "disks=[]".into(),
            "ipmi.users.0.password=x".into(),
        ],
        ..Inputs::default()
    };
    let made = make(load(&inputs, Vec::new()), false, |_| HostFacts {
        working_dir: "/".into(),
        kvm: qemu_bmc::plan::facts::Access::Usable,
        qemu: Some("/bin/true".into()),
        run_as: Ok(None),
        machine_types: None,
        cpu_models: None,
        uefi: None,
        uefi_secure: None,
        swtpm: None,
        files: Default::default(),
        real_paths: Default::default(),
        sha256: Default::default(),
        disk_bytes: Default::default(),
        overlays: Default::default(),
        interfaces: Vec::new(),
        clab_links: None,
        tap: qemu_bmc::plan::facts::Access::Usable,
        vhost_net: false,
        bad_password_files: Default::default(),
    });
    let (_, plan) = made.plan.unwrap_or_else(|| panic!("{:?}", made.findings));
    plan.network.nics.into_iter().next().unwrap()
}
