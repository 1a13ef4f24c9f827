//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// For what takes milliseconds on an idle host.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// For a guest's boot under emulation, on a host that runs other tests as well.
pub(crate) const BOOT: Duration = Duration::from_secs(60);

pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Polls until there is something, and answers it.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(POLL);
    }
}

/// Polls until `condition` holds.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || condition().then_some(()));
}
