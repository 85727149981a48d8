//! The stages of one connection, in order.

use std::rc::Rc;
use std::sync::Arc;

use crate::admission::Admitted;
use crate::admission::parked::Parked;
use crate::admission::queue::Kind;
use crate::admission::turns::Turn;
use crate::clock;
use crate::handshake::{self, Start, kind_of_hello};
use crate::listener::Accepted;
use crate::metrics::{Listener, Open};
use crate::serve::{self, Served};
use crate::tls::hello::{ClientHello, FirstFlight, first_flight};
use crate::worker::Worker;

/// Takes a connection from accept to close. Whatever goes wrong ends this connection only, and is counted once.
pub(crate) async fn run(worker: Rc<Worker>, listener: usize, accepted: Accepted) {
    if let Some((admitted, open)) = admit(&worker, listener, accepted) {
        let start = Start {
            admitted,
            received: Vec::new(),
            turn: None,
        };
        go_on(worker, listener, start, open).await;
    }
}

/// Lets a connection wait for its turn without a task, if its hello is there already.
pub(crate) fn park(worker: &Rc<Worker>, listener: usize, accepted: Accepted) {
    let Some((admitted, open)) = admit(worker, listener, accepted) else {
        return;
    };
    let mut parked = Parked {
        admitted,
        received: Vec::new(),
        listener,
        open,
    };
    if !parked.read_on() {
        return abandon(worker, parked);
    }
    if let FirstFlight::Hello(body) = first_flight(&parked.received) {
        let hooks = &worker.handshake_configuration().hooks;
        let kind = ClientHello::parse(&body).map(|hello| kind_of_hello(&hello, hooks));
        let kind = kind.unwrap_or(Kind::FullHello);
        return worker.turns().park(kind, parked);
    }
    begin(worker, parked, None);
}

/// Goes on with a connection whose `turn` has come.
pub(crate) fn resume(worker: &Rc<Worker>, mut parked: Parked, turn: Turn) {
    if parked.read_on() {
        begin(worker, parked, Some(turn));
    } else {
        abandon(worker, parked);
    }
}

/// Ends a connection whose device has left.
fn abandon(worker: &Worker, parked: Parked) {
    worker.turns().gave_up(Kind::FullHello);
    if let Some(listener) = worker.metrics().listener(parked.listener) {
        listener.gave_up();
    }
    // Nobody is left to be told in order.
    parked.admitted.reset();
}

fn begin(worker: &Rc<Worker>, parked: Parked, turn: Option<Turn>) {
    let start = Start {
        admitted: parked.admitted,
        received: parked.received,
        turn,
    };
    let connection = go_on(Rc::clone(worker), parked.listener, start, parked.open);
    tokio::task::spawn_local(connection);
}

fn admit(worker: &Worker, listener: usize, accepted: Accepted) -> Option<(Admitted, Open)> {
    let open = worker.metrics().listener(listener)?.opened();
    match worker.admission().admit(accepted, worker.turns()) {
        Ok(admitted) => Some((admitted, open)),
        Err(shed) => {
            worker.metrics().shed(shed);
            None
        }
    }
}

async fn go_on(worker: Rc<Worker>, listener: usize, start: Start, _open: Open) {
    let metrics = Arc::clone(worker.metrics());
    let Some(listener) = metrics.listener(listener) else {
        return;
    };
    // What leads to a served connection is far larger than one; boxed, it is freed before serving starts.
    let Some(served) = Box::pin(establish(worker, listener, start)).await else {
        return;
    };
    Box::pin(serve::connection(served)).await;
}

/// From the first byte of the handshake to a connection that may be served; `None` where it came to nothing.
async fn establish(worker: Rc<Worker>, listener: &Listener, start: Start) -> Option<Served> {
    let peer = start.admitted.peer();
    let configuration = worker.handshake_configuration();
    let performed = handshake::perform(start, configuration, worker.turns()).await;
    let (handshaked, report) = match performed {
        Ok(performed) => performed,
        Err(shed) => {
            worker.metrics().shed(shed);
            return None;
        }
    };
    listener.handshake(&report);
    if let Some(failure) = report.failure {
        tracing::debug!(%peer, reason = failure.label(), "{failure}");
    }
    let handshaked = handshaked?;
    let responder = worker.ask_responder(&handshaked).await;
    let now = clock::unix_seconds();
    match worker.authorize(handshaked.peer_identity(), responder, now) {
        Ok(permit) => Some(Served::new(worker, handshaked, permit)),
        Err(denied) => {
            worker.metrics().denied(denied);
            let device = handshaked.peer_identity().device_id();
            tracing::debug!(%peer, device, reason = denied.label(), "{denied}");
            handshaked.refuse().await;
            None
        }
    }
}
