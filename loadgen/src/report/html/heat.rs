//! Latency over time as a heat map: one column per second (or few), one row per step of latency, the darker the more.
//!
//! A pause, a second mode or a queue that grows has a shape here that no quantile has.

use hdrhistogram::Histogram;

use super::svg::{Anchor, Scale, Svg, WIDTH};
use crate::report::number::{count, round_time, time};
use crate::report::{SecondOfRun, metric};

const HEIGHT: f64 = 320.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Most columns: with more they would be too narrow to see.
const COLUMNS: usize = 300;
/// Rows.
const ROWS: usize = 44;
/// Steps of the colour scale.
const LEVELS: usize = 9;

/// Some seconds together.
struct Column {
    from: u64,
    seconds: u64,
    measured: bool,
    histogram: Histogram<u32>,
}

/// The map; `None` for a result that has no histogram per second.
pub(crate) fn draw(seconds: &[SecondOfRun]) -> Option<String> {
    let columns = columns(seconds);
    let low = columns.iter().map(|column| column.histogram.min()).min()?;
    let high = columns.iter().map(|column| column.histogram.max()).max()?;
    let first = seconds.first()?.second;
    let end = seconds.last()?.second + 1;
    let x = Scale::linear(first as f64, end as f64, LEFT, WIDTH - RIGHT);
    let y = Scale::logarithmic(
        low.max(1) as f64 / 1.15,
        high.max(2) as f64 * 1.15,
        HEIGHT - BOTTOM,
        TOP,
    );
    let mut svg = Svg::new(HEIGHT, "Response time over time");
    axes(&mut svg, &x, &y);
    cells(&mut svg, &columns, &x);
    quantiles(&mut svg, &columns, &x, &y);
    words(&mut svg, &columns, &x);
    Some(svg.finish())
}

fn columns(seconds: &[SecondOfRun]) -> Vec<Column> {
    let width = seconds.len().div_ceil(COLUMNS).max(1);
    let mut columns: Vec<Column> = Vec::new();
    for second in seconds {
        let Some(histogram) = second
            .histogram
            .as_deref()
            .and_then(metric::decode::<u32>)
            .filter(|histogram| !histogram.is_empty())
        else {
            continue;
        };
        let from = second.second / width as u64 * width as u64;
        match columns.last_mut() {
            Some(column) if column.from == from && column.measured == second.measured => {
                // Cannot fail where the bounds are the same; of another file's odd second the picture loses one cell.
                let _ = column.histogram.add(histogram);
            }
            _ => columns.push(Column {
                from,
                seconds: width as u64,
                measured: second.measured,
                histogram,
            }),
        }
    }
    columns
}

fn axes(svg: &mut Svg, x: &Scale, y: &Scale) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in y.ticks(8) {
        svg.line("grid", (LEFT, y.at(tick)), (right, y.at(tick)));
        svg.text(
            "tick",
            (LEFT - 8.0, y.at(tick) + 4.0),
            Anchor::End,
            &round_time(tick),
        );
    }
    for tick in x.ticks(12).into_iter().filter(|tick| tick.fract() == 0.0) {
        svg.text(
            "tick",
            (x.at(tick), bottom + 20.0),
            Anchor::Middle,
            &format!("{tick} s"),
        );
    }
    svg.text(
        "tick",
        (f64::midpoint(LEFT, right), HEIGHT - 6.0),
        Anchor::Middle,
        "since the load began",
    );
}

fn cells(svg: &mut Svg, columns: &[Column], x: &Scale) {
    let row_height = (HEIGHT - TOP - BOTTOM) / ROWS as f64;
    let mut most = 1;
    let filled: Vec<(f64, Vec<u64>)> = columns
        .iter()
        .map(|column| {
            let rows = rows(&column.histogram, columns);
            most = rows.iter().copied().max().unwrap_or(0).max(most);
            (x.at(column.from as f64), rows)
        })
        .collect();
    let mut levels: Vec<Vec<(f64, f64)>> = vec![Vec::new(); LEVELS];
    for (at, rows) in &filled {
        for (row, here) in rows.iter().enumerate().filter(|(_, here)| **here > 0) {
            // Logarithmic: a single straggler is seen beside thousands.
            let share = (*here as f64 + 1.0).ln() / (most as f64 + 1.0).ln();
            let level = ((share * LEVELS as f64) as usize).min(LEVELS - 1);
            let top = HEIGHT - BOTTOM - (row + 1) as f64 * row_height;
            if let Some(corners) = levels.get_mut(level) {
                corners.push((*at, top));
            }
        }
    }
    for (level, corners) in levels.iter().enumerate() {
        let width = columns.first().map_or(1.0, |column| {
            x.at((column.from + column.seconds) as f64) - x.at(column.from as f64)
        });
        svg.cells(&format!("heat{level}"), corners, (width, row_height));
    }
}

