//! What may fail, and when. Anything else is a failure of the test.

use regex::Regex;

use crate::command::Output;
use crate::soak::scene::{Actor, Event, Scene};

/// When an error is to be expected.
#[derive(Clone, Copy, Debug)]
enum When {
    /// Whatever goes on.
    Always,
    /// One of these was done lately, or is being done by another.
    Lately(&'static [Event]),
    /// The machine is off, or may have been a moment ago.
    Off,
}

/// An error that a client may show.
struct Expected {
    client: &'static str,
    /// Its command, as a regular expression.
    doing: &'static str,
    /// What it says, as a regular expression.
    says: &'static str,
    when: When,
}

const fn row(
    client: &'static str,
    doing: &'static str,
    says: &'static str,
    when: When,
) -> Expected {
    Expected { client, doing, says, when }
}

/// Power is being switched, or QEMU has been killed or stopped, which takes its time.
const SWITCHED: When = When::Lately(&[Event::Power, Event::Kill, Event::Stop]);
/// Another uses the event log: what was listed is gone, or a reservation is not valid any more.
const LOG_USED: When = When::Lately(&[Event::Sel, Event::Power, Event::Kill]);

#[rustfmt::skip]
const EXPECTED: &[Expected] = &[
    row("ipmitool", "^power ", "failed: Node busy\n$", SWITCHED),
    row("ipmitool", "^power (cycle|reset|soft|diag)$", "failed: Command not supported in present state\n$", When::Off),
    row("ipmitool", "^sol deactivate$", "^Info: SOL payload already de-activated\n$", When::Always),
    row("ipmitool", "^-P wrong ", "^Error: Unable to establish IPMI v2 / RMCP\\+ session\n$", When::Always),
    row("ipmitool", "^sel (list|elist)$", "Get SEL Entry [0-9a-f]+ command failed", LOG_USED),
    row("ipmitool", "^sel clear$", "^Unable to clear SEL: Reservation cancelled or invalid\n$", LOG_USED),
    row("ipmi-sel", "", "ipmi_sel_parse: internal IPMI error\n$", LOG_USED),
    // FreeIPMI's tool says nothing at all to these two completion codes, and ends with 0.
    row("ipmipower", "^--(on|off|cycle|reset|soft)$", "^$", SWITCHED),
    row("ipmipower", "^--(cycle|reset|soft)$", "^$", When::Off),
    row("bmc-info", "^-p wrong$", "^bmc-info: password invalid\n$", When::Always),
    row("ctl", "^power ", "^error: refused: busy with another power operation\n$", SWITCHED),
    row("ctl", "^power (cycle|reset|soft|diag)$", "^error: refused: not possible while the machine is off\n$", When::Off),
];

/// What is in the log if a power request comes to nothing that the BMC has not refused at once.
const REFUSED: &str = "power request refused ";

/// What the program's log may say as a warning or an error.
#[rustfmt::skip]
const LOGGED: &[Expected] = &[
    row("log", "WARN", "login not completed: wrong password\\? user=", When::Lately(&[Event::WrongPassword])),
    // Of `ctl`: as often as it was told so, see below.
    row("log", "WARN", REFUSED, When::Always),
    row("log", "ERROR", r#"machine is off cause=(Crash|NotStarted)\("killed by SIGKILL"\)$"#, When::Lately(&[Event::Kill])),
];

fn is(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text)
}

impl Scene {
    fn holds(&self, me: Actor, when: When) -> bool {
        match when {
            When::Always => true,
            When::Lately(events) => events.iter().any(|event| self.lately(me, *event)),
            When::Off => {
                self.machine.status()["power"] == "off"
                    || self.holds(me, When::Lately(&[Event::Power, Event::Kill]))
            }
        }
    }

    /// A client has ended. With exit code 0 and what `works` says, it has worked; else, this has to be
    /// expected.
    pub(super) fn judge(&self, me: Actor, client: &str, doing: &str, works: &str, output: &Output) {
        let worked = output.code == Some(0) && is(works, &output.text());
        self.count(&format!("{client} {doing}"), worked);
        let may_say = |row: &Expected| {
            row.client == client
                && is(row.doing, doing)
                && is(row.says, &output.text())
                && self.holds(me, row.when)
        };
        assert!(
            worked || EXPECTED.iter().any(may_say),
            "{me}: {client} {doing}: this is not expected now: {output}"
        );
    }

    /// Judges the program's log, from this byte on.
    pub(super) fn judge_log(&self, log: &str, from: usize) {
        let refused = log.matches(REFUSED).count();
        assert_eq!(refused, self.refused("ctl power "), "accepted, and then not done");
        for line in log[from..].lines() {
            assert!(!line.contains("panicked"), "the program has panicked: {line}");
            let level = line.split_whitespace().nth(1).unwrap_or_default();
            let may_say = |row: &Expected| {
                row.doing == level && is(row.says, line) && self.holds("log", row.when)
            };
            assert!(
                !["WARN", "ERROR"].contains(&level) || LOGGED.iter().any(may_say),
                "this is not expected in the log: {line}"
            );
        }
    }
}
