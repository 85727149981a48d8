//! HTTP/1.1 towards an endpoint, strictly, in the task that waits for the response.
//!
//! A connection is plain state: there is no task behind it and no channel to it. The request is written and the response read
//! by whoever polls, so that one request costs one write, one wait and one read. It never repeats a request.

mod chunked;
mod download;
mod request;
mod response;
mod upload;

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Request, Response};
use tokio::io::AsyncReadExt as _;

use crate::clock;
use crate::forward::body::RequestBody;
use crate::upstream::body::UpstreamBody;
use crate::upstream::patience::Patience;
use crate::upstream::pool::{Pool, Seat};
use crate::upstream::stream::{Standing, Stream};
use crate::upstream::{Fault, SendError, UpstreamError};
pub(super) use download::Download;
use response::{Asked, Framing, Head};
use upload::{Stop, Upload};

/// The size of a first read, and of all reads while responses are small.
const READ: usize = 8 * 1024;

/// The size of a read in a large body.
const MAX_READ: usize = 64 * 1024;

/// With less room than this the buffer gets more before it is read into.
const ROOM: usize = 2 * 1024;

/// Informational responses that are skipped before the one that counts.
const MAX_INFORMATIONAL: usize = 16;

/// A connection to an endpoint, between two requests or in one.
pub(super) struct Connection {
    io: Stream,
    /// What was read and not understood yet.
    input: BytesMut,
    read_size: usize,
    /// The buffer that requests are written by way of.
    output: Vec<u8>,
    patience: Patience,
    /// When it was opened.
    pub(super) opened: Instant,
    /// Requests that it carried.
    pub(super) served: u64,
    _seat: Seat,
}

impl Connection {
    pub(super) fn new(io: Stream, opened: Instant, seat: Seat) -> Box<Self> {
        Box::new(Self {
            io,
            input: BytesMut::new(),
            read_size: READ,
            output: Vec::new(),
            patience: Patience::default(),
            opened,
            served: 0,
            _seat: seat,
        })
    }

    /// What it is found to be while nothing is asked on it.
    pub(super) fn standing(&mut self) -> Standing {
        if self.input.is_empty() {
            self.io.standing()
        } else {
            Standing::Spoke
        }
    }

    /// Reads what there is; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < ROOM {
            self.input.reserve(self.read_size);
        }
        let room = self.input.capacity() - self.input.len();
        let count = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx))?;
        if count == room {
            self.read_size = (2 * self.read_size).min(MAX_READ);
        }
        Poll::Ready(Ok(count))
    }

    /// Lets go of what a large response needed.
    fn shrink(&mut self) {
        if self.read_size > READ {
            self.read_size = READ;
            self.input = BytesMut::new();
        }
    }
}

/// A request and its response on a connection.
struct Exchange {
    connection: Box<Connection>,
    pool: Rc<Pool>,
    upload: Upload,
    asked: Asked,
    informational: usize,
    /// How long the response's head may take.
    timeout: Duration,
    /// Since when the upstream is waited for.
    since: Instant,
}

/// Sends `request` at `now` on `connection`, and waits for the head of the response.
///
/// # Errors
/// Why there is none, and what is left of the request.
pub(super) async fn send(
    mut connection: Box<Connection>,
    pool: Rc<Pool>,
    request: Request<RequestBody>,
    now: Instant,
) -> Result<Response<UpstreamBody>, SendError<Request<RequestBody>>> {
    connection.served += 1;
    let asked = Asked::of(request.method(), request.headers());
    let timeout = pool.response_timeout(&request);
    let upload = Upload::new(request, std::mem::take(&mut connection.output));
    let mut exchange = Exchange {
        connection,
        pool,
        upload,
        asked,
        informational: 0,
        timeout,
        since: now,
    };
    match std::future::poll_fn(|cx| exchange.poll_head(cx)).await {
        Ok(head) => Ok(exchange.respond(head)),
        Err(error) => Err(SendError {
            error,
            left: exchange.upload.into_left(),
        }),
    }
}

