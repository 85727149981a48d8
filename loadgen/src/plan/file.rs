//! Plan files: a plan written in TOML, for what flags cannot say.
//!
//! Reads text only; whoever has the file opens it. Everything that is wrong is said at once, each with its line. What a
//! file leaves open (the target, the fleet) flags may say.

mod fleet;
mod scenario;
mod section;
mod threshold;
mod tree;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::{
    Distances, FleetSpec, Group, Limit, Plan, Scenario, Scenarios, SourceAddresses, Target,
    Threshold, TlsVersion, sharing,
};
use section::{Problems, Section};

/// Length of a scenario, and with it of the window, where nothing is said about it.
const USUAL_DURATION: Duration = Duration::from_secs(30);
/// Time for an attempt where nothing is said about it.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Load before the window where a scenario can serve as warm-up.
const USUAL_WARMUP: Duration = Duration::from_secs(2);

/// One thing that is wrong with a plan file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, with those of the tables around it; empty for the file as a whole.
    pub key: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.problem)
    }
}

/// What a plan file says.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanFile {
    /// The server, if the file names it.
    pub target: Option<Target>,
    /// The fleet, if the file names it.
    pub fleet: Option<FleetSpec>,
    devices: Option<usize>,
    scenarios: Scenarios,
    warmup: Duration,
    tls: TlsVersion,
    groups: Vec<Group>,
    source_addresses: Option<SourceAddresses>,
    timeout: Duration,
    distances: Distances,
    patience: Option<Duration>,
    seed: u64,
    shards: Option<usize>,
    watch_pids: Vec<u32>,
    thresholds: Vec<Threshold>,
}

impl PlanFile {
    /// Reads a file's text; relative paths in it start at `folder`, which is the file's.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the file's order.
    pub fn read(text: &str, folder: &Path) -> Result<PlanFile, Vec<Problem>> {
        let (root, mut wrong) = tree::parse(text);
        if wrong.is_empty() {
            let problems = Problems::default();
            let file = read(Section::new(root, String::new(), &problems), folder);
            wrong = problems.into_list();
            if let (Some(file), true) = (file, wrong.is_empty()) {
                return Ok(file);
            }
        }
        wrong.sort_by_key(|problem| problem.line);
        Err(wrong)
    }

    /// The plan against `target` with the devices of `fleet`.
    pub fn into_plan(self, target: Target, fleet: FleetSpec) -> Plan {
        let mut plan = Plan::new(target, "");
        plan.fleet = fleet;
        plan.devices = self.devices;
        plan.scenarios = self.scenarios;
        plan.warmup = self.warmup;
        plan.tls = self.tls;
        plan.groups = self.groups;
        if let Some(addresses) = self.source_addresses {
            plan.source_addresses = addresses;
        }
        plan.timeout = self.timeout;
        plan.distances = self.distances;
        plan.patience = self.patience;
        plan.seed = self.seed;
        plan.shards = self.shards;
        plan.watch_pids = self.watch_pids;
        plan.thresholds = self.thresholds;
        plan
    }
}

fn read(mut section: Section<'_>, folder: &Path) -> Option<PlanFile> {
    let target = target(&mut section);
    let fleet = section.table("fleet");
    let (fleet, devices) = fleet.map_or((None, None), |table| fleet::read(table, folder));
    let duration = section.positive_duration("duration");
    let scenarios = scenarios(&mut section, duration.unwrap_or(USUAL_DURATION));
    let thresholds = threshold::read(&mut section, &scenarios);
    let warmup = section.duration("warmup");
    let tls = section.choice(
        "tls",
        &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)],
    );
    let groups = groups(&mut section);
    let source_addresses = section.parsed("source_ips", str::parse);
    let timeout = section.positive_duration("timeout");
    let distances = section.parsed("distance", str::parse);
    let patience = section.positive_duration("patience");
    let seed = section.whole("seed", 0);
    let shards = section.count("shards", 1);
    let watch_pids = pids(&mut section);
    section.finish();
    Some(PlanFile {
        target,
        fleet,
        devices,
        warmup: warmup.unwrap_or_else(|| usual_warmup(&scenarios)),
        scenarios: Scenarios::from_list(scenarios)?,
        tls: tls.unwrap_or(TlsVersion::Tls13),
        groups,
        source_addresses,
        timeout: timeout.unwrap_or(USUAL_TIMEOUT),
        distances: distances.unwrap_or_default(),
        patience,
        seed: seed.unwrap_or(1),
        shards,
        watch_pids,
        thresholds,
    })
}

