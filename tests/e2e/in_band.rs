//! The BMC as the machine itself sees it: a Linux guest with its IPMI drivers, and tools in it.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::machine::{Machine, Setup, root};
use crate::processes::{self, Signal};
use crate::story::told;
use crate::terminal::Terminal;
use crate::wait::{BOOT, SOON, wait_for, wait_until};

impl Setup {
    /// The demo machine with the guest that has IPMI's drivers and tools.
    pub(crate) fn ipmi_guest() -> Self {
        let path = |part: &str| {
            let path = root().join("target/guest/ipmi").join(part);
            assert!(path.exists(), "no {}: `make guest` builds it", path.display());
            path.display().to_string()
        };
        Self::demo()
            .set(format!("kernel.path={}", path("vmlinuz")))
            .set(format!("kernel.initrd={}", path("initrd")))
            // Its kernel has more to say than the demo's.
            .set("kernel.cmdline=console=ttyS0 no_timer_check quiet")
    }
}

impl Machine {
    /// Switches the machine on, and answers its guest's shell. No session of the BMC's is used.
    #[track_caller]
    pub(crate) fn guest(&self) -> Terminal {
        let mut guest = self.console(&[]);
        self.ctl(&["power", "on"]).succeeds();
        guest.expect_guest();
        guest
    }

    /// Waits for a QEMU other than this one.
    #[track_caller]
    fn wait_other_qemu(&self, old: u32) -> u32 {
        wait_until("a new process", BOOT, || self.qemu_pid().is_some_and(|pid| pid != old));
        self.wait_on()
    }
}

/// The lines of what was said, without the white space that ends them.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The rows of `sdr list` whose readings are measured: these never stand still.
const MEASURED: [&str; 3] = ["CPU Load", "Memory", "Power (sim)"];

/// A row of `sdr list` with its reading left out, if that is measured.
fn without_measured(line: &str) -> String {
    let name = line.split('|').next().unwrap_or_default().trim();
    if MEASURED.contains(&name) { name.to_owned() } else { line.to_owned() }
}

#[test]
fn clients_inside_and_outside_are_told_the_same() {
    let machine = Setup::ipmi_guest().start();
    machine.ipmitool(&["user", "set", "name", "5", "outsider"]).succeeds();
    let mut guest = machine.guest();
    // What one side writes, the other reads.
    assert_eq!(guest.shell("ipmitool user set name 6 insider"), "");
    guest.shell("ipmitool event 1");
    // The driver hands an event to whoever comes first, and ipmitool takes it for its answer.
    guest.shell("ipmitool mc info");
    for (command, has) in [
        ("mc info", "Device ID                 : 32"),
        ("mc guid", "System GUID"),
        ("lan print 1", "IP Address              : "),
        ("user list 1", "insider"),
        ("channel info 1", "Channel 0x1 info:"),
        ("channel getaccess 1 2", "User Name            : admin"),
        ("sel list", "Upper Critical going high"),
        ("sdr list", " | ok"),
        ("fru print", " Product Name          : "),
        ("chassis status", "System Power         : on"),
        ("chassis bootparam get 5", "Boot parameter data: "),
        ("sol info 1", "Payload Channel                 : 1"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let ask_outside = || lines(&machine.ipmitool(&words).succeeds().stdout);
        // Something may happen between two of the questions: then all is asked again.
        let (outside, inside) = wait_for(&format!("`{command}` stands still"), BOOT, || {
            let before = ask_outside();
            let inside = lines(&guest.shell_within(BOOT, &format!("ipmitool {command}")));
            let still = before == ask_outside() || command == "sdr list";
            still.then_some((before, inside))
        });
        assert!(inside.iter().any(|line| line.contains(has)), "{command}: {inside:#?}");
        let [outside, inside] = [outside, inside].map(|lines| match command {
            "sdr list" => lines.iter().map(|line| without_measured(line)).collect(),
            _ => lines,
        });
        // The session that asks is one; inside there is none.
        let outside: Vec<_> = outside
            .iter()
            .map(|line| line.replace("Active Session Count  : 1", "Active Session Count  : 0"))
            .collect();
        assert_eq!(inside, outside, "{command}");
    }
}

#[test]
fn a_watchdog_that_the_kernel_does_not_feed_resets_the_machine() {
    let machine = Setup::ipmi_guest().start();
    let mut guest = machine.guest();
    let qemu = machine.wait_on();
    let timer = || machine.ipmitool(&["mc", "watchdog", "get"]).succeeds();
    // Long enough for the BMC to be asked.
    guest.shell("insmod /modules/ipmi_watchdog.ko timeout=300 action=reset");
    guest.shell("echo > /dev/watchdog");
    timer().says("Started/Running").says("SMS/OS").says("Hard Reset").says("300");
    // The letter that takes leave of it.
    guest.shell("printf V > /dev/watchdog");
    timer().says("Stopped");

    guest.shell("echo 2 > /sys/module/ipmi_watchdog/parameters/timeout");
    guest.type_line("echo > /dev/watchdog");
    guest.expect_within(BOOT, "SeaBIOS (version ");
    guest.expect_guest();
    assert_eq!(machine.wait_on(), qemu, "it was reset, and not switched off");
    let list = machine.ipmitool(&["sel", "list"]).succeeds().stdout;
    let expired = |line: &str| line.contains("Watchdog2") && line.contains("Hard reset");
    assert!(list.lines().any(expired), "{list}");
    machine.ipmitool(&["chassis", "restart_cause"]).succeeds().says("watchdog");
    // And not again.
    timer().says("Stopped");
    guest.shell("ipmitool mc info");
}

#[test]
fn the_machine_switches_itself_by_its_bmc() {
    let machine = Setup::ipmi_guest().start();
    let mut guest = machine.guest();
    let first = machine.wait_on();
    guest.type_line("ipmitool power cycle");
    let second = machine.wait_other_qemu(first);
    guest.expect_within(BOOT, "SeaBIOS (version ");
    guest.expect_guest();
    told(&machine, "Power Unit: power cycle (power cycle by software on the machine)");

    guest.type_line("ipmitool power reset");
    guest.expect_within(BOOT, "SeaBIOS (version ");
    guest.expect_guest();
    assert_eq!(machine.wait_on(), second);
    told(&machine, "System Boot: initiated by hard reset (reset by software on the machine)");
    // Channel Fh is the system interface.
    told(&machine, "System Boot: restart, cause: chassis control command, channel Fh");

    guest.type_line("ipmitool power off");
    machine.wait_off();
    told(&machine, "Power Unit: power off (power off by software on the machine)");
    assert_eq!(machine.status()["fault"], false);
}

/// Get Channel Authentication Capabilities, as ipmitool asks first (IPMI v2.0, 13.6, 22.13).
const ASK: [u8; 23] = [
    0x06, 0x00, 0xFF, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x09, 0x20, 0x18,
    0xC8, 0x81, 0x00, 0x38, 0x8E, 0x04, 0xB5,
];

/// How long the BMC takes to answer: a single question, and a client with login and logout. The
/// median of many; each has to succeed.
fn answer_times(machine: &Machine) -> (Duration, Duration) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, machine.port())).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let (mut questions, mut clients) = (Vec::new(), Vec::new());
    // One after the other: a row of questions would mostly find those moments when the BMC is free.
    for _ in 0..200 {
        let start = Instant::now();
        socket.send(&ASK).unwrap();
        socket.recv(&mut [0; 64]).unwrap();
        questions.push(start.elapsed());
        let output = machine.ipmitool(&["-C", "3", "mc", "info"]).succeeds();
        clients.push(output.has_field("Device ID", "32").took);
    }
    let [question, client] = [questions, clients].map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    (question, client)
}

