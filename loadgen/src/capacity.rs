//! The most that a server carries within conditions: connections per second, requests per second, or open devices.
//!
//! ```text
//! search (pure): which load next? ──▶ a round of `drive` ──▶ observe: what did it show? ──▶ search … ──▶ conclude
//! ```
//!
//! [`search`] decides and touches nothing; [`judgement`] tells from seconds, with confidence bounds, whether a condition
//! holds; here the probes are made, all of them with one opened fleet, whose tickets and connections stay.

mod conclude;
pub mod judgement;
pub mod level;
mod observe;
pub mod search;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::drive::{RunError, Session, Stop};
use crate::fleet::Fleet;
use crate::measure::{Measurement, Second};
use crate::plan::executor::Limit;
use crate::plan::{ConstantArrivalRate, Executor, Part, Pattern, Plan};
use crate::report::capacity::{CapacityResult, Hysteresis, ProbeResult, Variable};
use conclude::Told;
use level::Seen;
use observe::Observer;
use search::{Bounds, Probe, Purpose, Search, Step};

/// Windows of the same probe grow until this many attempts fall into them, which is what an answer on 1 % needs.
const ENOUGH: f64 = 1000.0;
/// But no longer than this many windows.
const MOST_WINDOWS: f64 = 4.0;
/// Window of a light probe in seconds.
const LIGHT_SECONDS: u64 = 3;

/// What is to be searched for, and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who does what; load and times are the search's.
    pub plan: Plan,
    /// What is searched for.
    pub variable: Variable,
    /// How arrivals are spread.
    pub arrivals: Pattern,
    /// How often each of the open devices sends.
    pub interval: Duration,
    /// Where to search, and how closely.
    pub bounds: Bounds,
    /// Load before each window, in whole seconds.
    pub settle_seconds: u64,
    /// Window of a probe, in whole seconds.
    pub window_seconds: u64,
    /// Window of the confirmation, in whole seconds.
    pub confirm_seconds: u64,
    /// The time in which the devices of the sizing line reconnect.
    pub within: Duration,
}

