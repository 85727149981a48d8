//! Distributed traces (W3C Trace Context): which trace a request belongs to, told to the upstream, and spans told to a collector.
//!
//! Without it `traceparent` and `tracestate` pass through like any other field. With it every request gets a span: a valid
//! inbound context is continued, any other begins a trace. What is exported is the gateway's own choice, by the trace's id: a
//! device that marks all of its requests as sampled does not fill the collector.

pub mod context;
mod exporter;
mod otlp;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use http::HeaderMap;

use crate::fetch::HttpUrl;
pub use context::{Context, SpanId, TraceId};
pub use exporter::{Counted, Exporter};
pub use otlp::{Span, Value};

/// How requests are traced.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The share of traces that is exported and marked as sampled, from 0 to 1.
    pub sample: f64,
    /// Where spans go; `None` only tells upstreams the trace.
    pub otlp: Option<Otlp>,
}

/// Where spans go.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// The collector, which takes protobuf over HTTP.
    pub endpoint: HttpUrl,
    /// The longest that a span waits before it is sent.
    pub interval: Duration,
    /// For one batch of spans.
    pub timeout: Duration,
    /// How many spans may wait.
    pub queue: usize,
    /// Further header fields, with which collectors tell tenants apart.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// What the collector is to call this gateway.
    pub service_name: String,
}

/// Gives requests their place in a trace.
#[derive(Debug)]
pub struct Tracer {
    settings: Settings,
    exporter: Option<Exporter>,
}

impl Tracer {
    /// A tracer with a thread that exports, where spans are to be exported.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(settings: Settings, counted: Counted) -> std::io::Result<Arc<Self>> {
        let exporter = settings.otlp.clone();
        let exporter = exporter
            .map(|otlp| Exporter::start(otlp, counted))
            .transpose()?;
        Ok(Arc::new(Self { settings, exporter }))
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The span of a request with these header fields: a child of what they name, or the first of a trace. `None` without
    /// randomness.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Context> {
        let mut random = [0; 24];
        rand::fill(&mut random).ok()?;
        Context::begin(headers, random, self.settings.sample)
    }

    /// Exports the span that `make` makes, if its trace is sampled.
    pub fn end(&self, context: &Context, make: impl FnOnce() -> Span) {
        if let Some(exporter) = self.exporter.as_ref().filter(|_| context.is_sampled()) {
            exporter.export(make());
        }
    }
}
