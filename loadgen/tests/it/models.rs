//! Each mode in both models does what it says, and both sides count the same.

use std::sync::atomic::Ordering;
use std::time::Duration;

use loadgen::plan::{
    ConstantArrivalRate, ConstantDevices, Executor, Hold, Limit, Mode, Protocol, Target, TlsVersion,
};
use loadgen::report::{SecondOfRun, Unit, metric, text};
use loadgen::{Plan, RunResult, Stop};

use crate::pki;
use crate::server::{Options, Server};

pub(crate) fn plan(server: &Server, mode: Mode) -> Plan {
    let target = Target::parse(&server.url()).unwrap();
    let mut plan = Plan::new(target, pki::ours())
        .with_scenario(closed(4), mode.activity(Protocol::Http1, 256));
    plan.warmup = Duration::ZERO;
    plan.shards = Some(2);
    plan.timeout = Duration::from_secs(5);
    plan
}

/// Uniform arrivals, 60 of them.
pub(crate) fn open(rate_per_second: f64) -> Executor {
    let constant = ConstantArrivalRate::new(rate_per_second, Limit::Count(60));
    Executor::ConstantArrivalRate(constant)
}

/// So many devices at a time, 60 attempts together.
pub(crate) fn closed(devices: usize) -> Executor {
    Executor::ConstantDevices(ConstantDevices::new(devices, Limit::Count(60)))
}

/// Lets the plan's only scenario end otherwise.
pub(crate) fn limit(plan: &mut Plan, limit: Limit) {
    *plan.scenarios.first_mut().executor.limit_mut().unwrap() = limit;
}

/// Lets the plan's only scenario speak `protocol`, otherwise as `mode` has it.
pub(crate) fn speak(plan: &mut Plan, mode: Mode, protocol: Protocol, bytes: u64) {
    plan.scenarios.first_mut().activity = mode.activity(protocol, bytes);
}

/// Gives the plan's only scenario another executor.
pub(crate) fn execute(plan: &mut Plan, executor: Executor) {
    plan.scenarios.first_mut().executor = executor;
}

pub(crate) fn run(plan: &Plan) -> RunResult {
    let result = loadgen::run(plan, Stop::never(), |_| ()).unwrap();
    let (counts, before) = (result.counts, result.before_window.counts);
    for counts in [counts, before] {
        assert_eq!(counts.intended, counts.started + counts.overflow);
        assert_eq!(
            counts.started,
            counts.ok + counts.failed + counts.refused_as_expected
        );
    }
    let errors: u64 = result.errors.iter().map(|error| error.count).sum();
    assert_eq!(errors, counts.failed);
    result
}

#[test]
fn full_handshakes_are_counted_alike_on_both_sides() {
    for protocol in [Protocol::Http1, Protocol::H2] {
        for executor in [closed(4), open(300.0)] {
            let server = Server::start(Options::default());
            let mut plan = plan(&server, Mode::Full);
            speak(&mut plan, Mode::Full, protocol, 256);
            execute(&mut plan, executor);
            let result = run(&plan);
            let counted = server.counted();
            assert_eq!(
                result.counts.ok + result.counts.overflow,
                60,
                "{:?}",
                result.errors
            );
            assert_eq!(result.handshakes.full, counted.full.load(Ordering::Relaxed));
            assert_eq!(
                result.counts.started,
                counted.connections.load(Ordering::Relaxed)
            );
            assert_eq!(result.counts.ok, counted.requests.load(Ordering::Relaxed));
            assert_eq!(counted.resumed.load(Ordering::Relaxed), 0);
            assert_eq!(
                result.metric("response_time", "full").unwrap().count,
                result.counts.ok
            );
        }
    }
}

