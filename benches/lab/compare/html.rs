//! The comparison as a page.

use super::operation::Operation;
use super::report::Report;
use super::server::Server;
use super::text::cells;
use crate::number::plain;
use crate::output::JSON;
use crate::page::bars::{self, Bar};
use crate::page::{self, escape};

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let mut body = header(report);
    for operation in Operation::ALL {
        body.push_str(&figures(report, operation));
    }
    body.push_str(&servers(report));
    body.push_str(&method(report));
    body.push_str(&machine(report));
    body.push_str(&format!(
        "<footer>Every measurement is in <a href=\"{JSON}\">{JSON}</a> ({}).</footer>\n",
        escape(&report.schema)
    ));
    page::document("Fleetgate beside its peers", &body)
}

fn header(report: &Report) -> String {
    let (class, verdict) = if report.complete {
        ("passed", "Every server there has every figure")
    } else {
        ("failed", "Some figures are lacking")
    };
    let missing: Vec<String> = report
        .missing
        .iter()
        .map(|missing| {
            format!(
                "{} is not compared: {}. To compare with it: {}.",
                missing.server.name(),
                missing.why,
                missing.how_to_install
            )
        })
        .collect();
    format!(
        "<header>\n<p class=\"eyebrow\">Fleetgate compare · {} · took {:.0} min</p>\n\
         <h1>The same work, server by server</h1>\n<p class=\"verdict {class}\">{verdict}</p>\n\
         <p class=\"lead\">Each server terminates mutual TLS for the same devices, sets the identity headers and forwards to the same \
         upstream, alone on one core. What is compared is its CPU per operation and its memory per idle connection.</p>\n{}{}</header>\n",
        escape(&report.started_at),
        report.took_seconds / 60.0,
        page::list("problems", &report.problems),
        page::list("notes", &[missing, report.notes.clone()].concat()),
    )
}

fn figures(report: &Report, operation: Operation) -> String {
    let mut bars = Vec::new();
    let mut rows = Vec::new();
    for (colour, compared) in report.servers.iter().enumerate() {
        let Some(figure) = report.figure(operation, compared.server) else {
            continue;
        };
        bars.push(Bar {
            label: compared.server.name().to_owned(),
            value: figure.cost.map(|cost| cost.median),
            colour,
        });
        let mut row = vec![compared.server.name().to_owned()];
        row.extend(cells(figure));
        rows.push(row);
    }
    let headings = [
        "",
        "median",
        "95 % interval",
        "Fleetgate ÷ it",
        "95 % interval",
    ];
    let body = page::figure(what(operation), |width| {
        bars::draw(width, operation.title(), operation.unit(), &bars)
    }) + &page::table(&headings, &rows);
    page::section(heading(operation), &body)
}

fn heading(operation: Operation) -> &'static str {
    match operation {
        Operation::FullCold => "CPU: full handshake of a new device and one request",
        Operation::FullWarm => "CPU: full handshake and one request",
        Operation::Resumed => "CPU: resumed handshake and one request",
        Operation::Request => "CPU: request on an open connection",
        Operation::RequestH2 => "CPU: request on an open HTTP/2 connection",
        Operation::Body => "CPU: 64 KiB on an open connection",
        Operation::BodyH2 => "CPU: 64 KiB on an open HTTP/2 connection",
        Operation::IdleMemory => "Memory: idle connection",
    }
}

fn what(operation: Operation) -> &'static str {
    match operation {
        Operation::FullCold => {
            "Connect, full mutual-TLS handshake, one GET, close. The device has not been here before: every server verifies its chain."
        }
        Operation::FullWarm => {
            "Connect, full mutual-TLS handshake, one GET, close. The device has been here before: Fleetgate's chain cache knows it; the others verify the chain each time."
        }
        Operation::Resumed => "Connect with the session ticket of the last visit, one GET, close.",
        Operation::Request => "A GET over HTTP/1.1 on a connection that stays open.",
        Operation::RequestH2 => {
            "A GET over HTTP/2 on a connection that stays open, one at a time on each. The upstream is spoken to in HTTP/1.1."
        }
        Operation::Body => {
            "A GET over HTTP/1.1 on a connection that stays open, answered with 64 KiB."
        }
        Operation::BodyH2 => {
            "A GET over HTTP/2 on a connection that stays open, answered with 64 KiB."
        }
        Operation::IdleMemory => {
            "Growth of the server's resident memory, divided by the connections held, each after one request."
        }
    }
}

fn servers(report: &Report) -> String {
    let pairs: Vec<(&str, String)> = report
        .servers
        .iter()
        .map(|compared| (compared.server.name(), compared.version.clone()))
        .collect();
    page::section("Servers", &page::definitions(&pairs))
}

fn method(report: &Report) -> String {
    let choices = &report.choices;
    let pairs = [
        ("interleaving", format!(
            "{} rounds; in each, every operation of every server twice, in a random order and then in its reverse; seed {}",
            choices.rounds, choices.seed
        )),
        ("one measurement", format!(
            "{} s after {} s of warm-up, {} operations at a time, back to back",
            choices.duration.as_secs_f64(),
            choices.warmup.as_secs_f64(),
            choices.at_a_time
        )),
        ("devices", format!(
            "{} connect in full, {} resume, {} hold the connections for requests; {} idle connections, measured {} times on a freshly started server",
            choices.devices_full, choices.devices_resumed, choices.devices_request, choices.devices_idle, choices.memory_rounds
        )),
        ("CPU", "time on a core of all threads of all the server's processes, as the kernel accounts it, divided by the operations".to_owned()),
        ("figure", "median over the rounds; the interval holds 95 % of the medians of rounds drawn again at random".to_owned()),
        ("ratio", "Fleetgate's cost over the other's in the same round, then their median".to_owned()),
        ("TLS", "1.3, X25519, P-256 certificates, a chain of two, one worker each".to_owned()),
    ];
    page::section("How it was measured", &page::definitions(&pairs))
}

fn machine(report: &Report) -> String {
    let unknown = || "unknown".to_owned();
    let host = &report.host;
    let cores = format!(
        "{}; server under test on core {}, generator and upstream on core {}",
        host.cores, report.server_core, report.generator_core
    );
    let memory = host
        .memory_bytes
        .map(|bytes| format!("{} GiB", plain(bytes as f64 / f64::from(1 << 30))));
    let pairs = [
        ("processor", host.processor.clone().unwrap_or_else(unknown)),
        ("cores", cores),
        ("memory", memory.unwrap_or_else(unknown)),
        ("kernel", host.kernel.clone().unwrap_or_else(unknown)),
        (
            "compared",
            report
                .servers
                .iter()
                .filter(|compared| compared.server != Server::Fleetgate)
                .count()
                .to_string()
                + " peers",
        ),
    ];
    page::section("This machine", &page::definitions(&pairs))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{cells, report};
    use super::*;

    #[test]
    fn the_page_shows_costs_ratios_and_gaps() {
        let html = render(&report(cells()));
        for expected in [
            "600 µs",
            "0.250",
            "1.0 &lt;x&gt;",
            "Envoy is not compared: not found",
            "<svg",
        ] {
            assert!(html.contains(expected), "{expected}");
        }
        for forbidden in ["NaN", "<script", "http://", "https://"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}
