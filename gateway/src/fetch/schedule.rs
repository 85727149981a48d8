//! When to fetch a list next: some time before it runs out, not later than the refresh interval, and after a failure with
//! growing pauses.
//!
//! Pure: times are arguments in seconds since the Unix epoch, and chance is a seed. Different seeds keep many gateways from
//! asking one server in the same second. Nothing here waits or fetches.

use std::time::Duration;

/// Bounds on the pauses between fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The longest pause after a success, however long a list stays good.
    pub refresh_interval: Duration,
    /// The pause after the first failure, and the shortest after a success.
    pub retry_min: Duration,
    /// The longest pause after a failure; each one before it is twice the last.
    pub retry_max: Duration,
}

impl Settings {
    /// When to fetch again a list that was fetched, or found unchanged, at `now` and runs out at `next_update`, if it says
    /// when.
    ///
    /// Between one half and nine tenths of what it has left, so that there is time for more than one failure. A list that
    /// has run out already is asked for again after the shortest pause: the server is late, not this gateway.
    pub fn after_success(&self, now: u64, next_update: Option<u64>, seed: u64) -> u64 {
        let refresh = between(fraction(seed), 0.9, 1.0) * self.refresh_interval.as_secs_f64();
        let pause = match next_update {
            Some(next_update) => {
                let left = Duration::from_secs(next_update.saturating_sub(now)).as_secs_f64();
                refresh.min(between(fraction(seed), 0.5, 0.9) * left)
            }
            None => refresh,
        };
        later(now, pause.max(self.retry_min.as_secs_f64()))
    }

    /// When to try again after `failures` failures in a row, the last of them at `now`: between one half of the pause and
    /// the whole of it.
    pub fn after_failure(&self, now: u64, failures: u32, seed: u64) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        let pause = self.retry_min.as_secs_f64() * f64::from(doublings).exp2();
        let pause = pause.min(self.retry_max.as_secs_f64());
        // Gateways that failed together do not try again together, at the second time no more than at the first.
        let seed = seed.wrapping_add(u64::from(failures));
        later(now, between(fraction(seed), 0.5, 1.0) * pause)
    }
}

/// At least a second later, so that nothing is fetched in a loop, whatever the settings.
fn later(now: u64, pause: f64) -> u64 {
    now.saturating_add(Duration::try_from_secs_f64(pause).map_or(u64::MAX, |pause| pause.as_secs()))
        .max(now.saturating_add(1))
}

fn between(fraction: f64, low: f64, high: f64) -> f64 {
    low + (high - low) * fraction
}

/// A number in 0..1 that looks like chance (the finalizer of SplitMix64).
fn fraction(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let high = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or(u32::MAX);
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::Settings;

    const NOW: u64 = 1_800_000_000;
    const HOUR: u64 = 3600;

    fn settings() -> Settings {
        Settings {
            refresh_interval: Duration::from_secs(24 * HOUR),
            retry_min: Duration::from_secs(60),
            retry_max: Duration::from_secs(HOUR),
        }
    }

    #[test]
    fn a_list_is_fetched_well_before_it_runs_out() {
        for seed in 0..1000 {
            let next = settings().after_success(NOW, Some(NOW + 10 * HOUR), seed);
            assert!((NOW + 5 * HOUR..=NOW + 9 * HOUR).contains(&next), "{seed}");
        }
    }

    #[test]
    fn the_refresh_interval_bounds_the_pause() {
        for seed in 0..1000 {
            for next_update in [None, Some(NOW + 1000 * HOUR), Some(u64::MAX)] {
                let pause = settings().after_success(NOW, next_update, seed) - NOW;
                assert!((24 * HOUR * 9 / 10..=24 * HOUR).contains(&pause), "{seed}");
            }
        }
    }

    #[test]
    fn a_list_that_has_run_out_is_not_fetched_in_a_loop() {
        for next_update in [0, NOW - 1, NOW, NOW + 1] {
            let next = settings().after_success(NOW, Some(next_update), 1);
            assert_eq!(next, NOW + 60, "{next_update}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        for seed in 0..1000 {
            for (failures, pause) in [(1, 60), (2, 120), (5, 960), (7, 3600), (u32::MAX, 3600)] {
                let waited = settings().after_failure(NOW, failures, seed) - NOW;
                assert!((pause / 2..=pause).contains(&waited), "{seed} {failures}");
            }
        }
    }

    #[test]
    fn seeds_spread_the_load_and_are_all_the_chance_there_is() {
        let times = |seeds: std::ops::Range<u64>| -> BTreeSet<u64> {
            seeds
                .map(|seed| settings().after_success(NOW, Some(NOW + HOUR), seed))
                .collect()
        };
        assert!(times(0..100).len() > 80, "one second each, almost");
        assert_eq!(times(0..100), times(0..100));
        let retries: BTreeSet<u64> = (1..20)
            .map(|failures| settings().after_failure(NOW, 20 + failures, 7))
            .collect();
        assert!(retries.len() > 15, "chance is new at each failure");
    }

    #[test]
    fn extreme_settings_neither_overflow_nor_spin() {
        for duration in [Duration::ZERO, Duration::MAX] {
            let settings = Settings {
                refresh_interval: duration,
                retry_min: duration,
                retry_max: duration,
            };
            for now in [0, NOW, u64::MAX - 1] {
                assert!(settings.after_success(now, Some(u64::MAX), 3) > now);
                assert!(settings.after_failure(now, u32::MAX, 3) > now);
            }
        }
    }
}