#[test]
fn resumption_is_accepted_and_proved() {
    for (tls, protocol) in [
        (TlsVersion::Tls13, Protocol::Http1),
        (TlsVersion::Tls13, Protocol::H2),
        (TlsVersion::Tls12, Protocol::Http1),
    ] {
        let server = Server::start(Options::default());
        let mut plan = plan(&server, Mode::Resume);
        plan.tls = tls;
        speak(&mut plan, Mode::Resume, protocol, 256);
        limit(&mut plan, Limit::Count(200));
        let result = run(&plan);
        let counted = server.counted();
        let resumption = result.resumption;
        assert_eq!((resumption.wanted, resumption.offered), (200, 200));
        assert!(
            resumption.accepted_share.unwrap() >= 0.99,
            "{tls:?} {protocol:?} {resumption:?}"
        );
        assert_eq!(resumption.accepted, counted.resumed.load(Ordering::Relaxed));
        assert_eq!(result.before_window.handshakes.full, pki::DEVICES as u64);
        assert_eq!(
            result.before_window.handshakes.full + result.handshakes.full,
            counted.full.load(Ordering::Relaxed)
        );
    }
}

#[test]
fn bytes_are_reported_by_kind_of_operation() {
    let bytes = |mode, operation: &str| {
        let server = Server::start(Options::default());
        let mut plan = plan(&server, mode);
        speak(&mut plan, mode, Protocol::Http1, 100);
        let result = run(&plan);
        let median = |name: &str| {
            let metric = result.metric(name, operation).unwrap();
            assert_eq!((metric.unit, metric.count), (Unit::Bytes, 60));
            metric.value(0.5).unwrap()
        };
        let shown = text::render(&result);
        let heading = format!("{operation} bytes_received");
        assert!(shown.contains("bytes per attempt") && shown.contains(&heading));
        (median("bytes_sent"), median("bytes_received"))
    };
    let full = bytes(Mode::Full, "full");
    let resumed = bytes(Mode::Resume, "resumed");
    let request = bytes(Mode::Telemetry, "request");
    // The server's chain is spared. The device's is too, but this server puts it into its tickets, and back they come.
    assert!(full.1 > resumed.1 + 400, "{full:?} {resumed:?}");
    assert!(full.0.min(resumed.0) > request.0 + 400, "{request:?}");
    assert!(resumed.1 > request.1, "{request:?}");
    assert!((100..500).contains(&request.0), "{request:?}");
}

#[test]
fn without_tickets_nothing_is_offered_and_nothing_resumes() {
    let server = Server::start(Options {
        tickets: false,
        ..Options::default()
    });
    let result = run(&plan(&server, Mode::Resume));
    assert_eq!(result.resumption.wanted, 60);
    assert_eq!(
        (result.resumption.offered, result.resumption.accepted),
        (0, 0)
    );
    assert_eq!(result.handshakes.full, 60);
    assert_eq!(result.resumption.accepted_share, Some(0.0));
}

#[test]
fn telemetry_stays_on_the_open_connections() {
    for executor in [closed(4), open(400.0)] {
        for protocol in [Protocol::Http1, Protocol::H2] {
            let server = Server::start(Options::default());
            let mut plan = plan(&server, Mode::Telemetry);
            execute(&mut plan, executor.clone());
            speak(&mut plan, Mode::Telemetry, protocol, 100);
            let result = run(&plan);
            let counted = server.counted();
            assert_eq!(result.counts.ok, 60, "{:?}", result.errors);
            assert_eq!(result.open_connections_at_end, pki::DEVICES as u64);
            assert_eq!(
                counted.connections.load(Ordering::Relaxed),
                pki::DEVICES as u64
            );
            assert_eq!(counted.body_bytes.load(Ordering::Relaxed), 60 * 100);
            assert_eq!(result.metric("response_time", "request").unwrap().count, 60);
            assert_eq!(result.handshakes.full + result.handshakes.resumed, 0);
        }
    }
}

#[test]
fn idle_holds_every_device_s_connection() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Idle);
    let duration = Duration::from_millis(50);
    execute(&mut plan, Executor::Hold(Hold { duration }));
    plan.watch_pids = vec![std::process::id()];
    let result = run(&plan);
    assert_eq!(result.open_connections_at_end, pki::DEVICES as u64);
    assert_eq!(result.counts.started, 0);
    let watched = result.watched.unwrap();
    assert!(watched.resident_bytes_per_connection.is_some());
    // Server and generator are one process here.
    let generator = result.generator.unwrap();
    assert_eq!(generator.pids, watched.pids);
    assert!(generator.resident_bytes_per_connection.is_some());
    assert_eq!(
        server.counted().requests.load(Ordering::Relaxed),
        pki::DEVICES as u64
    );
}

