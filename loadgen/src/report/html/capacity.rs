//! A capacity search as a page: the answer, the curve with the limit that was set, every probe.

use super::element::{
    Figure, definitions, document, escape, figures, legend, list, section, table,
};
use super::svg::{Anchor, Scale, Svg, WIDTH};
use crate::plan::threshold::Subject;
use crate::report::capacity::text::load;
use crate::report::capacity::{CapacityResult, CapacityVerdict, ProbeAnswer, ProbeResult};
use crate::report::number::{quantity, round_time, time};

const HEIGHT: f64 = 380.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;

/// The page of a search.
pub fn page(result: &CapacityResult) -> String {
    let mut html = heading(result);
    html += &figures(&headline(result));
    html += &section(
        "Response time by load",
        "99th percentile of each probe's response times, on logarithmic scales. The horizontal line is the condition on it, if there is one; the \
         vertical ones are the maximum and the lowest load that certainly fails.",
        &curve(result),
    );
    html += &section(
        "Achieved by load",
        "Where the points leave the diagonal, the server no longer does what is asked of it.",
        &achieved(result),
    );
    html += &section("What it means", "", &definitions(&meaning(result)));
    html += &section("Every probe, in order", "", &probes(result));
    html += &section("How it was made", "", &definitions(&choices(result)));
    document("Capacity", &html)
}

fn heading(result: &CapacityResult) -> String {
    let class = match result.verdict {
        _ if result.run.interrupted => "doubt",
        CapacityVerdict::Found | CapacityVerdict::HoldsAll => "good",
        CapacityVerdict::HoldsNothing => "bad",
        CapacityVerdict::GeneratorLimited | CapacityVerdict::Inconclusive => "doubt",
    };
    let target = &result.choices.plan.target;
    let mut notes = vec![format!("Limited by: {}", result.limited_by.detail)];
    if result.run.interrupted {
        notes.push("The search was stopped before its end: the result is partial".to_owned());
    }
    format!(
        "<header class=\"{class}\">\n<p class=\"verdict\">{}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}</header>\n",
        escape(&result.verdict.name().replace('_', " ")),
        escape(&format!("https://{}{}", target.authority(), target.path)),
        escape(&format!("Capacity: {}", result.statement)),
        list("reasons", &notes)
    )
}

fn headline(result: &CapacityResult) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some(maximum) = result.maximum {
        let note = match maximum.high {
            Some(high) => format!("95 % interval {} to {}", load(maximum.low), load(high)),
            None => "a lower bound".to_owned(),
        };
        figures.push(Figure::new("Maximum", load(maximum.load), note));
    }
    if let Some(cost) = result.cost {
        figures.push(Figure::new(
            "Server CPU per operation",
            time(cost.cpu_us_per_operation),
            format!("{:.2} cores used", cost.cores_used),
        ));
    }
    if let Some(sizing) = &result.sizing {
        let devices = sizing.devices_per_core.unwrap_or(sizing.devices);
        figures.push(Figure::new(
            "Sizing",
            quantity(devices),
            sizing.statement.clone(),
        ));
    }
    if let Some(hysteresis) = result.hysteresis {
        let (value, note) = match hysteresis.recovered_after_seconds {
            Some(seconds) => (
                format!("{seconds:.1} s"),
                "until the maximum was carried again",
            ),
            None => ("never".to_owned(), "the maximum was not carried again"),
        };
        figures.push(Figure::new("Recovery from an overload", value, note));
    }
    figures
}

/// Probes that say something about a steady load, in its order.
fn steady(result: &CapacityResult) -> Vec<&ProbeResult> {
    let mut probes: Vec<_> = result
        .probes
        .iter()
        .filter(|probe| probe.purpose != "light" && probe.purpose != "recovery")
        .collect();
    probes.sort_by(|one, other| one.load.total_cmp(&other.load));
    probes
}

