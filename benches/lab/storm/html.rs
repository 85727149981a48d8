//! The report as a page.

use super::phase::{Kind, Phase};
use super::report::Report;
use super::text;
use crate::bar;
use crate::number::{percent, plain};
use crate::output::JSON;
use crate::page::bars::{self, Bar};
use crate::page::{self, escape};

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let body = [
        header(report),
        verdicts(report),
        loads(report),
        peers(report),
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
    page::document("Fleetgate: reconnect storms", &body)
}

fn header(report: &Report) -> String {
    let (class, verdict) = match (report.passed, report.void) {
        (true, _) => ("passed", "Everything that was judged passed"),
        (false, true) => ("failed", "Void: the generator could not keep up"),
        (false, false) => ("failed", "Not everything passed"),
    };
    format!(
        "<header>\n<p class=\"eyebrow\">Fleetgate storm · {} · took {:.0} s</p>\n\
         <h1>More devices at once than can be served</h1>\n\
         <p class=\"verdict {class}\">{verdict}</p>\n{}{}</header>\n",
        escape(&report.circumstances.started_at),
        report.circumstances.took_seconds,
        page::list("problems", &report.problems),
        page::list("notes", &report.notes),
    )
}

fn verdicts(report: &Report) -> String {
    let rows: Vec<_> = report.bars.iter().map(bar::Bar::row).collect();
    page::section(
        "What was to be reached",
        &page::table(&bar::HEADINGS, &rows),
    )
}

fn loads(report: &Report) -> String {
    let phases = &report.findings.phases;
    let plots: Vec<Bar> = phases
        .iter()
        .filter(|phase| matches!(phase.kind, Kind::Capacity | Kind::Storm(_)))
        .map(|phase| Bar {
            label: phase.title(),
            value: Some(phase.goodput),
            colour: usize::from(phase.kind != Kind::Capacity),
        })
        .collect();
    let rows: Vec<_> = phases.iter().map(text::row).collect();
    let caption = "Devices served per second: as many as can be, and in a storm that offers so many times that.";
    page::section(
        "Who is served",
        &(page::figure(caption, |width| {
            bars::draw(width, "Devices served per second", "/s", &plots)
        }) + &page::table(&text::PHASES, &rows)),
    )
}

/// Everybody's first storm side by side, as shares of what each can serve; nothing where no other server was asked.
fn peers(report: &Report) -> String {
    let findings = &report.findings;
    if findings.peers.is_empty() {
        return String::new();
    }
    let is_first = |phase: &&Phase| matches!(phase.kind, Kind::Storm(_));
    let own = findings.phases.iter().find(is_first);
    let own = own.map(|phase| (format!("Fleetgate: {}", phase.title()), phase));
    let others = findings
        .phases_of_peers()
        .filter(|(_, phase)| is_first(phase))
        .map(|(peer, phase)| (peer.title(phase), phase));
    let plots: Vec<Bar> = own
        .into_iter()
        .chain(others)
        .enumerate()
        .map(|(index, (label, phase))| Bar {
            label,
            value: phase.share.map(|share| share * 100.0),
            colour: usize::from(index > 0),
        })
        .collect();
    let rows: Vec<_> = findings
        .phases_of_peers()
        .map(|(peer, phase)| {
            let mut row = text::row(phase);
            if let Some(title) = row.first_mut() {
                *title = format!("{} ({})", peer.title(phase), peer.version);
            }
            row
        })
        .collect();
    let caption = "Devices served per second in a storm of twice what each server can serve, as a share of that.";
    page::section(
        "The same storm against others",
        &(page::figure(caption, |width| {
            bars::draw(width, "Goodput as a share of capacity", "%", &plots)
        }) + &page::table(&text::PHASES, &rows)),
    )
}

fn method(report: &Report) -> String {
    let choices = &report.choices;
    let pairs = [
        (
            "devices",
            format!(
                "each with its own certificate, full handshake over TLS 1.3, one request, close; a round trip for each of TCP, TLS and HTTP; they give \
                 up when they are not accepted {} s after they meant to come, and do not come back",
                choices.patience.as_secs_f64()
            ),
        ),
        (
            "capacity",
            "so many at a time that the gateway never runs dry and nobody's patience ends; measured before each storm".to_owned(),
        ),
        (
            "storm",
            format!(
                "independent arrivals at a multiple of that for {} s, after {} s of the same",
                choices.duration.as_secs_f64(),
                choices.warmup.as_secs_f64()
            ),
        ),
        (
            "burst",
            format!(
                "{} devices at 1.5 × capacity and {} s of patience; the gateway has the share of a core with which that takes a second",
                choices.burst,
                choices.burst_patience.as_secs_f64()
            ),
        ),
        (
            "established",
            format!(
                "{} connections, {} requests per second over all, from the server's core, which the quota leaves room on; times count from when the \
                 device meant to ask",
                choices.established,
                plain(choices.requests_per_second)
            ),
        ),
        (
            "quiet again",
            "the first half second after the storm in which their p99 is at most twice, or a millisecond above, that of the quiet".to_owned(),
        ),
        (
            "quota",
            format!(
                "a control group with {} of a core, granted a millisecond at a time, and a metronome in it that has the kernel look at the account \
                 more often than it ticks",
                percent(choices.share)
            ),
        ),
    ];
    page::section("How it was measured", &page::definitions(&pairs))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_page_shows_every_load_and_stands_alone() {
        let html = render(&fixture::report());
        for expected in [
            "Everything that was judged passed",
            "5 × capacity, half of them 300 ms away",
            "A &lt;fast&gt; processor",
            "<svg",
            "The same storm against others",
            "nginx: 2 × capacity, devices 60 ms away (nginx/1.22.1)",
        ] {
            assert!(html.contains(expected), "{expected}");
        }
        for forbidden in ["NaN", "<script", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}
