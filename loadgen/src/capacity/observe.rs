//! What one probe has shown: conditions second by second, and whether the generator was up to it.

use super::Order;
use super::judgement::{Answer, Criterion, answer};
use super::level::{Fitness, Seen};
use super::search::{Probe, Purpose};
use crate::measure::health::judge;
use crate::measure::{Cause, Measurement, Second, Verdict};
use crate::plan::threshold::{Selection, Subject};
use crate::plan::{Plan, Threshold};
use crate::report::RunResult;
use crate::report::assemble::{evidence, rfc3339};
use crate::report::capacity::{
    ConditionResult, GeneratorHealth, ProbeAnswer, ProbeResult, Variable,
};

/// Share of the arrivals by which a server may be further behind at a window's end than at its begin.
pub(super) const BEHIND: f64 = 0.01;
/// Share of the open connections which may be gone at a window's end.
const LOST: f64 = 0.01;
/// Where all devices are busy and their median service time is this many times that of an easy load, it is the server that keeps
/// them busy; otherwise there are too few of them.
const SLOWED_DOWN: f64 = 2.0;

/// Turns measurements into what a search is told.
#[derive(Debug)]
pub(super) struct Observer<'order> {
    order: &'order Order,
    /// Least median service time of a probe that held, in microseconds.
    easy: Option<f64>,
}

