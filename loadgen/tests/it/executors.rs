//! Each executor releases what it says, and scenarios that share devices do not get into each other's way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use loadgen::plan::executor::RampingArrivalRate;
use loadgen::plan::fleet::Identities;
use loadgen::plan::{
    Activity, Backoff, ConstantArrivalRate, Executor, Limit, Mode, Part, PerDeviceIterations,
    Protocol, RampingDevices, ReconnectStorm, RotateCertificates, Scenario, Spread, Stage,
    TicketExpiryWave,
};
use loadgen::report::ReturnCounts;
use loadgen::{Plan, RunResult, Stop};

use crate::models::{closed, execute, plan, run};
use crate::pki;
use crate::server::{Options, Server};

const DEVICES: u64 = pki::DEVICES as u64;

fn stage(milliseconds: u64, target: f64) -> Stage {
    Stage {
        target,
        duration: Duration::from_millis(milliseconds),
    }
}

fn telemetry() -> Activity {
    Mode::Telemetry.activity(Protocol::Http1, 64)
}

/// Telemetry of all devices, fifty times a second, for a time.
fn background(milliseconds: u64) -> Scenario {
    let limit = Limit::DurationSeconds(Duration::from_millis(milliseconds));
    let rate = ConstantArrivalRate::new(50.0, limit);
    Scenario::new("steady", Executor::ConstantArrivalRate(rate), telemetry())
}

fn storm(max_retries: Option<u32>) -> Executor {
    Executor::ReconnectStorm(ReconnectStorm {
        first: Spread {
            over: Duration::from_millis(100),
            ..Spread::default()
        },
        backoff: Backoff {
            initial: Duration::from_millis(50),
            jitter: 0.0,
            ..Backoff::default()
        },
        max_retries,
        at_most: Some(Duration::from_secs(20)),
    })
}

fn with(mut plan: Plan, first: Scenario, second: Scenario) -> Plan {
    *plan.scenarios.first_mut() = first;
    plan.scenarios.push(second);
    plan
}

#[test]
fn a_ramp_releases_its_integral() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    execute(
        &mut plan,
        Executor::RampingArrivalRate(RampingArrivalRate {
            start_rate_per_second: 0.0,
            stages: vec![stage(500, 200.0), stage(250, 200.0), stage(250, 0.0)],
            arrivals: loadgen::plan::Pattern::Uniform,
            max_in_flight: None,
        }),
    );
    let result = run(&plan);
    assert_eq!(result.counts.intended, 125);
    assert!((result.run.window_seconds - 1.0).abs() < 1e-9);
    assert_eq!(result.handshakes.full, result.counts.ok);
    assert!(result.metric("schedule_lag", "all").is_some());
}

#[test]
fn the_number_of_devices_at_work_follows_its_stages() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    execute(
        &mut plan,
        Executor::RampingDevices(RampingDevices {
            start: 0,
            stages: vec![stage(300, 10.0), stage(300, 10.0), stage(300, 0.0)],
        }),
    );
    let result = run(&plan);
    assert!(result.counts.ok > 10, "{:?}", result.errors);
    assert_eq!(result.counts.ok, result.counts.intended);
    assert_eq!(
        server.counted().full.load(Ordering::Relaxed),
        result.counts.ok
    );
    assert!((result.run.window_seconds - 0.9).abs() < 1e-9);
}

#[test]
fn every_device_makes_its_iterations() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Telemetry);
    execute(
        &mut plan,
        Executor::PerDeviceIterations(PerDeviceIterations {
            iterations: 7,
            at_most: None,
        }),
    );
    let result = run(&plan);
    assert_eq!(result.counts.ok, 7 * DEVICES);
    assert_eq!(result.counts.overflow, 0);
    assert_eq!(
        server.counted().requests.load(Ordering::Relaxed),
        8 * DEVICES
    );
}

