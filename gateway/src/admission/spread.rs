//! How a length of time spreads, lately: a histogram in which a sample counts half after a while.
//!
//! It takes constant memory and time whatever arrives, and answers within a tenth. Pure: time is an argument.

use std::time::Duration;

/// The upper edge of the first bucket.
const FIRST: Duration = Duration::from_millis(1);
/// Buckets for each doubling.
const PER_DOUBLING: f64 = 8.0;
/// The last bucket holds a minute and all that is longer.
const BUCKETS: usize = 128;

/// A histogram of durations that forgets.
#[derive(Debug, Clone)]
pub struct Spread {
    half_life: Duration,
    weights: [f64; BUCKETS],
    total: f64,
    /// What a sample of now weighs. It grows instead of all the others shrinking.
    scale: f64,
    last: Duration,
}

impl Spread {
    /// A histogram in which a sample counts half after `half_life`.
    pub fn new(half_life: Duration) -> Self {
        Self {
            half_life,
            weights: [0.0; BUCKETS],
            total: 0.0,
            scale: 1.0,
            last: Duration::ZERO,
        }
    }

    /// Notes `sample` at `now`, which is since any fixed time in the past.
    pub fn note(&mut self, sample: Duration, now: Duration) {
        self.advance(now);
        if let Some(weight) = self.weights.get_mut(bucket(sample)) {
            *weight += self.scale;
            self.total += self.scale;
        }
    }

    /// How much was noted, in samples of now.
    pub fn weight(&self, now: Duration) -> f64 {
        self.total / (self.scale * self.growth(now))
    }

    /// The duration that `share` of the samples do not exceed, rounded down to the bucket's lower edge. `None` where nothing was noted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut left = self.total * share;
        let reached = self.weights.iter().position(|weight| {
            left -= weight;
            *weight > 0.0 && left <= 0.0
        });
        // What was noted last of all can be missed by a rounding error.
        let reached = reached.or_else(|| self.weights.iter().rposition(|weight| *weight > 0.0))?;
        Some(lower_edge(reached))
    }

    fn growth(&self, now: Duration) -> f64 {
        let past = now.saturating_sub(self.last);
        (past.as_secs_f64() / self.half_life.as_secs_f64()).exp2()
    }

    fn advance(&mut self, now: Duration) {
        /// Long before an `f64` overflows.
        const TOO_LARGE: f64 = 1e100;
        self.scale *= self.growth(now);
        self.last = self.last.max(now);
        if self.scale > TOO_LARGE {
            let scale = self.scale;
            for weight in &mut self.weights {
                *weight /= scale;
            }
            self.total = self.weights.iter().sum();
            self.scale = 1.0;
        }
    }
}

fn bucket(sample: Duration) -> usize {
    let doublings = (sample.as_secs_f64() / FIRST.as_secs_f64()).log2();
    // Conversion saturates: what is shorter than the first bucket, also zero, falls into it.
    ((doublings * PER_DOUBLING).floor() as usize).min(BUCKETS - 1)
}

fn lower_edge(bucket: usize) -> Duration {
    FIRST.mul_f64((bucket as f64 / PER_DOUBLING).exp2())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Spread;

    const HALF_LIFE: Duration = Duration::from_secs(10);

    fn millis(of: u64) -> Duration {
        Duration::from_millis(of)
    }

    fn is_near(found: Option<Duration>, expected: Duration) {
        let found = found.unwrap();
        assert!(
            found <= expected && found >= expected.mul_f64(0.9),
            "{found:?} for {expected:?}"
        );
    }

    #[test]
    fn quantiles_are_right_within_a_tenth() {
        let mut spread = Spread::new(HALF_LIFE);
        for sample in 1..=1000 {
            spread.note(millis(sample), Duration::ZERO);
        }
        for share in [0.1, 0.25, 0.5, 0.9] {
            is_near(
                spread.quantile(share),
                millis(1000).mul_f64(share) + millis(1),
            );
        }
        assert!((spread.weight(Duration::ZERO) - 1000.0).abs() < 0.001);
    }

    #[test]
    fn nothing_noted_has_no_quantile() {
        assert_eq!(Spread::new(HALF_LIFE).quantile(0.5), None);
    }

    #[test]
    fn samples_count_half_after_the_half_life() {
        let mut spread = Spread::new(HALF_LIFE);
        for _ in 0..100 {
            spread.note(millis(100), Duration::ZERO);
        }
        for _ in 0..60 {
            spread.note(millis(200), HALF_LIFE);
        }
        assert!((spread.weight(HALF_LIFE) - 110.0).abs() < 0.001);
        assert!((spread.weight(HALF_LIFE * 2) - 55.0).abs() < 0.001);
        is_near(spread.quantile(0.4), millis(100));
        is_near(spread.quantile(0.5), millis(200));
    }

    #[test]
    fn a_long_time_and_extreme_samples_do_no_harm() {
        let mut spread = Spread::new(HALF_LIFE);
        spread.note(Duration::ZERO, Duration::ZERO);
        assert_eq!(spread.quantile(0.5), Some(millis(1)));
        for step in 0..5_000 {
            spread.note(Duration::MAX, HALF_LIFE * step);
        }
        assert!(spread.quantile(0.5).unwrap() > Duration::from_secs(55));
        assert!((spread.weight(HALF_LIFE * 4_999) - 2.0).abs() < 0.001);
        assert!(spread.weight(Duration::from_secs(100_000_000)) < 1e-9);
        spread.note(millis(500), Duration::from_secs(100_000_000));
        is_near(spread.quantile(0.5), millis(501));
    }
}
