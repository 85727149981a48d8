//! The result of a capacity search: a self-contained value, saved as JSON, shown as text and as a page.

pub mod text;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Host;
use crate::measure::Verdict;
use crate::plan::Plan;

/// Name and version of the schema of a saved capacity search.
pub const SCHEMA: &str = "loadgen.capacity/1";

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// When, how long, by what.
    pub run: CapacityRun,
    /// The machine that made the load.
    pub host: Host,
    /// What the search was told.
    pub choices: Choices,
    /// What it has come to.
    pub verdict: CapacityVerdict,
    /// One sentence that says so.
    pub statement: String,
    /// The highest load that holds; `None` if none was found.
    pub maximum: Option<Maximum>,
    /// What keeps the load from being higher.
    pub limited_by: Limit,
    /// What an operation costs the server at the maximum; `None` without `--watch-pid`.
    pub cost: Option<Cost>,
    /// How many devices that is.
    pub sizing: Option<Sizing>,
    /// What happened after an overload; `None` if that was not tried.
    pub hysteresis: Option<Hysteresis>,
    /// Every probe, in order: the curve.
    pub probes: Vec<ProbeResult>,
}

/// When, how long, by what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityRun {
    /// Begin of the first probe's load, RFC 3339, UTC; `None` if there was none.
    pub started_at: Option<String>,
    /// How long the whole search took.
    pub seconds: f64,
    /// Stopped from outside: the result is partial.
    pub interrupted: bool,
    /// Version of loadgen.
    pub loadgen_version: String,
}

/// What the search was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// What was searched for.
    pub search: Variable,
    /// What one unit of the load is, in words: `full connections/s`.
    pub unit: String,
    /// Conditions beside the plan's thresholds, in words.
    pub conditions: Vec<String>,
    /// The first load.
    pub from: f64,
    /// The highest to try.
    pub to: f64,
    /// Width of the final gap, as a share.
    pub precision: f64,
    /// Load before each window, in seconds.
    pub settle_seconds: u64,
    /// The window of a probe, in seconds; probes at low rates take longer.
    pub window_seconds: u64,
    /// The window of the confirmation, in seconds.
    pub confirm_seconds: u64,
    /// The time of the sizing line, in seconds.
    pub within_seconds: f64,
    /// How often each device sends, in seconds, where that matters.
    pub interval_seconds: Option<f64>,
    /// The plan of each probe, but for its load and its times.
    pub plan: Plan,
}

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// New connections per second.
    Connections,
    /// Requests per second on open connections.
    Requests,
    /// Devices with an open connection, each of which sends now and then.
    Devices,
}

/// What a search has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapacityVerdict {
    /// The maximum was found.
    Found,
    /// The highest load that was to be tried holds: the maximum is not below it.
    HoldsAll,
    /// Only the generator limited the load: the maximum is not below what was reached.
    GeneratorLimited,
    /// Not even the least load holds.
    HoldsNothing,
    /// It could not be told.
    Inconclusive,
}

impl CapacityVerdict {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            CapacityVerdict::Found => "found",
            CapacityVerdict::HoldsAll => "holds_all",
            CapacityVerdict::GeneratorLimited => "generator_limited",
            CapacityVerdict::HoldsNothing => "holds_nothing",
            CapacityVerdict::Inconclusive => "inconclusive",
        }
    }
}

/// The maximum and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Maximum {
    /// The highest load that holds.
    pub load: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Its upper end: the lowest load that certainly does not hold; `None` if no such load was found.
    pub high: Option<f64>,
    /// Whether a longer window confirmed it.
    pub confirmed: bool,
    /// Operations per second that were completed well at that load.
    pub achieved_per_second: f64,
}

/// What keeps the load from being higher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// In a word.
    pub kind: LimitKind,
    /// In a sentence.
    pub detail: String,
    /// The conditions that fail at the lowest load that does not hold.
    pub conditions: Vec<String>,
}

/// What can keep the load from being higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// The server has no CPU time left.
    ServerCpu,
    /// A condition fails although the server has CPU time left, or it is not known whether it has.
    Slo,
    /// The generator.
    Generator,
    /// The highest load that was to be tried.
    Ceiling,
    /// Not known.
    Unknown,
}

