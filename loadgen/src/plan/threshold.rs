//! What a result must satisfy: `p99<50ms`, `p99(handshake){scenario=storm}<1s`, `errors{code=unknown_ca}<1`. Parsed here,
//! judged by the report.
//!
//! ```text
//! threshold = value [ "{" label "=" text { "," label "=" text } "}" ] ( "<" | "<=" | ">" | ">=" ) limit
//! value     = statistic [ "(" metric ")" ] | "error_rate" | "rate" | count
//! statistic = "p" number | "min" | "avg" | "max"
//! label     = "scenario" | "operation" | "class" | "code" | "when"
//! ```

mod metric;
mod parse;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use metric::{Counted, MetricName, Statistic};

use super::seconds;

/// One condition on a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct Threshold {
    text: String,
    /// What is looked at.
    pub subject: Subject,
    /// Of which attempts.
    pub selection: Selection,
    /// Whether the value must lie below (`<`) or above (`>`) the limit.
    pub below: bool,
    /// Whether the limit itself will do (`<=`, `>=`).
    pub or_equal: bool,
    /// The limit: milliseconds, bytes, a share (0 to 1), a rate per second or a count, as the subject has it.
    pub limit: f64,
    /// A run ends as soon as this fails, but not before so much of its window has passed.
    pub abort_on_fail: Option<Duration>,
}

/// What a threshold looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subject {
    /// A quantile (0 to 1) of the response time over all operations, in milliseconds: the headline.
    ResponseTime(f64),
    /// A statistic of any metric, of times in milliseconds.
    Metric(MetricName, Statistic),
    /// Attempts that failed or were overflow, as a share of those intended.
    ErrorRate,
    /// Successful attempts per second.
    Rate,
    /// A number of attempts, failures or devices.
    Count(Counted),
}

/// Which attempts a threshold looks at; what is not said selects all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Those of the scenario of this name.
    pub scenario: Option<String>,
    /// Those of this operation: `full`, `resumed` or `request`. Of metrics only.
    pub operation: Option<String>,
    /// Failures of this class. Of `errors` only, as the next two.
    pub class: Option<String>,
    /// Failures with this code.
    pub code: Option<String>,
    /// Failures at this moment.
    pub when: Option<String>,
}

/// Why a threshold cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ThresholdError {
    /// Not a threshold.
    #[error(
        "`{0}` is not a threshold; write one like p99<50ms, p99.9<1s, max<2s, error_rate<1%, rate>1000/s, \
         p99(handshake)<20ms, p99{{scenario=storm}}<1s or errors{{class=refused}}<1"
    )]
    Malformed(String),
    /// A part of it is not one of the words that can stand there.
    #[error("`{text}`: unknown {what} `{word}`; there are {known}")]
    Unknown {
        /// The threshold.
        text: String,
        /// Which part.
        what: &'static str,
        /// What stands there.
        word: String,
        /// What can stand there.
        known: String,
    },
    /// A label that does not go with the value.
    #[error("`{text}`: {label} selects nothing of {subject}")]
    Label {
        /// The threshold.
        text: String,
        /// The label.
        label: &'static str,
        /// What it was to select from.
        subject: &'static str,
    },
    /// A limit in another unit.
    #[error("`{text}`: the limit must be {wanted}")]
    Limit {
        /// The threshold.
        text: String,
        /// What a limit of this value looks like.
        wanted: &'static str,
    },
}

impl Threshold {
    /// What holds for every run that looks at identities, said or not.
    pub fn no_identity_mismatch() -> Threshold {
        Threshold {
            text: "identity_mismatches<1".to_owned(),
            subject: Subject::Count(Counted::IdentityMismatches),
            selection: Selection::default(),
            below: true,
            or_equal: false,
            limit: 1.0,
            abort_on_fail: None,
        }
    }

    /// Whether `value`, in the subject's unit, satisfies the condition.
    pub fn holds(&self, value: f64) -> bool {
        let beyond = if self.below {
            value < self.limit
        } else {
            value > self.limit
        };
        beyond || (self.or_equal && value == self.limit)
    }

    /// The same threshold, at whose failure a run ends once so much of its window has passed.
    #[must_use]
    pub fn aborting_after(mut self, delay: Duration) -> Threshold {
        self.abort_on_fail = Some(delay);
        self
    }

