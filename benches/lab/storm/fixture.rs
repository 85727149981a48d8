//! A report as a good run makes it, for tests.

use std::time::Duration;

use loadgen::measure::Verdict;

use super::choices::{Choices, FACTORS, Where};
use super::peers::PeerStorm;
use super::phase::{Kind, Phase};
use super::report::{Findings, Held, Report};
use super::waiting::Waiting;
use crate::circumstances;
use crate::compare::report::Missing;
use crate::compare::server::Server;
use crate::counts::GatewayCounts;

/// Those of a thorough run.
pub(super) fn choices() -> Choices {
    Choices {
        devices: 8000,
        share: 0.33,
        duration: Duration::from_secs(6),
        warmup: Duration::from_secs(2),
        quiet: Duration::from_secs(4),
        patience: Duration::from_millis(1500),
        burst_patience: Duration::from_secs(5),
        burst: 2000,
        established: 20,
        requests_per_second: 200.0,
        seed: 1,
        quick: false,
    }
}

fn phase(kind: Kind, place: Where, intended: u64, served: u64) -> Phase {
    Phase {
        kind,
        place: Some(place),
        offered_per_second: Some(intended as f64 / 6.0),
        intended,
        served,
        goodput: served as f64 / 6.0,
        share: Some(0.97),
        response_p50_ms: Some(200.0),
        response_p99_ms: Some(900.0),
        errors: Vec::new(),
        established: Waiting {
            requests: 1200,
            failed: 0,
            p50_ms: Some(0.6),
            p99_ms: Some(6.5),
            max_ms: Some(9.0),
            lag_p99_ms: Some(1.0),
        },
        recovery_seconds: Some(0.25),
        gateway: Some(GatewayCounts::default()),
        resident_bytes: 40_000_000,
        verdict: Verdict::Valid,
        reasons: Vec::new(),
    }
}

/// Four storms and a burst.
pub(super) fn findings() -> Findings {
    let mut phases = Vec::new();
    for place in Where::ALL {
        for factor in FACTORS {
            phases.push(phase(Kind::Capacity, place, 3600, 3600));
            let intended = (3600.0 * factor) as u64;
            phases.push(phase(Kind::Storm(factor), place, intended, 3492));
        }
    }
    phases.push(phase(Kind::Burst, Where::Near, 2000, 2000));
    let held = |resident_bytes| Held {
        connections: 0,
        descriptors: 30,
        resident_bytes,
    };
    Findings {
        quota: true,
        burst_share: 0.7,
        quiet: Waiting {
            requests: 800,
            p50_ms: Some(0.4),
            p99_ms: Some(0.9),
            ..Waiting::default()
        },
        phases,
        held: [held(20_000_000), held(41_000_000)],
        peers: vec![peer()],
        missing_peers: vec![Missing {
            server: Server::Envoy,
            why: "not found on this machine".to_owned(),
            how_to_install: "somehow".to_owned(),
        }],
    }
}

/// A server that serves next to nobody when twice as many come as it can serve.
fn peer() -> PeerStorm {
    let of = |kind, intended, served, share| Phase {
        share,
        gateway: None,
        ..phase(kind, Where::Near, intended, served)
    };
    PeerStorm {
        server: Server::Nginx,
        version: "nginx/1.22.1".to_owned(),
        quota: true,
        quiet: Waiting::default(),
        phases: vec![
            of(Kind::Capacity, 900, 900, None),
            of(Kind::Storm(2.0), 1800, 162, Some(0.18)),
        ],
    }
}

/// The first storm of `findings`.
pub(super) fn first_storm(findings: &mut Findings) -> &mut Phase {
    let mut phases = findings.phases.iter_mut();
    let storm = phases.find(|phase| matches!(phase.kind, Kind::Storm(_)));
    storm.unwrap()
}

/// Their burst.
pub(super) fn burst(findings: &mut Findings) -> &mut Phase {
    findings.phases.last_mut().unwrap()
}

/// The whole report.
pub(super) fn report() -> Report {
    Report::new(circumstances::sample(), &choices(), findings())
}
