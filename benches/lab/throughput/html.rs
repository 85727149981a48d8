//! The report as a page.

use super::report::Report;
use super::text;
use crate::bar;
use crate::compare::server::Server;
use crate::number::percent;
use crate::output::JSON;
use crate::page::bars::{self, Bar};
use crate::page::{self, escape};

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let (class, verdict) = match (report.passed, report.void) {
        (true, _) => ("passed", "Everything that was judged passed"),
        (false, true) => ("failed", "Void: this machine gave its time to others"),
        (false, false) => ("failed", "Not everything passed"),
    };
    let header = format!(
        "<header>\n<p class=\"eyebrow\">Fleetgate throughput · {} · took {:.0} s</p>\n\
         <h1>Large bodies each way</h1>\n<p class=\"verdict {class}\">{verdict}</p>\n{}{}</header>\n",
        escape(&report.circumstances.started_at),
        report.circumstances.took_seconds,
        page::list("problems", &report.problems),
        page::list("notes", &report.notes),
    );
    let bar_rows: Vec<_> = report.bars.iter().map(bar::Bar::row).collect();
    let body = [
        header,
        page::section(
            "What was to be reached",
            &page::table(&bar::HEADINGS, &bar_rows),
        ),
        figures(report),
        method(report),
        page::section(
            "This machine",
            &page::definitions(&report.circumstances.definitions()),
        ),
        format!(
            "<footer>Every measurement is in <a href=\"{JSON}\">{JSON}</a> ({}).</footer>\n",
            escape(&report.schema)
        ),
    ]
    .concat();
    page::document("Fleetgate: throughput", &body)
}

fn figures(report: &Report) -> String {
    let plots: Vec<Bar> = report
        .figures
        .iter()
        .map(|figure| Bar {
            label: format!("{}, {}", figure.way.title(), figure.server.name()),
            value: figure.rate.map(|rate| rate.median),
            colour: usize::from(figure.server != Server::Fleetgate),
        })
        .collect();
    let rows: Vec<_> = report.figures.iter().map(text::row).collect();
    let caption = "Megabytes per second, all connections together.";
    page::section(
        "Rates, CPU and memory",
        &(page::figure(caption, |width| {
            bars::draw(width, "Megabytes per second", "MB/s", &plots)
        }) + &page::table(&text::FIGURES, &rows)),
    )
}

fn method(report: &Report) -> String {
    let choices = &report.choices;
    let peer = report.peer.clone().unwrap_or_else(|| "none".to_owned());
    let pairs = [
        ("peer", peer),
        (
            "interleaving",
            format!(
                "{} rounds; in each, every way through both servers in a random order and then in its reverse; seed {}",
                choices.rounds, choices.seed
            ),
        ),
        (
            "share",
            format!(
                "{} of a core for the server, so that it and not the generator is what limits the rate",
                percent(choices.share)
            ),
        ),
        (
            "memory",
            "the most resident memory while the bodies pass, above that before".to_owned(),
        ),
    ];
    page::section("How it was measured", &page::definitions(&pairs))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_page_shows_every_way_and_stands_alone() {
        let html = render(&fixture::report(|_| ()));
        for expected in [
            "Everything that was judged passed",
            "download, HTTP/1.1, 1 connection",
            "HAProxy version &lt;2.6&gt;",
            "<svg",
        ] {
            assert!(html.contains(expected), "{expected}");
        }
        for forbidden in ["NaN", "<script", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}
