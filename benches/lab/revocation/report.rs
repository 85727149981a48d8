//! The report of `lab revocation`: every measurement, the figures made of them, and whether the bars were reached.

use std::collections::BTreeMap;
use std::time::Duration;

use loadgen::measure::Verdict;
use loadgen::report::Host;
use serde::{Deserialize, Serialize};

use super::bar::{self, Bar, Outcome};
use super::choices::Choices;
use super::cost::{Cell, Side, Start};
use super::live::Live;
use super::operation::Operation;
use super::reconnect::Reconnect;
use crate::build_profile;
use crate::statistics::{Estimate, estimate};

/// Name and version of the schema.
pub(crate) const SCHEMA: &str = "lab.revocation/1";

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// When it began, RFC 3339, UTC.
    pub(crate) started_at: String,
    /// How long it took.
    pub(crate) took_seconds: f64,
    /// Whether nothing went wrong and every bar that was judged was reached.
    pub(crate) passed: bool,
    /// What went wrong, in words.
    pub(crate) problems: Vec<String>,
    /// What to bear in mind.
    pub(crate) notes: Vec<String>,
    /// The machine.
    pub(crate) host: Host,
    /// The gateway's version and commit.
    pub(crate) gateway_version: String,
    /// Core of the gateways.
    pub(crate) server_core: usize,
    /// Core of devices, generator and upstream.
    pub(crate) generator_core: usize,
    /// What the experiments were told.
    pub(crate) choices: Choices,
    /// What was to be reached.
    pub(crate) bars: Vec<Bar>,
    /// Devices revoked while they were connected.
    pub(crate) live: Vec<Live>,
    /// CPU of handshakes with and without the long list.
    pub(crate) costs: Vec<Cost>,
    /// Start and memory with and without it.
    pub(crate) differences: Vec<Difference>,
    /// Bytes of a reconnect.
    pub(crate) reconnects: Vec<Reconnect>,
    /// Every measurement of CPU in the order in which they were made.
    pub(crate) cells: Vec<Cell>,
    /// Every start.
    pub(crate) starts: Vec<Start>,
}

/// CPU of one kind of connection, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// The connection.
    pub(crate) operation: Operation,
    /// Without any list.
    pub(crate) without: Option<Estimate>,
    /// With the long one.
    pub(crate) with: Option<Estimate>,
    /// With over without, round by round, then their median.
    pub(crate) ratio: Option<Estimate>,
}

/// What is compared of two starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    /// Time from the start of the process until it is ready, in seconds.
    Ready,
    /// Resident memory when it is ready, in megabytes.
    Resident,
    /// Resident memory when it has served, in megabytes.
    Served,
    /// The most resident memory until then, in megabytes.
    Peak,
}

impl Quantity {
    /// All.
    pub(super) const ALL: [Quantity; 4] = [
        Quantity::Ready,
        Quantity::Resident,
        Quantity::Served,
        Quantity::Peak,
    ];

    /// Its name in reports.
    pub(super) fn title(self) -> &'static str {
        match self {
            Quantity::Ready => "start to ready",
            Quantity::Resident => "resident when ready",
            Quantity::Served => "resident after serving",
            Quantity::Peak => "resident, peak",
        }
    }

    /// Of its figures.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Quantity::Ready => "s",
            Quantity::Resident | Quantity::Served | Quantity::Peak => "MB",
        }
    }

    fn of(self, start: &Start) -> f64 {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        match self {
            Quantity::Ready => start.ready_seconds,
            Quantity::Resident => megabytes(start.resident_ready),
            Quantity::Served => megabytes(start.resident_served),
            Quantity::Peak => megabytes(start.resident_peak),
        }
    }
}

/// One quantity of both gateways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Which.
    pub(crate) quantity: Quantity,
    /// Without any list.
    pub(crate) without: Option<Estimate>,
    /// With the long one.
    pub(crate) with: Option<Estimate>,
    /// With less without, round by round, then their median.
    pub(crate) difference: Option<Estimate>,
}

