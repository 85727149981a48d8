//! A named set of endpoints that requests are forwarded to.
//!
//! Each worker has its own upstreams and its own pools; nothing is shared between threads. It knows no device: who may ask
//! for what was decided before.

pub mod body;
pub mod connect;
pub mod error;
mod http1;
mod http2;
mod patience;
pub mod pool;
pub mod stream;
pub mod tls;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};

use crate::forward::body::RequestBody;
use crate::metrics::{self, Metrics};
use body::UpstreamBody;
use connect::{Address, Protocol, Target};
pub use error::{Fault, SendError, UpstreamError};
pub use http1::Upgraded;
use pool::{Dialled, Lease, Pool};

/// One configured upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in logs and metrics.
    pub name: String,
    /// Where it is; at least one.
    pub endpoints: Vec<Endpoint>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// TLS to those endpoints that are reached by it.
    pub tls: tls::Settings,
    /// Bounds on talking to it.
    pub limits: Limits,
}

/// One of an upstream's endpoints as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Whether it is reached by TLS.
    pub encrypted: bool,
}

/// Bounds on talking to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a TCP connection to an endpoint.
    pub connect_timeout: Duration,
    /// From the last byte of the request to the end of the response's head.
    pub response_timeout: Duration,
    /// How long a connection may stay in the pool unused. Keep it below the endpoint's own keep-alive time.
    pub pool_idle_timeout: Duration,
    /// The most unused connections kept for each endpoint, in each worker.
    pub pool_max_idle: usize,
    /// The most connections to each endpoint, in each worker.
    pub max_connections: usize,
    /// The most requests that wait for a connection to an endpoint, in each worker.
    pub max_pending: usize,
    /// How long a request waits for a connection.
    pub queue_timeout: Duration,
    /// How long a connection gets new requests; `None` is for ever.
    pub max_connection_age: Option<Duration>,
    /// How many requests a connection carries; `None` is no limit.
    pub max_requests: Option<u64>,
    /// How often a ping on an HTTP/2 connection asks whether the endpoint is still there, and how long its answer may take;
    /// `None` is never.
    pub ping_interval: Option<Duration>,
}

impl Limits {
    /// Whether a connection that was opened at `opened` gets no new requests at `now`.
    fn is_aged(&self, opened: Instant, now: Instant) -> bool {
        self.max_connection_age
            .is_some_and(|age| now.saturating_duration_since(opened) > age)
    }
}

/// An upstream as one worker uses it.
pub struct Upstream {
    pools: Vec<Rc<Pool>>,
    protocol: Protocol,
    next: Cell<usize>,
    metrics: metrics::Upstream,
}

impl Upstream {
    /// An upstream with empty pools, of which `targets` says how each endpoint is reached.
    pub fn new(settings: &Settings, targets: &[Target], metrics: &Metrics) -> Self {
        let pools = targets
            .iter()
            .map(|target| {
                let handles = metrics.endpoint(&settings.name, &target.address.to_string());
                Rc::new(Pool::new(target.clone(), settings.limits, handles))
            })
            .collect();
        Self {
            pools,
            protocol: settings.protocol,
            next: Cell::new(0),
            metrics: metrics.upstream(&settings.name),
        }
    }

    /// Its metrics.
    pub fn metrics(&self) -> &metrics::Upstream {
        &self.metrics
    }

    /// Whether a connection may go on in another protocol, which HTTP/2 cannot (RFC 9113, 8.6).
    pub fn may_switch(&self) -> bool {
        self.protocol == Protocol::Http1
    }

    /// Closes pooled connections that were not used for too long.
    pub fn sweep(&self) {
        for pool in &self.pools {
            pool.sweep();
        }
    }

    /// Opens a connection of its own to an endpoint, round robin, for a tunnel.
    ///
    /// # Errors
    /// No endpoint could be connected to.
    pub async fn open(&self) -> Result<Dialled, UpstreamError> {
        let start = self.next.get();
        self.next.set(start.wrapping_add(1));
        let mut failure = UpstreamError::ConnectTimeout;
        for step in 0..self.pools.len() {
            let Some(pool) = self.pools.get(start.wrapping_add(step) % self.pools.len()) else {
                break;
            };
            match pool.dial().await {
                Ok(dialled) => return Ok(dialled),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sends `request` at `now` to an endpoint, round robin, and waits for the head of the response.
    ///
    /// A pooled connection that turns out to be closed before anything was sent on it is replaced by another; so is an
    /// endpoint that cannot be connected to. Nothing is sent twice.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        now: Instant,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        loop {
            let lease = self.lease(now).await?;
            let reused = lease.is_reused();
            match lease.send(request).await {
                Ok(response) => return Ok(response),
                Err(SendError {
                    unsent: Some(unsent),
                    ..
                }) if reused => request = unsent,
                Err(failed) => return Err(failed.error),
            }
        }
    }

    async fn lease(&self, now: Instant) -> Result<Lease, UpstreamError> {
        let start = self.next.get();
        self.next.set(start.wrapping_add(1));
        let mut failure = UpstreamError::ConnectTimeout;
        for step in 0..self.pools.len() {
            let Some(pool) = self.pools.get(start.wrapping_add(step) % self.pools.len()) else {
                break;
            };
            match Pool::lease(pool, now).await {
                Ok(lease) => return Ok(lease),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}
