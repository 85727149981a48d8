//! The few figures that a result is remembered by, and how a run is called: the same in every report.

use serde_json::Value;

use super::number::{percent, quantile};
use super::{Metric, RunResult};
use crate::measure::Verdict;

/// Quantiles that every report shows.
pub const SHOWN: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

impl RunResult {
    /// Response time over all operations, where any attempt succeeded.
    pub fn response_time(&self) -> Option<&Metric> {
        self.metric("response_time", "all")
    }

    /// Arrivals per second of the window that the plan asked for.
    pub fn intended_per_second(&self) -> f64 {
        if self.run.window_seconds > 0.0 {
            self.counts.intended as f64 / self.run.window_seconds
        } else {
            0.0
        }
    }

    /// Attempts that failed or were not sent, as a share of those intended.
    pub fn failed_share(&self) -> f64 {
        let counts = self.counts;
        (counts.failed + counts.overflow) as f64 / counts.intended.max(1) as f64
    }

    /// The verdict and what became of the thresholds, in one sentence.
    pub fn conclusion(&self) -> String {
        let failed = self.thresholds.iter().filter(|one| !one.holds).count();
        let believed = match self.validity.verdict {
            Verdict::Valid => "The generator kept up",
            Verdict::Suspect => "To be read with the reasons below in mind",
            Verdict::Void => {
                "The generator could not keep up: these figures are not to be believed"
            }
        };
        match (self.thresholds.len(), failed) {
            (0, _) => format!("{believed}."),
            (1, 0) => format!("{believed}; the threshold holds."),
            (all, 0) => format!("{believed}; all {all} thresholds hold."),
            (all, failed) => format!("{believed}; {failed} of {all} thresholds failed."),
        }
    }

    /// Every choice of the plan that says something, as a dotted name and a text, in the order of the plan.
    pub fn choices_as_text(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        // A plan is plain data: it cannot fail to become a value.
        flatten(
            "",
            &serde_json::to_value(&self.choices).unwrap_or_default(),
            &mut pairs,
        );
        pairs
    }
}

/// `p50 … max` of a metric with `show` for its values.
pub(crate) fn shown_quantiles(metric: &Metric, show: impl Fn(f64) -> String) -> Vec<String> {
    SHOWN
        .iter()
        .map(|quantile| {
            metric
                .value(*quantile)
                .map_or("–".to_owned(), |value| show(value as f64))
        })
        .collect()
}

/// The names of [`SHOWN`].
pub(crate) fn shown_names() -> Vec<String> {
    SHOWN.iter().map(|shown| quantile(*shown)).collect()
}

/// What was found for a threshold, in the words of its expression.
pub(crate) fn found(expression: &str, value: Option<f64>) -> String {
    match value {
        None => "no samples".to_owned(),
        Some(value) if expression.contains('%') => percent(value),
        Some(value) if expression.contains("/s") => {
            format!("{} /s", super::number::quantity(value))
        }
        Some(value) => super::number::time(value * 1e3),
    }
}

fn flatten(name: &str, value: &Value, into: &mut Vec<(String, String)>) {
    let below = |key: &str| match name {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    };
    match value {
        Value::Null => {}
        Value::Object(keys) => {
            for (key, value) in keys {
                flatten(&below(key), value, into);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&below(&index.to_string()), item, into);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => into.push((
            name.to_owned(),
            items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        )),
        other => into.push((name.to_owned(), scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_flat_and_leave_out_what_was_not_chosen() {
        let mut pairs = Vec::new();
        let value = serde_json::json!({
            "target": {"host": "a", "port": 1, "connect_to": null},
            "groups": ["X25519", "P-256"],
            "scenarios": [{"name": "x"}, {"name": "y"}],
            "none": [],
        });
        flatten("", &value, &mut pairs);
        pairs.sort();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("groups", "X25519, P-256"),
                ("scenarios.0.name", "x"),
                ("scenarios.1.name", "y"),
                ("target.host", "a"),
                ("target.port", "1"),
            ]
        );
    }

    #[test]
    fn what_was_found_has_the_unit_of_the_threshold() {
        assert_eq!(found("p99<50ms", Some(12.0)), "12.0 ms");
        assert_eq!(found("error_rate<1%", Some(0.002)), "0.20 %");
        assert_eq!(found("rate>100/s", Some(99.5)), "99.5 /s");
        assert_eq!(found("max<1s", None), "no samples");
    }
}
