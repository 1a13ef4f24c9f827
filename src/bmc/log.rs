//! What goes into the SEL by itself: events of the machine, of the BMC, of sensors.

use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::bmc::Core;
use crate::bmc::analog::threshold_event;
use crate::bmc::sensors;
use crate::bmc::store::hex;
use crate::bmc::store::sel::{ALMOST_FULL, ALMOST_FULL_PERCENT, CAPACITY, ENTRY_LEN};
use crate::bmc::story::{RestartCause, codes};
use crate::bmc::words::override_words;
use crate::machine::activity::Activity;
use crate::machine::boot::{BootTarget, Override};
use crate::machine::{self, Origin, Power, Request, StartCause, StopCause};
use crate::value::BootDevice;

/// Record type of a system event (v2.0 table 32-1).
pub(super) const SYSTEM_EVENT_RECORD: u8 = 0x02;
/// Format of an event message: IPMI 1.5 and later (v2.0 table 32-1).
pub(super) const EVENT_FORMAT: u8 = 0x04;
/// Generator ID of the BMC: its address, LUN 0.
const GENERATOR: [u8; 2] = [0x20, 0x00];
/// Event data 1: there is an OEM code in event data 2 (v2.0 table 29-6).
const OEM_IN_DATA_2: u8 = 0x80;
/// Event data 1: there are OEM codes in event data 2 and 3.
const OEM_IN_DATA_2_AND_3: u8 = 0xA0;
/// Event data that says nothing.
pub(super) const UNSPECIFIED: u8 = 0xFF;
/// Bit of the event type byte: the state has ended.
const DEASSERTION: u8 = 0x80;

/// Offsets of the power unit's events (v2.0 table 42-3, sensor type 09h).
mod power_unit {
    pub(super) const OFF: u8 = 0;
    pub(super) const CYCLE: u8 = 1;
    pub(super) const INPUT_LOST: u8 = 4;
    pub(super) const DID_NOT_START: u8 = 5;
    pub(super) const FAILURE: u8 = 6;
}

/// Offsets of Event Logging Disabled (v2.0 table 42-3, sensor type 10h).
mod logging {
    pub(super) const FULL: u8 = 4;
    pub(super) const ALMOST_FULL: u8 = 5;
}

/// Offsets of System Event and System Boot Initiated (v2.0 table 42-3, sensor types 12h and 1Dh).
mod system {
    pub(super) const RECONFIGURED: u8 = 0;
    pub(super) const OEM_BOOT: u8 = 1;
    pub(super) const PXE_BOOT: u8 = 3;
    pub(super) const RESTART: u8 = 7;
}

/// An event of one of the BMC's sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SensorEvent {
    /// Sensor number.
    sensor: u8,
    /// The state has ended; else it has begun.
    deasserted: bool,
    /// Event data 1 to 3; the offset is in the lower half of the first.
    data: [u8; 3],
}

impl SensorEvent {
    /// State `offset` of `sensor` has begun.
    pub(super) fn asserted(sensor: u8, offset: u8) -> Self {
        Self { sensor, deasserted: false, data: [offset & 0x0F, UNSPECIFIED, UNSPECIFIED] }
    }

    /// State `offset` of `sensor` has ended.
    pub(super) fn deasserted(sensor: u8, offset: u8) -> Self {
        Self { deasserted: true, ..Self::asserted(sensor, offset) }
    }

    /// With a code that the specification has no meaning for.
    pub(super) fn with_oem(self, code: u8) -> Self {
        let [offset, _, third] = self.data;
        Self { data: [OEM_IN_DATA_2 | offset, code, third], ..self }
    }

    /// With who did it, as far as two bytes can tell.
    pub(super) fn by(self, codes: Option<[u8; 2]>) -> Self {
        match codes {
            Some([second, third]) => self.with_data(OEM_IN_DATA_2_AND_3, second, third),
            None => self,
        }
    }

    /// With event data 2 and 3; `kinds`: upper half of event data 1, which says what they are.
    pub(super) fn with_data(self, kinds: u8, second: u8, third: u8) -> Self {
        Self { data: [kinds | self.data[0], second, third], ..self }
    }
}

