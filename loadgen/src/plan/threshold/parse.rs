//! From the text of a threshold to what it means.

use std::str::FromStr;

use super::{Counted, MetricName, Selection, Statistic, Subject, Threshold, ThresholdError};
use crate::plan::written;

const LABELS: [&str; 5] = ["scenario", "operation", "class", "code", "when"];
const OPERATIONS: [&str; 3] = ["full", "resumed", "request"];

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Threshold, ThresholdError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let parts =
            Parts::of(&compact).ok_or_else(|| ThresholdError::Malformed(text.to_owned()))?;
        let subject = subject(&compact, &parts)?;
        let selection = selection(&compact, &parts, subject)?;
        let limit = limit(subject, parts.limit)
            .filter(|limit| limit.is_finite() && *limit >= 0.0)
            .ok_or_else(|| ThresholdError::Limit {
                text: compact.clone(),
                wanted: wanted(subject),
            })?;
        Ok(Threshold {
            subject,
            selection,
            below: parts.operator.starts_with('<'),
            or_equal: parts.operator.ends_with('='),
            limit,
            abort_on_fail: None,
            text: compact,
        })
    }
}

/// The pieces of the text.
struct Parts<'a> {
    value: &'a str,
    metric: Option<&'a str>,
    labels: Vec<(&'a str, &'a str)>,
    operator: &'a str,
    limit: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Parts<'a>> {
        let at = text.find(['<', '>'])?;
        let (left, right) = text.split_at(at);
        let length = if right.get(1..)?.starts_with('=') {
            2
        } else {
            1
        };
        let (operator, limit) = right.split_at_checked(length)?;
        let (value, labels) = match left.split_once('{') {
            Some((value, labels)) => (value, Some(labels.strip_suffix('}')?)),
            None => (left, None),
        };
        let (value, metric) = match value.split_once('(') {
            Some((value, metric)) => (value, Some(metric.strip_suffix(')')?)),
            None => (value, None),
        };
        let labels: Option<Vec<_>> = labels.map_or(Some(Vec::new()), |labels| {
            labels.split(',').map(label).collect()
        });
        (!value.is_empty() && !limit.is_empty()).then_some(Parts {
            value,
            metric,
            labels: labels?,
            operator,
            limit,
        })
    }
}

/// `scenario=storm`, or with a colon as k6 has it.
fn label(text: &str) -> Option<(&str, &str)> {
    let (label, value) = text.split_once(['=', ':'])?;
    (!value.is_empty()).then_some((label, value))
}

fn subject(text: &str, parts: &Parts<'_>) -> Result<Subject, ThresholdError> {
    let unknown = |what, word: &str, known: Vec<&str>| ThresholdError::Unknown {
        text: text.to_owned(),
        what,
        word: word.to_owned(),
        known: known.join(", "),
    };
    let malformed = || ThresholdError::Malformed(text.to_owned());
    let statistic = match parts.value {
        "max" => Some(Statistic::Quantile(1.0)),
        "min" => Some(Statistic::Quantile(0.0)),
        "avg" => Some(Statistic::Mean),
        value => match value.strip_prefix('p').map(str::parse::<f64>) {
            Some(Ok(percent)) if (0.0..=100.0).contains(&percent) => {
                Some(Statistic::Quantile(percent / 100.0))
            }
            Some(Ok(_)) => return Err(malformed()),
            _ => None,
        },
    };
    if let Some(statistic) = statistic {
        let name = parts.metric.unwrap_or("response_time");
        let metric = MetricName::ALL.iter().find(|(known, _)| *known == name);
        let names = || MetricName::ALL.iter().map(|(name, _)| *name).collect();
        return match (metric, statistic) {
            (None, _) => Err(unknown("metric", name, names())),
            // The least is no quantile of the headline: a metric has it.
            (Some((_, MetricName::ResponseTime)), Statistic::Quantile(quantile))
                if quantile > 0.0 =>
            {
                Ok(Subject::ResponseTime(quantile))
            }
            (Some((_, metric)), statistic) => Ok(Subject::Metric(*metric, statistic)),
        };
    }
    if parts.metric.is_some() {
        return Err(malformed());
    }
    match parts.value {
        "error_rate" => Ok(Subject::ErrorRate),
        "rate" => Ok(Subject::Rate),
        value => Counted::ALL
            .iter()
            .find(|(known, _)| *known == value)
            .map(|(_, counted)| Subject::Count(*counted))
            .ok_or_else(|| {
                let mut known = vec!["p99", "min", "avg", "max", "error_rate", "rate"];
                known.extend(Counted::ALL.iter().map(|(name, _)| *name));
                unknown("value", value, known)
            }),
    }
}

