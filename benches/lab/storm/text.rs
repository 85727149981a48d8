//! The report as text for a terminal.

use super::phase::Phase;
use super::report::Report;
use crate::bar;
use crate::number::{count, or_dash, percent, plain};
use crate::table::Table;

/// Headings of the table of loads, here and on the page.
pub(super) const PHASES: [&str; 9] = [
    "load",
    "offered",
    "served",
    "of capacity",
    "answer p99",
    "shed",
    "gave up",
    "established p99",
    "quiet again",
];

/// All tables, notes and verdict.
pub(super) fn render(report: &Report) -> String {
    let mut phases = Table::new(&PHASES);
    for phase in &report.findings.phases {
        phases.row(row(phase));
    }
    for (peer, phase) in report.findings.phases_of_peers() {
        let mut row = row(phase);
        if let Some(title) = row.first_mut() {
            *title = peer.title(phase);
        }
        phases.row(row);
    }
    let mut bars = Table::new(&bar::HEADINGS);
    for bar in &report.bars {
        bars.row(bar.row());
    }
    let quiet = report.findings.quiet;
    let mut text = format!(
        "{}\n{}\n{} devices, full handshakes with one request each; patience {} s. The gateway has one worker and {} of a core (in the burst {}).\n\
         {} established devices ask {} times a second; in the quiet their p99 was {}.\n",
        phases.render(),
        bars.render(),
        count(report.choices.devices as u64),
        report.choices.patience.as_secs_f64(),
        percent(if report.findings.quota {
            report.choices.share
        } else {
            1.0
        }),
        percent(report.findings.burst_share),
        report.choices.established,
        plain(report.choices.requests_per_second),
        milliseconds(quiet.p99_ms),
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
pub(super) fn row(phase: &Phase) -> Vec<String> {
    let gave_up = phase.errors.iter().filter(|error| error.class == "gave_up");
    vec![
        phase.title(),
        or_dash(phase.offered_per_second, |rate| {
            format!("{}/s", plain(rate))
        }),
        format!("{}/s", plain(phase.goodput)),
        or_dash(phase.share, percent),
        milliseconds(phase.response_p99_ms),
        phase
            .gateway
            .map_or("-".to_owned(), |counts| count(counts.shed)),
        count(gave_up.map(|error| error.count).sum()),
        milliseconds(phase.established.p99_ms),
        or_dash(phase.recovery_seconds, |seconds| format!("{seconds:.2} s")),
    ]
}

fn milliseconds(time: Option<f64>) -> String {
    or_dash(time, |time| format!("{} ms", plain(time)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_tables_show_every_load_and_the_verdict() {
        let text = render(&fixture::report());
        for expected in [
            "5 × capacity, half of them 300 ms away",
            "97.00 %",
            "6.50 ms",
            "at most 20 ms",
            "burst of 2000 at 1.5 × capacity: shed",
            "nginx: 2 × capacity, devices 60 ms away",
            "18.00 %",
            "without Envoy",
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
