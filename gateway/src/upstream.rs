//! A named set of endpoints that requests are forwarded to.
//!
//! Each worker has its own upstreams and its own pools; nothing is shared between threads. It knows no device: who may ask
//! for what was decided before.

pub mod balance;
pub mod body;
pub mod connect;
pub mod error;
pub mod health;
pub mod pool;
pub mod retry;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};

use crate::forward::body::RequestBody;
use crate::metrics::{self, Metrics};
use body::UpstreamBody;
use connect::{Address, Protocol, Target};
pub use error::{SendError, UpstreamError};
use pool::{Lease, Pool};

/// One configured upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in logs and metrics.
    pub name: String,
    /// Where it is; at least one.
    pub endpoints: Vec<Address>,
    /// What is spoken there.
    pub protocol: Protocol,
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

/// An upstream as one worker uses it.
pub struct Upstream {
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
                let target = Target {
                    address: address.clone(),
                    protocol: settings.protocol,
                };
                Rc::new(Pool::new(target, settings.limits, handles))
            })
            .collect();
        Self {
            pools,
            next: Cell::new(0),
            metrics: metrics.upstream(&settings.name),
        }
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
