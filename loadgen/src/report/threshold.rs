//! Judging thresholds by a result.

use super::{
    Counts, ErrorCount, IdentityChecks, Metric, ReturnCounts, RunResult, ThresholdOutcome, Unit,
};
use crate::plan::Threshold;
use crate::plan::threshold::{Counted, Selection, Statistic, Subject};

/// What a threshold looks at: the whole run, or one scenario of it.
struct Figures<'a> {
    counts: Counts,
    rate_per_second: f64,
    metrics: Vec<&'a Metric>,
    errors: &'a [ErrorCount],
    returns: Option<ReturnCounts>,
    /// Of the whole run only.
    identity: Option<IdentityChecks>,
}

impl ThresholdOutcome {
    /// Whether `result` satisfies the threshold. What was not measured does not.
    pub fn of(threshold: &Threshold, result: &RunResult) -> ThresholdOutcome {
        let selection = &threshold.selection;
        let value = Figures::of(result, selection.scenario.as_deref())
            .and_then(|figures| figures.value(threshold.subject, selection));
        ThresholdOutcome {
            expression: threshold.to_string(),
            value,
            holds: value.is_some_and(|value| threshold.holds(value)),
        }
    }
}

impl<'a> Figures<'a> {
    fn of(result: &'a RunResult, scenario: Option<&str>) -> Option<Figures<'a>> {
        let Some(name) = scenario else {
            // Devices come back in scenarios; what they do there is the run's too.
            let storms = result
                .scenarios
                .iter()
                .filter_map(|scenario| scenario.returns);
            let return_times = result
                .scenarios
                .iter()
                .flat_map(|scenario| &scenario.metrics);
            let return_times = return_times.filter(|metric| metric.name == "return_time");
            return Some(Figures {
                counts: result.counts,
                rate_per_second: result.rate_per_second,
                metrics: result.metrics.iter().chain(return_times).collect(),
                errors: &result.errors,
                returns: storms.reduce(ReturnCounts::plus),
                identity: result.identity,
            });
        };
        let scenario = result.scenario(name)?;
        Some(Figures {
            counts: scenario.counts,
            rate_per_second: scenario.rate_per_second,
            metrics: scenario.metrics.iter().collect(),
            errors: &scenario.errors,
            returns: scenario.returns,
            identity: None,
        })
    }

    fn value(&self, subject: Subject, selection: &Selection) -> Option<f64> {
        let operation = selection.operation.as_deref().unwrap_or("all");
        let counts = self.counts;
        match subject {
            Subject::ResponseTime(quantile) => {
                self.metric("response_time", operation, Statistic::Quantile(quantile))
            }
            Subject::Metric(metric, statistic) => self.metric(metric.name(), operation, statistic),
            Subject::ErrorRate => (counts.intended > 0)
                .then(|| (counts.failed + counts.overflow) as f64 / counts.intended as f64),
            Subject::Rate => Some(self.rate_per_second),
            Subject::Count(counted) => self.count(counted, selection).map(|count| count as f64),
        }
    }

    fn metric(&self, name: &str, operation: &str, statistic: Statistic) -> Option<f64> {
        let metric = self
            .metrics
            .iter()
            .find(|metric| metric.name == name && metric.operation == operation)?;
        let value = match statistic {
            Statistic::Quantile(quantile) => metric.value(quantile)? as f64,
            Statistic::Mean => metric.mean,
        };
        Some(match metric.unit {
            Unit::Microseconds => value / 1e3,
            Unit::Bytes => value,
        })
    }

    fn count(&self, counted: Counted, selection: &Selection) -> Option<u64> {
        let counts = self.counts;
        Some(match counted {
            Counted::Intended => counts.intended,
            Counted::Started => counts.started,
            Counted::Accepted => counts.accepted,
            Counted::Ok => counts.ok,
            Counted::Failed => counts.failed,
            Counted::Overflow => counts.overflow,
            Counted::Errors => {
                let is = |wanted: &Option<String>, found: &str| {
                    wanted.as_deref().is_none_or(|wanted| wanted == found)
                };
                let selected = self.errors.iter().filter(|error| {
                    is(&selection.class, &error.class)
                        && is(&selection.code, &error.code)
                        && is(&selection.when, &error.when)
                });
                selected.map(|error| error.count).sum()
            }
            Counted::Returned => self.returns?.returned,
            Counted::Retries => self.returns?.retries,
            Counted::GaveUp => self.returns?.gave_up,
            Counted::IdentityMismatches => {
                let identity = self.identity?;
                identity.mismatches + identity.absent
            }
        })
    }
}