impl Core {
    /// The log's clock (v2.0 section 31.10).
    pub(super) fn sel_time_s(&self, now: Instant) -> u32 {
        let host_s = i64::try_from(self.clock.unix_s(now)).unwrap_or(i64::MAX);
        let time_s = host_s.saturating_add(self.store.sel.time_offset_s);
        // FFFFFFFFh is "unspecified".
        u32::try_from(time_s.clamp(0, i64::from(u32::MAX) - 1)).unwrap_or(0)
    }

    /// Adds an entry to the SEL; answers its ID. Record ID and time stamp are put in.
    pub(super) fn log_record(&mut self, now: Instant, entry: [u8; ENTRY_LEN]) -> u16 {
        let time_s = self.sel_time_s(now);
        self.changed = true;
        let before = self.store.sel.len();
        let id = self.store.sel.add(entry, time_s);
        if let Some(entry) = self.store.sel.get(id).and_then(|(entry, _)| entry.try_into().ok()) {
            self.messages.offer(entry);
        }
        let passes = |len| before < len && self.store.sel.len() >= len;
        // The notice itself takes the last place.
        if passes(CAPACITY - 1) {
            self.log_event(now, SensorEvent::asserted(sensors::SEL, logging::FULL));
        } else if passes(ALMOST_FULL) {
            let event = SensorEvent::asserted(sensors::SEL, logging::ALMOST_FULL);
            self.log_event(now, event.with_data(0x30, UNSPECIFIED, ALMOST_FULL_PERCENT));
        }
        id
    }

    /// Logs an event, and beside it in words who did it, or why it came about.
    pub(super) fn log_noted(&mut self, now: Instant, event: SensorEvent, note: &str) {
        if let Some(id) = self.log_event(now, event) {
            self.store.sel.annotate(id, note);
        }
    }

    /// Logs an event of one of the BMC's sensors, unless clients have switched it off. Answers its ID.
    pub(super) fn log_event(&mut self, now: Instant, event: SensorEvent) -> Option<u16> {
        let SensorEvent { sensor: number, deasserted, data } = event;
        let sensor = self.sensors.get(number)?;
        let settings = self.store.sensors.get(&number).copied().unwrap_or_default();
        let enables = settings.enables_of(sensor);
        let state = 1 << (data[0] & 0x0F);
        let enabled = if deasserted { enables.deassertions } else { enables.assertions };
        if number == sensors::WATCHDOG && !deasserted {
            self.sensors.watchdog = state;
        }
        let is_off = self.store.device.sel_disabled;
        if !enables.events || !enables.scanning || enabled & state == 0 {
            return None;
        }
        let sensor = self.sensors.get(number)?;
        let direction = if deasserted { DEASSERTION } else { 0 };
        let message = [EVENT_FORMAT, sensor.sensor_type, number, direction | sensor.event_type];
        let event = system_event(GENERATOR, message, data);
        if is_off {
            self.messages.offer(event);
            return None;
        }
        Some(self.log_record(now, event))
    }

    /// The BMC has started, and knows the time.
    pub(super) fn log_start(&mut self, now: Instant) {
        let records = self.sensors.records.concat();
        let digest = hex::encode(&Sha256::digest(records));
        if self.store.sdr.digest != digest {
            self.store.sdr.digest = digest;
            self.store.sdr.added_s = self.sel_time_s(now);
            self.changed = true;
        }
        self.check_thresholds(now, None);
        if std::mem::take(&mut self.story.cut_off) {
            let lost = SensorEvent::asserted(sensors::POWER_UNIT, power_unit::INPUT_LOST);
            self.log_noted(now, lost, "qemu-bmc or its host ended while the machine was on");
        }
        // "Transition to running".
        self.log_event(now, SensorEvent::asserted(sensors::BMC, 0));
    }

