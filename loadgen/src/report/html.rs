//! A result as a page: one file that needs nothing else, to be read, printed and forwarded.
//!
//! No script, no network, light and dark. Everything on it comes from the result; all that is drawn is SVG made here.

pub mod capacity;
pub mod comparison;
mod element;
mod heat;
mod percentiles;
mod phases;
mod rates;
mod svg;

use element::{Figure, definitions, document, escape, figures, list, section, table};

use super::bad_devices;
use super::headline::found;
use super::number::{bytes, count, percent, quantity, time};
use super::scenario::ScenarioResult;
use super::{ErrorCount, RunResult, SegmentOfRun};
use crate::measure::Verdict;

/// The page of a run.
pub fn page(result: &RunResult) -> String {
    let mut html = heading(result);
    html += &figures(&headline(result));
    html += &thresholds(result);
    html += &section(
        "Latency by percentile",
        "Each step to the right is ten times rarer. Where the two curves part, attempts waited for their turn to start.",
        &percentiles::of_run(result),
    );
    if let Some(map) = heat::draw(&result.seconds) {
        html += &section(
            "Latency over time",
            "The stronger the colour, the more attempts, on a logarithmic scale. The solid line is the median of each second, the dashed \
             one the 99th percentile. Point at a column for its figures.",
            &map,
        );
    }
    let rates = rates::draw(&result.seconds);
    if !rates.is_empty() {
        html += &section("Over time", "", &rates);
    }
    let bars = phases::bars(result);
    if !bars.is_empty() {
        html += &section(
            "Where the time went",
            "Mean of the successful attempts, split into what they waited for.",
            &bars,
        );
    }
    html += &section("Failures", "", &failures(result));
    html += &section("Handshakes and resumption", "", &handshakes(result));
    if result.watched.is_some() {
        html += &section(
            "The server’s processes",
            "CPU time is that of the whole window, divided by the attempts which the server accepted.",
            &definitions(&watched(result)),
        );
    }
    html += &section("All quantiles", "", &phases::quantiles(result));
    html += &parts(result);
    html += &section(
        "The machine that made the load",
        "",
        &definitions(&host(result)),
    );
    html += &section(
        "What the run was told",
        "",
        &definitions(&result.choices_as_text()),
    );
    html += &format!(
        "<footer>Made by loadgen {} from a result of schema {}.</footer>\n",
        escape(env!("CARGO_PKG_VERSION")),
        escape(&result.schema)
    );
    document(&title(result), &html)
}

fn title(result: &RunResult) -> String {
    format!("{}: {}", result.validity.verdict.name(), address(result))
}

fn address(result: &RunResult) -> String {
    let target = &result.choices.target;
    format!("https://{}{}", target.authority(), target.path)
}

fn heading(result: &RunResult) -> String {
    let verdict = result.validity.verdict;
    let passed = verdict == Verdict::Valid && result.thresholds_hold();
    let failed = verdict == Verdict::Void || !result.thresholds_hold();
    let class = match (passed, failed) {
        (true, _) => "good",
        (_, true) => "bad",
        _ => "doubt",
    };
    let word = match (verdict, result.thresholds_hold()) {
        (Verdict::Valid, false) => "threshold failed".to_owned(),
        (verdict, true) => verdict.name().to_owned(),
        (verdict, false) => format!("{}, threshold failed", verdict.name()),
    };
    let run = &result.run;
    format!(
        "<header class=\"{class}\">\n<p class=\"verdict\">{}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<p class=\"what\">{}</p>\n{}</header>\n",
        escape(&word),
        escape(&address(result)),
        escape(&result.conclusion()),
        escape(&format!(
            "{} devices, window of {} from {}{}.",
            count(run.devices as u64),
            time(run.window_seconds * 1e6),
            date(&run.started_at),
            if run.interrupted {
                ", stopped before its end"
            } else {
                ""
            },
        )),
        list("reasons", &result.validity.reasons)
    )
}

/// A date to the second; a text that is none stays as it is.
fn date(rfc3339: &str) -> String {
    match rfc3339.get(..19) {
        Some(seconds) if rfc3339.ends_with('Z') => format!("{} UTC", seconds.replace('T', " ")),
        _ => rfc3339.to_owned(),
    }
}

