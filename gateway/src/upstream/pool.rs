//! Keep-alive connections to one endpoint, of one worker.
//!
//! Most recently used first, so that a quiet spell lets the surplus age away. It speaks HTTP/1.1 only, and it never
//! repeats a request.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock;
use crate::forward::body::{RequestBody, UploadState};
use crate::metrics;
use crate::upstream::body::UpstreamBody;
use crate::upstream::connect::{Address, Target};
use crate::upstream::{Limits, SendError, UpstreamError};

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// The connections of one worker to one endpoint.
pub struct Pool {
    target: Target,
    limits: Limits,
    idle: RefCell<VecDeque<Idle>>,
    metrics: metrics::Endpoint,
}

/// A connection that carries one request.
pub struct Lease {
    pool: Rc<Pool>,
    sender: SendRequest<RequestBody>,
    reused: bool,
}

impl Pool {
    /// An empty pool.
    pub fn new(target: Target, limits: Limits, metrics: metrics::Endpoint) -> Self {
        Self {
            target,
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
                });
            }
        }
        let sender = pool.connect().await?;
        Ok(Lease {
            pool: Rc::clone(pool),
            sender,
            reused: false,
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
        let tcp = tokio::time::timeout(self.limits.connect_timeout, self.tcp())
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

    async fn tcp(&self) -> std::io::Result<TcpStream> {
        match &self.target.address {
            Address::Socket(address) => TcpStream::connect(address).await,
            Address::Name { host, port } => TcpStream::connect((host.as_str(), *port)).await,
            Address::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
        }
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
    /// Sends `request` and waits for the head of the response, no longer than the response timeout. The connection goes back to
    /// the pool when request and response are complete.
    ///
    /// # Errors
    /// Why there is no response, and the request where nothing of it was sent.
    pub async fn send(
        mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, SendError<Request<RequestBody>>> {
        let upload = request.body().state();
        let sending = self.sender.try_send_request(request);
        let timeout = self.pool.limits.response_timeout;
        match in_time(sending, &upload, timeout).await {
            Ok(Ok(response)) => Ok(response.map(|body| UpstreamBody::new(body, self, upload))),
            Ok(Err(mut error)) => Err(SendError {
                unsent: error.take_message(),
                error: error.into_error().into(),
            }),
            Err(error) => Err(SendError {
                error,
                unsent: None,
            }),
        }
    }

    /// Whether the connection carried a request before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Gives the connection back for the next request. Only for one whose request and response are complete; dropping the
    /// lease closes it.
    pub(super) fn give_back(self) {
        self.pool.give_back(self.sender);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("endpoint", &self.pool.target.address)
            .finish_non_exhaustive()
    }
}

/// Waits for `sending`; the time starts anew with every piece of the request's body, and does not run while the device is to
/// send more of it: a device that stalls is its own connection's concern.
async fn in_time<T>(
    sending: impl Future<Output = T>,
    upload: &UploadState,
    timeout: Duration,
) -> Result<T, UpstreamError> {
    tokio::pin!(sending);
    let mut since = clock::now();
    loop {
        let deadline = tokio::time::Instant::from_std(since + timeout);
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
