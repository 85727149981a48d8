//! Latency by percentile: each further nine as wide as the last, times on a logarithmic scale.
//!
//! On such axes a tail is as easy to read as a median, and a queue shows as a bend.

use std::fmt::Write as _;

use super::escape;

const HEIGHT: f64 = 330.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;
/// Room that a label needs.
const LABEL: f64 = 50.0;

/// One curve.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// What it is of.
    pub(crate) label: String,
    /// (quantile, milliseconds), ascending.
    pub(crate) points: Vec<(f64, f64)>,
    /// Number of its colour, 0 to 3.
    pub(crate) colour: usize,
}

/// From data to pixels.
struct Axes {
    width: f64,
    nines: f64,
    low: f64,
    high: f64,
}

impl Axes {
    fn new(width: f64, curves: &[Curve]) -> Axes {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let times = || points().map(|point| point.1.max(1e-3));
        Axes {
            width,
            nines: points().map(|point| position(point.0)).fold(2.0, f64::max),
            low: times().fold(f64::INFINITY, f64::min).min(1e6) / 1.25,
            high: times().fold(0.0, f64::max).max(1e-2) * 1.25,
        }
    }

    fn x(&self, quantile: f64) -> f64 {
        LEFT + position(quantile) / self.nines * (self.width - LEFT - RIGHT)
    }

    fn y(&self, milliseconds: f64) -> f64 {
        let share = (milliseconds.max(1e-3) / self.low).ln() / (self.high / self.low).ln();
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    /// 1, 2 and 5 of each decade, or fewer where they would crowd.
    fn ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades > 2.5 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        (-3..5)
            .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

/// The number of nines: 0.9 is 1, 0.99 is 2.
fn position(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-7).log10()
}

/// The curves, with axes.
pub(crate) fn draw(width: f64, name: &str, curves: &[Curve]) -> String {
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return "<p>There are no times to plot.</p>".to_owned();
    }
    let axes = Axes::new(width, curves);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escape(name)
    );
    draw_axes(&mut svg, &axes);
    for curve in curves {
        let mut path = String::new();
        for (index, (quantile, milliseconds)) in curve.points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let (x, y) = (axes.x(*quantile), axes.y(*milliseconds));
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        let _ = writeln!(
            svg,
            "<path class=\"line{}\" d=\"{path}\"><title>{}</title></path>",
            curve.colour,
            escape(&curve.label)
        );
    }
    svg.push_str("</svg>");
    svg
}

fn draw_axes(svg: &mut String, axes: &Axes) {
    let (right, bottom) = (axes.width - RIGHT, HEIGHT - BOTTOM);
    for tick in axes.ticks() {
        let y = axes.y(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick} ms</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    let quantiles = [
        (0.0, "fastest"),
        (0.5, "50 %"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
        (0.99999, "99.999 %"),
    ];
    for (quantile, label) in quantiles {
        let x = axes.x(quantile);
        let crowded = quantile == 0.0 && axes.x(0.5) - x < LABEL;
        if crowded || position(quantile) > axes.nines + 1e-9 {
            continue;
        }
        // The outermost label would be cut off if it were centred.
        let anchor = match right - x {
            room if room < 24.0 => "end",
            _ => "middle",
        };
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
            bottom + 16.0
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">this share of the operations was at least as fast</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 8.0
    );
}

/// Which colour is which curve, as HTML.
pub(crate) fn legend(curves: &[Curve]) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for curve in curves {
        let _ = write!(
            html,
            "<li><i class=\"back{}\"></i>{}</li>",
            curve.colour,
            escape(&curve.label)
        );
    }
    html.push_str("</ul>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_is_as_wide_as_the_last() {
        let curves = [Curve {
            label: "a".to_owned(),
            points: vec![(0.0, 1.0), (0.9, 2.0), (0.99, 4.0), (0.999, 80.0)],
            colour: 0,
        }];
        let axes = Axes::new(500.0, &curves);
        let steps = [0.0, 0.9, 0.99, 0.999].map(|quantile| axes.x(quantile));
        assert!((steps[1] - steps[0] - (steps[3] - steps[2])).abs() < 1e-6);
        assert!(axes.y(80.0) < axes.y(1.0) && axes.y(80.0) > 0.0);
        assert_eq!(axes.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        let svg = draw(500.0, "n", &curves);
        assert!(svg.contains("99.9 %") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(draw(500.0, "n", &[]).contains("no times"));
    }
}
