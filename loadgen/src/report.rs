//! The result of a run: a self-contained value, saved as JSON, shown as text, as a page, as Markdown and as CSV.
//!
//! Made from a plan and a measurement; never imports `drive`, so that a saved run can be reported again, by another
//! version, on another machine.

pub mod abort;
pub mod assemble;
mod bad_devices;
pub mod capacity;
pub mod compare;
pub mod csv;
pub mod difference;
pub mod environment;
pub mod file;
pub mod headline;
pub mod html;
pub mod json;
pub mod markdown;
pub mod merge;
pub mod metric;
pub mod number;
pub mod scenario;
pub mod text;
mod threshold;

use serde::{Deserialize, Serialize};

pub use abort::Abort;
pub use environment::Host;
pub use metric::{Metric, Quantile, Unit};
pub use scenario::{ReturnCounts, ScenarioResult};

use crate::measure::Verdict;
use crate::plan::{Plan, Segment};

/// Name and version of the schema of a saved result.
pub const SCHEMA: &str = "loadgen.result/1";

/// One run's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// When, how long, by what.
    pub run: Run,
    /// The machine that made the load.
    pub host: Host,
    /// What the run was told.
    pub choices: Plan,
    /// Whether to believe it.
    pub validity: Validity,
    /// Attempts in the measured window.
    pub counts: Counts,
    /// Successful attempts per second of the window.
    pub rate_per_second: f64,
    /// Handshakes in the window that the server accepted, by kind.
    pub handshakes: Handshakes,
    /// Resumption in the window.
    pub resumption: Resumption,
    /// Identities that answers told, before the window and in it; `None` where they were not looked at.
    #[serde(default)]
    pub identity: Option<IdentityChecks>,
    /// Connections open when the window ended.
    pub open_connections_at_end: u64,
    /// The same counts for preparation and warm-up: a server's own counters include them.
    pub before_window: BeforeWindow,
    /// Times and bytes, by operation.
    pub metrics: Vec<Metric>,
    /// Failures in the window.
    pub errors: Vec<ErrorCount>,
    /// The same by scenario, in the plan's order; absent in results of before there were scenarios.
    #[serde(default)]
    pub scenarios: Vec<ScenarioResult>,
    /// Devices that are bad on purpose: what was expected of the server, and what it did in the window.
    #[serde(default)]
    pub bad_devices: Vec<BadDevices>,
    /// One entry per second, warm-up included.
    pub seconds: Vec<SecondOfRun>,
    /// The watched processes.
    pub watched: Option<WatchedProcess>,
    /// The generator's own process: what an operation and an open connection cost here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<WatchedProcess>,
    /// What the result had to satisfy, and whether it does.
    pub thresholds: Vec<ThresholdOutcome>,
    /// The segments of which this result was merged; empty for that of a single run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentOfRun>,
}

/// When, how long, by what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Begin of the load, warm-up included, by this machine's clock: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_started_at: Option<String>,
    /// Which part of the plan this run performed; counts and rates are this part's.
    #[serde(default)]
    pub segment: Segment,
    /// Begin of the measured window, RFC 3339, UTC.
    pub started_at: String,
    /// Length of the measured window in seconds.
    pub window_seconds: f64,
    /// Devices that took part.
    pub devices: usize,
    /// Threads that drove them.
    pub shards: usize,
    /// Stopped from outside: the result is partial.
    pub interrupted: bool,
    /// Version of loadgen.
    pub loadgen_version: String,
}

/// Whether to believe a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not `valid`, the worst first.
    pub reasons: Vec<String>,
    /// CPU share of each shard's thread.
    pub shard_cpu_shares: Vec<f64>,
    /// Share of the window in which each shard's thread waited for a core that something else had.
    pub shard_waiting_shares: Vec<f64>,
    /// Share of the machine's time taken by the hypervisor.
    pub steal_share: Option<f64>,
    /// Share of the window in which the control group's CPU quota kept the generator from running; `None` without a quota.
    #[serde(default)]
    pub throttled_share: Option<f64>,
}

/// How many attempts came how far. `intended = started + overflow`; `started = ok + refused_as_expected + failed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Arrivals that the plan asked for.
    pub intended: u64,
    /// Attempts begun.
    pub started: u64,
    /// Handshakes that the client finished.
    pub client_finished: u64,
    /// Attempts that the server answered after the handshake.
    pub accepted: u64,
    /// Attempts with a complete 2xx response.
    pub ok: u64,
    /// Attempts that had to be refused, and were.
    pub refused_as_expected: u64,
    /// Attempts with any other outcome.
    pub failed: u64,
    /// Arrivals that were not sent for want of a free device.
    pub overflow: u64,
}

impl Counts {
    /// Successful attempts per second of a window.
    fn rate(&self, window_seconds: f64) -> f64 {
        if window_seconds > 0.0 {
            self.ok as f64 / window_seconds
        } else {
            0.0
        }
    }
}

/// Handshakes by kind, as the TLS library reports it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Full.
    pub full: u64,
    /// Full after a HelloRetryRequest.
    pub full_hrr: u64,
    /// Resumed.
    pub resumed: u64,
}

/// What became of the wish to resume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Resumption {
    /// Attempts that were to resume.
    pub wanted: u64,
    /// Those that had a ticket to offer.
    pub offered: u64,
    /// Those whose ticket was honoured.
    pub accepted: u64,
    /// `accepted / wanted`; `None` if nothing was to resume.
    pub accepted_share: Option<f64>,
    /// Session tickets received.
    pub tickets_received: u64,
}

