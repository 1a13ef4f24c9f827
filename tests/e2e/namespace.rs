//! Network namespaces with machines in them, and links as containerlab makes them.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::clients::{ADMIN, SOL_READY};
use crate::command::{Output, run, tool};
use crate::machine::{Machine, Setup};
use crate::terminal::Terminal;

/// A network namespace; dropped, it is gone.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("qemu-bmc-{}-{number}", std::process::id());
        run(tool("ip").args(["netns", "add", &name])).succeeds();
        let namespace = Self(name);
        namespace.ip("link set lo up");
        namespace
    }

    #[track_caller]
    pub(crate) fn ip(&self, words: &str) -> String {
        run(tool("ip").args(["-n", &self.0]).args(words.split(' '))).succeeds().stdout
    }

    /// A machine in here, off.
    pub(crate) fn machine(&self, setup: Setup) -> Machine {
        setup.wrapped_in(&["ip", "netns", "exec", &self.0]).start()
    }

    pub(crate) fn ipmitool(&self, machine: &Machine, words: &[&str]) -> Output {
        let mut command = self.ipmitool_command(machine);
        run(command.args(words))
    }

    pub(crate) fn ipmitool_command(&self, machine: &Machine) -> std::process::Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.0, "ipmitool", "-I", "lanplus", "-H", "127.0.0.1"]);
        command.args(["-p", &machine.port().to_string(), "-U", ADMIN.user, "-P", ADMIN.password]);
        command
    }

    /// Switches the demo guest on, and answers its shell.
    pub(crate) fn boot(&self, machine: &Machine) -> Terminal {
        let mut command = self.ipmitool_command(machine);
        let mut terminal = Terminal::open(command.args(["sol", "activate"]));
        terminal.expect(SOL_READY);
        self.ipmitool(machine, &["power", "on"]).succeeds();
        terminal.expect_guest();
        terminal
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run(tool("ip").args(["netns", "del", &self.0]));
    }
}

/// Links two namespaces as containerlab does: under another name first, with its MTU, renamed when it
/// is in, another MAC address, then switched on; then the other end.
pub(crate) fn link(a: (&Namespace, &str), b: (&Namespace, &str), mtu: u32) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let names = ["a", "b"].map(|end| format!("clab{}{end}{number}", std::process::id() % 10_000));
    let [first, second] = &names;
    let mtu = mtu.to_string();
    let words = ["link", "add", first, "mtu", &mtu, "type", "veth", "peer", "name", second];
    run(tool("ip").args(words).args(["mtu", &mtu])).succeeds();
    for (name, (namespace, wanted)) in names.iter().zip([a, b]) {
        run(tool("ip").args(["link", "set", name, "netns", &namespace.0])).succeeds();
        namespace.ip(&format!("link set {name} name {wanted}"));
        let octet = number * 2 + u32::from(name == second);
        namespace.ip(&format!("link set {wanted} address aa:c1:ab:00:00:{octet:02x}"));
        namespace.ip(&format!("link set {wanted} up"));
    }
}
