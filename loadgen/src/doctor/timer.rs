//! How late arrivals are released here, tried on a thread that does nothing else.

use std::time::{Duration, Instant};

use crate::drive::Alarm;

/// Releases that are tried.
const TRIES: usize = 200;
/// From one to the next.
const APART: Duration = Duration::from_millis(1);

/// 99th percentile of the lateness in microseconds; `None` where there is no such timer.
pub fn lateness_p99_us() -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .ok()?;
    let mut late = runtime.block_on(async {
        let alarm = Alarm::new().ok()?;
        let mut late = Vec::with_capacity(TRIES);
        let mut intended = Instant::now();
        for _ in 0..TRIES {
            intended += APART;
            alarm.until(intended).await.ok()?;
            late.push(intended.elapsed());
        }
        Some(late)
    })?;
    late.sort_unstable();
    let p99 = late.get(TRIES * 99 / 100)?;
    u64::try_from(p99.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_late_by_something_and_not_by_seconds() {
        assert!((1..5_000_000).contains(&lateness_p99_us().unwrap()));
    }
}
