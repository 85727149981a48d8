//! The report as a page: verdict, a tile per phase, two plots, and the sentences that a newcomer needs.

use std::fmt::Write as _;

use super::phase::Phase;
use super::report::{PhaseReport, Report};
use crate::number::{count, or_dash, percent, plain};
use crate::output::JSON;
use crate::page::bars::{self, Bar};
use crate::page::curves::{self, Curve};
use crate::page::{self, escape};

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let body = [
        header(report),
        tiles(report),
        cpu(report),
        latency(report),
        agreement(report),
        phases(),
        method(report),
        words(),
        machine(report),
        footer(report),
    ]
    .concat();
    page::document("Fleetgate demo", &body)
}

fn header(report: &Report) -> String {
    let (class, verdict) = match (report.passed, report.problems.len()) {
        (true, _) => ("passed", "Every check passed".to_owned()),
        (false, 1) => ("failed", "One check did not pass".to_owned()),
        (false, several) => ("failed", format!("{several} checks did not pass")),
    };
    format!(
        "<header>\n<p class=\"eyebrow\">Fleetgate demo · {} · took {:.0} s</p>\n\
         <h1>What it costs to let a fleet in</h1>\n<p class=\"verdict {class}\">{verdict}</p>\n\
         <p class=\"lead\">{}</p>\n{}{}</header>\n",
        escape(&report.started_at),
        report.took_seconds,
        escape(&summary(report)),
        page::list("problems", &report.problems),
        page::list("notes", &report.notes),
    )
}

fn summary(report: &Report) -> String {
    let mut text = format!(
        "{} devices, each with a {} certificate of its own, connected through the gateway's mutual TLS to an upstream behind it.",
        count(report.choices.devices as u64),
        report.key
    );
    let cpu = |wanted| {
        let phase = report.phases.iter().find(|phase| phase.phase == wanted)?;
        phase.server_cpu_us.filter(|cpu| *cpu > 0.0)
    };
    if let (Some(cold), Some(warm), Some(resumed)) = (
        cpu(Phase::ColdFull),
        cpu(Phase::WarmFull),
        cpu(Phase::Resumed),
    ) {
        let _ = write!(
            text,
            " A device that the gateway knows cost it {} of the CPU of a new one, one that came back with a ticket {}.",
            rounded_percent(warm / cold),
            rounded_percent(resumed / cold)
        );
    }
    text
}

fn rounded_percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn tiles(report: &Report) -> String {
    let mut html = String::from("<div class=\"tiles\">\n");
    for (colour, phase) in report.phases.iter().enumerate() {
        html.push_str(&tile(colour, phase));
    }
    html.push_str("</div>\n");
    html
}

fn tile(colour: usize, phase: &PhaseReport) -> String {
    let mut facts = vec![
        ("rate", format!("{}/s", plain(phase.rate_per_second))),
        ("p50", milliseconds(phase.p50_ms)),
        ("p99", milliseconds(phase.p99_ms)),
    ];
    if let Some(share) = phase
        .cache_hit_share
        .filter(|_| phase.phase != Phase::Telemetry)
    {
        facts.push(("cache hits", percent(share)));
    }
    if let Some(share) = phase.tickets_accepted_share {
        facts.push(("tickets used", percent(share)));
    }
    let facts = facts.iter().fold(String::new(), |mut html, (term, text)| {
        let _ = writeln!(html, "<div><dt>{term}</dt><dd>{}</dd></div>", escape(text));
        html
    });
    format!(
        "<article class=\"tile top{colour}\">\n<h3>{}</h3>\n<p class=\"big\">{} <small>µs</small></p>\n\
         <p class=\"under\">server CPU per {}</p>\n<dl>\n{facts}</dl>\n</article>\n",
        escape(&capital(phase.phase.title())),
        or_dash(phase.server_cpu_us, plain),
        phase.phase.operation(),
    )
}

