//! How long devices wait before they give up, and so how old a connection may be to be worth a handshake.
//!
//! Nobody says how patient he is; a device that leaves while its handshake is under way shows it. Where none leaves there is
//! no evidence, and devices are taken to be as patient as the configuration allows.
//!
//! Pure: time is an argument.

use std::time::Duration;

use crate::admission::spread::Spread;

/// What the estimate may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The least. A device that leaves sooner is not out of patience: it looked whether somebody is here, say.
    pub min: Duration,
    /// The most, and what is assumed without evidence.
    pub max: Duration,
}

/// A device that leaves counts half after this long.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// As many have to have left lately. A single one may have had any reason.
const EVIDENCE: f64 = 8.0;
/// Devices that left no longer ago are of the same storm.
const LATELY: Duration = Duration::from_secs(3);
/// Who is less patient than all but this share is not waited for.
const LEAST_PATIENT: f64 = 0.1;
/// Nearly everybody answers our flight within the think time at this share.
const SLOWEST: f64 = 0.9;
/// A share of the patience that waiting for the device may be taken for, however slow devices are.
const MOST_OF_PATIENCE: f64 = 0.5;

/// What is known about devices' patience, and about the time they take to answer.
#[derive(Debug)]
pub struct Patience {
    bounds: Bounds,
    left: Spread,
    last_left: Option<Duration>,
    thought: Spread,
}