fn selection(text: &str, parts: &Parts<'_>, subject: Subject) -> Result<Selection, ThresholdError> {
    let mut selection = Selection::default();
    for (label, value) in &parts.labels {
        let (place, label, fits) = match *label {
            "scenario" => (&mut selection.scenario, "scenario", true),
            "operation" => (
                &mut selection.operation,
                "operation",
                has_operations(subject),
            ),
            "class" => (&mut selection.class, "class", has_classes(subject)),
            "code" => (&mut selection.code, "code", has_classes(subject)),
            "when" => (&mut selection.when, "when", has_classes(subject)),
            other => {
                return Err(ThresholdError::Unknown {
                    text: text.to_owned(),
                    what: "label",
                    word: other.to_owned(),
                    known: LABELS.join(", "),
                });
            }
        };
        if !fits {
            return Err(ThresholdError::Label {
                text: text.to_owned(),
                label,
                subject: described(subject),
            });
        }
        if label == "operation" && !OPERATIONS.contains(value) {
            return Err(ThresholdError::Unknown {
                text: text.to_owned(),
                what: "operation",
                word: (*value).to_owned(),
                known: OPERATIONS.join(", "),
            });
        }
        if place.replace((*value).to_owned()).is_some() {
            return Err(ThresholdError::Malformed(text.to_owned()));
        }
    }
    Ok(selection)
}

/// The schedule and returns know no operations.
fn has_operations(subject: Subject) -> bool {
    match subject {
        Subject::ResponseTime(_) => true,
        Subject::Metric(metric, _) => {
            !matches!(metric, MetricName::ScheduleLag | MetricName::ReturnTime)
        }
        Subject::ErrorRate | Subject::Rate | Subject::Count(_) => false,
    }
}

fn has_classes(subject: Subject) -> bool {
    subject == Subject::Count(Counted::Errors)
}

fn described(subject: Subject) -> &'static str {
    match subject {
        Subject::ResponseTime(_) | Subject::Metric(..) => "a metric",
        Subject::ErrorRate => "the error rate",
        Subject::Rate => "the rate",
        Subject::Count(Counted::Errors) => "errors",
        Subject::Count(_) => "a count",
    }
}

fn limit(subject: Subject, text: &str) -> Option<f64> {
    match subject {
        Subject::Metric(metric, _) if metric.is_bytes() => {
            written::size::parse(text).ok().map(|bytes| bytes as f64)
        }
        Subject::ResponseTime(_) | Subject::Metric(..) => milliseconds(text),
        Subject::ErrorRate => Some(text.strip_suffix('%')?.parse::<f64>().ok()? / 100.0),
        Subject::Rate => text.strip_suffix("/s")?.parse().ok(),
        Subject::Count(_) => text.parse::<u64>().ok().map(|count| count as f64),
    }
}

fn wanted(subject: Subject) -> &'static str {
    match subject {
        Subject::Metric(metric, _) if metric.is_bytes() => "a size such as 64KiB",
        Subject::ResponseTime(_) | Subject::Metric(..) => "a time such as 50ms or 1.5s",
        Subject::ErrorRate => "a share such as 1%",
        Subject::Rate => "a rate such as 2000/s",
        Subject::Count(_) => "a whole number",
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(number.len()..)? {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}
