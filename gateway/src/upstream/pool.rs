//! The connections of one worker to one endpoint: how many there may be, who gets one, and how long they are kept.
//!
//! Most recently used first, so that a quiet spell lets the surplus age away. Where all are busy, requests wait in the order
//! in which they came, for a while. It chooses no endpoint, and it repeats no request.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use tokio::sync::Notify;

use crate::clock;
use crate::forward::body::{RequestBody, ResponseTimeout};
use crate::metrics;
use crate::upstream::body::UpstreamBody;
use crate::upstream::connect::{Protocol, Target};
use crate::upstream::stream::{Standing, Stream};
use crate::upstream::{Fault, Limits, SendError, UpstreamError, http1, http2};

/// The connections of one worker to one endpoint.
pub struct Pool {
    target: Target,
    limits: Limits,
    occupancy: Rc<Occupancy>,
    idle: RefCell<VecDeque<Idle>>,
    shared: http2::Shared,
    metrics: metrics::Endpoint,
}

struct Idle {
    connection: Box<http1::Connection>,
    since: Instant,
}

/// How many connections there are, and how many requests wait for one.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    open: Cell<usize>,
    waiting: Cell<usize>,
    /// Told each time that something may have become free.
    freed: Notify,
}

impl Occupancy {
    /// Lets the first of those who wait look again.
    pub(super) fn freed(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }
}

/// One of the connections that there may be, open or about to be.
#[derive(Debug)]
pub(super) struct Seat {
    occupancy: Rc<Occupancy>,
    open: Option<metrics::Open>,
}

impl Seat {
    pub(super) fn occupancy(&self) -> &Occupancy {
        &self.occupancy
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.occupancy.open.set(self.occupancy.open.get() - 1);
        self.occupancy.freed();
    }
}

/// A place among those who wait.
struct Waiting(Rc<Occupancy>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// The right to send one request.
pub struct Lease {
    pool: Rc<Pool>,
    carrier: Carrier,
    /// `None` where the connection was there.
    connect_took: Option<Duration>,
    at: Instant,
}

/// What carries a request.
enum Carrier {
    Http1(Box<http1::Connection>),
    Http2(http2::Ticket),
}

/// What one who wants to send a request may get at once.
enum Free {
    Carrier(Carrier),
    /// There may be another connection.
    Seat(Seat),
}

/// A connection to an endpoint that carries whatever a tunnel does.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// Counts it as open.
    pub open: metrics::Open,
}

impl Pool {
    /// An empty pool.
    pub fn new(target: Target, limits: Limits, metrics: metrics::Endpoint) -> Self {
        Self {
            target,
            limits,
            occupancy: Rc::default(),
            idle: RefCell::default(),
            shared: http2::Shared::default(),
            metrics,
        }
    }

