//! The report of `lab throughput`: every transfer, the figures made of them, and whether the bars were reached.

use loadgen::measure::Verdict;
use serde::{Deserialize, Serialize};

use super::Choices;
use super::transfer::{Transfer, Way};
use crate::bar::{Bar, Side};
use crate::circumstances::Circumstances;
use crate::compare::server::Server;
use crate::statistics::{Estimate, estimate};

/// Name and version of the schema.
pub(crate) const SCHEMA: &str = "lab.throughput/1";
/// Rate as a multiple of the peer's.
const RATIO: f64 = 1.0;
/// What the gateway's memory may grow by while a body passes, in megabytes of 10⁶ bytes.
const MEMORY_MB: f64 = 8.0;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// When, on what and with what.
    #[serde(flatten)]
    pub(crate) circumstances: Circumstances,
    /// Whether every bar that was judged was reached.
    pub(crate) passed: bool,
    /// Whether nothing here is to be believed.
    pub(crate) void: bool,
    /// What went wrong, in words.
    pub(crate) problems: Vec<String>,
    /// What to bear in mind.
    pub(crate) notes: Vec<String>,
    /// What the experiment was told.
    pub(crate) choices: Choices,
    /// The peer's version; `None` where it is not installed.
    pub(crate) peer: Option<String>,
    /// Whether the servers had a share of a core; otherwise they had all of one.
    pub(crate) quota: bool,
    /// What was to be reached.
    pub(crate) bars: Vec<Bar>,
    /// Medians.
    pub(crate) figures: Vec<Figure>,
    /// Every transfer in the order in which they were made.
    pub(crate) transfers: Vec<Transfer>,
}

/// One way through one server, over the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The way.
    pub(crate) way: Way,
    /// The server.
    pub(crate) server: Server,
    /// Megabytes per second.
    pub(crate) rate: Option<Estimate>,
    /// CPU seconds of the server per gigabyte.
    pub(crate) cost: Option<Estimate>,
    /// The most that memory grew by in any of them, in megabytes.
    pub(crate) grown_mb: f64,
    /// The gateway's rate over the peer's, round by round; of the peer.
    pub(crate) ratio: Option<Estimate>,
}

impl Report {
    /// Makes the figures and judges them.
    pub(super) fn new(
        circumstances: Circumstances,
        choices: &Choices,
        peer: Option<String>,
        quota: bool,
        transfers: Vec<Transfer>,
    ) -> Report {
        let figures = figures(&transfers, choices.seed);
        let bars = bars(&figures, quota && !choices.quick);
        let void = transfers
            .iter()
            .any(|transfer| transfer.verdict == Verdict::Void);
        let mut problems: Vec<String> = bars.iter().filter_map(Bar::problem).collect();
        if void {
            problems.insert(0, "void: this machine gave its time to others".to_owned());
        }
        let mut notes = circumstances.notes();
        if peer.is_none() {
            notes.push("HAProxy is not installed: there is nothing to compare with.".to_owned());
        }
        if !quota {
            notes.push(
                "The servers had a whole core, because control groups cannot be made here: rates are as much the generator's, and are not judged."
                    .to_owned(),
            );
        }
        if choices.quick {
            notes.push("This was a quick run: rates are not judged.".to_owned());
        }
        Report {
            schema: SCHEMA.to_owned(),
            circumstances,
            passed: problems.is_empty(),
            void,
            problems,
            notes,
            choices: choices.clone(),
            peer,
            quota,
            bars,
            figures,
            transfers,
        }
    }
}

fn figures(transfers: &[Transfer], seed: u64) -> Vec<Figure> {
    let mut figures = Vec::new();
    for way in Way::all() {
        let through = |server| -> Vec<&Transfer> {
            let all = transfers.iter();
            all.filter(|transfer| transfer.way == way && transfer.server == server)
                .collect()
        };
        for server in [Server::Fleetgate, Server::Haproxy] {
            let own = through(server);
            if own.is_empty() {
                continue;
            }
            let of = |value: fn(&Transfer) -> f64| {
                let values: Vec<f64> = own.iter().map(|transfer| value(transfer)).collect();
                estimate(&values, seed)
            };
            let gateway = through(Server::Fleetgate);
            // Each server makes two transfers in a round, one as early as the other's is late: all are paired by their number.
            let ratios: Vec<f64> = by_round(&gateway)
                .into_iter()
                .zip(by_round(&own))
                .map(|(gateway, peer)| gateway / peer)
                .collect();
            figures.push(Figure {
                way,
                server,
                rate: of(Transfer::rate),
                cost: of(Transfer::cost),
                grown_mb: own.iter().map(|own| own.grown()).fold(0.0, f64::max),
                ratio: (server == Server::Haproxy)
                    .then(|| estimate(&ratios, seed))
                    .flatten(),
            });
        }
    }
    figures
}

/// Rate of each round: all bytes over all seconds.
fn by_round(transfers: &[&Transfer]) -> Vec<f64> {
    let mut sums = std::collections::BTreeMap::<usize, (f64, f64)>::new();
    for transfer in transfers {
        let sum = sums.entry(transfer.round).or_default();
        sum.0 += transfer.bytes as f64;
        sum.1 += transfer.seconds;
    }
    let sums = sums.into_values();
    sums.map(|(bytes, seconds)| bytes / seconds.max(1e-9))
        .collect()
}

fn bars(figures: &[Figure], judged: bool) -> Vec<Bar> {
    let mut bars = Vec::new();
    for figure in figures {
        let title = figure.way.title();
        if figure.server == Server::Fleetgate {
            let what = format!("{title}: memory grows by");
            bars.push(Bar::always(
                what,
                Some(figure.grown_mb),
                Side::AtMost,
                MEMORY_MB,
                "MB",
            ));
        } else {
            let what = format!("{title}: rate ÷ HAProxy's");
            let ratio = figure.ratio.map(|ratio| ratio.median);
            bars.push(Bar::always(what, ratio, Side::AtLeast, RATIO, "").timed(judged));
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::bar::Outcome;

    #[test]
    fn ratios_are_made_round_by_round() {
        let report = fixture::report(|_| ());
        assert!(report.passed, "{:?}", report.problems);
        let peer = report.figures.iter().find(|f| f.server == Server::Haproxy);
        let ratio = peer.unwrap().ratio.unwrap();
        // The machine slows down from round to round, and both with it.
        assert!((ratio.median - 1.25).abs() < 1e-9 && ratio.high - ratio.low < 1e-9);
        assert_eq!(report.bars.len(), 16);
    }

    #[test]
    fn a_slower_gateway_and_one_that_buffers_are_told() {
        let slow = fixture::report(|transfer| transfer.seconds *= 1.5);
        assert_eq!(slow.problems.len(), 8, "{:?}", slow.problems);
        let greedy = fixture::report(|transfer| transfer.resident_peak += 100_000_000);
        assert_eq!(greedy.problems.len(), 8, "{:?}", greedy.problems);
        assert!(greedy.problems[0].contains("memory grows by"));
    }

    #[test]
    fn without_a_peer_only_memory_is_judged() {
        let mut transfers = fixture::transfers(|_| ());
        transfers.retain(|transfer| transfer.server == Server::Fleetgate);
        let figures = figures(&transfers, 1);
        let bars = bars(&figures, true);
        assert_eq!(bars.len(), 8);
        assert!(bars.iter().all(|bar| bar.outcome == Outcome::Reached));
    }
}