/// What the experiments found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) live: Vec<Live>,
    pub(super) reconnects: Vec<Reconnect>,
    pub(super) cells: Vec<Cell>,
    pub(super) starts: Vec<Start>,
}

/// What was found out beside the measurements.
#[derive(Debug)]
pub(super) struct Circumstances {
    pub(super) started_at: String,
    pub(super) took: Duration,
    pub(super) host: Host,
    pub(super) gateway_version: String,
    pub(super) server_core: usize,
    pub(super) generator_core: usize,
}

impl Report {
    /// Makes the figures and judges them.
    pub(super) fn new(known: Circumstances, choices: &Choices, findings: Findings) -> Report {
        let costs = costs(&findings.cells, choices.seed);
        let differences = differences(&findings.starts, choices.seed);
        let bars = bar::bars(
            choices.quick,
            &findings.live,
            &costs,
            &differences,
            &findings.reconnects,
        );
        let mut problems: Vec<String> = findings.live.iter().flat_map(Live::faults).collect();
        let missed = bars.iter().filter(|bar| bar.outcome == Outcome::Missed);
        problems.extend(missed.map(|bar| match bar.value {
            Some(value) => format!(
                "{}: {value:.3} {}, {} was to be reached",
                bar.what, bar.unit, bar.limit
            ),
            None => format!("{}: no figure", bar.what),
        }));
        let one_core = known.server_core == known.generator_core;
        Report {
            schema: SCHEMA.to_owned(),
            started_at: known.started_at,
            took_seconds: known.took.as_secs_f64(),
            passed: problems.is_empty(),
            problems,
            notes: notes(choices, &bars, &findings.cells, one_core),
            host: known.host,
            gateway_version: known.gateway_version,
            server_core: known.server_core,
            generator_core: known.generator_core,
            choices: choices.clone(),
            bars,
            live: findings.live,
            costs,
            differences,
            reconnects: findings.reconnects,
            cells: findings.cells,
            starts: findings.starts,
        }
    }
}

fn costs(cells: &[Cell], seed: u64) -> Vec<Cost> {
    let cost = |operation| {
        let [without, with] = Side::ALL.map(|side| by_round(cells, operation, side));
        let paired = pairs(&without, &with);
        // Rounds, not medians, are divided: what slowed a round slowed both.
        let ratios: Vec<f64> = paired
            .filter(|(without, _)| *without > 0.0)
            .map(|(without, with)| with / without)
            .collect();
        Cost {
            operation,
            without: estimate_of(&without, seed),
            with: estimate_of(&with, seed),
            ratio: estimate(&ratios, seed),
        }
    };
    Operation::ALL.map(cost).into()
}

/// CPU of each round that counts, in microseconds: all of it over all operations.
fn by_round(cells: &[Cell], operation: Operation, side: Side) -> BTreeMap<usize, f64> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for cell in cells {
        if cell.operation == operation && cell.side == side && cell.excluded.is_empty() {
            let sum = sums.entry(cell.round).or_default();
            sum.0 += cell.cpu_seconds * 1e6;
            sum.1 += cell.operations as f64;
        }
    }
    sums.into_iter()
        .filter(|(_, (_, operations))| *operations > 0.0)
        .map(|(round, (cpu, operations))| (round, cpu / operations))
        .collect()
}

fn differences(starts: &[Start], seed: u64) -> Vec<Difference> {
    let difference = |quantity: Quantity| {
        let [without, with] = Side::ALL.map(|side| {
            let of_side = starts.iter().filter(|start| start.side == side);
            of_side
                .map(|start| (start.round, quantity.of(start)))
                .collect::<BTreeMap<_, _>>()
        });
        let added: Vec<f64> = pairs(&without, &with)
            .map(|(without, with)| with - without)
            .collect();
        Difference {
            quantity,
            without: estimate_of(&without, seed),
            with: estimate_of(&with, seed),
            difference: estimate(&added, seed),
        }
    };
    Quantity::ALL.map(difference).into()
}

fn estimate_of(rounds: &BTreeMap<usize, f64>, seed: u64) -> Option<Estimate> {
    estimate(&rounds.values().copied().collect::<Vec<_>>(), seed)
}

