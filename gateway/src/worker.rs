//! One worker: one thread, one current-thread runtime, its own listening sockets, its own upstream pools.
//!
//! Nothing in here is shared with another thread but the snapshot, the cache and the metrics.

pub mod asks;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admission::turns::Turns;
use crate::admission::{self, Admission};
use crate::authorize::{Denied, Permit, Revocation};
use crate::clock;
use crate::connection;
use crate::drain::{Drain, Stop};
use crate::handshake::{self, Handshaked};
use crate::limits::Limits;
use crate::listener;
use crate::live::{Live, Peer};
use crate::metrics::{self, Metrics};
use crate::route::Routed;
use crate::snapshot::Snapshot;
use crate::upstream::Upstream;
use crate::upstream::endpoints::Endpoints;
use asks::Asked;

/// How many tasks run between two looks at the sockets. A task is some ten microseconds here, and public-key work looks
/// at the sockets after each turn anyway.
const EVENT_INTERVAL: u32 = 31;

/// How many connections are accepted between two looks at the sockets, when there are as many: less work than a turn.
const ACCEPTS_AT_ONCE: u32 = 8;

/// What a worker is given.
pub struct Start {
    /// The listening sockets, each with its listener's place in the configuration.
    pub sockets: Vec<(usize, std::net::TcpListener)>,
    /// Told when the worker accepts from all of them.
    pub accepting: mpsc::Sender<()>,
    /// The configuration in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Bounds on connections and handshakes.
    pub admission: admission::Settings,
    /// What devices and sources used.
    pub limits: Arc<Limits>,
    /// Changes whenever something that authorization looks at has changed.
    pub trust_changed: watch::Receiver<u64>,
    /// Questions to the worker.
    pub asked: Asked,
    /// Says when it is time to end, and how.
    pub stop: watch::Receiver<Stop>,
}

/// The worker as its connections see it.
pub struct Worker {
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    unrouted: metrics::Upstream,
    admission: Admission,
    limits: Arc<Limits>,
    turns: Rc<Turns>,
    drain: Drain,
    live: Rc<Live>,
    upstreams: RefCell<Upstreams>,
}

/// Upstreams as built for one snapshot.
#[derive(Default)]
struct Upstreams {
    generation: Option<u64>,
    built: Vec<Rc<Upstream>>,
}

impl Worker {
    /// The configuration in force now.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// What a handshake that begins now on the listener with this index goes by.
    pub fn handshake_configuration(&self, listener: usize) -> Option<handshake::Configuration> {
        let snapshot = self.snapshot();
        self.turns.set(snapshot.settings().queue);
        Some(handshake::Configuration {
            tls: snapshot.server_config(listener)?,
            hooks: Arc::clone(snapshot.hooks()),
            settings: snapshot.settings().handshake,
        })
    }

    /// Asks a responder about the certificate that `handshaked` is of, where its trust domain wants that.
    pub async fn ask_responder(&self, handshaked: &Handshaked) -> Revocation {
        let name = &handshaked.peer_identity().trust_domain;
        // Without the domain `authorize` refuses.
        let Some(domain) = self.snapshot().domains().named(name).map(Arc::clone) else {
            return Revocation::Unknown;
        };
        let subject = handshaked.subject();
        let (outcome, verdict) = domain.ask_responder(subject, clock::unix_seconds()).await;
        if let Some(outcome) = outcome {
            self.metrics.responder_asked(outcome);
        }
        verdict
    }

    /// Authorizes `peer` at `now` (seconds since the Unix epoch) by the configuration in force now, which may be newer than
    /// the one that its handshake began with. `responder` is the answer of [`Worker::ask_responder`].
    ///
    /// # Errors
    /// The reason for the refusal.
    pub fn authorize(
        &self,
        peer: &Peer,
        responder: Revocation,
        now: u64,
    ) -> Result<Permit, Denied> {
        let snapshot = self.snapshot();
        let domain = snapshot
            .domains()
            .named(&peer.trust_domain)
            .ok_or(Denied::DomainRemoved)?;
        if peer.rules != domain.rules() {
            return Err(Denied::RulesChanged);
        }
        domain.authorize(peer.device.as_ref(), responder, now)
    }

