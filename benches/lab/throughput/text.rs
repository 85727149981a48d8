//! The report as text for a terminal.

use super::report::{Figure, Report};
use crate::bar;
use crate::number::{count, or_dash, percent, plain};
use crate::table::Table;

/// Headings of the table of figures, here and on the page.
pub(super) const FIGURES: [&str; 6] = [
    "way",
    "server",
    "MB/s",
    "CPU s per GB",
    "memory grows",
    "gateway ÷ peer",
];

/// Both tables, notes and verdict.
pub(super) fn render(report: &Report) -> String {
    let mut figures = Table::new(&FIGURES);
    for figure in &report.figures {
        figures.row(row(figure));
    }
    let mut bars = Table::new(&bar::HEADINGS);
    for bar in &report.bars {
        bars.row(bar.row());
    }
    let share = if report.quota {
        report.choices.share
    } else {
        1.0
    };
    let mut text = format!(
        "{}\n{}\nBodies of {} bytes in all, through one thread with {} of a core. Medians of {} rounds; ratios are made round by round.\n",
        figures.render(),
        bars.render(),
        count(report.choices.bytes),
        percent(share),
        report.choices.rounds,
    );
    for note in &report.notes {
        text.push_str(&format!("note    {note}\n"));
    }
    if report.passed {
        text.push_str("passed  everything that was judged\n");
    }
    for problem in &report.problems {
        text.push_str(&format!("FAILED  {problem}\n"));
    }
    text
}

/// One row, here and on the page.
pub(super) fn row(figure: &Figure) -> Vec<String> {
    vec![
        figure.way.title(),
        figure.server.name().to_owned(),
        or_dash(figure.rate, |rate| plain(rate.median)),
        or_dash(figure.cost, |cost| plain(cost.median)),
        format!("{} MB", plain(figure.grown_mb)),
        or_dash(figure.ratio, |ratio| {
            format!("{:.3} ({:.3} – {:.3})", ratio.median, ratio.low, ratio.high)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_tables_show_every_way_and_the_verdict() {
        let text = render(&fixture::report(|_| ()));
        for expected in [
            "upload, HTTP/2, 4 connections",
            "1.250 (1.250 – 1.250)",
            "1,000,000,000 bytes",
            "passed",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
        assert!(
            !text.contains("MISSED") && !text.contains("FAILED"),
            "{text}"
        );
    }
}
