//! Keep-alive connections to one endpoint, of one worker.
//!
//! Most recently used first, so that a quiet spell lets the surplus age away. It speaks HTTP/1.1 only, and it never
//! repeats a request.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock;
use crate::forward::body::RequestBody;
use crate::metrics;
use crate::upstream::{EndpointAddress, Limits, UpstreamError};

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// The connections of one worker to one endpoint.
pub struct Pool {
    address: EndpointAddress,
    limits: Limits,
    idle: RefCell<VecDeque<Idle>>,
    metrics: metrics::Endpoint,
}

/// A connection that carries one request.
pub struct Lease {
    pool: Rc<Pool>,
    sender: SendRequest<RequestBody>,
    reused: bool,
    connect_took: Option<Duration>,
}

impl Pool {
    /// An empty pool.
    pub fn new(address: EndpointAddress, limits: Limits, metrics: metrics::Endpoint) -> Self {
        Self {
            address,
            limits,
            idle: RefCell::default(),
            metrics,
        }
    }

    /// A connection that is ready for a request at `now`: a pooled one, or a new one.
    ///
    /// # Errors
    /// None could be made.
    pub async fn lease(pool: &Rc<Self>, now: Instant) -> Result<Lease, UpstreamError> {
        while let Some(mut sender) = pool.take(now) {
            if sender.ready().await.is_ok() {
                return Ok(Lease {
                    pool: Rc::clone(pool),
                    sender,
                    reused: true,
                    connect_took: None,
                });
            }
        }
        let began = clock::now();
        let sender = pool.connect().await?;
        let connect_took = Some(clock::now().saturating_duration_since(began));
        Ok(Lease {
            pool: Rc::clone(pool),
            sender,
            reused: false,
            connect_took,
        })
    }

    fn take(&self, now: Instant) -> Option<SendRequest<RequestBody>> {
        loop {
            let idle = self.idle.borrow_mut().pop_back()?;
            let aged = now.saturating_duration_since(idle.since) > self.limits.pool_idle_timeout;
            if !aged && !idle.sender.is_closed() {
                return Some(idle.sender);
            }
        }
    }

    /// Drops connections that were not used for too long.
    pub fn sweep(&self) {
        let now = clock::now();
        self.idle.borrow_mut().retain(|idle| {
            !idle.sender.is_closed()
                && now.saturating_duration_since(idle.since) <= self.limits.pool_idle_timeout
        });
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, UpstreamError> {
        let address = (self.address.host.as_str(), self.address.port);
        let tcp = tokio::time::timeout(self.limits.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| UpstreamError::ConnectTimeout)?
            .map_err(UpstreamError::Unreachable)?;
        tcp.set_nodelay(true).map_err(UpstreamError::Unreachable)?;
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(tcp)).await?;
        let open = self.metrics.opened();
        tokio::task::spawn_local(async move {
            // What goes wrong here is told to whoever waits for the response; there is nobody else.
            let _ = connection.await;
            drop(open);
        });
        Ok(sender)
    }

    fn give_back(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.idle.borrow_mut();
        if sender.is_closed() || self.limits.pool_max_idle == 0 {
            return;
        }
        if idle.len() >= self.limits.pool_max_idle {
            idle.pop_front();
        }
        idle.push_back(Idle {
            sender,
            since: clock::now(),
        });
    }
}

impl Lease {
    /// Sends `request`.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<>
    {
        self.sender.try_send_request(request)
    }

    /// Where it leads to.
    pub fn endpoint(&self) -> String {
        self.pool.address.to_string()
    }

    /// How long connecting took, where the connection was made for this request.
    pub fn connect_took(&self) -> Option<Duration> {
        self.connect_took
    }

    /// Whether the connection carried a request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Gives the connection back for the next request. Only for one whose request and response are complete; dropping the
    /// lease closes it.
    pub fn give_back(self) {
        self.pool.give_back(self.sender);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("endpoint", &self.pool.address)
            .finish_non_exhaustive()
    }
}
