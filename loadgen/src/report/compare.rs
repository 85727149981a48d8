//! Two saved results side by side: by how much they differ, and whether that is proven.
//!
//! The first is the baseline, the second the candidate. A regression is proven if the whole interval of the difference lies beyond the
//! margin, and disproven if none of it does; anything else is inconclusive and is said to be. Nothing is judged by one number alone.

pub mod interval;
pub mod text;

use hdrhistogram::Histogram;

use super::difference::{self, Difference};
use super::{RunResult, SecondOfRun, metric};
use crate::measure::Verdict;
use interval::Interval;

/// How much worse a candidate may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margins {
    /// Of times and rates, as a share of the baseline's; and of the share of resumptions, as a difference.
    pub relative: f64,
    /// Of the share of failed attempts, as a difference.
    pub absolute: f64,
}

impl Default for Margins {
    fn default() -> Margins {
        Margins {
            relative: 0.05,
            absolute: 0.005,
        }
    }
}

/// What is known about a figure, or about all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    /// The candidate is better, proven.
    Better,
    /// It is not worse by more than the margin, proven.
    NotWorse,
    /// Neither is proven.
    Inconclusive,
    /// It is worse by more than the margin, proven.
    Worse,
}

impl Judgement {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Judgement::Better => "better",
            Judgement::NotWorse => "not worse",
            Judgement::Inconclusive => "inconclusive",
            Judgement::Worse => "worse",
        }
    }
}

/// What kind of number a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Microseconds; less is better.
    Time,
    /// Per second; more is better.
    Rate,
    /// A share of failures; less is better, and it is the difference that counts.
    Failures,
    /// A share of successes; more is better, and it is the difference that counts.
    Successes,
}

impl Kind {
    /// Whether it is compared by difference (and not by ratio).
    pub fn by_difference(self) -> bool {
        matches!(self, Kind::Failures | Kind::Successes)
    }

    fn more_is_better(self) -> bool {
        matches!(self, Kind::Rate | Kind::Successes)
    }
}

/// One figure of both runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// What it is.
    pub name: String,
    /// What kind of number.
    pub kind: Kind,
    /// The baseline's.
    pub first: f64,
    /// The candidate's.
    pub second: f64,
    /// Candidate over baseline, or candidate minus baseline, as [`Kind::by_difference`] says; with at least 95 % confidence. `None` where
    /// there is nothing to judge.
    pub change: Option<Interval>,
    /// Why there is nothing to judge, where there is not.
    pub unjudged: &'static str,
    /// What that means; `None` without an interval.
    pub judgement: Option<Judgement>,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The margins it was made with.
    pub margins: Margins,
    /// The worst of all judgements.
    pub judgement: Judgement,
    /// What is to be kept in mind.
    pub notes: Vec<String>,
    /// Choices that are not the same.
    pub differences: Vec<Difference>,
    /// Figure by figure.
    pub figures: Vec<Compared>,
}

/// Choices that two comparable runs may differ in: which server it was, and what was looked at.
const MAY_DIFFER: [&str; 9] = [
    "ca",
    "faults",
    "next_pki",
    "pki",
    "start_at",
    "target.connect_to",
    "target.host",
    "target.port",
    "watch_pids",
];

/// Choices in which two results differ although a comparison needs them to be the same; empty for comparable ones.
pub fn obstacles(first: &RunResult, second: &RunResult) -> Vec<Difference> {
    difference::between(first, second)
        .into_iter()
        .filter(|difference| {
            !difference.is_any_of(&MAY_DIFFER) && !difference.is_any_of(&["thresholds"])
        })
        .collect()
}

