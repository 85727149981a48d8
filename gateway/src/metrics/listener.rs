//! The metrics of one listener: its connections, its handshakes, and what these did with tickets and the cache.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram};

use super::{Open, Registrar, Tunnels, count};
use crate::handshake::{Failure, Kind, Report};
use crate::tls::resumption::Declined;
use crate::trust::CacheResult;
use crate::trust::revocation::Finding;
use crate::verify::Refusal;

/// The metrics of one listener.
pub struct Listener {
    name: Arc<str>,
    connections: Counter,
    open: Gauge,
    hibernating: Gauge,
    handshakes_ok: Vec<(Kind, Counter, Histogram)>,
    handshakes_failed: Vec<(Kind, &'static str, Counter)>,
    tickets: Tickets,
    tunnels: Tunnels,
}

/// The gateway-wide ticket and cache counters; every listener has handles to the same ones.
pub(super) struct Tickets {
    pub(super) issued: Counter,
    pub(super) accepted: Counter,
    pub(super) declined: Vec<(Declined, Counter)>,
    pub(super) lookups: Vec<(CacheResult, Counter)>,
    pub(super) findings: Vec<(Finding, Counter)>,
}

impl Listener {
    pub(super) fn register(register: &Registrar<'_>, name: &str, tickets: Tickets) -> Self {
        let handshakes = |kind: Kind, outcome: &str| {
            register.counter(
                "gateway_handshakes_total",
                &[
                    ("listener", name),
                    ("kind", kind.label()),
                    ("outcome", outcome),
                ],
            )
        };
        let handshakes_ok = Kind::ALL
            .map(|kind| {
                let seconds =
                    register.histogram("gateway_handshake_seconds", &[("kind", kind.label())]);
                (kind, handshakes(kind, "ok"), seconds)
            })
            .into();
        let reasons = Refusal::ALL.iter().map(|reason| reason.label());
        let reasons: Vec<&str> = reasons
            .chain(Failure::OTHERS.iter().map(|failure| failure.label()))
            .collect();
        let handshakes_failed = Kind::ALL
            .iter()
            .flat_map(|kind| reasons.iter().map(move |reason| (*kind, *reason)))
            .map(|(kind, reason)| (kind, reason, handshakes(kind, reason)))
            .collect();
        Self {
            name: name.into(),
            connections: register.counter("gateway_connections_total", &[("listener", name)]),
            open: register.gauge("gateway_connections_open", &[("listener", name)]),
            hibernating: register.gauge("gateway_connections_hibernating", &[("listener", name)]),
            handshakes_ok,
            handshakes_failed,
            tickets,
            tunnels: Tunnels::register(register, name),
        }
    }

    /// The listener's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Those of its tunnels.
    pub fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Counts an accepted connection, as open until the answer is dropped.
    pub fn opened(&self) -> Open {
        self.connections.increment(1);
        self.open.increment(1.0);
        Open(self.open.clone())
    }

    /// Counts an open connection as hibernating until the answer is dropped.
    pub fn hibernates(&self) -> Open {
        self.hibernating.increment(1.0);
        Open(self.hibernating.clone())
    }

    /// Counts a device that left before its turn came.
    pub fn gave_up(&self) {
        self.failed(Kind::Full, Failure::GaveUp);
    }

    /// Counts a handshake and what it did with tickets and the cache.
    pub fn handshake(&self, report: &Report) {
        match report.failure {
            None => {
                if let Some((_, counter, seconds)) = self
                    .handshakes_ok
                    .iter()
                    .find(|(kind, ..)| *kind == report.kind)
                {
                    counter.increment(1);
                    seconds.record(report.took.as_secs_f64());
                }
            }
            Some(failure) => self.failed(report.kind, failure),
        }
        if report.resumed {
            self.tickets.accepted.increment(1);
        }
        if let Some(declined) = report.declined {
            count(&self.tickets.declined, declined);
        }
        if let Some(lookup) = report.lookup {
            count(&self.tickets.lookups, lookup);
        }
        if let Some(finding) = report.finding {
            count(&self.tickets.findings, finding);
        }
        self.tickets
            .issued
            .increment(u64::from(report.tickets_issued));
    }

    fn failed(&self, kind: Kind, failure: Failure) {
        let label = failure.label();
        let counted = self
            .handshakes_failed
            .iter()
            .find(|(of, reason, _)| *of == kind && *reason == label);
        if let Some((.., counter)) = counted {
            counter.increment(1);
        }
    }
}
