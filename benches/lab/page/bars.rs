//! Horizontal bars: one quantity, a few things that have it.

use std::fmt::Write as _;

use super::escape;
use crate::number::plain;

const ROW: f64 = 50.0;
const BAR: f64 = 18.0;

/// One bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// What it is of.
    pub(crate) label: String,
    /// Its length; nothing is drawn for `None`.
    pub(crate) value: Option<f64>,
    /// Number of its colour, 0 to 3.
    pub(crate) colour: usize,
}

/// Bars on a common scale that begins at nothing.
pub(crate) fn draw(width: f64, name: &str, unit: &str, bars: &[Bar]) -> String {
    let most = bars.iter().filter_map(|bar| bar.value).fold(0.0, f64::max);
    let height = ROW * bars.len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(name)
    );
    for (index, bar) in bars.iter().enumerate() {
        let top = ROW * index as f64;
        let label = escape(&bar.label);
        let value = bar.value.map_or_else(
            || "not measured".to_owned(),
            |value| format!("{} {unit}", plain(value)),
        );
        let length = match bar.value {
            Some(value) if most > 0.0 => (value / most * width).max(1.0),
            _ => 0.0,
        };
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{0:.1}\">{label}</text>\
             <text class=\"value\" x=\"{width}\" y=\"{0:.1}\" text-anchor=\"end\">{1}</text>\
             <rect class=\"track\" x=\"0\" y=\"{2:.1}\" width=\"{width}\" height=\"{BAR}\" rx=\"4\"/>\
             <rect class=\"fill{3}\" x=\"0\" y=\"{2:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"4\"/>",
            top + 14.0,
            escape(&value),
            top + 20.0,
            bar.colour
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width() {
        let bar = |value| Bar {
            label: "a".to_owned(),
            value,
            colour: 0,
        };
        let svg = draw(
            400.0,
            "n",
            "µs",
            &[bar(Some(50.0)), bar(Some(100.0)), bar(None)],
        );
        assert!(
            svg.contains("width=\"200.0\"") && svg.contains("width=\"400.0\""),
            "{svg}"
        );
        assert!(svg.contains("50.0 µs") && svg.contains("not measured"));
        assert!(draw(400.0, "n", "µs", &[]).contains("<svg"));
    }
}
