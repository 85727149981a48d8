//! Does a load hold? Answered from what each second showed, with confidence bounds; pure.
//!
//! Every condition on a probe comes down to a share that must stay below an allowed one: attempts slower than a limit,
//! failed ones, arrivals that the server is behind with. Seconds, not attempts, are taken as the independent samples:
//! attempts that wait in one queue are late together, and bounds that ignore this would be far too narrow. Where the
//! bound for independent attempts (Wilson's) is the wider of the two, it decides.

/// Quantile of the normal distribution for one answer. An answer may be wrong in one of 40 cases (two such answers, one on each
/// side, make an interval of 95 %), and is looked for up to three times: 1 - 0.025 / 3.
const Z: f64 = 2.394;

/// What is known of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Every condition holds.
    Holds,
    /// At least one does not.
    Fails,
    /// What was seen allows both.
    Unclear,
}

/// One condition and what was seen of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    /// The condition, as it was written.
    pub name: String,
    /// The share that it allows; with 0 a single one is too many.
    pub allowed: f64,
    /// The share must be above the allowed one, not below.
    pub inverted: bool,
    /// How many were bad, of how many, second by second.
    pub seconds: Vec<(f64, f64)>,
    /// Variance of the sum of the bad ones, where it is known better than from how much the seconds differ.
    pub variance: Option<f64>,
}

impl Criterion {
    /// A condition of which nothing has been seen.
    pub fn new(name: impl Into<String>, allowed: f64) -> Criterion {
        Criterion {
            name: name.into(),
            allowed,
            inverted: false,
            seconds: Vec::new(),
            variance: None,
        }
    }

    /// How much further behind a server fell in each second, of what arrived in it. What it is behind with at the end less
    /// that at the begin is all that counts: between them it goes up and down, and the seconds' differences, which take each
    /// other back, say nothing about the sum. Its variance is twice that of the backlog around its own trend.
    pub fn backlog(name: impl Into<String>, allowed: f64, seconds: Vec<(f64, f64)>) -> Criterion {
        let mut backlog = 0.0;
        let levels: Vec<f64> = std::iter::once(0.0)
            .chain(seconds.iter().map(|(more, _)| {
                backlog += more;
                backlog
            }))
            .collect();
        Criterion {
            seconds,
            variance: Some(2.0 * variance_around_trend(&levels)),
            ..Criterion::new(name, allowed)
        }
    }

    /// Takes over what another look has seen.
    pub fn pool(&mut self, other: &Criterion) {
        self.seconds.extend_from_slice(&other.seconds);
        self.variance = match (self.variance, other.variance) {
            (Some(one), Some(other)) => Some(one + other),
            _ => None,
        };
    }

    /// The bad share; `None` without samples.
    pub fn share(&self) -> Option<f64> {
        let (bad, of) = self.totals();
        (of > 0.0).then(|| bad / of)
    }

    /// Whether the condition holds.
    pub fn answer(&self) -> Answer {
        let (bad, of) = self.totals();
        let Some(share) = self.share() else {
            // Nothing was completed at all: that is no silence, that is a server that does not answer.
            return Answer::Fails;
        };
        let below = if self.allowed <= 0.0 {
            if bad > 0.0 {
                Answer::Fails
            } else {
                Answer::Holds
            }
        } else {
            let (low, high) = self.bounds(share, of);
            if high < self.allowed {
                Answer::Holds
            } else if low > self.allowed {
                Answer::Fails
            } else {
                Answer::Unclear
            }
        };
        match (self.inverted, below) {
            (true, Answer::Holds) => Answer::Fails,
            (true, Answer::Fails) => Answer::Holds,
            (_, answer) => answer,
        }
    }

    fn totals(&self) -> (f64, f64) {
        self.seconds
            .iter()
            .fold((0.0, 0.0), |(bad, all), (more, of)| (bad + more, all + of))
    }

    fn bounds(&self, share: f64, of: f64) -> (f64, f64) {
        if let Some(variance) = self.variance {
            let error = Z * variance.sqrt() / of;
            return (share - error, share + error);
        }
        let (low, high) = wilson(share, of);
        let error = Z * self.error_between_seconds(share, of);
        (low.min(share - error), high.max(share + error))
    }

    /// Standard error of the share, from how much the seconds differ (a ratio estimate over clusters).
    fn error_between_seconds(&self, share: f64, of: f64) -> f64 {
        let seconds = self.seconds.len() as f64;
        if seconds < 2.0 {
            return 0.0;
        }
        let squares: f64 = self
            .seconds
            .iter()
            .map(|(bad, of)| (bad - share * of).powi(2))
            .sum();
        (seconds / (seconds - 1.0) * squares).sqrt() / of
    }
}

