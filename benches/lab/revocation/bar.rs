//! What was to be reached, and whether it was; pure.

use serde::{Deserialize, Serialize};

use super::live::{Live, Trigger};
use super::operation::Operation;
use super::reconnect::{Reconnect, Tickets};
use super::report::{Cost, Difference, Quantity};
use crate::statistics::Estimate;

/// Until connections of revoked devices have ended.
const LIVE_MS: f64 = 1000.0;
/// CPU of a handshake with the long list, as a multiple of that without any.
const COST_RATIO: f64 = 1.03;
/// What the long list adds to the start.
const LOAD_SECONDS: f64 = 3.0;
/// What it adds to resident memory, in megabytes of 10⁶ bytes.
const MEMORY_MB: f64 = 64.0;
/// A compact ticket on the wire.
const TICKET_BYTES: f64 = 350.0;

/// A figure and the most that it may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bar {
    /// Of what.
    pub(crate) what: String,
    /// What was measured.
    pub(crate) value: Option<f64>,
    /// The end of the 95 % interval that is further from good, where there is an interval.
    pub(crate) at_worst: Option<f64>,
    /// The most that it may be.
    pub(crate) limit: f64,
    /// Of both.
    pub(crate) unit: String,
    /// What that means.
    pub(crate) outcome: Outcome,
}

/// Whether a bar was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It was.
    Reached,
    /// It was not, or there is no figure.
    Missed,
    /// A time or a cost of a run that was too short to judge it.
    NotJudged,
}

impl Outcome {
    /// In a table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Outcome::Reached => "reached",
            Outcome::Missed => "MISSED",
            Outcome::NotJudged => "not judged",
        }
    }
}

impl Bar {
    /// Whether the interval reaches beyond what the median keeps to.
    pub(super) fn is_uncertain(&self) -> bool {
        self.outcome == Outcome::Reached && self.at_worst.is_some_and(|worst| worst > self.limit)
    }
}

/// Every bar, in the order of the report.
pub(super) fn bars(
    quick: bool,
    live: &[Live],
    costs: &[Cost],
    differences: &[Difference],
    reconnects: &[Reconnect],
) -> Vec<Bar> {
    let judge = Judge { quick };
    let mut bars = Vec::new();
    for trigger in Trigger::ALL {
        let title = trigger.title();
        let rounds = || live.iter().filter(|live| live.trigger == trigger);
        let last = format!("last revoked device sees its connection end, {title}");
        let value = slowest(rounds().map(|live| live.last_ms));
        bars.push(judge.timed(last, value, None, LIVE_MS, "ms"));
        let counted = format!("metrics have counted them all, {title}");
        let value = slowest(rounds().map(|live| live.counted_ms));
        bars.push(judge.timed(counted, value, None, LIVE_MS, "ms"));
    }
    for operation in Operation::ALL {
        let ratio = costs
            .iter()
            .find(|cost| cost.operation == operation)
            .and_then(|cost| cost.ratio);
        let what = format!("CPU with the long list ÷ without, {}", operation.title());
        let (value, worst) = ends(ratio);
        bars.push(judge.timed(what, value, worst, COST_RATIO, "×"));
    }
    let difference = |quantity| {
        let found = differences.iter().find(|found| found.quantity == quantity);
        ends(found.and_then(|found| found.difference))
    };
    let (value, worst) = difference(Quantity::Ready);
    let what = "long list, added to the start".to_owned();
    bars.push(judge.timed(what, value, worst, LOAD_SECONDS, "s"));
    let (value, worst) = difference(Quantity::Served);
    let what = "long list, added to resident memory".to_owned();
    bars.push(judge.always(what, value, worst, MEMORY_MB, "MB"));
    let compact = reconnects
        .iter()
        .find(|reconnect| reconnect.tickets == Tickets::Compact);
    let bytes = compact.map(|reconnect| reconnect.ticket_bytes as f64);
    let what = "compact ticket on the wire".to_owned();
    bars.push(judge.always(what, bytes, None, TICKET_BYTES, "bytes"));
    bars
}

/// Of all rounds; `None` if one of them has no figure.
fn slowest(rounds: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let all: Vec<f64> = rounds.collect::<Option<_>>()?;
    all.into_iter().reduce(f64::max)
}

fn ends(estimate: Option<Estimate>) -> (Option<f64>, Option<f64>) {
    (
        estimate.map(|estimate| estimate.median),
        estimate.map(|estimate| estimate.high),
    )
}

struct Judge {
    quick: bool,
}

impl Judge {
    /// Of a time or a cost: what else the machine does is in it.
    fn timed(
        &self,
        what: String,
        value: Option<f64>,
        at_worst: Option<f64>,
        limit: f64,
        unit: &str,
    ) -> Bar {
        let mut bar = self.always(what, value, at_worst, limit, unit);
        if self.quick && value.is_some() {
            bar.outcome = Outcome::NotJudged;
        }
        bar
    }

    /// Of something that is the same in every run.
    fn always(
        &self,
        what: String,
        value: Option<f64>,
        at_worst: Option<f64>,
        limit: f64,
        unit: &str,
    ) -> Bar {
        let outcome = match value {
            Some(value) if value <= limit => Outcome::Reached,
            _ => Outcome::Missed,
        };
        Bar {
            what,
            value,
            at_worst,
            limit,
            unit: unit.to_owned(),
            outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_good_run_reaches_every_bar() {
        let report = fixture::report();
        assert_eq!(report.bars.len(), 9);
        for bar in &report.bars {
            assert_eq!(bar.outcome, Outcome::Reached, "{bar:?}");
        }
        assert!(report.passed, "{:?}", report.problems);
    }

    #[test]
    fn the_slowest_round_is_judged() {
        assert_eq!(slowest([Some(1.0), Some(3.0)].into_iter()), Some(3.0));
        assert_eq!(slowest([Some(1.0), None].into_iter()), None);
        assert_eq!(slowest(std::iter::empty()), None);
    }

    #[test]
    fn no_figure_and_too_large_a_figure_miss() {
        let judge = Judge { quick: false };
        let outcome = |value| judge.timed(String::new(), value, None, 3.0, "s").outcome;
        assert_eq!(outcome(Some(3.0)), Outcome::Reached);
        assert_eq!(outcome(Some(3.1)), Outcome::Missed);
        assert_eq!(outcome(None), Outcome::Missed);
    }

    #[test]
    fn a_quick_run_judges_no_times() {
        let judge = Judge { quick: true };
        let what = String::new;
        assert_eq!(
            judge.timed(what(), Some(9.0), None, 3.0, "s").outcome,
            Outcome::NotJudged
        );
        assert_eq!(
            judge.timed(what(), None, None, 3.0, "s").outcome,
            Outcome::Missed
        );
        assert_eq!(
            judge.always(what(), Some(9.0), None, 3.0, "MB").outcome,
            Outcome::Missed
        );
    }
}
