//! What one record says. Made by a worker out of what it has anyway: nothing is copied or written out before the log's own
//! thread does it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use http::{Method, StatusCode, Uri, Version};

use crate::identity::Identified;
use crate::live::{Facts, Peer};

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request, when its answer has ended.
    Request,
    /// A served connection, when it has ended.
    Connection,
    /// A handshake that failed, or whose device was not let in.
    Handshake,
    /// A connection that was turned away before its handshake.
    Shed,
}

impl Event {
    /// What it is called in the log, and in the configuration in the plural.
    pub fn label(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::Shed => "shed",
        }
    }
}

/// A request as the device asked it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The target.
    pub uri: Uri,
    /// The version.
    pub version: Version,
    /// The value of the host field, where there was one.
    pub host: Option<HeaderValue>,
    /// The value of the user agent field.
    pub user_agent: Option<HeaderValue>,
}

/// How long the stages took, those that there were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// From accept to the end of the handshake; of a connection's first request, and of the connection itself.
    pub handshake: Option<Duration>,
    /// From the first byte of the request's head to its last, where it did not come whole.
    pub head: Option<Duration>,
    /// Connecting to the upstream, where no open connection was used.
    pub connect: Option<Duration>,
    /// From the end of the request's head to the end of the response's.
    pub first_byte: Option<Duration>,
    /// From the end of the request's head to the end of the answer; of a connection, from accept to its end.
    pub total: Option<Duration>,
}

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it is about.
    pub event: Event,
    /// When that ended, since the Unix epoch.
    pub time: Duration,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The device's address.
    pub peer: SocketAddr,
    /// The trust domain's name, once that is known.
    pub trust_domain: Option<Arc<str>>,
    /// The device, if there is one.
    pub device: Option<Arc<Identified>>,
    /// Which handshake it was.
    pub handshake: Option<&'static str>,
    /// The TLS version, as `1.3`.
    pub tls_version: &'static str,
    /// `http1`, `h2`, `websocket` or `tcp`.
    pub protocol: &'static str,
    /// What was asked.
    pub asked: Option<Asked>,
    /// What was answered; absent where the device left before that.
    pub status: Option<StatusCode>,
    /// Why the gateway refused, if it did.
    pub reason: Option<&'static str>,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The endpoint that was asked.
    pub endpoint: Option<String>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// How many requests a connection brought.
    pub requests: Option<u64>,
    /// How long it took.
    pub timings: Timings,
    /// The trace that the request belongs to.
    pub trace_id: Option<[u8; 16]>,
}

impl Record {
    /// A record of a connection that nothing is known of but where it comes from.
    pub fn new(event: Event, listener: &Arc<str>, peer: SocketAddr, time: Duration) -> Self {
        Self {
            event,
            time,
            listener: Arc::clone(listener),
            peer,
            trust_domain: None,
            device: None,
            handshake: None,
            tls_version: "",
            protocol: "",
            asked: None,
            status: None,
            reason: None,
            upstream: None,
            endpoint: None,
            received: 0,
            sent: 0,
            requests: None,
            timings: Timings::default(),
            trace_id: None,
        }
    }

    /// A record of a connection of `peer` after its handshake.
    pub fn of_connection(event: Event, peer: &Peer, facts: &Facts, time: Duration) -> Self {
        Self {
            trust_domain: Some(Arc::clone(&peer.trust_domain)),
            device: peer.device.clone(),
            handshake: Some(facts.handshake.label()),
            tls_version: facts.tls_version,
            protocol: facts.protocol(),
            ..Self::new(event, &facts.listener, facts.address, time)
        }
    }
}
