//! The report of a demo: everything that its table, its page and its JSON show, in one value.

use std::time::Duration;

use loadgen::RunResult;
use loadgen::report::Host;
use serde::{Deserialize, Serialize};

use super::checks;
use super::phase::{Choices, Phase};
use crate::counts::GatewayCounts;
use crate::{build_profile, fleet};

/// Name and version of the schema.
pub(crate) const SCHEMA: &str = "lab.demo/1";
/// Points of a latency curve per factor of ten in the share that is slower.
const POINTS_PER_NINE: u32 = 20;

/// What a demo found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// When it began, RFC 3339, UTC.
    pub(crate) started_at: String,
    /// How long it took, certificates included.
    pub(crate) took_seconds: f64,
    /// Whether every check passed.
    pub(crate) passed: bool,
    /// Whether a phase's numbers are not to be believed.
    pub(crate) void: bool,
    /// Checks that did not pass, in words.
    pub(crate) problems: Vec<String>,
    /// What to bear in mind when reading the numbers.
    pub(crate) notes: Vec<String>,
    /// The gateway's version, commit and TLS stack.
    pub(crate) gateway_version: String,
    /// Key type of all certificates.
    pub(crate) key: String,
    /// The machine.
    pub(crate) host: Host,
    /// Who ran where.
    pub(crate) placement: Placement,
    /// What the demo was told.
    pub(crate) choices: Choices,
    /// The phases in order.
    pub(crate) phases: Vec<PhaseReport>,
}

/// Who ran on which core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// The gateway's core.
    pub(crate) server_core: usize,
    /// Generator's and upstream's core.
    pub(crate) generator_core: usize,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseReport {
    /// Which.
    pub(crate) phase: Phase,
    /// Successful operations per second of the measured window.
    pub(crate) rate_per_second: f64,
    /// Median response time.
    pub(crate) p50_ms: Option<f64>,
    /// 99th percentile of the response time.
    pub(crate) p99_ms: Option<f64>,
    /// CPU of the whole gateway process per operation, in microseconds.
    pub(crate) server_cpu_us: Option<f64>,
    /// Share of the chain look-ups that hit, from the gateway's metrics.
    pub(crate) cache_hit_share: Option<f64>,
    /// Share of the offered tickets that it accepted, from the gateway's metrics.
    pub(crate) tickets_accepted_share: Option<f64>,
    /// What the gateway counted in this phase, preparation and warm-up included.
    pub(crate) gateway: GatewayCounts,
    /// The same things counted on both sides.
    pub(crate) agreement: Vec<Agreement>,
    /// Response time by quantile, for the plot.
    pub(crate) curve: Vec<Point>,
    /// Loadgen's own result, whole.
    pub(crate) run: RunResult,
}

/// One count, by both sides; preparation and warm-up included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreement {
    /// What is counted.
    pub(crate) what: String,
    /// By the devices.
    pub(crate) loadgen: u64,
    /// By the gateway.
    pub(crate) gateway: u64,
}

/// A point of a latency curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// This share of the operations was at least as fast.
    pub(crate) quantile: f64,
    /// Response time.
    pub(crate) ms: f64,
}

impl Report {
    /// Puts the phases together and judges them.
    pub(crate) fn new(
        started_at: String,
        took: Duration,
        gateway_version: String,
        host: Host,
        placement: Placement,
        choices: &Choices,
        phases: Vec<PhaseReport>,
    ) -> Report {
        let judgement = checks::judge(&phases);
        let mut notes = judgement.notes;
        notes.extend(build_profile::note());
        if placement.server_core == placement.generator_core {
            notes.push(
                "There was only one core: gateway, generator and upstream took turns on it, so rates and times include each other's work."
                    .to_owned(),
            );
        }
        if choices.quick {
            notes.push(
                "This was a quick run: it shows that everything works, its times are too short to be figures."
                    .to_owned(),
            );
        }
        Report {
            schema: SCHEMA.to_owned(),
            started_at,
            took_seconds: took.as_secs_f64(),
            passed: judgement.problems.is_empty(),
            void: judgement.void,
            problems: judgement.problems,
            notes,
            gateway_version,
            key: fleet::KEY.to_owned(),
            host,
            placement,
            choices: choices.clone(),
            phases,
        }
    }
}

impl PhaseReport {
    /// From loadgen's result and what the gateway counted meanwhile.
    pub(crate) fn new(phase: Phase, run: RunResult, gateway: GatewayCounts) -> PhaseReport {
        let response = run.metric("response_time", "all");
        let milliseconds = |quantile| response.and_then(|metric| metric.milliseconds(quantile));
        PhaseReport {
            phase,
            rate_per_second: run.rate_per_second,
            p50_ms: milliseconds(0.5),
            p99_ms: milliseconds(0.99),
            server_cpu_us: run
                .watched
                .as_ref()
                .and_then(|watched| watched.cpu_us_per_operation),
            cache_hit_share: gateway.cache_hit_share(),
            tickets_accepted_share: gateway.tickets_accepted_share(),
            agreement: agreement(&run, &gateway),
            curve: curve(&run),
            gateway,
            run,
        }
    }
}

/// Both sides' counts of what both can see.
fn agreement(run: &RunResult, gateway: &GatewayCounts) -> Vec<Agreement> {
    let (within, before) = (&run.handshakes, &run.before_window.handshakes);
    let full = within.full + before.full;
    let full_hrr = within.full_hrr + before.full_hrr;
    let resumed = within.resumed + before.resumed;
    let requests = run.counts.ok + run.before_window.counts.ok;
    [
        (
            "connections",
            full + full_hrr + resumed,
            gateway.connections,
        ),
        ("full handshakes", full, gateway.handshakes_full),
        (
            "full handshakes after a retry",
            full_hrr,
            gateway.handshakes_full_hrr,
        ),
        ("resumed handshakes", resumed, gateway.handshakes_resumed),
        ("requests answered well", requests, gateway.requests_ok),
    ]
    .map(|(what, loadgen, gateway)| Agreement {
        what: what.to_owned(),
        loadgen,
        gateway,
    })
    .into()
}

/// From the fastest half to the slowest sample, evenly on an axis of nines.
fn curve(run: &RunResult) -> Vec<Point> {
    let Some(metric) = run.metric("response_time", "all") else {
        return Vec::new();
    };
    let Some(histogram) = metric.decode() else {
        return Vec::new();
    };
    let nines = (metric.count as f64).log10();
    (0..)
        .map(|step: u32| f64::from(step) / f64::from(POINTS_PER_NINE))
        .take_while(|position| *position <= nines)
        .map(|position| 1.0 - 10f64.powf(-position))
        .map(|quantile| Point {
            quantile,
            ms: histogram.value_at_quantile(quantile) as f64 / 1e3,
        })
        .collect()
}
