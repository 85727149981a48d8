//! Is the generator itself late? Rules that turn its condition into a verdict; pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outcome::LocalCause;

/// Schedule lag (p99) beyond which an open-model run is suspect, and beyond which it is void.
const LAG: Bounds<Duration> = Bounds {
    suspect: Duration::from_millis(5),
    void: Duration::from_millis(100),
};
/// Share of a shard's time on its core beyond which the generator is the limit. In the closed model rates are a lower bound then; in the
/// open model nothing is left to be on time with, and it is void beyond [`CPU_VOID`].
const CPU_SUSPECT: f64 = 0.95;
/// See [`CPU_SUSPECT`].
const CPU_VOID: f64 = 0.995;
/// Share of its time for which a shard may be ready to run while something else has its core.
const WAITING: Bounds<f64> = Bounds {
    suspect: 0.25,
    void: 0.60,
};
/// Share of the time for which the control group's quota may hold this process up.
const THROTTLED: Bounds<f64> = Bounds {
    suspect: 0.02,
    void: 0.25,
};
/// Share of time stolen by the hypervisor.
const STEAL: Bounds<f64> = Bounds {
    suspect: 0.02,
    void: 0.15,
};
/// Share of attempts that failed for want of something on this machine; a single one is reason to doubt.
const LOCAL_VOID: f64 = 0.01;
/// Shares of a shorter time say little (the kernel counts in ticks of up to 10 ms): they give reason to doubt and no more.
const SHORT: Duration = Duration::from_secs(1);

/// Beyond the first a run is suspect, beyond the second void.
struct Bounds<T> {
    suspect: T,
    void: T,
}

impl<T: PartialOrd> Bounds<T> {
    /// `None` within both.
    fn judge(&self, value: T) -> Option<Verdict> {
        if value > self.void {
            Some(Verdict::Void)
        } else if value > self.suspect {
            Some(Verdict::Suspect)
        } else {
            None
        }
    }
}

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
    /// Share of the window in which the control group's CPU quota kept this process from running; `None` without a quota.
    pub throttled_share: Option<f64>,
}

/// What the rules look at.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The time over which the shares below were taken.
    pub window: Duration,
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
    /// The share for which a CPU quota held this process up.
    pub throttled_share: Option<f64>,
    /// Arrivals intended.
    pub intended: u64,
    /// Arrivals that were overflow.
    pub overflow: u64,
    /// Attempts that failed for want of something on this machine, by what it was.
    pub local_failures: BTreeMap<LocalCause, u64>,
    /// Devices whose preparation failed.
    pub unprepared: u64,
    /// Watched processes that vanished.
    pub vanished: Vec<u32>,
    /// Stopped from outside.
    pub interrupted: bool,
}

/// The verdict and its reasons: what was found, in figures, and what to do about it.
pub fn judge(evidence: &Evidence) -> (Verdict, Vec<String>) {
    let mut findings: Vec<(Verdict, String)> = [
        interruption(evidence),
        lateness(evidence),
        own_cpu(evidence),
        waiting(evidence),
        throttling(evidence),
        steal(evidence),
        overflow(evidence),
        preparation(evidence),
        emptiness(evidence),
    ]
    .into_iter()
    .flatten()
    .collect();
    findings.extend(local_failures(evidence));
    findings.extend(evidence.vanished.iter().map(|pid| {
        let reason = format!(
            "the watched process {pid} ended during the run: what it used since is missing; see why it ended"
        );
        (Verdict::Suspect, reason)
    }));
    // Stable: among equals the order is that above.
    findings.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
    let verdict = findings
        .first()
        .map_or(Verdict::Valid, |(verdict, _)| *verdict);
    (
        verdict,
        findings.into_iter().map(|(_, reason)| reason).collect(),
    )
}

impl Evidence {
    /// The same without what a server can bring about: who asks whether the generator was up to its task must not count these.
    pub fn of_the_generator_alone(self) -> Evidence {
        Evidence {
            overflow: 0,
            unprepared: 0,
            vanished: Vec::new(),
            interrupted: false,
            ..self
        }
    }

    /// The verdict that a share of the window carries.
    fn of_share(&self, verdict: Verdict) -> Verdict {
        if self.window < SHORT {
            verdict.min(Verdict::Suspect)
        } else {
            verdict
        }
    }
}

/// A verdict and the reason for it.
type Finding = Option<(Verdict, String)>;

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn interruption(evidence: &Evidence) -> Finding {
    evidence.interrupted.then(|| {
        let reason = "the run was stopped before its end: the result is partial";
        (Verdict::Suspect, reason.to_owned())
    })
}

fn lateness(evidence: &Evidence) -> Finding {
    if !evidence.open_model {
        return None;
    }
    let verdict = LAG.judge(evidence.lag_p99)?;
    let reason = format!(
        "the generator was late: 1 % of the attempts started {:.1} ms or more after their intended start; \
         lower the rate, give the generator more cores (--shards) or split the load (--segment)",
        evidence.lag_p99.as_secs_f64() * 1e3
    );
    Some((verdict, reason))
}

