//! How far a figure of one run can be trusted: intervals for quantiles, rates and shares.
//!
//! Nothing is assumed about how times are distributed: the interval of a quantile is that of its rank. Attempts of the same second
//! have much in common, so counts scatter more between seconds than independent attempts would make them; the intervals are widened by
//! just that much. What a single run cannot show (another day, another machine) is in no interval.

use hdrhistogram::Histogram;

/// Standard deviations that an interval reaches: 97.5 % of the time the true value of one run lies inside, hence at least 95 % of the
/// time those of both runs.
const REACH: f64 = 2.241_4;

/// Bounds of a figure. The upper one is infinite where the samples do not reach far enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Not less than this.
    pub low: f64,
    /// Not more than this.
    pub high: f64,
}

impl Interval {
    /// Of `second / first`, for figures that are not negative.
    pub fn ratio(first: Interval, second: Interval) -> Interval {
        let over = |a: f64, b: f64| match (a, b) {
            (0.0, 0.0) => 1.0,
            (a, b) => a / b,
        };
        Interval {
            low: if first.high.is_infinite() {
                0.0
            } else {
                over(second.low, first.high)
            },
            high: if first.low == 0.0 {
                f64::INFINITY
            } else {
                over(second.high, first.low)
            },
        }
    }

    /// Of `second - first`.
    pub fn difference(first: Interval, second: Interval) -> Interval {
        Interval {
            low: second.low - first.high,
            high: second.high - first.low,
        }
    }
}

/// Of a quantile, in the histogram's unit; `None` for an empty one.
pub fn of_quantile(histogram: &Histogram<u64>, quantile: f64, dispersion: f64) -> Option<Interval> {
    let samples = histogram.len() as f64;
    if histogram.is_empty() {
        return None;
    }
    let rank = quantile * samples;
    let reach = REACH * (dispersion * samples * quantile * (1.0 - quantile)).sqrt();
    // Half a rank below, so that rounding cannot lead to the next one.
    let value = |rank: f64| histogram.value_at_quantile((rank - 0.5) / samples) as f64;
    let (lower, upper) = ((rank - reach).floor(), (rank + reach).ceil() + 1.0);
    Some(Interval {
        low: if lower < 1.0 {
            histogram.min() as f64
        } else {
            value(lower)
        },
        high: if upper > samples {
            f64::INFINITY
        } else {
            value(upper)
        },
    })
}

/// Of a number of events that was counted to be `count`.
pub fn of_count(count: u64, dispersion: f64) -> Interval {
    let (count, square) = (count as f64, REACH * REACH * dispersion);
    let (middle, reach) = (
        count + square / 2.0,
        (square * (count + square / 4.0)).sqrt(),
    );
    Interval {
        low: (middle - reach).max(0.0),
        high: middle + reach,
    }
}

/// Of the share that `count` of `of` is (Wilson's); `None` of nothing.
pub fn of_share(count: u64, of: u64, dispersion: f64) -> Option<Interval> {
    if of == 0 {
        return None;
    }
    let (all, square) = (of as f64, REACH * REACH * dispersion);
    let share = count as f64 / all;
    let middle = share + square / (2.0 * all);
    let reach = (square * (share * (1.0 - share) + square / (4.0 * all)) / all).sqrt();
    let scale = 1.0 + square / all;
    Some(Interval {
        low: ((middle - reach) / scale).max(0.0),
        high: ((middle + reach) / scale).min(1.0),
    })
}

/// How many times as much the counts of the seconds scatter as independent events would: 1 or more. Each pair is how many had the
/// property and how many there were.
pub fn dispersion_of_shares(seconds: &[(u64, u64)]) -> f64 {
    let sum = |of: fn(&(u64, u64)) -> u64| seconds.iter().map(of).sum::<u64>() as f64;
    let (having, all) = (sum(|second| second.0), sum(|second| second.1));
    let share = having / all;
    if all == 0.0 || share <= 0.0 || share >= 1.0 {
        return 1.0;
    }
    let squares = seconds.iter().filter(|second| second.1 > 0).map(|second| {
        let expected = second.1 as f64 * share;
        (second.0 as f64 - expected).powi(2) / (expected * (1.0 - share))
    });
    mean_square(squares)
}

/// The same for events that can happen any number of times in a second.
pub fn dispersion_of_counts(seconds: &[u64]) -> f64 {
    let mean = seconds.iter().sum::<u64>() as f64 / seconds.len().max(1) as f64;
    if mean <= 0.0 {
        return 1.0;
    }
    mean_square(
        seconds
            .iter()
            .map(|count| (*count as f64 - mean).powi(2) / mean),
    )
}

fn mean_square(squares: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = squares.fold((0_u64, 0.0), |(count, sum), square| {
        (count + 1, sum + square)
    });
    if count < 2 {
        return 1.0;
    }
    (sum / (count - 1) as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::measure::recorder::new_histogram;

    #[test]
    fn intervals_of_quantiles_hold_as_often_as_promised() {
        let mut random = StdRng::seed_from_u64(1);
        for quantile in [0.5, 0.99] {
            let inside = (0..400)
                .filter(|_| {
                    let mut histogram = new_histogram();
                    for _ in 0..2000 {
                        histogram
                            .record(random.random_range(1..=1_000_000))
                            .unwrap();
                    }
                    let interval = of_quantile(&histogram, quantile, 1.0).unwrap();
                    // A histogram of three digits rounds.
                    interval.low <= quantile * 1_001_000.0 && quantile * 999_000.0 <= interval.high
                })
                .count();
            assert!(inside >= 380, "{inside} of 400 at {quantile}");
        }
    }

    #[test]
    fn intervals_of_counts_hold_as_often_as_promised() {
        let mut random = StdRng::seed_from_u64(2);
        for share in [0.001, 0.02, 0.5] {
            let inside = (0..1000)
                .filter(|_| {
                    let count = (0..2000).filter(|_| random.random_bool(share)).count() as u64;
                    let interval = of_share(count, 2000, 1.0).unwrap();
                    interval.low <= share && share <= interval.high
                })
                .count();
            assert!(inside >= 950, "{inside} of 1000 at {share}");
        }
        assert_eq!(of_count(0, 1.0).low, 0.0);
        assert!((3.0..6.0).contains(&of_count(0, 1.0).high));
    }

    #[test]
    fn too_few_samples_have_no_upper_bound() {
        let mut histogram = new_histogram();
        (1..=100).for_each(|value| histogram.record(value).unwrap());
        let interval = of_quantile(&histogram, 0.99, 1.0).unwrap();
        assert!(interval.high.is_infinite() && interval.low >= 90.0);
        assert!(of_quantile(&new_histogram(), 0.5, 1.0).is_none());
        let known = Interval {
            low: 1.0,
            high: 2.0,
        };
        assert_eq!(Interval::ratio(interval, known).low, 0.0);
        assert_eq!(Interval::ratio(known, interval).high, f64::INFINITY);
    }

    #[test]
    fn seconds_that_are_unlike_each_other_widen_the_interval() {
        assert_eq!(dispersion_of_shares(&[(5, 100), (5, 100), (5, 100)]), 1.0);
        assert!(dispersion_of_shares(&[(100, 100), (0, 100), (0, 100)]) > 50.0);
        assert_eq!(dispersion_of_counts(&[100, 100, 100]), 1.0);
        assert!(dispersion_of_counts(&[300, 0, 0]) > 100.0);
        assert_eq!(dispersion_of_counts(&[]), 1.0);
        let (narrow, wide) = (of_count(100, 1.0), of_count(100, 9.0));
        assert!(wide.low < narrow.low && wide.high > narrow.high);
    }
}
