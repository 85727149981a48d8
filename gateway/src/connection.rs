//! The stages of one connection, in order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tracing::Instrument as _;

use crate::access_log::{AccessLog, Event, Record, Timings};
use crate::admission::Admitted;
use crate::admission::parked::{Guards, Parked};
use crate::admission::queue::Kind;
use crate::admission::turns::Turn;
use crate::clock;
use crate::forward::Origin;
use crate::handshake::{self, Report, Start, kind_of_hello};
use crate::limits::{self, SourceSlot};
use crate::listener::Accepted;
use crate::metrics::Listener;
use crate::serve::{self, Served, Serving};
use crate::tls::hello::{ClientHello, FirstFlight, first_flight};
use crate::worker::Worker;

/// Takes a connection from accept to close, in a task of its own. Whatever goes wrong ends this connection only, and is
/// counted once.
pub(crate) fn run(worker: &Rc<Worker>, listener: usize, accepted: Accepted) {
    if let Some((admitted, guards)) = admit(worker, listener, accepted) {
        let start = Start {
            admitted,
            received: Vec::new(),
            turn: None,
        };
        spawn(worker, listener, start, guards);
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
        let snapshot = worker.snapshot();
        let kind = ClientHello::parse(&body).map(|hello| kind_of_hello(&hello, snapshot.hooks()));
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
    spawn(worker, parked.listener, start, parked.guards);
}

fn admit(worker: &Worker, listener: usize, accepted: Accepted) -> Option<(Admitted, Guards)> {
    let metrics = worker.metrics();
    let listener = metrics.listener(listener)?;
    let open = listener.opened();
    let settings = worker.snapshot().settings().source_limits;
    let (address, at) = (accepted.peer().ip(), accepted.at());
    let slot = match worker.limits().accept(address, &settings, at) {
        Ok(slot) => slot,
        Err(shed) => {
            let peer = accepted.peer();
            accepted.reset();
            metrics.limits().shed(shed);
            log_shed(worker, listener, peer, shed.label());
            return None;
        }
    };
    let peer = accepted.peer();
    match worker.admission().admit(accepted, worker.turns()) {
        Ok(admitted) => Some((admitted, Guards { open, slot })),
        Err(shed) => {
            metrics.shed(shed);
            log_shed(worker, listener, peer, shed.label());
            None
        }
    }
}

/// Tells the access log, where it is to know, of a connection that was turned away before its handshake.
fn log_shed(worker: &Worker, listener: &Listener, peer: SocketAddr, reason: &'static str) {
    if let Some(log) = log_of(worker, Event::Shed) {
        log.log(false, || Record {
            reason: Some(reason),
            ..Record::new(Event::Shed, listener.name(), peer, clock::unix_time())
        });
    }
}

/// What leads to a served connection is far larger than one, and what serves it is made when it is there: the task holds
/// whichever there is at the moment in a box, and little else.
fn spawn(worker: &Rc<Worker>, listener: usize, start: Start, guards: Guards) {
    let Guards { open, slot } = guards;
    let established = Box::pin(establish(Rc::clone(worker), listener, start, slot));
    tokio::task::spawn_local(async move {
        let _open = open;
        if let Some((serving, _slot)) = established.await {
            serving.await;
        }
    });
}

/// Serving `served` to its end, and telling of it then.
fn serve(served: Served, peer: SocketAddr) -> Serving {
    let origin = served.origin();
    let log = log_of(&origin.worker, Event::Connection);
    let span = tracing::debug_span!("connection", %peer, device = served.device_id());
    let serving = serve::connection(served);
    match (log, span.is_disabled()) {
        (None, true) => serving,
        (log, _) => Box::pin(async move {
            serving.instrument(span).await;
            if let Some(log) = log {
                log.log(true, || record_of(&origin));
            }
        }),
    }
}

/// From the first byte of the handshake to a connection that is about to be served; `None` where it came to nothing.
async fn establish(
    worker: Rc<Worker>,
    listener: usize,
    start: Start,
    slot: SourceSlot,
) -> Option<(Serving, SourceSlot)> {
    let metrics = Arc::clone(worker.metrics());
    let counted = metrics.listener(listener)?;
    let peer = start.admitted.peer();
    let served = authorized(worker, listener, counted, start, &slot).await?;
    Some((serve(served, peer), slot))
}

async fn authorized(
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
            log_shed(&worker, counted, peer, shed.label());
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
        refused(&worker, counted, peer, &report, failure.label(), |record| {
            record
        });
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
    let facts = handshaked.facts(counted.name(), &report);
    match worker.authorize(handshaked.peer_identity(), responder, now) {
        Ok(permit) => serve::seat(worker, listener, handshaked, facts, permit, usage).await,
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
