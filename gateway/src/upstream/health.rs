//! Whether an endpoint is fit to serve: what active checks say, what its answers say, and how it comes back.
//!
//! Pure: times are durations since a moment that the caller chose. It asks no endpoint and knows no other one.

use std::time::Duration;

/// How many results in a row turn an endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed checks until an unhealthy endpoint is healthy.
    pub healthy_after: u32,
    /// Failed checks until a healthy endpoint is unhealthy.
    pub unhealthy_after: u32,
}

/// What active checks say about an endpoint. It is healthy until they say otherwise, so that a start waits for no check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    unhealthy: bool,
    /// Results in a row that speak against the present state.
    against: u32,
}

impl Checked {
    /// Whether checks let it serve.
    pub fn is_healthy(self) -> bool {
        !self.unhealthy
    }

    /// Takes a result in, and says whether that turned its health.
    pub fn observe(&mut self, passed: bool, thresholds: Thresholds) -> bool {
        if passed == self.is_healthy() {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let needed = match self.unhealthy {
            true => thresholds.healthy_after,
            false => thresholds.unhealthy_after,
        };
        let turned = self.against >= needed;
        if turned {
            *self = Self {
                unhealthy: !self.unhealthy,
                against: 0,
            };
        }
        turned
    }
}

/// When an endpoint is taken out because of its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EjectionSettings {
    /// Failures in a row that take it out.
    pub consecutive_failures: u32,
    /// For how long, at first; each further time twice as long as before.
    pub time: Duration,
    /// The longest that it is out. Who stays in for so long starts anew with `time`.
    pub max_time: Duration,
    /// The most endpoints that are out at once, in percent of all.
    pub max_share: u32,
}

impl EjectionSettings {
    /// Whether one more endpoint may be taken out, where `out` of `all` are.
    pub fn has_room(&self, out: usize, all: usize) -> bool {
        (out + 1).saturating_mul(100) <= all.saturating_mul(self.max_share as usize)
    }
}

/// What an endpoint's answers say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ejection {
    /// Failures since the last success.
    failures: u32,
    /// Ejections that count for the length of the next one.
    times: u32,
    until: Duration,
}

impl Ejection {
    /// Until when it is, or was last, out.
    pub fn until(&self) -> Duration {
        self.until
    }

    /// Whether it is out at `now`.
    pub fn is_out(&self, now: Duration) -> bool {
        now < self.until
    }

    /// Whether a success would be news.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Takes in that it answered.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Takes in that it failed at `now`, and says whether it is to be taken out: [`Ejection::eject`] does that, where there
    /// is room for it. What was still under way when it was taken out does not count.
    pub fn failed(&mut self, now: Duration, settings: &EjectionSettings) -> bool {
        if self.is_out(now) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.failures >= settings.consecutive_failures
    }

    /// Takes it out at `now`.
    pub fn eject(&mut self, now: Duration, settings: &EjectionSettings) {
        if now.saturating_sub(self.until) >= settings.max_time {
            self.times = 0;
        }
        let factor = 1_u32.checked_shl(self.times).unwrap_or(u32::MAX);
        let time = settings
            .time
            .saturating_mul(factor)
            .min(settings.max_time)
            .max(settings.time);
        self.until = now.saturating_add(time);
        self.times = self.times.saturating_add(1);
        self.failures = 0;
    }
}

/// A weight of one, in the units of [`ramped`].
pub const FULL: u32 = 256;