fn curve(result: &CapacityResult) -> String {
    let points: Vec<_> = steady(result)
        .into_iter()
        .filter_map(|probe| Some((probe, probe.p99_ms.filter(|p99| *p99 > 0.0)?)))
        .collect();
    let limit =
        result
            .choices
            .plan
            .thresholds
            .iter()
            .find_map(|threshold| match threshold.subject {
                // A limit of another quantile has no place among these points.
                Subject::ResponseTime(quantile) if (quantile - 0.99).abs() < 1e-9 => {
                    Some((threshold.limit, threshold.to_string()))
                }
                _ => None,
            });
    let heights = points.iter().map(|point| point.1);
    let heights: Vec<_> = heights.chain(limit.as_ref().map(|limit| limit.0)).collect();
    let Some((mut svg, x)) = plot(result, "99th percentile of the response time by load") else {
        return "<p>No probe was made.</p>\n".to_owned();
    };
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min) / 1.3;
    let high = heights.iter().copied().fold(0.0, f64::max) * 1.3;
    if points.is_empty() {
        return "<p>No attempt succeeded: there are no times to plot.</p>\n".to_owned();
    }
    let y = Scale::logarithmic(low, high, HEIGHT - BOTTOM, TOP);
    for tick in y.ticks(8) {
        svg.line("grid", (LEFT, y.at(tick)), (WIDTH - RIGHT, y.at(tick)));
        let label = round_time(tick * 1e3);
        svg.text("tick", (LEFT - 8.0, y.at(tick) + 4.0), Anchor::End, &label);
    }
    if let Some((limit, expression)) = limit {
        svg.line(
            "limit fails",
            (LEFT, y.at(limit)),
            (WIDTH - RIGHT, y.at(limit)),
        );
        let at = (WIDTH - RIGHT - 6.0, y.at(limit) - 7.0);
        svg.text("tick", at, Anchor::End, &expression);
    }
    let line: Vec<_> = points
        .iter()
        .map(|(p, p99)| (x.at(p.load), y.at(*p99)))
        .collect();
    svg.curve("line first", &line);
    for (probe, p99) in points {
        let word = format!(
            "{} offered: p99 {}, {}",
            load(probe.load),
            time(p99 * 1e3),
            probe.answer.name()
        );
        svg.point(class(probe), (x.at(probe.load), y.at(p99)), &word);
    }
    answers() + &svg.finish()
}

fn achieved(result: &CapacityResult) -> String {
    let Some((mut svg, x)) = plot(result, "Achieved by load") else {
        return String::new();
    };
    let probes = steady(result);
    // Devices send less often than there are devices: the diagonal is what was asked of the server.
    let asked = |probe: &ProbeResult| probe.intended as f64 / probe.window_seconds.max(1e-9);
    let all = probes
        .iter()
        .flat_map(|p| [asked(p), p.achieved_per_second]);
    let (low, high) = all
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 1.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    let y = Scale::logarithmic(low.min(high) / 1.2, high * 1.2, HEIGHT - BOTTOM, TOP);
    for tick in y.ticks(8) {
        svg.line("grid", (LEFT, y.at(tick)), (WIDTH - RIGHT, y.at(tick)));
        svg.text(
            "tick",
            (LEFT - 8.0, y.at(tick) + 4.0),
            Anchor::End,
            &quantity(tick),
        );
    }
    let line: Vec<_> = probes
        .iter()
        .map(|p| (x.at(p.load), y.at(asked(p))))
        .collect();
    svg.curve("line soft", &line);
    for probe in probes {
        let word = format!(
            "{} offered: {}/s done, {}",
            load(probe.load),
            load(probe.achieved_per_second),
            probe.answer.name()
        );
        let at = (x.at(probe.load), y.at(probe.achieved_per_second));
        svg.point(class(probe), at, &word);
    }
    answers() + &svg.finish()
}

fn answers() -> String {
    legend(&[
        ("good", "holds"),
        ("bad", "fails"),
        ("doubt", "cannot be told, or not counted"),
    ])
}

