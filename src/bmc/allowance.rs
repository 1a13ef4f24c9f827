//! How much of what somebody else causes is told.

use std::time::Instant;

/// Allows so many at once, and one more in each interval of seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance<const AT_ONCE: u8, const INTERVAL_S: u64> {
    used: u8,
    /// Not allowed since the last one that was.
    withheld: u32,
    since: Option<Instant>,
}

impl<const AT_ONCE: u8, const INTERVAL_S: u64> Allowance<AT_ONCE, INTERVAL_S> {
    /// Answers whether this one is allowed, and how many before it were not.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u32> {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_secs() / INTERVAL_S;
        if passed > 0 {
            self.since = Some(now);
            self.used = self.used.saturating_sub(u8::try_from(passed).unwrap_or(u8::MAX));
        }
        if self.used >= AT_ONCE {
            self.withheld = self.withheld.saturating_add(1);
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_at_once_and_one_an_interval() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let mut allowance = Allowance::<8, 600>::default();
        let allowed = (0..1000).filter(|_| allowance.admit(start).is_some()).count();
        assert_eq!(allowed, 8);
        let later = start + Duration::from_secs(600);
        assert_eq!(allowance.admit(later), Some(992));
        assert_eq!(allowance.admit(later), None);
        let much_later = later + Duration::from_secs(600_000);
        assert_eq!(allowance.admit(much_later), Some(1));
        assert_eq!((0..10).filter(|_| allowance.admit(much_later).is_some()).count(), 7);
    }
}
