//! HTTP/2 towards an endpoint, by hyper: many requests at a time on few connections.
//!
//! A new connection is made only when those there are carry as many requests as the endpoint allows. A connection that ends
//! (GOAWAY, age, an unanswered request) carries its requests to their end and gets no new ones.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{HOST, HeaderValue, TE};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use http_body::Body as _;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::clock;
use crate::forward::body::{AcceptsTrailers, RequestBody, UploadState};
use crate::local::Local;
use crate::upstream::body::UpstreamBody;
use crate::upstream::pool::{Occupancy, Pool, Seat};
use crate::upstream::stream::Stream;
use crate::upstream::{Fault, Left, Limits, SendError, UpstreamError};

/// The most requests on one connection, whatever the endpoint would allow.
const MAX_STREAMS: usize = 1000;

/// Receive windows: what an endpoint may send ahead of the devices' reading, for one stream and for all of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The requests on a connection whose endpoint has not said yet how many it takes. The first waits for that, which wakes hyper.
const UNTOLD: usize = 0;

/// The largest response head.
const MAX_HEAD: u32 = 64 * 1024;

/// A connection that carries requests.
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    /// Requests under way.
    streams: Cell<usize>,
    /// How many there may be; `None` until the endpoint has said it.
    most: Rc<Cell<Option<usize>>>,
    /// Requests that it carried.
    served: Cell<u64>,
    opened: Instant,
    /// When the last request ended, where none is under way.
    idle_since: Cell<Instant>,
    /// Whether it gets no more requests.
    retired: Cell<bool>,
}

impl Connection {
    /// Begins HTTP/2 on `stream`.
    pub(super) async fn open(
        stream: Stream,
        ping_interval: Option<Duration>,
        now: Instant,
        seat: Seat,
    ) -> Result<Self, UpstreamError> {
        let mut builder = Builder::new(Local);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD)
            .initial_max_send_streams(UNTOLD)
            .keep_alive_interval(ping_interval)
            .keep_alive_while_idle(true)
            .keep_alive_timeout(ping_interval.unwrap_or(Duration::MAX))
            .max_send_buf_size(64 * 1024);
        let (sender, mut connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Fault::Http2)?;
        let most = Rc::<Cell<Option<usize>>>::default();
        let known = Rc::clone(&most);
        tokio::task::spawn_local(async move {
            // What goes wrong here is told to those who wait for responses; there is nobody else.
            let _ = std::future::poll_fn(|cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                let most = connection.current_max_send_streams();
                if most != known.get().unwrap_or(UNTOLD) {
                    known.set(Some(most));
                    seat.occupancy().freed();
                }
                ended
            })
            .await;
        });
        Ok(Self {
            sender,
            streams: Cell::new(0),
            most,
            served: Cell::new(0),
            opened: now,
            idle_since: Cell::new(now),
            retired: Cell::new(false),
        })
    }

    /// Whether it may carry another request at `now`.
    fn is_fit(&self, now: Instant, limits: &Limits) -> bool {
        let idle = now.saturating_duration_since(self.idle_since.get());
        !self.retired.get()
            && !self.sender.is_closed()
            && !limits.is_aged(self.opened, now)
            && limits
                .max_requests
                .is_none_or(|most| self.served.get() < most)
            && (self.streams.get() > 0 || idle <= limits.pool_idle_timeout)
    }

    fn has_room(&self) -> bool {
        let most = self.most.get();
        most.is_some_and(|most| self.streams.get() < most.min(MAX_STREAMS))
    }
}

/// The connections to one endpoint.
#[derive(Default)]
pub(super) struct Shared {
    connections: RefCell<Vec<Rc<Connection>>>,
    connecting: Cell<bool>,
    /// How often connecting failed, and how it did last.
    failures: Cell<u64>,
    last_failure: Cell<Option<Failure>>,
}

/// Why connecting failed, for all who waited.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Unreachable(io::ErrorKind),
    Timeout,
    Tls(io::ErrorKind),
}

