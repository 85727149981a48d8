//! From a plan and a measurement to the result.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bad_devices;
use super::{
    BeforeWindow, Counts, ErrorCount, Handshakes, Host, IdentityChecks, Metric, Resumption, Run,
    RunResult, SCHEMA, ScenarioResult, SecondOfRun, ThresholdOutcome, Unit, Validity,
    WatchedProcess, metric,
};
use crate::measure::health::{Evidence, judge};
use crate::measure::recorder::{self, OperationSamples, Tally, new_histogram};
use crate::measure::{Cause, Failure, LocalCause, Measurement, Recorder, Second, Watched};
use crate::plan::threshold::{Counted, Subject};
use crate::plan::{Plan, Scenario, Threshold};

impl RunResult {
    /// The result of a run.
    pub fn new(plan: &Plan, measurement: &Measurement) -> RunResult {
        let recorder = &measurement.recorder;
        let window_seconds = measurement.window.as_secs_f64();
        let (verdict, reasons) = judge(&evidence(plan, measurement));
        let counts = Counts::from(recorder.window.counts);
        let mut result = RunResult {
            schema: SCHEMA.to_owned(),
            run: Run {
                load_started_at: Some(rfc3339(measurement.load_started_at)),
                segment: plan.segment,
                started_at: rfc3339(measurement.started_at),
                window_seconds,
                devices: measurement.devices,
                shards: measurement.shards,
                interrupted: measurement.interrupted,
                loadgen_version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            host: Host::here(),
            choices: plan.clone(),
            validity: Validity {
                verdict,
                reasons,
                shard_cpu_shares: measurement.health.shard_cpu_shares.clone(),
                shard_waiting_shares: measurement.health.shard_waiting_shares.clone(),
                steal_share: measurement.health.steal_share,
                throttled_share: measurement.health.throttled_share,
            },
            counts,
            rate_per_second: counts.rate(window_seconds),
            handshakes: recorder.window.handshakes.into(),
            resumption: recorder.window.into(),
            identity: plan
                .verify_identity
                .as_ref()
                .map(|_| identity_checks(recorder)),
            open_connections_at_end: measurement.open_at_end,
            before_window: BeforeWindow {
                counts: recorder.before.counts.into(),
                handshakes: recorder.before.handshakes.into(),
                resumption: recorder.before.into(),
                errors: errors(&recorder.failures_before),
            },
            metrics: metrics(recorder, has_schedule(plan)),
            errors: errors(&recorder.failures),
            scenarios: plan
                .scenarios
                .iter()
                .zip(&measurement.scenarios)
                .map(|(scenario, samples)| ScenarioResult::new(scenario, samples, window_seconds))
                .collect(),
            bad_devices: bad_devices::compare(&measurement.faults, &recorder.refusals),
            seconds: measurement
                .series
                .iter()
                .map(|second| of_second(second, plan.warmup))
                .collect(),
            watched: measurement
                .watched
                .as_ref()
                .map(|watched| of_watched(watched, counts.accepted, measurement.open_at_end)),
            generator: measurement
                .generator
                .as_ref()
                .map(|own| of_watched(own, counts.accepted, measurement.open_at_end)),
            thresholds: Vec::new(),
            segments: Vec::new(),
        };
        let mut thresholds = plan.thresholds.clone();
        let is_about_identity = |threshold: &Threshold| {
            threshold.subject == Subject::Count(Counted::IdentityMismatches)
        };
        if result.identity.is_some() && !thresholds.iter().any(is_about_identity) {
            thresholds.push(Threshold::no_identity_mismatch());
        }
        result.thresholds = thresholds
            .iter()
            .map(|threshold| ThresholdOutcome::of(threshold, &result))
            .collect();
        result
    }
}

/// Whether anything has intended starts, for which it can be late.
fn has_schedule(plan: &Plan) -> bool {
    let schedule = |scenario: &Scenario| scenario.executor.has_schedule();
    plan.scenarios.iter().any(schedule)
}

/// What the rules of validity look at.
pub(crate) fn evidence(plan: &Plan, measurement: &Measurement) -> Evidence {
    let recorder = &measurement.recorder;
    let counts = recorder.window.counts;
    Evidence {
        window: measurement.window,
        open_model: has_schedule(plan),
        lag_p99: Duration::from_micros(recorder.schedule_lag.value_at_quantile(0.99)),
        busiest_shard: largest(&measurement.health.shard_cpu_shares),
        waiting: largest(&measurement.health.shard_waiting_shares),
        steal_share: measurement.health.steal_share,
        intended: counts.intended,
        overflow: counts.overflow,
        throttled_share: measurement.health.throttled_share,
        local_failures: local_failures(recorder),
        unprepared: measurement.unprepared,
        vanished: measurement
            .watched
            .as_ref()
            .map(|watched| watched.vanished.clone())
            .unwrap_or_default(),
        interrupted: measurement.interrupted,
    }
}

/// Preparation included: a device that could not be connected is missing in the window.
fn local_failures(recorder: &Recorder) -> BTreeMap<LocalCause, u64> {
    let mut by_cause = BTreeMap::new();
    for (failure, count) in recorder.failures.iter().chain(&recorder.failures_before) {
        if let Cause::Local(cause) = failure.cause {
            *by_cause.entry(cause).or_default() += count;
        }
    }
    by_cause
}

fn identity_checks(recorder: &Recorder) -> IdentityChecks {
    let mut all = recorder.window.identity;
    all += recorder.before.identity;
    IdentityChecks {
        checked: all.checked,
        mismatches: all.mismatched,
        mismatches_resumed: all.mismatched_resumed,
        absent: all.absent,
    }
}

fn largest(shares: &[f64]) -> f64 {
    shares.iter().copied().fold(0.0, f64::max)
}

/// One histogram of an operation's samples.
type Pick = fn(&OperationSamples) -> &Histogram<u64>;

pub(super) fn metrics(recorder: &Recorder, has_schedule: bool) -> Vec<Metric> {
    let operations = [
        ("full", &recorder.full),
        ("resumed", &recorder.resumed),
        ("request", &recorder.request),
    ];
    let pick: [(&str, Unit, Pick); 9] = [
        ("response_time", Unit::Microseconds, |of| &of.response),
        ("service_time", Unit::Microseconds, |of| &of.service),
        ("tcp_connect", Unit::Microseconds, |of| &of.tcp),
        ("handshake", Unit::Microseconds, |of| &of.handshake),
        ("acceptance", Unit::Microseconds, |of| &of.acceptance),
        ("first_byte", Unit::Microseconds, |of| &of.first_byte),
        ("transfer", Unit::Microseconds, |of| &of.transfer),
        ("bytes_sent", Unit::Bytes, |of| &of.bytes_sent),
        ("bytes_received", Unit::Bytes, |of| &of.bytes_received),
    ];
    let mut metrics = Vec::new();
    for (name, unit, histogram) in pick {
        let mut all = new_histogram();
        for samples in operations.iter().filter_map(|(_, all)| all.as_deref()) {
            // Cannot fail: all histograms have the same bounds.
            let _ = all.add(histogram(samples));
        }
        metrics.extend(Metric::new(name, "all", unit, &all));
        for (operation, samples) in operations {
            metrics.extend(
                samples
                    .as_deref()
                    .and_then(|samples| Metric::new(name, operation, unit, histogram(samples))),
            );
        }
    }
    if has_schedule {
        // Without a schedule nothing can be late.
        metrics.extend(Metric::new(
            "schedule_lag",
            "all",
            Unit::Microseconds,
            &recorder.schedule_lag,
        ));
    }
    metrics.extend(Metric::new(
        "failure_time",
        "all",
        Unit::Microseconds,
        &recorder.failure_time,
    ));
    metrics
}

pub(super) fn errors(failures: &BTreeMap<Failure, u64>) -> Vec<ErrorCount> {
    let mut errors: Vec<_> = failures
        .iter()
        .map(|(failure, count)| ErrorCount {
            class: failure.cause.class().to_owned(),
            code: failure.cause.code(),
            direction: failure.cause.direction().to_owned(),
            when: failure.moment.name().to_owned(),
            count: *count,
        })
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    errors
}

fn of_second(second: &Second, warmup: Duration) -> SecondOfRun {
    let milliseconds = |quantile| {
        (!second.response.is_empty())
            .then(|| second.response.value_at_quantile(quantile) as f64 / 1e3)
    };
    SecondOfRun {
        second: second.index,
        measured: Duration::from_secs(second.index) >= warmup,
        intended: second.intended,
        started: second.started,
        ok: second.ok,
        refused_as_expected: second.refused_as_expected,
        failed: second.failed,
        overflow: second.overflow,
        open: second.open,
        p50_ms: milliseconds(0.5),
        p99_ms: milliseconds(0.99),
        max_ms: milliseconds(1.0),
        handshakes: Some(second.handshakes.into()),
        errors: errors(&second.failures),
        lag_ms: Some(second.lag.as_secs_f64() * 1e3),
        busiest_shard: Some(second.busiest_shard),
        histogram: (!second.response.is_empty())
            .then(|| metric::encode(&second.response))
            .flatten(),
    }
}

fn of_watched(watched: &Watched, operations: u64, open: u64) -> WatchedProcess {
    let cpu_seconds = watched.cpu_nanoseconds as f64 / 1e9;
    let grown = watched.resident_bytes_end as f64 - watched.resident_bytes_before as f64;
    WatchedProcess {
        pids: watched.pids.clone(),
        cpu_seconds,
        operations,
        cpu_us_per_operation: (operations > 0).then(|| cpu_seconds * 1e6 / operations as f64),
        resident_bytes_before: watched.resident_bytes_before,
        resident_bytes_start: watched.resident_bytes_start,
        resident_bytes_end: watched.resident_bytes_end,
        // A server that has shrunk had served others before: the difference would say nothing.
        resident_bytes_per_connection: (open > 0 && grown > 0.0).then(|| grown / open as f64),
        vanished: watched.vanished.clone(),
    }
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time)
        .format(&Rfc3339)
        .unwrap_or_default()
}

impl From<recorder::Counts> for Counts {
    fn from(counts: recorder::Counts) -> Counts {
        Counts {
            intended: counts.intended,
            started: counts.started,
            client_finished: counts.client_finished,
            accepted: counts.accepted,
            ok: counts.ok,
            refused_as_expected: counts.refused_as_expected,
            failed: counts.failed,
            overflow: counts.overflow,
        }
    }
}

impl From<recorder::Handshakes> for Handshakes {
    fn from(handshakes: recorder::Handshakes) -> Handshakes {
        Handshakes {
            full: handshakes.full,
            full_hrr: handshakes.full_hrr,
            resumed: handshakes.resumed,
        }
    }
}

impl From<Tally> for Resumption {
    fn from(tally: Tally) -> Resumption {
        let resumption = tally.resumption;
        Resumption {
            wanted: resumption.wanted,
            offered: resumption.offered,
            accepted: resumption.accepted,
            accepted_share: (resumption.wanted > 0)
                .then(|| resumption.accepted as f64 / resumption.wanted as f64),
            tickets_received: resumption.tickets_received,
        }
    }
}