#[test]
fn mixed_does_all_three_and_reconnects() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Mixed);
    limit(&mut plan, Limit::Count(400));
    let result = run(&plan);
    let counted = server.counted();
    assert_eq!(result.counts.ok, 400, "{:?}", result.errors);
    for operation in ["full", "resumed", "request"] {
        assert!(
            result.metric("response_time", operation).is_some(),
            "{operation}"
        );
    }
    assert_eq!(result.open_connections_at_end, pki::DEVICES as u64);
    assert_eq!(
        result.handshakes.resumed,
        counted.resumed.load(Ordering::Relaxed)
    );
    assert_eq!(
        result.handshakes.full + result.before_window.handshakes.full,
        counted.full.load(Ordering::Relaxed)
    );
}

#[test]
fn distant_devices_take_a_round_trip_for_each_flight() {
    const NEAR: u64 = 20;
    const FAR: u64 = 80;
    for protocol in [Protocol::Http1, Protocol::H2] {
        let server = Server::start(Options::default());
        let mut plan = plan(&server, Mode::Full);
        speak(&mut plan, Mode::Full, protocol, 256);
        limit(&mut plan, Limit::Count(40));
        plan.distances = format!("{NEAR}ms,{FAR}ms").parse().unwrap();
        let result = run(&plan);
        assert_eq!(result.counts.ok, 40, "{:?}", result.errors);
        let times = result.metric("response_time", "full").unwrap();
        let quantile = |quantile| times.milliseconds(quantile).unwrap();
        // TCP, TLS and HTTP: a round trip each; half of the devices are near.
        assert!(quantile(0.01) >= 3.0 * NEAR as f64 * 0.99, "{protocol:?}");
        assert!(quantile(0.75) >= 3.0 * FAR as f64 * 0.99, "{protocol:?}");
        let connected = result.metric("tcp_connect", "full").unwrap();
        assert!(connected.milliseconds(0.75).unwrap() >= FAR as f64 * 0.99);
    }
}

#[test]
fn the_warm_up_is_counted_apart() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    execute(&mut plan, open(200.0));
    plan.warmup = Duration::from_millis(250);
    limit(
        &mut plan,
        Limit::DurationSeconds(Duration::from_millis(500)),
    );
    let result = run(&plan);
    assert_eq!(result.before_window.counts.intended, 50);
    assert_eq!(result.counts.intended, 100);
    let counted = server.counted();
    assert_eq!(
        result.counts.started + result.before_window.counts.started,
        counted.connections.load(Ordering::Relaxed)
    );
}

#[test]
fn the_series_holds_the_load_and_not_the_preparation() {
    let server = Server::start(Options::default());
    let result = run(&plan(&server, Mode::Telemetry));
    assert!(result.before_window.counts.started > 0);
    let sum = |of: fn(&SecondOfRun) -> u64| result.seconds.iter().map(of).sum::<u64>();
    assert_eq!(sum(|second| second.started), result.counts.started);
    assert_eq!(sum(|second| second.ok), result.counts.ok);
    let samples: u64 = result
        .seconds
        .iter()
        .filter_map(|second| metric::decode::<u32>(second.histogram.as_deref()?))
        .map(|histogram| histogram.len())
        .sum();
    assert_eq!(samples, result.counts.ok);
}

#[test]
fn each_second_of_the_window_is_in_the_series_and_what_is_done_in_it() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    // The last one arrives, and is done, just before the window ends.
    execute(&mut plan, open(20.0));
    limit(&mut plan, Limit::DurationSeconds(Duration::from_secs(2)));
    let result = run(&plan);
    let seconds: Vec<u64> = result.seconds.iter().map(|second| second.second).collect();
    let expected: Vec<u64> = (0..seconds.len() as u64).collect();
    assert_eq!(seconds, expected, "none is left out");
    let ok: u64 = result.seconds.iter().map(|second| second.ok).sum();
    assert_eq!(ok, result.counts.ok);
}
