//! A median and how sure it is; pure and seeded.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// How often the rounds are drawn again.
const RESAMPLES: usize = 10_000;

/// A median with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    /// The median of the rounds.
    pub(crate) median: f64,
    /// Lower end of the interval.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

/// Of one value per round; `None` without any.
pub(crate) fn estimate(rounds: &[f64], seed: u64) -> Option<Estimate> {
    let middle = median(rounds)?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let drawn: Vec<f64> = (0..rounds.len())
                .filter_map(|_| rounds.get(random.random_range(0..rounds.len())).copied())
                .collect();
            median(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * (medians.len() - 1) as f64).round() as usize;
        medians.get(index).copied().unwrap_or(middle)
    };
    Some(Estimate {
        median: middle,
        low: at(0.025),
        high: at(0.975),
    })
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(half - 1)?, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_and_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(estimate(&[], 1), None);
    }

    #[test]
    fn an_interval_holds_its_median_and_narrows_with_agreement() {
        let wide = estimate(&[90.0, 95.0, 100.0, 105.0, 110.0], 1).unwrap();
        assert_eq!(wide.median, 100.0);
        assert!(wide.low <= 95.0 && wide.high >= 105.0, "{wide:?}");
        let narrow = estimate(&[99.0, 100.0, 100.0, 100.0, 101.0], 1).unwrap();
        assert!(narrow.high - narrow.low < wide.high - wide.low);
        let one = estimate(&[5.0], 1).unwrap();
        assert_eq!((one.low, one.median, one.high), (5.0, 5.0, 5.0));
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        // Rounds drawn from 0 to 1: the median of the distribution is a half.
        let mut random = StdRng::seed_from_u64(3);
        let covered = (0..100)
            .filter(|seed| {
                let rounds: Vec<f64> = (0..15).map(|_| random.random()).collect();
                let estimate = estimate(&rounds, *seed).unwrap();
                (estimate.low..=estimate.high).contains(&0.5)
            })
            .count();
        assert!(covered >= 88, "{covered} of 100");
    }
}