#[test]
fn a_storm_brings_back_the_share_that_it_dropped_while_the_others_go_on() {
    let server = Server::start(Options::default());
    let returning = Scenario {
        devices: Part::Share(0.5),
        start: Duration::from_millis(200),
        ..Scenario::new(
            "storm",
            storm(None),
            Mode::Resume.activity(Protocol::Http1, 0),
        )
    };
    let plan = with(plan(&server, Mode::Full), background(1000), returning);
    let result = run(&plan);
    assert_eq!(result.counts.failed, 0, "{:?}", result.errors);
    let half = DEVICES / 2;
    let storm = result.scenario("storm").unwrap();
    let returns = ReturnCounts {
        dropped: half,
        returned: half,
        retries: 0,
        gave_up: 0,
    };
    assert_eq!(storm.returns, Some(returns));
    assert_eq!((storm.devices as u64, storm.counts.ok), (half, half));
    assert_eq!(storm.handshakes.resumed, half);
    assert_eq!(storm.metric("return_time", "all").unwrap().count, half);
    let steady = result.scenario("steady").unwrap();
    assert_eq!(
        (steady.devices as u64, steady.counts.intended),
        (DEVICES, 50)
    );
    assert_eq!(steady.returns, None);
    assert_eq!(result.open_connections_at_end, DEVICES);
    // The whole is the sum of its parts, and what the server counts.
    assert_eq!(result.counts.ok, storm.counts.ok + steady.counts.ok);
    let counted = server.counted();
    assert_eq!(counted.full.load(Ordering::Relaxed), DEVICES);
    assert_eq!(counted.resumed.load(Ordering::Relaxed), half);
}

#[test]
fn devices_that_find_nobody_back_off_and_give_up() {
    let mut server = Some(Server::start(Options::default()));
    let mut plan = plan(server.as_ref().unwrap(), Mode::Full);
    execute(&mut plan, storm(Some(2)));
    // The first second closes before the storm begins, and takes the server with it.
    plan.warmup = Duration::from_millis(1500);
    let result = loadgen::run(&plan, Stop::never(), |_| drop(server.take())).unwrap();
    let returns = ReturnCounts {
        dropped: DEVICES,
        returned: 0,
        retries: 2 * DEVICES,
        gave_up: DEVICES,
    };
    assert_eq!(result.scenarios[0].returns, Some(returns));
    assert_eq!(result.counts.failed, 3 * DEVICES);
    assert_eq!(result.errors[0].class, "connect");
    // A wait of 50 ms and one of 100 ms.
    assert!(
        result.run.window_seconds >= 0.15,
        "{}",
        result.run.window_seconds
    );
}

#[test]
fn a_wave_makes_every_device_s_next_handshake_a_full_one() {
    let server = Server::start(Options::default());
    let limit = Limit::DurationSeconds(Duration::from_millis(800));
    let rate = ConstantArrivalRate::new(100.0, limit);
    let resuming = Scenario::new(
        "resuming",
        Executor::ConstantArrivalRate(rate),
        Mode::Resume.activity(Protocol::Http1, 0),
    );
    let wave = Executor::TicketExpiryWave(TicketExpiryWave {
        returns: Spread {
            over: Duration::from_millis(300),
            ..Spread::default()
        },
    });
    let wave = Scenario {
        start: Duration::from_millis(300),
        ..Scenario::new("wave", wave, Activity::default())
    };
    let result = run(&with(plan(&server, Mode::Full), resuming, wave));
    let wave = result.scenario("wave").unwrap();
    assert_eq!((wave.counts.ok, wave.handshakes.full), (DEVICES, DEVICES));
    let resuming = result.scenario("resuming").unwrap();
    assert_eq!(resuming.counts.ok, 80);
    // Until the wave has reached it, a device whose turn it is has nothing to offer either.
    assert!(
        resuming.resumption.offered < 80,
        "{:?}",
        resuming.resumption
    );
    assert!(resuming.handshakes.resumed > 0);
}