/// Both values of each round that has both.
fn pairs(
    without: &BTreeMap<usize, f64>,
    with: &BTreeMap<usize, f64>,
) -> impl Iterator<Item = (f64, f64)> {
    without
        .iter()
        .filter_map(|(round, without)| Some((*without, *with.get(round)?)))
}

fn notes(choices: &Choices, bars: &[Bar], cells: &[Cell], one_core: bool) -> Vec<String> {
    let mut notes: Vec<String> = build_profile::note().into_iter().collect();
    for bar in bars.iter().filter(|bar| bar.is_uncertain()) {
        notes.push(format!(
            "{}: the median reaches the bar, the 95 % interval goes to {:.3} {}. More rounds (--rounds) would tell.",
            bar.what,
            bar.at_worst.unwrap_or_default(),
            bar.unit
        ));
    }
    let excluded = cells
        .iter()
        .filter(|cell| !cell.excluded.is_empty())
        .count();
    if excluded > 0 {
        notes.push(format!(
            "{excluded} of {} measurements of CPU do not count; the JSON says why.",
            cells.len()
        ));
    }
    let suspect = cells.iter().filter(|cell| cell.verdict == Verdict::Suspect);
    let suspect = suspect.count();
    if suspect > 0 {
        notes.push(format!(
            "The load generator had doubts about {suspect} of {} measurements of CPU, mostly because its core was busy: that bounds rates, not the gateway's CPU per operation.",
            cells.len()
        ));
    }
    if one_core {
        notes.push(
            "There was only one core: gateway and devices took turns on it, so times are longer than on two."
                .to_owned(),
        );
    }
    if choices.quick {
        notes.push(
            "This was a quick run: it shows that everything works; times and CPU are not judged."
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn report(change: impl FnOnce(&mut Findings)) -> Report {
        let mut findings = fixture::findings();
        change(&mut findings);
        Report::new(fixture::circumstances(), &fixture::choices(), findings)
    }

    #[test]
    fn ratios_and_differences_are_made_round_by_round() {
        let report = report(|_| ());
        let full = &report.costs[0];
        // Rounds cost 100, 150 and 200; the list adds one percent all along.
        assert_eq!(full.without.unwrap().median, 150.0);
        let ratio = full.ratio.unwrap();
        assert!((ratio.median - 1.01).abs() < 1e-9 && ratio.high - ratio.low < 1e-9);
        let ready = report.differences[0].difference.unwrap();
        assert!((ready.median - 1.2).abs() < 1e-9, "{ready:?}");
        let served = report.differences[2].difference.unwrap();
        assert!((served.median - 30.0).abs() < 1e-9, "{served:?}");
    }

    #[test]
    fn a_bar_that_is_missed_fails_the_run_and_is_named() {
        let report = report(|findings| {
            for start in &mut findings.starts {
                start.resident_served *= if start.side == Side::With { 9 } else { 1 };
            }
        });
        assert!(!report.passed);
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        assert!(report.problems[0].contains("added to resident memory"));
    }

    #[test]
    fn what_does_not_count_is_left_out_and_without_figures_the_bar_is_missed() {
        let report = report(|findings| {
            for cell in &mut findings.cells {
                if cell.operation == Operation::Resumed {
                    cell.excluded = vec!["the gateway did not honour the tickets".to_owned()];
                }
            }
        });
        assert!(report.problems[0].contains("resumed + GET: no figure"));
        let told = "6 of 12 measurements of CPU do not count";
        assert!(report.notes.iter().any(|note| note.starts_with(told)));
    }

    #[test]
    fn an_interval_across_the_bar_is_told() {
        let report = report(|findings| {
            let last = findings.cells.iter_mut().rev();
            for cell in last.filter(|cell| cell.side == Side::With).take(2) {
                cell.cpu_seconds *= 1.1;
            }
        });
        assert!(report.passed, "{:?}", report.problems);
        let told = |note: &String| note.contains("the 95 % interval goes to 1.111");
        assert!(report.notes.iter().any(told), "{:?}", report.notes);
    }
}
