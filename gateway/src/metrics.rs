//! Every counter, gauge and histogram, registered once, handed out as handles.
//!
//! Labels are closed lists; no device id is ever in one. Hot paths touch handles only: no look-up by name, no allocation.
//! It serves nothing itself; `admin` renders what is here.

mod admission;
mod describe;
pub mod exposition;
pub mod limits;
mod listener;
mod tunnel;
pub mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use parking_lot::Mutex;

use crate::admission::Shed;
use crate::authorize::Denied;
use crate::fetch::FetchError;
use crate::ocsp::Outcome;
use crate::serve::activity::Flood;
use crate::tls::resumption::Declined;
use crate::trace;
use crate::trust::CacheResult;
use crate::trust::revocation::Finding;
use crate::upstream::UpstreamError;
use crate::verify::revocation::ListInfo;

pub use admission::Admission;
pub use listener::Listener;
use listener::Tickets;
pub use tunnel::{TunnelOutcome, Tunnels};

/// How fetching a revocation list can end, besides the errors of [`FetchError`].
const LIST_FETCHES: [&str; 4] = ["ok", "not_modified", "unusable_list", "internal"];

/// Bucket bounds of all histograms, in seconds: from a cached look-up to a patient upstream.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

static METADATA: Metadata<'static> = Metadata::new("gateway", Level::INFO, None);

/// All metrics of one gateway.
pub struct Metrics {
    handle: PrometheusHandle,
    recorder: PrometheusRecorder,
    listeners: Vec<Listener>,
    cache_entries: Gauge,
    limits: limits::Limits,
    shed: Vec<(Shed, Counter)>,
    denied: Vec<(Denied, Counter)>,
    ended: Vec<(Denied, Counter)>,
    timeouts: Vec<(Deadline, Counter)>,
    floods: Vec<(Flood, Counter)>,
    reloads: [Counter; 2],
    fetches: Vec<(&'static str, Counter)>,
    responders: Vec<(Outcome, Counter)>,
    access_log_lost: Counter,
    spans: trace::Counted,
    /// Issuers of lists that have gauges.
    shown_issuers: Mutex<BTreeSet<String>>,
    /// Upstreams and entries of endpoints that have gauges.
    shown_endpoints: Mutex<BTreeSet<(String, String)>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// A deadline of an established connection that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// A request head that did not become complete.
    RequestHead,
    /// Nothing was asked for too long. The ordinary end of a device that went away.
    Idle,
    /// A request or a response stopped moving.
    Stalled,
}

impl Deadline {
    const ALL: [Self; 3] = [Self::RequestHead, Self::Idle, Self::Stalled];

    fn label(self) -> &'static str {
        match self {
            Self::RequestHead => "request_head",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
        }
    }
}

/// Counts a connection as open, or as hibernating, until it is dropped.
#[derive(Debug)]
pub struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The metrics of one upstream.
#[derive(Debug, Clone)]
pub struct Upstream {
    requests: [Counter; 5],
    seconds: Histogram,
}

impl Upstream {
    /// Counts an answered request.
    pub fn answered(&self, status: http::StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.requests.get(class) {
            counter.increment(1);
        }
        self.seconds.record(took.as_secs_f64());
    }
}

/// The metrics of one endpoint of an upstream.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Connections opened.
    pub connections: Counter,
    /// Connections open.
    pub open: Gauge,
    failures: Vec<(&'static str, Counter)>,
}

impl Endpoint {
    /// Counts a connection to the endpoint, as open until the answer is dropped.
    pub fn opened(&self) -> Open {
        self.connections.increment(1);
        self.open.increment(1.0);
        Open(self.open.clone())
    }

    /// Counts what went wrong with a connection to the endpoint, or with a request on it.
    pub fn failed(&self, error: &UpstreamError) {
        if let Some(label) = error.label() {
            count(&self.failures, label);
        }
    }
}

struct Registrar<'a>(&'a PrometheusRecorder);

impl Registrar<'_> {
    fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
        let labels: Vec<Label> = labels
            .iter()
            .map(|(name, value)| Label::new(*name, (*value).to_owned()))
            .collect();
        Key::from_parts(name, labels)
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.0.register_counter(&Self::key(name, labels), &METADATA)
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.0.register_gauge(&Self::key(name, labels), &METADATA)
    }

    fn shed(&self) -> Vec<(Shed, Counter)> {
        let counter = |reason: Shed| {
            let labels = [("stage", "admission"), ("reason", reason.label())];
            (reason, self.counter("gateway_shed_total", &labels))
        };
        Shed::ALL.map(counter).into()
    }

    fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.0
            .register_histogram(&Self::key(name, labels), &METADATA)
    }
}