fn headline(result: &RunResult) -> Vec<Figure> {
    let mut all = Vec::new();
    if result.counts.intended > 0 {
        // Only what has a schedule can be late.
        let intended = match result.metric("schedule_lag", "all") {
            Some(_) => format!("of {} /s intended", quantity(result.intended_per_second())),
            None => "completed well".to_owned(),
        };
        all.push(Figure::new(
            "Rate",
            format!("{} /s", quantity(result.rate_per_second)),
            intended,
        ));
    }
    if let Some(metric) = result.response_time() {
        for (name, quantile, note) in [
            ("Median", 0.5, "response time, p50"),
            ("99th percentile", 0.99, "response time, p99"),
            ("Slowest", 1.0, "response time, maximum"),
        ] {
            if let Some(value) = metric.value(quantile) {
                all.push(Figure::new(name, time(value as f64), note));
            }
        }
    }
    let counts = result.counts;
    all.push(Figure::new(
        "Failed",
        percent(result.failed_share()),
        format!(
            "{} of {}{}",
            count(counts.failed + counts.overflow),
            count(counts.intended),
            match counts.overflow {
                0 => String::new(),
                overflow => format!(", {} of them not sent", count(overflow)),
            }
        ),
    ));
    if let Some(share) = result.resumption.accepted_share {
        all.push(Figure::new(
            "Resumed",
            percent(share),
            format!("of {} that were to resume", count(result.resumption.wanted)),
        ));
    }
    if let Some(identity) = result.identity {
        all.push(Figure::new(
            "Taken for another",
            count(identity.mismatches),
            format!("of {} identities told", count(identity.checked)),
        ));
    }
    if let Some(cpu) = result
        .watched
        .as_ref()
        .and_then(|watched| watched.cpu_us_per_operation)
    {
        all.push(Figure::new("Server CPU", time(cpu), "per accepted attempt"));
    }
    if result.open_connections_at_end > 0 {
        all.push(Figure::new(
            "Open connections",
            count(result.open_connections_at_end),
            "when the window ended",
        ));
    }
    all
}

fn thresholds(result: &RunResult) -> String {
    if result.thresholds.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = result
        .thresholds
        .iter()
        .map(|threshold| {
            vec![
                threshold.expression.clone(),
                if threshold.holds {
                    "✓ holds"
                } else {
                    "✗ fails"
                }
                .to_owned(),
                found(&threshold.expression, threshold.value),
            ]
        })
        .collect();
    section("Thresholds", "", &table(3, &["wanted", "", "found"], &rows))
}

fn failures(result: &RunResult) -> String {
    let before = &result.before_window;
    if result.errors.is_empty() && before.errors.is_empty() && result.counts.overflow == 0 {
        return "<p>None.</p>\n".to_owned();
    }
    let mut html = String::new();
    if !result.errors.is_empty() {
        html += &errors(&result.errors, result.counts.started);
    }
    if result.counts.overflow > 0 {
        html += &format!(
            "<p>{} arrivals found no free device and were not sent.</p>\n",
            escape(&count(result.counts.overflow))
        );
    }
    if !before.errors.is_empty() {
        html += "<h3>Before the window, in preparation and warm-up</h3>\n";
        html += &errors(&before.errors, before.counts.started);
    }
    html
}

fn errors(errors: &[ErrorCount], of: u64) -> String {
    let rows: Vec<_> = errors
        .iter()
        .map(|error| {
            let share = error.count as f64 / of.max(1) as f64;
            vec![
                error.class.clone(),
                error.code.clone(),
                error.direction.clone(),
                error.when.replace('_', " "),
                count(error.count),
                percent(share),
            ]
        })
        .collect();
    let headings = [
        "class",
        "code",
        "direction",
        "while waiting for",
        "count",
        "of attempts",
    ];
    table(4, &headings, &rows)
}

fn handshakes(result: &RunResult) -> String {
    let row = |name: &str, handshakes: super::Handshakes, resumption: super::Resumption| {
        [
            handshakes.full,
            handshakes.full_hrr,
            handshakes.resumed,
            resumption.wanted,
            resumption.offered,
            resumption.accepted,
            resumption.tickets_received,
        ]
        .into_iter()
        .map(count)
        .fold(vec![name.to_owned()], |mut row, cell| {
            row.push(cell);
            row
        })
    };
    let before = &result.before_window;
    let mut rows = vec![row("in the window", result.handshakes, result.resumption)];
    if before.counts.started > 0 {
        rows.push(row("before it", before.handshakes, before.resumption));
    }
    let headings = [
        "",
        "full",
        "full after a retry",
        "resumed",
        "to resume",
        "ticket offered",
        "ticket accepted",
        "tickets received",
    ];
    table(1, &headings, &rows)
}