fn target(section: &mut Section<'_>) -> Option<Target> {
    let target = section.parsed("target", Target::parse);
    let connect_to = section.parsed("connect_to", |text| {
        text.parse()
            .map_err(|_| format!("`{text}` is not an address and port such as 127.0.0.1:8443"))
    });
    if connect_to.is_some() && !section.is_given("target") {
        section.lacks("connect_to", "means nothing without target");
    }
    Some(Target {
        connect_to,
        ..target?
    })
}

fn scenarios(section: &mut Section<'_>, duration: Duration) -> Vec<Scenario> {
    let table = section.table("scenarios");
    let why = "tables of what is to happen, each written [scenarios.NAME]";
    let Some(table) = section.needed("scenarios", table, why) else {
        return Vec::new();
    };
    let tables = table.named();
    if tables.is_empty() {
        section.lacks("scenarios", "at least one [scenarios.NAME] is needed");
    }
    let (lines, scenarios): (Vec<_>, Vec<_>) = tables
        .into_iter()
        .filter_map(|(name, table)| Some((table.line(), scenario::read(name, table, duration)?)))
        .unzip();
    check_sharing(section, &lines, &scenarios);
    scenarios
}

/// Notes who shares devices with whom and must not, as far as that can be told without the fleet.
fn check_sharing(section: &Section<'_>, lines: &[usize], scenarios: &[Scenario]) {
    let all: Vec<_> = scenarios.iter().collect();
    let overlap = |one: usize, other: usize| {
        let pair = scenarios.get(one).zip(scenarios.get(other));
        pair.is_some_and(|(one, other)| one.devices.always_overlaps(other.devices))
    };
    for (later, conflict) in sharing::conflicts(&all, overlap) {
        let line = lines.get(later).copied().unwrap_or_default();
        section.wrong("scenarios", line, conflict.to_string());
    }
}

fn usual_warmup(scenarios: &[Scenario]) -> Duration {
    let can_warm_up = |scenario: &Scenario| {
        let mut executor = scenario.executor.clone();
        let counted = matches!(executor.limit_mut(), Some(Limit::Count(_)));
        scenario.runs_in_warmup() && !counted
    };
    if scenarios.iter().any(can_warm_up) {
        USUAL_WARMUP
    } else {
        Duration::ZERO
    }
}

fn groups(section: &mut Section<'_>) -> Vec<Group> {
    let mut groups = Vec::new();
    for node in section.list("groups").unwrap_or_default() {
        let group = match &node.value {
            tree::Value::Text(text) => Group::named(text),
            _ => None,
        };
        match group {
            Some(group) => groups.push(group),
            None => section.wrong(
                "groups",
                node.line,
                format!(
                    "{} is not one of X25519, P-256, P-384, X25519MLKEM768",
                    node.value.shown()
                ),
            ),
        }
    }
    if groups.is_empty() {
        groups.push(Group::X25519);
    }
    groups
}

fn pids(section: &mut Section<'_>) -> Vec<u32> {
    let mut pids = Vec::new();
    for node in section.list("watch_pids").unwrap_or_default() {
        match node.value {
            tree::Value::Whole(pid) if u32::try_from(pid).is_ok_and(|pid| pid > 0) => {
                pids.extend(u32::try_from(pid));
            }
            other => section.wrong(
                "watch_pids",
                node.line,
                format!("{} is not a process id", other.shown()),
            ),
        }
    }
    pids
}

#[cfg(test)]
mod tests;