/// Variance of the residuals of a straight line through equally distant values.
fn variance_around_trend(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 3.0 {
        return 0.0;
    }
    let middle = (count - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / count;
    let moments = values
        .iter()
        .enumerate()
        .fold((0.0, 0.0, 0.0), |sums, (place, value)| {
            let (along, off) = (place as f64 - middle, value - mean);
            (
                sums.0 + along * along,
                sums.1 + along * off,
                sums.2 + off * off,
            )
        });
    let (along, both, off) = moments;
    (off - both * both / along).max(0.0) / (count - 2.0)
}

/// Wilson's score interval of a share of independent samples.
fn wilson(share: f64, samples: f64) -> (f64, f64) {
    let share = share.clamp(0.0, 1.0);
    let square = Z * Z;
    let middle = share + square / (2.0 * samples);
    let half = Z * (share * (1.0 - share) / samples + square / (4.0 * samples * samples)).sqrt();
    let scale = 1.0 + square / samples;
    ((middle - half) / scale, (middle + half) / scale)
}

/// The answer of all conditions together.
pub fn answer(criteria: &[Criterion]) -> Answer {
    let mut all = Answer::Holds;
    for criterion in criteria {
        match criterion.answer() {
            Answer::Fails => return Answer::Fails,
            Answer::Unclear => all = Answer::Unclear,
            Answer::Holds => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criterion(allowed: f64, seconds: &[(f64, f64)]) -> Criterion {
        Criterion {
            seconds: seconds.to_vec(),
            ..Criterion::new("p99<50ms", allowed)
        }
    }

    #[test]
    fn much_of_the_same_is_certain_and_little_is_not() {
        assert_eq!(
            criterion(0.01, &[(4.0, 1000.0); 10]).answer(),
            Answer::Holds
        );
        assert_eq!(
            criterion(0.01, &[(16.0, 1000.0); 10]).answer(),
            Answer::Fails
        );
        assert_eq!(
            criterion(0.01, &[(10.0, 1000.0); 10]).answer(),
            Answer::Unclear
        );
        assert_eq!(
            criterion(0.01, &[(0.0, 20.0); 10]).answer(),
            Answer::Unclear
        );
        assert_eq!(criterion(0.01, &[(0.0, 200.0); 10]).answer(), Answer::Holds);
    }

    #[test]
    fn one_bad_second_among_many_is_no_certainty() {
        // Two in a hundred are slow, but all of them in one second: a pause, or somebody else's work on the machine.
        let mut seconds = [(0.0, 1000.0); 10];
        seconds[4].0 = 200.0;
        assert_eq!(criterion(0.01, &seconds).answer(), Answer::Unclear);
        assert_eq!(
            criterion(0.01, &[(20.0, 1000.0); 10]).answer(),
            Answer::Fails
        );
    }

    #[test]
    fn a_backlog_that_goes_up_and_down_is_told_from_one_that_grows() {
        let seconds = |growth: f64| -> Vec<(f64, f64)> {
            let level = |second: usize| growth * second as f64 + f64::from(second % 2 == 1) * 2.0;
            (0..12)
                .map(|second| (level(second + 1) - level(second), 50.0))
                .collect()
        };
        let answer = |growth| Criterion::backlog("keeps up", 0.01, seconds(growth)).answer();
        assert_eq!(answer(0.0), Answer::Holds);
        assert_eq!(answer(0.5), Answer::Unclear);
        assert_eq!(answer(1.5), Answer::Fails);
        let mut pooled = Criterion::backlog("keeps up", 0.01, seconds(0.0));
        let alone = pooled.variance.unwrap();
        pooled.pool(&pooled.clone());
        assert_eq!(
            (pooled.variance, pooled.seconds.len()),
            (Some(2.0 * alone), 24)
        );
    }

    #[test]
    fn nothing_completed_fails_and_nothing_allowed_is_strict() {
        assert_eq!(criterion(0.01, &[]).answer(), Answer::Fails);
        assert_eq!(criterion(0.0, &[(0.0, 10.0)]).answer(), Answer::Holds);
        assert_eq!(criterion(0.0, &[(1.0, 1e6)]).answer(), Answer::Fails);
        let inverted = Criterion {
            inverted: true,
            ..criterion(0.5, &[(900.0, 1000.0); 9])
        };
        assert_eq!(inverted.answer(), Answer::Holds);
    }

    #[test]
    fn the_worst_condition_decides() {
        let holds = criterion(0.01, &[(0.0, 1000.0); 10]);
        let unclear = criterion(0.01, &[(10.0, 1000.0); 10]);
        let fails = criterion(0.01, &[(90.0, 1000.0); 10]);
        assert_eq!(answer(&[holds.clone(), unclear.clone()]), Answer::Unclear);
        assert_eq!(answer(&[unclear, fails, holds.clone()]), Answer::Fails);
        assert_eq!(answer(&[holds]), Answer::Holds);
    }

    /// The bounds keep what they promise: of loads exactly at the limit, fewer than one in forty are answered wrongly on
    /// either side.
    #[test]
    fn certainty_is_wrong_no_more_often_than_it_says() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(5);
        let (mut holds, mut fails) = (0, 0);
        for _ in 0..400 {
            let seconds: Vec<_> = (0..10)
                .map(|_| {
                    let bad = (0..500).filter(|_| random.random_bool(0.02)).count();
                    (bad as f64, 500.0)
                })
                .collect();
            match criterion(0.02, &seconds).answer() {
                Answer::Holds => holds += 1,
                Answer::Fails => fails += 1,
                Answer::Unclear => {}
            }
        }
        assert!(holds <= 10 && fails <= 10, "{holds} {fails} of 400");
    }
}
