//! What the seed's checks left out: those that qemu-bmc's Go rewrite added (QB), those that were planned
//! and never written, and what a container has to do when the machine in it does not.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::command::run;
use crate::container::{HEALTHY, Setup, argv};
use crate::engine::docker;
use crate::machine::{PASSWORD, USER, ipmitool};
use crate::processes::{self, Signal};
use crate::report::check;
use crate::wait::{SOON, wait_for, wait_until};

/// QEMU's arguments in a container with these variables.
#[track_caller]
fn argv_with(variables: &[(&str, &str)]) -> String {
    let setup =
        variables.iter().fold(Setup::new("argv"), |setup, (name, value)| setup.env(name, value));
    setup.ready().qemu_argv()
}

pub(crate) fn arguments() {
    check("QB memory and processors", || {
        let argv = argv_with(&[]);
        assert!(argv.contains("-m size=2048M") && argv.contains("-smp 2"), "{argv}");
        let argv = argv_with(&[("VM_MEMORY", "4096"), ("VM_CPUS", "4")]);
        assert!(argv.contains("-m size=4096M") && argv.contains("-smp 4"), "{argv}");
    });
    check("QB VNC port 5901 is display 1; 0 is none", || {
        assert!(argv_with(&[("VNC_PORT", "5901")]).contains("-vnc :1"));
        assert!(!argv_with(&[("VNC_PORT", "0")]).contains("-vnc"));
    });
    check("QB a disk and a CD-ROM are in the arguments; a disk is created", || {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cd.iso"), crate::media::cdrom("cdrom")).unwrap();
        let machine = Setup::new("disk")
            .bind(folder.path(), "/vm")
            .env("VM_DISK_SIZE", "1GiB")
            .env("VM_CDROM", "/vm/cd.iso")
            .ready();
        let argv = machine.qemu_argv();
        assert!(argv.contains("virtio-blk") && argv.contains("cd"), "{argv}");
        let block = machine.qmp("query-block").to_string();
        assert!(block.contains("qcow2") && block.contains("cdrom0"), "{block}");
        let image = fs::read(folder.path().join("disk.qcow2")).unwrap();
        assert!(image.starts_with(b"QFI\xfb"));
    });
    check("QB, planned: a missing disk is a warning, and an error where it was asked for", || {
        let machine = Setup::new("no-disk").ready();
        assert!(!machine.qemu_argv().contains("virtio-blk"));
        assert!(machine.logs().contains("no disk: /vm/disk.qcow2 is not there"));
        let asked = Setup::new("asked").env("VM_DISK", "/vm/other.qcow2").run();
        asked.exits(2).says("/vm/other.qcow2").says("VM_DISK");
    });
    check("QB KVM without /dev/kvm: emulated, with a warning", || {
        let machine = Setup::new("no-kvm").env("ENABLE_KVM", "true").ready();
        assert!(machine.qemu_argv().contains("accel=tcg"));
        assert!(machine.logs().contains("/dev/kvm: not there"), "{}", machine.logs());
    });
    check("QB QEMU_EXTRA_ARGS reach QEMU, split as a shell does", || {
        let argv = argv_with(&[("QEMU_EXTRA_ARGS", "-global 'kvm-pit.lost_tick_policy=discard'")]);
        assert!(argv.contains("-global kvm-pit.lost_tick_policy=discard"), "{argv}");
    });
    check("planned: every bad value is told at once, with its variable", || {
        let bad = Setup::new("bad").env("VM_MEMORY", "much").env("VM_BOOT", "x").run();
        bad.exits(2).says("VM_MEMORY").says("VM_BOOT");
    });
    check("a misspelt variable is a warning with what may be meant", || {
        let machine = Setup::new("typo").env("VM_MEMROY", "4096").off().ready();
        let log = machine.logs();
        assert!(log.contains("VM_MEMROY") && log.contains("VM_MEMORY"), "{log}");
    });
}

