//! Serves a connection whose device is authorized, until either side ends it: HTTP, or a tunnel.
//!
//! One connection is one task. HTTP/1.1 and HTTP/2 differ in what they do while nothing is asked, so each has its own file;
//! the deadlines of both are in `watchdog`.

pub mod activity;
mod asleep;
mod http1;
mod http2;
mod joined;
pub mod tcp;
mod watchdog;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::admission::Slot;
use crate::authorize::{Denied, Permit};
use crate::forward::Origin;
use crate::handshake::Handshaked;
use crate::headers::PeerHeaders;
use crate::headers::token::TokenCache;
use crate::limits::Usage;
use crate::listener::Protocol;
use crate::live::Facts;
use crate::metrics::limits::Limit;
use crate::tls::stream::TlsStream;
use crate::worker::Worker;

/// Bounds on a device's side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From the first byte of a request head to its last.
    pub request_head_timeout: Duration,
    /// How long a connection may stay open with nothing asked, and how long a request or a response may stand still.
    pub idle_timeout: Duration,
    /// The largest request head in bytes.
    pub max_request_head: usize,
    /// The most header fields in a request.
    pub max_request_headers: usize,
    /// How long nothing may move on a connection that has switched to WebSocket.
    pub websocket_idle_timeout: Duration,
    /// The most requests that an HTTP/2 connection may have open.
    pub max_concurrent_streams: u32,
}

/// A connection that is ready to be served. Making one takes a [`Permit`].
pub(crate) struct Served {
    /// Boxed, because it is handed from future to future, each of which would have room for it for as long as it lives.
    stream: Box<TlsStream>,
    is_h2: bool,
    server_name: Option<Box<str>>,
    origin: Rc<Origin>,
    /// Counts the connection as open for admission.
    slot: Slot,
}

impl Served {
    fn new(
        worker: Rc<Worker>,
        listener: usize,
        mut handshaked: Handshaked,
        facts: Facts,
        permit: Permit,
        usage: Usage,
    ) -> Self {
        let (address, is_h2) = (facts.address, handshaked.is_h2());
        let server_name = handshaked.take_server_name();
        let identity = handshaked.peer_identity().clone();
        let seat = usage.seat().cloned();
        let (stream, slot) = handshaked.into_stream();
        let peer = PeerHeaders::prepare(address, worker.snapshot().settings().headers);
        let activity = Rc::clone(stream.activity());
        let place = worker
            .live()
            .enter(identity, facts, Rc::clone(&activity), seat);
        Self {
            stream: Box::new(stream),
            is_h2,
            server_name,
            origin: Rc::new(Origin {
                worker,
                listener,
                permit,
                place,
                usage,
                peer,
                token: TokenCache::default(),
                activity,
                upgraded: Cell::new(None),
            }),
            slot,
        }
    }
}

/// The connection with a seat among those that its device may have open; `None` where it is one too many.
pub(crate) async fn seat(
    worker: Rc<Worker>,
    listener: usize,
    handshaked: Handshaked,
    facts: Facts,
    permit: Permit,
    mut usage: Usage,
) -> Option<Served> {
    let limit = {
        let snapshot = worker.snapshot();
        let domain = &handshaked.peer_identity().trust_domain;
        snapshot.device_limits(domain).connections
    };
    let Some(ended) = usage.sit(limit) else {
        worker.metrics().limits().limited(Limit::ConnectionsRefused);
        handshaked.refuse().await;
        return None;
    };
    for _ in 0..ended {
        worker.metrics().limits().limited(Limit::ConnectionsEnded);
        worker.metrics().ended(Denied::Superseded);
    }
    Some(Served::new(
        worker, listener, handshaked, facts, permit, usage,
    ))
}

impl Served {
    /// The device's id for a log line.
    pub(crate) fn device_id(&self) -> &str {
        self.origin.permit.device_id()
    }

    /// What outlives serving, for whoever tells of it.
    pub(crate) fn origin(&self) -> Rc<Origin> {
        Rc::clone(&self.origin)
    }
}

/// A connection that is served.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()>>>;

/// Serves `served` to its end.
///
/// Each protocol's future is boxed by itself, so that none is as large as the largest.
pub(crate) fn connection(served: Served) -> Serving {
    let (protocol, settings) = {
        let snapshot = served.origin.worker.snapshot();
        let protocol = snapshot.protocol(served.origin.listener);
        (protocol, snapshot.settings().serve)
    };
    if let Some(protocol) = protocol
        && matches!(*protocol, Protocol::Tcp(_))
    {
        return Box::pin(async move {
            if let Protocol::Tcp(settings) = &*protocol {
                tcp::serve(served, settings).await;
            }
        });
    }
    let Served {
        stream,
        is_h2,
        origin,
        slot,
        ..
    } = served;
    if is_h2 {
        Box::pin(http2::serve(stream, origin, settings, slot))
    } else {
        Box::pin(http1::serve(stream, origin, settings, slot))
    }
}
