//! A timer finer than tokio's, which counts milliseconds: over a short way, a lost packet is
//! repeated sooner than that.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The shortest time that runs; zero would stop the timer.
const MIN: Duration = Duration::from_nanos(1);

/// A timer.
#[derive(Debug)]
pub struct Timer {
    timer: TimerFd,
    /// The same, to be waited for.
    ready: AsyncFd<OwnedFd>,
    /// When it goes off, if it will.
    armed: Option<Instant>,
}

impl Timer {
    /// A timer that does not run.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let same = timer.as_fd().try_clone_to_owned()?;
        #[expect(
            unsafe_code,
            reason = "tokio has no safe way to wait for a descriptor of one's own"
        )]
        // SAFETY: an `OwnedFd` stays the same open descriptor until it is dropped.
        let ready = unsafe { AsyncFd::register_with_interest(same, Interest::READABLE)? };
        Ok(Self { timer, ready, armed: None })
    }

    /// It is to go off at `deadline` at the latest; a time that was set before and comes sooner may
    /// stay, which saves a system call for each packet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let Some(deadline) = deadline else { return Ok(()) };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return Ok(());
        }
        let wait = deadline.saturating_duration_since(Instant::now()).max(MIN);
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        self.armed = Some(deadline);
        Ok(())
    }

    /// Waits until it goes off.
    ///
    /// # Errors
    /// When it is broken.
    pub async fn expired(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.ready.readable().await?;
            // Read, or it would be ready for ever.
            if let Ok(read) = ready.try_io(|_| Ok(self.timer.wait()?)) {
                self.armed = None;
                return read;
            }
        }
    }
}
