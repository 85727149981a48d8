//! The stages of one connection, in order.

use std::rc::Rc;
use std::sync::Arc;

use crate::admission::Admitted;
use crate::clock;
use crate::handshake;
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
    let admitted = match worker.admission().admit(accepted) {
        Ok(admitted) => admitted,
        Err(shed) => return metrics.shed(shed),
    };
    // What leads to a served connection is far larger than one; boxed, it is freed before serving starts.
    let Some(served) = Box::pin(establish(worker, listener, admitted)).await else {
        return;
    };
    Box::pin(serve::connection(served)).await;
}

/// From the first byte of the handshake to a connection that may be served; `None` where it came to nothing.
async fn establish(worker: Rc<Worker>, listener: &Listener, admitted: Admitted) -> Option<Served> {
    let peer = admitted.peer();
    let (config, settings) = worker.handshake_configuration();
    let (handshaked, report) = handshake::perform(admitted, config, worker.turns(), settings).await;
    listener.handshake(&report);
    if let Some(failure) = report.failure {
        tracing::debug!(%peer, reason = failure.label(), "{failure}");
    }
    let handshaked = handshaked?;
    let responder = worker.ask_responder(&handshaked).await;
    let now = clock::unix_seconds();
    match worker.authorize(handshaked.peer_identity(), responder, now) {
        Ok(permit) => {
            let facts = handshaked.facts(listener.name(), &report);
            Some(Served::new(worker, handshaked, facts, permit))
        }
        Err(denied) => {
            worker.metrics().denied(denied);
            let device = handshaked.peer_identity().device_id();
            tracing::debug!(%peer, device, reason = denied.label(), "{denied}");
            handshaked.refuse().await;
            None
        }
    }
}
