//! The stages of one connection, in order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tracing::Instrument as _;

use crate::access_log::{AccessLog, Event, Record, Timings};
use crate::admission::Admitted;
use crate::clock;
use crate::forward::Origin;
use crate::handshake::{self, Report};
use crate::listener::Accepted;
use crate::metrics::Listener;
use crate::serve::{self, Served};
use crate::worker::Worker;

/// Takes a connection from accept to close. Whatever goes wrong ends this connection only, and is counted once.
pub(crate) async fn run(worker: Rc<Worker>, listener: usize, accepted: Accepted) {
    let metrics = Arc::clone(worker.metrics());
    let Some(counted) = metrics.listener(listener) else {
        return;
    };
    let _open = counted.opened();
    let peer = accepted.peer();
    let admitted = match worker.admission().admit(accepted) {
        Ok(admitted) => admitted,
        Err(shed) => {
            metrics.shed(shed);
            if let Some(log) = log_of(&worker, Event::Shed) {
                log.log(false, || Record {
                    reason: Some(shed.label()),
                    ..Record::new(Event::Shed, counted.name(), peer, clock::unix_time())
                });
            }
            return;
        }
    };
    // What leads to a served connection is far larger than one; boxed, it is freed before serving starts.
    let Some(served) = Box::pin(establish(worker, listener, counted, admitted)).await else {
        return;
    };
    let span = tracing::debug_span!("connection", %peer, device = served.device_id());
    let origin = served.origin();
    let logged = log_of(&origin.worker, Event::Connection).map(|log| (log, origin));
    serve::connection(served).instrument(span).await;
    if let Some((log, origin)) = logged {
        log.log(true, || record_of(&origin));
    }
}

/// From the first byte of the handshake to a connection that may be served; `None` where it came to nothing.
async fn establish(
    worker: Rc<Worker>,
    listener: usize,
    counted: &Listener,
    admitted: Admitted,
) -> Option<Served> {
    let peer = admitted.peer();
    let (config, settings) = worker.handshake_configuration(listener)?;
    let (handshaked, report) = handshake::perform(admitted, config, worker.turns(), settings).await;
    counted.handshake(&report);
    if let Some(failure) = report.failure {
        tracing::debug!(%peer, reason = failure.label(), "{failure}");
        refused(&worker, counted, peer, &report, failure.label(), |record| {
            record
        });
    }
    let handshaked = handshaked?;
    let responder = worker.ask_responder(&handshaked).await;
    let now = clock::unix_seconds();
    let facts = handshaked.facts(counted.name(), &report);
    match worker.authorize(handshaked.peer_identity(), responder, now) {
        Ok(permit) => Some(Served::new(worker, listener, handshaked, facts, permit)),
        Err(denied) => {
            worker.metrics().denied(denied);
            let identity = handshaked.peer_identity();
            let device = identity.device_id();
            tracing::debug!(%peer, device, reason = denied.label(), "{denied}");
            refused(&worker, counted, peer, &report, denied.label(), |record| {
                Record {
                    trust_domain: Some(Arc::clone(&identity.trust_domain)),
                    device: identity.device.clone(),
                    tls_version: facts.tls_version,
                    ..record
                }
            });
            handshaked.refuse().await;
            None
        }
    }
}

/// What the access log says of a connection that has ended.
fn record_of(origin: &Origin) -> Record {
    let facts = origin.place.facts();
    Record {
        requests: Some(origin.activity.requests()),
        reason: origin.place.denial().map(|denied| denied.label()),
        timings: Timings {
            handshake: Some(facts.handshake_took),
            total: Some(clock::now().saturating_duration_since(facts.accepted)),
            ..Timings::default()
        },
        ..Record::of_connection(
            Event::Connection,
            origin.place.peer(),
            facts,
            clock::unix_time(),
        )
    }
}

/// The access log, if it is to have records of `event`.
fn log_of(worker: &Worker, event: Event) -> Option<Arc<AccessLog>> {
    let snapshot = worker.snapshot();
    let log = snapshot.observing().access_log.as_ref();
    log.filter(|log| log.wants(event)).cloned()
}

/// Logs a device that was not let in, with what `more` adds.
fn refused(
    worker: &Worker,
    listener: &Listener,
    peer: SocketAddr,
    report: &Report,
    reason: &'static str,
    more: impl FnOnce(Record) -> Record,
) {
    let Some(log) = log_of(worker, Event::Handshake) else {
        return;
    };
    log.log(false, || {
        more(Record {
            reason: Some(reason),
            handshake: Some(report.kind.label()),
            timings: Timings {
                handshake: Some(report.took),
                ..Timings::default()
            },
            ..Record::new(Event::Handshake, listener.name(), peer, clock::unix_time())
        })
    });
}