impl Shared {
    /// The right to send a request at `now`, on the first connection that has room.
    pub(super) fn take(
        &self,
        now: Instant,
        limits: &Limits,
        occupancy: &Rc<Occupancy>,
    ) -> Option<Ticket> {
        self.sweep(now, limits);
        let connections = self.connections.borrow();
        let connection = connections
            .iter()
            .find(|connection| connection.has_room())?;
        Some(Ticket::new(connection, occupancy))
    }

    /// Lets go of connections that get no more requests.
    pub(super) fn sweep(&self, now: Instant, limits: &Limits) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| connection.is_fit(now, limits));
    }

    /// Adds a new connection, and takes the first right on it.
    pub(super) fn enter(&self, connection: Connection, occupancy: &Rc<Occupancy>) -> Ticket {
        let connection = Rc::new(connection);
        let ticket = Ticket::new(&connection, occupancy);
        self.connections.borrow_mut().push(connection);
        ticket
    }

    /// Whether there will soon be room that nobody knows the size of yet.
    pub(super) fn is_connecting(&self) -> bool {
        let connections = self.connections.borrow();
        self.connecting.get()
            || connections
                .iter()
                .any(|connection| connection.most.get().is_none())
    }

    /// Says that a connection is being made, until the answer is dropped.
    pub(super) fn connecting<'a>(&'a self, occupancy: &'a Occupancy) -> Connecting<'a> {
        self.connecting.set(true);
        Connecting {
            shared: self,
            occupancy,
        }
    }

    /// How often connecting failed so far.
    pub(super) fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// Why connecting failed, if it did more often than `before`.
    pub(super) fn failure_since(&self, before: u64) -> Option<UpstreamError> {
        if self.failures.get() == before {
            return None;
        }
        self.last_failure.get().map(|failure| match failure {
            Failure::Unreachable(kind) => UpstreamError::Unreachable(kind.into()),
            Failure::Timeout => UpstreamError::ConnectTimeout,
            Failure::Tls(kind) => UpstreamError::Tls(kind.into()),
        })
    }
}

/// A connection that is being made.
pub(super) struct Connecting<'a> {
    shared: &'a Shared,
    occupancy: &'a Occupancy,
}

impl Connecting<'_> {
    /// Says how it ended.
    pub(super) fn ended(self, error: Option<&UpstreamError>) {
        let failure = match error {
            None => return,
            Some(UpstreamError::Unreachable(error)) => Failure::Unreachable(error.kind()),
            Some(UpstreamError::Tls(error)) => Failure::Tls(error.kind()),
            Some(_) => Failure::Timeout,
        };
        self.shared.failures.set(self.shared.failures.get() + 1);
        self.shared.last_failure.set(Some(failure));
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.shared.connecting.set(false);
        self.occupancy.freed();
    }
}

/// The right to one request on a connection.
pub(super) struct Ticket {
    connection: Rc<Connection>,
    occupancy: Rc<Occupancy>,
}

