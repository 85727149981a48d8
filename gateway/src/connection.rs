//! The stages of one connection, in order.

use std::rc::Rc;

use crate::authorize::authorize;
use crate::clock;
use crate::handshake;
use crate::listener::Accepted;
use crate::serve::{self, Served};
use crate::worker::Worker;

/// Takes a connection from accept to close. Whatever goes wrong ends this connection only, and is counted once.
pub(crate) async fn run(worker: Rc<Worker>, listener: usize, accepted: Accepted) {
    let metrics = std::sync::Arc::clone(worker.metrics());
    let Some(listener) = metrics.listener(listener) else {
        return;
    };
    let open = listener.opened();
    let admitted = match worker.admission().admit(accepted) {
        Ok(admitted) => admitted,
        Err(shed) => return metrics.shed(shed),
    };
    let snapshot = worker.snapshot();
    // The handshake's future is far larger than what follows; boxed, it is freed before serving starts.
    let handshake = handshake::perform(
        admitted,
        snapshot.server_config(),
        worker.turns(),
        snapshot.settings().handshake,
    );
    let (handshaked, report) = Box::pin(handshake).await;
    listener.handshake(&report);
    let Some(handshaked) = handshaked else { return };
    let permit = match authorize(
        snapshot.domain().policy(),
        handshaked.device(),
        clock::unix_seconds(),
    ) {
        Ok(permit) => permit,
        Err(denied) => return metrics.denied(denied),
    };
    drop(snapshot);
    Box::pin(serve::connection(Served::new(worker, handshaked, permit))).await;
    drop(open);
}