    /// What happened to the machine.
    pub(super) fn log_machine(&mut self, now: Instant, event: &machine::Event) {
        let status = self.machine;
        if status.power == Power::Off {
            self.sensors.activity = Activity::default();
        }
        // The ACPI power button, whoever has pressed it.
        let soft = status.operation == Some(Request::Soft);
        if soft && !self.sensors.soft {
            let button = SensorEvent::asserted(sensors::POWER_BUTTON, 0);
            let origin = self.story.asked.as_ref().map(|(_, origin)| origin.clone());
            self.log_asked(now, button, "soft shutdown", origin.as_ref());
        }
        match event {
            machine::Event::Requested(Request::Diag, origin, Ok(())) => {
                // "Front panel NMI / diagnostic interrupt" (v2.0 table 42-3, sensor type 13h).
                // Nothing tells what the guest makes of it.
                let interrupt = SensorEvent::asserted(sensors::DIAGNOSTIC, 0);
                self.log_asked(now, interrupt, "sent", Some(origin));
            }
            machine::Event::Requested(request, Origin::Watchdog, Err(why)) => {
                self.log_watchdog_refused(now, *request, *why);
            }
            machine::Event::Started(cause) => self.log_started(now, *cause),
            machine::Event::Stopped(cause) => {
                let cycle = status.operation == Some(Request::Cycle);
                self.log_stopped(now, cause, cycle);
            }
            machine::Event::BootUsed(used) => self.log_boot_used(now, *used),
            machine::Event::Panicked => {
                self.story.panicked = true;
                // "Run-time critical stop" (sensor type 20h).
                let panic = SensorEvent::asserted(sensors::OS_STOP, 1);
                self.log_noted(now, panic, "the guest's kernel has panicked");
            }
            machine::Event::WatchdogExpired(action) => self.log_own_watchdog(now, action),
            machine::Event::Changed | machine::Event::Requested(..) => {}
        }
        self.sensors.soft = soft;
        self.check_thresholds(now, None);
    }

    /// Logs what was asked for, and who asked.
    fn log_asked(&mut self, now: Instant, event: SensorEvent, what: &str, by: Option<&Origin>) {
        match by {
            Some(origin) => {
                let note = format!("{what} by {origin}");
                let event = event.by(Some(codes(origin)));
                self.log_noted(now, event, &note);
            }
            None => self.log_noted(now, event, what),
        }
    }

    /// A client has set boot flags, which meant `before` until then.
    pub(super) fn log_boot_set(&mut self, now: Instant, before: Option<Override>, by: &str) {
        let boot = self.store.boot.to_override();
        let meaning = |boot: Option<Override>| boot.map(|boot| (boot.target, boot.lifetime));
        // Tools write the flags several times, one bit after another.
        if meaning(boot) == meaning(before) {
            return;
        }
        let [flags, device, ..] = self.store.boot.flags();
        let event = SensorEvent::asserted(sensors::SYSTEM_EVENT, system::RECONFIGURED);
        let event = event.with_data(OEM_IN_DATA_2_AND_3, device, flags);
        let note = match boot {
            Some(boot) => format!("boot override set to {} by {by}", override_words(boot)),
            None => format!("boot override removed by {by}"),
        };
        self.log_noted(now, event, &note);
    }

    /// A client has changed something that others may wonder at.
    pub(super) fn log_reconfigured(&mut self, now: Instant, note: &str) {
        let event = SensorEvent::asserted(sensors::SYSTEM_EVENT, system::RECONFIGURED);
        self.log_noted(now, event, note);
    }

    fn log_boot_used(&mut self, now: Instant, used: Override) {
        // It is used up, but nothing was booted by it.
        if self.is_void(used) {
            return;
        }
        let event = match used.target {
            BootTarget::Device(BootDevice::Network) => {
                SensorEvent::asserted(sensors::SYSTEM_BOOT, system::PXE_BOOT)
            }
            _ => SensorEvent::asserted(sensors::SYSTEM_EVENT, system::OEM_BOOT),
        };
        let note = format!("boot override used: {}", override_words(used));
        self.log_noted(now, event, &note);
    }

