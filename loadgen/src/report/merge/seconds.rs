//! The series of several machines as one, second by second of the wall clock.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use time::OffsetDateTime;

use super::sum::{add_errors, add_handshakes};
use super::{MergeError, Part};
use crate::report::{SecondOfRun, metric};

/// What is known of one second so far.
struct Sum {
    second: SecondOfRun,
    histogram: Option<Histogram<u32>>,
    /// Whether a part completed attempts and kept no histogram of them.
    incomplete: bool,
}

/// The seconds of all parts, counted from `origin`. Machines whose load began less than half a second apart share their seconds.
pub(super) fn merged(
    parts: &[Part<'_>],
    origin: OffsetDateTime,
) -> Result<Vec<SecondOfRun>, MergeError> {
    let mut sums: BTreeMap<u64, Sum> = BTreeMap::new();
    for part in parts {
        let later = (part.began - origin).as_seconds_f64().round().max(0.0) as u64;
        for second in &part.result.seconds {
            let index = second.second.saturating_add(later);
            let sum = sums.entry(index).or_insert_with(|| Sum {
                second: SecondOfRun::empty(index, false),
                histogram: None,
                incomplete: false,
            });
            add(sum, second, part.file)?;
        }
    }
    Ok(sums.into_values().map(finished).collect())
}

fn add(sum: &mut Sum, other: &SecondOfRun, file: &str) -> Result<(), MergeError> {
    let SecondOfRun {
        second: index,
        measured,
        intended,
        started,
        ok,
        refused_as_expected,
        failed,
        overflow,
        open,
        p50_ms: _,
        p99_ms: _,
        max_ms,
        handshakes,
        errors,
        lag_ms,
        busiest_shard,
        histogram,
    } = other;
    let into = &mut sum.second;
    into.measured |= measured;
    into.intended += intended;
    into.started += started;
    into.ok += ok;
    into.refused_as_expected += refused_as_expected;
    into.failed += failed;
    into.overflow += overflow;
    into.open += open;
    into.max_ms = larger(into.max_ms, *max_ms);
    if let Some(handshakes) = handshakes {
        add_handshakes(into.handshakes.get_or_insert_default(), *handshakes);
    }
    add_errors(&mut into.errors, errors);
    into.lag_ms = larger(into.lag_ms, *lag_ms);
    into.busiest_shard = larger(into.busiest_shard, *busiest_shard);
    let Some(text) = histogram else {
        sum.incomplete |= *ok > 0;
        return Ok(());
    };
    let damaged = || MergeError::Damaged {
        file: file.to_owned(),
        what: format!("second {index}"),
    };
    let histogram: Histogram<u32> = metric::decode(text).ok_or_else(damaged)?;
    match &mut sum.histogram {
        Some(all) => all.add(histogram).map_err(|_| damaged())?,
        None => sum.histogram = Some(histogram),
    }
    Ok(())
}

fn larger(first: Option<f64>, second: Option<f64>) -> Option<f64> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.max(second)),
        (first, second) => first.or(second),
    }
}

fn finished(sum: Sum) -> SecondOfRun {
    let mut second = sum.second;
    if let (Some(histogram), false) = (sum.histogram, sum.incomplete) {
        let milliseconds = |quantile| Some(histogram.value_at_quantile(quantile) as f64 / 1e3);
        second.p50_ms = milliseconds(0.5);
        second.p99_ms = milliseconds(0.99);
        second.max_ms = milliseconds(1.0);
        second.histogram = metric::encode(&histogram);
    }
    second
}
