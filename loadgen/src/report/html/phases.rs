//! Where the time went: the mean of an attempt, split into its phases, one bar per operation.
//!
//! Means add up, quantiles do not: the bars are of means, the table beside them has the quantiles.

use super::element::{legend, table};
use super::svg::{Anchor, Svg, WIDTH};
use crate::report::headline::{shown_names, shown_quantiles};
use crate::report::number::{bytes, count, time};
use crate::report::{RunResult, Unit};

const LEFT: f64 = 110.0;
const RIGHT: f64 = 110.0;
const BAR: f64 = 30.0;
const PITCH: f64 = 46.0;

/// Phases that follow each other: what they are called in results and on the page, and their class.
const PHASES: [(&str, &str, &str); 4] = [
    ("tcp_connect", "TCP connection", "fourth"),
    ("handshake", "TLS handshake", "first"),
    ("first_byte", "waiting for the first byte", "second"),
    ("transfer", "rest of the response", "third"),
];

/// A phase of an operation: class, label, mean in microseconds.
type Part = (&'static str, &'static str, f64);

/// Bars of means.
pub(crate) fn bars(result: &RunResult) -> String {
    let rows: Vec<(&str, Vec<Part>)> = ["full", "resumed", "request"]
        .into_iter()
        .filter(|operation| result.metric("response_time", operation).is_some())
        .map(|operation| (operation, parts(result, operation)))
        .collect();
    let longest = rows
        .iter()
        .map(|(_, parts)| parts.iter().map(|part| part.2).sum())
        .fold(0.0, f64::max);
    if longest <= 0.0 {
        return String::new();
    }
    let mut svg = Svg::new(
        rows.len() as f64 * PITCH + 6.0,
        "Mean time of an attempt by phase",
    );
    for (index, (operation, parts)) in rows.iter().enumerate() {
        let top = index as f64 * PITCH + 6.0;
        let middle = top + BAR / 2.0 + 5.0;
        svg.text("word", (LEFT - 12.0, middle), Anchor::End, operation);
        let mut at = LEFT;
        for (class, label, mean) in parts {
            let width = mean / longest * (WIDTH - LEFT - RIGHT);
            let word = format!("{label}: {}", time(*mean));
            svg.rectangle(&format!("bar {class}"), (at, top), (width, BAR), &word);
            if width > 70.0 {
                svg.text(
                    "inside",
                    (at + width / 2.0, middle),
                    Anchor::Middle,
                    &time(*mean),
                );
            }
            at += width;
        }
        let total: f64 = parts.iter().map(|part| part.2).sum();
        svg.text("word", (at + 10.0, middle), Anchor::Start, &time(total));
    }
    let mut entries = vec![("soft", "waiting to start")];
    entries.extend(PHASES.iter().map(|(_, label, class)| (*class, *label)));
    entries.retain(|(_, label)| {
        let mut all = rows.iter().flat_map(|(_, parts)| parts);
        all.any(|part| part.1 == *label)
    });
    legend(&entries) + &svg.finish()
}

/// The phases of an operation with their means in order. They add up to the mean response time.
fn parts(result: &RunResult, operation: &str) -> Vec<Part> {
    let sum = |name: &str| {
        result.metric(name, operation).map_or((0.0, 0), |metric| {
            (metric.mean * metric.count as f64, metric.count)
        })
    };
    let (response, attempts) = sum("response_time");
    let (service, _) = sum("service_time");
    let per_attempt = |sum: f64| sum.max(0.0) / attempts.max(1) as f64;
    let mut parts = vec![("soft", "waiting to start", per_attempt(response - service))];
    let mut known = 0.0;
    for (name, label, class) in PHASES {
        let mut of_phase = sum(name).0;
        if name == "transfer" && of_phase == 0.0 {
            // Results of before there was such a metric: it is what remains.
            of_phase = service - known;
        }
        known += of_phase;
        parts.push((class, label, per_attempt(of_phase)));
    }
    parts.retain(|part| part.2 > 0.0);
    parts
}

/// Every metric's quantiles: times first, then bytes.
pub(crate) fn quantiles(result: &RunResult) -> String {
    let names = shown_names();
    let mut headings = vec!["", "operation", "count", "mean"];
    headings.extend(names.iter().map(String::as_str));
    let mut html = String::new();
    for unit in [Unit::Microseconds, Unit::Bytes] {
        let show = match unit {
            Unit::Microseconds => time,
            Unit::Bytes => bytes,
        };
        let rows: Vec<Vec<String>> = result
            .metrics
            .iter()
            .filter(|metric| metric.unit == unit)
            .map(|metric| {
                let mut row = vec![
                    metric.name.replace('_', " "),
                    metric.operation.clone(),
                    count(metric.count),
                    show(metric.mean),
                ];
                row.extend(shown_quantiles(metric, show));
                row
            })
            .collect();
        if !rows.is_empty() {
            html += &table(2, &headings, &rows);
        }
    }
    html
}
