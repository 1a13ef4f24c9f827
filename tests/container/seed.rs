//! docker-qemu-bmc's own checks, by their numbers there. Where a check is about what was inside that
//! image (supervisord, scripts), it is about the same thing here; where it could not fail, it can.

use std::fs;

use crate::command::run;
use crate::container::{Container, Setup, argv};
use crate::engine::docker;
use crate::machine::{PASSWORD, USER, ipmitool, screen_is_lit};
use crate::media;
use crate::processes;
use crate::report::check;
use crate::wait::{BOOT, SOON, wait_until};

/// State of a TCP socket that listens, and of a UDP socket, in /proc/net.
const LISTENS: &str = "0A";
const BOUND: &str = "07";

/// Whether a port is bound in the container, by its tables `/proc/net/{tcp,udp}` and those of IPv6.
#[track_caller]
fn is_bound(container: &Container, protocol: &str, port: u16, state: &str) -> bool {
    let end = format!(":{port:04X}");
    let tables = [protocol.to_owned(), format!("{protocol}6")];
    tables.iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", container.pid())).unwrap();
        table.lines().skip(1).any(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next().unwrap().ends_with(&end) && words.nth(1) == Some(state)
        })
    })
}

/// The container of docker-qemu-bmc's runner, but for `--privileged`, and emulated.
fn start() -> Container {
    Setup::new("seed")
        .options(["--publish=5910:5900", "--publish=6240:623/udp"])
        .env("IPMI_ADVERTISED_PORT", "6240")
        .env("QEMU_BMC__CONSOLE__TCP_PORT", "9002")
        .start()
}

/// The published port.
fn published(words: &str) -> crate::command::Output {
    run(ipmitool("lanplus", "127.0.0.1", "6240", [USER, PASSWORD]).args(words.split(' ')))
}

pub(crate) fn group() {
    let seed = start();
    container(&seed);
    programs(&seed);
    ipmi();
    power(&seed);
    monitor_and_boot_files(&seed);
    console(&seed);
    readiness(&seed);
}

fn container(seed: &Container) {
    check("7.7 container healthy within 30 s", || seed.wait_healthy());
    check("1.2 container starts", || assert_eq!(seed.inspect("{{.State.Status}}"), "running"));
    check("1.3 QEMU process running", || seed.wait_qemu());
    check("1.4 QEMU acceleration in its arguments", || {
        assert!(seed.qemu_argv().contains("accel=tcg"), "{}", seed.qemu_argv());
    });
    check("1.5 VNC port", || {
        assert!(seed.qemu_argv().contains("-vnc :0"));
        wait_until("it listens", SOON, || is_bound(seed, "tcp", 5900, LISTENS));
        assert!(!is_bound(seed, "tcp", 5901, LISTENS), "so would any port");
    });
    check("1.6 VNC shows a picture on the published port", || {
        wait_until("the firmware's text", SOON, || screen_is_lit("127.0.0.1:5910"));
    });
}

