//! The report as text for a terminal.

use super::bar::Bar;
use super::live::Live;
use super::reconnect::Reconnect;
use super::report::{Cost, Difference, Report};
use crate::number::{count, or_dash, plain};
use crate::statistics::Estimate;
use crate::table::Table;

/// Headings of the tables, here and on the page.
pub(super) const BARS: [&str; 4] = ["", "measured", "at most", ""];
pub(super) const LIVE: [&str; 7] = [
    "revoked while connected",
    "devices",
    "revoked",
    "first ends",
    "last ends",
    "metrics",
    "others answered",
];
pub(super) const COSTS: [&str; 5] = [
    "gateway CPU",
    "without lists",
    "with the long list",
    "ratio",
    "95 % interval",
];
pub(super) const DIFFERENCES: [&str; 5] = [
    "gateway",
    "without lists",
    "with the long list",
    "added",
    "95 % interval",
];
pub(super) const RECONNECTS: [&str; 5] =
    ["bytes of a device", "tickets", "sent", "received", "ticket"];

/// All tables, notes and verdict.
pub(super) fn render(report: &Report) -> String {
    let mut text = [
        table(&LIVE, report.live.iter().map(live)),
        table(&COSTS, report.costs.iter().map(cost)),
        table(&DIFFERENCES, report.differences.iter().map(difference)),
        table(&RECONNECTS, report.reconnects.iter().map(reconnect)),
        table(&BARS, report.bars.iter().map(bar)),
    ]
    .join("\n");
    text.push_str(&format!(
        "\nThe long list has {} entries. µs: CPU of the gateway per connection with one request. Medians over the rounds ({}) with their\n\
         bootstrap intervals; ratios and differences are made round by round. Of devices revoked while connected the slowest round\n\
         is judged. Bytes are those of TLS records.\n",
        count(report.choices.entries as u64),
        report.choices.rounds
    ));
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

fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new(headings);
    rows.for_each(|row| table.row(row));
    table.render()
}

/// One row, here and on the page.
pub(super) fn live(live: &Live) -> Vec<String> {
    let milliseconds = |value| or_dash(value, |value: f64| format!("{} ms", plain(value)));
    vec![
        live.trigger.title().to_owned(),
        count(live.connected as u64),
        count(live.revoked as u64),
        milliseconds(live.first_ms),
        milliseconds(live.last_ms),
        milliseconds(live.counted_ms),
        format!(
            "{} of {}",
            count(live.answered as u64),
            count((live.connected - live.revoked) as u64)
        ),
    ]
}

/// One row.
pub(super) fn cost(cost: &Cost) -> Vec<String> {
    let median = |estimate: Option<Estimate>| {
        or_dash(estimate, |estimate| {
            format!("{} µs", plain(estimate.median))
        })
    };
    vec![
        cost.operation.title().to_owned(),
        median(cost.without),
        median(cost.with),
        or_dash(cost.ratio, |ratio| format!("{:.3}", ratio.median)),
        or_dash(cost.ratio, |ratio| {
            format!("{:.3} – {:.3}", ratio.low, ratio.high)
        }),
    ]
}

/// One row.
pub(super) fn difference(difference: &Difference) -> Vec<String> {
    let unit = difference.quantity.unit();
    let median = |estimate: Option<Estimate>| {
        or_dash(estimate, |estimate| {
            format!("{} {unit}", plain(estimate.median))
        })
    };
    vec![
        difference.quantity.title().to_owned(),
        median(difference.without),
        median(difference.with),
        median(difference.difference),
        or_dash(difference.difference, |added| {
            format!("{} – {}", plain(added.low), plain(added.high))
        }),
    ]
}

/// One row.
pub(super) fn reconnect(reconnect: &Reconnect) -> Vec<String> {
    vec![
        reconnect.operation.title().to_owned(),
        reconnect.tickets.title().to_owned(),
        count(reconnect.bytes_sent),
        count(reconnect.bytes_received),
        count(reconnect.ticket_bytes),
    ]
}

/// One row.
pub(super) fn bar(bar: &Bar) -> Vec<String> {
    let figure = |value: f64| match bar.unit.as_str() {
        "×" => format!("{value:.3} ×"),
        unit => format!("{} {unit}", plain(value)),
    };
    vec![
        bar.what.clone(),
        or_dash(bar.value, figure),
        figure(bar.limit),
        bar.outcome.title().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_tables_show_every_experiment_and_the_verdict() {
        let text = render(&fixture::report());
        for expected in [
            "by watching files",
            "8,000 of 8,000",
            "1.010",
            "start to ready",
            "30.0 MB",
            "self-contained tickets",
            "1.030 ×",
            "350 bytes",
            "1,000,000 entries",
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
