//! The report of a comparison: every measurement, and the figures made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use loadgen::RunResult;
use loadgen::measure::Verdict;
use loadgen::report::Host;
use serde::{Deserialize, Serialize};

use super::operation::{Choices, Operation};
use super::server::Server;
use crate::build_profile;
use crate::statistics::{Estimate, estimate};

/// Name and version of the schema.
pub(crate) const SCHEMA: &str = "lab.compare/1";
/// Share of attempts of a resumption measurement that must have resumed.
const RESUMED_SHARE: f64 = 0.99;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// When it began, RFC 3339, UTC.
    pub(crate) started_at: String,
    /// How long it took.
    pub(crate) took_seconds: f64,
    /// Whether every server that was there has every figure.
    pub(crate) complete: bool,
    /// Figures that are lacking, in words.
    pub(crate) problems: Vec<String>,
    /// What to bear in mind.
    pub(crate) notes: Vec<String>,
    /// The machine.
    pub(crate) host: Host,
    /// Core of the server under test.
    pub(crate) server_core: usize,
    /// Core of generator and upstream.
    pub(crate) generator_core: usize,
    /// What the comparison was told.
    pub(crate) choices: Choices,
    /// The servers that were compared.
    pub(crate) servers: Vec<Compared>,
    /// The servers that were not there.
    pub(crate) missing: Vec<Missing>,
    /// The figures, operation by operation, server by server.
    pub(crate) figures: Vec<Figure>,
    /// Every measurement in the order in which they were made.
    pub(crate) cells: Vec<Cell>,
}

/// A server that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compared {
    /// Which.
    pub(crate) server: Server,
    /// What it says about its version.
    pub(crate) version: String,
}

/// A server that could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Missing {
    /// Which.
    pub(crate) server: Server,
    /// Why.
    pub(crate) why: String,
    /// How to come to have it.
    pub(crate) how_to_install: String,
}

/// What one server's operation costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Of what.
    pub(crate) operation: Operation,
    /// By whom.
    pub(crate) server: Server,
    /// `µs` of CPU, or `KiB`.
    pub(crate) unit: String,
    /// Median over the rounds; `None` if no measurement counts.
    pub(crate) cost: Option<Estimate>,
    /// Fleetgate's cost over this server's, round by round, then their median; `None` for Fleetgate itself.
    pub(crate) fleetgate_ratio: Option<Estimate>,
    /// The rounds' values.
    pub(crate) rounds: Vec<f64>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Of what.
    pub(crate) operation: Operation,
    /// Of whom.
    pub(crate) server: Server,
    /// In which round.
    pub(crate) round: usize,
    /// CPU time of all the server's processes, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Operations in that time.
    pub(crate) operations: u64,
    /// Successful operations per second.
    pub(crate) rate_per_second: f64,
    /// Median response time.
    pub(crate) p50_ms: Option<f64>,
    /// 99th percentile.
    pub(crate) p99_ms: Option<f64>,
    /// Resident KiB per open connection at the end; only where connections were held.
    pub(crate) kib_per_connection: Option<f64>,
    /// Share of its core that the generator's thread used.
    pub(crate) generator_share: f64,
    /// Loadgen's verdict.
    pub(crate) verdict: Verdict,
    /// Its reasons.
    pub(crate) reasons: Vec<String>,
    /// Why it does not count; empty if it does.
    pub(crate) excluded: Vec<String>,
}

impl Cell {
    /// From loadgen's result.
    pub(crate) fn new(operation: Operation, server: Server, round: usize, run: &RunResult) -> Cell {
        let watched = run.watched.as_ref();
        let response = run.metric("response_time", "all");
        let milliseconds = |quantile| response.and_then(|metric| metric.milliseconds(quantile));
        let held = operation == Operation::IdleMemory;
        let shares = run.validity.shard_cpu_shares.iter().copied();
        Cell {
            operation,
            server,
            round,
            cpu_seconds: watched.map_or(0.0, |watched| watched.cpu_seconds),
            operations: watched.map_or(0, |watched| watched.operations),
            rate_per_second: run.rate_per_second,
            p50_ms: milliseconds(0.5),
            p99_ms: milliseconds(0.99),
            kib_per_connection: watched
                .filter(|_| held)
                .and_then(|watched| watched.resident_bytes_per_connection)
                .map(|bytes| bytes / 1024.0),
            generator_share: shares.fold(0.0, f64::max),
            verdict: run.validity.verdict,
            reasons: run.validity.reasons.clone(),
            excluded: faults(operation, run),
        }
    }

