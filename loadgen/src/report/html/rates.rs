//! What happened in each second: attempts, open connections, and how busy the generator was, one above the other.

use super::element::legend;
use super::svg::{Anchor, Scale, Svg, WIDTH};
use crate::report::SecondOfRun;
use crate::report::number::{percent, quantity};

const LEFT: f64 = 78.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// One line of a panel.
struct Line {
    class: &'static str,
    filled: bool,
    values: Vec<(f64, f64)>,
}

/// All panels that the series has something for; nothing without two seconds.
pub(crate) fn draw(seconds: &[SecondOfRun]) -> String {
    if seconds.len() < 2 {
        return String::new();
    }
    let line = |class, filled, value: fn(&SecondOfRun) -> f64| Line {
        class,
        filled,
        values: seconds
            .iter()
            .map(|second| (second.second as f64, value(second)))
            .collect(),
    };
    let mut html = legend(&[
        ("first", "completed well"),
        ("soft", "intended"),
        ("bad", "failed, or not sent"),
    ]);
    html += &panel(
        200.0,
        "Attempts per second",
        &[
            line("soft", false, |second| second.intended as f64),
            line("first", false, |second| second.ok as f64),
            line("bad", true, |second| {
                (second.failed + second.overflow) as f64
            }),
        ],
        None,
        quantity,
    );
    if seconds.iter().any(|second| second.open > 0) {
        html += "<h3>Open connections</h3>\n";
        let open = line("second", true, |second| second.open as f64);
        html += &panel(120.0, "Open connections", &[open], None, quantity);
    }
    if seconds.iter().any(|second| second.busiest_shard.is_some()) {
        html += "<h3>The generator’s busiest thread, share of its core</h3>\n";
        let busy = line("third", true, |second| second.busiest_shard.unwrap_or(0.0));
        html += &panel(100.0, "Share of a core", &[busy], Some(1.0), percent);
    }
    html
}

fn panel(
    height: f64,
    name: &str,
    lines: &[Line],
    at_least: Option<f64>,
    show: fn(f64) -> String,
) -> String {
    let all = || lines.iter().flat_map(|line| &line.values);
    let first = all().map(|value| value.0).fold(f64::INFINITY, f64::min);
    let last = all().map(|value| value.0).fold(first + 1.0, f64::max);
    let most = all().map(|value| value.1).fold(0.0, f64::max);
    let x = Scale::linear(first, last, LEFT, WIDTH - RIGHT);
    let most = (most * 1.05).max(at_least.unwrap_or(1.0));
    let base = height - BOTTOM;
    let y = Scale::linear(0.0, most, base, TOP);
    let mut svg = Svg::new(height, name);
    for tick in y.ticks(if height > 150.0 { 5 } else { 3 }) {
        svg.line("grid", (LEFT, y.at(tick)), (WIDTH - RIGHT, y.at(tick)));
        svg.text(
            "tick",
            (LEFT - 8.0, y.at(tick) + 4.0),
            Anchor::End,
            &round(&show(tick)),
        );
    }
    for tick in x.ticks(12).into_iter().filter(|tick| tick.fract() == 0.0) {
        svg.text(
            "tick",
            (x.at(tick), base + 19.0),
            Anchor::Middle,
            &format!("{tick} s"),
        );
    }
    for line in lines {
        let points: Vec<_> = line
            .values
            .iter()
            .map(|(second, value)| (x.at(*second), y.at(*value)))
            .collect();
        if line.filled {
            svg.area(&format!("area {}", line.class), &points, base);
        }
        svg.curve(&format!("line {}", line.class), &points);
    }
    svg.finish()
}

/// A tick without the digits that say nothing: `50.0` is `50`.
fn round(label: &str) -> String {
    label.strip_suffix(".0").unwrap_or(label).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_for_what_there_is() {
        let mut seconds = vec![SecondOfRun::empty(0, true), SecondOfRun::empty(1, true)];
        assert!(!draw(&seconds).contains("Open connections"));
        seconds[1].open = 7;
        seconds[1].busiest_shard = Some(0.4);
        let html = draw(&seconds);
        assert!(html.contains("Open connections") && html.contains("busiest thread"));
        assert!(!html.contains("NaN") && !html.contains("inf"));
        assert_eq!(draw(&seconds[..1]), "");
        assert_eq!(
            (round("50.0"), round("1,000")),
            ("50".to_owned(), "1,000".to_owned())
        );
    }
}