/// Answers that were held against the device's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityChecks {
    /// All of them.
    pub checked: u64,
    /// Those that spoke of another device: must be 0.
    pub mismatches: u64,
    /// Of these, those on a connection that had just been resumed.
    pub mismatches_resumed: u64,
    /// Those that spoke of no device.
    pub absent: u64,
}

/// Preparation and warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeforeWindow {
    /// Attempts.
    pub counts: Counts,
    /// Handshakes.
    pub handshakes: Handshakes,
    /// Resumption.
    pub resumption: Resumption,
    /// Failures.
    pub errors: Vec<ErrorCount>,
}

/// One kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// As [`Cause::class`](crate::measure::Cause::class) names it.
    pub class: String,
    /// Alert name, HTTP status, or what was lacking; may be empty.
    pub code: String,
    /// `received`, `sent` or `local`.
    pub direction: String,
    /// What was awaited: `tcp`, `handshake`, `first_byte` or `response`.
    pub when: String,
    /// How often.
    pub count: u64,
}

/// The devices with one fault: expected against found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadDevices {
    /// The fault's name.
    pub fault: String,
    /// How many have it.
    pub devices: usize,
    /// What the server is expected to do: `refuse` or `serve`.
    pub expected: String,
    /// Name of the TLS alert with which Fleetgate's gateway refuses; a refusal of another kind is a refusal all the same.
    pub alert: Option<String>,
    /// Attempts that ended as expected; those of devices that are to be served are counted with all others.
    pub as_expected: u64,
    /// Attempts that were served although they had to be refused.
    pub not_refused: u64,
    /// Attempts that ended in any other way.
    pub failed: u64,
    /// What was found.
    pub found: Vec<Found>,
}

/// One way in which attempts of bad devices ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// As of [`ErrorCount::class`], or `served`.
    pub class: String,
    /// As of [`ErrorCount::code`].
    pub code: String,
    /// How often.
    pub count: u64,
}

/// One second of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecondOfRun {
    /// Seconds since the load began.
    pub second: u64,
    /// Whether it lies in the measured window.
    pub measured: bool,
    /// Arrivals that the plan asked for.
    pub intended: u64,
    /// Attempts begun.
    pub started: u64,
    /// Attempts completed well.
    pub ok: u64,
    /// Attempts that had to be refused, and were.
    #[serde(default)]
    pub refused_as_expected: u64,
    /// Attempts failed.
    pub failed: u64,
    /// Arrivals not sent.
    pub overflow: u64,
    /// Connections open at its end.
    pub open: u64,
    /// Median response time in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile in milliseconds.
    pub p99_ms: Option<f64>,
    /// Longest in milliseconds.
    pub max_ms: Option<f64>,
    /// Handshakes that the server accepted, by kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<Handshakes>,
    /// Failures, by kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorCount>,
    /// Longest schedule lag of the attempts begun in it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<f64>,
    /// Share of a core that the busiest shard used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest_shard: Option<f64>,
    /// Response times in microseconds, two significant digits: HdrHistogram, V2 encoding with DEFLATE, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
}

/// What the watched processes used in the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchedProcess {
    /// Process ids.
    pub pids: Vec<u32>,
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// Operations by which it is divided: attempts that the server accepted.
    pub operations: u64,
    /// CPU microseconds per operation.
    pub cpu_us_per_operation: Option<f64>,
    /// Resident bytes before the first connection.
    pub resident_bytes_before: u64,
    /// Resident bytes when the window began.
    pub resident_bytes_start: u64,
    /// Resident bytes when it ended, connections still open.
    pub resident_bytes_end: u64,
    /// `(end - before) / connections open at the end`, in bytes; `None` where memory has not grown.
    pub resident_bytes_per_connection: Option<f64>,
    /// Those that ended during the run.
    pub vanished: Vec<u32>,
}

/// One threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdOutcome {
    /// As given.
    pub expression: String,
    /// The value found, in the expression's unit (milliseconds, share, per second); `None` without samples.
    pub value: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

/// One of the segments of a merged result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentOfRun {
    /// Which part of the plan it performed.
    pub segment: Segment,
    /// Begin of its window by its machine's clock, RFC 3339, UTC.
    pub started_at: String,
    /// Length of its window in seconds.
    pub window_seconds: f64,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its machine.
    pub host: Host,
    /// Its attempts.
    pub counts: Counts,
    /// Its successful attempts per second.
    pub rate_per_second: f64,
    /// The processes that it watched.
    pub watched: Option<WatchedProcess>,
}

impl SecondOfRun {
    /// A second in which nothing happened.
    pub fn empty(second: u64, measured: bool) -> SecondOfRun {
        SecondOfRun {
            second,
            measured,
            intended: 0,
            started: 0,
            ok: 0,
            refused_as_expected: 0,
            failed: 0,
            overflow: 0,
            open: 0,
            p50_ms: None,
            p99_ms: None,
            max_ms: None,
            handshakes: None,
            errors: Vec::new(),
            lag_ms: None,
            busiest_shard: None,
            histogram: None,
        }
    }
}

impl RunResult {
    /// The metric of this name and operation (`all`, `full`, `resumed` or `request`).
    pub fn metric(&self, name: &str, operation: &str) -> Option<&Metric> {
        self.metrics
            .iter()
            .find(|metric| metric.name == name && metric.operation == operation)
    }

    /// The scenario of this name.
    pub fn scenario(&self, name: &str) -> Option<&ScenarioResult> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }

    /// Whether every threshold holds.
    pub fn thresholds_hold(&self) -> bool {
        self.thresholds.iter().all(|threshold| threshold.holds)
    }
}
