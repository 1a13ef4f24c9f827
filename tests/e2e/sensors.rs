//! Sensors that follow the machine, and readings that are set.

use serde_json::Value;

use crate::machine::{Machine, Setup};
use crate::wait::{BOOT, SOON, wait_for, wait_until};

impl Machine {
    /// What `ctl sensor list --json` says of a sensor.
    fn sensor(&self, name: &str) -> Value {
        let output = self.ctl(&["sensor", "list", "--json"]).succeeds();
        let all: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
        all.into_iter().find(|sensor| sensor["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.sensor(name)["value"].as_f64()
    }

    /// What `ipmitool sdr list` says of a sensor.
    fn sdr_line(&self, name: &str) -> String {
        let output = self.ipmitool(&["sdr", "list"]).succeeds();
        let is_it = |line: &&str| line.split('|').next().is_some_and(|word| word.trim() == name);
        let line = output.stdout.lines().find(is_it);
        line.unwrap_or_else(|| panic!("no {name}: {output}")).to_owned()
    }
}

const SENSORS: &str = r#"sensors=[
    { name = "Load", kind = "percent", per = { cpu_percent = 1 } },
    { name = "Exhaust", kind = "temperature", value = 20, per = { cpu_percent = 0.4 } },
    { name = "Resident", kind = "percent", per = { memory_percent = 1 } },
    { name = "Disk", kind = "current", per = { disk_mib_s = 1000 } },
    { name = "Network", kind = "current", per = { nic_mib_s = 1 } },
    { name = "Inlet", kind = "temperature", value = 20, always = true },
]"#;

#[test]
fn readings_follow_what_the_guest_does() {
    let setup = Setup::demo();
    let disk = setup.file("disk.raw", &[0; 16 << 20]);
    let disks = format!("disks=[{{ path = {disk:?}, format = \"raw\" }}]");
    let machine = setup.set(disks).set(SENSORS).start();
    assert!(machine.sdr_line("Load").contains("no reading"), "{}", machine.sdr_line("Load"));
    assert!(machine.sdr_line("Inlet").contains("20 degrees C"), "{}", machine.sdr_line("Inlet"));
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();
    let idle = wait_for("a load of a guest that waits", BOOT, || {
        machine.value("Load").filter(|load| *load < 40.0)
    });
    sol.shell("while :; do :; done &");
    wait_until("the load of a guest that works", BOOT, || {
        machine.value("Load").is_some_and(|load| load > idle + 15.0)
    });
    let resident = machine.value("Resident").unwrap();
    assert!(resident > 5.0, "{resident}");
    assert!(machine.value("Exhaust").unwrap() > 24.0);
    sol.shell("while :; do dd if=/dev/zero of=/dev/vda bs=1M count=8 2>/dev/null; sync; done &");
    wait_until("the disk is written", BOOT, || {
        machine.value("Disk").is_some_and(|mib_s| mib_s > 0.0)
    });
    assert_eq!(machine.value("Network"), Some(0.0), "it has no TAP device");
    let line = machine.sdr_line("Load");
    assert!(line.contains(" percent ") && line.ends_with("| ok"), "{line}");
    machine.power("off");
    machine.wait_off();
    assert_eq!(machine.value("Load"), None);
    assert!(machine.sdr_line("Load").contains("no reading"));
}

#[test]
fn a_reading_that_is_set_is_seen_by_clients_and_in_their_log() {
    let machine = Setup::bare().start();
    machine.power("on");
    machine.wait_on();
    let temperature = "CPU Temp (sim)";
    assert!(machine.sdr_line(temperature).ends_with("| 45 degrees C      | ok"));
    machine.ctl(&["sensor", "set", temperature, "95"]).succeeds();
    let line = machine.sdr_line(temperature);
    assert!(line.contains("| 95 degrees C ") && line.ends_with("| cr"), "{line}");
    let log = |direction| {
        let output = machine.ipmitool(&["sel", "list"]).succeeds();
        let is_it = |line: &&str| {
            line.contains("Temperature")
                && line.contains(&format!("Upper Critical going high | {direction}"))
        };
        output.stdout.lines().filter(is_it).count()
    };
    assert_eq!((log("Asserted"), log("Deasserted")), (1, 0));
    let set = machine.sensor(temperature);
    assert_eq!((&set["value"], &set["set"]), (&Value::from(95.0), &Value::from(true)));
    machine
        .ctl(&["sensor", "list"])
        .succeeds()
        .says("11h  CPU Temp (sim)    95 °C        upper non-critical going high, upper critical going high, set by ctl\n")
        .says("01h  Power Unit\n")
        .says("0Bh  Session Audit     events only\n");
    machine.ctl(&["sensor", "clear", temperature]).succeeds();
    assert_eq!((log("Asserted"), log("Deasserted")), (1, 1));
    assert!(machine.sdr_line(temperature).ends_with("| 45 degrees C      | ok"));

    machine
        .ctl(&["sensor", "set", "CPU Temp", "20"])
        .exits(1)
        .says("refused: there is no sensor `CPU Temp`; did you mean `CPU Temp (sim)`?");
    machine
        .ctl(&["sensor", "set", temperature, "-3"])
        .exits(1)
        .says("cannot be -3: it reads from 0");
    machine.ctl(&["sensor", "set", "Power Unit", "1"]).exits(1).says("no number to set");
    machine.ctl(&["sensor", "set", temperature, "warm"]).exits(2).says("not a number");
    machine.ctl(&["sensor", "set", temperature, "nan"]).exits(2).says("not a number");
    // The built-in ones are measured, too.
    wait_until("the machine is measured", SOON, || machine.value("CPU Load").is_some());
    assert!(machine.value("Power (sim)").is_some_and(|watts| watts >= 60.0));
}
