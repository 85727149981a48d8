//! A named set of endpoints that requests are forwarded to.
//!
//! Each worker has its own upstreams and its own pools; nothing is shared between threads. It knows no device: who may ask
//! for what was decided before.

pub mod pool;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;

use crate::clock;
use crate::forward::body::{RequestBody, UploadState};
use crate::metrics::{self, Metrics};
use pool::{Lease, Pool};

/// One configured upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in logs and metrics.
    pub name: String,
    /// Where it is; at least one.
    pub endpoints: Vec<EndpointAddress>,
    /// Bounds on talking to it.
    pub limits: Limits,
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
}

/// A host and a port, the host as an address or a name that is looked up at each connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAddress {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No endpoint could be connected to.
    #[error("no endpoint can be reached: {0}")]
    Unreachable(std::io::Error),
    /// No endpoint could be connected to in time.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The response's head did not come in time.
    #[error("the response took too long")]
    ResponseTimeout,
    /// The connection broke, or what came was no HTTP.
    #[error("the upstream broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// An upstream as one worker uses it.
pub struct Upstream {
    name: Arc<str>,
    limits: Limits,
    pools: Vec<Rc<Pool>>,
    next: Cell<usize>,
    metrics: metrics::Upstream,
}

impl Upstream {
    /// An upstream with empty pools.
    pub fn new(settings: &Settings, metrics: &Metrics) -> Self {
        let pools = settings
            .endpoints
            .iter()
            .map(|address| {
                let handles = metrics.endpoint(&settings.name, &address.to_string());
                Rc::new(Pool::new(address.clone(), settings.limits, handles))
            })
            .collect();
        Self {
            name: settings.name.as_str().into(),
            limits: settings.limits,
            pools,
            next: Cell::new(0),
            metrics: metrics.upstream(&settings.name),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its metrics.
    pub fn metrics(&self) -> &metrics::Upstream {
        &self.metrics
    }

    /// Closes pooled connections that were not used for too long.
    pub fn sweep(&self) {
        for pool in &self.pools {
            pool.sweep();
        }
    }

    /// Sends `request` at `now` to an endpoint, round robin, and waits for the head of the response. The lease gives the connection
    /// back when the response's body is done.
    ///
    /// A pooled connection that turns out to be closed before anything was sent on it is replaced by another; so is an
    /// endpoint that cannot be connected to. Nothing is sent twice.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        upload: &UploadState,
        now: Instant,
    ) -> Result<(Response<Incoming>, Lease), UpstreamError> {
        let mut now = now;
        loop {
            let mut lease = self.lease(now).await?;
            if !lease.is_reused() {
                now = clock::now();
            }
            let sending = lease.send(request);
            match self.in_time(sending, upload, now).await? {
                Ok(response) => return Ok((response, lease)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if lease.is_reused() => request = unsent,
                    _ => return Err(UpstreamError::Broken(error.into_error())),
                },
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

    /// Waits for `sending`, which began at `since`; the time starts anew with every piece of the request's body, and does not
    /// run while the device is to send more of it: a device that stalls is its own connection's concern.
    async fn in_time<T>(
        &self,
        sending: impl Future<Output = T>,
        upload: &UploadState,
        mut since: Instant,
    ) -> Result<T, UpstreamError> {
        tokio::pin!(sending);
        loop {
            let deadline = tokio::time::Instant::from_std(since + self.limits.response_timeout);
            match tokio::time::timeout_at(deadline, &mut sending).await {
                Ok(done) => return Ok(done),
                Err(_) => match upload.progress() {
                    Some(last) if last > since => since = last,
                    _ if upload.is_awaited() => since = clock::now(),
                    _ => return Err(UpstreamError::ResponseTimeout),
                },
            }
        }
    }
}