fn programs(seed: &Container) {
    check("2.1 process 1 is the program", || {
        assert_eq!(seed.read("/proc/1/comm"), "qemu-bmc");
    });
    check("2.2 status lists machine and BMC", || {
        seed.ctl(&["status"]).succeeds().says("power     on").says("ipmi      UDP port 623");
    });
    check("2.3 status knows the QEMU process", || {
        let told = seed.status()["qemu_pid"].as_u64().unwrap();
        let status = seed.read(&format!("/proc/{told}/status"));
        let name = status.lines().next().unwrap();
        assert!(name.contains("qemu-system"), "{name}");
    });
    check("2.4 the BMC is alive", || {
        seed.exec(&["qemu-bmc", "health"]).succeeds().says("the BMC answers");
    });
    check("2.5 the BMC answers before QEMU is started", || {
        let log = seed.logs();
        let (bmc, qemu) = (log.find("BMC is up").unwrap(), log.find("is up pid=").unwrap());
        assert!(bmc < qemu, "{log}");
        let off = Setup::new("off").off().ready();
        assert_eq!((off.power().as_str(), off.qemu()), ("off", None));
    });
    check("2.6 log of BMC, QEMU and firmware", || {
        let log = seed.logs();
        for part in ["BMC is up", "machine started", "DEBUG"] {
            assert!(log.contains(part), "no `{part}`: {log}");
        }
        seed.ctl(&["sel", "list"]).succeeds().says("power up");
    });
    check("2.7 local stop and start", || {
        seed.ctl(&["power", "off"]).succeeds();
        seed.wait_power("off");
        seed.ctl(&["power", "on"]).succeeds();
        seed.wait_power("on");
    });
    check("3.1, 3.2 the IPMI service is this program, and no other", || {
        let names: Vec<String> = processes::children(seed.pid())
            .into_iter()
            .filter_map(|pid| argv(pid).first().cloned())
            .filter(|name| !name.contains("qemu-system"))
            .collect();
        assert!(names.is_empty(), "{names:?}");
    });
    check("3.3 UDP port 623", || {
        assert!(is_bound(seed, "udp", 623, BOUND));
        let other = Setup::new("other-port").env("IPMI_PORT", "6623").off().ready();
        assert!(!is_bound(&other, "udp", 623, BOUND), "whatever the port is");
        assert!(is_bound(&other, "udp", 6623, BOUND));
    });
}

fn ipmi() {
    check("3.4 IPMI 1.5", || {
        let mut lan = ipmitool("lan", "127.0.0.1", "6240", [USER, PASSWORD]);
        run(lan.args(["mc", "info"])).succeeds().says("Device ID");
    });
    check("3.5 IPMI 2.0", || published("mc info").succeeds().says("Device ID"));
    check("3.6 mc info: what there is", || {
        let info = published("mc info").succeeds().says("Firmware Revision").says("IPMI Version");
        info.has_field("Device Available", "yes");
    });
    check("3.7 mc info: version", || published("mc info").has_field("IPMI Version", "2.0"));
    check("3.8 mc info: chassis", || published("mc info").succeeds().says("Chassis Device"));
    check("3.9 the right password", || published("mc info").succeeds());
    check("3.10 a wrong password", || {
        let mut wrong = ipmitool("lanplus", "127.0.0.1", "6240", [USER, "wrong"]);
        run(wrong.args(["mc", "info"])).fails().says("Unable to establish");
    });
    check("3.11 a wrong user", || {
        let mut wrong = ipmitool("lanplus", "127.0.0.1", "6240", ["nobody", PASSWORD]);
        run(wrong.args(["mc", "info"])).fails().says("Unable to establish");
    });
    check("3.12 SEL", || published("sel info").succeeds().says("Entries"));
}

fn power(seed: &Container) {
    check("4.1 QMP socket", || {
        seed.exec(&["test", "-S", "/var/run/qemu/qmp.sock"]).succeeds();
    });
    check("4.2 power state file", || {
        let state = seed.read("/var/run/qemu/power.state");
        assert!(["on", "off"].contains(&state.as_str()), "{state}");
    });
    check("4.3 power status", || {
        published("chassis power status").succeeds().says("Chassis Power is");
    });
    check("4.4 power status is on while QEMU runs", || {
        seed.wait_qemu();
        assert_eq!(seed.power(), "on");
    });
    check("4.5 power off", || {
        seed.switch("off", "Down/Off");
        seed.wait_power("off");
    });
    check("4.6 power on", || {
        seed.switch("on", "Up/On");
        seed.wait_power("on");
    });
    check("4.7 power cycle: another process", || {
        let before = seed.wait_qemu();
        seed.switch("cycle", "Cycle");
        wait_until("another process", SOON, || seed.qemu().is_some_and(|pid| pid != before));
        seed.wait_power("on");
    });
    check("4.8, 4.17 power reset: the same process", || {
        let before = seed.wait_qemu();
        let resets = |log: String| log.matches("reset").count();
        let so_far = resets(seed.logs());
        seed.switch("reset", "Reset");
        wait_until("it is reset", SOON, || resets(seed.logs()) > so_far);
        assert_eq!(seed.qemu(), Some(before));
    });
    check("4.9 on, off, on: one state everywhere", || {
        seed.wait_power("on");
        seed.switch("off", "Down/Off");
        seed.wait_power("off");
        seed.switch("on", "Up/On");
        seed.wait_power("on");
    });
    check("4.10 power status without the network", || {
        assert_eq!(seed.status()["power"], "on");
    });
}

