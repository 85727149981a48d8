//! From the end of a search to its result: what was found, what limits it, what it costs, how many devices that is.

use std::collections::BTreeSet;

use super::Order;
use super::observe;
use super::search::{Conclusion, Kind, Purpose, Search, Step};
use crate::measure::ControlGroup;
use crate::report::Host;
use crate::report::capacity::text::load;
use crate::report::capacity::{
    CapacityResult, CapacityRun, CapacityVerdict, Choices, Cost, Hysteresis, Limit, LimitKind,
    Maximum, ProbeAnswer, ProbeResult, SCHEMA, Sizing, Variable,
};

/// Share of its processor time from which a server has none left.
const SATURATED: f64 = 0.9;

/// What was gathered on the way.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) probes: Vec<ProbeResult>,
    pub(super) hysteresis: Option<Hysteresis>,
    pub(super) seconds: f64,
    pub(super) interrupted: bool,
}

pub(super) fn conclude(order: &Order, search: &Search, told: Told) -> CapacityResult {
    let conclusion = match search.next() {
        Step::Done(conclusion) => conclusion,
        // Interrupted: what is known by now.
        Step::Probe(_) => Conclusion {
            kind: Kind::Inconclusive,
            ..search.conclusion()
        },
    };
    let verdict = match conclusion.kind {
        Kind::Found => CapacityVerdict::Found,
        Kind::HoldsAll => CapacityVerdict::HoldsAll,
        Kind::GeneratorLimited => CapacityVerdict::GeneratorLimited,
        Kind::HoldsNothing => CapacityVerdict::HoldsNothing,
        Kind::Inconclusive => CapacityVerdict::Inconclusive,
    };
    let at = conclusion
        .maximum
        .and_then(|maximum| best_probe(&told.probes, maximum));
    let maximum = conclusion.maximum.zip(at).map(|(value, at)| Maximum {
        load: value,
        low: value,
        high: conclusion.fails_at,
        confirmed: is_confirmed(&told.probes, value),
        achieved_per_second: at.achieved_per_second,
    });
    let cost = at.and_then(|at| {
        Some(Cost {
            cpu_us_per_operation: at.cpu_us_per_operation?,
            cores_used: at.cores_used?,
            resident_bytes_per_connection: at.resident_bytes_per_connection,
        })
    });
    let unit = unit(order);
    CapacityResult {
        schema: SCHEMA.to_owned(),
        statement: statement(verdict, maximum, &conclusion, &unit, order),
        limited_by: limit(order, &conclusion, &told.probes),
        sizing: maximum.map(|maximum| sizing(order, maximum, cost)),
        choices: choices(order, unit),
        run: CapacityRun {
            started_at: told.probes.first().map(|probe| probe.started_at.clone()),
            seconds: told.seconds,
            interrupted: told.interrupted,
            loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        host: Host::here(),
        verdict,
        maximum,
        cost,
        hysteresis: told.hysteresis,
        probes: told.probes,
    }
}

/// The longest probe at `value` that counts.
fn best_probe(probes: &[ProbeResult], value: f64) -> Option<&ProbeResult> {
    let probes = probes.iter().filter(|probe| probe.load == value);
    let counted = probes.filter(|probe| {
        probe.answer != ProbeAnswer::NotCounted && probe.purpose != observe::name(Purpose::Recovery)
    });
    counted.max_by(|one, other| one.window_seconds.total_cmp(&other.window_seconds))
}

fn is_confirmed(probes: &[ProbeResult], value: f64) -> bool {
    probes.iter().any(|probe| {
        probe.load == value
            && probe.purpose == observe::name(Purpose::Confirm)
            && probe.answer == ProbeAnswer::Holds
    })
}

/// What one unit of the load is.
fn unit(order: &Order) -> String {
    let activity = &order.plan.scenarios.first().activity;
    match order.variable {
        Variable::Devices => format!(
            "open devices, each sending every {}",
            humantime::format_duration(order.interval)
        ),
        Variable::Requests => "requests/s on open connections".to_owned(),
        Variable::Connections if activity.reuse > 0.0 => "mixed operations/s".to_owned(),
        Variable::Connections => match activity.resume_ratio {
            0.0 => "full connections/s".to_owned(),
            1.0 => "resumed connections/s".to_owned(),
            share => format!("connections/s, {:.0} % of them resumed", share * 100.0),
        },
    }
}

fn statement(
    verdict: CapacityVerdict,
    maximum: Option<Maximum>,
    conclusion: &Conclusion,
    unit: &str,
    order: &Order,
) -> String {
    let interval = |maximum: Maximum| match maximum.high {
        Some(high) => format!("95 % interval {} to {}", load(maximum.low), load(high)),
        None => "no upper bound was found".to_owned(),
    };
    match (verdict, maximum) {
        (CapacityVerdict::Found, Some(maximum)) => {
            format!("{} {unit} ({})", load(maximum.load), interval(maximum))
        }
        (CapacityVerdict::HoldsAll, Some(maximum)) => format!(
            ">= {} {unit}: the highest load to try (--to) holds",
            load(maximum.load)
        ),
        (CapacityVerdict::GeneratorLimited, Some(maximum)) => {
            format!(">= {} {unit}, limited by the generator", load(maximum.load))
        }
        (CapacityVerdict::GeneratorLimited, None) => {
            "unknown: the generator was not up to any of the loads".to_owned()
        }
        (CapacityVerdict::HoldsNothing, _) => format!(
            "below {} {unit}: not even that holds",
            load(conclusion.fails_at.unwrap_or(order.bounds.lowest))
        ),
        (_, Some(maximum)) => format!(
            "could not be told; {} {unit} holds ({})",
            load(maximum.load),
            interval(maximum)
        ),
        (_, None) => "could not be told".to_owned(),
    }
}

fn limit(order: &Order, conclusion: &Conclusion, probes: &[ProbeResult]) -> Limit {
    let none = Vec::new();
    match conclusion.kind {
        Kind::HoldsAll => Limit {
            kind: LimitKind::Ceiling,
            detail: "nothing: higher loads were not to be tried (--to)".to_owned(),
            conditions: none,
        },
        Kind::GeneratorLimited => Limit {
            kind: LimitKind::Generator,
            detail: generator_reason(conclusion, probes),
            conditions: none,
        },
        Kind::Found | Kind::HoldsNothing | Kind::Inconclusive => match conclusion.fails_at {
            Some(fails_at) => server_limit(order, fails_at, probes),
            None => Limit {
                kind: LimitKind::Unknown,
                detail: "not known: no load certainly failed".to_owned(),
                conditions: none,
            },
        },
    }
}

fn generator_reason(conclusion: &Conclusion, probes: &[ProbeResult]) -> String {
    let at = conclusion.limited_at.unwrap_or_default();
    let reason = probes
        .iter()
        .filter(|probe| probe.load == at)
        .find_map(|probe| probe.generator.reasons.first());
    format!(
        "the generator at {}: {}",
        load(at),
        reason.map_or("it was not up to it", String::as_str)
    )
}

/// What is scarce where the server fails: its processor time, as far as that can be seen, or something else.
fn server_limit(order: &Order, fails_at: f64, probes: &[ProbeResult]) -> Limit {
    let failing = || {
        let at_least = probes.iter().filter(|probe| probe.load >= fails_at);
        at_least.filter(|probe| probe.answer == ProbeAnswer::Fails)
    };
    let at_limit = failing().filter(|probe| probe.load == fails_at);
    let conditions: BTreeSet<String> = at_limit
        .flat_map(|probe| &probe.conditions)
        .filter(|condition| condition.answer == ProbeAnswer::Fails)
        .map(|condition| condition.name.clone())
        .collect();
    let conditions: Vec<_> = conditions.into_iter().collect();
    let words = if conditions.is_empty() {
        "the looks at it taken together".to_owned()
    } else {
        conditions.join(", ")
    };
    let most =
        |share: fn(&ProbeResult) -> Option<f64>| failing().filter_map(share).fold(0.0, f64::max);
    let (thread, cores) = (most(|p| p.busiest_thread), most(|p| p.cores_used));
    let quota = order
        .plan
        .watch_pids
        .iter()
        .filter_map(|pid| ControlGroup::of(*pid));
    let quota = quota.map(|group| group.cores).reduce(f64::min);
    let machine = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let saturated = if let Some(quota) = quota.filter(|quota| cores >= SATURATED * quota) {
        Some(format!(
            "it used {cores:.2} of the {quota:.2} cores that its control group may use"
        ))
    } else if thread >= SATURATED {
        Some(format!(
            "its busiest thread used {:.0} % of a core",
            thread * 100.0
        ))
    } else if cores >= SATURATED * machine {
        Some(format!(
            "it used {cores:.2} of the machine's {machine:.0} cores"
        ))
    } else {
        None
    };
    let (kind, cause) = match (saturated, order.plan.watch_pids.is_empty()) {
        (Some(how), _) => (
            LimitKind::ServerCpu,
            format!("the server's CPU time: {how}"),
        ),
        (None, false) => (
            LimitKind::Slo,
            format!("a condition, not the server's CPU time: it used {cores:.2} cores"),
        ),
        (None, true) => (
            LimitKind::Slo,
            "a condition (--watch-pid would tell whether CPU time is scarce)".to_owned(),
        ),
    };
    Limit {
        kind,
        detail: format!("{cause}; at {} fails: {words}", load(fails_at)),
        conditions,
    }
}

fn sizing(order: &Order, maximum: Maximum, cost: Option<Cost>) -> Sizing {
    let within = humantime::format_duration(order.within);
    let interval = humantime::format_duration(order.interval);
    let (devices, doing) = match order.variable {
        Variable::Connections => (
            maximum.load * order.within.as_secs_f64(),
            format!("reconnecting within {within}"),
        ),
        Variable::Requests => (
            maximum.load * order.interval.as_secs_f64(),
            format!("that each send every {interval}"),
        ),
        Variable::Devices => (maximum.load, format!("that each send every {interval}")),
    };
    let cores = cost
        .map(|cost| cost.cores_used)
        .filter(|cores| *cores > 0.0);
    let per_core = cores.map(|cores| devices / cores);
    let statement = match per_core {
        Some(per_core) => format!("a core carries {per_core:.0} devices {doing}"),
        None => format!("this server carries {devices:.0} devices {doing}"),
    };
    Sizing {
        devices,
        devices_per_core: per_core,
        statement,
    }
}

fn choices(order: &Order, unit: String) -> Choices {
    let mut conditions = vec![observe::keeps_up()];
    if order.variable == Variable::Devices {
        conditions.push(observe::stays_open());
    }
    Choices {
        search: order.variable,
        unit,
        conditions,
        from: order.bounds.from,
        to: order.bounds.to,
        precision: order.bounds.precision,
        settle_seconds: order.settle_seconds,
        window_seconds: order.window_seconds,
        confirm_seconds: order.confirm_seconds,
        within_seconds: order.within.as_secs_f64(),
        interval_seconds: (order.variable != Variable::Connections)
            .then_some(order.interval.as_secs_f64()),
        plan: order.plan.clone(),
    }
}