fn milliseconds(value: Option<f64>) -> String {
    or_dash(value, |value| format!("{} ms", plain(value)))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

fn cpu(report: &Report) -> String {
    let bars: Vec<Bar> = report
        .phases
        .iter()
        .enumerate()
        .map(|(colour, phase)| Bar {
            label: format!("{}, per {}", phase.phase.title(), phase.phase.operation()),
            value: phase.server_cpu_us,
            colour,
        })
        .collect();
    let name = "Server CPU per operation by phase";
    let caption = "CPU time of the whole gateway process, its kernel side included, divided by the operations. One second of \
        a core holds a million microseconds: at 250 µs each, one core serves 4,000 per second. In the telemetry phase the gateway \
        is idle most of the time and woken for nearly every request; that waking is most of what is counted there, and a busy gateway \
        pays a fraction of it.";
    page::section(
        "Server CPU per operation",
        &page::figure(caption, |width| bars::draw(width, name, "µs", &bars)),
    )
}

fn latency(report: &Report) -> String {
    let curves: Vec<Curve> = report
        .phases
        .iter()
        .enumerate()
        .map(|(colour, phase)| Curve {
            label: phase.phase.title().to_owned(),
            points: phase
                .curve
                .iter()
                .map(|point| (point.quantile, point.ms))
                .collect(),
            colour,
        })
        .collect();
    let caption = format!(
        "Response time as the device saw it. In the first three phases {} connections at a time keep the gateway's core busy, so \
         a time is mostly waiting for the others; in the telemetry phase it counts from the moment at which the report was due.",
        report.choices.at_a_time
    );
    let name = "Response time by percentile and phase";
    let body = curves::legend(&curves)
        + &page::figure(&caption, |width| curves::draw(width, name, &curves));
    page::section("Response times", &body)
}

fn agreement(report: &Report) -> String {
    let mut rows = Vec::new();
    for phase in &report.phases {
        for agreement in &phase.agreement {
            if agreement.loadgen == 0 && agreement.gateway == 0 {
                continue;
            }
            let same = agreement.loadgen == agreement.gateway;
            rows.push(vec![
                format!("{}: {}", phase.phase.title(), agreement.what),
                count(agreement.loadgen),
                count(agreement.gateway),
                (if same { "✓" } else { "differs" }).to_owned(),
            ]);
        }
    }
    let body = page::paragraph(
        "The load generator counts what its devices experienced; the gateway counts on its own, in the metrics that an operator would \
         scrape. They must agree to the last connection, preparation and warm-up included.",
    ) + &page::table(&["counted", "loadgen", "gateway", ""], &rows);
    page::section("Two independent counts", &body)
}

fn phases() -> String {
    let pairs: Vec<(&str, String)> = Phase::ALL
        .iter()
        .map(|phase| (phase.title(), phase.what().to_owned()))
        .collect();
    page::section("What happened in each phase", &page::definitions(&pairs))
}

fn method(report: &Report) -> String {
    let choices = &report.choices;
    let placement = report.placement;
    let cores = if placement.server_core == placement.generator_core {
        format!("everything on core {}", placement.server_core)
    } else {
        format!(
            "gateway (one worker) on core {}, load generator and upstream on core {}",
            placement.server_core, placement.generator_core
        )
    };
    let pairs = [
        ("certificates", format!(
            "{} throughout; each device presents its own certificate and the intermediate's, a chain of two",
            report.key
        )),
        ("TLS", "1.3, key exchange X25519; a ticket per connection; early data is never used".to_owned()),
        ("request", "HTTP/1.1, one GET per connection, or posts of 256 bytes; the gateway forwards each with the device's identity in headers, over pooled connections".to_owned()),
        ("load", format!(
            "connecting phases: {} at a time, back to back (closed model); telemetry: {} posts per second in all, at random moments, whether or not earlier ones are answered (open model)",
            choices.at_a_time,
            plain(choices.telemetry_per_second)
        )),
        ("time", format!(
            "{} s per phase after {} s of warm-up; the cold phase is each device once, without warm-up",
            choices.duration.as_secs_f64(),
            choices.warmup.as_secs_f64()
        )),
        ("cores", cores),
        ("server CPU", "time on a core of all threads of the gateway's process, as the kernel accounts it".to_owned()),
        ("shares", "cache hits and tickets are differences of the gateway's own metrics over the phase".to_owned()),
    ];
    page::section("How it was measured", &page::definitions(&pairs))
}

fn words() -> String {
    let pairs = [
        ("mutual TLS", "Both sides prove who they are: the server with its certificate, and each device with its own.".to_owned()),
        ("full handshake", "The device sends its certificate chain and a fresh signature; both are checked.".to_owned()),
        ("chain cache", "Verdicts on chains that were verified before, so that the same chain is not verified signature by signature at each visit. Expiry and policy are checked every time.".to_owned()),
        ("resumption", "The device shows a ticket from its last visit instead of a certificate. The gateway still looks up who it is, and authorizes it again.".to_owned()),
        ("p50, p99", "Half of the operations, or ninety-nine of a hundred, were at least this fast.".to_owned()),
        ("rate", "What this run did with two cores, generator and upstream included. What one core of the gateway can do follows from its CPU per operation.".to_owned()),
    ];
    page::section("Words", &page::definitions(&pairs))
}

fn machine(report: &Report) -> String {
    let host = &report.host;
    let memory = host
        .memory_bytes
        .map(|bytes| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30)));
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let pairs = [
        ("processor", text(&host.processor)),
        ("cores", host.cores.to_string()),
        ("memory", text(&memory)),
        ("kernel", text(&host.kernel)),
        ("gateway", report.gateway_version.clone()),
    ];
    let body = page::definitions(&pairs)
        + &page::paragraph(
            "Figures of one run on a shared machine move by a tenth and more. Compare figures of one run with each other, not with those of another machine.",
        );
    page::section("This machine", &body)
}

fn footer(report: &Report) -> String {
    format!(
        "<footer>All of this, and loadgen's complete results with histograms, is in <a href=\"{JSON}\">{JSON}</a> ({}).</footer>\n",
        escape(&report.schema)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_page_shows_verdict_phases_and_plots() {
        let html = render(&fixture::report());
        for expected in [
            "Every check passed",
            "Cold full",
            "99.99 %",
            "<svg",
            "A &lt;fast&gt; processor",
            "lab.demo/1",
        ] {
            assert!(html.contains(expected), "{expected}");
        }
        for forbidden in ["NaN", "inf\"", "http://", "https://", "<script"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn problems_come_first() {
        let mut report = fixture::report();
        report.passed = false;
        report.problems = vec!["resumed: 3 < 4".to_owned()];
        let html = render(&report);
        assert!(html.contains("One check did not pass") && html.contains("resumed: 3 &lt; 4"));
        assert!(!html.contains("Every check passed"));
    }
}