fn rotation(
    next: &'static std::path::Path,
) -> (RunResult, std::sync::Arc<crate::server::Counters>) {
    let server = Server::start(Options::default());
    let changes = Spread {
        over: Duration::from_millis(300),
        ..Spread::default()
    };
    let rotation = Scenario {
        start: Duration::from_millis(200),
        ..Scenario::new(
            "rotation",
            Executor::RotateCertificates(RotateCertificates { changes }),
            telemetry(),
        )
    };
    let mut plan = with(plan(&server, Mode::Full), background(800), rotation);
    plan.fleet.identities = Identities::Folder {
        pki: pki::ours().into(),
        next_pki: Some(next.into()),
    };
    let result = loadgen::run(&plan, Stop::never(), |_| ()).unwrap();
    (result, server.counted())
}

#[test]
fn devices_change_their_certificates_and_go_on() {
    let (result, counted) = rotation(pki::ours());
    assert_eq!(result.counts.failed, 0, "{:?}", result.errors);
    let rotation = result.scenario("rotation").unwrap();
    assert_eq!(rotation.handshakes.full, DEVICES);
    assert_eq!(result.open_connections_at_end, DEVICES);
    assert_eq!(counted.full.load(Ordering::Relaxed), 2 * DEVICES);
    assert_eq!(counted.resumed.load(Ordering::Relaxed), 0);
}

#[test]
fn the_next_certificates_are_those_that_are_presented() {
    // Nobody there trusts their issuer.
    let (result, counted) = rotation(pki::strangers());
    let rotation = result.scenario("rotation").unwrap();
    assert_eq!(rotation.counts.failed, DEVICES);
    assert_eq!(rotation.errors[0].code, "unknown_ca");
    assert!(counted.refused.load(Ordering::Relaxed) >= DEVICES);
}

#[test]
fn a_fleet_without_next_identities_cannot_rotate() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    let changes = Spread::default();
    execute(
        &mut plan,
        Executor::RotateCertificates(RotateCertificates { changes }),
    );
    let error = loadgen::run(&plan, Stop::never(), |_| ()).unwrap_err();
    assert!(error.to_string().contains("--next-pki"), "{error}");
}

#[test]
fn a_scenario_never_uses_another_s_connection() {
    let server = Server::start(Options::default());
    // Each device keeps its connection for telemetry, and comes on a new one for the rest.
    let visits = Scenario::new("visits", closed(4), Mode::Full.activity(Protocol::Http1, 0));
    let steady = Scenario::new("steady", closed(4), telemetry());
    let result = run(&with(plan(&server, Mode::Full), steady, visits));
    assert_eq!((result.counts.ok, result.counts.failed), (120, 0));
    assert_eq!(result.scenario("visits").unwrap().handshakes.full, 60);
    let counted = server.counted();
    assert_eq!(
        result.handshakes.full + result.before_window.handshakes.full,
        counted.full.load(Ordering::Relaxed)
    );

    // Another protocol is another connection, and a device has one.
    let server = Server::start(Options::default());
    let visits = Scenario::new("visits", closed(4), Mode::Full.activity(Protocol::H2, 0));
    let steady = Scenario::new("steady", closed(4), telemetry());
    let mut plan = with(plan(&server, Mode::Full), steady, visits);
    let error = loadgen::run(&plan, Stop::never(), |_| ()).unwrap_err();
    let said = error.to_string();
    for wanted in ["`steady`", "`visits`", "HTTP/1.1", "HTTP/2"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // With devices of their own they do not meet.
    for scenario in plan.scenarios.iter_mut() {
        scenario.devices = Part::Share(0.5);
    }
    let result = run(&plan);
    assert_eq!((result.counts.ok, result.counts.failed), (120, 0));
    assert_eq!(result.scenario("steady").unwrap().handshakes.full, 0);
}