impl Metrics {
    /// Registers everything that does not depend on upstreams.
    ///
    /// # Errors
    /// The exporter refuses the bucket bounds; not to be expected.
    pub fn new(listeners: &[String]) -> Result<Arc<Self>, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)?
            .build_recorder();
        describe::all(&recorder);
        let register = Registrar(&recorder);
        let ticket = |event, reason| {
            register.counter(
                "gateway_tickets_total",
                &[("event", event), ("reason", reason)],
            )
        };
        let lookups: Vec<_> = CacheResult::ALL
            .map(|result| {
                (
                    result,
                    register.counter(
                        "gateway_chain_cache_lookups_total",
                        &[("result", result.label())],
                    ),
                )
            })
            .into();
        let findings: Vec<_> = Finding::ALL
            .map(|finding| {
                (
                    finding,
                    register.counter(
                        "gateway_revocation_checks_total",
                        &[("result", finding.label())],
                    ),
                )
            })
            .into();
        let tickets_declined: Vec<_> = Declined::ALL
            .map(|reason| (reason, ticket("declined", reason.label())))
            .into();
        let (tickets_issued, tickets_accepted) = (ticket("issued", ""), ticket("accepted", ""));
        let tickets = || Tickets {
            issued: tickets_issued.clone(),
            accepted: tickets_accepted.clone(),
            declined: tickets_declined.clone(),
            lookups: lookups.clone(),
            findings: findings.clone(),
        };
        let listeners = listeners
            .iter()
            .map(|name| Listener::register(&register, name, tickets()))
            .collect();
        let shed = register.shed();
        let denied = Denied::ALL
            .map(|reason| {
                (
                    reason,
                    register.counter("gateway_denied_total", &[("reason", reason.label())]),
                )
            })
            .into();
        let ended = Denied::ALL
            .map(|reason| {
                (
                    reason,
                    register.counter(
                        "gateway_connections_ended_total",
                        &[("reason", reason.label())],
                    ),
                )
            })
            .into();
        let timeouts = Deadline::ALL
            .map(|deadline| {
                (
                    deadline,
                    register.counter("gateway_timeouts_total", &[("deadline", deadline.label())]),
                )
            })
            .into();
        let floods = Flood::ALL
            .map(|kind| {
                let labels = [("kind", kind.label())];
                (
                    kind,
                    register.counter("gateway_http2_floods_total", &labels),
                )
            })
            .into();
        let reloads = ["ok", "failed"]
            .map(|outcome| register.counter("gateway_reloads_total", &[("outcome", outcome)]));
        let fetches = LIST_FETCHES
            .iter()
            .chain(&FetchError::LABELS)
            .map(|outcome| {
                let labels = [("outcome", *outcome)];
                (
                    *outcome,
                    register.counter("gateway_crl_fetches_total", &labels),
                )
            })
            .collect();
        let responders = Outcome::ALL
            .map(|outcome| {
                let labels = [("outcome", outcome.label())];
                (
                    outcome,
                    register.counter("gateway_ocsp_checks_total", &labels),
                )
            })
            .into();
        let cache_entries = register.gauge("gateway_chain_cache_entries", &[]);
        Ok(Arc::new(Self {
            handle: recorder.handle(),
            listeners,
            cache_entries,
            limits: limits::Limits::register(&register),
            shed,
            denied,
            ended,
            timeouts,
            floods,
            reloads,
            fetches,
            responders,
            access_log_lost: register.counter("gateway_access_log_lost_total", &[]),
            spans: {
                let spans =
                    |outcome| register.counter("gateway_spans_total", &[("outcome", outcome)]);
                trace::Counted {
                    exported: spans("exported"),
                    failed: spans("failed"),
                    lost: spans("lost"),
                }
            },
            shown_issuers: Mutex::default(),
            shown_endpoints: Mutex::default(),
            recorder,
        }))
    }

    /// The handles of the queue for turns.
    pub fn admission(&self) -> Admission {
        Admission::register(&Registrar(&self.recorder))
    }

    /// The handles of one upstream; the same name gives the same counters.
    pub fn upstream(&self, name: &str) -> Upstream {
        let register = Registrar(&self.recorder);
        Upstream {
            requests: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| {
                register.counter(
                    "gateway_requests_total",
                    &[("upstream", name), ("status", class)],
                )
            }),
            seconds: register.histogram("gateway_request_seconds", &[("upstream", name)]),
        }
    }

    /// The handles of one endpoint of an upstream.
    pub fn endpoint(&self, upstream: &str, endpoint: &str) -> Endpoint {
        let register = Registrar(&self.recorder);
        let [of, at] = [("upstream", upstream), ("endpoint", endpoint)];
        let labels = [of, at];
        Endpoint {
            connections: register.counter("gateway_upstream_connections_total", &labels),
            open: register.gauge("gateway_upstream_connections_open", &labels),
            failures: UpstreamError::LABELS
                .map(|reason| {
                    let labels = [of, at, ("reason", reason)];
                    let name = "gateway_upstream_failures_total";
                    (reason, register.counter(name, &labels))
                })
                .into(),
        }
    }

    /// The metrics of the listener with this index.
    pub fn listener(&self, index: usize) -> Option<&Listener> {
        self.listeners.get(index)
    }

    /// What is counted about limits.
    pub fn limits(&self) -> &limits::Limits {
        &self.limits
    }

    /// Counts a connection that was turned away before its handshake.
    pub fn shed(&self, reason: Shed) {
        count(&self.shed, reason);
    }

    /// Counts a device that is known and not served.
    pub fn denied(&self, reason: Denied) {
        count(&self.denied, reason);
    }

    /// Counts an open connection that was ended because its device is not to be served any more.
    pub fn ended(&self, reason: Denied) {
        count(&self.ended, reason);
    }

    /// Counts a deadline that passed.
    pub fn timed_out(&self, deadline: Deadline) {
        count(&self.timeouts, deadline);
    }

    /// Counts an HTTP/2 connection that was ended because it kept the gateway busy for nothing.
    pub fn flooded(&self, kind: Flood) {
        count(&self.floods, kind);
    }

    /// Counts an attempt to fetch a revocation list: what is in `LIST_FETCHES`, or one of [`FetchError::LABELS`].
    pub fn list_fetched(&self, outcome: &'static str) {
        count(&self.fetches, outcome);
    }

    /// Counts a question to a responder, or to what it said before.
    pub fn responder_asked(&self, outcome: Outcome) {
        count(&self.responders, outcome);
    }

    /// Counts records of the access log that were not written.
    pub fn access_log_lost(&self) -> &Counter {
        &self.access_log_lost
    }

    /// Counts what becomes of spans.
    pub fn spans(&self) -> &trace::Counted {
        &self.spans
    }

    /// Shows the revocation lists in force at `now` (seconds since the Unix epoch). An issuer with several is as good as the
    /// worst of them.
    fn lists(&self, lists: &[ListInfo], now: u64) {
        let mut by_issuer: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
        for list in lists {
            let all = by_issuer
                .entry(&list.issuer)
                .or_insert((0, u64::MAX, u64::MAX));
            all.0 += list.entries;
            all.1 = all.1.min(list.this_update);
            all.2 = all.2.min(list.next_update);
        }
        let mut shown = self.shown_issuers.lock();
        shown.extend(by_issuer.keys().map(|issuer| (*issuer).to_owned()));
        let register = Registrar(&self.recorder);
        for issuer in shown.iter() {
            let labels = [("issuer", issuer.as_str())];
            let set = |name, value: f64| register.gauge(name, &labels).set(value);
            // A list that went out of force does not stay at its last figures.
            let (entries, this_update, next_update) = by_issuer
                .get(issuer.as_str())
                .copied()
                .unwrap_or((0, now, now));
            set("gateway_crl_entries", entries as f64);
            set(
                "gateway_crl_age_seconds",
                now.saturating_sub(this_update) as f64,
            );
            set(
                "gateway_crl_next_update_seconds",
                next_update as f64 - now as f64,
            );
        }
    }

    /// Counts a reload.
    pub fn reloaded(&self, ok: bool) {
        let [succeeded, failed] = &self.reloads;
        if ok {
            succeeded.increment(1)
        } else {
            failed.increment(1)
        }
    }

    /// Renders everything in Prometheus's text format. `cache_entries` and `lists` are read now rather than kept up to date.
    pub fn render(&self, cache_entries: usize, lists: &[ListInfo], now: u64) -> String {
        self.lists(lists, now);
        self.cache_entries.set(cache_entries as f64);
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Folds recorded samples into their buckets. Samples wait in memory until this runs.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn count<L: PartialEq>(counters: &[(L, Counter)], label: L) {
    if let Some((_, counter)) = counters.iter().find(|(of, _)| *of == label) {
        counter.increment(1);
    }
}