impl Exchange {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, UpstreamError>> {
        if let Poll::Ready(Err(stop)) = self.poll_upload(cx) {
            match stop {
                Stop::Body(error) => return Poll::Ready(Err(UpstreamError::Upload(error))),
                Stop::Write(error) if self.upload.is_unsent() => {
                    return Poll::Ready(Err(Fault::ClosedBeforeHead(Some(error)).into()));
                }
                // An upstream that has heard enough may have answered before it closed.
                Stop::Write(_) => {}
            }
        }
        loop {
            let fault = match self.connection.poll_read(cx) {
                Poll::Ready(Ok(1..)) => match self.take_head() {
                    Ok(None) => continue,
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Err(fault) => fault,
                },
                Poll::Ready(end) if self.connection.input.is_empty() => {
                    Fault::ClosedBeforeHead(end.err())
                }
                Poll::Ready(end) => Fault::ClosedInHead(end.err()),
                Poll::Pending => {
                    return match self.poll_deadline(cx) {
                        Poll::Ready(()) => Poll::Ready(Err(UpstreamError::ResponseTimeout)),
                        Poll::Pending => Poll::Pending,
                    };
                }
            };
            return Poll::Ready(Err(fault.into()));
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if self.upload.is_over() {
            return Poll::Ready(Ok(()));
        }
        self.upload.poll(&mut self.connection.io, cx)
    }

    /// Takes the head of the final response from what was read.
    fn take_head(&mut self) -> Result<Option<Head>, Fault> {
        loop {
            match response::take(&mut self.connection.input, self.asked)? {
                Some(head)
                    if head.status.is_informational() && head.framing != Framing::Upgrade =>
                {
                    self.informational += 1;
                    if self.informational > MAX_INFORMATIONAL {
                        return Err(Fault::Unasked);
                    }
                    if self.connection.input.is_empty() {
                        return Ok(None);
                    }
                }
                other => return Ok(other),
            }
        }
    }

    /// Ready when the upstream was waited for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.connection.patience.poll(self.since + self.timeout, cx));
            let upload = self.upload.progress();
            match upload.and_then(|upload| upload.waiting_since(self.since)) {
                Some(later) => self.since = later,
                None => return Poll::Ready(()),
            }
        }
    }

    fn respond(mut self, head: Head) -> Response<UpstreamBody> {
        self.upload.answered();
        let input = &mut self.connection.input;
        let body = match head.framing {
            // All of it is here already: the connection is free before the device has its answer.
            Framing::Length(length) if length <= input.len() as u64 => {
                let data = input
                    .split_to(usize::try_from(length).unwrap_or(0))
                    .freeze();
                let since = self.since;
                self.release(head.keep_alive, Some(since));
                UpstreamBody::whole(data)
            }
            Framing::Upgrade => UpstreamBody::upgraded(self.connection),
            framing => UpstreamBody::http1(Download::new(self, framing, head.keep_alive)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// The response is complete: gives the connection back, unused since `since` or now, if it is fit for another request.
    fn release(self, keep_alive: bool, since: Option<Instant>) {
        let Self {
            mut connection,
            pool,
            upload,
            ..
        } = self;
        if !connection.input.is_empty() {
            pool.failed(&Fault::Unasked.into());
        } else if keep_alive && upload.is_complete() {
            connection.output = upload.into_buffer();
            connection.shrink();
            pool.keep(connection, since.unwrap_or_else(clock::now));
        }
    }
}

/// A connection on which another protocol follows.
#[derive(Debug)]
pub struct Upgraded {
    /// The connection.
    pub io: Stream,
    /// What was read of it behind the response.
    pub leftover: BytesMut,
    /// Counts the connection as open.
    _seat: Seat,
}

impl Connection {
    /// The connection behind a response that switches protocols (RFC 9110, 7.8).
    pub(super) fn into_upgraded(self) -> Upgraded {
        Upgraded {
            io: self.io,
            leftover: self.input,
            _seat: self._seat,
        }
    }
}