    /// A watchdog device of the machine's own: the same sensor as the BMC's timer, of use "OEM".
    fn log_own_watchdog(&mut self, now: Instant, action: &str) {
        const OEM_USE: u8 = 0x05;
        let offset = match action {
            "reset" => 1,
            "poweroff" | "shutdown" => 2,
            _ => 0,
        };
        self.story.watchdog_resets = action == "reset";
        let event = SensorEvent::asserted(sensors::WATCHDOG, offset);
        let note = format!("the machine's own watchdog has expired, action {action}");
        self.log_noted(now, event.with_data(0xC0, OEM_USE, UNSPECIFIED), &note);
    }

    fn log_started(&mut self, now: Instant, cause: StartCause) {
        let by_watchdog = self.story.watchdog_resets;
        let origin = self.started(cause);
        if matches!(cause, StartCause::PowerOn | StartCause::PowerCycle) {
            let ended = std::mem::take(&mut self.sensors.power_unit);
            for state in (0..16).filter(|state| ended & 1 << state != 0) {
                self.log_event(now, SensorEvent::deasserted(sensors::POWER_UNIT, state));
            }
            self.log_event(now, SensorEvent::asserted(sensors::ACPI_STATE, 0));
        }
        // System Boot Initiated (v2.0 table 42-3, sensor type 1Dh): how.
        let (offset, what) = match cause {
            StartCause::PowerOn => (0, "power on"),
            StartCause::PowerCycle => (0, "power on after power cycle"),
            StartCause::Reset => (1, "reset"),
            StartCause::Guest => (6, "reboot"),
        };
        let note = match (origin, cause) {
            (Some(origin), _) => format!("{what} by {origin}"),
            (None, StartCause::Guest) if by_watchdog => {
                "reset by the machine's own watchdog".to_owned()
            }
            (None, StartCause::Guest) => "reboot by the guest".to_owned(),
            (None, _) => format!("{what} by somebody else"),
        };
        self.log_noted(now, SensorEvent::asserted(sensors::SYSTEM_BOOT, offset), &note);
        // And why, as in Get System Restart Cause (v2.0 section 28.11).
        let RestartCause { cause, channel } = self.story.restart;
        let restart = SensorEvent::asserted(sensors::SYSTEM_BOOT, system::RESTART);
        let restart = match channel {
            0 => restart.with_data(0xC0, cause, UNSPECIFIED),
            _ => restart.with_data(0xF0, cause, channel),
        };
        self.log_event(now, restart);
    }

    fn log_stopped(&mut self, now: Instant, cause: &StopCause, cycle: bool) {
        let (note, codes) = self.stopped(cause, cycle);
        let unit = |offset| SensorEvent::asserted(sensors::POWER_UNIT, offset);
        let fault = match cause {
            StopCause::Request if cycle => {
                self.log_noted(now, unit(power_unit::CYCLE).by(codes), &note);
                return;
            }
            StopCause::Request => None,
            // That stop is logged already, and was not graceful.
            StopCause::Guest if self.story.panicked => None,
            StopCause::Guest => {
                // "OS graceful shutdown" (sensor type 20h): by itself, or because it was asked.
                let asked = u8::from(self.sensors.soft);
                let stop = SensorEvent::asserted(sensors::OS_STOP, 3);
                self.log_noted(now, stop.with_oem(asked), &note);
                None
            }
            StopCause::Outside => Some(unit(power_unit::INPUT_LOST)),
            StopCause::NotStarted(how) => {
                Some(unit(power_unit::DID_NOT_START).with_oem(exit_status(how)))
            }
            StopCause::Crash(how) => Some(unit(power_unit::FAILURE).with_oem(exit_status(how))),
        };
        if let Some(fault) = fault {
            self.sensors.power_unit |= 1 << (fault.data[0] & 0x0F);
            self.log_noted(now, fault, &note);
        }
        // It was off before if it could not be started.
        if self.sensors.power_unit & 1 == 0 {
            self.sensors.power_unit |= 1;
            self.log_noted(now, unit(power_unit::OFF).by(codes), &note);
            self.log_event(now, SensorEvent::asserted(sensors::ACPI_STATE, 5));
        }
    }

