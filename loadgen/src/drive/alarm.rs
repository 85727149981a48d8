//! Waiting until an instant, to the microsecond.
//!
//! The runtime's own timers tick once a millisecond: at thousands of arrivals a second every one of them would start
//! late by up to that. A timer descriptor wakes the runtime when it is time.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer for one waiter.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// A timer on this thread's runtime.
    pub(crate) fn new() -> io::Result<Alarm> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; what it demands holds for every OwnedFd"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Alarm { timer })
    }

    /// Returns at `instant`, at once if it has passed.
    pub(crate) async fn until(&self, instant: Instant) -> io::Result<()> {
        let wait = instant.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        self.set(wait)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            match rustix::io::read(self.timer.get_ref(), &mut expirations) {
                Ok(_) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn set(&self, wait: Duration) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(wait.subsec_nanos()),
            },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn wakes_after_the_instant_and_again() {
        let alarm = Alarm::new().unwrap();
        for _ in 0..3 {
            let wanted = Instant::now() + Duration::from_micros(700);
            alarm.until(wanted).await.unwrap();
            assert!(Instant::now() >= wanted);
        }
        alarm
            .until(Instant::now() - Duration::from_secs(1))
            .await
            .unwrap();
    }
}