/// How many of a column's samples fall into each row, the fastest row first.
fn rows(histogram: &Histogram<u32>, all: &[Column]) -> Vec<u64> {
    let low = all.iter().map(|column| column.histogram.min()).min();
    let high = all.iter().map(|column| column.histogram.max()).max();
    let row_of = Scale::logarithmic(
        low.unwrap_or(1).max(1) as f64 / 1.15,
        high.unwrap_or(2).max(2) as f64 * 1.15,
        0.0,
        ROWS as f64,
    );
    let mut rows = vec![0; ROWS];
    for value in histogram.iter_recorded() {
        let row = (row_of.at(value.value_iterated_to() as f64) as usize).min(ROWS - 1);
        if let Some(row) = rows.get_mut(row) {
            *row += value.count_since_last_iteration();
        }
    }
    rows
}

fn quantiles(svg: &mut Svg, columns: &[Column], x: &Scale, y: &Scale) {
    for (class, quantile) in [("line median", 0.5), ("line tail", 0.99)] {
        // Where nothing was completed there is nothing to connect.
        let neighbours = |a: &Column, b: &Column| a.from + a.seconds >= b.from;
        for columns in columns.chunk_by(neighbours) {
            let points: Vec<_> = columns
                .iter()
                .map(|column| {
                    let middle = column.from as f64 + column.seconds as f64 / 2.0;
                    let value = column.histogram.value_at_quantile(quantile);
                    (x.at(middle), y.at(value as f64))
                })
                .collect();
            svg.curve(class, &points);
        }
    }
}

fn words(svg: &mut Svg, columns: &[Column], x: &Scale) {
    let bottom = HEIGHT - BOTTOM;
    let warmed = columns
        .iter()
        .take_while(|column| !column.measured)
        .last()
        .map(|column| column.from + column.seconds);
    if let Some(warmed) = warmed {
        let at = x.at(warmed as f64);
        svg.line("border", (at, TOP), (at, bottom));
        svg.text(
            "tick",
            (at + 6.0, TOP + 12.0),
            Anchor::Start,
            "the window begins",
        );
    }
    for column in columns {
        let at = x.at(column.from as f64);
        let width = x.at((column.from + column.seconds) as f64) - at;
        let value = |quantile| time(column.histogram.value_at_quantile(quantile) as f64);
        let word = format!(
            "second {}: {} ok, p50 {}, p99 {}, max {}",
            column.from,
            count(column.histogram.len()),
            value(0.5),
            value(0.99),
            value(1.0)
        );
        svg.rectangle("pointer", (at, TOP), (width, bottom - TOP), &word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Second;

    fn second(index: u64, values: std::ops::Range<u64>) -> SecondOfRun {
        let mut histogram = Second::new(index).response;
        values.for_each(|value| histogram.record(value).unwrap());
        SecondOfRun {
            histogram: metric::encode(&histogram),
            ..SecondOfRun::empty(index, true)
        }
    }

    #[test]
    fn every_sample_is_in_one_cell() {
        let seconds = [second(0, 100..200), second(1, 100..100_000)];
        let columns = columns(&seconds);
        for column in &columns {
            let drawn: u64 = rows(&column.histogram, &columns).iter().sum();
            assert_eq!(drawn, column.histogram.len());
        }
        let html = draw(&seconds).unwrap();
        assert!(html.contains("heat8") && html.contains("second 1: 99,900 ok"));
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn long_runs_have_wider_columns_and_old_results_no_map() {
        let seconds: Vec<_> = (0..1000).map(|index| second(index, 5..9)).collect();
        assert_eq!(columns(&seconds).len(), 250);
        assert!(draw(&[SecondOfRun::empty(0, true)]).is_none());
        assert!(draw(&[]).is_none());
    }
}
