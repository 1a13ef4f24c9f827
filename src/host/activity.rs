//! What the kernel counts of the machine's process and of its TAP devices.

use std::time::Duration;

/// Clock ticks a second in what the kernel tells of processes (proc_pid_stat(5)): the same on every
/// architecture that QEMU runs on here.
const TICKS_PER_S: u64 = 100;

/// Processor time that the process has used, with all its threads.
#[must_use]
pub fn cpu_time(pid: i32) -> Option<Duration> {
    ticks(&fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Memory of the process that is in RAM, in bytes.
#[must_use]
pub fn resident_bytes(pid: i32) -> Option<u64> {
    resident(&fs_err::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Bytes that these devices have sent and received. One that is not there has none.
#[must_use]
pub fn nic_bytes(names: &[String]) -> Option<u64> {
    let text = fs_err::read_to_string("/proc/net/dev").ok()?;
    Some(text.lines().filter_map(|line| device_bytes(line, names)).sum())
}

/// The name of the program may hold spaces and brackets.
fn ticks(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let ticks = next()?.checked_add(next()?)?;
    Some(Duration::from_millis(ticks.checked_mul(1000 / TICKS_PER_S)?))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Of a line of `/proc/net/dev`: received bytes come first, sent ones ninth.
fn device_bytes(line: &str, names: &[String]) -> Option<u64> {
    let (name, counters) = line.split_once(':')?;
    names.iter().find(|known| *known == name.trim())?;
    let mut counters = counters.split_whitespace();
    let received: u64 = counters.next()?.parse().ok()?;
    let sent: u64 = counters.nth(7)?.parse().ok()?;
    received.checked_add(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes() {
        let stat =
            "4242 (CPU 0/TC) G) S 1 4242 1 0 -1 4194560 100 0 0 0 1234 66 0 0 20 0 5 0 8 9 1";
        assert_eq!(ticks(stat), Some(Duration::from_millis(13_000)));
        assert_eq!(ticks("4242 (q) S 1"), None);
        let status = "Name:\tq\nVmHWM:\t  300 kB\nVmRSS:\t  204800 kB\nThreads:\t5\n";
        assert_eq!(resident(status), Some(200 << 20));
        assert_eq!(resident("Name:\tq\n"), None, "a zombie has none");
        let line = "  qt0: 1000 2 0 0 0 0 0 0 500 1 0 0 0 0 0 0";
        let names = ["qt0".to_owned(), "qt1".to_owned()];
        assert_eq!(device_bytes(line, &names), Some(1500));
        assert_eq!(device_bytes(line, &names[1..]), None);
        assert_eq!(device_bytes(" face |bytes packets", &names), None);
    }

    #[test]
    fn this_process_is_there() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(cpu_time(own).is_some());
        assert!(resident_bytes(own).unwrap() > 100_000);
        assert!(nic_bytes(&["lo".to_owned()]).is_some());
        assert_eq!((cpu_time(-1), resident_bytes(-1)), (None, None));
    }
}
