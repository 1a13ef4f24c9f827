//! IPMI clients of a machine.

use std::process::Command;

use crate::command::{Output, run, tool};
use crate::machine::{Machine, PASSWORD, USER};
use crate::terminal::Terminal;

pub(crate) const SOL_READY: &str = "[SOL Session operational.  Use ~? for help]\r\n";

/// ipmitool's `-U … -P …` and FreeIPMI's `-u … -p …`.
#[derive(Clone, Copy)]
pub(crate) struct Login {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
}

pub(crate) const ADMIN: Login = Login { user: USER, password: PASSWORD };

/// `ipmitool -I lanplus …` to a port of this host.
pub(crate) fn ipmitool_at(port: u16, login: Login) -> Command {
    let mut command = tool("ipmitool");
    command.args(["-I", "lanplus", "-H", "127.0.0.1", "-p", &port.to_string()]);
    command.args(["-U", login.user, "-P", login.password]);
    command
}

impl Machine {
    /// `ipmitool -I lanplus … WORDS`.
    pub(crate) fn ipmitool(&self, words: &[&str]) -> Output {
        self.ipmitool_as(ADMIN, words)
    }

    pub(crate) fn ipmitool_as(&self, login: Login, words: &[&str]) -> Output {
        run(ipmitool_at(self.port(), login).args(words))
    }

    #[track_caller]
    pub(crate) fn power(&self, action: &str) {
        let answer = match action {
            "on" => "Up/On",
            "off" => "Down/Off",
            "cycle" => "Cycle",
            "reset" => "Reset",
            "soft" => "Soft",
            other => panic!("no power action {other}"),
        };
        let answer = format!("Chassis Power Control: {answer}");
        self.ipmitool(&["power", action]).succeeds().says(&answer);
    }

    #[track_caller]
    pub(crate) fn power_is(&self, state: &str) {
        self.ipmitool(&["power", "status"]).succeeds().says(&format!("Chassis Power is {state}"));
    }

    /// `TOOL -D LAN_2_0 … WORDS`, without workaround flags unless they are among the words.
    pub(crate) fn freeipmi(&self, name: &str, words: &[&str]) -> Output {
        self.freeipmi_as(ADMIN, name, words)
    }

    pub(crate) fn freeipmi_as(&self, login: Login, name: &str, words: &[&str]) -> Output {
        let mut command = tool(name);
        command.args(["-D", "LAN_2_0", "-h", &format!("127.0.0.1:{}", self.port())]);
        run(command.args(["-u", login.user, "-p", login.password]).args(words))
    }

    /// `ipmitool … sol activate`, on a terminal; it is up.
    #[track_caller]
    pub(crate) fn sol(&self) -> Terminal {
        sol_at(self.port(), &[])
    }

    /// `ipmiconsole`, on a terminal; it is up.
    #[track_caller]
    pub(crate) fn ipmiconsole(&self) -> Terminal {
        let mut command = tool("ipmiconsole");
        command.args(["-h", &format!("127.0.0.1:{}", self.port())]);
        command.args(["-u", ADMIN.user, "-p", ADMIN.password]);
        let mut terminal = Terminal::open(&command);
        terminal.expect("[SOL established]\r\n");
        terminal
    }
}

/// The same at a port of this host, with further flags.
#[track_caller]
pub(crate) fn sol_at(port: u16, flags: &[&str]) -> Terminal {
    let mut command = ipmitool_at(port, ADMIN);
    command.args(flags).args(["sol", "activate"]);
    let mut terminal = Terminal::open(&command);
    terminal.expect(SOL_READY);
    terminal
}