/// What an operation costs the server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU microseconds per operation.
    pub cpu_us_per_operation: f64,
    /// Cores' worth of CPU time that the server used.
    pub cores_used: f64,
    /// Resident bytes per open connection, where connections are held.
    pub resident_bytes_per_connection: Option<f64>,
}

/// How many devices the maximum is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sizing {
    /// Devices that the server carries at the maximum.
    pub devices: f64,
    /// Devices per core that the server used; `None` without `--watch-pid`.
    pub devices_per_core: Option<f64>,
    /// In a sentence.
    pub statement: String,
}

/// Whether the server carries the maximum again after an overload.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hysteresis {
    /// The overload.
    pub overload: f64,
    /// Operations per second that were completed well meanwhile.
    pub achieved_per_second: f64,
    /// Seconds until the maximum was carried again, from the overload's end; `None` if it was not.
    pub recovered_after_seconds: Option<f64>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// `bracket`, `narrow`, `again`, `above`, `light`, `confirm`, `overload` or `recovery`.
    pub purpose: String,
    /// The load offered.
    pub load: f64,
    /// When it began, RFC 3339, UTC.
    pub started_at: String,
    /// Length of its window in seconds.
    pub window_seconds: f64,
    /// What it shows by itself: `holds`, `fails`, `unclear`, or `not_counted` where the generator was not up to it.
    pub answer: ProbeAnswer,
    /// Operations that were to be made in the window.
    pub intended: u64,
    /// Those completed well.
    pub ok: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that found no free device.
    pub overflow: u64,
    /// Completed well per second.
    pub achieved_per_second: f64,
    /// Median response time in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile in milliseconds.
    pub p99_ms: Option<f64>,
    /// Connections open at the end.
    pub open: u64,
    /// CPU microseconds of the server per operation.
    pub cpu_us_per_operation: Option<f64>,
    /// Cores' worth of CPU time that the server used.
    pub cores_used: Option<f64>,
    /// Share of a core that its busiest thread used.
    pub busiest_thread: Option<f64>,
    /// Resident bytes that the server has grown by per open connection, where connections are held.
    pub resident_bytes_per_connection: Option<f64>,
    /// The conditions, one by one.
    pub conditions: Vec<ConditionResult>,
    /// How fit the generator was.
    pub generator: GeneratorHealth,
}

/// What one probe shows by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeAnswer {
    /// Every condition holds.
    Holds,
    /// One does not.
    Fails,
    /// Cannot be told.
    Unclear,
    /// The generator was not up to it.
    NotCounted,
}

impl ProbeAnswer {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            ProbeAnswer::Holds => "holds",
            ProbeAnswer::Fails => "fails",
            ProbeAnswer::Unclear => "cannot be told",
            ProbeAnswer::NotCounted => "not counted",
        }
    }
}

/// One condition in one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionResult {
    /// As it was written.
    pub name: String,
    /// The share of bad ones that was found; `None` without samples.
    pub share: Option<f64>,
    /// The share that is allowed.
    pub allowed: f64,
    /// What that shows.
    pub answer: ProbeAnswer,
}

/// How fit the generator was during a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorHealth {
    /// The verdict on the generator alone: what the server causes is left out.
    pub verdict: Verdict,
    /// Why it is not `valid`.
    pub reasons: Vec<String>,
    /// CPU share of its busiest shard.
    pub busiest_shard: f64,
    /// 99th percentile of the schedule lag in milliseconds.
    pub lag_p99_ms: f64,
}

/// Writes the result beside `path` and renames it.
///
/// # Errors
///
/// The file cannot be written.
pub fn save(result: &CapacityResult, path: &Path) -> Result<(), SaveError> {
    let failed = |source| SaveError {
        path: path.to_owned(),
        source,
    };
    let mut text = serde_json::to_string_pretty(result).map_err(|error| failed(error.into()))?;
    text.push('\n');
    super::file::write(path, &text).map_err(failed)
}

/// A result that cannot be saved.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct SaveError {
    /// Where to.
    path: PathBuf,
    /// Why.
    source: std::io::Error,
}
