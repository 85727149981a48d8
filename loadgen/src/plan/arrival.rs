//! Arrivals of the open model: an endless iterator of intended starts.
//!
//! Intended starts depend on the plan alone, never on how the server or the generator is doing: that is what keeps
//! coordinated omission out of the response time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// One arrival every 1/rate seconds.
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

/// Intended starts of one share of a schedule, as time since the schedule began; endless and ascending.
#[derive(Debug)]
pub struct ArrivalTimes {
    rate_per_second: f64,
    share: Share,
    state: State,
}

#[derive(Debug)]
enum State {
    Uniform { released: u64 },
    Poisson { seconds: f64, random: Box<StdRng> },
}

impl ArrivalTimes {
    /// The share's arrivals of a schedule of `rate_per_second` (> 0) over all shares together.
    pub fn new(pattern: Pattern, rate_per_second: f64, seed: u64, share: Share) -> ArrivalTimes {
        let state = match pattern {
            Pattern::Uniform => State::Uniform { released: 0 },
            Pattern::Poisson => State::Poisson {
                seconds: 0.0,
                random: Box::new(random_of_share(seed, share)),
            },
        };
        ArrivalTimes {
            rate_per_second,
            share,
            state,
        }
    }
}

impl Iterator for ArrivalTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let seconds = match &mut self.state {
            State::Uniform { released } => {
                let number = *released * self.share.of as u64 + self.share.index as u64;
                *released += 1;
                number as f64 / self.rate_per_second
            }
            State::Poisson { seconds, random } => {
                // The superposition of independent Poisson processes is one: each share draws its own.
                let rate = self.rate_per_second / self.share.of as f64;
                let uniform: f64 = random.random();
                *seconds += -(1.0 - uniform).ln() / rate;
                *seconds
            }
        };
        Duration::try_from_secs_f64(seconds).ok()
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
        ArrivalTimes::new(pattern, 1000.0, 7, Share { index, of })
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
