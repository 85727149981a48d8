//! How often something may happen: the generic cell rate algorithm, which needs one number for each of those it bounds.
//!
//! Pure: time comes in as nanoseconds since a start that the caller chooses. It holds no table of who did what; that is
//! `limits::table`.

use std::time::Duration;

/// Binary places after the point in [`Rate::unit`]: a unit of a fast rate lasts less than a nanosecond.
const FRACTION: u32 = 16;

/// So many units in a period, evenly, and so many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// What one unit takes, in 2^-16 nanoseconds, rounded up: never more than the rate is allowed.
    unit: u64,
    /// What the burst takes, in nanoseconds.
    burst: u64,
}

/// When the rate will have caught up with what was taken, in nanoseconds: all that is kept of the past. Zero is a past in
/// which nothing happened.
pub type Mark = u64;

impl Rate {
    /// `units` in each `period`, at most `burst` of them at once; each is one at least.
    pub fn new(units: u64, period: Duration, burst: u64) -> Self {
        let period = period.as_nanos() << FRACTION;
        let unit = period.div_ceil(u128::from(units.max(1)));
        let unit = u64::try_from(unit).unwrap_or(u64::MAX).max(1);
        Self {
            unit,
            burst: time(unit, burst.max(1)),
        }
    }

    /// Takes `units` at `now`, or nothing.
    ///
    /// # Errors
    /// It is too soon; after so long it is not, if nothing else is taken. What is more than the burst is never allowed.
    pub fn take(&self, mark: &mut Mark, now: u64, units: u64) -> Result<(), Duration> {
        let taken = (*mark).max(now).saturating_add(time(self.unit, units));
        let ahead = taken.saturating_sub(now);
        if ahead > self.burst {
            return Err(Duration::from_nanos(ahead - self.burst));
        }
        *mark = taken;
        Ok(())
    }

    /// Takes `units` at `now`, soon or not, and says how long to wait with whatever comes next.
    pub fn charge(&self, mark: &mut Mark, now: u64, units: u64) -> Duration {
        *mark = (*mark).max(now).saturating_add(time(self.unit, units));
        self.wait(*mark, now)
    }

    /// Takes one unit at `now`, soon or not, and says whether it was allowed. Those that were not are owed, up to the burst
    /// once more.
    pub fn press(&self, mark: &mut Mark, now: u64) -> bool {
        let allowed = self.take(mark, now, 1).is_ok();
        if !allowed {
            let most = now.saturating_add(self.burst.saturating_mul(2));
            *mark = mark.saturating_add(time(self.unit, 1)).min(most);
        }
        allowed
    }

    /// How long after `now` it takes until something may be taken: zero while anything of the burst is left.
    pub fn wait(&self, mark: Mark, now: u64) -> Duration {
        Duration::from_nanos(mark.saturating_sub(now).saturating_sub(self.burst))
    }

    /// Whether the burst is used up at `now`, so that not one unit may be taken.
    pub fn is_spent(&self, mark: Mark, now: u64) -> bool {
        let ahead = mark.saturating_sub(now);
        ahead.saturating_add(time(self.unit, 1)) > self.burst
    }
}

