//! The SEL in words.

use crate::bmc::Bmc;
use crate::bmc::log::{EVENT_FORMAT, SYSTEM_EVENT_RECORD};
use crate::bmc::store::hex;
use crate::bmc::store::sel::id_of;

/// An entry of the SEL, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelEntry {
    /// Record ID.
    pub id: u16,
    /// Seconds since 1970 by the log's clock, for records that have a time stamp.
    pub time_s: Option<u32>,
    /// The sensor, or what kind of record it is.
    pub sensor: String,
    /// The event.
    pub event: String,
    /// The state has begun; else it has ended.
    pub asserted: bool,
    /// Who it was, or why.
    pub detail: Option<String>,
    /// The record as it is, in hexadecimal.
    pub record: String,
}

/// Events by offset (v2.0 table 42-3), of the types that the BMC's own sensors have.
const SENSOR_SPECIFIC: [(u8, &[&str]); 11] = [
    (0x07, &["IERR", "thermal trip", "", "", "", "", "", "present", "disabled"]),
    (
        0x09,
        &[
            "power off",
            "power cycle",
            "",
            "",
            "AC lost",
            "soft power control failure",
            "power unit failure",
            "failure predicted",
        ],
    ),
    (
        0x10,
        &[
            "correctable memory error logging disabled",
            "event type logging disabled",
            "log cleared",
            "all logging disabled",
            "log full",
            "log almost full",
        ],
    ),
    (
        0x12,
        &[
            "system reconfigured",
            "boot by override",
            "unknown hardware failure",
            "entry in auxiliary log",
            "PEF action",
            "clock set",
        ],
    ),
    (0x13, &["diagnostic interrupt"]),
    (0x14, &["power button pressed", "sleep button pressed", "reset button pressed"]),
    (
        0x1D,
        &[
            "initiated by power up",
            "initiated by hard reset",
            "initiated by warm reset",
            "PXE boot requested",
            "automatic boot to diagnostic",
            "hard reset by software",
            "warm reset by the operating system",
            "restart",
        ],
    ),
    (
        0x20,
        &[
            "critical stop during load",
            "run-time critical stop",
            "graceful stop",
            "graceful shutdown",
            "shutdown by PEF",
            "agent not responding",
        ],
    ),
    (0x22, &["S0/G0: working", "", "", "", "", "S5/G2: soft off"]),
    (
        0x23,
        &[
            "timer expired",
            "hard reset",
            "power down",
            "power cycle",
            "",
            "",
            "",
            "",
            "timer interrupt",
        ],
    ),
    (
        0x2A,
        &[
            "session activated",
            "session deactivated",
            "invalid user name or password",
            "user disabled after bad passwords",
        ],
    ),
];

/// Events of a threshold sensor (v2.0 table 42-2).
const THRESHOLDS: [&str; 12] = [
    "lower non-critical going low",
    "lower non-critical going high",
    "lower critical going low",
    "lower critical going high",
    "lower non-recoverable going low",
    "lower non-recoverable going high",
    "upper non-critical going low",
    "upper non-critical going high",
    "upper critical going low",
    "upper critical going high",
    "upper non-recoverable going low",
    "upper non-recoverable going high",
];

/// States of availability (v2.0 table 42-2, event type 0Ah).
const AVAILABILITY: [&str; 9] = [
    "running",
    "in test",
    "power off",
    "on line",
    "off line",
    "off duty",
    "degraded",
    "power save",
    "install error",
];

/// System restart causes (v2.0 table 28-11).
const RESTART_CAUSES: [&str; 12] = [
    "unknown",
    "chassis control command",
    "reset button",
    "power button",
    "watchdog",
    "OEM",
    "always restored",
    "previous state restored",
    "reset by PEF",
    "power cycle by PEF",
    "soft reset",
    "real-time clock",
];

/// Uses of the watchdog timer (v2.0 section 27.2).
const TIMER_USES: [&str; 6] = ["none", "BIOS FRB2", "BIOS POST", "OS load", "SMS/OS", "OEM"];
/// Its pre-timeout interrupts.
const TIMER_INTERRUPTS: [&str; 4] = ["none", "SMI", "NMI", "messaging interrupt"];

impl Bmc {
    /// The SEL, oldest entry first.
    #[must_use]
    pub fn sel(&self) -> Vec<SelEntry> {
        let entries = self.core.store.sel.iter();
        entries.map(|(entry, note)| self.sel_entry(entry, note)).collect()
    }

