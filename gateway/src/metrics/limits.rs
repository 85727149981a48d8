//! What is counted about limits: who was turned away before TLS, and what devices met.

use metrics::Counter;

use super::{Registrar, count};
use crate::limits::source::Shed;

/// A limit of a device, and what came of meeting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests, of a device.
    Requests,
    /// Requests, of a device to one route.
    RouteRequests,
    /// Requests being answered.
    ConcurrentRequests,
    /// Bytes: a body waited.
    Bytes,
    /// Connections: the oldest ended.
    ConnectionsEnded,
    /// Connections: the newest refused.
    ConnectionsRefused,
    /// Handshakes: the device waited.
    HandshakesDelayed,
    /// Handshakes: too many of the device waited already.
    HandshakesRefused,
}

impl Limit {
    const ALL: [Self; 8] = [
        Self::Requests,
        Self::RouteRequests,
        Self::ConcurrentRequests,
        Self::Bytes,
        Self::ConnectionsEnded,
        Self::ConnectionsRefused,
        Self::HandshakesDelayed,
        Self::HandshakesRefused,
    ];

    /// The metric labels `limit` and `outcome`.
    fn labels(self) -> [(&'static str, &'static str); 2] {
        let (limit, outcome) = match self {
            Self::Requests => ("requests", "refused"),
            Self::RouteRequests => ("route_requests", "refused"),
            Self::ConcurrentRequests => ("concurrent_requests", "refused"),
            Self::Bytes => ("bytes", "delayed"),
            Self::ConnectionsEnded => ("connections", "ended"),
            Self::ConnectionsRefused => ("connections", "refused"),
            Self::HandshakesDelayed => ("handshakes", "delayed"),
            Self::HandshakesRefused => ("handshakes", "refused"),
        };
        [("limit", limit), ("outcome", outcome)]
    }
}

/// The counters.
pub struct Limits {
    shed: Vec<(Shed, Counter)>,
    limited: Vec<(Limit, Counter)>,
    paced: Counter,
}

impl Limits {
    pub(super) fn register(register: &Registrar<'_>) -> Self {
        let shed = |reason: Shed| {
            let labels = [("stage", "accept"), ("reason", reason.label())];
            (reason, register.counter("gateway_shed_total", &labels))
        };
        let limited = |limit: Limit| {
            (
                limit,
                register.counter("gateway_limited_total", &limit.labels()),
            )
        };
        Self {
            shed: Shed::ALL.map(shed).into(),
            limited: Limit::ALL.map(limited).into(),
            paced: limited(Limit::Bytes).1,
        }
    }

    /// Counts a connection that was turned away before TLS.
    pub fn shed(&self, reason: Shed) {
        count(&self.shed, reason);
    }

    /// Counts a limit that a device met.
    pub fn limited(&self, limit: Limit) {
        count(&self.limited, limit);
    }

    /// Counts bodies that had to wait.
    pub fn paced(&self) -> &Counter {
        &self.paced
    }
}