fn monitor_and_boot_files(seed: &Container) {
    check("4.11 QMP communication", || {
        assert_eq!(seed.qmp("query-status")["status"], "running");
    });
    for (number, device) in [("4.12", "pxe"), ("4.13", "disk"), ("4.14", "cdrom")] {
        check(&format!("{number} bootdev {device}"), || {
            published(&format!("chassis bootdev {device}")).succeeds();
            wait_until("the file says so", SOON, || {
                seed.read("/var/run/qemu/boot.device") == device
            });
        });
    }
    check("7.12 QMP socket is a socket", || seed.qmp("query-version"));
}

fn console(seed: &Container) {
    check("6.1, 7.11 serial console on TCP port 9002", || {
        wait_until("it listens", SOON, || is_bound(seed, "tcp", 9002, LISTENS));
    });
    check("6.2, 6.11 serial port in QEMU's arguments", || {
        let argv = seed.qemu_argv();
        assert!(argv.contains("-serial") && argv.contains("-chardev"), "{argv}");
    });
    check("6.3, 6.5, 6.10, 6.12 SOL is on, and its parameters are told", || {
        let info = published("sol info").succeeds();
        info.has_field("Enabled", "true").has_field("Payload Channel", "1 (0x01)");
        published("sol payload status 1 2").succeeds().says("enabled");
    });
    check("6.4 sol info", || published("sol info").succeeds());
    check("6.6, 6.8 SOL carries bytes both ways, on the published port", || {
        let guest = Setup::new("sol")
            .guest()
            .off()
            .options(["--publish=6241:623/udp"])
            .env("IPMI_ADVERTISED_PORT", "6241")
            .ready();
        let mut client = ipmitool("lanplus", "127.0.0.1", "6241", [USER, PASSWORD]);
        let mut terminal = crate::terminal::Terminal::open(client.args(["sol", "activate"]));
        terminal.expect("SOL Session operational");
        guest.switch("on", "Up/On");
        terminal.guest();
        assert_eq!(terminal.shell("echo $((6*7*1000))"), "42000\r\n");
    });
    check("6.7 serial console is accessible: the firmware's text", || {
        let words = "exec 3<>/dev/tcp/127.0.0.1/9002; grep -m1 -a SeaBIOS <&3";
        let listener = std::thread::scope(|scope| {
            let listener = scope.spawn(|| seed.in_network(["timeout", "20", "bash", "-c", words]));
            wait_until("it is connected", SOON, || {
                is_bound(seed, "tcp", 9002, "01") || listener.is_finished()
            });
            seed.switch("cycle", "Cycle");
            listener.join().unwrap()
        });
        listener.succeeds().says("SeaBIOS");
    });
    check("6.9 SERIAL_SOCK names a console", || {
        let socket = seed.exec(&["printenv", "SERIAL_SOCK"]).succeeds().stdout;
        seed.socket(socket.trim());
    });
}

