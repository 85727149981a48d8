//! A result as CSV (RFC 4180), for spreadsheets and notebooks: the series, and the quantiles of every metric.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::number::plain;
use super::{RunResult, SecondOfRun, metric};

/// Heading of the series.
const SERIES: &str = "second,measured,intended,started,ok,failed,overflow,open,full,full_hrr,resumed,\
    p50_ms,p90_ms,p99_ms,p99_9_ms,max_ms,lag_ms,busiest_shard\r\n";
/// Heading of the quantiles.
const QUANTILES: &str = "metric,operation,unit,quantile,value,count\r\n";

/// One line per second of the run. A cell is empty where nothing is known.
pub fn series(result: &RunResult) -> String {
    let mut text = SERIES.to_owned();
    for second in &result.seconds {
        text += &line_of(second);
    }
    text
}

fn line_of(second: &SecondOfRun) -> String {
    let histogram: Option<Histogram<u32>> = second.histogram.as_deref().and_then(metric::decode);
    let quantile = |quantile: f64| {
        histogram
            .as_ref()
            .map(|histogram| histogram.value_at_quantile(quantile) as f64 / 1e3)
    };
    let handshakes = second.handshakes;
    let cells = [
        Some(second.second as f64),
        Some(f64::from(u8::from(second.measured))),
        Some(second.intended as f64),
        Some(second.started as f64),
        Some(second.ok as f64),
        Some(second.failed as f64),
        Some(second.overflow as f64),
        Some(second.open as f64),
        handshakes.map(|kinds| kinds.full as f64),
        handshakes.map(|kinds| kinds.full_hrr as f64),
        handshakes.map(|kinds| kinds.resumed as f64),
        second.p50_ms,
        quantile(0.9),
        second.p99_ms,
        quantile(0.999),
        second.max_ms,
        second.lag_ms,
        second.busiest_shard,
    ];
    let cells = cells.map(|cell| cell.map_or(String::new(), |value| value.to_string()));
    cells.join(",") + "\r\n"
}

/// Every metric at every per cent, and beyond the 99th at every tenth of what is left, as far as its samples reach. `value` is in the
/// metric's unit, `count` the number of its samples.
pub fn quantiles(result: &RunResult) -> String {
    let mut text = QUANTILES.to_owned();
    for metric in &result.metrics {
        let Some(histogram) = metric.decode() else {
            continue;
        };
        let unit = match metric.unit {
            super::Unit::Microseconds => "us",
            super::Unit::Bytes => "bytes",
        };
        for quantile in steps(metric.count) {
            let value = histogram.value_at_quantile(quantile).min(histogram.max());
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{},{},{unit},{quantile},{value},{}\r\n",
                cell(&metric.name),
                cell(&metric.operation),
                metric.count
            );
        }
    }
    text
}

/// 0, 0.01, … 0.99, 0.991, … 0.999, 0.9991 … as long as fewer than one in `samples` lies beyond, and 1.
fn steps(samples: u64) -> Vec<f64> {
    // In whole hundred-millionths, so that the steps are exact.
    const WHOLE: u64 = 100_000_000;
    let mut steps: Vec<u64> = (0..=99).map(|percent| percent * WHOLE / 100).collect();
    let mut beyond = WHOLE / 1000;
    while beyond > 0 && samples.saturating_mul(beyond) >= WHOLE {
        let from = WHOLE - 10 * beyond;
        steps.extend((1..=9).map(|step| from + step * beyond));
        beyond /= 10;
    }
    steps.push(WHOLE);
    steps
        .iter()
        .map(|step| *step as f64 / WHOLE as f64)
        .collect()
}

/// A text as one cell that no spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let text = plain(text);
    let guarded = if text.starts_with(['=', '+', '-', '@']) {
        format!("'{text}")
    } else {
        text
    };
    if guarded.contains([',', '"']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_as_many_cells_as_the_heading() {
        let line = line_of(&SecondOfRun::empty(3, true));
        assert_eq!(line.matches(',').count(), SERIES.matches(',').count());
        assert!(line.starts_with("3,1,0,"), "{line}");
    }

    #[test]
    fn quantiles_reach_as_far_as_the_samples() {
        assert_eq!(steps(50).len(), 101);
        let steps = steps(20_000);
        assert!(steps.is_sorted());
        assert!(steps.contains(&0.9999) && !steps.contains(&0.99999));
        assert_eq!(steps.last(), Some(&1.0));
    }

    #[test]
    fn cells_are_neither_formulas_nor_two() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
