//! What a result must satisfy: `p99<50ms`, `error_rate<1%`, `rate>1000/s`. Parsed here, judged by the report.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One condition on a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Threshold {
    text: String,
    /// What is looked at.
    pub subject: Subject,
    /// Whether the value must lie below (`<`) or above (`>`) the limit.
    pub below: bool,
    /// The limit: milliseconds, a share (0 to 1) or a rate per second, as the subject has it.
    pub limit: f64,
}

/// What a threshold looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subject {
    /// A quantile (0 to 1) of the response time over all operations, in milliseconds.
    ResponseTime(f64),
    /// Attempts that failed or were overflow, as a share of those intended.
    ErrorRate,
    /// Successful attempts per second.
    Rate,
    /// Answers that spoke of another device than the one that asked, or of none, where the plan looks at that.
    IdentityMismatches,
}

/// Why a threshold cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a threshold; write one like p99<50ms, p99.9<1s, max<2s, error_rate<1%, rate>1000/s or identity_mismatches<1"
)]
pub struct ThresholdError(String);

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Threshold, ThresholdError> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        parse(&compact).ok_or_else(|| ThresholdError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Threshold> {
    let at = text.find(['<', '>'])?;
    let (name, rest) = text.split_at(at);
    let below = rest.starts_with('<');
    let value = rest.get(1..)?;
    let (subject, limit) = match name {
        "error_rate" => (
            Subject::ErrorRate,
            value.strip_suffix('%')?.parse::<f64>().ok()? / 100.0,
        ),
        "rate" => (Subject::Rate, value.strip_suffix("/s")?.parse().ok()?),
        "identity_mismatches" => (
            Subject::IdentityMismatches,
            value.parse::<u32>().ok()?.into(),
        ),
        "max" => (Subject::ResponseTime(1.0), milliseconds(value)?),
        quantile => {
            let percent: f64 = quantile.strip_prefix('p')?.parse().ok()?;
            if !(0.0..=100.0).contains(&percent) {
                return None;
            }
            (Subject::ResponseTime(percent / 100.0), milliseconds(value)?)
        }
    };
    (limit.is_finite() && limit >= 0.0).then(|| Threshold {
        text: text.to_owned(),
        subject,
        below,
        limit,
    })
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

impl Threshold {
    /// What holds for every run that looks at identities, said or not.
    pub fn no_identity_mismatch() -> Threshold {
        Threshold {
            text: "identity_mismatches<1".to_owned(),
            subject: Subject::IdentityMismatches,
            below: true,
            limit: 1.0,
        }
    }

    /// Whether `value`, in the subject's unit, satisfies the condition.
    pub fn holds(&self, value: f64) -> bool {
        if self.below {
            value < self.limit
        } else {
            value > self.limit
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl From<Threshold> for String {
    fn from(threshold: Threshold) -> String {
        threshold.text
    }
}

impl TryFrom<String> for Threshold {
    type Error = ThresholdError;

    fn try_from(text: String) -> Result<Threshold, ThresholdError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_the_help_shows() {
        let p99: Threshold = "p99 < 50ms".parse().unwrap();
        assert_eq!(p99.subject, Subject::ResponseTime(0.99));
        assert!(p99.holds(49.9) && !p99.holds(50.0));
        let rate: Threshold = "rate>1000/s".parse().unwrap();
        assert!(rate.holds(1000.5) && !rate.holds(1000.0));
        let identities: Threshold = "identity_mismatches<1".parse().unwrap();
        assert_eq!(identities, Threshold::no_identity_mismatch());
        assert!(identities.holds(0.0) && !identities.holds(1.0));
        let errors: Threshold = "error_rate<1%".parse().unwrap();
        assert!((errors.limit - 0.01).abs() < 1e-12);
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "",
            "p99",
            "p99<",
            "p99<50",
            "p101<1s",
            "rate>10",
            "error_rate<1",
            "x<1ms",
            "p99<-1ms",
            "p99<NaNms",
        ] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }
}