/// Starts four processes in the guest that do this and nothing else, for ever.
#[track_caller]
fn start_four(guest: &mut Terminal, command: &str) {
    guest.shell("four=");
    // The shell has nothing to say of their end.
    guest.shell(&format!("for i in 1 2 3 4; do {command} & four=\"$four $!\"; disown; done"));
}

/// Asks the BMC as fast as a process can.
const FLOOD: &str = "yes 'raw 6 1' | ipmitool exec /proc/self/fd/0 > /dev/null 2>&1";

/// How many requests the guest's driver has carried to the BMC and back.
fn carried(guest: &mut Terminal) -> u64 {
    let count = "cat /sys/bus/platform/drivers/ipmi_si/*/complete_transactions";
    guest.shell_within(BOOT, count).trim().parse().unwrap()
}

#[test]
fn a_guest_that_floods_its_bmc_does_not_slow_the_clients_outside() {
    let machine = Setup::ipmi_guest().start();
    let mut guest = machine.guest();
    // As much work for the host's processors as the flood is.
    start_four(&mut guest, "(while :; do :; done)");
    let (question, client) = answer_times(&machine);
    guest.shell("kill $four");

    start_four(&mut guest, FLOOD);
    let before = carried(&mut guest);
    let (question_then, client_then) = answer_times(&machine);
    let requests = carried(&mut guest) - before;
    eprintln!(
        "{requests} requests inside; a question outside {question:?}, then {question_then:?}; \
         a client {client:?}, then {client_then:?}"
    );
    assert!(requests > 1000, "that was no flood: {requests}");
    assert!(client_then < client * 5, "clients wait for the guest");
    assert!(
        question_then < question * 5 + Duration::from_millis(1),
        "questions wait for the guest"
    );
}

#[test]
fn the_guests_way_to_the_bmc_lasts_over_resets_and_new_machines() {
    let talks = |guest: &mut Terminal| {
        let said = guest.shell("ipmitool mc info");
        assert!(said.contains("Device ID                 : 32\r\n"), "{said}");
    };
    let machine = Setup::ipmi_guest().start();
    let mut guest = machine.guest();
    for action in ["reset", "cycle", "reset"] {
        talks(&mut guest);
        // It is cut off in the middle of a request.
        start_four(&mut guest, FLOOD);
        wait_until("the flood", BOOT, || carried(&mut guest) > 100);
        machine.power(action);
        guest.expect_within(BOOT, "SeaBIOS (version ");
        guest.expect_guest();
    }
    start_four(&mut guest, FLOOD);
    wait_until("the flood", BOOT, || carried(&mut guest) > 100);
    processes::signal(machine.wait_on(), Signal::SIGKILL);
    machine.wait_off();
    machine.power("on");
    guest.expect_within(BOOT, "SeaBIOS (version ");
    guest.expect_guest();
    talks(&mut guest);
}

#[test]
fn a_machine_without_it_finds_no_bmc() {
    let machine = Setup::ipmi_guest().set("ipmi.in_band=false").start();
    let mut guest = machine.guest();
    let qemu = fs::read(format!("/proc/{}/cmdline", machine.wait_on())).unwrap();
    let qemu = String::from_utf8_lossy(&qemu).replace('\0', " ");
    for device in ["ipmi-bmc", "isa-ipmi"] {
        assert!(!qemu.contains(device), "{qemu}");
    }
    assert!(!guest.shell("dmidecode -t 38").contains("IPMI Device Information"));
    let located = guest.shell("ipmi-locate");
    assert!(located.contains("Probing KCS device using SMBIOS... FAILED"), "{located}");
    assert!(!located.contains("... done"), "{located}");
    assert_eq!(guest.shell("ls /dev/ipmi0 2> /dev/null"), "");
    machine.ipmitool(&["mc", "info"]).succeeds();
}