fn own_cpu(evidence: &Evidence) -> Finding {
    if evidence.busiest_shard <= CPU_SUSPECT {
        return None;
    }
    let verdict = if evidence.open_model && evidence.busiest_shard > CPU_VOID {
        evidence.of_share(Verdict::Void)
    } else {
        Verdict::Suspect
    };
    let reason = format!(
        "a shard of the generator used {} of its core: times include the generator's own, rates are a lower bound; \
         give it more cores (--shards) or split the load (--segment)",
        percent(evidence.busiest_shard)
    );
    Some((verdict, reason))
}

fn waiting(evidence: &Evidence) -> Finding {
    let verdict = evidence.of_share(WAITING.judge(evidence.waiting)?);
    let reason = format!(
        "other programs kept a shard of the generator waiting for a core {} of the time: \
         leave them a core of their own (--shards, taskset) or end them",
        percent(evidence.waiting)
    );
    Some((verdict, reason))
}

fn throttling(evidence: &Evidence) -> Finding {
    let share = evidence.throttled_share?;
    let verdict = evidence.of_share(THROTTLED.judge(share)?);
    let reason = format!(
        "the CPU quota of this control group kept the generator from running {} of the time: raise it (cpu.max, or the container's CPU limit)",
        percent(share)
    );
    Some((verdict, reason))
}

fn steal(evidence: &Evidence) -> Finding {
    let share = evidence.steal_share?;
    let verdict = evidence.of_share(STEAL.judge(share)?);
    let reason = format!(
        "the hypervisor gave {} of this machine's time to others: repeat the run, or use a machine with cores of its own",
        percent(share)
    );
    Some((verdict, reason))
}

fn overflow(evidence: &Evidence) -> Finding {
    let share = evidence.overflow as f64 / evidence.intended.max(1) as f64;
    (evidence.overflow > 0).then(|| {
        let reason = format!(
            "{} arrivals ({}) found no free device and were not sent: more --devices, or a server that answers sooner",
            evidence.overflow,
            percent(share)
        );
        (Verdict::Suspect, reason)
    })
}

fn preparation(evidence: &Evidence) -> Finding {
    (evidence.unprepared > 0).then(|| {
        let reason = format!(
            "{} devices could not be prepared (ticket or connection) before the load: see the errors before the window",
            evidence.unprepared
        );
        (Verdict::Suspect, reason)
    })
}

fn emptiness(evidence: &Evidence) -> Finding {
    (evidence.intended == 0 && !evidence.interrupted && evidence.open_model).then(|| {
        let reason = "no arrival fell into the measured window: raise the rate or --duration";
        (Verdict::Suspect, reason.to_owned())
    })
}