impl Ticket {
    fn new(connection: &Rc<Connection>, occupancy: &Rc<Occupancy>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        connection.served.set(connection.served.get() + 1);
        Self {
            connection: Rc::clone(connection),
            occupancy: Rc::clone(occupancy),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = self.connection.streams.get() - 1;
        self.connection.streams.set(left);
        if left == 0 {
            self.connection.idle_since.set(clock::now());
        }
        self.occupancy.freed();
    }
}

/// Sends `request` at `now`, and waits for the head of the response.
///
/// # Errors
/// Why there is none, and what is left of the request.
pub(super) async fn send(
    ticket: Ticket,
    pool: Rc<Pool>,
    mut request: Request<RequestBody>,
    now: Instant,
) -> Result<Response<UpstreamBody>, SendError<Request<RequestBody>>> {
    let origin = request.uri().clone();
    let host = request.headers().get(HOST).cloned();
    // What gets no response is given back; that takes a copy, and a body cannot be copied.
    let again = request.body().is_end_stream().then(|| copy(&request));
    adapt(&mut request, &pool).map_err(SendError::sent)?;
    let upload = request.body().shared_state();
    let mut sender = ticket.connection.sender.clone();
    let timeout = pool.response_timeout(&request);
    let sending = sender.try_send_request(request);
    let mut failed = match in_time(sending, upload.as_deref(), timeout, now).await {
        Ok(Ok(response)) => {
            return Ok(response.map(|body| UpstreamBody::http2(body, ticket, pool)));
        }
        Ok(Err(failed)) => failed,
        Err(error) => {
            // Perhaps it is only slow; perhaps nobody is there any more.
            ticket.connection.retired.set(true);
            return Err(SendError {
                error,
                left: again.map_or(Left::Nothing, Left::Sent),
            });
        }
    };
    let unprocessed = is_unprocessed(failed.error());
    let left = match (failed.take_message(), again) {
        (Some(unsent), _) => Left::Unsent(restore(unsent, origin, host)),
        (None, Some(again)) if unprocessed => Left::Unsent(again),
        (None, Some(again)) => Left::Sent(again),
        (None, None) => Left::Nothing,
    };
    if matches!(left, Left::Unsent(_)) {
        ticket.connection.retired.set(true);
    }
    Err(SendError {
        error: Fault::Http2(failed.into_error()).into(),
        left,
    })
}

/// Turns a request in origin form into one with the pseudo-fields of HTTP/2 (RFC 9113, 8.3.1).
fn adapt(request: &mut Request<RequestBody>, pool: &Pool) -> Result<(), UpstreamError> {
    let target = pool.target();
    let authority = match request.headers_mut().remove(HOST) {
        Some(host) => Authority::from_maybe_shared(host),
        None => target.address.to_string().parse(),
    };
    let mut parts = Parts::default();
    parts.scheme = Some(match target.tls {
        Some(_) => Scheme::HTTPS,
        None => Scheme::HTTP,
    });
    parts.authority = authority.ok().or(Some(Authority::from_static("localhost")));
    let path = request.uri().path_and_query().cloned();
    parts.path_and_query = path.or(Some(PathAndQuery::from_static("/")));
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|error| UpstreamError::Upload(error.into()))?;
    *request.version_mut() = Version::HTTP_2;
    // The only thing that TE may say in HTTP/2 (RFC 9113, 8.2.2); gRPC insists on it.
    if request
        .extensions_mut()
        .remove::<AcceptsTrailers>()
        .is_some()
    {
        let trailers = HeaderValue::from_static("trailers");
        request.headers_mut().insert(TE, trailers);
    }
    Ok(())
}

/// The request as it was before [`adapt`].
fn restore(
    mut request: Request<RequestBody>,
    origin: Uri,
    host: Option<HeaderValue>,
) -> Request<RequestBody> {
    *request.uri_mut() = origin;
    *request.version_mut() = Version::HTTP_11;
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    if request.headers_mut().remove(TE).is_some() {
        request.extensions_mut().insert(AcceptsTrailers);
    }
    request
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

/// Whether the endpoint says that it did not look at the request (RFC 9113, 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|error| {
            error.is_remote()
                && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
        })
}

/// Waits for `sending`, which began at `since`, no longer than `timeout` for the upstream.
async fn in_time<T>(
    sending: impl Future<Output = T>,
    upload: Option<&UploadState>,
    timeout: Duration,
    mut since: Instant,
) -> Result<T, UpstreamError> {
    tokio::pin!(sending);
    loop {
        let deadline = tokio::time::Instant::from_std(since + timeout);
        match tokio::time::timeout_at(deadline, &mut sending).await {
            Ok(done) => return Ok(done),
            Err(_) => match upload.and_then(|upload| upload.waiting_since(since)) {
                Some(later) => since = later,
                None => return Err(UpstreamError::ResponseTimeout),
            },
        }
    }
}