/// A drawing with the axis of loads and the ends of the interval; `None` without a probe.
fn plot(result: &CapacityResult, description: &str) -> Option<(Svg, Scale)> {
    let probes = steady(result);
    let (first, last) = (probes.first()?.load, probes.last()?.load);
    let x = Scale::logarithmic(first / 1.1, last * 1.1, LEFT, WIDTH - RIGHT);
    let bottom = HEIGHT - BOTTOM;
    let mut svg = Svg::new(HEIGHT, description);
    for tick in x.ticks(12) {
        svg.line("grid", (x.at(tick), TOP), (x.at(tick), bottom));
        let at = (x.at(tick), bottom + 19.0);
        svg.text("tick", at, Anchor::Middle, &quantity(tick));
    }
    let at = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 10.0);
    svg.text(
        "tick",
        at,
        Anchor::Middle,
        &format!("offered: {}", result.choices.unit),
    );
    let ends = result
        .maximum
        .map(|maximum| [Some(maximum.low), maximum.high]);
    for end in ends.into_iter().flatten().flatten() {
        svg.line("border", (x.at(end), TOP), (x.at(end), bottom));
    }
    Some((svg, x))
}

fn class(probe: &ProbeResult) -> &'static str {
    match probe.answer {
        ProbeAnswer::Holds => "dot good",
        ProbeAnswer::Fails => "dot bad",
        ProbeAnswer::Unclear | ProbeAnswer::NotCounted => "dot doubt",
    }
}

fn meaning(result: &CapacityResult) -> Vec<(String, String)> {
    let mut pairs = vec![("Limited by".to_owned(), result.limited_by.detail.clone())];
    if let Some(sizing) = &result.sizing {
        pairs.push(("Sizing".to_owned(), sizing.statement.clone()));
    }
    if let Some(hysteresis) = result.hysteresis {
        let recovered = match hysteresis.recovered_after_seconds {
            Some(seconds) => format!("the maximum was carried again {seconds:.1} s after it"),
            None => "the maximum was not carried again".to_owned(),
        };
        pairs.push((
            "Overload".to_owned(),
            format!(
                "offered {}, {}/s were done well meanwhile; {recovered}",
                load(hysteresis.overload),
                load(hysteresis.achieved_per_second)
            ),
        ));
    }
    pairs
}

fn probes(result: &CapacityResult) -> String {
    let number =
        |value: Option<f64>, show: &dyn Fn(f64) -> String| value.map_or("–".to_owned(), show);
    let rows: Vec<_> = result
        .probes
        .iter()
        .map(|probe| {
            vec![
                probe.purpose.clone(),
                probe.answer.name().to_owned(),
                probe.generator.verdict.name().to_owned(),
                load(probe.load),
                load(probe.achieved_per_second),
                number(probe.p50_ms, &|value| time(value * 1e3)),
                number(probe.p99_ms, &|value| time(value * 1e3)),
                (probe.failed + probe.overflow).to_string(),
                number(probe.cpu_us_per_operation, &time),
                number(probe.cores_used, &|value| format!("{value:.2}")),
            ]
        })
        .collect();
    table(
        3,
        &[
            "Probe",
            "Answer",
            "Generator",
            "Offered",
            "Achieved/s",
            "p50",
            "p99",
            "Failed",
            "CPU/operation",
            "Cores",
        ],
        &rows,
    )
}

fn choices(result: &CapacityResult) -> Vec<(String, String)> {
    let choices = &result.choices;
    let thresholds = choices.plan.thresholds.iter().map(ToString::to_string);
    let conditions: Vec<_> = thresholds
        .chain(choices.conditions.iter().cloned())
        .collect();
    let pair = |term: &str, text: String| (term.to_owned(), text);
    vec![
        pair("Conditions", conditions.join(", ")),
        pair(
            "Probes",
            format!(
                "{} s of load, then a window of {} s or more; confirmed for {} s; final gap {:.1} %",
                choices.settle_seconds,
                choices.window_seconds,
                choices.confirm_seconds,
                choices.precision * 100.0
            ),
        ),
        pair(
            "Devices",
            choices
                .plan
                .devices
                .map_or("all".to_owned(), |devices| devices.to_string()),
        ),
        pair(
            "Generator",
            format!("loadgen {}", result.run.loadgen_version),
        ),
        pair(
            "Machine",
            format!(
                "{}, {} cores",
                result
                    .host
                    .processor
                    .as_deref()
                    .unwrap_or("unknown processor"),
                result.host.cores
            ),
        ),
        pair(
            "Time",
            result
                .run
                .started_at
                .as_deref()
                .map(super::date)
                .unwrap_or_default(),
        ),
    ]
}