fn readiness(seed: &Container) {
    check("7.8 all services", || {
        seed.wait_power("on");
        seed.exec(&["qemu-bmc", "health"]).succeeds();
    });
    check("7.9 IPMI responds", || published("mc info").succeeds().says("IPMI Version"));
    check("7.10 power control", || {
        published("chassis power off").succeeds();
        seed.wait_power("off");
        published("chassis power on").succeeds();
        seed.wait_power("on");
    });
    check("7.13 the variables are in the environment", || {
        let variables = seed.exec(&["env"]).succeeds().stdout;
        for name in ["VM_MEMORY", "IPMI_USER", "SERIAL_SOCK"] {
            let is_it = |line: &str| line.split('=').next() == Some(name);
            assert!(variables.lines().any(is_it), "no {name}");
        }
    });
    check("Q1 the container is listed", || {
        let id = seed.inspect("{{.Id}}");
        let listed = docker(["ps", "--no-trunc", "--quiet", "--filter", "status=running"]);
        listed.succeeds().says(&id);
    });
    check("Q2 mc info", || published("mc info").succeeds());
    check("Q3 power status", || published("chassis power status").succeeds().says("is on"));
}

/// What is booted, said by a disk and a CD-ROM that tell who they are.
pub(crate) fn boot() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("disk.raw"), media::disk("disk")).unwrap();
    fs::write(folder.path().join("cd.iso"), media::cdrom("cdrom")).unwrap();
    let setup = |name: &str| {
        Setup::new(name)
            .bind(folder.path(), "/vm")
            .env("VM_DISK", "/vm/disk.raw")
            .env("VM_CDROM", "/vm/cd.iso")
            .env("VM_MEMORY", "256")
    };
    let machine = setup("boot").env("QEMU_BMC__NICS__0__WIRING", "user").off().ready();
    let mut sol = machine.sol();
    check("4.15 pxe and cycle: the network is booted from, once", || {
        machine.switch("on", "Up/On");
        sol.expect_within(4 * BOOT, "disk booted");
        machine.ipmi("chassis bootdev pxe").succeeds();
        machine.switch("cycle", "Cycle");
        sol.expect_within(4 * BOOT, "iPXE");
        let argv = machine.qemu_argv();
        let first = argv.split("-device").find(|device| device.contains("\"bootindex\":1"));
        assert!(first.is_some_and(|device| device.contains("virtio-net-pci")), "{argv}");
        machine.switch("cycle", "Cycle");
        sol.expect_within(4 * BOOT, "disk booted");
    });
    check("4.16 cdrom and reset: the CD-ROM is booted from", || {
        machine.ipmi("chassis bootdev cdrom").succeeds();
        machine.switch("reset", "Reset");
        sol.expect_within(4 * BOOT, "cdrom booted");
    });
    check("QB bootdev bios", || {
        machine.ipmi("chassis bootdev bios").succeeds();
        assert_eq!(machine.read("/var/run/qemu/boot.device"), "bios");
    });
    check("QB a persistent override survives a boot", || {
        machine.ipmi("chassis bootdev cdrom options=persistent").succeeds();
        for _ in 0..2 {
            machine.switch("cycle", "Cycle");
            sol.expect_within(4 * BOOT, "cdrom booted");
        }
        machine.ipmi("chassis bootparam get 5").succeeds().says("all future boots");
    });
    drop(sol);
    drop(machine);
    check("QB UEFI: flash in the arguments, and it boots", || {
        let uefi = setup("uefi").env("VM_BOOT_MODE", "uefi").off().ready();
        let mut sol = uefi.sol();
        uefi.switch("on", "Up/On");
        assert!(uefi.qemu_argv().contains("pflash"), "{}", uefi.qemu_argv());
        sol.expect_within(6 * BOOT, "disk booted");
    });
    check("QB BIOS: the firmware speaks on the serial port", || {
        let bios = setup("bios").off().ready();
        let mut sol = bios.sol();
        bios.switch("on", "Up/On");
        sol.expect("SeaBIOS");
        assert!(!bios.qemu_argv().contains("pflash"));
    });
}
