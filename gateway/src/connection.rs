//! The stages of one connection, in order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tracing::Instrument as _;

use crate::access_log::{AccessLog, Event, Record, Timings};
use crate::admission::Admitted;
use crate::clock;
use crate::handshake::{self, Report};
use crate::listener::Accepted;
use crate::metrics::Listener;
use crate::serve::{self, Served};
use crate::worker::Worker;

/// Takes a connection from accept to close. Whatever goes wrong ends this connection only, and is counted once.
pub(crate) async fn run(worker: Rc<Worker>, listener: usize, accepted: Accepted) {
    let metrics = Arc::clone(worker.metrics());
    let Some(listener) = metrics.listener(listener) else {
        return;
    };
    let _open = listener.opened();
    let peer = accepted.peer();
    let admitted = match worker.admission().admit(accepted) {
        Ok(admitted) => admitted,
        Err(shed) => {
            metrics.shed(shed);
            if let Some(log) = log_of(&worker, Event::Shed) {
                log.log(false, || Record {
                    reason: Some(shed.label()),
                    ..Record::new(Event::Shed, listener.name(), peer, clock::unix_time())
                });
            }
            return;
        }
    };
    // What leads to a served connection is far larger than one; boxed, it is freed before serving starts.
    let Some(served) = Box::pin(establish(Rc::clone(&worker), listener, admitted)).await else {
        return;
    };
    let span = tracing::debug_span!("connection", %peer, device = served.device_id());
    let origin = log_of(&worker, Event::Connection).map(|log| (log, served.origin()));
    Box::pin(serve::connection(served).instrument(span)).await;
    if let Some((log, origin)) = origin {
        let facts = origin.place.facts();
        let total = clock::now().saturating_duration_since(facts.accepted);
        log.log(true, || Record {
            requests: Some(origin.activity.requests()),
            reason: origin.place.denial().map(|denied| denied.label()),
            timings: Timings {
                handshake: Some(facts.handshake_took),
                total: Some(total),
                ..Timings::default()
            },
            ..Record::of_connection(
                Event::Connection,
                origin.place.peer(),
                facts,
                clock::unix_time(),
            )
        });
    }
}

/// From the first byte of the handshake to a connection that may be served; `None` where it came to nothing.
async fn establish(worker: Rc<Worker>, listener: &Listener, admitted: Admitted) -> Option<Served> {
    let peer = admitted.peer();
    let (config, settings) = worker.handshake_configuration();
    let (handshaked, report) = handshake::perform(admitted, config, worker.turns(), settings).await;
    listener.handshake(&report);
    if let Some(failure) = report.failure {
        tracing::debug!(%peer, reason = failure.label(), "{failure}");
        refused(
            &worker,
            listener,
            peer,
            &report,
            failure.label(),
            |record| record,
        );
    }
    let handshaked = handshaked?;
    let responder = worker.ask_responder(&handshaked).await;
    let now = clock::unix_seconds();
    let facts = handshaked.facts(listener.name(), &report);
    match worker.authorize(handshaked.peer_identity(), responder, now) {
        Ok(permit) => Some(Served::new(worker, handshaked, facts, permit)),
        Err(denied) => {
            worker.metrics().denied(denied);
            let identity = handshaked.peer_identity();
            let device = identity.device_id();
            tracing::debug!(%peer, device, reason = denied.label(), "{denied}");
            refused(&worker, listener, peer, &report, denied.label(), |record| {
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