/// Compares the candidate `second` with the baseline `first`.
pub fn compare(first: &RunResult, second: &RunResult, margins: Margins) -> Comparison {
    let mut figures = vec![rate(first, second)];
    figures.extend(failures(first, second));
    figures.extend(resumption(first, second));
    for quantile in [0.5, 0.9, 0.99] {
        figures.extend(quantile_of(first, second, quantile));
    }
    figures.extend(cpu(first, second));
    for figure in &mut figures {
        figure.judgement = figure
            .change
            .map(|change| judge(figure.kind, change, margins));
    }
    let notes = notes(first, second);
    let void = [first, second]
        .iter()
        .any(|result| result.validity.verdict == Verdict::Void);
    let worst = figures.iter().filter_map(|figure| figure.judgement).max();
    Comparison {
        margins,
        judgement: match worst {
            // What is not to be believed proves nothing.
            _ if void => Judgement::Inconclusive,
            Some(Judgement::Better) | None => Judgement::NotWorse,
            Some(worst) => worst,
        },
        notes,
        differences: difference::between(first, second),
        figures,
    }
}

fn judge(kind: Kind, change: Interval, margins: Margins) -> Judgement {
    // Turned so that more is worse, and nothing changed is 0.
    let (low, high, margin) = match (kind.by_difference(), kind.more_is_better()) {
        (true, false) => (change.low, change.high, margins.absolute),
        (true, true) => (-change.high, -change.low, margins.relative),
        (false, false) => (change.low - 1.0, change.high - 1.0, margins.relative),
        (false, true) => (
            1.0 / change.high - 1.0,
            1.0 / change.low - 1.0,
            margins.relative,
        ),
    };
    if low > margin {
        Judgement::Worse
    } else if high < 0.0 {
        Judgement::Better
    } else if high <= margin {
        Judgement::NotWorse
    } else {
        Judgement::Inconclusive
    }
}

/// The whole seconds of the window.
fn seconds(result: &RunResult) -> impl Iterator<Item = &SecondOfRun> {
    let whole = result.run.window_seconds as usize;
    result
        .seconds
        .iter()
        .filter(|second| second.measured)
        .take(whole)
}

fn rate(first: &RunResult, second: &RunResult) -> Compared {
    let interval = |result: &RunResult| {
        let counts: Vec<_> = seconds(result).map(|second| second.ok).collect();
        let interval =
            interval::of_count(result.counts.ok, interval::dispersion_of_counts(&counts));
        let length = result.run.window_seconds.max(f64::MIN_POSITIVE);
        Interval {
            low: interval.low / length,
            high: interval.high / length,
        }
    };
    // Where both rates follow a schedule they are the plan's, and what fails is judged instead.
    let scheduled = |result: &RunResult| result.metric("schedule_lag", "all").is_some();
    let chosen = scheduled(first) && scheduled(second);
    Compared {
        name: "completed per second".to_owned(),
        kind: Kind::Rate,
        first: first.rate_per_second,
        second: second.rate_per_second,
        change: (!chosen).then(|| Interval::ratio(interval(first), interval(second))),
        unjudged: "set by the schedule",
        judgement: None,
    }
}

fn failures(first: &RunResult, second: &RunResult) -> Option<Compared> {
    let interval = |result: &RunResult| {
        let failed: Vec<_> = seconds(result)
            .map(|second| {
                let failed = second.failed + second.overflow;
                (failed, failed + second.ok)
            })
            .collect();
        let counts = result.counts;
        interval::of_share(
            counts.failed + counts.overflow,
            counts.intended,
            interval::dispersion_of_shares(&failed),
        )
    };
    Some(Compared {
        name: "failed or not sent".to_owned(),
        kind: Kind::Failures,
        first: first.failed_share(),
        second: second.failed_share(),
        change: Some(Interval::difference(interval(first)?, interval(second)?)),
        unjudged: "",
        judgement: None,
    })
}

fn resumption(first: &RunResult, second: &RunResult) -> Option<Compared> {
    let interval = |result: &RunResult| {
        let resumption = result.resumption;
        // More can have been accepted than wanted: devices whose connection was closed come back with a ticket unasked.
        let accepted = resumption.accepted.min(resumption.wanted);
        interval::of_share(accepted, resumption.wanted, 1.0)
    };
    Some(Compared {
        name: "resumed of those that were to".to_owned(),
        kind: Kind::Successes,
        first: first.resumption.accepted_share?,
        second: second.resumption.accepted_share?,
        change: Some(Interval::difference(interval(first)?, interval(second)?)),
        unjudged: "",
        judgement: None,
    })
}