    fn sel_entry(&self, entry: &[u8], note: Option<&str>) -> SelEntry {
        let byte = |index: usize| entry.get(index).copied().unwrap_or(0);
        let record_type = byte(2);
        let has_time = record_type < 0xE0;
        let time_s = u32::from_le_bytes([byte(3), byte(4), byte(5), byte(6)]);
        let is_event = record_type == SYSTEM_EVENT_RECORD;
        let (sensor, event) = if is_event {
            (self.sensor_words(entry), event_words(entry))
        } else {
            (format!("OEM record {record_type:02X}h"), String::new())
        };
        SelEntry {
            id: id_of(entry),
            time_s: Some(time_s).filter(|_| has_time),
            sensor,
            event,
            asserted: !is_event || byte(12) & 0x80 == 0,
            detail: note.map(str::to_owned),
            record: hex::encode(entry),
        }
    }

    /// Name of the sensor, if it is one of ours.
    fn sensor_words(&self, entry: &[u8]) -> String {
        let [.., generator, _, format, sensor_type, number, _, _, _, _] = entry else {
            return String::new();
        };
        let sensor = self.core.sensors.get(*number);
        let ours = *generator == 0x20 && *format == EVENT_FORMAT;
        match sensor.filter(|sensor| ours && sensor.sensor_type == *sensor_type) {
            Some(sensor) => sensor.name().to_owned(),
            None => format!("sensor {number:02X}h of type {sensor_type:02X}h"),
        }
    }
}

/// The name of a state, if it is one that we know.
pub(super) fn state_name(event_type: u8, sensor_type: u8, offset: u8) -> Option<&'static str> {
    let names: &[&str] = match event_type {
        0x01 => &THRESHOLDS,
        0x0A => &AVAILABILITY,
        0x6F => {
            let known = SENSOR_SPECIFIC.iter().find(|(kind, _)| *kind == sensor_type);
            known.map_or(&[], |(_, names)| names)
        }
        _ => &[],
    };
    names.get(usize::from(offset)).copied().filter(|name| !name.is_empty())
}

/// What has happened.
fn event_words(entry: &[u8]) -> String {
    let [.., sensor_type, _, event_type, first, second, third] = entry else {
        return String::new();
    };
    let offset = usize::from(first & 0x0F);
    let name = state_name(event_type & 0x7F, *sensor_type, first & 0x0F);
    let mut words = name.map_or_else(|| format!("event {offset:X}h"), str::to_owned);
    let (has_second, has_third) = (first & 0xC0 == 0xC0, first & 0x30 == 0x30);
    match (*sensor_type, offset) {
        (0x1D, 7) if has_second => {
            let cause = RESTART_CAUSES.get(usize::from(second & 0x0F));
            words += &format!(", cause: {}", cause.copied().unwrap_or("unknown"));
            if has_third {
                words += &format!(", channel {:X}h", third & 0x0F);
            }
        }
        (0x10, 5) if has_third => words += &format!(" ({third} %)"),
        (0x23, _) if has_second => {
            let timer_use = TIMER_USES.get(usize::from(second & 0x0F)).copied();
            words += &format!(", use: {}", timer_use.unwrap_or("unknown"));
            let interrupt = TIMER_INTERRUPTS.get(usize::from(second >> 4)).copied();
            if let Some(interrupt) = interrupt.filter(|_| second >> 4 != 0) {
                words += &format!(", interrupt: {interrupt}");
            }
        }
        (0x2A, _) if has_second => words += &format!(", user ID {}", second & 0x3F),
        _ => {}
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bmc::log::system_event;

    #[test]
    fn events_in_words() {
        let words = |kind, direction, data| {
            event_words(&system_event([0x20, 0], [4, kind, 1, direction], data))
        };
        let restart = words(0x1D, 0x6F, [0xF7, 1, 1]);
        assert_eq!(restart, "restart, cause: chassis control command, channel 1h");
        assert_eq!(words(0x1D, 0x6F, [0xC7, 0x0F, 0xFF]), "restart, cause: unknown");
        assert_eq!(words(0x09, 0xEF, [0, 0xFF, 0xFF]), "power off");
        assert_eq!(words(0x09, 0x6F, [2, 0xFF, 0xFF]), "event 2h");
        assert_eq!(words(0x01, 0x01, [0x59, 80, 75]), "upper critical going high");
        assert_eq!(words(0x2A, 0x6F, [0xF2, 2, 1]), "invalid user name or password, user ID 2");
        let timer = |data| words(0x23, 0x6F, data);
        assert_eq!(timer([0xC1, 0x04, 0xFF]), "hard reset, use: SMS/OS");
        assert_eq!(timer([0xC8, 0x23, 0xFF]), "timer interrupt, use: OS load, interrupt: NMI");
        assert_eq!(timer([0xC0, 0xFF, 0xFF]), "timer expired, use: unknown");
        assert_eq!(words(0xC0, 0x6F, [0x0F, 0, 0]), "event Fh");
        assert_eq!(words(0x10, 0x6F, [0x35, 0xFF, 90]), "log almost full (90 %)");
        for short in 0..16 {
            let _ = event_words(&[0xFF; 16][..short]);
        }
    }
}
