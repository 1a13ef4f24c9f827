//! What a process uses, as `/proc` tells; and what the machine is that all is measured on.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The unit of times in `stat` (`USER_HZ`).
const TICKS_PER_S: u32 = 100;

/// Sums and peaks of one process.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Time on a processor, of its threads and of the children that have ended.
    pub(crate) cpu: Duration,
    /// Context switches: how often its threads have woken up, or had to wait for their turn.
    pub(crate) switches: u64,
    pub(crate) threads: u64,
    /// Proportional set size in bytes: what it shares counts for each by its part.
    pub(crate) pss: u64,
}

/// What a process uses now.
pub(crate) fn of(pid: u32) -> Usage {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).unwrap();
    let cpu = Duration::from(clock_gettime(clock).unwrap()) + of_children(pid);
    let mut usage = Usage { cpu, ..Usage::default() };
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        // It may end while it is looked at.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
        usage.switches += switches.map(|name| field(&status, name)).iter().sum::<u64>();
        usage.threads += 1;
    }
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    usage.pss = field(&rollup, "Pss:") * 1024;
    usage
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Fields 16 and 17 of `stat`, behind the name, which may have spaces in it.
fn of_children(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind = stat.rsplit(") ").next().unwrap();
    let ticks = behind.split(' ').skip(13).take(2).map(|word| word.parse::<u32>().unwrap());
    Duration::from_secs(1) * ticks.sum::<u32>() / TICKS_PER_S
}

/// Binds this thread, and what it starts from now on, to a processor.
pub(crate) fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

/// Processor, kernel and load of this machine, in a line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("a processor without a name", |(_, model)| model);
    let count = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let flags = ["sha_ni", "aes"].map(|flag| {
        let there = cpuinfo.split_whitespace().any(|word| word == flag);
        if there { flag.to_owned() } else { format!("no {flag}") }
    });
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{model}, {count} processors ({}), Linux {}, load average {} at the start",
        flags.join(", "),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}
