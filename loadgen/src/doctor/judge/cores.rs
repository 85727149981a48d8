//! Cores, what handshakes cost on them, clock and timers.

use super::super::facts::Facts;
use super::super::kernel::{CONNECTION_US, SLOW_CLOCKS, USABLE_SHARE};
use super::{Finding, Level, Wanted, finding, level_of};

/// Steal beyond which measurements made here are doubtful: the bound of a run's own verdict.
const STEAL: f64 = 0.02;
/// Timer lateness beyond which an open-model run would be suspect, and beyond which it is noticeable, in microseconds.
const LATE_US: [u64; 2] = [5_000, 1_000];

/// Cores' worth of time that a run can use.
fn cores(facts: &Facts) -> f64 {
    let usable = facts.cores.usable.max(1) as f64;
    facts.cores.quota.map_or(usable, |quota| quota.min(usable))
}

/// Connections per second, each with a handshake and a request, that leave the generator on time.
pub(super) fn handshakes_per_second(facts: &Facts, resumed: bool) -> Option<f64> {
    let cost = facts.handshakes?;
    let handshake = if resumed {
        cost.resumed_us
    } else {
        cost.full_us
    };
    Some(cores(facts) * USABLE_SHARE * 1e6 / (handshake + CONNECTION_US))
}

pub(super) fn handshakes(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let cost = facts.handshakes?;
    let cores = cores(facts);
    let most = handshakes_per_second(facts, wanted.resumed)?;
    let level = level_of(wanted.rate_per_second, most);
    let machines = wanted
        .rate_per_second
        .map_or(1.0, |rate| (rate / (0.8 * most)).ceil());
    let lift = if level > Level::Fine && machines > 1.0 {
        vec![format!(
            "--segment 1/{machines}   # on {machines} machines like this one, then `loadgen merge`"
        )]
    } else {
        Vec::new()
    };
    finding(
        "handshakes",
        level,
        format!(
            "{:.0} us of CPU each in memory, {:.0} us resumed; with connection and request ({CONNECTION_US} us) on {} % of {cores} cores: {:.0}/s \
             full, {:.0}/s resumed; a server on this machine takes its part",
            cost.full_us,
            cost.resumed_us,
            USABLE_SHARE * 100.0,
            handshakes_per_second(facts, false)?,
            handshakes_per_second(facts, true)?,
        ),
        lift,
    )
}

pub(super) fn quota(facts: &Facts) -> Option<Finding> {
    let quota = facts.cores.quota?;
    let usable = facts.cores.usable.max(1);
    let (level, found) = if quota < usable as f64 {
        let found = format!(
            "the control group may use {quota} of {usable} cores: at the quota's end all threads stand still for the rest of its period"
        );
        (Level::Doubtful, found)
    } else {
        (Level::Fine, format!("{quota} cores for {usable} cores"))
    };
    let unlimited = |file: &String| {
        let nothing = if file.ends_with("cpu.max") {
            "max"
        } else {
            "-1"
        };
        format!("echo {nothing} | sudo tee {file}")
    };
    let lift = facts.cores.quota_file.iter().map(unlimited).collect();
    finding("CPU quota", level, found, lift)
}

pub(super) fn load(facts: &Facts) -> Option<Finding> {
    let load = facts.cores.load?;
    let usable = facts.cores.usable.max(1);
    let level = if load > 0.5 * usable as f64 {
        Level::Doubtful
    } else {
        Level::Fine
    };
    finding(
        "load",
        level,
        format!(
            "{load:.2} threads wanted one of {usable} cores over the last minute, before this run"
        ),
        Vec::new(),
    )
}

pub(super) fn steal(facts: &Facts) -> Option<Finding> {
    let share = facts.cores.steal_share?;
    let level = if share > STEAL {
        Level::Doubtful
    } else {
        Level::Fine
    };
    finding(
        "steal",
        level,
        format!(
            "the hypervisor gave {:.1} % of this machine's time to others just now",
            share * 100.0
        ),
        Vec::new(),
    )
}

pub(super) fn clock(facts: &Facts) -> Option<Finding> {
    let source = facts.clock.source.as_deref()?;
    let slow = SLOW_CLOCKS.contains(&source);
    let better = facts
        .clock
        .sources
        .iter()
        .find(|other| !SLOW_CLOCKS.contains(&other.as_str()))
        .filter(|_| slow);
    let file = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let lift = better.map(|better| format!("echo {better} | sudo tee {file}"));
    let (level, judged) = if slow {
        (Level::Doubtful, "every look at the clock is slow")
    } else {
        (Level::Fine, "read without a system call on most machines")
    };
    finding(
        "clock",
        level,
        format!("{source}: {judged}"),
        lift.into_iter().collect(),
    )
}

pub(super) fn timer(facts: &Facts) -> Option<Finding> {
    let late = facts.clock.timer_lateness_p99_us?;
    let [suspect, noticeable] = LATE_US;
    let level = if late > noticeable {
        Level::Doubtful
    } else {
        Level::Fine
    };
    let consequence = if late > suspect {
        ": an open-model run would be suspect"
    } else {
        ""
    };
    finding(
        "timers",
        level,
        format!(
            "arrivals are released within {late} us (p99) of their time on an idle thread{consequence}"
        ),
        Vec::new(),
    )
}
