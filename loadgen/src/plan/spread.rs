//! A number of events spread over a time: each of the scenario's devices once.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::arrival::{Pattern, Share, random_of_share};
use super::{part_of, seconds};

/// How the events lie in the time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// The time, in seconds; none means all at once.
    #[serde(with = "seconds", rename = "over_seconds")]
    pub over: Duration,
    /// At equal distances, or independently of each other.
    pub arrivals: Pattern,
}

/// The times of one share's events, since the time began; ascending, and exactly as many as the share has of the whole.
#[derive(Debug)]
pub struct SpreadTimes {
    over: f64,
    state: State,
}

#[derive(Debug)]
enum State {
    Even {
        next: u64,
        step: u64,
        total: u64,
    },
    Random {
        left: u64,
        at: f64,
        random: Box<StdRng>,
    },
}

impl Spread {
    /// The times of one share of `total` events.
    pub fn times(self, total: u64, seed: u64, share: Share) -> SpreadTimes {
        let state = match self.arrivals {
            Pattern::Uniform => State::Even {
                next: share.index as u64,
                step: share.of as u64,
                total,
            },
            Pattern::Poisson => State::Random {
                left: part_of(total, share.index, share.of),
                at: 0.0,
                random: Box::new(random_of_share(seed, share)),
            },
        };
        SpreadTimes {
            over: self.over.as_secs_f64(),
            state,
        }
    }
}

/// In words, for a report.
impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.over.is_zero() {
            return formatter.write_str("all at once");
        }
        write!(formatter, "spread over {} s", self.over.as_secs_f64())
    }
}

impl Iterator for SpreadTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let place = match &mut self.state {
            State::Even { next, step, total } => {
                let place = (*next < *total).then(|| *next as f64 / *total as f64)?;
                *next += *step;
                place
            }
            State::Random { left, at, random } => {
                // A Poisson process that is known to have so many events has them in independent places. The first of n
                // places in the rest of the time, in order: each next one is the least of those that are left.
                let remaining = (*left > 0).then_some(*left)? as f64;
                let uniform: f64 = random.random();
                *at += (1.0 - *at) * (1.0 - (1.0 - uniform).powf(1.0 / remaining));
                *left -= 1;
                *at
            }
        };
        Duration::try_from_secs_f64(place * self.over).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spread: Spread, total: u64, of: usize) -> Vec<Duration> {
        let mut times: Vec<_> = (0..of)
            .flat_map(|index| {
                let times: Vec<_> = spread.times(total, 9, Share { index, of }).collect();
                assert!(times.is_sorted());
                assert_eq!(times.len() as u64, part_of(total, index, of));
                times
            })
            .collect();
        times.sort();
        times
    }

    #[test]
    fn every_device_has_one_event_whatever_the_shares() {
        let over = Duration::from_secs(30);
        for arrivals in [Pattern::Uniform, Pattern::Poisson] {
            for total in [0, 1, 7, 1000] {
                for of in 1..5 {
                    let times = all(Spread { over, arrivals }, total, of);
                    assert_eq!(times.len() as u64, total);
                    assert!(times.iter().all(|time| *time < over));
                }
            }
        }
        let even = Spread {
            over,
            arrivals: Pattern::Uniform,
        };
        assert_eq!(all(even, 1000, 3), all(even, 1000, 1));
        assert_eq!(all(even, 300, 1)[10], Duration::from_secs(1));
    }

    #[test]
    fn independent_events_fill_the_time_evenly() {
        let spread = Spread {
            over: Duration::from_secs(10),
            arrivals: Pattern::Poisson,
        };
        let times = all(spread, 10_000, 2);
        for second in 0..10 {
            let inside = times.iter().filter(|time| time.as_secs() == second).count();
            assert!((850..1150).contains(&inside), "{second}: {inside}");
        }
    }

    #[test]
    fn without_time_all_come_at_once() {
        assert_eq!(all(Spread::default(), 5, 2), vec![Duration::ZERO; 5]);
    }
}
