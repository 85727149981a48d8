use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Endpoints;
use crate::clock;
use crate::metrics::Metrics;
use crate::upstream::check;
use crate::upstream::connect::{Address, Protocol, Target};
use crate::upstream::endpoint::State;
use crate::upstream::health::{EjectionSettings, Thresholds};
use crate::upstream::view::UpstreamView;
use crate::upstream::{Entry, Limits, RetrySettings, Settings, tls};

const SECOND: Duration = Duration::from_secs(1);

fn name(host: &str) -> Entry {
    Entry {
        address: Address::Name {
            host: host.into(),
            port: 80,
        },
        encrypted: false,
        weight: 1,
    }
}

fn fixed(last: u8) -> Entry {
    Entry {
        address: Address::Socket(address(last)),
        encrypted: false,
        weight: 1,
    }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn settings(endpoints: Vec<Entry>) -> Settings {
    Settings {
        name: "telemetry".into(),
        endpoints,
        balance: crate::upstream::balance::Policy::RoundRobin,
        protocol: Protocol::Http1,
        tls: tls::Settings::default(),
        limits: Limits {
            connect_timeout: SECOND,
            response_timeout: SECOND,
            pool_idle_timeout: SECOND,
            pool_max_idle: 1,
            max_connections: 1,
            max_pending: 1,
            queue_timeout: SECOND,
            max_connection_age: None,
            max_requests: None,
            ping_interval: None,
        },
        retry: RetrySettings {
            attempts: 1,
            budget: 20,
        },
        request_timeout: None,
        dns_refresh: SECOND,
        health_check: Some(check::Settings {
            probe: check::Probe::Tcp,
            interval: SECOND,
            timeout: SECOND,
            thresholds: Thresholds {
                healthy_after: 1,
                unhealthy_after: 1,
            },
        }),
        ejection: Some(EjectionSettings {
            consecutive_failures: 2,
            time: 10 * SECOND,
            max_time: 60 * SECOND,
            max_share: 50,
        }),
        slow_start: 10 * SECOND,
    }
}

fn upstream(endpoints: Vec<Entry>) -> (Endpoints, Instant) {
    let now = clock::now();
    let events = Metrics::new(&[]).unwrap().upstream_events("telemetry");
    let settings = settings(endpoints);
    let targets = targets(&settings);
    (Endpoints::new(settings, targets, events, now), now)
}

fn targets(settings: &Settings) -> Vec<Target> {
    let target = |entry: &Entry| Target {
        address: entry.address.clone(),
        protocol: settings.protocol,
        tls: None,
    };
    settings.endpoints.iter().map(target).collect()
}

fn states(upstream: &Endpoints, now: Instant) -> Vec<(String, State)> {
    let view = UpstreamView::of(upstream, now);
    let states = view.endpoints.into_iter();
    states
        .map(|endpoint| (endpoint.address, endpoint.state))
        .collect()
}

fn addresses(upstream: &Endpoints) -> Vec<String> {
    let now = clock::now();
    states(upstream, now)
        .into_iter()
        .map(|(address, _)| address)
        .collect()
}

#[test]
fn a_name_stands_for_all_its_addresses_in_its_place() {
    let (upstream, now) = upstream(vec![fixed(1), name("a"), fixed(9)]);
    assert_eq!(addresses(&upstream), ["10.0.0.1:80", "10.0.0.9:80"]);
    assert_eq!(UpstreamView::of(&upstream, now).unresolved, ["a:80"]);
    upstream.resolved(1, &[address(2), address(3)], now);
    let all = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.9:80"];
    assert_eq!(addresses(&upstream), all);
    let view = UpstreamView::of(&upstream, now);
    assert!(view.unresolved.is_empty());
    assert_eq!(view.up_by_entry()["a:80"], 2);
}

#[test]
fn endpoints_that_stay_keep_their_state_and_newcomers_start_slowly() {
    let (upstream, now) = upstream(vec![name("a"), name("b")]);
    upstream.resolved(0, &[address(1), address(2)], now);
    let before = Arc::clone(&upstream.set());
    let changes = upstream.changes();
    upstream.resolved(0, &[address(1), address(2)], now);
    assert!(!changes.has_changed().unwrap(), "nothing has changed");
    upstream.resolved(0, &[address(2), address(3)], now + SECOND);
    assert!(changes.has_changed().unwrap());
    let after = Arc::clone(&upstream.set());
    assert!(Arc::ptr_eq(&before.all[1], &after.all[0]));
    assert_eq!(
        states(&upstream, now + SECOND),
        [
            ("10.0.0.2:80".into(), State::Healthy),
            ("10.0.0.3:80".into(), State::SlowStart)
        ]
    );
    upstream.resolved(7, &[address(4)], now);
    assert_eq!(upstream.set().all.len(), 2, "there is no such entry");
}

#[test]
fn no_more_than_the_share_is_ejected() {
    let (upstream, now) = upstream(vec![fixed(1), fixed(2), fixed(3)]);
    let set = Arc::clone(&upstream.set());
    let fail = |index: usize| upstream.observe(&set.all[index], false, || now);
    fail(0);
    upstream.observe(&set.all[0], true, || unreachable!("time matters not"));
    fail(0);
    assert_eq!(states(&upstream, now)[0].1, State::Healthy);
    for _ in 0..3 {
        (0..3).for_each(fail);
    }
    let out: Vec<State> = states(&upstream, now).into_iter().map(|(_, s)| s).collect();
    assert_eq!(out, [State::Ejected, State::Healthy, State::Healthy]);
    // When it is back there is room for another one, which had gone on failing.
    upstream.observe(&set.all[1], false, || now + 10 * SECOND);
    assert_eq!(states(&upstream, now + 10 * SECOND)[1].1, State::Ejected);
}

#[test]
fn checks_take_endpoints_out_without_regard_to_shares() {
    let (upstream, now) = upstream(vec![fixed(1), fixed(2)]);
    let set = Arc::clone(&upstream.set());
    for endpoint in &set.all {
        upstream.checked(endpoint, Err("timeout"), now);
    }
    let view = UpstreamView::of(&upstream, now + SECOND);
    assert!(view.panic);
    assert_eq!(view.up_by_entry()["10.0.0.1:80"], 0);
    let check = view.endpoints[0].last_check.clone().unwrap();
    assert_eq!((check.outcome, check.seconds_ago), ("timeout", 1.0));
    upstream.checked(&set.all[0], Ok(()), now + SECOND);
    assert!(!UpstreamView::of(&upstream, now + SECOND).panic);
}

#[test]
fn what_is_not_configured_is_not_done() {
    let events = Metrics::new(&[]).unwrap().upstream_events("telemetry");
    let settings = Settings {
        ejection: None,
        health_check: None,
        ..settings(vec![fixed(1)])
    };
    let now = clock::now();
    let targets = targets(&settings);
    let upstream = Endpoints::new(settings, targets, events, now);
    let set = Arc::clone(&upstream.set());
    for _ in 0..100 {
        upstream.observe(&set.all[0], false, || unreachable!("nobody asks"));
        upstream.checked(&set.all[0], Err("timeout"), now);
    }
    assert_eq!(states(&upstream, now)[0].1, State::Healthy);
}

#[test]
fn a_changed_configuration_goes_on_with_the_addresses_known_before() {
    let (before, now) = upstream(vec![fixed(9), name("a"), name("gone")]);
    before.resolved(1, &[address(1), address(2)], now);
    before.resolved(2, &[address(3)], now);
    let (after, _) = upstream(vec![name("a"), name("new"), fixed(8)]);
    after.inherit(&before, now);
    let all = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.8:80"];
    assert_eq!(addresses(&after), all);
    let view = UpstreamView::of(&after, now);
    assert_eq!(view.unresolved, ["new:80"]);
}

#[test]
fn each_name_is_waited_for_once() {
    let (upstream, _) = upstream(vec![name("a"), fixed(1), name("b")]);
    let changes = upstream.changes();
    assert!(upstream.is_first_look_up_pending());
    upstream.looked_up_first();
    assert!(upstream.is_first_look_up_pending() && changes.has_changed().unwrap());
    upstream.looked_up_first();
    assert!(!upstream.is_first_look_up_pending());
    upstream.looked_up_first();
    assert!(!upstream.is_first_look_up_pending());
}
