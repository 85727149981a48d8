//! The report as a page.

use super::report::Report;
use super::text;
use crate::number::{count, plain};
use crate::output::JSON;
use crate::page::bars::{self, Bar};
use crate::page::{self, escape};

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let body = [
        header(report),
        verdicts(report),
        live(report),
        costs(report),
        loading(report),
        reconnects(report),
        method(report),
        machine(report),
        format!(
            "<footer>Every measurement is in <a href=\"{JSON}\">{JSON}</a> ({}).</footer>\n",
            escape(&report.schema)
        ),
    ]
    .concat();
    page::document("Fleetgate: revocation", &body)
}

fn header(report: &Report) -> String {
    let (class, verdict) = if report.passed {
        ("passed", "Everything that was judged passed")
    } else {
        ("failed", "Not everything passed")
    };
    format!(
        "<header>\n<p class=\"eyebrow\">Fleetgate revocation · {} · took {:.0} min</p>\n\
         <h1>How soon a revoked device is gone, and what being able to revoke costs</h1>\n\
         <p class=\"verdict {class}\">{verdict}</p>\n{}{}</header>\n",
        escape(&report.started_at),
        report.took_seconds / 60.0,
        page::list("problems", &report.problems),
        page::list("notes", &report.notes),
    )
}

fn verdicts(report: &Report) -> String {
    let rows: Vec<_> = report.bars.iter().map(text::bar).collect();
    page::section("What was to be reached", &page::table(&text::BARS, &rows))
}

fn live(report: &Report) -> String {
    let rows: Vec<_> = report.live.iter().map(text::live).collect();
    let what = "Devices are connected and idle, then a list that revokes every ninth of them comes into the gateway's folder. Times count \
        from the signal, or from the list's coming into its place. The devices say when their connections end; the gateway's metrics are read \
        a hundred times a second. Then every other device makes a request over the connection that it has. The slowest round is judged.";
    page::section(
        "Revoked while connected",
        &(page::paragraph(what) + &page::table(&text::LIVE, &rows)),
    )
}

fn costs(report: &Report) -> String {
    let mut plots = Vec::new();
    for cost in &report.costs {
        for (colour, (side, estimate)) in [("without lists", cost.without), ("with", cost.with)]
            .into_iter()
            .enumerate()
        {
            plots.push(Bar {
                label: format!("{}, {side}", cost.operation.title()),
                value: estimate.map(|estimate| estimate.median),
                colour,
            });
        }
    }
    let rows: Vec<_> = report.costs.iter().map(text::cost).collect();
    let caption = format!(
        "CPU of the gateway per connection with one request, with a list of {} entries in force and without any.",
        count(report.choices.entries as u64)
    );
    let name = "Gateway CPU with and without a long list";
    page::section(
        "What a long list costs handshakes",
        &(page::figure(&caption, |width| bars::draw(width, name, "µs", &plots))
            + &page::table(&text::COSTS, &rows)),
    )
}

fn loading(report: &Report) -> String {
    let rows: Vec<_> = report.differences.iter().map(text::difference).collect();
    let what = format!(
        "The same gateways, from the start of the process until it says that it is ready, and their resident memory: then, and after {} devices \
         have connected. The peak includes the list's text and its binary form, which are let go of.",
        count(report.choices.devices_full as u64)
    );
    page::section(
        "What a long list costs the start",
        &(page::paragraph(&what) + &page::table(&text::DIFFERENCES, &rows)),
    )
}

fn reconnects(report: &Report) -> String {
    let rows: Vec<_> = report.reconnects.iter().map(text::reconnect).collect();
    let what = "TLS records and the request in them, from the device's TCP connection to its close, without what TCP and IP add; medians. \
        The ticket is measured in the ClientHello that offers it.";
    page::section(
        "Bytes to be back",
        &(page::paragraph(what) + &page::table(&text::RECONNECTS, &rows)),
    )
}

fn method(report: &Report) -> String {
    let choices = &report.choices;
    let pairs = [
        (
            "interleaving",
            format!(
                "{} rounds, each with a new pair of gateways; in each, every operation of both twice, in a random order and then in its reverse; seed {}",
                choices.rounds, choices.seed
            ),
        ),
        (
            "one measurement",
            format!(
                "{} s after {} s of warm-up, {} connections at a time, back to back; {} devices connect in full, {} resume",
                choices.duration.as_secs_f64(),
                choices.warmup.as_secs_f64(),
                choices.at_a_time,
                choices.devices_full,
                choices.devices_resumed
            ),
        ),
        (
            "figure",
            "median over the rounds; the interval holds 95 % of the medians of rounds drawn again at random".to_owned(),
        ),
        ("ratio, added", "made within each round, then their median".to_owned()),
        (
            "TLS",
            "1.3, X25519, P-256 certificates, a chain of two; both certificates are looked up in the lists".to_owned(),
        ),
    ];
    page::section("How it was measured", &page::definitions(&pairs))
}

fn machine(report: &Report) -> String {
    let unknown = || "unknown".to_owned();
    let host = &report.host;
    let cores = format!(
        "{}; gateways on core {}, devices, generator and upstream on core {}",
        host.cores, report.server_core, report.generator_core
    );
    let memory = host
        .memory_bytes
        .map(|bytes| format!("{} GiB", plain(bytes as f64 / f64::from(1 << 30))));
    let pairs = [
        ("gateway", report.gateway_version.clone()),
        ("processor", host.processor.clone().unwrap_or_else(unknown)),
        ("cores", cores),
        ("memory", memory.unwrap_or_else(unknown)),
        ("kernel", host.kernel.clone().unwrap_or_else(unknown)),
    ];
    page::section("This machine", &page::definitions(&pairs))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_page_shows_every_experiment_and_stands_alone() {
        let html = render(&fixture::report());
        for expected in [
            "Everything that was judged passed",
            "by SIGHUP",
            "1.010",
            "A &lt;fast&gt; processor",
            "350 bytes",
            "<svg",
        ] {
            assert!(html.contains(expected), "{expected}");
        }
        for forbidden in ["NaN", "<script", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}
