//! The stages of one connection, in order.

use std::rc::Rc;
use std::sync::Arc;

use crate::admission::Admitted;
use crate::clock;
use crate::handshake;
use crate::limits::{self, SourceSlot};
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
    let settings = worker.snapshot().settings().source_limits;
    let (address, at) = (accepted.peer().ip(), accepted.at());
    let slot = match worker.limits().accept(address, &settings, at) {
        Ok(slot) => slot,
        Err(shed) => {
            accepted.reset();
            return metrics.limits().shed(shed);
        }
    };
    let admitted = match worker.admission().admit(accepted) {
        Ok(admitted) => admitted,
        Err(shed) => return metrics.shed(shed),
    };
    // What leads to a served connection is far larger than one; boxed, it is freed before serving starts.
    let Some(served) = Box::pin(establish(worker, listener, counted, admitted, &slot)).await else {
        return;
    };
    serve::connection(served).await;
}

/// From the first byte of the handshake to a connection that may be served; `None` where it came to nothing.
async fn establish(
    worker: Rc<Worker>,
    listener: usize,
    counted: &Listener,
    admitted: Admitted,
    slot: &SourceSlot,
) -> Option<Served> {
    let peer = admitted.peer();
    let (config, settings) = worker.handshake_configuration(listener)?;
    let (handshaked, report) = handshake::perform(admitted, config, worker.turns(), settings).await;
    counted.handshake(&report);
    if let Some(failure) = report.failure {
        tracing::debug!(%peer, reason = failure.label(), "{failure}");
        if failure.is_of_peer() {
            let settings = worker.snapshot().settings().source_limits;
            worker
                .limits()
                .handshake_failed(slot, &settings, clock::now());
        }
    }
    let handshaked = handshaked?;
    let limits = worker.limits();
    let usage = limits.usage(handshaked.peer_identity(), peer.ip(), clock::now());
    if !limits::hold::back(&worker, &handshaked, &usage).await {
        handshaked.refuse().await;
        return None;
    }
    let responder = worker.ask_responder(&handshaked).await;
    let now = clock::unix_seconds();
    match worker.authorize(handshaked.peer_identity(), responder, now) {
        Ok(permit) => serve::seat(worker, listener, handshaked, permit, usage).await,
        Err(denied) => {
            worker.metrics().denied(denied);
            let device = handshaked.peer_identity().device_id();
            tracing::debug!(%peer, device, reason = denied.label(), "{denied}");
            handshaked.refuse().await;
            None
        }
    }
}