/// What `units` take, in nanoseconds, rounded up.
fn time(unit: u64, units: u64) -> u64 {
    let time = (u128::from(unit) * u128::from(units)).div_ceil(1 << FRACTION);
    u64::try_from(time).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Mark, Rate};

    const SECOND: u64 = 1_000_000_000;

    fn per_second(units: u64, burst: u64) -> Rate {
        Rate::new(units, Duration::from_secs(1), burst)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let rate = per_second(10, 3);
        let mut mark: Mark = 0;
        let now = 7 * SECOND;
        for _ in 0..3 {
            assert_eq!(rate.take(&mut mark, now, 1), Ok(()));
        }
        let wait = Duration::from_millis(100);
        assert_eq!(rate.take(&mut mark, now, 1), Err(wait));
        assert!(rate.is_spent(mark, now));
        let later = now + wait.as_nanos() as u64;
        assert_eq!(
            rate.take(&mut mark, later - 1, 1),
            Err(Duration::from_nanos(1))
        );
        assert_eq!(rate.take(&mut mark, later, 1), Ok(()));
    }

    #[test]
    fn what_is_refused_is_not_taken() {
        let rate = per_second(1, 2);
        let mut mark: Mark = 0;
        assert!(rate.take(&mut mark, 0, 3).is_err());
        assert_eq!(mark, 0);
        assert_eq!(rate.take(&mut mark, 0, 2), Ok(()));
    }

    #[test]
    fn a_debt_is_waited_for() {
        let rate = per_second(1000, 1000);
        let mut mark: Mark = 0;
        assert_eq!(rate.charge(&mut mark, 0, 1000), Duration::ZERO);
        assert_eq!(rate.charge(&mut mark, 0, 500), Duration::from_millis(500));
        assert_eq!(rate.wait(mark, SECOND / 2), Duration::ZERO);
    }

    #[test]
    fn what_is_pressed_for_is_owed_within_bounds() {
        let rate = per_second(1, 2);
        let mut mark: Mark = 0;
        let pressed: Vec<bool> = (0..100).map(|_| rate.press(&mut mark, 0)).collect();
        assert_eq!(pressed.iter().filter(|allowed| **allowed).count(), 2);
        assert_eq!(mark, 4 * SECOND, "the burst, and once more");
        assert!(!rate.press(&mut mark.clone(), 3 * SECOND - 1));
        assert!(rate.press(&mut mark, 3 * SECOND));
    }

    #[test]
    fn extreme_rates_stay_sound() {
        let fast = per_second(u64::MAX, u64::MAX);
        assert_eq!(fast.take(&mut 0, 0, u64::from(u32::MAX)), Ok(()));
        let slow = Rate::new(1, Duration::from_secs(u64::MAX), u64::MAX);
        let mut mark: Mark = 0;
        assert_eq!(slow.take(&mut mark, u64::MAX, u64::MAX), Ok(()));
        assert!(!per_second(0, 0).is_spent(0, 0), "one is allowed at least");
    }

    proptest! {
        /// In any stretch of time no more is allowed than the burst and what the rate gives in it.
        #[test]
        fn never_more_than_burst_and_rate(
            units in 1u64..2000,
            burst in 1u64..50,
            steps in prop::collection::vec((0u64..50_000_000, 1u64..5), 1..200),
        ) {
            let rate = per_second(units, burst);
            let (mut mark, mut now) = (0, 0);
            let mut allowed: Vec<(u64, u64)> = Vec::new();
            for (step, wanted) in steps {
                now += step;
                if rate.take(&mut mark, now, wanted).is_ok() {
                    allowed.push((now, wanted));
                }
            }
            for (index, (from, _)) in allowed.iter().enumerate() {
                let mut sum = 0;
                for (to, taken) in &allowed[index..] {
                    sum += taken;
                    let given = u128::from(to - from) * u128::from(units) / u128::from(SECOND);
                    prop_assert!(u128::from(sum) <= u128::from(burst) + given + 1);
                }
            }
        }

        /// After the wait that was said, it is allowed; and not before.
        #[test]
        fn the_wait_is_exact(units in 1u64..100_000, burst in 1u64..20, taken in 0u64..20) {
            let rate = per_second(units, burst);
            let mut mark = 0;
            for _ in 0..taken {
                let _ = rate.take(&mut mark, 0, 1);
            }
            if let Err(wait) = rate.take(&mut mark, 0, 1) {
                let wait = wait.as_nanos() as u64;
                prop_assert!(rate.take(&mut mark, wait - 1, 1).is_err());
                prop_assert!(rate.take(&mut mark, wait, 1).is_ok());
            }
        }
    }
}
