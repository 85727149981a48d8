//! Latency by percentile: each further nine is as wide as the last, times are on a logarithmic scale.
//!
//! On these axes a tail is as easy to read as a median, and two runs lie over each other.

use super::element::legend;
use super::svg::{Anchor, Scale, Svg, WIDTH};
use crate::plan::Threshold;
use crate::plan::threshold::{Selection, Subject};
use crate::report::number::{quantile, quantity, round_time, time};
use crate::report::{Metric, RunResult};

const HEIGHT: f64 = 400.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 56.0;
/// Points of a curve for each nine.
const POINTS_PER_NINE: f64 = 50.0;
/// Quantiles that are marked and can be pointed at.
const MARKED: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];

/// One curve.
pub(crate) struct Curve {
    label: String,
    class: &'static str,
    /// Quantile and microseconds, ascending.
    points: Vec<(f64, f64)>,
    marks: Vec<(f64, f64)>,
}

impl Curve {
    /// The curve of a metric of times; `None` if its histogram is damaged.
    pub(crate) fn of(metric: &Metric, label: &str, class: &'static str) -> Option<Curve> {
        let histogram = metric.decode()?;
        let at = |quantile: f64| {
            let value = histogram.value_at_quantile(quantile).min(histogram.max());
            (quantile, value as f64)
        };
        // Beyond this there is only the maximum.
        let nines = (histogram.len().max(2) as f64).log10();
        let steps = (nines * POINTS_PER_NINE) as usize;
        let points = (0..=steps)
            .map(|step| at(1.0 - 10f64.powf(-(step as f64) / POINTS_PER_NINE)))
            .chain([(1.0 - 10f64.powf(-nines), histogram.max() as f64)])
            .collect();
        let marks = MARKED
            .into_iter()
            .filter(|quantile| position(*quantile) <= nines)
            .map(at)
            .collect();
        Some(Curve {
            label: label.to_owned(),
            class,
            points,
            marks,
        })
    }
}