    fn counts(&self) -> bool {
        self.excluded.is_empty()
    }
}

/// Why a run does not measure what its operation is called.
fn faults(operation: Operation, run: &RunResult) -> Vec<String> {
    let mut faults = Vec::new();
    let failed = run.counts.failed + run.before_window.counts.failed;
    if failed > 0 {
        let errors = run.errors.iter().chain(&run.before_window.errors);
        let kinds: Vec<String> = errors
            .map(|error| format!("{} {}", error.class, error.code).trim().to_owned())
            .collect();
        faults.push(format!("{failed} attempts failed ({})", kinds.join(", ")));
    }
    if run.validity.verdict == Verdict::Void {
        faults.push(format!("void: {}", run.validity.reasons.join("; ")));
    }
    let handshakes = &run.handshakes;
    match operation {
        Operation::FullCold | Operation::FullWarm
            if handshakes.resumed > 0 || handshakes.full_hrr > 0 =>
        {
            faults.push("not every handshake was full in one round trip".to_owned());
        }
        Operation::Resumed
            if run
                .resumption
                .accepted_share
                .is_none_or(|share| share < RESUMED_SHARE) =>
        {
            faults.push("the server did not honour the tickets".to_owned());
        }
        request if request.is_request() && handshakes.full + handshakes.resumed > 0 => {
            faults.push("connections did not stay open".to_owned());
        }
        Operation::IdleMemory if run.open_connections_at_end < run.run.devices as u64 => {
            faults.push(format!(
                "only {} of {} connections stayed open",
                run.open_connections_at_end, run.run.devices
            ));
        }
        _ => {}
    }
    if operation != Operation::IdleMemory && run.counts.accepted == 0 {
        faults.push("no operation was measured".to_owned());
    }
    faults
}

/// The value of each round that has one, by round: all CPU over all operations, or memory.
fn by_round(cells: &[Cell], operation: Operation, server: Server) -> BTreeMap<usize, f64> {
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    let counted = cells
        .iter()
        .filter(|cell| cell.operation == operation && cell.server == server && cell.counts());
    for cell in counted {
        let sum = sums.entry(cell.round).or_default();
        match cell.kib_per_connection {
            Some(kib) => {
                sum.0 += kib;
                sum.1 += 1.0;
            }
            None => {
                sum.0 += cell.cpu_seconds * 1e6;
                sum.1 += cell.operations as f64;
            }
        }
    }
    sums.into_iter()
        .filter(|(_, (_, count))| *count > 0.0)
        .map(|(round, (sum, count))| (round, sum / count))
        .collect()
}

/// The figures of all operations and servers.
pub(crate) fn figures(cells: &[Cell], servers: &[Compared], seed: u64) -> Vec<Figure> {
    let mut figures = Vec::new();
    for operation in Operation::ALL {
        let fleetgate = by_round(cells, operation, Server::Fleetgate);
        for compared in servers {
            let own = by_round(cells, operation, compared.server);
            let rounds: Vec<f64> = own.values().copied().collect();
            // Rounds, not medians, are divided: what slowed a round slowed both.
            let ratios: Vec<f64> = own
                .iter()
                .filter(|(_, value)| **value > 0.0)
                .filter_map(|(round, value)| Some(fleetgate.get(round)? / value))
                .collect();
            figures.push(Figure {
                operation,
                server: compared.server,
                unit: operation.unit().to_owned(),
                cost: estimate(&rounds, seed),
                fleetgate_ratio: (compared.server != Server::Fleetgate)
                    .then(|| estimate(&ratios, seed))
                    .flatten(),
                rounds,
            });
        }
    }
    figures
}

