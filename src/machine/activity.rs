//! How busy the machine is, as its host sees it: from counters that were read at two moments.

use std::time::{Duration, Instant};

/// What one moment's counters say. `None`: they could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// When they were read.
    pub at: Instant,
    /// Processor time that the process has used.
    pub cpu: Option<Duration>,
    /// Memory of the process that is in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Bytes that the guest has read from its disks, and written.
    pub disk_bytes: Option<u64>,
    /// Bytes that went to the guest over its NICs, and came from it.
    pub nic_bytes: Option<u64>,
}

/// How busy the machine is. `None`: nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Activity {
    /// Load of its processors; 100: all are busy.
    pub cpu_percent: Option<f64>,
    /// How much of its memory is in RAM.
    pub memory_percent: Option<f64>,
    /// Read from disks and written, in MiB/s.
    pub disk_mib_s: Option<f64>,
    /// Received by NICs and sent, in MiB/s.
    pub nic_mib_s: Option<f64>,
}

impl Activity {
    /// Of a machine that is off.
    pub const NONE: Self = Self {
        cpu_percent: Some(0.0),
        memory_percent: Some(0.0),
        disk_mib_s: Some(0.0),
        nic_mib_s: Some(0.0),
    };

    /// What happened between two moments. `before` is unknown, or of later, or of more than `after`
    /// has: then nothing is known of that part. A machine without processors or memory is not busy.
    #[must_use]
    pub fn between(
        before: Option<&Counters>,
        after: &Counters,
        cpus: u32,
        memory_bytes: u64,
    ) -> Self {
        const MIB: f64 = 1024.0 * 1024.0;
        let seconds = before
            .and_then(|before| after.at.checked_duration_since(before.at))
            .map(|time| time.as_secs_f64())
            .filter(|seconds| *seconds > 0.0);
        let per_second = |of: fn(&Counters) -> Option<u64>| {
            let bytes = of(after)?.checked_sub(of(before?)?)?;
            Some(float(bytes) / MIB / seconds?)
        };
        let cpu = || {
            let used = after.cpu?.checked_sub(before?.cpu?)?.as_secs_f64();
            Some(percent(used, seconds? * f64::from(cpus)))
        };
        let resident = after.resident_bytes;
        Self {
            cpu_percent: cpu(),
            memory_percent: resident.map(|bytes| percent(float(bytes), float(memory_bytes))),
            disk_mib_s: per_second(|counters| counters.disk_bytes),
            nic_mib_s: per_second(|counters| counters.nic_bytes),
        }
    }
}

/// QEMU's own threads and memory come to what the guest has: more than all is all.
fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (100.0 * part / whole).clamp(0.0, 100.0) } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a reading has eight bits")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn counters(at: Instant, cpu_s: u64, mib: u64) -> Counters {
        Counters {
            at,
            cpu: Some(Duration::from_secs(cpu_s)),
            resident_bytes: Some(mib * MIB),
            disk_bytes: Some(mib * MIB),
            nic_bytes: Some(2 * mib * MIB),
        }
    }

    #[test]
    fn two_moments_make_rates() {
        let start = Instant::now();
        let end = start + Duration::from_secs(10);
        let (before, after) = (counters(start, 100, 50), counters(end, 110, 150));
        let between = |before, after| Activity::between(before, after, 4, 200 * MIB);
        let expected = Activity {
            cpu_percent: Some(25.0),
            memory_percent: Some(75.0),
            disk_mib_s: Some(10.0),
            nic_mib_s: Some(20.0),
        };
        assert_eq!(between(Some(&before), &after), expected);
        let first = Activity { memory_percent: Some(75.0), ..Activity::default() };
        assert_eq!(between(None, &after), first, "there is no rate yet");
        assert_eq!(between(Some(&after), &after), first, "no time has passed");
        // More than all: QEMU has threads and memory of its own.
        let busy = between(Some(&before), &counters(end, 1000, 900));
        assert_eq!((busy.cpu_percent, busy.memory_percent), (Some(100.0), Some(100.0)));
        let nothing = Activity::between(Some(&before), &after, 0, 0);
        assert_eq!((nothing.cpu_percent, nothing.memory_percent), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn counters_that_go_back_or_are_missing_say_nothing() {
        let start = Instant::now();
        let end = start + Duration::from_secs(10);
        let (before, after) = (counters(start, 100, 50), counters(end, 90, 40));
        let back = Activity::between(Some(&before), &after, 1, 80 * MIB);
        let memory = Activity { memory_percent: Some(50.0), ..Activity::default() };
        assert_eq!(back, memory);
        let blind = Counters { cpu: None, disk_bytes: None, ..counters(end, 0, 60) };
        let blind = Activity::between(Some(&before), &blind, 1, 80 * MIB);
        let seen = Activity { memory_percent: Some(75.0), nic_mib_s: Some(2.0), ..memory };
        assert_eq!(blind, seen);
        let early = Activity::between(Some(&after), &before, 1, 80 * MIB);
        assert_eq!((early.cpu_percent, early.disk_mib_s), (None, None), "time goes back");
    }
}
