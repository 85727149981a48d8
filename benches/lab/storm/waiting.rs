//! How long established devices waited: quantiles, and when it was as in the quiet again; pure.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::established::Sample;

/// Requests of so long a time are looked at to tell whether it is quiet again.
const LOOK: Duration = Duration::from_millis(500);
/// From one look to the next.
const STEP: Duration = Duration::from_millis(50);
/// As in the quiet is what is at most so many times as long,
const AGAIN_FACTOR: f64 = 2.0;
/// or so much longer, in milliseconds: a quiet gateway answers within a fraction of one.
const AGAIN_MS: f64 = 1.0;

/// Requests of one phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// How many were made.
    pub(crate) requests: usize,
    /// Of these, not answered.
    pub(crate) failed: usize,
    /// Median, in milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// 99th percentile.
    pub(crate) p99_ms: Option<f64>,
    /// The longest.
    pub(crate) max_ms: Option<f64>,
    /// 99th percentile of how late the devices themselves were.
    pub(crate) lag_p99_ms: Option<f64>,
}

impl Waiting {
    /// Of these requests; one that was not answered waited for ever.
    pub(super) fn of(samples: &[Sample]) -> Waiting {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let took = samples
            .iter()
            .map(|sample| sample.took.map_or(f64::INFINITY, milliseconds));
        let took = sorted(took.collect());
        let lags = sorted(
            samples
                .iter()
                .map(|sample| milliseconds(sample.lag))
                .collect(),
        );
        Waiting {
            requests: samples.len(),
            failed: samples
                .iter()
                .filter(|sample| sample.took.is_none())
                .count(),
            p50_ms: quantile(&took, 0.5),
            p99_ms: quantile(&took, 0.99),
            max_ms: quantile(&took, 1.0),
            lag_p99_ms: quantile(&lags, 0.99),
        }
    }
}

/// From `end` until requests wait no longer than in the quiet, whose 99th percentile is `quiet_ms`; if that is not so by the last
/// of them, the time until then. `None` without any.
pub(super) fn recovery(samples: &[Sample], end: Instant, quiet_ms: f64) -> Option<Duration> {
    let enough = (quiet_ms * AGAIN_FACTOR).max(quiet_ms + AGAIN_MS);
    let last = samples.last()?.intended;
    let mut from = end;
    while from + LOOK <= last {
        let looked: Vec<Sample> = samples
            .iter()
            .filter(|sample| sample.intended >= from && sample.intended < from + LOOK)
            .copied()
            .collect();
        if Waiting::of(&looked).p99_ms.is_some_and(|p99| p99 <= enough) {
            return Some(from - end);
        }
        from += STEP;
    }
    Some(last.saturating_duration_since(end))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest value that this share of the others does not exceed; `None` where it is no time.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let value = *sorted.get(rank.saturating_sub(1))?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(began: Instant, at_ms: u64, took_ms: Option<u64>) -> Sample {
        Sample {
            intended: began + Duration::from_millis(at_ms),
            took: took_ms.map(Duration::from_millis),
            lag: Duration::ZERO,
        }
    }

    #[test]
    fn quantiles_are_those_of_all_requests_and_no_answer_is_the_longest_wait() {
        let began = Instant::now();
        let mut samples: Vec<Sample> = (1..=100)
            .map(|index| sample(began, index, Some(index)))
            .collect();
        let waiting = Waiting::of(&samples);
        assert_eq!((waiting.p50_ms, waiting.p99_ms), (Some(50.0), Some(99.0)));
        assert_eq!((waiting.max_ms, waiting.failed), (Some(100.0), 0));
        samples.extend((0..2).map(|index| sample(began, index, None)));
        let waiting = Waiting::of(&samples);
        assert_eq!((waiting.failed, waiting.p99_ms), (2, None));
        assert_eq!(Waiting::of(&[]), Waiting::default());
    }

    #[test]
    fn it_is_quiet_again_when_half_a_second_was() {
        let began = Instant::now();
        // Slow for 700 ms, then as ever.
        let samples: Vec<Sample> = (0..400)
            .map(|index| 5 * index)
            .map(|at| sample(began, at, Some(if at < 700 { 30 } else { 2 })))
            .collect();
        let recovered = recovery(&samples, began, 2.0).unwrap();
        assert_eq!(recovered, Duration::from_millis(700));
        let again = began + Duration::from_millis(800);
        assert_eq!(recovery(&samples, again, 2.0), Some(Duration::ZERO));
        let never = recovery(&samples, began, 0.4);
        assert_eq!(never, Some(Duration::from_millis(1995)));
        assert_eq!(recovery(&[], began, 1.0), None);
    }
}
