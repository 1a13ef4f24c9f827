//! Sensors that read as a number: raw readings, thresholds, and the SDR's words for them.

use crate::machine::activity::Activity;
use crate::plan::SensorPlan;
use crate::profile::document::SensorKind;

/// Units (v2.0 table 43-15).
mod unit {
    pub(super) const UNSPECIFIED: u8 = 0;
    pub(super) const DEGREES_C: u8 = 1;
    pub(super) const VOLTS: u8 = 4;
    pub(super) const AMPS: u8 = 5;
    pub(super) const WATTS: u8 = 6;
    pub(super) const RPM: u8 = 18;
}

/// Sensor units 1 (v2.0 table 43-1): percentage.
const PERCENTAGE: u8 = 0x01;

/// What a number that is read means. Thresholds are raw, in the order of Get Sensor Thresholds: lower
/// and upper, each non-critical, critical, non-recoverable; 0 where there is none.
#[derive(Clone, Debug)]
pub(super) struct Analog {
    pub(super) plan: SensorPlan,
    pub(super) thresholds: [u8; 6],
    /// The thresholds that there are, bit 0 for the first.
    pub(super) supported: u8,
    pub(super) hysteresis: u8,
}

impl Analog {
    pub(super) fn new(plan: SensorPlan) -> Self {
        let raw = |value: Option<f64>| value.map_or(0, |value| plan.scale.raw(value));
        let there = (0..).zip(plan.thresholds).filter(|(_, threshold)| threshold.is_some());
        Self {
            supported: there.fold(0, |mask, (index, _): (u8, _)| mask | 1 << index),
            thresholds: plan.thresholds.map(raw),
            hysteresis: plan.scale.raw(plan.hysteresis),
            plan,
        }
    }

    /// Its sensor type (v2.0 table 42-3). Power is among the currents, where clients look for it; of
    /// percentages the type says nothing.
    pub(super) fn sensor_type(&self) -> u8 {
        match self.plan.kind {
            SensorKind::Temperature => 0x01,
            SensorKind::Voltage => 0x02,
            SensorKind::Current | SensorKind::Power => 0x03,
            SensorKind::Fan => 0x04,
            SensorKind::Percent => 0x0B,
        }
    }

    /// The events that it can make: going low below the lower thresholds, going high above the upper.
    pub(super) fn events(&self) -> u16 {
        let there = (0..6_u8).filter(|index| self.supported & 1 << index != 0);
        there.fold(0, |mask, index| mask | 1 << threshold_event(index))
    }

    /// Which thresholds `reading` is at or beyond.
    pub(super) fn beyond(&self, reading: u8, thresholds: [u8; 6]) -> u8 {
        beyond(reading, thresholds) & self.supported
    }

    /// The raw reading, if there is one: `None` for the activity of a machine that is off.
    pub(super) fn read(&self, activity: Option<&Activity>) -> Option<u8> {
        let activity = match activity {
            Some(activity) => activity,
            None if self.plan.always => &Activity::NONE,
            None => return None,
        };
        Some(self.plan.scale.raw(self.plan.reading(activity)?))
    }

    /// What tells it from another that may have its number at another time.
    pub(super) fn mark(&self) -> String {
        let SensorPlan { name, kind, scale, .. } = &self.plan;
        format!("{name}, {}, {}e{}", kind.word(), scale.m, scale.exponent)
    }

