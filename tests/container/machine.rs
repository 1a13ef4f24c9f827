//! What is done to the machine in a container: by IPMI, at its console, at its monitor and screen.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

use crate::command::{Output, run, tool};
use crate::container::Container;
use crate::terminal::{PROMPT, Terminal};
use crate::wait::{BOOT, SOON, wait_until};

pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "password";

/// How ipmitool greets.
const SOL_READY: &str = "[SOL Session operational.  Use ~? for help]\r\n";

/// `ipmitool` at an address.
pub(crate) fn ipmitool(interface: &str, host: &str, port: &str, login: [&str; 2]) -> Command {
    let mut command = tool("ipmitool");
    command.args(["-I", interface, "-H", host, "-p", port, "-U", login[0], "-P", login[1]]);
    command
}

impl Container {
    pub(crate) fn ipmitool(&self) -> Command {
        ipmitool("lanplus", &self.address(), "623", [USER, PASSWORD])
    }

    pub(crate) fn ipmi(&self, words: &str) -> Output {
        run(self.ipmitool().args(words.split(' ')))
    }

    /// What IPMI says of the power: `on` or `off`.
    #[track_caller]
    pub(crate) fn power(&self) -> String {
        let said = self.ipmi("chassis power status").succeeds().stdout;
        said.trim().strip_prefix("Chassis Power is ").unwrap().to_owned()
    }

    /// Switches power by IPMI, and waits until all that shows it shows it.
    #[track_caller]
    pub(crate) fn switch(&self, action: &str, answer: &str) {
        self.ipmi(&format!("chassis power {action}")).succeeds().says(answer);
    }

    #[track_caller]
    pub(crate) fn wait_power(&self, wanted: &str) {
        wait_until(&format!("power is {wanted}"), SOON, || {
            self.power() == wanted
                && self.read("/var/run/qemu/power.state") == wanted
                && self.qemu().is_some() == (wanted == "on")
        });
    }

    /// Its serial console over the LAN.
    #[track_caller]
    pub(crate) fn sol(&self) -> Terminal {
        let mut terminal = Terminal::open(self.ipmitool().args(["sol", "activate"]));
        terminal.expect(SOL_READY);
        terminal
    }

    /// Switches on the demo guest, and answers its shell.
    #[track_caller]
    pub(crate) fn boot_guest(&self) -> Terminal {
        let mut terminal = self.sol();
        self.switch("on", "Up/On");
        terminal.guest();
        terminal
    }

    /// Asks the monitor that is there for the user's tools.
    #[track_caller]
    pub(crate) fn qmp(&self, command: &str) -> Value {
        let mut socket = self.socket("/var/run/qemu/qmp.sock");
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
        let mut answer = || loop {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if line.get("event").is_none() {
                return line;
            }
        };
        assert!(answer().get("QMP").is_some());
        for command in ["qmp_capabilities", command] {
            socket.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes()).unwrap();
            let said = answer();
            if command != "qmp_capabilities" {
                return said["return"].clone();
            }
        }
        unreachable!()
    }
}

impl Terminal {
    /// Waits until the demo guest has come up, on a host that may be building the next image.
    #[track_caller]
    pub(crate) fn guest(&mut self) {
        self.expect_within(4 * BOOT, "qemu-bmc demo guest ready");
        self.expect(PROMPT);
    }
}

/// Whether the screen that VNC shows at this address has anything on it (RFC 6143).
pub(crate) fn screen_is_lit(address: &str) -> bool {
    let mut server = TcpStream::connect(address).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let read = |server: &mut TcpStream, len: usize| {
        let mut bytes = vec![0; len];
        server.read_exact(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(read(&mut server, 12), b"RFB 003.008\n");
    server.write_all(b"RFB 003.008\n").unwrap();
    let types = read(&mut server, 1)[0];
    // None.
    assert!(read(&mut server, types.into()).contains(&1));
    server.write_all(&[1]).unwrap();
    assert_eq!(read(&mut server, 4), [0; 4]);
    // Shared with others.
    server.write_all(&[1]).unwrap();
    let init = read(&mut server, 24);
    let number = |bytes: &[u8]| usize::from(u16::from_be_bytes(bytes.try_into().unwrap()));
    let pixel_bytes = usize::from(init[4] / 8);
    let name_len = u32::from_be_bytes(init[20..].try_into().unwrap());
    read(&mut server, usize::try_from(name_len).unwrap());
    // All of it, raw.
    server.write_all(&[2, 0, 0, 1, 0, 0, 0, 0]).unwrap();
    server.write_all(&[&[3, 0, 0, 0, 0, 0], &init[..4]].concat()).unwrap();
    let update = read(&mut server, 4);
    assert_eq!(update[0], 0);
    let mut lit = false;
    for _ in 0..number(&update[2..]) {
        let rectangle = read(&mut server, 12);
        assert_eq!(rectangle[8..], [0; 4], "an encoding that nobody asked for");
        let pixels = number(&rectangle[4..6]) * number(&rectangle[6..8]);
        // The fourth byte of a pixel, if there is one, is nothing.
        let shown = read(&mut server, pixels * pixel_bytes);
        lit |= shown.chunks(pixel_bytes).any(|pixel| pixel.iter().take(3).any(|byte| *byte != 0));
    }
    lit
}
