//! What was to be reached in the storms; pure.

use super::choices::{BURST_FACTOR, Choices};
use super::phase::{Kind, Phase};
use super::report::Findings;
use crate::bar::{Bar, Side};

/// Goodput as a share of the capacity measured just before.
const GOODPUT: f64 = 0.90;
/// 99th percentile of established devices' requests, up to twice the capacity and beyond.
const ESTABLISHED_MS: [f64; 2] = [10.0, 20.0];
/// From the end of the storm until these are as in the quiet.
const RECOVERY_SECONDS: f64 = 1.0;
/// What memory may have grown by from the first five-fold storm to the end, in megabytes of 10⁶ bytes.
const MEMORY_MB: f64 = 8.0;

/// Every bar, in the order of the report.
pub(super) fn bars(choices: &Choices, findings: &Findings) -> Vec<Bar> {
    let judged = findings.quota && !choices.quick;
    let mut bars = Vec::new();
    for phase in &findings.phases {
        match phase.kind {
            Kind::Storm(factor) => bars.extend(of_storm(phase, factor, judged)),
            Kind::Burst => bars.extend(of_burst(phase, judged)),
            Kind::WarmUp | Kind::Probe | Kind::Capacity => {}
        }
    }
    let failed: usize = findings
        .phases
        .iter()
        .map(|phase| phase.established.failed)
        .sum();
    let always = |what: &str, value: f64, limit, unit| {
        Bar::always(what, Some(value), Side::AtMost, limit, unit)
    };
    let [before, after] = findings.held;
    bars.push(always(
        "requests of established devices that were not answered",
        failed as f64,
        0.0,
        "",
    ));
    bars.push(always(
        "connections that the gateway still counts when all have left",
        after.connections as f64,
        0.0,
        "",
    ));
    bars.push(always(
        "descriptors that were not there before the storms",
        (after.descriptors - before.descriptors) as f64,
        0.0,
        "",
    ));
    let first = findings
        .phases
        .iter()
        .find(|phase| matches!(phase.kind, Kind::Storm(factor) if factor > 2.0))
        .map_or(before.resident_bytes, |phase| phase.resident_bytes);
    bars.push(
        always(
            "memory at the end above that after the first storm of five times the capacity",
            (after.resident_bytes as f64 - first as f64) / 1e6,
            MEMORY_MB,
            "MB",
        )
        .timed(judged),
    );
    bars
}

fn of_storm(phase: &Phase, factor: f64, judged: bool) -> [Bar; 3] {
    let title = phase.title();
    let [mild, hard] = ESTABLISHED_MS;
    let patience = if factor <= 2.0 { mild } else { hard };
    let bar = |what: &str, value, side, limit, unit| {
        Bar::always(format!("{title}: {what}"), value, side, limit, unit).timed(judged)
    };
    [
        bar(
            "goodput ÷ capacity",
            phase.share,
            Side::AtLeast,
            GOODPUT,
            "",
        ),
        bar(
            "p99 of established devices",
            phase.established.p99_ms,
            Side::AtMost,
            patience,
            "ms",
        ),
        bar(
            "quiet again after",
            phase.recovery_seconds,
            Side::AtMost,
            RECOVERY_SECONDS,
            "s",
        ),
    ]
}

fn of_burst(phase: &Phase, judged: bool) -> [Bar; 2] {
    let title = format!("burst of {} at {BURST_FACTOR} × capacity", phase.intended);
    let bar = |what: &str, value: u64, side, limit| {
        Bar::always(
            format!("{title}: {what}"),
            Some(value as f64),
            side,
            limit,
            "",
        )
        .timed(judged)
    };
    [
        bar("served", phase.served, Side::AtLeast, phase.intended as f64),
        bar(
            "shed",
            phase.gateway.map_or(0, |counts| counts.shed),
            Side::AtMost,
            0.0,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::bar::Outcome;

    #[test]
    fn a_good_run_reaches_every_bar() {
        let report = fixture::report();
        assert_eq!(report.bars.len(), 4 * 3 + 2 + 4);
        for bar in &report.bars {
            assert_eq!(bar.outcome, Outcome::Reached, "{bar:?}");
        }
        assert!(report.passed && !report.void, "{:?}", report.problems);
    }

    #[test]
    fn each_promise_that_is_broken_is_named() {
        let missed = |change: fn(&mut Findings)| {
            let mut findings = fixture::findings();
            change(&mut findings);
            let bars = bars(&fixture::choices(), &findings);
            let problems: Vec<String> = bars.iter().filter_map(Bar::problem).collect();
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems[0].clone()
        };
        assert!(
            missed(|findings| fixture::first_storm(findings).share = Some(0.5)).contains("goodput")
        );
        assert!(
            missed(|findings| fixture::first_storm(findings).recovery_seconds = None)
                .contains("no figure")
        );
        assert!(
            missed(|findings| fixture::first_storm(findings).established.p99_ms = Some(10.5))
                .contains("p99")
        );
        assert!(missed(|findings| findings.held[1].connections = 1).contains("still counts"));
        assert!(missed(|findings| findings.held[1].descriptors += 2).contains("descriptors"));
        assert!(
            missed(|findings| findings.held[1].resident_bytes += 50_000_000).contains("memory")
        );
        assert!(missed(|findings| fixture::burst(findings).served -= 1).contains("served"));
        assert!(
            missed(|findings| {
                let counts = &mut fixture::burst(findings).gateway;
                counts.as_mut().unwrap().shed = 1;
            })
            .contains("shed")
        );
    }

    #[test]
    fn without_a_quota_times_are_not_judged_and_leaks_are() {
        let mut findings = fixture::findings();
        findings.quota = false;
        fixture::first_storm(&mut findings).share = Some(0.1);
        findings.held[1].connections = 3;
        let bars = bars(&fixture::choices(), &findings);
        let problems: Vec<String> = bars.iter().filter_map(Bar::problem).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
