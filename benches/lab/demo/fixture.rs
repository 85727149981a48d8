//! A report as a good demo makes it, for tests.

use std::time::{Duration, SystemTime};

use loadgen::RunResult;
use loadgen::measure::{Health, Measurement, Recorder};
use loadgen::plan::{Plan, Target};
use loadgen::report::Host;

use super::phase::{Choices, Phase};
use super::report::{PhaseReport, Placement, Point, Report};
use crate::counts::GatewayCounts;

fn run() -> RunResult {
    let target = Target::parse("https://127.0.0.1:8443").unwrap();
    let measurement = Measurement {
        load_started_at: SystemTime::UNIX_EPOCH,
        started_at: SystemTime::UNIX_EPOCH,
        window: Duration::from_secs(8),
        recorder: Recorder::new(),
        scenarios: Vec::new(),
        faults: Vec::new(),
        series: Vec::new(),
        open_at_end: 0,
        devices: 2000,
        shards: 1,
        unprepared: 0,
        health: Health::default(),
        watched: None,
        generator: None,
        interrupted: false,
    };
    let mut run = RunResult::new(&Plan::new(target, "pki"), &measurement);
    run.counts.ok = 2000;
    run.resumption.accepted_share = Some(1.0);
    run
}

/// Four phases in which everything is as it should be.
pub(super) fn phases() -> Vec<PhaseReport> {
    let gateway = GatewayCounts {
        connections: 0,
        requests_ok: 2000,
        ..GatewayCounts::default()
    };
    let cpu = [430.0, 260.5, 151.2, 38.4];
    Phase::ALL
        .into_iter()
        .zip(cpu)
        .map(|(phase, cpu)| {
            let mut report = PhaseReport::new(phase, run(), gateway);
            report.rate_per_second = 1e6 / cpu;
            report.p50_ms = Some(cpu / 100.0);
            report.p99_ms = Some(cpu / 20.0);
            report.server_cpu_us = Some(cpu);
            report.cache_hit_share = Some(if phase == Phase::ColdFull { 0.0 } else { 1.0 });
            report.tickets_accepted_share = (phase == Phase::Resumed).then_some(0.9999);
            report.curve = (0..60)
                .map(|step| Point {
                    quantile: 1.0 - 10f64.powf(-f64::from(step) / 20.0),
                    ms: cpu / 100.0 + f64::from(step),
                })
                .collect();
            report
        })
        .collect()
}

/// The whole report.
pub(super) fn report() -> Report {
    let choices = Choices {
        devices: 2000,
        duration: Duration::from_secs(8),
        warmup: Duration::from_secs(1),
        at_a_time: 8,
        telemetry_per_second: 2000.0,
        quick: false,
    };
    let host = Host {
        cores: 2,
        processor: Some("A <fast> processor".to_owned()),
        kernel: Some("6.1".to_owned()),
        memory_bytes: Some(8 << 30),
        descriptor_limit: Some(20_000),
    };
    Report::new(
        "2026-11-21T00:00:00Z".to_owned(),
        Duration::from_secs(40),
        "0.1.0 (abc), rustls".to_owned(),
        host,
        Placement {
            server_core: 1,
            generator_core: 0,
        },
        &choices,
        phases(),
    )
}
