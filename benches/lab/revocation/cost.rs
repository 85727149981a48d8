//! A gateway with a long list beside one without any: start, memory, and CPU of handshakes.
//!
//! Every round has a new pair of processes. Where a process's memory happens to lie changes its speed by a percent or two for
//! as long as it lives; the difference that is looked for is no larger.

use loadgen::measure::Verdict;
use loadgen::plan::Limit;
use serde::{Deserialize, Serialize};

use super::Laboratory;
use super::lists::LONG;
use super::operation::Operation;
use crate::gateway_process::{GatewayProcess, Variation};
use crate::order::Orders;
use crate::resources::{Resident, resident};

/// Which of the two gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// No list is configured.
    Without,
    /// The long list is in force.
    With,
}

impl Side {
    /// Both.
    pub(super) const ALL: [Side; 2] = [Side::Without, Side::With];

    fn name(self) -> &'static str {
        match self {
            Side::Without => "without",
            Side::With => "with",
        }
    }

    fn variation(self) -> Variation {
        Variation {
            lists: (self == Side::With).then(|| LONG.to_owned()),
            ..Variation::default()
        }
    }
}

/// A gateway's start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Of which.
    pub(crate) side: Side,
    /// In which round.
    pub(crate) round: usize,
    /// From the start of its process until it said that it is ready.
    pub(crate) ready_seconds: f64,
    /// Resident memory at that moment, in bytes.
    pub(crate) resident_ready: u64,
    /// And after each of the devices has connected once.
    pub(crate) resident_served: u64,
    /// The most until then.
    pub(crate) resident_peak: u64,
}

/// One measurement of CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Of what.
    pub(crate) operation: Operation,
    /// By which gateway.
    pub(crate) side: Side,
    /// In which round.
    pub(crate) round: usize,
    /// CPU time of the gateway, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Operations in that time.
    pub(crate) operations: u64,
    /// Successful operations per second.
    pub(crate) rate_per_second: f64,
    /// Loadgen's verdict.
    pub(crate) verdict: Verdict,
    /// Its reasons.
    pub(crate) reasons: Vec<String>,
    /// Why it does not count; empty if it does.
    pub(crate) excluded: Vec<String>,
}

/// All rounds; fewer if it is stopped.
pub(super) fn conduct(laboratory: &Laboratory<'_>) -> anyhow::Result<(Vec<Cell>, Vec<Start>)> {
    let choices = laboratory.choices;
    let mut orders = Orders::new(choices.seed);
    let (mut cells, mut starts) = (Vec::new(), Vec::new());
    for round in 0..choices.rounds {
        eprintln!(
            "cost of a long list, round {} of {}",
            round + 1,
            choices.rounds
        );
        let mut pair = Vec::new();
        for side in orders.shuffled(&Side::ALL) {
            let (gateway, start) = start(laboratory, side, round)?;
            starts.push(start);
            pair.push((side, gateway));
        }
        let indices: Vec<usize> = (0..pair.len()).collect();
        for operation in orders.shuffled(&Operation::ALL) {
            for index in orders.block(&indices) {
                if laboratory.stop.is_requested() {
                    return Ok((cells, starts));
                }
                if let Some((side, gateway)) = pair.get(index) {
                    cells.push(measure(laboratory, operation, *side, round, gateway)?);
                }
            }
        }
    }
    Ok((cells, starts))
}

/// Starts a gateway and has every device connect once, so that its chain cache knows them all.
fn start(
    laboratory: &Laboratory<'_>,
    side: Side,
    round: usize,
) -> anyhow::Result<(GatewayProcess, Start)> {
    let choices = laboratory.choices;
    let name = format!("{}-{round}", side.name());
    let gateway = laboratory.gateway(&name, &side.variation())?;
    let Resident { now: ready, .. } = resident(gateway.pid())?;
    let once = Limit::Count(choices.devices_full as u64);
    let plan = Operation::Full.plan(choices, gateway.devices, laboratory.work, once);
    loadgen::run(&plan, laboratory.stop.clone(), |_| ())?;
    let Resident { now: served, peak } = resident(gateway.pid())?;
    let start = Start {
        side,
        round,
        ready_seconds: gateway.ready_after.as_secs_f64(),
        resident_ready: ready,
        resident_served: served,
        resident_peak: peak,
    };
    Ok((gateway, start))
}

fn measure(
    laboratory: &Laboratory<'_>,
    operation: Operation,
    side: Side,
    round: usize,
    gateway: &GatewayProcess,
) -> anyhow::Result<Cell> {
    let choices = laboratory.choices;
    let limit = Limit::DurationSeconds(choices.duration);
    let mut plan = operation.plan(choices, gateway.devices, laboratory.work, limit);
    plan.watch_pids = vec![gateway.pid()];
    let run = loadgen::run(&plan, laboratory.stop.clone(), |_| ())?;
    let watched = run.watched.as_ref();
    Ok(Cell {
        operation,
        side,
        round,
        cpu_seconds: watched.map_or(0.0, |watched| watched.cpu_seconds),
        operations: watched.map_or(0, |watched| watched.operations),
        rate_per_second: run.rate_per_second,
        verdict: run.validity.verdict,
        reasons: run.validity.reasons.clone(),
        excluded: operation.faults(&run),
    })
}
