//! Is the generator itself late? Rules that turn its condition into a verdict; pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Schedule lag (p99) beyond which an open-model run is suspect.
const LAG_SUSPECT: Duration = Duration::from_millis(5);
/// Schedule lag (p99) beyond which it is void.
const LAG_VOID: Duration = Duration::from_millis(100);
/// Share of a shard's time on its core beyond which the generator is the limit.
const CPU_SUSPECT: f64 = 0.95;
/// Share of its time for which a shard may wait for a core before a run is suspect.
const WAITING_SUSPECT: f64 = 0.25;
/// Share of time stolen by the hypervisor beyond which a run is suspect.
const STEAL_SUSPECT: f64 = 0.02;
/// And beyond which it is void.
const STEAL_VOID: f64 = 0.15;
/// Share of attempts that failed for want of something on this machine beyond which a run is void.
const LOCAL_VOID: f64 = 0.01;

/// Whether a run's numbers are to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Valid,
    /// With the reasons in mind.
    Suspect,
    /// No: the generator could not keep up.
    Void,
}

impl Verdict {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Suspect => "suspect",
            Verdict::Void => "void",
        }
    }
}

/// The generator's condition during the measured window.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// CPU time of each shard's thread over the window's length.
    pub shard_cpu_shares: Vec<f64>,
    /// Share of the window in which each shard's thread was ready and something else had its core.
    pub shard_waiting_shares: Vec<f64>,
    /// Share of this machine's time that the hypervisor gave to others; `None` where it cannot be read.
    pub steal_share: Option<f64>,
}

/// What the rules look at.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Open model, with a schedule that can be late.
    pub open_model: bool,
    /// 99th percentile of the schedule lag.
    pub lag_p99: Duration,
    /// The busiest shard's CPU share.
    pub busiest_shard: f64,
    /// The share for which the most hindered shard waited for a core.
    pub waiting: f64,
    /// Steal.
    pub steal_share: Option<f64>,
    /// Arrivals intended.
    pub intended: u64,
    /// Arrivals that were overflow.
    pub overflow: u64,
    /// Attempts that failed for want of something on this machine.
    pub local_failures: u64,
    /// Devices whose preparation failed.
    pub unprepared: u64,
    /// Watched processes that vanished.
    pub vanished: Vec<u32>,
    /// Stopped from outside.
    pub interrupted: bool,
}