/// What can be told while a search goes on.
#[derive(Debug)]
pub enum Progress<'search> {
    /// A probe begins.
    Begins(Probe),
    /// A second of it has passed.
    Second(&'search Second),
    /// It has ended.
    Ended(&'search ProbeResult),
}

/// Searches until the maximum is known, or `stop`.
///
/// # Errors
///
/// What the operator has to mend before a search makes sense.
pub fn find(
    order: &Order,
    fleet: &Arc<Fleet>,
    stop: Stop,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<CapacityResult, RunError> {
    let began = Instant::now();
    let mut session = Session::open(&order.whole(fleet), fleet, stop.clone())?;
    let mut search = Search::new(order.bounds.clone());
    let mut observer = Observer::new(order);
    let mut told = Told::default();
    let mut overload_ended = None;
    while let Step::Probe(probe) = search.next() {
        if stop.is_requested() {
            break;
        }
        progress(Progress::Begins(probe));
        let plan = order.plan_of(probe);
        let measurement = session.round(&plan, |second| progress(Progress::Second(second)))?;
        if measurement.interrupted {
            break;
        }
        let (seen, result) = observer.observe(probe, &plan, &measurement);
        progress(Progress::Ended(&result));
        match probe.purpose {
            Purpose::Overload => {
                overload_ended = Some(load_ended(&plan, &measurement));
                told.hysteresis = Some(Hysteresis {
                    overload: probe.load,
                    achieved_per_second: result.achieved_per_second,
                    recovered_after_seconds: None,
                });
            }
            Purpose::Recovery => {
                let gap = overload_ended
                    .and_then(|ended| measurement.load_started_at.duration_since(ended).ok());
                if let Some(hysteresis) = &mut told.hysteresis {
                    hysteresis.recovered_after_seconds = recovered_after(&seen)
                        .map(|seconds| seconds + gap.unwrap_or_default().as_secs_f64());
                }
            }
            _ => {}
        }
        search.tell(probe, &seen);
        told.probes.push(result);
    }
    session.close()?;
    told.seconds = began.elapsed().as_secs_f64();
    told.interrupted = stop.is_requested();
    Ok(conclude::conclude(order, &search, told))
}

fn load_ended(plan: &Plan, measurement: &Measurement) -> SystemTime {
    measurement.load_started_at + plan.warmup + measurement.window
}

/// Seconds until the first after which no second is bad any more; `None` if the last one is.
fn recovered_after(seen: &Seen) -> Option<f64> {
    let seconds = seen
        .criteria
        .iter()
        .map(|criterion| criterion.seconds.len());
    let seconds = seconds.max().unwrap_or(0);
    let is_bad = |second: &usize| {
        seen.criteria.iter().any(|criterion| {
            let (bad, of) = criterion.seconds.get(*second).copied().unwrap_or_default();
            // Of one second alone, twice the allowed share is no news.
            (bad > 2.0 * criterion.allowed * of.max(1.0)) != criterion.inverted
        })
    };
    let bad = (0..seconds).rfind(is_bad);
    match bad {
        Some(last) if last + 1 >= seconds => None,
        Some(last) => Some((last + 1) as f64),
        None => Some(0.0),
    }
}

impl Order {
    /// A plan with all that any probe may need.
    fn whole(&self, fleet: &Fleet) -> Plan {
        let load = match self.variable {
            Variable::Devices => fleet.size() as f64,
            Variable::Connections | Variable::Requests => self.bounds.from,
        };
        let purpose = Purpose::Bracket;
        self.plan_of(Probe { load, purpose })
    }

    /// The plan of one probe.
    fn plan_of(&self, probe: Probe) -> Plan {
        let mut plan = self.plan.clone();
        let rate = self.rate(probe.load);
        let enough = (ENOUGH / rate)
            .min(self.window_seconds as f64 * MOST_WINDOWS)
            .ceil() as u64;
        let window = self.window_seconds.max(enough);
        let (settle, window) = match probe.purpose {
            Purpose::Light => (0, LIGHT_SECONDS),
            Purpose::Confirm => (self.settle_seconds, self.confirm_seconds.max(window)),
            Purpose::Recovery => (0, self.confirm_seconds.max(window)),
            _ => (self.settle_seconds, window),
        };
        plan.warmup = Duration::from_secs(settle);
        let scenario = plan.scenarios.first_mut();
        if self.variable == Variable::Devices {
            scenario.devices = Part::Number(probe.load as usize);
        }
        let until = Limit::DurationSeconds(Duration::from_secs(window));
        scenario.executor = Executor::ConstantArrivalRate(ConstantArrivalRate {
            arrivals: self.arrivals,
            ..ConstantArrivalRate::new(rate, until)
        });
        plan
    }

    /// Attempts per second at a load.
    fn rate(&self, load: f64) -> f64 {
        match self.variable {
            Variable::Devices => load / self.interval.as_secs_f64(),
            Variable::Connections | Variable::Requests => load,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::judgement::Criterion;
    use crate::capacity::level::Fitness;

    #[test]
    fn recovery_is_when_no_second_is_bad_any_more() {
        let seen = |bad: &[f64]| Seen {
            criteria: vec![Criterion {
                seconds: bad.iter().map(|bad| (*bad, 100.0)).collect(),
                ..Criterion::new("p99<1s", 0.01)
            }],
            generator: Fitness::Fit,
        };
        assert_eq!(recovered_after(&seen(&[0.0, 2.0, 0.0])), Some(0.0));
        assert_eq!(recovered_after(&seen(&[90.0, 0.0, 40.0, 0.0])), Some(3.0));
        assert_eq!(recovered_after(&seen(&[0.0, 0.0, 40.0])), None);
    }
}