    /// Whether it can be judged while the load runs, second by second: of the whole run, not of a selection.
    pub fn can_abort(&self) -> bool {
        let overall = matches!(
            self.subject,
            Subject::ResponseTime(_) | Subject::ErrorRate | Subject::Rate
        );
        overall && self.selection == Selection::default()
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// How thresholds are saved: as they are written, and with what else was asked for.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Saved {
    Text(String),
    Aborting {
        expression: String,
        #[serde(with = "seconds", rename = "abort_after_seconds")]
        delay: Duration,
    },
}

impl From<Threshold> for Saved {
    fn from(threshold: Threshold) -> Saved {
        let expression = threshold.text;
        match threshold.abort_on_fail {
            Some(delay) => Saved::Aborting { expression, delay },
            None => Saved::Text(expression),
        }
    }
}

impl TryFrom<Saved> for Threshold {
    type Error = ThresholdError;

    fn try_from(saved: Saved) -> Result<Threshold, ThresholdError> {
        match saved {
            Saved::Text(text) => text.parse(),
            Saved::Aborting { expression, delay } => {
                Ok(expression.parse::<Threshold>()?.aborting_after(delay))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Threshold {
        text.parse().unwrap()
    }

    #[test]
    fn parses_what_the_help_shows() {
        let p99 = parsed("p99 < 50ms");
        assert_eq!(p99.subject, Subject::ResponseTime(0.99));
        assert!(p99.holds(49.9) && !p99.holds(50.0));
        let rate = parsed("rate>1000/s");
        assert!(rate.holds(1000.5) && !rate.holds(1000.0));
        let errors = parsed("error_rate<1%");
        assert!((errors.limit - 0.01).abs() < 1e-12);
        let identities = parsed("identity_mismatches<1");
        assert_eq!(identities, Threshold::no_identity_mismatch());
        assert!(identities.holds(0.0) && !identities.holds(1.0));
        let at_least = parsed("rate>=1000/s");
        assert!(at_least.holds(1000.0) && !at_least.holds(999.0));
        assert_eq!(
            parsed("max(response_time)<2s").subject,
            Subject::ResponseTime(1.0)
        );
    }

    #[test]
    fn any_metric_of_any_scenario_can_be_asked_for() {
        let storm = parsed("p99.9(return_time){scenario=storm}<1.5s");
        let quantile = Statistic::Quantile(99.9 / 100.0);
        assert_eq!(
            storm.subject,
            Subject::Metric(MetricName::ReturnTime, quantile)
        );
        assert_eq!(storm.selection.scenario.as_deref(), Some("storm"));
        assert_eq!(storm.limit, 1500.0);
        let bytes = parsed("avg(bytes_sent){operation=resumed}<2KiB");
        assert_eq!(
            bytes.subject,
            Subject::Metric(MetricName::BytesSent, Statistic::Mean)
        );
        assert_eq!(bytes.limit, 2048.0);
        let refused = parsed("errors{class=refused, code=unknown_ca, when=first_byte}<1");
        assert_eq!(refused.subject, Subject::Count(Counted::Errors));
        assert_eq!(refused.selection.code.as_deref(), Some("unknown_ca"));
        assert_eq!(
            parsed("overflow<=0").subject,
            Subject::Count(Counted::Overflow)
        );
        assert_eq!(
            parsed("gave_up{scenario:storm}<1").selection,
            storm.selection
        );
    }

    #[test]
    fn saved_as_it_is_written() {
        for threshold in [
            parsed("p99<50ms"),
            parsed("error_rate<5%").aborting_after(Duration::from_secs(10)),
        ] {
            let json = serde_json::to_string(&threshold).unwrap();
            assert_eq!(serde_json::from_str::<Threshold>(&json).unwrap(), threshold);
        }
        assert_eq!(
            serde_json::to_string(&parsed("p99<50ms")).unwrap(),
            "\"p99<50ms\""
        );
    }

    #[test]
    fn says_which_part_is_wrong() {
        for (text, wanted) in [
            ("p99(latency)<1s", "unknown metric `latency`"),
            ("p99{scenrio=a}<1s", "unknown label `scenrio`"),
            ("p99{operation=half}<1s", "unknown operation `half`"),
            ("median<1s", "unknown value `median`"),
            ("rate{operation=full}>1/s", "operation selects nothing"),
            ("p99{code=44}<1s", "code selects nothing"),
            ("p99<50", "50ms"),
            ("rate>10", "2000/s"),
            ("error_rate<1", "1%"),
            ("overflow<1ms", "whole number"),
            ("max(bytes_sent)<1s", "64KiB"),
        ] {
            let error = text.parse::<Threshold>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "",
            "p99",
            "p99<",
            "<1s",
            "p99=<1s",
            "p101<1s",
            "p<1s",
            "x<1ms",
            "p99<-1ms",
            "p99<NaNms",
            "p99(<1s",
            "p99{<1s",
            "p99{}<1s",
            "p99{scenario=}<1s",
            "p99{scenario}<1s",
            "p99()<1s",
            "p99{scenario=a,scenario=b}<1s",
            "rate(handshake)>1/s",
            "errors<-1",
            "errors<1.5",
        ] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