/// The verdict and its reasons, in words.
pub fn judge(evidence: &Evidence) -> (Verdict, Vec<String>) {
    let mut findings: Vec<(Verdict, String)> = Vec::new();
    let mut find = |verdict, reason: String| findings.push((verdict, reason));
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let share_of_intended = |count: u64| count as f64 / evidence.intended.max(1) as f64;

    if evidence.interrupted {
        find(
            Verdict::Suspect,
            "the run was stopped before its end: the result is partial".to_owned(),
        );
    }
    if evidence.local_failures > 0 {
        let share = share_of_intended(evidence.local_failures);
        let verdict = if share > LOCAL_VOID {
            Verdict::Void
        } else {
            Verdict::Suspect
        };
        find(
            verdict,
            format!(
                "{} attempts failed because this machine ran out of descriptors, addresses or memory",
                evidence.local_failures
            ),
        );
    }
    if evidence.open_model && evidence.lag_p99 > LAG_SUSPECT {
        let verdict = if evidence.lag_p99 > LAG_VOID {
            Verdict::Void
        } else {
            Verdict::Suspect
        };
        find(
            verdict,
            format!(
                "the generator was late: 1 % of the attempts started {:.1} ms or more after their intended start",
                evidence.lag_p99.as_secs_f64() * 1e3
            ),
        );
    }
    if evidence.busiest_shard > CPU_SUSPECT {
        find(
            Verdict::Suspect,
            format!(
                "a shard of the generator used {} of its core: times include the generator's own, rates are a lower bound",
                percent(evidence.busiest_shard)
            ),
        );
    }
    if evidence.waiting > WAITING_SUSPECT {
        find(
            Verdict::Suspect,
            format!(
                "other programs kept a shard of the generator waiting for a core {} of the time",
                percent(evidence.waiting)
            ),
        );
    }
    if let Some(steal) = evidence.steal_share.filter(|steal| *steal > STEAL_SUSPECT) {
        let verdict = if steal > STEAL_VOID {
            Verdict::Void
        } else {
            Verdict::Suspect
        };
        find(
            verdict,
            format!(
                "the hypervisor gave {} of this machine's time to others",
                percent(steal)
            ),
        );
    }
    if evidence.overflow > 0 {
        find(
            Verdict::Suspect,
            format!(
                "{} arrivals ({}) found no free device and were not sent: more --devices, or a server that answers sooner",
                evidence.overflow,
                percent(share_of_intended(evidence.overflow))
            ),
        );
    }
    if evidence.unprepared > 0 {
        find(
            Verdict::Suspect,
            format!(
                "{} devices could not be prepared (ticket or connection) before the load",
                evidence.unprepared
            ),
        );
    }
    for pid in &evidence.vanished {
        find(
            Verdict::Suspect,
            format!("the watched process {pid} ended during the run"),
        );
    }
    if evidence.intended == 0 && !evidence.interrupted && evidence.open_model {
        find(
            Verdict::Suspect,
            "no arrival fell into the measured window".to_owned(),
        );
    }

    let verdict = findings
        .iter()
        .map(|(verdict, _)| *verdict)
        .max()
        .unwrap_or(Verdict::Valid);
    findings.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
    (
        verdict,
        findings.into_iter().map(|(_, reason)| reason).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Evidence {
        Evidence {
            open_model: true,
            lag_p99: Duration::from_micros(200),
            busiest_shard: 0.5,
            steal_share: Some(0.0),
            intended: 1000,
            ..Evidence::default()
        }
    }

    fn verdict(change: impl FnOnce(&mut Evidence)) -> Verdict {
        let mut evidence = healthy();
        change(&mut evidence);
        let (verdict, reasons) = judge(&evidence);
        assert_eq!(verdict == Verdict::Valid, reasons.is_empty());
        verdict
    }

    #[test]
    fn each_rule_has_its_verdict() {
        assert_eq!(verdict(|_| ()), Verdict::Valid);
        assert_eq!(
            verdict(|e| e.lag_p99 = Duration::from_millis(6)),
            Verdict::Suspect
        );
        assert_eq!(
            verdict(|e| e.lag_p99 = Duration::from_secs(1)),
            Verdict::Void
        );
        assert_eq!(verdict(|e| e.busiest_shard = 0.99), Verdict::Suspect);
        assert_eq!(verdict(|e| e.waiting = 0.3), Verdict::Suspect);
        assert_eq!(verdict(|e| e.steal_share = Some(0.05)), Verdict::Suspect);
        assert_eq!(verdict(|e| e.steal_share = Some(0.5)), Verdict::Void);
        assert_eq!(verdict(|e| e.overflow = 1), Verdict::Suspect);
        assert_eq!(verdict(|e| e.local_failures = 1), Verdict::Suspect);
        assert_eq!(verdict(|e| e.local_failures = 100), Verdict::Void);
        assert_eq!(verdict(|e| e.vanished = vec![7]), Verdict::Suspect);
        assert_eq!(verdict(|e| e.interrupted = true), Verdict::Suspect);
        assert_eq!(verdict(|e| e.unprepared = 3), Verdict::Suspect);
    }

    #[test]
    fn the_worst_reason_comes_first() {
        let mut evidence = healthy();
        evidence.overflow = 10;
        evidence.lag_p99 = Duration::from_secs(1);
        let (verdict, reasons) = judge(&evidence);
        assert_eq!(verdict, Verdict::Void);
        assert!(reasons[0].contains("late"), "{reasons:?}");
    }
}
