//! What happens to upstreams besides answers: ejections, checks, repeated requests, endpoints that serve.

use std::collections::BTreeSet;

use metrics::Counter;

use super::{Metrics, Registrar, count};
use crate::upstream::check;
use crate::upstream::view::UpstreamView;

/// What became of a request that an endpoint did not answer, and that might have been sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing of it had been sent; it went elsewhere.
    Unsent,
    /// It was sent again.
    Repeated,
    /// It might have been sent again, but too many were.
    OverBudget,
}

impl Retry {
    const ALL: [Self; 3] = [Self::Unsent, Self::Repeated, Self::OverBudget];

    fn label(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Repeated => "repeated",
            Self::OverBudget => "over_budget",
        }
    }
}

/// Counters of one upstream.
#[derive(Clone)]
pub struct Events {
    ejections: Counter,
    checks: Vec<(&'static str, Counter)>,
    retries: Vec<(Retry, Counter)>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Counts an ejected endpoint.
    pub fn ejected(&self) {
        self.ejections.increment(1);
    }

    /// Counts a health check: one of [`check::OUTCOMES`].
    pub fn checked(&self, outcome: &'static str) {
        count(&self.checks, outcome);
    }

    /// Counts a request that might be sent again.
    pub fn retried(&self, retry: Retry) {
        count(&self.retries, retry);
    }
}

impl Metrics {
    /// The counters of one upstream; the same name gives the same counters.
    pub fn upstream_events(&self, name: &str) -> Events {
        let register = Registrar(&self.recorder);
        let counter =
            |metric, outcome| register.counter(metric, &[("upstream", name), ("outcome", outcome)]);
        Events {
            ejections: register.counter("gateway_upstream_ejections_total", &[("upstream", name)]),
            checks: check::OUTCOMES
                .map(|outcome| {
                    let checks = counter("gateway_upstream_health_checks_total", outcome);
                    (outcome, checks)
                })
                .into(),
            retries: Retry::ALL
                .map(|retry| {
                    let retries = counter("gateway_upstream_retries_total", retry.label());
                    (retry, retries)
                })
                .into(),
        }
    }

    /// Shows how the upstreams are now. What is not configured any more has no value.
    pub fn show_upstreams(&self, upstreams: &[UpstreamView]) {
        let register = Registrar(&self.recorder);
        let mut shown = self.shown_endpoints.lock();
        let mut gone: BTreeSet<(String, String)> = std::mem::take(&mut *shown);
        for upstream in upstreams {
            let pending = [("upstream", upstream.name.as_str())];
            register
                .gauge("gateway_upstream_pending", &pending)
                .set(f64::from(upstream.pending()));
            for (entry, up) in upstream.up_by_entry() {
                let key = (upstream.name.clone(), entry.to_owned());
                let labels = [("upstream", upstream.name.as_str()), ("endpoint", entry)];
                register
                    .gauge("gateway_upstream_endpoint_up", &labels)
                    .set(f64::from(up));
                gone.remove(&key);
                shown.insert(key);
            }
        }
        for (upstream, entry) in &gone {
            let labels = [("upstream", upstream.as_str()), ("endpoint", entry)];
            register
                .gauge("gateway_upstream_endpoint_up", &labels)
                .set(f64::NAN);
            if !upstreams.iter().any(|other| other.name == *upstream) {
                register
                    .gauge("gateway_upstream_pending", &[("upstream", upstream)])
                    .set(f64::NAN);
            }
        }
    }
}
