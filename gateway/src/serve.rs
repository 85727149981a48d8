//! Serves HTTP on a connection whose device is authorized, until either side ends it.
//!
//! One connection is one task. HTTP/1.1 and HTTP/2 differ in what they do while nothing is asked, so each has its own file;
//! the deadlines of both are in `watchdog`.

pub mod activity;
mod http1;
mod http2;
mod watchdog;

use std::rc::Rc;
use std::time::Duration;

use crate::admission::Slot;
use crate::authorize::Permit;
use crate::forward::Origin;
use crate::handshake::Handshaked;
use crate::headers::PeerHeaders;
use crate::headers::token::TokenCache;
use crate::live::Facts;
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
    /// The most requests that an HTTP/2 connection may have open.
    pub max_concurrent_streams: u32,
}

/// A connection that is ready to be served. Making one takes a [`Permit`].
pub(crate) struct Served {
    stream: TlsStream,
    is_h2: bool,
    origin: Rc<Origin>,
    /// Counts the connection as open for admission.
    _slot: Slot,
}

impl Served {
    pub(crate) fn new(
        worker: Rc<Worker>,
        handshaked: Handshaked,
        facts: Facts,
        permit: Permit,
    ) -> Self {
        let (peer, is_h2) = (handshaked.peer(), handshaked.is_h2());
        let identity = handshaked.peer_identity().clone();
        let (stream, slot) = handshaked.into_stream();
        let peer = PeerHeaders::prepare(peer, worker.snapshot().settings().headers);
        let activity = Rc::clone(stream.activity());
        let place = worker.live().enter(identity, facts, Rc::clone(&activity));
        Self {
            stream,
            is_h2,
            origin: Rc::new(Origin {
                worker,
                permit,
                place,
                peer,
                token: TokenCache::default(),
                activity,
            }),
            _slot: slot,
        }
    }
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

/// Serves `served` to its end.
pub(crate) async fn connection(served: Served) {
    let settings = served.origin.worker.snapshot().settings().serve;
    if served.is_h2 {
        http2::serve(served.stream, served.origin, settings).await;
    } else {
        http1::serve(served.stream, served.origin, settings).await;
    }
}
