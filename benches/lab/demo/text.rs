//! The report as text for a terminal.

use super::report::{PhaseReport, Report};
use crate::number::{count, or_dash, percent, plain};
use crate::table::Table;

/// Table, agreement and verdict.
pub(super) fn render(report: &Report) -> String {
    let mut table = Table::new(&[
        "phase",
        "operations",
        "rate/s",
        "p50 ms",
        "p99 ms",
        "server CPU µs/op",
        "cache hits",
        "tickets accepted",
        "counts",
    ]);
    for phase in &report.phases {
        table.row(row(phase));
    }
    let mut text = table.render();
    text.push_str(
        "\nAn operation is a connection with one request, or in the last row a request on an open connection.\n\
         counts: whether the load generator's agree with the gateway's own metrics, to the last connection.\n",
    );
    for note in &report.notes {
        text.push_str(&format!("note    {note}\n"));
    }
    if report.passed {
        text.push_str("passed  every check\n");
    }
    for problem in &report.problems {
        text.push_str(&format!("FAILED  {problem}\n"));
    }
    text
}

fn row(phase: &PhaseReport) -> Vec<String> {
    let agrees = phase
        .agreement
        .iter()
        .all(|agreement| agreement.loadgen == agreement.gateway);
    vec![
        phase.phase.title().to_owned(),
        count(phase.run.counts.ok),
        plain(phase.rate_per_second),
        or_dash(phase.p50_ms, plain),
        or_dash(phase.p99_ms, plain),
        or_dash(phase.server_cpu_us, plain),
        or_dash(phase.cache_hit_share, percent),
        or_dash(phase.tickets_accepted_share, percent),
        (if agrees { "agree" } else { "DISAGREE" }).to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_table_shows_every_phase_and_the_verdict() {
        let mut report = fixture::report();
        let text = render(&report);
        for expected in [
            "cold full",
            "warm full",
            "resumed",
            "telemetry",
            "261",
            "99.99 %",
            "passed  every check",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
        report.passed = false;
        report.problems = vec!["resumed: too few".to_owned()];
        let text = render(&report);
        assert!(text.contains("FAILED  resumed: too few") && !text.contains("passed"));
    }
}