    /// The right to send a request at `now`: on a connection that is there, or on a new one, or on one that becomes free in
    /// time.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn lease(pool: &Rc<Self>, now: Instant) -> Result<Lease, UpstreamError> {
        let leased = match pool.free(now) {
            Some(Free::Carrier(carrier)) => Ok((carrier, None, now)),
            // Boxed, so that what is rare does not make every request's future larger.
            Some(Free::Seat(seat)) => Box::pin(pool.connect(seat, now)).await,
            None => Box::pin(pool.queue()).await,
        };
        match leased {
            Ok((carrier, connect_took, at)) => Ok(Lease {
                pool: Rc::clone(pool),
                carrier,
                connect_took,
                at,
            }),
            Err(error) => {
                pool.failed(&error);
                Err(error)
            }
        }
    }

    /// What is free at `now` for one before whom nobody waits.
    fn free(&self, now: Instant) -> Option<Free> {
        if self.occupancy.waiting.get() > 0 {
            return None;
        }
        self.look(now)
    }

    fn look(&self, now: Instant) -> Option<Free> {
        let carrier = match self.target.protocol {
            Protocol::Http1 => self.take_idle(now).map(Carrier::Http1),
            Protocol::Http2 => {
                let ticket = self.shared.take(now, &self.limits, &self.occupancy);
                // One connection is made at a time: it will carry many of those who wait for it.
                if ticket.is_none() && self.shared.is_connecting() {
                    return None;
                }
                ticket.map(Carrier::Http2)
            }
        };
        carrier.map(Free::Carrier).or_else(|| {
            let open = self.occupancy.open.get();
            (open < self.limits.max_connections).then(|| {
                self.occupancy.open.set(open + 1);
                Free::Seat(Seat {
                    occupancy: Rc::clone(&self.occupancy),
                    open: None,
                })
            })
        })
    }

    /// Waits for something to become free.
    async fn queue(&self) -> Result<(Carrier, Option<Duration>, Instant), UpstreamError> {
        let waiting = self.occupancy.waiting.get();
        if waiting >= self.limits.max_pending {
            return Err(UpstreamError::QueueFull);
        }
        self.occupancy.waiting.set(waiting + 1);
        let place = Waiting(Rc::clone(&self.occupancy));
        let failures = self.shared.failures();
        let waited = tokio::time::timeout(self.limits.queue_timeout, async {
            loop {
                self.occupancy.freed.notified().await;
                // Those who wait for a connection that cannot be made need not try one after the other.
                if let Some(error) = self.shared.failure_since(failures) {
                    self.occupancy.freed();
                    return Err(error);
                }
                let now = clock::now();
                if let Some(free) = self.look(now) {
                    return Ok((free, now));
                }
            }
        });
        let (free, now) = waited.await.map_err(|_| UpstreamError::QueueTimeout)??;
        drop(place);
        // A stream that became free may not be the only one.
        self.occupancy.freed();
        match free {
            Free::Carrier(carrier) => Ok((carrier, None, now)),
            Free::Seat(seat) => self.connect(seat, now).await,
        }
    }

    /// A new connection, made from `began` on: how long it took, and until when.
    async fn connect(
        &self,
        seat: Seat,
        began: Instant,
    ) -> Result<(Carrier, Option<Duration>, Instant), UpstreamError> {
        let connecting = match self.target.protocol {
            Protocol::Http1 => None,
            Protocol::Http2 => Some(self.shared.connecting(&self.occupancy)),
        };
        let opening = tokio::time::timeout(self.limits.connect_timeout, self.open(seat));
        let opened = opening.await.unwrap_or(Err(UpstreamError::ConnectTimeout));
        if let Some(connecting) = connecting {
            connecting.ended(opened.as_ref().err());
        }
        let (carrier, now) = (opened?, clock::now());
        let took = now.saturating_duration_since(began);
        Ok((carrier, Some(took), now))
    }

    async fn open(&self, mut seat: Seat) -> Result<Carrier, UpstreamError> {
        let stream: Stream = self.target.connect().await?;
        seat.open = Some(self.metrics.opened());
        let now = clock::now();
        match self.target.protocol {
            Protocol::Http1 => Ok(Carrier::Http1(http1::Connection::new(stream, now, seat))),
            Protocol::Http2 => {
                let ping_interval = self.limits.ping_interval;
                let connection = http2::Connection::open(stream, ping_interval, now, seat).await?;
                let ticket = self.shared.enter(connection, &self.occupancy);
                Ok(Carrier::Http2(ticket))
            }
        }
    }

    fn take_idle(&self, now: Instant) -> Option<Box<http1::Connection>> {
        loop {
            let mut idle = self.idle.borrow_mut().pop_back()?;
            if self.is_fit(&mut idle, now) {
                return Some(idle.connection);
            }
        }
    }

    /// Opens a connection that is no part of the pool, for a tunnel.
    ///
    /// # Errors
    /// None could be made.
    pub async fn dial(&self) -> Result<Dialled, UpstreamError> {
        let connecting = self.target.connect();
        let stream = tokio::time::timeout(self.limits.connect_timeout, connecting)
            .await
            .unwrap_or(Err(UpstreamError::ConnectTimeout))
            .inspect_err(|error| self.failed(error))?;
        Ok(Dialled {
            stream,
            open: self.metrics.opened(),
        })
    }

    fn is_fit(&self, idle: &mut Idle, now: Instant) -> bool {
        let unused = now.saturating_duration_since(idle.since);
        if unused > self.limits.pool_idle_timeout
            || self.limits.is_aged(idle.connection.opened, now)
        {
            return false;
        }
        match idle.connection.standing() {
            Standing::Quiet => true,
            Standing::Closed => false,
            Standing::Spoke => {
                self.failed(&Fault::Unasked.into());
                false
            }
        }
    }

    /// Takes back a connection that is fit for another request, unused since `since`.
    pub(super) fn keep(&self, connection: Box<http1::Connection>, since: Instant) {
        let limits = &self.limits;
        let used_up = limits
            .max_requests
            .is_some_and(|most| connection.served >= most);
        if used_up || limits.pool_max_idle == 0 || limits.is_aged(connection.opened, since) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= limits.pool_max_idle {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since });
        drop(idle);
        self.occupancy.freed();
    }

    /// Drops connections that were closed by the endpoint, not used for too long, or are too old.
    pub fn sweep(&self) {
        let now = clock::now();
        // Dropped outside of the borrow: whoever waits for a seat is told.
        let mut kept = std::mem::take(&mut *self.idle.borrow_mut());
        kept.retain_mut(|idle| self.is_fit(idle, now));
        self.idle.replace(kept);
        self.shared.sweep(now, &self.limits);
    }

    /// Counts `error`.
    pub(super) fn failed(&self, error: &UpstreamError) {
        self.metrics.failed(error);
    }

    /// How long the response to `request` may take.
    pub(super) fn response_timeout(&self, request: &Request<RequestBody>) -> Duration {
        let of_route = request.extensions().get::<ResponseTimeout>();
        of_route.map_or(self.limits.response_timeout, |timeout| timeout.0)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }
}

impl Lease {
    /// Sends `request` and waits for the head of the response, no longer than the response timeout. The connection goes back to
    /// the pool when request and response are complete; dropping the response's body before its end closes it.
    ///
    /// # Errors
    /// Why there is no response, and what is left of the request.
    pub async fn send(
        self,
        request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, SendError<Request<RequestBody>>> {
        let Self {
            pool, carrier, at, ..
        } = self;
        let counting = Rc::clone(&pool);
        let sent = match carrier {
            Carrier::Http1(connection) => http1::send(connection, pool, request, at).await,
            Carrier::Http2(ticket) => Box::pin(http2::send(ticket, pool, request, at)).await,
        };
        if let Err(failed) = &sent {
            counting.failed(&failed.error);
        }
        sent
    }

    /// Whether the connection carried a request before.
    pub fn is_reused(&self) -> bool {
        self.connect_took.is_none()
    }

    /// How long connecting took, where the connection was made for this request.
    pub fn connect_took(&self) -> Option<Duration> {
        self.connect_took
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("endpoint", &self.pool.target.address)
            .finish_non_exhaustive()
    }
}