fn quantile_of(first: &RunResult, second: &RunResult, quantile: f64) -> Option<Compared> {
    let of = |result: &RunResult| {
        let histogram = result.response_time()?.decode()?;
        let value = histogram.value_at_quantile(quantile);
        let beyond: Vec<_> = seconds(result)
            .filter_map(|second| {
                let histogram: Histogram<u32> = metric::decode(second.histogram.as_deref()?)?;
                let within = histogram.count_between(0, value);
                Some((
                    histogram.len() - within.min(histogram.len()),
                    histogram.len(),
                ))
            })
            .collect();
        let dispersion = interval::dispersion_of_shares(&beyond);
        let interval = interval::of_quantile(&histogram, quantile, dispersion)?;
        Some((value as f64, interval))
    };
    let ((first, of_first), (second, of_second)) = (of(first)?, of(second)?);
    Some(Compared {
        name: format!("response time {}", super::number::quantile(quantile)),
        kind: Kind::Time,
        first,
        second,
        change: Some(Interval::ratio(of_first, of_second)),
        unjudged: "",
        judgement: None,
    })
}

fn cpu(first: &RunResult, second: &RunResult) -> Option<Compared> {
    let of = |result: &RunResult| result.watched.as_ref()?.cpu_us_per_operation;
    Some(Compared {
        name: "server CPU per operation".to_owned(),
        kind: Kind::Time,
        first: of(first)?,
        second: of(second)?,
        change: None,
        unjudged: "not known from one run",
        judgement: None,
    })
}

fn notes(first: &RunResult, second: &RunResult) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, result) in [("the baseline", first), ("the candidate", second)] {
        let verdict = result.validity.verdict;
        let reasons = result.validity.reasons.join("; ");
        match verdict {
            Verdict::Valid => {}
            Verdict::Suspect => notes.push(format!("{name} is suspect: {reasons}")),
            Verdict::Void => notes.push(format!("{name} is void and proves nothing: {reasons}")),
        }
        if result.run.window_seconds < 5.0 {
            notes.push(format!(
                "{name} measured for {:.1} s only: how much its seconds differ from each other is hardly known",
                result.run.window_seconds
            ));
        }
    }
    let (a, b) = (&first.host, &second.host);
    if (a.cores, &a.processor, &a.kernel) != (b.cores, &b.processor, &b.kernel) {
        notes.push("the load was made by different machines".to_owned());
    }
    let (a, b) = (&first.run.loadgen_version, &second.run.loadgen_version);
    if a != b {
        notes.push(format!("the load was made by loadgen {a} and {b}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgements_follow_from_interval_and_margin() {
        let margins = Margins::default();
        let judge = |kind, low, high| judge(kind, Interval { low, high }, margins);
        assert_eq!(judge(Kind::Time, 1.06, 1.2), Judgement::Worse);
        assert_eq!(judge(Kind::Time, 0.99, 1.2), Judgement::Inconclusive);
        assert_eq!(judge(Kind::Time, 0.99, 1.04), Judgement::NotWorse);
        assert_eq!(judge(Kind::Time, 0.8, 0.9), Judgement::Better);
        assert_eq!(
            judge(Kind::Time, 0.0, f64::INFINITY),
            Judgement::Inconclusive
        );
        assert_eq!(judge(Kind::Rate, 0.8, 0.9), Judgement::Worse);
        assert_eq!(judge(Kind::Rate, 1.1, 1.2), Judgement::Better);
        assert_eq!(
            judge(Kind::Rate, 0.0, f64::INFINITY),
            Judgement::Inconclusive
        );
        assert_eq!(judge(Kind::Failures, 0.006, 0.01), Judgement::Worse);
        assert_eq!(judge(Kind::Failures, -0.002, 0.0005), Judgement::NotWorse);
        assert_eq!(judge(Kind::Successes, -0.2, -0.1), Judgement::Worse);
        assert_eq!(judge(Kind::Successes, -0.02, 0.1), Judgement::NotWorse);
        assert_eq!(judge(Kind::Successes, 0.1, 0.2), Judgement::Better);
    }
}
