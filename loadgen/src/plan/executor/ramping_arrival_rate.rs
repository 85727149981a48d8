//! `ramping-arrival-rate`: the open model with a rate that changes in stages.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::arrival::{ArrivalTimes, Pattern, Rate, Share};
use crate::plan::ramp::{Ramp, Stage, duration_of};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RampingArrivalRate {
    /// Arrivals per second at the begin.
    pub start_rate_per_second: f64,
    /// Where the rate goes from there, in arrivals per second.
    pub stages: Vec<Stage>,
    /// How the arrivals are spread.
    pub arrivals: Pattern,
    /// Most attempts at a time; `None` means as many as there are devices.
    pub max_in_flight: Option<usize>,
}

impl RampingArrivalRate {
    /// The length of all stages.
    pub fn duration(&self) -> Duration {
        duration_of(&self.stages)
    }

    /// The intended starts of one share.
    pub fn arrival_times(&self, seed: u64, share: Share) -> ArrivalTimes {
        let ramp = Ramp::new(self.start_rate_per_second, &self.stages);
        ArrivalTimes::new(Rate::Ramp(ramp), self.arrivals, seed, share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arrivals: Pattern) -> RampingArrivalRate {
        let stage = |seconds, target| Stage {
            target,
            duration: Duration::from_secs(seconds),
        };
        RampingArrivalRate {
            start_rate_per_second: 0.0,
            stages: vec![stage(10, 400.0), stage(5, 400.0), stage(10, 0.0)],
            arrivals,
            max_in_flight: None,
        }
    }

    #[test]
    fn the_shares_of_a_uniform_ramp_are_the_whole() {
        let ramping = settings(Pattern::Uniform);
        let shares = |of: usize| {
            let mut times: Vec<_> = (0..of)
                .flat_map(|index| ramping.arrival_times(1, Share { index, of }))
                .collect();
            times.sort();
            times
        };
        let whole = shares(1);
        assert_eq!(whole.len(), 6000);
        assert_eq!(shares(3), whole);
        assert!(*whole.last().unwrap() < ramping.duration());
    }

    #[test]
    fn independent_arrivals_follow_the_ramp() {
        let ramping = settings(Pattern::Poisson);
        let times: Vec<_> = (0..2)
            .flat_map(|index| ramping.arrival_times(5, Share { index, of: 2 }))
            .map(|time| time.as_secs_f64())
            .collect();
        let between = |from: f64, to: f64| {
            let inside = times.iter().filter(|time| (from..to).contains(*time));
            inside.count() as f64
        };
        for (from, to, wanted) in [(0.0, 5.0, 500.0), (5.0, 10.0, 1500.0), (10.0, 15.0, 2000.0)] {
            let found = between(from, to);
            assert!(
                (found - wanted).abs() < 5.0 * f64::sqrt(wanted),
                "{found} {wanted}"
            );
        }
    }
}
