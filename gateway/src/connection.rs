//! The stages of one connection, in order.

use std::rc::Rc;
use std::sync::Arc;

use crate::admission::Admitted;
use crate::admission::parked::{Guards, Parked};
use crate::admission::queue::Kind;
use crate::admission::turns::Turn;
use crate::clock;
use crate::handshake::{self, Start, kind_of_hello};
use crate::limits::{self, SourceSlot};
use crate::listener::Accepted;
use crate::metrics::Listener;
use crate::serve::{self, Served};
use crate::tls::hello::{ClientHello, FirstFlight, first_flight};
use crate::worker::Worker;

/// Takes a connection from accept to close. Whatever goes wrong ends this connection only, and is counted once.
pub(crate) async fn run(worker: Rc<Worker>, listener: usize, accepted: Accepted) {
    if let Some((admitted, guards)) = admit(&worker, listener, accepted) {
        let start = Start {
            admitted,
            received: Vec::new(),
            turn: None,
        };
        go_on(worker, listener, start, guards).await;
    }
}

/// Lets a connection wait for its turn without a task, if its hello is there already.
pub(crate) fn park(worker: &Rc<Worker>, listener: usize, accepted: Accepted) {
    let Some((admitted, guards)) = admit(worker, listener, accepted) else {
        return;
    };
    let mut parked = Parked {
        admitted,
        received: Vec::new(),
        listener,
        guards,
    };
    if !parked.read_on() {
        return abandon(worker, parked);
    }
    if let FirstFlight::Hello(body) = first_flight(&parked.received) {
        let configuration = worker.handshake_configuration(listener);
        let kind = ClientHello::parse(&body)
            .zip(configuration)
            .map(|(hello, configuration)| kind_of_hello(&hello, &configuration.hooks));
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
    let connection = go_on(Rc::clone(worker), parked.listener, start, parked.guards);
    tokio::task::spawn_local(connection);
}

fn admit(worker: &Worker, listener: usize, accepted: Accepted) -> Option<(Admitted, Guards)> {
    let metrics = worker.metrics();
    let open = metrics.listener(listener)?.opened();
    let settings = worker.snapshot().settings().source_limits;
    let (address, at) = (accepted.peer().ip(), accepted.at());
    let slot = match worker.limits().accept(address, &settings, at) {
        Ok(slot) => slot,
        Err(shed) => {
            accepted.reset();
            metrics.limits().shed(shed);
            return None;
        }
    };
    match worker.admission().admit(accepted, worker.turns()) {
        Ok(admitted) => Some((admitted, Guards { open, slot })),
        Err(shed) => {
            metrics.shed(shed);
            None
        }
    }
}

async fn go_on(worker: Rc<Worker>, listener: usize, start: Start, guards: Guards) {
    let metrics = Arc::clone(worker.metrics());
    let Some(counted) = metrics.listener(listener) else {
        return;
    };
    // What leads to a served connection is far larger than one; boxed, it is freed before serving starts.
    let Some(served) = Box::pin(establish(worker, listener, counted, start, &guards.slot)).await
    else {
        return;
    };
    serve::connection(served).await;
}

/// From the first byte of the handshake to a connection that may be served; `None` where it came to nothing.
async fn establish(
    worker: Rc<Worker>,
    listener: usize,
    counted: &Listener,
    start: Start,
    slot: &SourceSlot,
) -> Option<Served> {
    let peer = start.admitted.peer();
    let configuration = worker.handshake_configuration(listener)?;
    let performed = handshake::perform(start, configuration, worker.turns()).await;
    let (handshaked, report) = match performed {
        Ok(performed) => performed,
        Err(shed) => {
            worker.metrics().shed(shed);
            return None;
        }
    };
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
