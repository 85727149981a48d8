//! Drawing: scales from data to pixels, and the few shapes that the plots are made of. Colours are the style sheet's.

use std::fmt::Write as _;

use super::element::escape;

/// Width of every plot in user units; the page scales it.
pub(crate) const WIDTH: f64 = 1000.0;

/// From a value to a position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// Equal differences are equally far apart. Values from `low` to `high` lie between `from` and `to`.
    pub(crate) fn linear(low: f64, high: f64, from: f64, to: f64) -> Scale {
        Scale {
            low,
            high: if high > low { high } else { low + 1.0 },
            from,
            to,
            logarithmic: false,
        }
    }

    /// Equal ratios are equally far apart; the bounds must be more than nothing.
    pub(crate) fn logarithmic(low: f64, high: f64, from: f64, to: f64) -> Scale {
        let low = low.max(f64::MIN_POSITIVE);
        Scale {
            low,
            high: if high > low { high } else { low * 10.0 },
            from,
            to,
            logarithmic: true,
        }
    }

    /// Where `value` lies; values outside lie on the border.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let share = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round values within the scale, about `wanted` of them.
    pub(crate) fn ticks(&self, wanted: usize) -> Vec<f64> {
        if self.logarithmic {
            self.decades(wanted)
        } else {
            self.steps(wanted)
        }
    }

    fn decades(&self, wanted: usize) -> Vec<f64> {
        let within = |steps: &[f64]| -> Vec<f64> {
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            (first..=last)
                .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect()
        };
        let candidates = [
            within(&[1.0, 2.0, 5.0]),
            within(&[1.0, 3.0]),
            within(&[1.0]),
        ];
        let [fine, middle, coarse] = candidates;
        [fine, middle]
            .into_iter()
            .find(|ticks| ticks.len() <= wanted)
            .unwrap_or(coarse)
    }

    fn steps(&self, wanted: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * decade)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

/// Which end of a text is where it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// A drawing that grows.
#[derive(Debug)]
pub(crate) struct Svg(String);

impl Svg {
    /// An empty drawing that says to those who cannot see it what it shows.
    pub(crate) fn new(height: f64, description: &str) -> Svg {
        Svg(format!(
            "<div class=\"plot\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
            escape(description)
        ))
    }

    /// The finished drawing, as HTML.
    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</svg></div>\n");
        self.0
    }

    /// A straight line.
    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = writeln!(
            self.0,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A text.
    pub(crate) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.0,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            at.0,
            at.1,
            escape(text)
        );
    }

    /// A line through points; nothing with fewer than two.
    pub(crate) fn curve(&mut self, class: &str, points: &[(f64, f64)]) {
        if points.len() > 1 {
            let _ = writeln!(self.0, "<path class=\"{class}\" d=\"{}\"/>", path(points));
        }
    }

    /// The area between a curve and the height `base`.
    pub(crate) fn area(&mut self, class: &str, points: &[(f64, f64)], base: f64) {
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            let _ = writeln!(
                self.0,
                "<path class=\"{class}\" d=\"M{:.1} {base:.1}{}L{:.1} {base:.1}Z\"/>",
                first.0,
                path(points).replacen('M', "L", 1),
                last.0
            );
        }
    }

    /// A rectangle with a word that appears when it is pointed at; an empty word is none.
    pub(crate) fn rectangle(&mut self, class: &str, at: (f64, f64), size: (f64, f64), title: &str) {
        let _ = writeln!(
            self.0,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\">{}</rect>",
            at.0,
            at.1,
            size.0.max(0.0),
            size.1.max(0.0),
            titled(title)
        );
    }

    /// A point with a word that appears when it is pointed at.
    pub(crate) fn point(&mut self, class: &str, at: (f64, f64), title: &str) {
        let _ = writeln!(
            self.0,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\">{}</circle>",
            at.0,
            at.1,
            titled(title)
        );
    }

    /// Many rectangles of one size and class, as one shape; nothing if there are none.
    pub(crate) fn cells(&mut self, class: &str, corners: &[(f64, f64)], size: (f64, f64)) {
        if corners.is_empty() {
            return;
        }
        let mut shape = String::new();
        let (width, height) = size;
        for (x, y) in corners {
            let _ = write!(shape, "M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z");
        }
        let _ = writeln!(self.0, "<path class=\"{class}\" d=\"{shape}\"/>");
    }
}

fn titled(title: &str) -> String {
    match title {
        "" => String::new(),
        title => format!("<title>{}</title>", escape(title)),
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{command}{x:.1} {y:.1}");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_keep_their_promises() {
        let linear = Scale::linear(0.0, 200.0, 10.0, 110.0);
        assert_eq!(
            (linear.at(0.0), linear.at(100.0), linear.at(900.0)),
            (10.0, 60.0, 110.0)
        );
        assert_eq!(linear.ticks(4), [0.0, 50.0, 100.0, 150.0, 200.0]);
        let log = Scale::logarithmic(1.0, 10_000.0, 0.0, 4.0);
        assert!((log.at(100.0) - 2.0).abs() < 1e-9);
        assert_eq!(log.ticks(6), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(
            Scale::logarithmic(1.0, 10.0, 0.0, 1.0).ticks(6),
            [1.0, 2.0, 5.0, 10.0]
        );
    }

    #[test]
    fn scales_of_one_value_are_finite() {
        for scale in [
            Scale::linear(5.0, 5.0, 0.0, 1.0),
            Scale::logarithmic(5.0, 5.0, 0.0, 1.0),
            Scale::logarithmic(0.0, 0.0, 0.0, 1.0),
        ] {
            assert!(scale.at(5.0).is_finite());
            assert!(scale.ticks(5).len() < 2000);
        }
    }

    #[test]
    fn words_in_a_drawing_are_escaped() {
        let mut svg = Svg::new(10.0, "<b>");
        svg.text("x", (0.0, 0.0), Anchor::Start, "<script>");
        svg.rectangle("x", (0.0, 0.0), (1.0, 1.0), "<script>");
        svg.point("x", (0.0, 0.0), "<script>");
        let svg = svg.finish();
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
    }
}
