//! `constant-arrival-rate`: the open model. Attempts start at a rate, whether or not earlier ones are done.

use serde::{Deserialize, Serialize};

use super::Limit;
use crate::plan::arrival::{ArrivalTimes, Pattern, Rate, Share};

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConstantArrivalRate {
    /// Arrivals per second over all devices of the scenario.
    pub rate_per_second: f64,
    /// How the arrivals are spread over a second.
    pub arrivals: Pattern,
    /// Most attempts at a time; `None` means as many as there are devices.
    pub max_in_flight: Option<usize>,
    /// When it ends.
    pub until: Limit,
}

impl ConstantArrivalRate {
    /// Uniform arrivals at `rate_per_second`, as many at a time as there are devices.
    pub fn new(rate_per_second: f64, until: Limit) -> ConstantArrivalRate {
        ConstantArrivalRate {
            rate_per_second,
            arrivals: Pattern::Uniform,
            max_in_flight: None,
            until,
        }
    }

    /// Independent arrivals, otherwise the same.
    pub fn poisson(rate_per_second: f64, until: Limit) -> ConstantArrivalRate {
        ConstantArrivalRate {
            arrivals: Pattern::Poisson,
            ..ConstantArrivalRate::new(rate_per_second, until)
        }
    }

    /// The intended starts of one share, without end.
    pub fn arrival_times(&self, seed: u64, share: Share) -> ArrivalTimes {
        let rate = Rate::Constant(self.rate_per_second);
        ArrivalTimes::new(rate, self.arrivals, seed, share)
    }
}