/// The number of nines: 0.9 is 1, 0.99 is 2.
fn position(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

/// Response and service time of a run, with its thresholds on quantiles.
pub(crate) fn of_run(result: &RunResult) -> String {
    let curves: Vec<Curve> = [
        (
            "response_time",
            "response time, from the intended start",
            "first",
        ),
        (
            "service_time",
            "service time, from the actual start",
            "second",
        ),
    ]
    .into_iter()
    .filter_map(|(name, label, class)| Curve::of(result.metric(name, "all")?, label, class))
    .collect();
    draw(&curves, &limits(result))
}

/// Limits on quantiles of the response time: quantile, microseconds, what it says, whether it holds.
fn limits(result: &RunResult) -> Vec<(f64, f64, String, bool)> {
    let limit = |expression: &str, holds| {
        let threshold: Threshold = expression.parse().ok()?;
        match threshold.subject {
            Subject::ResponseTime(quantile) if threshold.selection == Selection::default() => {
                Some((
                    quantile,
                    threshold.limit * 1e3,
                    expression.to_owned(),
                    holds,
                ))
            }
            _ => None,
        }
    };
    result
        .thresholds
        .iter()
        .filter_map(|outcome| limit(&outcome.expression, outcome.holds))
        .collect()
}

/// Curves over each other, with their legend.
pub(crate) fn draw(curves: &[Curve], limits: &[(f64, f64, String, bool)]) -> String {
    if curves.is_empty() {
        return "<p>No attempt succeeded: there are no times to plot.</p>\n".to_owned();
    }
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let nines = points().map(|point| position(point.0)).fold(1.0, f64::max);
    let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = points()
        .map(|point| point.1)
        .chain(limits.iter().map(|limit| limit.1))
        .fold(0.0, f64::max);
    let x = Scale::linear(0.0, nines, LEFT, WIDTH - RIGHT);
    let y = Scale::logarithmic(
        low.max(1.0) / 1.3,
        high.max(2.0) * 1.3,
        HEIGHT - BOTTOM,
        TOP,
    );
    let mut svg = Svg::new(HEIGHT, "Latency by percentile");
    axes(&mut svg, &x, &y, nines);
    for (quantile, limit, expression, holds) in limits {
        let class = if *holds { "limit holds" } else { "limit fails" };
        let at = (x.at(position(*quantile).min(nines)), y.at(*limit));
        svg.line(class, (at.0 - 22.0, at.1), (at.0 + 22.0, at.1));
        svg.text("tick", (at.0, at.1 - 7.0), Anchor::Middle, expression);
    }
    let place = |point: &(f64, f64)| (x.at(position(point.0)), y.at(point.1));
    // The first curve is drawn last: it is the one that matters.
    for curve in curves.iter().rev() {
        let line: Vec<_> = curve.points.iter().map(place).collect();
        svg.curve(&format!("line {}", curve.class), &line);
        for mark in &curve.marks {
            let word = format!("{}: {} {}", curve.label, quantile(mark.0), time(mark.1));
            svg.point(&format!("dot {}", curve.class), place(mark), &word);
        }
    }
    let entries: Vec<_> = curves
        .iter()
        .map(|curve| (curve.class, curve.label.as_str()))
        .collect();
    legend(&entries) + &svg.finish()
}

fn axes(svg: &mut Svg, x: &Scale, y: &Scale, nines: f64) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in y.ticks(9) {
        let height = y.at(tick);
        svg.line("grid", (LEFT, height), (right, height));
        svg.text(
            "tick",
            (LEFT - 8.0, height + 4.0),
            Anchor::End,
            &round_time(tick),
        );
    }
    for marked in [0.0].into_iter().chain(MARKED) {
        if position(marked) > nines + 1e-9 {
            continue;
        }
        let at = x.at(position(marked));
        svg.line("grid", (at, TOP), (at, bottom));
        let anchor = if right - at < 30.0 {
            Anchor::End
        } else {
            Anchor::Middle
        };
        // Written as ticks are: a percentage, not the name of a quantile.
        let label = format!("{} %", quantity_of(marked));
        svg.text("tick", (at, bottom + 20.0), anchor, &label);
    }
    svg.text(
        "tick",
        (f64::midpoint(LEFT, right), HEIGHT - 10.0),
        Anchor::Middle,
        "share of the attempts that were at least as fast",
    );
}

fn quantity_of(quantile_marked: f64) -> String {
    if quantile_marked == 0.0 {
        quantity(0.0)
    } else {
        quantile(quantile_marked).trim_start_matches('p').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::recorder::new_histogram;
    use crate::report::Unit;

    fn metric() -> Metric {
        let mut histogram = new_histogram();
        (1..=5000).for_each(|value| histogram.record(value).unwrap());
        Metric::new("response_time", "all", Unit::Microseconds, &histogram).unwrap()
    }

    #[test]
    fn a_curve_goes_from_the_fastest_to_the_slowest() {
        let curve = Curve::of(&metric(), "a", "first").unwrap();
        assert_eq!(curve.points.first().unwrap().1, 1.0);
        assert!((4990.0..5010.0).contains(&curve.points.last().unwrap().1));
        assert!(curve.points.is_sorted_by(|a, b| a.1 <= b.1));
        assert_eq!(
            curve.marks.len(),
            4,
            "99.99 % of 5000 attempts is no more than the maximum"
        );
    }

    #[test]
    fn a_plot_shows_limits_and_no_nonsense() {
        let curves = [Curve::of(&metric(), "<a>", "first").unwrap()];
        let html = draw(&curves, &[(0.99, 50_000.0, "p99<50ms".to_owned(), true)]);
        assert!(html.contains("p99&lt;50ms") && html.contains("99.9 %"));
        assert!(!html.contains("NaN") && !html.contains("inf") && !html.contains("<a>"));
        assert!(draw(&[], &[]).contains("no times"));
    }
}
