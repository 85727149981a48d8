//! The results of a plan's segments as one result: counts added, histograms merged exactly, seconds aligned by the clock.
//!
//! Only what belongs together is merged: segments of one plan, each once. The verdict is the worst of theirs; thresholds are judged
//! anew on the whole. Reads and writes no files.

mod seconds;
mod sum;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::difference::{self, Difference};
use super::{RunResult, SegmentOfRun, ThresholdOutcome, Validity, WatchedProcess};
use crate::measure::Verdict;
use crate::plan::Segment;

/// Choices that the segments of one plan may differ in: what is of the machine and not of the plan.
const MAY_DIFFER: [&str; 9] = [
    "ca",
    "faults",
    "next_pki",
    "pki",
    "segment",
    "shards",
    "source_addresses",
    "target.connect_to",
    "watch_pids",
];
/// Share of the longest window in which all segments must have measured.
const TOGETHER: f64 = 0.9;

/// Why results cannot be merged. The names are those of their files.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MergeError {
    /// One or none.
    #[error("there is nothing to merge: name the results of all segments")]
    TooFew,
    /// A run of a whole plan.
    #[error(
        "{file} is the run of a whole plan, not of one of its segments (--segment): adding it to others would count its devices twice"
    )]
    Whole {
        /// The file.
        file: String,
    },
    /// Segments of different splits.
    #[error(
        "{file} is segment {segment}, but {other} is segment {other_segment}: they are not of one split"
    )]
    OtherSplit {
        /// The file.
        file: String,
        /// Its segment.
        segment: String,
        /// The first file.
        other: String,
        /// That one's.
        other_segment: String,
    },
    /// The same segment twice.
    #[error("{file} and {other} are both segment {segment}")]
    Twice {
        /// The file.
        file: String,
        /// The one before.
        other: String,
        /// Their segment.
        segment: String,
    },
    /// Another plan.
    #[error("{file} was told something else than {other}: {difference}")]
    OtherChoice {
        /// The file.
        file: String,
        /// The first file.
        other: String,
        /// What.
        difference: Difference,
    },
    /// A histogram that cannot be read or does not fit the others.
    #[error("{file}: the histogram of {what} is damaged")]
    Damaged {
        /// The file.
        file: String,
        /// Of which metric.
        what: String,
    },
    /// A time that is none.
    #[error("{file}: `{text}` is not a time")]
    Time {
        /// The file.
        file: String,
        /// The text.
        text: String,
    },
}

/// One segment's result, with what is needed of it often.
struct Part<'a> {
    file: &'a str,
    result: &'a RunResult,
    /// When its load began, by its machine's clock.
    began: OffsetDateTime,
    /// When its window began and ended.
    window: (OffsetDateTime, OffsetDateTime),
}

