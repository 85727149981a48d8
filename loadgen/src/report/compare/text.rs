//! A comparison as a table for a terminal: the conclusion first.

use std::fmt::{self, Write};

use super::{Compared, Comparison, Judgement, Kind};
use crate::report::RunResult;
use crate::report::number::{percent, plain, quantity, time};

/// The whole report.
pub fn render(comparison: &Comparison, first: &RunResult, second: &RunResult) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, comparison, first, second);
    let lines: Vec<_> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

fn write_report(
    out: &mut String,
    comparison: &Comparison,
    first: &RunResult,
    second: &RunResult,
) -> fmt::Result {
    writeln!(out, "verdict       {}", conclusion(comparison))?;
    for note in &comparison.notes {
        writeln!(out, "              - {note}")?;
    }
    for (word, result) in [("baseline", first), ("candidate", second)] {
        let target = &result.choices.target;
        writeln!(
            out,
            "{word:<13} https://{}{} at {}, {}",
            target.authority(),
            target.path,
            result.run.started_at,
            result.validity.verdict.name()
        )?;
    }
    for difference in &comparison.differences {
        writeln!(out, "{:<13} {difference}", "differs in")?;
    }
    writeln!(
        out,
        "\n{:<31}{:>12}{:>12}{:>12}  {:<26}judgement",
        "", "baseline", "candidate", "change", "with 95 % confidence"
    )?;
    for figure in &comparison.figures {
        let [first, second, change, interval, judgement] = cells(figure);
        writeln!(
            out,
            "{:<31}{first:>12}{second:>12}{change:>12}  {interval:<26}{judgement}",
            figure.name
        )?;
    }
    Ok(())
}

/// The conclusion, in words.
pub fn conclusion(comparison: &Comparison) -> String {
    // As they were given, without the digits of a measured share.
    let given = |share: f64| (share * 1e6).round() / 1e4;
    let margins = format!(
        "margins: {} % of times and rates, {} % of attempts that fail",
        given(comparison.margins.relative),
        given(comparison.margins.absolute)
    );
    match comparison.judgement {
        Judgement::Worse => {
            let worse: Vec<_> = comparison
                .figures
                .iter()
                .filter(|figure| figure.judgement == Some(Judgement::Worse))
                .map(|figure| figure.name.as_str())
                .collect();
            format!("regression, proven: {} ({margins})", worse.join(", "))
        }
        Judgement::Inconclusive => {
            format!(
                "inconclusive: neither a regression nor its absence is proven; measure longer ({margins})"
            )
        }
        Judgement::Better | Judgement::NotWorse => format!("no regression ({margins})"),
    }
}

/// Baseline, candidate, change, its interval and the judgement, as texts.
pub fn cells(figure: &Compared) -> [String; 5] {
    let value = |value: f64| match figure.kind {
        Kind::Time => time(value),
        Kind::Rate => format!("{} /s", quantity(value)),
        Kind::Failures | Kind::Successes => percent(value),
    };
    let change = |change: f64| match (figure.kind.by_difference(), change.is_infinite()) {
        (_, true) => "unknown".to_owned(),
        (true, _) => format!("{:+.3} %", change * 100.0),
        (false, _) => format!("× {change:.3}"),
    };
    let found = if figure.kind.by_difference() {
        change(figure.second - figure.first)
    } else if figure.first > 0.0 {
        change(figure.second / figure.first)
    } else {
        "–".to_owned()
    };
    [
        value(figure.first),
        value(figure.second),
        found,
        figure
            .change
            .map_or(figure.unjudged.to_owned(), |interval| {
                format!("{} … {}", change(interval.low), change(interval.high))
            }),
        figure
            .judgement
            .map_or("not judged".to_owned(), |judgement| {
                judgement.words().to_owned()
            }),
    ]
}
