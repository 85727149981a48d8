//! What a load generator must not hide: overflow, interruption, dead processes. Pauses have a file of their own.

use std::process::{Command, Stdio};
use std::time::Duration;

use loadgen::measure::Verdict;
use loadgen::plan::{ConstantArrivalRate, Executor, Limit, Mode};
use loadgen::report::{json, text};
use loadgen::stop_channel;

use crate::models::{execute, limit, plan, run};
use crate::server::{Behaviour, Options, Server};

#[test]
fn arrivals_without_a_free_device_are_overflow() {
    let server = Server::start(Options {
        behaviour: Behaviour::SilentHttp,
        ..Options::default()
    });
    let mut plan = plan(&server, Mode::Full);
    let constant = ConstantArrivalRate {
        max_in_flight: Some(10),
        ..ConstantArrivalRate::new(1000.0, Limit::Count(100))
    };
    execute(&mut plan, Executor::ConstantArrivalRate(constant));
    plan.timeout = Duration::from_secs(1);
    let result = run(&plan);
    assert_eq!((result.counts.started, result.counts.overflow), (10, 90));
    assert_eq!(result.counts.failed, 10);
    assert_ne!(result.validity.verdict, Verdict::Valid);
    let reasons = &result.validity.reasons;
    let named = |reason: &String| reason.contains("90 arrivals") && reason.contains("--devices");
    assert!(reasons.iter().any(named), "{reasons:?}");
}

#[test]
fn a_stop_leaves_a_partial_result_that_says_so() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    limit(&mut plan, Limit::DurationSeconds(Duration::from_secs(600)));
    let (handle, stop) = stop_channel();
    let result = loadgen::run(&plan, stop, |_| handle.stop()).unwrap();
    assert!(result.run.interrupted);
    assert_ne!(result.validity.verdict, Verdict::Valid);
    assert!(result.counts.ok > 0);
    assert_eq!(
        result.counts.started,
        result.counts.ok + result.counts.failed
    );
}

#[test]
fn attempts_in_flight_at_a_stop_are_abandoned_not_forgotten() {
    let server = Server::start(Options {
        behaviour: Behaviour::SilentHttp,
        ..Options::default()
    });
    let mut plan = plan(&server, Mode::Full);
    limit(&mut plan, Limit::DurationSeconds(Duration::from_secs(600)));
    plan.timeout = Duration::from_secs(600);
    let (handle, stop) = stop_channel();
    let result = loadgen::run(&plan, stop, |_| handle.stop()).unwrap();
    assert_eq!((result.counts.started, result.counts.failed), (4, 4));
    assert_eq!(result.errors[0].class, "abandoned");
}

#[test]
fn a_watched_process_that_ends_makes_the_run_suspect() {
    let server = Server::start(Options::default());
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut plan = plan(&server, Mode::Full);
    limit(
        &mut plan,
        Limit::DurationSeconds(Duration::from_millis(1500)),
    );
    plan.watch_pids = vec![child.id()];
    let result = loadgen::run(&plan, loadgen::Stop::never(), |_| {
        // Closing its input ends it; waiting for it takes it out of the process table.
        drop(child.stdin.take());
        child.wait().unwrap();
    })
    .unwrap();
    assert_eq!(result.watched.as_ref().unwrap().vanished, plan.watch_pids);
    assert_ne!(result.validity.verdict, Verdict::Valid);
}

#[test]
fn a_saved_result_reports_the_same() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Mixed);
    plan.watch_pids = vec![std::process::id()];
    plan.thresholds = vec![
        "p99<1h".replace("1h", "60s").parse().unwrap(),
        "rate>1000000/s".parse().unwrap(),
    ];
    let result = run(&plan);
    assert!(!result.thresholds_hold());
    assert!(
        result
            .watched
            .as_ref()
            .unwrap()
            .cpu_us_per_operation
            .unwrap()
            > 0.0
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.json");
    json::save(&result, &path).unwrap();
    let loaded = json::load(&path).unwrap();
    assert_eq!(loaded, result);
    assert_eq!(text::render(&loaded), text::render(&result));
    let histogram = loaded
        .metric("response_time", "all")
        .unwrap()
        .decode()
        .unwrap();
    assert_eq!(histogram.len(), result.counts.ok);
}
