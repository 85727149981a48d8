//! What a load generator must not hide: overflow, interruption, dead processes. Pauses have a file of their own.

use std::process::{Command, Stdio};
use std::time::Duration;

use loadgen::measure::Verdict;
use loadgen::plan::{
    Activity, Backoff, ConstantArrivalRate, ConstantDevices, Executor, Limit, Mode, Part,
    PerDeviceIterations, Protocol, RampingDevices, ReconnectStorm, Scenario, Spread, Stage,
    Telemetry, TicketExpiryWave,
};
use loadgen::report::{ReturnCounts, json, text};
use loadgen::{RunError, RunResult, Stop, stop_channel};

use crate::models::{execute, limit, plan, run};
use crate::pki;
use crate::server::{Behaviour, Options, Server};

const HOUR: Duration = Duration::from_secs(3600);

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

/// What every scenario has, whenever it was stopped.
fn is_consistent(result: &RunResult) {
    assert!(result.run.interrupted);
    assert_ne!(result.validity.verdict, Verdict::Valid);
    let of_scenarios = result
        .scenarios
        .iter()
        .map(|scenario| (&scenario.counts, &scenario.errors));
    let whole = [(&result.counts, &result.errors)];
    for (counts, errors) in of_scenarios.chain(whole) {
        assert_eq!(counts.intended, counts.started + counts.overflow);
        assert_eq!(counts.started, counts.ok + counts.failed);
        let errors: u64 = errors.iter().map(|error| error.count).sum();
        assert_eq!(errors, counts.failed);
    }
    let started = result.scenarios.iter().map(|s| s.counts.started);
    assert_eq!(started.sum::<u64>(), result.counts.started);
}

#[test]
fn nothing_begins_after_a_stop_in_any_scenario() {
    // Whoever asks is kept waiting, so that at the stop every device is busy with the first scenario, and all others want one.
    let server = Server::start(Options {
        behaviour: Behaviour::Takes(Duration::from_millis(5)),
        ..Options::default()
    });
    let busy = ConstantDevices::new(pki::DEVICES, Limit::DurationSeconds(HOUR));
    let waiting = ConstantDevices::new(4, Limit::DurationSeconds(HOUR));
    let wave = TicketExpiryWave {
        returns: Spread::default(),
    };
    let storm = ReconnectStorm {
        first: Spread::default(),
        backoff: Backoff::default(),
        max_retries: None,
        at_most: None,
    };
    let mut plan = plan(&server, Mode::Full);
    execute(&mut plan, Executor::ConstantDevices(busy));
    let start = Duration::from_millis(100);
    for (name, executor) in [
        ("waiting", Executor::ConstantDevices(waiting)),
        ("wave", Executor::TicketExpiryWave(wave)),
        ("storm", Executor::ReconnectStorm(storm)),
    ] {
        plan.scenarios.push(Scenario {
            start,
            ..Scenario::new(name, executor, Mode::Full.activity(Protocol::Http1, 0))
        });
    }
    let (handle, stop) = stop_channel();
    let result = loadgen::run(&plan, stop, |_| handle.stop()).unwrap();
    is_consistent(&result);
    assert!(result.scenarios[0].counts.ok > 0);
    for scenario in &result.scenarios[1..] {
        assert_eq!(scenario.counts.intended, 0, "{}", scenario.name);
    }
    assert_eq!(
        result.scenario("storm").unwrap().returns,
        Some(ReturnCounts {
            dropped: 0,
            returned: 0,
            retries: 0,
            gave_up: 0,
        })
    );
}

#[test]
fn a_stop_in_the_midst_of_several_scenarios_leaves_them_all_in_order() {
    let server = Server::start(Options::default());
    let telemetry = Mode::Telemetry.activity(Protocol::Http1, 64);
    let rate = ConstantArrivalRate::new(100.0, Limit::DurationSeconds(HOUR));
    let slowly = Spread {
        over: HOUR,
        ..Spread::default()
    };
    let storm = ReconnectStorm {
        first: slowly,
        backoff: Backoff::default(),
        max_retries: None,
        at_most: None,
    };
    let stage = Stage {
        target: 10.0,
        duration: HOUR,
    };
    let ramp = RampingDevices {
        start: 3,
        stages: vec![stage],
    };
    let each = PerDeviceIterations {
        iterations: 1_000_000,
        at_most: None,
    };
    let stays = Activity {
        hold: Some(HOUR),
        telemetry: Some(Telemetry {
            every: Duration::from_millis(50),
            jitter: Duration::ZERO,
        }),
        ..Activity::default()
    };
    let mut plan = plan(&server, Mode::Full);
    plan.scenarios.first_mut().devices = Part::Number(4);
    limit(&mut plan, Limit::DurationSeconds(HOUR));
    for (name, part, executor, activity) in [
        (
            "steady",
            16,
            Executor::ConstantArrivalRate(rate),
            &telemetry,
        ),
        ("ramp", 10, Executor::RampingDevices(ramp), &telemetry),
        ("stays", 4, Executor::ConstantArrivalRate(rate), &stays),
        ("each", 2, Executor::PerDeviceIterations(each), &telemetry),
        ("storm", 2, Executor::ReconnectStorm(storm), &telemetry),
    ] {
        plan.scenarios.push(Scenario {
            devices: Part::Number(part),
            ..Scenario::new(name, executor, activity.clone())
        });
    }
    let later = Executor::PerDeviceIterations(PerDeviceIterations {
        iterations: 1,
        at_most: None,
    });
    plan.scenarios.push(Scenario {
        start: HOUR,
        ..Scenario::new("later", later, Mode::Full.activity(Protocol::Http1, 0))
    });
    for warmup in [Duration::ZERO, HOUR] {
        plan.warmup = warmup;
        let (handle, stop) = stop_channel();
        let result = loadgen::run(&plan, stop, |_| handle.stop()).unwrap();
        is_consistent(&result);
        assert_eq!(result.counts.failed, 0, "{:?}", result.errors);
        let counts = |name: &str| result.scenario(name).unwrap().counts;
        assert_eq!(counts("later").intended, 0);
        let measured = warmup.is_zero();
        for name in ["load", "steady", "ramp", "stays", "each", "storm"] {
            assert_eq!(counts(name).ok > 0, measured, "{name}");
        }
        assert!(result.run.window_seconds < 60.0);
        let before = result.before_window.counts;
        assert_eq!(before.started, before.ok);
        // It can be saved, read and shown like any other.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        json::save(&result, &path).unwrap();
        assert_eq!(json::load(&path).unwrap(), result);
        assert!(text::render(&result).contains("partial"));
    }
}

#[test]
fn a_panic_ends_the_run_as_a_failure() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    // No clock can hold these times. Flags and plan files refuse them; a program may not, and finds a defect.
    let storm = ReconnectStorm {
        first: Spread {
            over: Duration::MAX,
            ..Spread::default()
        },
        backoff: Backoff::default(),
        max_retries: None,
        at_most: None,
    };
    execute(&mut plan, Executor::ReconnectStorm(storm));
    let error = loadgen::run(&plan, Stop::never(), |_| ()).unwrap_err();
    assert!(matches!(error, RunError::ShardDied), "{error}");
    assert!(error.to_string().contains("defect"), "{error}");
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
    let result = loadgen::run(&plan, Stop::never(), |_| {
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
