//! What the queue for turns shows operators.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use crate::admission::Shed;
use crate::admission::queue::Kind;
use crate::metrics::{Open, Registrar, count};

/// The metrics of the queue for turns. Workers share them.
#[derive(Debug)]
pub struct Admission {
    kinds: [(Kind, OfKind); 3],
    patience: Gauge,
    shed: Vec<(Shed, Counter)>,
}

#[derive(Debug)]
struct OfKind {
    waiting: Gauge,
    waited: Histogram,
    newest_first: Gauge,
}

impl Admission {
    pub(super) fn register(register: &Registrar<'_>) -> Self {
        let kinds = Kind::ALL.map(|kind| {
            let labels = [("kind", kind.label())];
            let of_kind = OfKind {
                waiting: register.gauge("gateway_admission_waiting", &labels),
                waited: register.histogram("gateway_admission_wait_seconds", &labels),
                newest_first: register.gauge("gateway_admission_newest_first", &labels),
            };
            (kind, of_kind)
        });
        Self {
            kinds,
            patience: register.gauge("gateway_admission_patience_seconds", &[]),
            shed: register.shed(),
        }
    }

    fn of(&self, kind: Kind) -> Option<&OfKind> {
        self.kinds
            .iter()
            .find_map(|(of, metrics)| (*of == kind).then_some(metrics))
    }

    /// Counts a connection that was turned away before its handshake.
    pub fn shed(&self, reason: Shed) {
        count(&self.shed, reason);
    }

    /// Counts one as waiting until the answer is dropped.
    pub fn waiting(&self, kind: Kind) -> Option<Open> {
        let waiting = &self.of(kind)?.waiting;
        waiting.increment(1.0);
        Some(Open(waiting.clone()))
    }

    /// One who waited this long got a turn.
    pub fn waited(&self, kind: Kind, waited: Duration) {
        if let Some(metrics) = self.of(kind) {
            metrics.waited.record(waited.as_secs_f64());
        }
    }

    /// Shows in which order hellos of `kind` go.
    pub fn order(&self, kind: Kind, newest_first: bool) {
        if let Some(metrics) = self.of(kind) {
            metrics.newest_first.set(f64::from(u8::from(newest_first)));
        }
    }

    /// Shows the age at which devices are taken to give up.
    pub fn patience(&self, patience: Duration) {
        self.patience.set(patience.as_secs_f64());
    }
}
