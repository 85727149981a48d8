//! A figure, what it was to be, and whether it was reached; pure.

use serde::{Deserialize, Serialize};

use crate::number::{or_dash, plain};

/// Headings of a table of bars.
pub(crate) const HEADINGS: [&str; 4] = ["", "measured", "to be reached", ""];

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bar {
    /// Of what.
    pub(crate) what: String,
    /// What was measured.
    pub(crate) value: Option<f64>,
    /// Which side of the limit is good.
    pub(crate) side: Side,
    /// The limit, itself good.
    pub(crate) limit: f64,
    /// Of both.
    pub(crate) unit: String,
    /// What that means.
    pub(crate) outcome: Outcome,
}

/// The good side of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// Below it.
    AtMost,
    /// Above it.
    AtLeast,
}

/// Whether a bar was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It was.
    Reached,
    /// It was not, or there is no figure.
    Missed,
    /// A time, a rate or a cost of a run that was too short to judge it.
    NotJudged,
}

impl Outcome {
    /// In a table.
    fn title(self) -> &'static str {
        match self {
            Outcome::Reached => "reached",
            Outcome::Missed => "MISSED",
            Outcome::NotJudged => "not judged",
        }
    }
}

impl Bar {
    /// A bar that is judged in every run: what it measures does not depend on what else the machine does.
    pub(crate) fn always(
        what: impl Into<String>,
        value: Option<f64>,
        side: Side,
        limit: f64,
        unit: &str,
    ) -> Bar {
        let reached = value.is_some_and(|value| match side {
            Side::AtMost => value <= limit,
            Side::AtLeast => value >= limit,
        });
        Bar {
            what: what.into(),
            value,
            side,
            limit,
            unit: unit.to_owned(),
            outcome: if reached {
                Outcome::Reached
            } else {
                Outcome::Missed
            },
        }
    }

    /// The same of a time, a rate or a cost: where these are not `judged`, only a figure that is lacking is a miss.
    pub(crate) fn timed(self, judged: bool) -> Bar {
        let outcome = match self.value {
            Some(_) if !judged => Outcome::NotJudged,
            _ => self.outcome,
        };
        Bar { outcome, ..self }
    }

    /// A row below [`HEADINGS`].
    pub(crate) fn row(&self) -> Vec<String> {
        let side = match self.side {
            Side::AtMost => "at most",
            Side::AtLeast => "at least",
        };
        vec![
            self.what.clone(),
            or_dash(self.value, |value| self.figure(value)),
            format!("{side} {}", self.figure(self.limit)),
            self.outcome.title().to_owned(),
        ]
    }

    /// What is wrong, if it was missed.
    pub(crate) fn problem(&self) -> Option<String> {
        let [what, value, limit, _] = self.row().try_into().ok()?;
        (self.outcome == Outcome::Missed).then(|| match self.value {
            Some(_) => format!("{what}: {value}, {limit} was to be reached"),
            None => format!("{what}: no figure"),
        })
    }

    fn figure(&self, value: f64) -> String {
        match self.unit.as_str() {
            "" => plain_or_whole(value),
            unit => format!("{} {unit}", plain_or_whole(value)),
        }
    }
}

/// Counts are whole; anything else has its digits.
fn plain_or_whole(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        plain(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_good_and_no_figure_is_a_miss() {
        let outcome = |value, side| Bar::always("x", value, side, 3.0, "ms").outcome;
        assert_eq!(outcome(Some(3.0), Side::AtMost), Outcome::Reached);
        assert_eq!(outcome(Some(3.1), Side::AtMost), Outcome::Missed);
        assert_eq!(outcome(Some(3.0), Side::AtLeast), Outcome::Reached);
        assert_eq!(outcome(Some(2.9), Side::AtLeast), Outcome::Missed);
        assert_eq!(outcome(None, Side::AtMost), Outcome::Missed);
    }

    #[test]
    fn what_is_not_judged_has_a_figure_all_the_same() {
        let bar = |value| Bar::always("x", value, Side::AtMost, 3.0, "ms");
        assert_eq!(bar(Some(9.0)).timed(false).outcome, Outcome::NotJudged);
        assert_eq!(bar(Some(9.0)).timed(true).outcome, Outcome::Missed);
        assert_eq!(bar(None).timed(false).outcome, Outcome::Missed);
        assert_eq!(bar(Some(9.0)).timed(false).problem(), None);
        let problem = bar(Some(9.5)).problem().unwrap();
        assert_eq!(problem, "x: 9.50 ms, at most 3 ms was to be reached");
    }
}