impl<'order> Observer<'order> {
    pub(super) fn new(order: &'order Order) -> Observer<'order> {
        Observer { order, easy: None }
    }

    pub(super) fn observe(
        &mut self,
        probe: Probe,
        plan: &Plan,
        measurement: &Measurement,
    ) -> (Seen, ProbeResult) {
        let result = RunResult::new(plan, measurement);
        let (verdict, mut reasons) = judge(&evidence(plan, measurement).of_the_generator_alone());
        let mut fitness = match verdict {
            Verdict::Valid => Fitness::Fit,
            Verdict::Suspect => Fitness::Strained,
            Verdict::Void => Fitness::Unfit,
        };
        let service = result.metric("service_time", "all");
        let service = service
            .and_then(|metric| metric.value(0.5))
            .map(|value| value as f64);
        if result.counts.overflow > 0 && !self.is_slowed_down(service) {
            fitness = Fitness::Unfit;
            reasons.push(format!(
                "{} arrivals found no free device although the server answers as fast as under an easy load: more --devices",
                result.counts.overflow
            ));
        }
        let criteria = self.criteria(probe, plan, measurement, &result);
        let seen = Seen {
            criteria,
            generator: fitness,
        };
        let verdict_of_probe = answer(&seen.criteria);
        if verdict_of_probe == Answer::Holds && fitness != Fitness::Unfit {
            let easy = self.easy.unwrap_or(f64::INFINITY);
            self.easy = service.map(|service| service.min(easy)).or(self.easy);
        }
        let counted = match fitness {
            Fitness::Fit => true,
            Fitness::Strained => verdict_of_probe == Answer::Holds,
            Fitness::Unfit => false,
        };
        let probe_result = ProbeResult {
            purpose: name(probe.purpose).to_owned(),
            load: probe.load,
            started_at: rfc3339(measurement.load_started_at),
            window_seconds: result.run.window_seconds,
            answer: if counted {
                of(verdict_of_probe)
            } else {
                ProbeAnswer::NotCounted
            },
            intended: result.counts.intended,
            ok: result.counts.ok,
            failed: result.counts.failed,
            overflow: result.counts.overflow,
            achieved_per_second: completed_per_second(plan, measurement),
            p50_ms: milliseconds(&result, 0.5),
            p99_ms: milliseconds(&result, 0.99),
            open: measurement.open_at_end,
            cpu_us_per_operation: result.watched.as_ref().and_then(|w| w.cpu_us_per_operation),
            cores_used: cores(measurement, |watched| watched.cpu_nanoseconds),
            busiest_thread: cores(measurement, |watched| watched.busiest_thread_nanoseconds),
            resident_bytes_per_connection: result
                .watched
                .as_ref()
                .and_then(|watched| watched.resident_bytes_per_connection),
            conditions: seen
                .criteria
                .iter()
                .map(|criterion| ConditionResult {
                    name: criterion.name.clone(),
                    share: criterion.share(),
                    allowed: criterion.allowed,
                    answer: of(criterion.answer()),
                })
                .collect(),
            generator: GeneratorHealth {
                verdict: match fitness {
                    Fitness::Unfit => Verdict::Void,
                    Fitness::Fit | Fitness::Strained => verdict,
                },
                reasons,
                busiest_shard: measurement
                    .health
                    .shard_cpu_shares
                    .iter()
                    .copied()
                    .fold(0.0, f64::max),
                lag_p99_ms: measurement.recorder.schedule_lag.value_at_quantile(0.99) as f64 / 1e3,
            },
        };
        (seen, probe_result)
    }

    /// Without an easy load to compare with it is not the server's fault.
    fn is_slowed_down(&self, service: Option<f64>) -> bool {
        match (self.easy, service) {
            (Some(easy), Some(service)) => service >= SLOWED_DOWN * easy,
            // Nothing was completed at all.
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn criteria(
        &self,
        probe: Probe,
        plan: &Plan,
        measurement: &Measurement,
        result: &RunResult,
    ) -> Vec<Criterion> {
        let settled = plan.warmup.as_secs();
        let window = settled + measurement.window.as_secs();
        // What was begun in the window and done after it is one more sample, and often the worst.
        let all: Vec<&Second> = measurement
            .series
            .iter()
            .filter(|second| second.index >= settled)
            .collect();
        let inside: Vec<&Second> = all.iter().copied().filter(|s| s.index < window).collect();
        let abandoned: u64 = measurement
            .recorder
            .failures
            .iter()
            .filter(|(failure, _)| failure.cause == Cause::Abandoned)
            .map(|(_, count)| count)
            .sum();
        let mut criteria: Vec<_> = plan
            .thresholds
            .iter()
            .map(|threshold| condition(threshold, &all, &inside, abandoned, result))
            .collect();
        let behind = inside
            .iter()
            .map(|second| {
                let done = (second.ok + second.failed) as f64;
                (second.intended as f64 - done, second.intended as f64)
            })
            .collect();
        criteria.push(Criterion::backlog(keeps_up(), BEHIND, behind));
        if self.order.variable == Variable::Devices {
            let mut lost = Criterion::new(stays_open(), LOST);
            let open = measurement.open_at_end as f64;
            lost.seconds = vec![((probe.load - open).max(0.0), probe.load)];
            criteria.push(lost);
        }
        criteria
    }
}

/// The condition that no one has to ask for, in words.
pub(super) fn keeps_up() -> String {
    format!("keeps up ({:.0} % behind at most)", BEHIND * 100.0)
}

/// Likewise for open devices.
pub(super) fn stays_open() -> String {
    format!("connections stay open ({:.0} % lost at most)", LOST * 100.0)
}

fn condition(
    threshold: &Threshold,
    all: &[&Second],
    inside: &[&Second],
    abandoned: u64,
    result: &RunResult,
) -> Criterion {
    let of_all = threshold.selection == Selection::default();
    let (allowed, seconds) = match threshold.subject {
        Subject::ResponseTime(quantile) if of_all => {
            let limit = (threshold.limit * 1e3).round() as u64;
            let slow = |second: &&&Second| {
                let quick = second.response.count_between(0, limit) as f64;
                let done = second.response.len() as f64;
                (done - quick, done)
            };
            (
                1.0 - quantile,
                all.iter().map(|second| slow(&second)).collect(),
            )
        }
        Subject::ErrorRate if of_all => {
            let mut seconds: Vec<_> = all
                .iter()
                .map(|second| {
                    (
                        (second.failed + second.overflow) as f64,
                        second.intended as f64,
                    )
                })
                .collect();
            seconds.push((abandoned as f64, 0.0));
            (threshold.limit, seconds)
        }
        Subject::Rate if of_all => {
            // Half of twice the rate: so that being above the limit is a share that lies below one half.
            let twice = 2.0 * threshold.limit;
            let missing = |second: &&Second| (twice - second.ok as f64, twice);
            (0.5, inside.iter().map(missing).collect())
        }
        // What the seconds do not tell: a yes or no about all of them.
        _ => {
            let expression = threshold.to_string();
            let mut outcomes = result.thresholds.iter();
            let holds = outcomes.any(|found| found.expression == expression && found.holds);
            (0.0, vec![(f64::from(u8::from(!holds)), 1.0)])
        }
    };
    Criterion {
        inverted: match threshold.subject {
            Subject::ResponseTime(_) | Subject::ErrorRate if of_all => !threshold.below,
            Subject::Rate if of_all => threshold.below,
            _ => false,
        },
        seconds,
        ..Criterion::new(threshold.to_string(), allowed)
    }
}

/// Completed well per second within the window: what comes after its end is not of its rate.
fn completed_per_second(plan: &Plan, measurement: &Measurement) -> f64 {
    let settled = plan.warmup.as_secs();
    let window = measurement.window.as_secs().max(1);
    let seconds = measurement.series.iter();
    let inside = seconds.filter(|s| (settled..settled + window).contains(&s.index));
    inside.map(|second| second.ok).sum::<u64>() as f64 / window as f64
}

fn cores(
    measurement: &Measurement,
    nanoseconds: impl Fn(&crate::measure::Watched) -> u64,
) -> Option<f64> {
    let watched = measurement.watched.as_ref()?;
    let elapsed = watched.elapsed.as_nanos() as f64;
    (elapsed > 0.0).then(|| nanoseconds(watched) as f64 / elapsed)
}

fn milliseconds(result: &RunResult, quantile: f64) -> Option<f64> {
    result
        .metric("response_time", "all")?
        .milliseconds(quantile)
}

fn of(answer: Answer) -> ProbeAnswer {
    match answer {
        Answer::Holds => ProbeAnswer::Holds,
        Answer::Fails => ProbeAnswer::Fails,
        Answer::Unclear => ProbeAnswer::Unclear,
    }
}

/// The name of a purpose in results.
pub(super) fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Bracket => "bracket",
        Purpose::Narrow => "narrow",
        Purpose::Again => "again",
        Purpose::Above => "above",
        Purpose::Light => "light",
        Purpose::Confirm => "confirm",
        Purpose::Overload => "overload",
        Purpose::Recovery => "recovery",
    }
}