    /// The open connections.
    pub fn live(&self) -> &Rc<Live> {
        &self.live
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The metrics of requests that reach no upstream.
    pub fn unrouted(&self) -> &metrics::Upstream {
        &self.unrouted
    }

    /// Bounds on connections and handshakes.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What devices and sources used.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Turns of public-key work.
    pub fn turns(&self) -> &Rc<Turns> {
        &self.turns
    }

    /// Whether it is time to end.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// The upstream that `routed` names in `snapshot`.
    pub fn upstream(&self, snapshot: &Snapshot, routed: &Routed<'_>) -> Option<Rc<Upstream>> {
        self.upstream_at(snapshot, routed.upstream())
    }

    /// The upstream that `snapshot` calls `name`.
    pub fn upstream_named(&self, snapshot: &Snapshot, name: &str) -> Option<Rc<Upstream>> {
        let is_named = |upstream: &Arc<Endpoints>| upstream.settings().name == name;
        let index = snapshot.upstreams().iter().position(is_named)?;
        self.upstream_at(snapshot, index)
    }

    fn upstream_at(&self, snapshot: &Snapshot, index: usize) -> Option<Rc<Upstream>> {
        let mut upstreams = self.upstreams.borrow_mut();
        if upstreams.generation != Some(snapshot.generation()) {
            // What has not changed keeps its connections. Requests in flight keep the others alive until they are done.
            let known = std::mem::take(&mut upstreams.built);
            let build = |shared| {
                let same = known.iter().find(|known| known.is_of(shared));
                same.map_or_else(|| Rc::new(Upstream::new(shared, &self.metrics)), Rc::clone)
            };
            upstreams.built = snapshot.upstreams().iter().map(build).collect();
            upstreams.generation = Some(snapshot.generation());
        }
        upstreams.built.get(index).cloned()
    }

    fn sweep(&self) {
        for upstream in &self.upstreams.borrow().built {
            upstream.sweep();
        }
    }
}

/// Runs a worker on the calling thread until it is drained.
///
/// # Errors
/// The runtime cannot be made, or a socket cannot be registered with it.
pub fn run(start: Start) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(EVENT_INTERVAL)
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(serve(start))
}

async fn serve(start: Start) -> io::Result<()> {
    let queue = start.snapshot.load().settings().queue;
    let turns = Turns::new(queue, start.metrics.admission());
    let worker = Rc::new(Worker {
        unrouted: start.metrics.upstream(""),
        snapshot: start.snapshot,
        metrics: start.metrics,
        admission: Admission::new(start.admission),
        limits: start.limits,
        turns: Rc::new(turns),
        drain: Drain::default(),
        live: Rc::default(),
        upstreams: RefCell::default(),
    });
    let resuming = Rc::clone(&worker);
    tokio::task::spawn_local(Rc::clone(worker.turns()).keep(move |parked, turn| {
        connection::resume(&resuming, parked, turn);
    }));
    tokio::task::spawn_local(keep_reviewing(Rc::clone(&worker), start.trust_changed));
    tokio::task::spawn_local(asks::answer(Rc::clone(&worker), start.asked));
    let mut accepting = Vec::new();
    for (index, socket) in start.sockets {
        let listener = TcpListener::from_std(socket)?;
        accepting.push((
            index,
            tokio::task::spawn_local(accept(Rc::clone(&worker), index, listener)),
        ));
    }
    let _ = start.accepting.send(());
    drop(start.accepting);
    let mut stop = start.stop;
    let mut sweep = tokio::time::interval(SWEEP);
    let ending = loop {
        tokio::select! {
            stopped = stop.wait_for(|stop| matches!(stop, Stop::Now(_))) => match stopped.as_deref() {
                Ok(Stop::Now(ending)) => break Arc::clone(ending),
                // The sender being gone means that the process is going.
                _ => return Ok(()),
            },
            _ = sweep.tick() => {
                worker.sweep();
                worker.turns.show();
            }
        }
    };
    worker
        .drain
        .start(&ending, worker.admission.open_connections());
    for (index, task) in accepting {
        let Ok(listener) = task.await else { continue };
        if !ending.lives_on.get(index).is_some_and(|lives_on| *lives_on) {
            accept_the_rest(&worker, index, listener).await;
        }
    }
    drained(&worker, ending.grace).await;
    Ok(())
}

