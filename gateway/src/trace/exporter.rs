//! Sends spans to a collector: OTLP with protobuf over plain HTTP, from a thread of its own.
//!
//! A collector runs beside the gateway or in its network; one that is reached by https is a local agent's business. A batch that
//! is refused or does not arrive is lost and counted, not sent again: spans are not worth more memory than the queue.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use metrics::Counter;
use tokio::sync::mpsc;

use super::{Otlp, Span, otlp};
use crate::fetch;

/// The most spans of a batch.
const BATCH: usize = 512;

/// The longest answer of a collector that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Counts what becomes of spans.
#[derive(Clone)]
pub struct Counted {
    /// The collector took them.
    pub exported: Counter,
    /// The collector refused them, or could not be reached.
    pub failed: Counter,
    /// They did not fit into the queue.
    pub lost: Counter,
}

/// Takes spans that are to be exported.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Sender<Span>,
    lost: Counter,
}

impl Exporter {
    /// Starts the thread that sends. It ends, with everything sent, when nobody can hand over spans any more.
    ///
    /// # Errors
    /// There is no thread, or no runtime, to be had.
    pub fn start(settings: Otlp, counted: Counted) -> std::io::Result<Self> {
        let (queue, spans) = mpsc::channel(settings.queue);
        let lost = counted.lost.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("otlp".into())
            .spawn(move || runtime.block_on(run(settings, spans, counted)))?;
        Ok(Self { queue, lost })
    }

    /// Hands over `span`, or loses it.
    pub fn export(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.lost.increment(1);
        }
    }
}

async fn run(settings: Otlp, mut spans: mpsc::Receiver<Span>, counted: Counted) {
    let mut failing = false;
    let mut batch = Vec::new();
    loop {
        // A batch is sent when it is full, or when its first span has waited for the interval.
        if spans.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let filling = async {
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                if spans.recv_many(&mut batch, room).await == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(settings.interval, filling).await;
        let count = batch.len() as u64;
        match send(&settings, &batch).await {
            Ok(_) => {
                counted.exported.increment(count);
                failing = false;
            }
            Err(error) => {
                counted.failed.increment(count);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, endpoint = %settings.endpoint, "spans are not exported");
                }
            }
        }
        batch.clear();
    }
}

async fn send(settings: &Otlp, spans: &[Span]) -> Result<Bytes, fetch::FetchError> {
    let version = env!("CARGO_PKG_VERSION");
    let body = otlp::request(&settings.service_name, version, spans);
    let mut headers = HeaderMap::new();
    headers.extend(settings.headers.iter().cloned());
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    let bounds = fetch::Settings {
        connect_timeout: settings.timeout.min(Duration::from_secs(5)),
        total_timeout: settings.timeout,
        max_bytes: LONGEST_ANSWER,
    };
    fetch::send(&settings.endpoint, headers, body.into(), &bounds).await
}