/// The weight at `now` of an endpoint with `weight` that is back since `since` and gets its full share after `window`: a tenth
/// at first, then ever more, so that caches and compilers warm up before the whole load comes.
pub fn ramped(weight: u32, since: Duration, now: Duration, window: Duration) -> u32 {
    let passed = now.saturating_sub(since);
    if passed >= window {
        return weight.saturating_mul(FULL);
    }
    let part = passed.as_secs_f64() / window.as_secs_f64();
    let share = f64::from(FULL) * part.max(0.1);
    ((f64::from(weight) * share) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Checked, Ejection, EjectionSettings, FULL, Thresholds, ramped};

    const THRESHOLDS: Thresholds = Thresholds {
        healthy_after: 2,
        unhealthy_after: 3,
    };

    const SETTINGS: EjectionSettings = EjectionSettings {
        consecutive_failures: 3,
        time: Duration::from_secs(10),
        max_time: Duration::from_secs(60),
        max_share: 50,
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn health_turns_after_enough_results_in_a_row() {
        let mut checked = Checked::default();
        assert!(checked.is_healthy());
        let mut observe = |passed| checked.observe(passed, THRESHOLDS);
        assert!(!observe(false) && !observe(false) && !observe(true));
        assert!(!observe(false) && !observe(false) && observe(false));
        assert!(!observe(true) && !observe(false) && !observe(true) && observe(true));
        assert!(checked.is_healthy());
    }

    /// Fails until it is ejected at `now`; how long it is out.
    fn eject(ejection: &mut Ejection, now: Duration) -> Duration {
        assert!(!ejection.failed(now, &SETTINGS) && !ejection.failed(now, &SETTINGS));
        assert!(ejection.failed(now, &SETTINGS));
        ejection.eject(now, &SETTINGS);
        assert!(ejection.is_out(now) && !ejection.is_failing());
        ejection.until() - now
    }

    #[test]
    fn each_ejection_is_longer_up_to_the_longest() {
        let mut ejection = Ejection::default();
        let mut now = at(1000);
        for expected in [10, 20, 40, 60, 60] {
            assert_eq!(eject(&mut ejection, now), at(expected));
            assert!(!ejection.failed(now, &SETTINGS), "it is out already");
            now = ejection.until();
            assert!(!ejection.is_out(now));
        }
        now += at(59);
        assert_eq!(eject(&mut ejection, now), at(60));
        now = ejection.until() + at(60);
        assert_eq!(eject(&mut ejection, now), at(10), "it was well for long");
    }

    #[test]
    fn a_success_ends_the_row() {
        let mut ejection = Ejection::default();
        for _ in 0..10 {
            assert!(!ejection.failed(at(1), &SETTINGS) && !ejection.failed(at(1), &SETTINGS));
            assert!(ejection.is_failing());
            ejection.succeeded();
            assert!(!ejection.is_failing());
        }
    }

    #[test]
    fn without_room_the_next_failure_asks_again() {
        let mut ejection = Ejection::default();
        for _ in 0..2 {
            ejection.failed(at(1), &SETTINGS);
        }
        assert!(ejection.failed(at(1), &SETTINGS) && ejection.failed(at(2), &SETTINGS));
    }

    #[test]
    fn no_more_than_the_share_is_out() {
        assert!(!SETTINGS.has_room(0, 1));
        assert!(SETTINGS.has_room(0, 2) && !SETTINGS.has_room(1, 2));
        assert!(SETTINGS.has_room(0, 3) && !SETTINGS.has_room(1, 3));
        let all = EjectionSettings {
            max_share: 100,
            ..SETTINGS
        };
        assert!(all.has_room(0, 1) && all.has_room(2, 3) && !all.has_room(3, 3));
        let none = EjectionSettings {
            max_share: 0,
            ..SETTINGS
        };
        assert!(!none.has_room(0, 100));
    }

    #[test]
    fn a_weight_ramps_up() {
        let window = at(10);
        assert_eq!(ramped(10, at(100), at(100), window), FULL);
        assert_eq!(ramped(10, at(100), at(105), window), 5 * FULL);
        assert_eq!(ramped(10, at(100), at(110), window), 10 * FULL);
        assert_eq!(ramped(10, at(100), at(100), Duration::ZERO), 10 * FULL);
    }

    proptest! {
        #[test]
        fn an_ejection_always_ends_and_never_passes_its_bounds(
            events in prop::collection::vec((0_u64..200, any::<bool>()), 1..200),
        ) {
            let (mut ejection, mut now) = (Ejection::default(), Duration::ZERO);
            for (step, success) in events {
                now += at(step);
                match success {
                    true => ejection.succeeded(),
                    false if ejection.failed(now, &SETTINGS) => ejection.eject(now, &SETTINGS),
                    false => {}
                }
                let left = ejection.until().saturating_sub(now);
                prop_assert!(left <= SETTINGS.max_time);
            }
        }

        #[test]
        fn a_ramp_only_rises_and_ends_at_the_weight(weight in 1_u32..=100, window in 1_u64..1000, steps in prop::collection::vec(0_u64..50, 1..60)) {
            let (mut now, mut last) = (Duration::ZERO, 1);
            for step in steps {
                now += at(step);
                let weighs = ramped(weight, Duration::ZERO, now, at(window));
                prop_assert!(weighs >= last && weighs <= weight * FULL);
                last = weighs;
            }
            prop_assert_eq!(ramped(weight, Duration::ZERO, at(window), at(window)), weight * FULL);
        }
    }
}