/// All of them together decide; each is named, because each is mended in its own way.
fn local_failures(evidence: &Evidence) -> Vec<(Verdict, String)> {
    let all: u64 = evidence.local_failures.values().sum();
    let share = all as f64 / evidence.intended.max(1) as f64;
    let verdict = if share > LOCAL_VOID {
        Verdict::Void
    } else {
        Verdict::Suspect
    };
    evidence
        .local_failures
        .iter()
        .map(|(cause, count)| {
            let (lacking, remedy) = match cause {
                LocalCause::Descriptors => ("descriptors", "raise `ulimit -n`"),
                LocalCause::Addresses => (
                    "local ports or addresses",
                    "name more addresses (--source-ips) or widen net.ipv4.ip_local_port_range",
                ),
                LocalCause::Memory => ("memory for sockets", "fewer devices, or more memory"),
                LocalCause::Other => ("something else", "see the errors"),
            };
            let reason = format!(
                "{count} attempts failed because this machine ran out of {lacking}: {remedy}; `loadgen doctor` says what it can carry"
            );
            (verdict, reason)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Evidence {
        Evidence {
            window: Duration::from_secs(30),
            open_model: true,
            lag_p99: Duration::from_micros(200),
            busiest_shard: 0.5,
            steal_share: Some(0.0),
            throttled_share: Some(0.0),
            intended: 1000,
            ..Evidence::default()
        }
    }

    /// The verdict on a healthy run that has `change`d; its only reason holds each of `words`: a figure, and what to do.
    #[track_caller]
    fn check(wanted: Verdict, words: &[&str], change: impl FnOnce(&mut Evidence)) {
        let mut evidence = healthy();
        change(&mut evidence);
        let (verdict, reasons) = judge(&evidence);
        assert_eq!(verdict, wanted, "{reasons:?}");
        assert_eq!(
            reasons.len(),
            usize::from(wanted != Verdict::Valid),
            "{reasons:?}"
        );
        for word in words {
            assert!(reasons[0].contains(word), "{word} not in {reasons:?}");
        }
    }

    #[test]
    fn a_run_within_all_bounds_is_valid() {
        check(Verdict::Valid, &[], |_| ());
        check(Verdict::Valid, &[], |e| e.lag_p99 = LAG.suspect);
        check(Verdict::Valid, &[], |e| e.busiest_shard = CPU_SUSPECT);
        check(Verdict::Valid, &[], |e| e.waiting = WAITING.suspect);
        check(Verdict::Valid, &[], |e| e.steal_share = None);
        check(Verdict::Valid, &[], |e| e.throttled_share = None);
    }

    #[test]
    fn lateness_counts_where_there_is_a_schedule() {
        let late =
            |milliseconds| move |e: &mut Evidence| e.lag_p99 = Duration::from_millis(milliseconds);
        check(Verdict::Suspect, &["6.0 ms", "--segment"], late(6));
        check(Verdict::Suspect, &["100.0 ms"], late(100));
        check(Verdict::Void, &["1000.0 ms", "lower the rate"], late(1000));
        check(Verdict::Valid, &[], |e| {
            e.open_model = false;
            e.lag_p99 = Duration::from_secs(1);
        });
    }

    #[test]
    fn a_generator_without_time_to_spare_is_void_only_where_it_had_to_be_on_time() {
        check(Verdict::Suspect, &["96.0 %", "--shards"], |e| {
            e.busiest_shard = 0.96;
        });
        check(Verdict::Void, &["99.9 %"], |e| e.busiest_shard = 0.999);
        check(Verdict::Suspect, &["lower bound"], |e| {
            e.open_model = false;
            e.busiest_shard = 0.999;
        });
    }

    #[test]
    fn time_that_others_had_counts_against_the_run() {
        check(Verdict::Suspect, &["30.0 %", "taskset"], |e| {
            e.waiting = 0.3
        });
        check(Verdict::Void, &["61.0 %"], |e| e.waiting = 0.61);
        check(Verdict::Suspect, &["5.0 %", "repeat"], |e| {
            e.steal_share = Some(0.05);
        });
        check(Verdict::Void, &["50.0 %"], |e| e.steal_share = Some(0.5));
        check(Verdict::Suspect, &["3.0 %", "cpu.max"], |e| {
            e.throttled_share = Some(0.03);
        });
        check(Verdict::Void, &["30.0 %"], |e| {
            e.throttled_share = Some(0.3);
        });
    }

    #[test]
    fn shares_of_a_short_time_do_not_void_a_run() {
        check(Verdict::Suspect, &["50.0 %"], |e| {
            e.window = Duration::from_millis(20);
            e.steal_share = Some(0.5);
        });
        check(Verdict::Suspect, &["90.0 %"], |e| {
            e.window = Duration::from_millis(20);
            e.waiting = 0.9;
        });
        // Being late is no share.
        check(Verdict::Void, &["200.0 ms"], |e| {
            e.window = Duration::from_millis(20);
            e.lag_p99 = Duration::from_millis(200);
        });
    }

    #[test]
    fn what_this_machine_lacked_is_named_and_voids_from_one_in_a_hundred() {
        let lacked = |cause, count| {
            move |e: &mut Evidence| {
                e.local_failures.insert(cause, count);
            }
        };
        let (descriptors, addresses) = (LocalCause::Descriptors, LocalCause::Addresses);
        check(
            Verdict::Suspect,
            &["10 attempts", "ulimit -n"],
            lacked(descriptors, 10),
        );
        check(Verdict::Void, &["11 attempts"], lacked(descriptors, 11));
        check(
            Verdict::Void,
            &["--source-ips", "ip_local_port_range", "doctor"],
            lacked(addresses, 100),
        );
        check(Verdict::Suspect, &["memory"], lacked(LocalCause::Memory, 1));
        check(Verdict::Suspect, &["errors"], lacked(LocalCause::Other, 1));
        // Together they are more than one in a hundred.
        let mut evidence = healthy();
        lacked(descriptors, 6)(&mut evidence);
        lacked(addresses, 6)(&mut evidence);
        let (verdict, reasons) = judge(&evidence);
        assert_eq!((verdict, reasons.len()), (Verdict::Void, 2), "{reasons:?}");
    }

    #[test]
    fn what_was_not_done_makes_a_run_suspect() {
        check(
            Verdict::Suspect,
            &["25 arrivals (2.5 %)", "--devices"],
            |e| {
                e.overflow = 25;
            },
        );
        check(Verdict::Suspect, &["3 devices"], |e| e.unprepared = 3);
        check(Verdict::Suspect, &["process 7"], |e| e.vanished = vec![7]);
        check(Verdict::Suspect, &["partial"], |e| e.interrupted = true);
        check(Verdict::Suspect, &["--duration"], |e| e.intended = 0);
    }

    #[test]
    fn the_worst_reason_comes_first() {
        let mut evidence = healthy();
        evidence.overflow = 10;
        evidence.interrupted = true;
        evidence.steal_share = Some(0.2);
        let (verdict, reasons) = judge(&evidence);
        assert_eq!((verdict, reasons.len()), (Verdict::Void, 3));
        assert!(reasons[0].contains("hypervisor"), "{reasons:?}");
    }
}
