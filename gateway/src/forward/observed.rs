//! What the access log and the trace say of a request, gathered while it is answered.
//!
//! Only where one of the two is wanted: a request of a gateway that keeps neither has none of this.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Version};

use super::{Exchange, Origin};
use crate::access_log::{AccessLog, Asked, Event, Record, Timings};
use crate::clock;
use crate::snapshot::observing::Observing;
use crate::trace::{Context, Span, Tracer, Value};

/// Logs a head that could not be parsed, of which nothing is known but whose it was.
pub(crate) fn log_unanswerable(origin: &Origin) {
    let snapshot = origin.worker.snapshot();
    let log = snapshot.observing().access_log.as_ref();
    if let Some(log) = log.filter(|log| log.wants(Event::Request)) {
        let place = &origin.place;
        log.log(false, || Record {
            status: Some(StatusCode::BAD_REQUEST),
            reason: Some("malformed"),
            ..Record::of_connection(
                Event::Request,
                place.peer(),
                place.facts(),
                clock::unix_time(),
            )
        });
    }
}

/// A request that is watched.
pub(super) struct Observed {
    log: Option<Arc<AccessLog>>,
    trace: Option<(Arc<Tracer>, Context)>,
    asked: Asked,
    answered: Cell<Option<Instant>>,
    reason: Cell<Option<&'static str>>,
    connect: Cell<Option<Duration>>,
    endpoint: OnceCell<String>,
}

impl Observed {
    /// Begins to watch `request`, if anybody wants to know of it.
    pub(super) fn begin<B>(observing: &Observing, request: &Request<B>) -> Option<Box<Self>> {
        let log = observing.access_log.as_ref();
        let log = log.filter(|log| log.wants(Event::Request)).cloned();
        let tracer = observing.tracer.as_ref();
        let trace =
            tracer.and_then(|tracer| Some((Arc::clone(tracer), tracer.begin(request.headers())?)));
        if log.is_none() && trace.is_none() {
            return None;
        }
        let headers = request.headers();
        Some(Box::new(Self {
            log,
            trace,
            asked: Asked {
                method: request.method().clone(),
                uri: request.uri().clone(),
                version: request.version(),
                host: headers.get(HOST).cloned(),
                user_agent: headers.get(USER_AGENT).cloned(),
            },
            answered: Cell::new(None),
            reason: Cell::new(None),
            connect: Cell::new(None),
            endpoint: OnceCell::new(),
        }))
    }

    /// Says which trace the request belongs to, in what the upstream gets.
    pub(super) fn write_trace(&self, headers: &mut HeaderMap) {
        if let Some((_, context)) = &self.trace {
            context.write(headers);
        }
    }

    /// The head of the answer has come from `endpoint`, which was connected to for it in `connect`.
    pub(super) fn answered(&self, endpoint: String, connect: Option<Duration>) {
        self.answered.set(Some(clock::now()));
        self.connect.set(connect);
        let _ = self.endpoint.set(endpoint);
    }

    /// The gateway answers itself, or the answer broke off.
    pub(super) fn failed(&self, reason: &'static str) {
        self.reason.set(Some(reason));
    }

    /// Tells the log and the collector of `exchange`, which has ended at `now`.
    pub(super) fn end(&self, exchange: &Exchange, now: Instant) {
        let status = exchange.status.get();
        let reason = match status {
            None => Some("device_left"),
            Some(_) => self.reason.get(),
        };
        let is_error = |status: StatusCode| status.is_client_error() || status.is_server_error();
        let is_good = reason.is_none() && !status.is_some_and(is_error);
        if let Some(log) = &self.log {
            log.log(is_good, || self.record(exchange, reason, now));
        }
        if let Some((tracer, context)) = &self.trace {
            tracer.end(context, || self.span(exchange, context, reason, now));
        }
    }

    fn record(&self, exchange: &Exchange, reason: Option<&'static str>, now: Instant) -> Record {
        let place = &exchange.origin.place;
        let facts = place.facts();
        let is_first = exchange.origin.activity.requests() == 1;
        let since = |at: Option<Instant>| Some(at?.saturating_duration_since(exchange.started));
        Record {
            asked: Some(self.asked.clone()),
            status: exchange.status.get(),
            reason,
            upstream: exchange
                .upstream
                .get()
                .map(|upstream| Arc::clone(upstream.name())),
            endpoint: self.endpoint.get().cloned(),
            received: exchange.received.get(),
            sent: exchange.sent.get(),
            timings: Timings {
                handshake: is_first.then_some(facts.handshake_took),
                head: exchange.head,
                connect: self.connect.get(),
                first_byte: since(self.answered.get()),
                total: since(Some(now)),
            },
            trace_id: self.trace.as_ref().map(|(_, context)| *context.trace()),
            ..Record::of_connection(Event::Request, place.peer(), facts, clock::unix_time())
        }
    }

    fn span(
        &self,
        exchange: &Exchange,
        context: &Context,
        reason: Option<&'static str>,
        now: Instant,
    ) -> Span {
        let place = &exchange.origin.place;
        let facts = place.facts();
        let end = clock::unix_time();
        let text = |value: &str| Value::Text(value.to_owned());
        let number = |value: u64| Value::Number(i64::try_from(value).unwrap_or(i64::MAX));
        let mut attributes = vec![
            ("http.request.method", text(self.asked.method.as_str())),
            ("url.path", text(self.asked.uri.path())),
            ("client.address", text(&facts.address.ip().to_string())),
            (
                "network.protocol.version",
                text(match self.asked.version {
                    Version::HTTP_2 => "2",
                    Version::HTTP_10 => "1.0",
                    _ => "1.1",
                }),
            ),
            ("tls.protocol.version", text(facts.tls_version)),
            ("fleetgate.listener", text(&facts.listener)),
            ("fleetgate.trust_domain", text(&place.peer().trust_domain)),
            ("fleetgate.device_id", text(place.peer().device_id())),
            ("fleetgate.handshake", text(facts.handshake.label())),
            ("http.request.body.size", number(exchange.received.get())),
            ("http.response.body.size", number(exchange.sent.get())),
        ];
        if let Some(status) = exchange.status.get() {
            attributes.push(("http.response.status_code", number(status.as_u16().into())));
        }
        if let Some(upstream) = exchange.upstream.get() {
            attributes.push(("fleetgate.upstream", text(upstream.name())));
        }
        if let Some(endpoint) = self.endpoint.get() {
            attributes.push(("fleetgate.endpoint", text(endpoint)));
        }
        if let Some(reason) = reason {
            attributes.push(("fleetgate.reason", text(reason)));
        }
        let failed = exchange
            .status
            .get()
            .is_none_or(|status| status.is_server_error());
        Span {
            trace: *context.trace(),
            span: *context.span(),
            parent: context.parent().copied(),
            name: self.asked.method.to_string(),
            is_server: true,
            start: end.saturating_sub(now.saturating_duration_since(exchange.started)),
            end,
            attributes,
            error: (failed || reason.is_some()).then(|| reason.unwrap_or("server_error")),
        }
    }
}