    /// Its part of a full sensor record, from byte 11 on (v2.0 section 43.1).
    pub(super) fn record(&self, event_type: u8, body: &mut Vec<u8>) {
        let SensorPlan { kind, scale, value, normal, .. } = &self.plan;
        // All can be initialised; re-arms by itself; hysteresis and thresholds can be set. Without
        // thresholds: neither of them, and no events.
        let abilities = if self.supported == 0 { [0x45, 0x43] } else { [0x7F, 0x68] };
        body.extend(abilities);
        body.extend([self.sensor_type(), event_type]);
        // Bits 12 to 14: which comparisons Get Sensor Reading answers, lower and upper.
        for comparisons in [self.supported & 0x07, self.supported >> 3] {
            body.extend((u16::from(comparisons) << 12 | self.events()).to_le_bytes());
        }
        let (percentage, unit) = match kind {
            SensorKind::Temperature => (0, unit::DEGREES_C),
            SensorKind::Fan => (0, unit::RPM),
            SensorKind::Power => (0, unit::WATTS),
            SensorKind::Voltage => (0, unit::VOLTS),
            SensorKind::Current => (0, unit::AMPS),
            SensorKind::Percent => (PERCENTAGE, unit::UNSPECIFIED),
        };
        // Thresholds can be read and set. Unsigned, linear; M, no offset; R and no B exponent.
        body.extend([self.supported, self.supported, percentage, unit, 0, 0x00, scale.m, 0]);
        body.extend([0, 0, 0, scale.exponent.to_le_bytes()[0] << 4]);
        // Which of nominal reading, normal maximum and normal minimum are told.
        let told = if normal.is_some() { 0x07 } else { 0x01 };
        let [low, high] = normal.map_or([0, 0], |normal| normal.map(|value| scale.raw(value)));
        body.extend([told, scale.raw(*value), high, low, 0xFF, 0x00]);
        let [lnc, lc, lnr, unc, uc, unr] = self.thresholds;
        body.extend([unr, uc, unc, lnr, lc, lnc, self.hysteresis, self.hysteresis, 0, 0, 0]);
    }
}

/// Which thresholds `reading` is at or beyond, in the order of Get Sensor Thresholds.
fn beyond(reading: u8, thresholds: [u8; 6]) -> u8 {
    let mut mask = 0;
    for (index, threshold) in thresholds.into_iter().enumerate() {
        let is = if index < 3 { reading <= threshold } else { reading >= threshold };
        mask |= u8::from(is) << index;
    }
    mask
}

/// The event offset of a threshold: lower ones are passed going low, upper ones going high.
pub(super) fn threshold_event(index: u8) -> u8 {
    if index < 3 { 2 * index } else { 2 * index + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SensorsPlan;

    #[test]
    fn thresholds_and_their_events() {
        assert_eq!(beyond(50, [30, 20, 10, 70, 80, 90]), 0);
        assert_eq!(beyond(20, [30, 20, 10, 70, 80, 90]), 0b011);
        assert_eq!(beyond(90, [30, 20, 10, 70, 80, 90]), 0b11_1000);
        assert_eq!([0, 1, 2, 3, 4, 5].map(threshold_event), [0, 2, 4, 7, 9, 11]);
    }

    #[test]
    fn only_thresholds_that_are_there_are_told_and_crossed() {
        let [first, ..] = &SensorsPlan::built_in(2, 1 << 30).numbers[..] else { panic!() };
        assert_eq!(Analog::new(first.clone()).events(), 0x0A95);
        let some = [Some(5.0), None, None, None, Some(80.0), None];
        let analog = Analog::new(SensorPlan { thresholds: some, ..first.clone() });
        assert_eq!((analog.supported, analog.events()), (0b01_0001, 0x0201));
        assert_eq!(analog.thresholds, [5, 0, 0, 0, 80, 0]);
        assert_eq!(analog.beyond(0, analog.thresholds), 0b00_0001);
        assert_eq!(analog.beyond(80, analog.thresholds), 0b01_0000);
        assert_eq!(analog.beyond(40, analog.thresholds), 0);
        let mut body = Vec::new();
        analog.record(1, &mut body);
        assert_eq!(body[..10], [0x7F, 0x68, 0x01, 0x01, 0x01, 0x12, 0x01, 0x22, 0x11, 0x11]);
        let none = Analog::new(SensorPlan { thresholds: [None; 6], ..first.clone() });
        assert_eq!((none.events(), none.beyond(0, [0; 6])), (0, 0));
        let mut body = Vec::new();
        none.record(1, &mut body);
        assert_eq!(body[..10], [0x45, 0x43, 0x01, 0x01, 0, 0, 0, 0, 0, 0]);
    }
}