/// Scenarios, bad devices and segments, where there are any to tell apart.
fn parts(result: &RunResult) -> String {
    let mut html = String::new();
    if result.scenarios.len() > 1 {
        let rows: Vec<_> = result.scenarios.iter().map(scenario).collect();
        let headings = [
            "scenario", "executor", "devices", "intended", "ok", "failed", "not sent", "rate",
            "p50", "p99", "max",
        ];
        html += &section("Scenarios", "", &table(2, &headings, &rows));
    }
    if !result.bad_devices.is_empty() {
        html += &section(
            "Bad devices",
            "Devices whose credentials are wrong on purpose: a refusal that had to happen is a success, its absence a failure.",
            &table(
                3,
                &bad_devices::HEADINGS,
                &bad_devices::rows(&result.bad_devices),
            ),
        );
    }
    if !result.segments.is_empty() {
        let rows: Vec<_> = result.segments.iter().map(segment).collect();
        let headings = [
            "segment",
            "verdict",
            "began",
            "processor",
            "cores",
            "window",
            "intended",
            "ok",
            "failed",
            "rate",
        ];
        html += &section(
            "Segments",
            "This result was merged from these, each of a machine of its own.",
            &table(4, &headings, &rows),
        );
    }
    html
}

fn scenario(scenario: &ScenarioResult) -> Vec<String> {
    let counts = scenario.counts;
    let response = scenario.metric("response_time", "all");
    let quantile = |quantile| {
        response
            .and_then(|metric| metric.value(quantile))
            .map_or("–".to_owned(), |value| time(value as f64))
    };
    vec![
        scenario.name.clone(),
        scenario.executor.clone(),
        count(scenario.devices as u64),
        count(counts.intended),
        count(counts.ok),
        count(counts.failed),
        count(counts.overflow),
        format!("{} /s", quantity(scenario.rate_per_second)),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
    ]
}

fn segment(segment: &SegmentOfRun) -> Vec<String> {
    vec![
        segment.segment.to_string(),
        segment.verdict.name().to_owned(),
        date(&segment.started_at),
        segment.host.processor.clone().unwrap_or_default(),
        segment.host.cores.to_string(),
        time(segment.window_seconds * 1e6),
        count(segment.counts.intended),
        count(segment.counts.ok),
        count(segment.counts.failed + segment.counts.overflow),
        format!("{} /s", quantity(segment.rate_per_second)),
    ]
}

fn watched(result: &RunResult) -> Vec<(String, String)> {
    let Some(watched) = &result.watched else {
        return Vec::new();
    };
    let pids: Vec<_> = watched.pids.iter().map(u32::to_string).collect();
    let memory = |resident: u64| bytes(resident as f64);
    let mut pairs = vec![
        ("process ids".to_owned(), pids.join(", ")),
        (
            "CPU time".to_owned(),
            format!("{:.3} s", watched.cpu_seconds),
        ),
        ("accepted attempts".to_owned(), count(watched.operations)),
    ];
    if let Some(cpu) = watched.cpu_us_per_operation {
        pairs.push(("CPU time of each".to_owned(), time(cpu)));
    }
    pairs.extend([
        (
            "memory before the first connection".to_owned(),
            memory(watched.resident_bytes_before),
        ),
        (
            "memory when the window began".to_owned(),
            memory(watched.resident_bytes_start),
        ),
        (
            "memory when it ended".to_owned(),
            memory(watched.resident_bytes_end),
        ),
    ]);
    if let Some(each) = watched.resident_bytes_per_connection {
        pairs.push(("memory per open connection".to_owned(), bytes(each)));
    }
    if !watched.vanished.is_empty() {
        let pids: Vec<_> = watched.vanished.iter().map(u32::to_string).collect();
        pairs.push(("ended during the run".to_owned(), pids.join(", ")));
    }
    pairs
}

fn host(result: &RunResult) -> Vec<(String, String)> {
    let host = &result.host;
    let validity = &result.validity;
    let largest = |shares: &[f64]| shares.iter().copied().fold(0.0, f64::max);
    let mut pairs = vec![
        ("cores".to_owned(), host.cores.to_string()),
        (
            "processor".to_owned(),
            host.processor.clone().unwrap_or_default(),
        ),
        ("kernel".to_owned(), host.kernel.clone().unwrap_or_default()),
        (
            "memory".to_owned(),
            host.memory_bytes
                .map_or(String::new(), |memory| bytes(memory as f64)),
        ),
        (
            "descriptors at most".to_owned(),
            host.descriptor_limit.map_or(String::new(), count),
        ),
        (
            "busiest thread".to_owned(),
            format!(
                "{} of a core, waited for one {} of the time",
                percent(largest(&validity.shard_cpu_shares)),
                percent(largest(&validity.shard_waiting_shares))
            ),
        ),
        (
            "taken by the hypervisor".to_owned(),
            validity.steal_share.map_or(String::new(), percent),
        ),
        ("loadgen".to_owned(), result.run.loadgen_version.clone()),
    ];
    pairs.retain(|(_, text)| !text.is_empty());
    pairs
}