/// How often unused connections to upstreams are looked at: one that the endpoint closed takes up a descriptor until then.
const SWEEP: Duration = Duration::from_secs(1);

/// How often it is looked whether a certificate of an open connection has expired.
const EXPIRY_CHECK: Duration = Duration::from_millis(250);

/// Authorizes the open connections again whenever that may come out otherwise than before.
async fn keep_reviewing(worker: Rc<Worker>, mut trust_changed: watch::Receiver<u64>) {
    let mut expiry_check = tokio::time::interval(EXPIRY_CHECK);
    loop {
        tokio::select! {
            changed = trust_changed.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            _ = expiry_check.tick() => {
                if !worker.live.any_expired(clock::unix_seconds()) {
                    continue;
                }
            }
        }
        review(&worker).await;
    }
}

async fn review(worker: &Worker) {
    worker.live.start_review();
    let mut from = Some(0);
    while let Some(at) = from {
        let now = clock::unix_seconds();
        // A responder is asked once for a connection; what it says later reaches the device's next one. And that nothing fresh
        // is known about a device is a reason not to let it in, but turns against nobody who was let in before: otherwise a
        // list that comes a minute late would disconnect the fleet.
        let authorize = |peer: &Peer| match worker.authorize(peer, Revocation::Good, now) {
            Ok(_) | Err(Denied::RevocationUnknown) => Ok(()),
            Err(denied) => Err(denied),
        };
        let (next, ended) = worker.live.review(at, authorize);
        for denied in ended {
            worker.metrics.ended(denied);
        }
        from = next;
        tokio::task::yield_now().await;
    }
}

/// Accepts until the drain; what is left to accept from then.
async fn accept(worker: Rc<Worker>, index: usize, listener: TcpListener) -> TcpListener {
    let mut accepts = 0_u32;
    loop {
        tokio::select! {
            biased;
            () = worker.drain.started() => return listener,
            () = accept_next(&worker, index, &listener) => {}
        }
        accepts = accepts.wrapping_add(1);
        if accepts.is_multiple_of(ACCEPTS_AT_ONCE) {
            tokio::task::yield_now().await;
        }
    }
}

/// Closing the socket resets whoever waits in the kernel's queue; they were promised nothing, but they can be served.
async fn accept_the_rest(worker: &Rc<Worker>, index: usize, listener: TcpListener) {
    while let Ok(Ok((tcp, peer))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        let accepted = listener::Accepted::new(tcp, peer, clock::now());
        connection::run(worker, index, accepted);
    }
}

async fn accept_next(worker: &Rc<Worker>, index: usize, listener: &TcpListener) {
    if worker.turns.is_storm() {
        // Who waited there would be first come, first served, and of an age that nobody knows.
        listener::set_backlog(listener, listener::STORM_BACKLOG);
        while worker.turns.is_storm() {
            accept_in_storm(worker, index, listener).await;
        }
        listener::set_backlog(listener, listener::BACKLOG);
    }
    let accepted = listener::accept(listener).await;
    connection::run(worker, index, accepted);
}

/// Accepts who waits, and lets the others gather for a moment: together they cost less.
async fn accept_in_storm(worker: &Rc<Worker>, index: usize, listener: &TcpListener) {
    /// Short against any device's patience, and long enough for several to come.
    const MOMENT: Duration = Duration::from_millis(4);
    for nth in 0..ACCEPTS_AT_ONCE {
        let waiting = worker
            .turns
            .may_accept()
            .then(|| listener::accept_waiting(listener));
        let Some(accepted) = waiting.flatten() else {
            return tokio::time::sleep(MOMENT).await;
        };
        if nth == 0 {
            // It is noticed when these give up, and so how patient devices are.
            connection::run(worker, index, accepted);
        } else {
            connection::park(worker, index, accepted);
        }
    }
    tokio::task::yield_now().await;
}

async fn drained(worker: &Worker, grace: Duration) {
    let deadline = clock::now() + grace;
    while worker.admission.open_connections() > 0 {
        if clock::now() >= deadline {
            tracing::warn!(
                connections = worker.admission.open_connections(),
                "the grace period is over"
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