    /// Logs thresholds that are crossed now and were not before, and the other way: of one sensor,
    /// or of all.
    pub(super) fn check_thresholds(&mut self, now: Instant, only: Option<u8>) {
        let on = self.machine.power == Power::On;
        let mut events = Vec::new();
        for sensor in self.sensors.iter().filter(|sensor| only.is_none_or(|n| n == sensor.number)) {
            let Some(analog) = sensor.analog() else { continue };
            let settings = self.store.sensors.get(&sensor.number).copied().unwrap_or_default();
            let thresholds = settings.thresholds_of(analog);
            let before = self.sensors.asserted.get(&sensor.number).copied().unwrap_or(0);
            let scanned = settings.enables_of(sensor).scanning;
            let Some(reading) = self.sensors.read(sensor, on).filter(|_| scanned) else {
                // Nothing is known, so nothing has ended.
                events.push((sensor.number, 0, Vec::new()));
                continue;
            };
            let [positive, negative] = settings.hysteresis_of(analog);
            let mut after = 0;
            let mut of_sensor = Vec::new();
            let crossed = analog.beyond(reading, thresholds);
            // A state that holds ends only when the reading is beyond the hysteresis, too.
            let back = [reading.saturating_sub(negative), reading.saturating_add(positive)];
            for (index, threshold) in (0_u8..).zip(thresholds) {
                if analog.supported & 1 << index == 0 {
                    continue;
                }
                let offset = threshold_event(index);
                let state = 1_u16 << offset;
                let held = before & state != 0;
                let [low, high] = back;
                let within = if index < 3 { low <= threshold } else { high >= threshold };
                let holds = crossed & 1 << index != 0 || held && within;
                if holds {
                    after |= state;
                }
                if holds != held {
                    let event = if holds {
                        SensorEvent::asserted(sensor.number, offset)
                    } else {
                        SensorEvent::deasserted(sensor.number, offset)
                    };
                    // Reading and threshold that made it (v2.0 table 29-6).
                    of_sensor.push(event.with_data(0x50, reading, threshold));
                }
            }
            events.push((sensor.number, after, of_sensor));
        }
        for (number, after, of_sensor) in events {
            self.sensors.asserted.insert(number, after);
            for event in of_sensor {
                self.log_event(now, event);
            }
        }
    }
}

/// A system event record (v2.0 table 32-1); ID and time stamp are put in later.
pub(super) fn system_event(generator: [u8; 2], message: [u8; 4], data: [u8; 3]) -> [u8; ENTRY_LEN] {
    let [g0, g1] = generator;
    let [format, sensor_type, sensor, direction_type] = message;
    let [data_1, data_2, data_3] = data;
    let record_type = SYSTEM_EVENT_RECORD;
    [
        0,
        0,
        record_type,
        0,
        0,
        0,
        0,
        g0,
        g1,
        format,
        sensor_type,
        sensor,
        direction_type,
        data_1,
        data_2,
        data_3,
    ]
}

/// How QEMU ended, in one byte as a shell has it: its exit status, or 128 and the signal.
fn exit_status(how: &str) -> u8 {
    const SIGNALS: [(&str, u8); 8] = [
        ("SIGILL", 4),
        ("SIGABRT", 6),
        ("SIGBUS", 7),
        ("SIGFPE", 8),
        ("SIGKILL", 9),
        ("SIGSEGV", 11),
        ("SIGTERM", 15),
        ("SIGSYS", 31),
    ];
    let first = how.split(':').next().unwrap_or(how);
    if let Some(status) = first.strip_prefix("exit status ") {
        return status.parse().unwrap_or(UNSPECIFIED);
    }
    let signal = first.strip_prefix("killed by ").and_then(|name| {
        SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| 128 + number)
    });
    signal.unwrap_or(UNSPECIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_status_as_a_shell_has_it() {
        assert_eq!(exit_status("exit status 1: qemu: no such device"), 1);
        assert_eq!(exit_status("killed by SIGKILL"), 137);
        assert_eq!(exit_status("killed by SIGSYS: last words"), 159);
        assert_eq!(exit_status("no such file"), UNSPECIFIED);
    }
}