pub(crate) fn logins() {
    check("QB other credentials work, and the default ones do not", || {
        let machine =
            Setup::new("login").env("IPMI_USER", "root").env("IPMI_PASS", "0123").off().ready();
        let address = machine.address();
        let tried = |login| run(ipmitool("lanplus", &address, "623", login).args(["mc", "info"]));
        tried(["root", "0123"]).succeeds();
        tried([USER, PASSWORD]).fails().says("Unable to establish");
        assert!(!machine.logs().contains("0123"));
        assert!(!machine.logs().contains("default password"));
    });
    check("a password from a file, as secrets are", || {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ipmi"), "from a file\n").unwrap();
        let machine = Setup::new("secret")
            .bind(folder.path(), "/run/secrets:ro")
            .env("IPMI_PASS_FILE", "/run/secrets/ipmi")
            .off()
            .ready();
        let address = machine.address();
        run(ipmitool("lanplus", &address, "623", [USER, "from a file"]).args(["mc", "info"]))
            .succeeds();
    });
    check("planned: five clients at once", || {
        let machine = Setup::new("five").off().ready();
        let mut clients: Vec<_> = (0..5)
            .map(|_| {
                machine.ipmitool().args(["sdr", "list"]).stdout(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for client in &mut clients {
            assert!(client.wait().unwrap().success());
        }
    });
    check("planned: the first answer comes within 30 s; every command within 5 s", || {
        let machine = Setup::new("fast").start();
        let address = wait_for("an address", SOON, || {
            Some(machine.address()).filter(|address| !address.is_empty())
        });
        wait_until("an answer", HEALTHY, || {
            let mut command = ipmitool("lanplus", &address, "623", [USER, PASSWORD]);
            run(command.args(["-N", "1", "-R", "0", "mc", "info"])).code == Some(0)
        });
        for words in
            ["mc info", "chassis status", "sdr list", "sel list", "fru print", "user list 1"]
        {
            let took = machine.ipmi(words).succeeds().took;
            assert!(took < Duration::from_secs(5), "{words}: {took:?}");
        }
    });
}

pub(crate) fn life() {
    let machine = Setup::new("life").guest().off().ready();
    let mut sol = machine.boot_guest();
    check("QB soft shutdown: the guest hears it, and the container lives on", || {
        machine.switch("soft", "Soft");
        sol.expect("demo guest: poweroff");
        machine.wait_power("off");
        assert_eq!(machine.inspect("{{.State.Status}}"), "running");
    });
    check("healthy while the machine is off", || {
        machine.wait_healthy();
        machine.exec(&["qemu-bmc", "health"]).succeeds().says("off");
    });
    check("the guest reboots, and shuts down by itself: the BMC goes on", || {
        machine.switch("on", "Up/On");
        sol.guest();
        let before = machine.wait_qemu();
        sol.type_line("reboot");
        sol.guest();
        assert_eq!(machine.qemu(), Some(before));
        sol.type_line("poweroff");
        machine.wait_power("off");
        machine.ipmi("sel list").succeeds().says("Power");
    });
    check("QB, planned: QEMU is killed: off within 30 s, and on works", || {
        machine.switch("on", "Up/On");
        machine.wait_power("on");
        let killed = machine.wait_qemu();
        let start = Instant::now();
        processes::signal(killed, Signal::SIGKILL);
        machine.wait_power("off");
        assert!(start.elapsed() < HEALTHY);
        machine.ipmi("chassis status").succeeds().has_field("Main Power Fault", "true");
        machine.switch("on", "Up/On");
        sol.guest();
        assert_ne!(machine.wait_qemu(), killed);
    });
    check("planned: SOL: another client, and the same again", || {
        run(machine.ipmitool().args(["sol", "activate"])).fails().says("already active");
        drop(std::mem::replace(&mut sol, {
            machine.ipmi("sol deactivate").succeeds();
            machine.sol()
        }));
        assert_eq!(sol.shell("echo $((6*7*1000))"), "42000\r\n");
    });
    check("planned: off and on in a hurry: the last one holds", || {
        for _ in 0..3 {
            // A request that conflicts with one under way is refused as busy; the client repeats it.
            for (action, answer) in [("off", "Down/Off"), ("on", "Up/On")] {
                wait_until(action, SOON, || {
                    let said = machine.ipmi(&format!("chassis power {action}"));
                    said.code == Some(0) && said.text().contains(answer)
                });
            }
        }
        machine.wait_power("on");
        sol.guest();
    });
    check("QB docker stop -t 10: the guest shuts down, exit code 0", || {
        let (took, code) = machine.stop(10);
        assert_eq!(code, 0, "{}", machine.logs());
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(
            sol.transcript().ends_with("demo guest: poweroff\r\n") || {
                sol.transcript().contains("demo guest: poweroff")
            }
        );
    });
    check("docker start: as before", || {
        docker(["start", &machine.name]).succeeds();
        machine.wait_ready();
        let (took, code) = machine.stop(10);
        assert_eq!(code, 0, "{took:?}");
    });
    check("docker stop of a guest that does not listen: within 10 s, exit code 0", || {
        // It sits in its firmware, which knows no power button.
        let deaf = Setup::new("deaf").ready();
        deaf.wait_power("on");
        let (took, code) = deaf.stop(10);
        assert_eq!(code, 0);
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
    check(
        "what is changed over IPMI outlives the container, and a new state directory is new",
        || {
            let volume = format!("qemu-bmc-test-{}", std::process::id());
            let setup = |state: &str| {
                Setup::new("state")
                    .off()
                    .options([format!("--volume={state}:/var/lib/qemu-bmc")])
                    .ready()
            };
            {
                let first = setup(&volume);
                first.ipmi("user set name 5 keeper").succeeds();
                first.ipmi("chassis bootdev pxe options=persistent").succeeds();
            }
            {
                let second = setup(&volume);
                second.ipmi("user list 1").succeeds().says("keeper");
                second.ipmi("chassis bootparam get 5").succeeds().says("Force PXE");
            }
            docker(["volume", "rm", &volume]).succeeds();
            let third = setup(&volume);
            third.ipmi("user list 1").succeeds().does_not_say("keeper");
            drop(third);
            docker(["volume", "rm", &volume]).succeeds();
        },
    );
    check("QB, planned: one process beside QEMU, and less than 500 MB without the guest's", || {
        let small = Setup::new("small").off().ready();
        assert!(processes::children(small.pid()).is_empty());
        assert_eq!(argv(small.pid())[0], "qemu-bmc");
        let resident = || {
            let status = small.read("/proc/1/status");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u32>().unwrap()
        };
        assert!(resident() < 50_000, "{} KiB", resident());
    });
}