/// What was found out beside the measurements.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// When it began.
    pub(crate) started_at: String,
    /// How long it took.
    pub(crate) took: Duration,
    /// The machine.
    pub(crate) host: Host,
    /// Core of the server under test.
    pub(crate) server_core: usize,
    /// Core of generator and upstream.
    pub(crate) generator_core: usize,
    /// The servers that were compared.
    pub(crate) servers: Vec<Compared>,
    /// Those that were not there.
    pub(crate) missing: Vec<Missing>,
}

impl Report {
    /// Makes the figures and says what is lacking.
    pub(crate) fn new(known: Circumstances, choices: &Choices, cells: Vec<Cell>) -> Report {
        let figures = figures(&cells, &known.servers, choices.seed);
        let problems: Vec<String> = figures
            .iter()
            .filter(|figure| figure.cost.is_none())
            .map(|figure| {
                let faults = cells
                    .iter()
                    .filter(|cell| {
                        cell.server == figure.server && cell.operation == figure.operation
                    })
                    .flat_map(|cell| &cell.excluded);
                let why = faults.last().map_or("not measured", String::as_str);
                let (server, operation) = (figure.server.name(), figure.operation.title());
                format!("no figure for {server}, {operation}: {why}")
            })
            .collect();
        Report {
            schema: SCHEMA.to_owned(),
            started_at: known.started_at,
            took_seconds: known.took.as_secs_f64(),
            complete: problems.is_empty(),
            problems,
            notes: notes(&cells, choices, known.server_core == known.generator_core),
            host: known.host,
            server_core: known.server_core,
            generator_core: known.generator_core,
            choices: choices.clone(),
            servers: known.servers,
            missing: known.missing,
            figures,
            cells,
        }
    }

    /// The figure of this operation and server.
    pub(crate) fn figure(&self, operation: Operation, server: Server) -> Option<&Figure> {
        self.figures
            .iter()
            .find(|figure| figure.operation == operation && figure.server == server)
    }
}

fn notes(cells: &[Cell], choices: &Choices, one_core: bool) -> Vec<String> {
    let mut notes: Vec<String> = build_profile::note().into_iter().collect();
    let excluded = cells.iter().filter(|cell| !cell.counts()).count();
    if excluded > 0 {
        notes.push(format!(
            "{excluded} of {} measurements do not count; the JSON says why.",
            cells.len()
        ));
    }
    let suspect: Vec<&Cell> = cells
        .iter()
        .filter(|cell| cell.verdict == Verdict::Suspect)
        .collect();
    let mut doubts: BTreeMap<String, usize> = BTreeMap::new();
    for reason in suspect.iter().flat_map(|cell| &cell.reasons) {
        *doubts.entry(without_numbers(reason)).or_default() += 1;
    }
    let many = cells.len();
    notes.extend(
        doubts
            .iter()
            .map(|(doubt, count)| format!("In {count} of {many} measurements: {doubt}.")),
    );
    if !doubts.is_empty() {
        notes.push(
            "Generator and upstream share a core, so one waits for the other when a server is fast: that bounds rates, not the server's CPU per operation."
                .to_owned(),
        );
    }
    if one_core {
        notes.push(
            "There was only one core: server and generator took turns on it, so caches and wake-ups are not those of a server that has its own."
                .to_owned(),
        );
    }
    if choices.quick {
        notes.push(
            "This was a quick run: it shows that everything works, its intervals mean little."
                .to_owned(),
        );
    }
    notes
}

