//! The only place that reads a clock.
//!
//! Everything that decides by time takes the time as an argument, so that it can be tested without waiting. This
//! module does not sleep and holds no deadline.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for durations and deadlines.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one reader of the monotonic clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Time since the Unix epoch, for records of what happened when. A clock before 1970 reads as 0.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one reader of the wall clock"
)]
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// Seconds since the Unix epoch, for validity windows and ticket ages. A clock before 1970 reads as 0.
pub fn unix_seconds() -> u64 {
    unix_time().as_secs()
}

/// The system's monotonic clock in microseconds, as service managers compare it.
pub fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}
