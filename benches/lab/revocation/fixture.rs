//! A report as a good run makes it, for tests.

use std::time::Duration;

use loadgen::measure::Verdict;
use loadgen::report::Host;

use super::choices::Choices;
use super::cost::{Cell, Side, Start};
use super::live::{Live, Trigger};
use super::operation::Operation;
use super::reconnect::{Reconnect, Tickets};
use super::report::{Circumstances, Findings, Report};

/// Those of a thorough run.
pub(super) fn choices() -> Choices {
    Choices {
        devices: 9000,
        live_rounds: 3,
        entries: 1_000_000,
        rounds: 3,
        duration: Duration::from_secs(1),
        warmup: Duration::from_millis(300),
        at_a_time: 16,
        devices_full: 1000,
        devices_resumed: 200,
        reconnects: 1000,
        seed: 1,
        quick: false,
    }
}

/// Everybody who should, and nobody else, was gone in half a second.
pub(super) fn live(trigger: Trigger) -> Live {
    Live {
        trigger,
        round: 0,
        connected: 9000,
        revoked: 1000,
        ended: 1000,
        first_ms: Some(20.0),
        half_ms: Some(60.0),
        last_ms: Some(500.0),
        counted_ms: Some(510.0),
        wrongly_ended: 0,
        answered: 8000,
    }
}

fn of_round(round: usize, trigger: Trigger) -> Live {
    Live {
        round,
        ..live(trigger)
    }
}

fn cells(round: usize, without: f64) -> Vec<Cell> {
    let mut cells = Vec::new();
    for operation in Operation::ALL {
        for (side, us) in Side::ALL.into_iter().zip([without, without * 1.01]) {
            cells.push(Cell {
                operation,
                side,
                round,
                cpu_seconds: us / 1e3,
                operations: 1000,
                rate_per_second: 1000.0,
                verdict: Verdict::Valid,
                reasons: Vec::new(),
                excluded: Vec::new(),
            });
        }
    }
    cells
}

fn starts(round: usize) -> Vec<Start> {
    let start = |side, ready_seconds, megabytes: u64| Start {
        side,
        round,
        ready_seconds,
        resident_ready: megabytes * 1_000_000,
        resident_served: megabytes * 1_000_000,
        resident_peak: megabytes * 2_000_000,
    };
    vec![start(Side::Without, 0.1, 20), start(Side::With, 1.3, 50)]
}

/// Three rounds in which the machine gets slower and slower.
pub(super) fn findings() -> Findings {
    let reconnect = |operation, tickets, bytes_sent, ticket_bytes| Reconnect {
        operation,
        tickets,
        bytes_sent,
        bytes_received: 1500,
        connections: 1000,
        ticket_bytes,
    };
    Findings {
        live: (0..3)
            .flat_map(|round| Trigger::ALL.map(|trigger| of_round(round, trigger)))
            .collect(),
        reconnects: vec![
            reconnect(Operation::Full, Tickets::Compact, 1900, 230),
            reconnect(Operation::Resumed, Tickets::Compact, 700, 230),
            reconnect(Operation::Full, Tickets::SelfContained, 1900, 1200),
            reconnect(Operation::Resumed, Tickets::SelfContained, 1700, 1200),
        ],
        cells: [100.0, 150.0, 200.0]
            .into_iter()
            .enumerate()
            .flat_map(|(round, us)| cells(round, us))
            .collect(),
        starts: (0..3).flat_map(starts).collect(),
    }
}

/// Of nowhere in particular.
pub(super) fn circumstances() -> Circumstances {
    Circumstances {
        started_at: "2026-11-21T00:00:00Z".to_owned(),
        took: Duration::from_secs(300),
        host: Host {
            cores: 2,
            processor: Some("A <fast> processor".to_owned()),
            kernel: None,
            memory_bytes: Some(8 << 30),
            descriptor_limit: Some(20_000),
        },
        gateway_version: "0.1.0 (abc)".to_owned(),
        server_core: 1,
        generator_core: 0,
    }
}

/// The whole report.
pub(super) fn report() -> Report {
    Report::new(circumstances(), &choices(), findings())
}