/// The same doubt in several measurements, whose numbers differ, is one doubt.
fn without_numbers(reason: &str) -> String {
    let words = reason.split(' ').map(|word| match word.parse::<f64>() {
        Ok(_) => "…",
        Err(_) => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn cell(operation: Operation, server: Server, round: usize, us: f64) -> Cell {
        Cell {
            operation,
            server,
            round,
            cpu_seconds: us / 1e3,
            operations: 1000,
            rate_per_second: 1000.0,
            p50_ms: Some(1.0),
            p99_ms: Some(2.0),
            kib_per_connection: (operation == Operation::IdleMemory).then_some(us),
            generator_share: 0.5,
            verdict: Verdict::Valid,
            reasons: Vec::new(),
            excluded: Vec::new(),
        }
    }

    /// Three rounds in which the machine gets slower and slower; nginx costs four times as much all along.
    pub(crate) fn cells() -> Vec<Cell> {
        let mut cells = Vec::new();
        for (round, us) in [100.0, 150.0, 200.0].into_iter().enumerate() {
            for operation in Operation::ALL {
                cells.push(cell(operation, Server::Fleetgate, round, us - 10.0));
                cells.push(cell(operation, Server::Fleetgate, round, us + 10.0));
                cells.push(cell(operation, Server::Nginx, round, us * 4.0));
            }
        }
        cells
    }

    /// A report of those.
    pub(crate) fn report(cells: Vec<Cell>) -> Report {
        let compared = |server: Server| Compared {
            server,
            version: "1.0 <x>".to_owned(),
        };
        let known = Circumstances {
            started_at: "2026-11-21T00:00:00Z".to_owned(),
            took: Duration::from_secs(60),
            host: Host {
                cores: 2,
                processor: None,
                kernel: None,
                memory_bytes: None,
                descriptor_limit: None,
            },
            server_core: 1,
            generator_core: 0,
            servers: vec![compared(Server::Fleetgate), compared(Server::Nginx)],
            missing: vec![Missing {
                server: Server::Envoy,
                why: "not found".to_owned(),
                how_to_install: Server::Envoy.how_to_install().to_owned(),
            }],
        };
        let choices = Choices {
            rounds: 3,
            duration: Duration::from_secs(2),
            warmup: Duration::from_secs(1),
            at_a_time: 16,
            devices_full: 1000,
            devices_resumed: 200,
            devices_request: 64,
            devices_idle: 4000,
            memory_rounds: 3,
            seed: 1,
            quick: false,
        };
        Report::new(known, &choices, cells)
    }

    #[test]
    fn drift_widens_the_costs_and_not_the_ratio() {
        let report = report(cells());
        assert!(report.complete, "{:?}", report.problems);
        let nginx = report.figure(Operation::FullWarm, Server::Nginx).unwrap();
        assert_eq!(nginx.rounds, [400.0, 600.0, 800.0]);
        let ratio = nginx.fleetgate_ratio.unwrap();
        assert!((ratio.median - 0.25).abs() < 1e-9 && ratio.high - ratio.low < 1e-9);
        let own = report
            .figure(Operation::IdleMemory, Server::Fleetgate)
            .unwrap();
        assert_eq!(own.cost.unwrap().median, 150.0);
        assert_eq!(own.fleetgate_ratio, None);
    }

    #[test]
    fn a_doubt_that_differs_in_its_number_only_is_told_once() {
        let mut cells = cells();
        for (index, cell) in cells.iter_mut().take(3).enumerate() {
            cell.verdict = Verdict::Suspect;
            cell.reasons = vec![format!("others had {index}.5 % of it")];
        }
        let told = "In 3 of 72 measurements: others had … % of it.";
        assert!(report(cells).notes.iter().any(|note| note == told));
    }

    #[test]
    fn what_does_not_count_is_left_out_and_named() {
        let mut cells = cells();
        for cell in &mut cells {
            if cell.server == Server::Nginx && cell.operation == Operation::Resumed {
                cell.excluded = vec!["the server did not honour the tickets".to_owned()];
            }
        }
        let report = report(cells);
        assert!(!report.complete);
        assert_eq!(report.problems.len(), 1);
        assert!(report.problems[0].contains("nginx, resumed + GET: the server did not"));
        let named = |note: &String| note.starts_with("3 of 72");
        assert!(report.notes.iter().any(named), "{:?}", report.notes);
    }
}
