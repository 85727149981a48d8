//! What a shard's thread got of its core, and how long it had to wait for one.

use std::fs;
use std::time::{Duration, Instant};

/// Time of this thread since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ThreadTime {
    running: Duration,
    waiting: Duration,
}

/// Shares of the time that has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CoreShare {
    /// On a core.
    pub(crate) running: f64,
    /// Ready to run, while something else had the core.
    pub(crate) waiting: f64,
}

impl ThreadTime {
    /// Of the calling thread.
    pub(crate) fn now() -> ThreadTime {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        ThreadTime {
            running: Duration::new(
                u64::try_from(time.tv_sec).unwrap_or(0),
                u32::try_from(time.tv_nsec).unwrap_or(0),
            ),
            // A kernel without it says nothing about waiting, and nothing is claimed.
            waiting: Duration::from_nanos(waiting_nanoseconds(&schedstat).unwrap_or(0)),
        }
    }

    /// The shares since `self`, which was taken at `then`.
    pub(crate) fn shares_since(self, then: Instant) -> CoreShare {
        let (now, elapsed) = (ThreadTime::now(), then.elapsed().as_secs_f64());
        if elapsed <= 0.0 {
            return CoreShare::default();
        }
        let share = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / elapsed;
        CoreShare {
            running: share(self.running, now.running),
            waiting: share(self.waiting, now.waiting),
        }
    }
}

/// The second field: time on a run queue.
fn waiting_nanoseconds(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_is_running_or_waiting() {
        let (then, time) = (Instant::now(), ThreadTime::now());
        while then.elapsed() < Duration::from_millis(30) {}
        let share = time.shares_since(then);
        assert!(share.running > 0.0 && share.running < 1.1, "{share:?}");
        assert_eq!(waiting_nanoseconds("12 34 5"), Some(34));
        assert_eq!(waiting_nanoseconds(""), None);
    }
}