/// Merges results, each with the name of its file.
///
/// # Errors
///
/// Everything that stands against it.
pub fn merge(results: &[(String, RunResult)]) -> Result<RunResult, Vec<MergeError>> {
    let [(first_name, first), _, ..] = results else {
        return Err(vec![MergeError::TooFew]);
    };
    let mut errors = check_segments(results);
    for (file, result) in results {
        errors.extend(check_choices((first_name, first), (file, result)));
    }
    let mut parts = Vec::new();
    for (file, result) in results {
        match part(file, result) {
            Ok(part) => parts.push(part),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    parts.sort_by_key(|part| part.result.run.segment);
    joined(&parts).map_err(|error| vec![error])
}

fn check_segments(results: &[(String, RunResult)]) -> Vec<MergeError> {
    let mut errors = Vec::new();
    let mut seen: BTreeMap<Segment, &str> = BTreeMap::new();
    let mut split: Option<(&str, Segment)> = None;
    for (file, result) in results {
        let segment = result.run.segment;
        if segment.of() < 2 {
            errors.push(MergeError::Whole { file: file.clone() });
            continue;
        }
        let (other, other_segment) = *split.get_or_insert((file, segment));
        if segment.of() != other_segment.of() {
            errors.push(MergeError::OtherSplit {
                file: file.clone(),
                segment: segment.to_string(),
                other: other.to_owned(),
                other_segment: other_segment.to_string(),
            });
        } else if let Some(other) = seen.insert(segment, file) {
            errors.push(MergeError::Twice {
                file: file.clone(),
                other: other.to_owned(),
                segment: segment.to_string(),
            });
        }
    }
    errors
}

fn check_choices(
    (other, first): (&str, &RunResult),
    (file, result): (&str, &RunResult),
) -> Vec<MergeError> {
    difference::between(first, result)
        .into_iter()
        .filter(|difference| !difference.is_any_of(&MAY_DIFFER))
        .map(|difference| MergeError::OtherChoice {
            file: file.to_owned(),
            other: other.to_owned(),
            difference,
        })
        .collect()
}

fn part<'a>(file: &'a str, result: &'a RunResult) -> Result<Part<'a>, MergeError> {
    let wrong = |text: &str| MergeError::Time {
        file: file.to_owned(),
        text: text.to_owned(),
    };
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong(text));
    let run = &result.run;
    let window_began = time(&run.started_at)?;
    let length = Duration::try_from_secs_f64(run.window_seconds)
        .map_err(|_| wrong(&run.window_seconds.to_string()))?;
    let add = |to: OffsetDateTime, length: Duration| {
        let length = time::Duration::try_from(length).ok()?;
        to.checked_add(length)
    };
    Ok(Part {
        file,
        result,
        began: match &run.load_started_at {
            Some(text) => time(text)?,
            None => window_began,
        },
        window: (
            window_began,
            add(window_began, length).ok_or_else(|| wrong(&run.started_at))?,
        ),
    })
}

/// The whole of parts that belong together, of which there are at least two.
fn joined(parts: &[Part<'_>]) -> Result<RunResult, MergeError> {
    let mut whole = sum::of(parts)?;
    let moment = |of: fn(&Part<'_>) -> OffsetDateTime| parts.iter().map(of);
    if let (Some(began), Some(ended), Some(load_began)) = (
        moment(|part| part.window.0).min(),
        moment(|part| part.window.1).max(),
        moment(|part| part.began).min(),
    ) {
        let text = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        whole.run.started_at = text(began);
        whole.run.load_started_at = Some(text(load_began));
        whole.run.window_seconds = (ended - began).as_seconds_f64();
        whole.seconds = seconds::merged(parts, load_began)?;
    }
    whole.run.segment = Segment::WHOLE;
    whole.choices.segment = Segment::WHOLE;
    let window = whole.run.window_seconds;
    whole.rate_per_second = whole.counts.rate(window);
    for scenario in &mut whole.scenarios {
        scenario.rate_per_second = scenario.counts.rate(window);
    }
    whole.validity = validity(parts);
    whole.watched = watched(parts, &whole);
    // Each generator's own costs are its own.
    whole.generator = None;
    whole.segments = parts.iter().map(segment).collect();
    whole.thresholds = whole
        .choices
        .thresholds
        .iter()
        .map(|threshold| ThresholdOutcome::of(threshold, &whole))
        .collect();
    Ok(whole)
}

fn validity(parts: &[Part<'_>]) -> Validity {
    let all = || parts.iter().map(|part| &part.result.validity);
    let largest = |of: fn(&Validity) -> Option<f64>| all().filter_map(of).reduce(f64::max);
    let mut findings: Vec<(Verdict, String)> = parts
        .iter()
        .flat_map(|part| {
            let validity = &part.result.validity;
            let segment = part.result.run.segment;
            let reasons = validity.reasons.iter();
            reasons.map(move |reason| (validity.verdict, format!("segment {segment}: {reason}")))
        })
        .collect();
    findings.extend(absent(parts));
    findings.extend(apart(parts));
    // Stable: among equals in the order of the segments.
    findings.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
    let worst = all().map(|validity| validity.verdict);
    let found = findings.iter().map(|(verdict, _)| *verdict);
    Validity {
        verdict: worst.chain(found).max().unwrap_or(Verdict::Valid),
        reasons: findings.into_iter().map(|(_, reason)| reason).collect(),
        shard_cpu_shares: all().flat_map(|one| one.shard_cpu_shares.clone()).collect(),
        shard_waiting_shares: all()
            .flat_map(|one| one.shard_waiting_shares.clone())
            .collect(),
        steal_share: largest(|validity| validity.steal_share),
        throttled_share: largest(|validity| validity.throttled_share),
    }
}

/// Segments that are missing.
fn absent(parts: &[Part<'_>]) -> Option<(Verdict, String)> {
    let of = parts.first()?.result.run.segment.of();
    let present: Vec<_> = parts
        .iter()
        .map(|part| part.result.run.segment.index())
        .collect();
    let absent = of - present.len();
    (absent > 0).then(|| {
        // Of many only the first are named.
        let some: Vec<_> = (0..of)
            .filter(|index| !present.contains(index))
            .take(5)
            .map(|index| format!("{index}/{of}"))
            .collect();
        let more = if absent > some.len() {
            " and others"
        } else {
            ""
        };
        let reason = format!(
            "{absent} of {of} segments are missing: {}{more}",
            some.join(", ")
        );
        (Verdict::Suspect, reason)
    })
}

/// Segments that did not measure at the same time.
fn apart(parts: &[Part<'_>]) -> Option<(Verdict, String)> {
    let last_begin = parts.iter().map(|part| part.window.0).max()?;
    let first_end = parts.iter().map(|part| part.window.1).min()?;
    let longest = parts
        .iter()
        .map(|part| (part.window.1 - part.window.0).as_seconds_f64())
        .fold(0.0, f64::max);
    let together = (first_end - last_begin).as_seconds_f64().max(0.0);
    (together < TOGETHER * longest).then(|| {
        let reason = format!(
            "the segments measured together for {together:.1} s of {longest:.1} s only, by their machines' clocks: begin them with --start-at"
        );
        (Verdict::Suspect, reason)
    })
}

/// What the one segment that watched processes saw, for the attempts of all. Where several did nobody knows whether they watched the
/// same: what each saw is in the segments.
fn watched(parts: &[Part<'_>], whole: &RunResult) -> Option<WatchedProcess> {
    let mut watching = parts.iter().filter_map(|part| part.result.watched.as_ref());
    let (watched, None) = (watching.next()?, watching.next()) else {
        return None;
    };
    let mut watched = watched.clone();
    let operations = whole.counts.accepted;
    watched.operations = operations;
    watched.cpu_us_per_operation =
        (operations > 0).then(|| watched.cpu_seconds * 1e6 / operations as f64);
    let grown = watched.resident_bytes_end as f64 - watched.resident_bytes_before as f64;
    let open = whole.open_connections_at_end;
    watched.resident_bytes_per_connection = (open > 0 && grown > 0.0).then(|| grown / open as f64);
    Some(watched)
}

fn segment(part: &Part<'_>) -> SegmentOfRun {
    let result = part.result;
    SegmentOfRun {
        segment: result.run.segment,
        started_at: result.run.started_at.clone(),
        window_seconds: result.run.window_seconds,
        verdict: result.validity.verdict,
        host: result.host.clone(),
        counts: result.counts,
        rate_per_second: result.rate_per_second,
        watched: result.watched.clone(),
    }
}