impl Patience {
    /// Nothing is known yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            left: Spread::new(HALF_LIFE),
            last_left: None,
            thought: Spread::new(HALF_LIFE),
        }
    }

    /// Goes by `bounds` from now on.
    pub fn bound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// A device left at `age` since it was accepted, before its handshake was done.
    pub fn left(&mut self, age: Duration, now: Duration) {
        if age >= self.bounds.min {
            self.left.note(age.min(self.bounds.max), now);
            self.last_left = Some(now);
        }
    }

    /// A device took `time` from our flight to its answer.
    pub fn thought(&mut self, time: Duration, now: Duration) {
        self.thought.note(time, now);
    }

    /// The age at which devices give up, as far as is known.
    pub fn estimate(&self, now: Duration) -> Duration {
        let Some(last_left) = self.last_left else {
            return self.bounds.max;
        };
        // Weighed when the last one left: that nobody leaves because the old ones are shed is no reason to forget why.
        if self.left.weight(last_left) < EVIDENCE {
            return self.bounds.max;
        }
        let Some(known) = self.left.quantile(LEAST_PATIENT) else {
            return self.bounds.max;
        };
        // Without news it grows twofold in each half-life, until devices have left again or it is as long as can be.
        let since = now.saturating_sub(last_left).as_secs_f64() / HALF_LIFE.as_secs_f64();
        let grown = known.as_secs_f64() * since.exp2();
        // Not `mul_f64`, which panics where the result is too large.
        Duration::try_from_secs_f64(grown)
            .unwrap_or(self.bounds.max)
            .clamp(self.bounds.min, self.bounds.max)
    }

    /// The oldest that a connection may be before it is shed. What devices showed in an earlier storm decides whose turn is
    /// next, but sheds nobody in one in which none has left: these may be more patient, and lose nothing by waiting.
    pub fn oldest_to_keep(&self, work: Duration, now: Duration) -> Duration {
        let left_lately = self
            .last_left
            .is_some_and(|last_left| now.saturating_sub(last_left) <= LATELY);
        match left_lately {
            true => self.oldest_worth_starting(work, now),
            false => self.worth_starting(self.bounds.max, work),
        }
    }

    /// The oldest that a connection may be for its handshake to be worth starting, if the gateway's own work takes `work`:
    /// the device's answer and its first request travel once more there and back each.
    pub fn oldest_worth_starting(&self, work: Duration, now: Duration) -> Duration {
        self.worth_starting(self.estimate(now), work)
    }

    fn worth_starting(&self, patience: Duration, work: Duration) -> Duration {
        let away = self.thought.quantile(SLOWEST).unwrap_or_default();
        let needed = away.saturating_mul(2).saturating_add(work);
        patience - needed.min(patience.mul_f64(MOST_OF_PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bounds, HALF_LIFE, Patience};

    const BOUNDS: Bounds = Bounds {
        min: Duration::from_millis(500),
        max: Duration::from_secs(5),
    };
    const NOW: Duration = Duration::from_secs(100);

    fn millis(of: u64) -> Duration {
        Duration::from_millis(of)
    }

    fn after(ages: impl IntoIterator<Item = u64>) -> Patience {
        let mut patience = Patience::new(BOUNDS);
        for age in ages {
            patience.left(millis(age), NOW);
        }
        patience
    }

    fn is_near(found: Duration, expected: u64) {
        assert!(
            found <= millis(expected) && found >= millis(expected).mul_f64(0.9),
            "{found:?} for {expected} ms"
        );
    }

    #[test]
    fn without_evidence_devices_are_patient() {
        assert_eq!(Patience::new(BOUNDS).estimate(NOW), BOUNDS.max);
        assert_eq!(after([1500; 7]).estimate(NOW), BOUNDS.max, "too few");
    }

    #[test]
    fn it_is_when_the_least_patient_leave() {
        is_near(after([1500; 8]).estimate(NOW), 1500);
        is_near(after((0..100).map(|i| 1000 + 20 * i)).estimate(NOW), 1200);
        // A few oddities among many do not decide.
        let odd = [600; 5].into_iter().chain([1500; 95]);
        is_near(after(odd).estimate(NOW), 1500);
    }

    #[test]
    fn who_leaves_at_once_shows_no_patience() {
        assert_eq!(after([3; 1000]).estimate(NOW), BOUNDS.max);
        let probes_and_devices = [3; 1000].into_iter().chain([1500; 8]);
        is_near(after(probes_and_devices).estimate(NOW), 1500);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        is_near(after([500; 100]).estimate(NOW), 501);
        assert!(after([500; 100]).estimate(NOW) >= BOUNDS.min);
        assert_eq!(
            after([60_000; 100]).estimate(NOW).max(BOUNDS.max),
            BOUNDS.max
        );
    }

    #[test]
    fn what_was_known_is_forgotten_slowly_when_nobody_leaves() {
        let patience = after([1000; 100]);
        is_near(patience.estimate(NOW + HALF_LIFE), 2000);
        is_near(patience.estimate(NOW + HALF_LIFE * 2), 4000);
        assert_eq!(patience.estimate(NOW + HALF_LIFE * 3), BOUNDS.max);
        assert_eq!(patience.estimate(NOW + HALF_LIFE * 100_000), BOUNDS.max);
    }

    #[test]
    fn new_evidence_outweighs_old() {
        let mut patience = after([4000; 100]);
        let later = NOW + HALF_LIFE * 4;
        for _ in 0..20 {
            patience.left(millis(1000), later);
        }
        is_near(patience.estimate(later), 1000);
    }

    #[test]
    fn what_is_still_to_come_is_taken_off() {
        let mut patience = after([1500; 100]);
        let work = millis(10);
        assert!(patience.oldest_worth_starting(work, NOW) >= millis(1340));
        for _ in 0..100 {
            patience.thought(millis(60), NOW);
            patience.thought(millis(300), NOW);
        }
        let oldest = patience.oldest_worth_starting(work, NOW);
        assert!(oldest <= millis(900) && oldest >= millis(780), "{oldest:?}");
        // Devices that dawdle cannot make everybody else too old.
        for _ in 0..10_000 {
            patience.thought(millis(9_000), NOW);
        }
        assert!(patience.oldest_worth_starting(work, NOW) >= millis(670));
    }

    #[test]
    fn what_an_earlier_storm_showed_sheds_nobody() {
        let patience = after([1500; 100]);
        let soon = NOW + super::LATELY;
        is_near(patience.oldest_to_keep(Duration::ZERO, soon), 1900);
        let later = soon + millis(1);
        assert_eq!(patience.oldest_to_keep(Duration::ZERO, later), BOUNDS.max);
        assert!(patience.oldest_worth_starting(Duration::ZERO, later) < millis(2000));
    }
}
