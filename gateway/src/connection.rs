//! The stages of one connection, in order.

use std::rc::Rc;
use std::sync::Arc;

use crate::clock;
use crate::handshake;
use crate::listener::Accepted;
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
        Err(shed) => return metrics.shed(shed),
    };
    let (config, settings) = worker.handshake_configuration();
    // The handshake's future is far larger than what follows; boxed, it is freed before serving starts.
    let handshake = handshake::perform(admitted, config, worker.turns(), settings);
    let (handshaked, report) = Box::pin(handshake).await;
    listener.handshake(&report);
    let Some(handshaked) = handshaked else {
        if let Some(failure) = report.failure {
            tracing::debug!(%peer, reason = failure.label(), "{failure}");
        }
        return;
    };
    let responder = Box::pin(worker.ask_responder(&handshaked)).await;
    let now = clock::unix_seconds();
    let permit = match worker.authorize(handshaked.peer_identity(), responder, now) {
        Ok(permit) => permit,
        Err(denied) => {
            metrics.denied(denied);
            let device = handshaked.peer_identity().device_id();
            tracing::debug!(%peer, device, reason = denied.label(), "{denied}");
            return Box::pin(handshaked.refuse()).await;
        }
    };
    Box::pin(serve::connection(Served::new(worker, handshaked, permit))).await;
}
