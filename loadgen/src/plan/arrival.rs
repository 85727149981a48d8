//! Arrivals of the open model: an iterator of intended starts.
//!
//! Intended starts depend on the plan alone, never on how the server or the generator is doing: that is what keeps
//! coordinated omission out of the response time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::ramp::Ramp;

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// One arrival every 1/rate seconds.
    #[default]
    Uniform,
    /// Independent arrivals: exponentially distributed gaps, as a large fleet shows.
    Poisson,
}

/// The part of the schedule which one shard releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// This shard.
    pub index: usize,
    /// All shards.
    pub of: usize,
}

/// The rate over time, of all shares together.
#[derive(Debug, Clone, PartialEq)]
pub enum Rate {
    /// Always so many per second (> 0).
    Constant(f64),
    /// As stages say; it ends with the last.
    Ramp(Ramp),
}

impl Rate {
    /// The time in seconds at which more than `count` arrivals are due; `None` if so many never are.
    fn time_of(&self, count: f64) -> Option<f64> {
        match self {
            Rate::Constant(per_second) => Some(count / per_second),
            Rate::Ramp(ramp) => ramp.time_of(count),
        }
    }
}

/// Intended starts of one share of a schedule, as time since the schedule began; ascending.
#[derive(Debug)]
pub struct ArrivalTimes {
    rate: Rate,
    share: Share,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Arrivals released so far.
    Uniform { released: u64 },
    /// Arrivals of this share that were due at the last one, which is a random number.
    Poisson { due: f64, random: Box<StdRng> },
}

impl ArrivalTimes {
    /// The share's arrivals at a rate that all shares reach together.
    pub fn new(rate: Rate, pattern: Pattern, seed: u64, share: Share) -> ArrivalTimes {
        let state = match pattern {
            Pattern::Uniform => State::Uniform { released: 0 },
            Pattern::Poisson => State::Poisson {
                due: 0.0,
                random: Box::new(random_of_share(seed, share)),
            },
        };
        ArrivalTimes { rate, share, state }
    }
}

impl Iterator for ArrivalTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let count = match &mut self.state {
            State::Uniform { released } => {
                let number = *released * self.share.of as u64 + self.share.index as u64;
                *released += 1;
                number as f64
            }
            State::Poisson { due, random } => {
                // The superposition of independent Poisson processes is one: each share draws its own. A process whose rate
                // changes is one of rate 1 whose time is the number of arrivals due.
                let uniform: f64 = random.random();
                *due += -(1.0 - uniform).ln();
                *due * self.share.of as f64
            }
        };
        Duration::try_from_secs_f64(self.rate.time_of(count)?).ok()
    }
}

/// A generator that differs between the shares of one seed.
pub(crate) fn random_of_share(seed: u64, share: Share) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ share.index as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pattern: Pattern, index: usize, of: usize) -> ArrivalTimes {
        ArrivalTimes::new(Rate::Constant(1000.0), pattern, 7, Share { index, of })
    }

    #[test]
    fn uniform_shares_interleave_to_the_whole_schedule() {
        let mut split: Vec<_> = (0..3)
            .flat_map(|index| times(Pattern::Uniform, index, 3).take(100))
            .collect();
        split.sort();
        let whole: Vec<_> = times(Pattern::Uniform, 0, 1).take(300).collect();
        assert_eq!(split, whole);
        assert_eq!(whole[250], Duration::from_millis(250));
    }

    #[test]
    fn poisson_is_seeded_ascending_and_has_its_rate() {
        let once: Vec<_> = times(Pattern::Poisson, 1, 2).take(20_000).collect();
        let again: Vec<_> = times(Pattern::Poisson, 1, 2).take(20_000).collect();
        assert_eq!(once, again);
        assert!(once.is_sorted());
        let seconds = once.last().unwrap().as_secs_f64();
        assert!((38.0..42.0).contains(&seconds), "{seconds}");
        let other: Vec<_> = times(Pattern::Poisson, 0, 2).take(20).collect();
        assert_ne!(once[..20], other[..]);
    }
}
