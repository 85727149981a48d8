//! HTTP/1.1 on one connection, by hyper while something is asked, hibernating while nothing is.
//!
//! hyper keeps its buffers for as long as its connection object lives. A connection that has been quiet for a while is
//! taken apart, only the TLS state stays, and the next byte puts it together again.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::service_fn;

use crate::admission::Slot;
use crate::drain::Leave;
use crate::forward::body::ResponseBody;
use crate::forward::{Origin, forward, log_unanswerable};
use crate::live::Spoken;
use crate::serve::asleep::{Woken, asleep};
use crate::serve::watchdog::{Due, Quiet, Watchdog};
use crate::serve::{Settings, joined};
use crate::tls::stream::TlsStream;
use crate::upstream::Upgraded;

/// The count of header fields that hyper parses without allocating.
const HEADERS_ON_STACK: usize = 100;

fn builder(settings: Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_header_size(settings.max_request_head)
        // A read buffer must hold the largest head; hyper wants 8 KiB at least.
        .max_buf_size(settings.max_request_head.max(8 * 1024))
        .half_close(false)
        .header_read_timeout(None);
    if settings.max_request_headers != HEADERS_ON_STACK {
        builder.max_headers(settings.max_request_headers);
    }
    builder
}

/// How an awake connection came to rest.
enum Outcome {
    Ended,
    Denied,
    Quiet,
}

/// `_slot` counts the connection as open until it ends.
pub(super) async fn serve(
    mut stream: Box<TlsStream>,
    origin: Rc<Origin>,
    settings: Settings,
    _slot: Slot,
) {
    let leave = origin.worker.drain().leave();
    loop {
        // Boxed: what an awake connection needs is freed before the connection rests; and below, what ends one is not made
        // room for while it rests.
        let (taken_back, outcome) = Box::pin(awake(stream, &origin, &leave, settings)).await;
        stream = taken_back;
        if let Some(upgraded) = origin.upgraded.take() {
            let Upgraded { io, leftover, .. } = *upgraded;
            origin.place.facts().speaks(Spoken::WebSocket);
            let (ahead, idle_timeout) = (leftover.to_vec(), settings.websocket_idle_timeout);
            return Box::pin(joined::serve(*stream, io, ahead, &origin, idle_timeout)).await;
        }
        match outcome {
            // In a drain the next request may be under way; a reset would hide that it was not looked at.
            Outcome::Ended if origin.activity.has_unread() || leave.is_told() => {
                return Box::pin(stream.linger()).await;
            }
            Outcome::Ended => return,
            Outcome::Denied => return Box::pin(stream.close()).await,
            Outcome::Quiet => {}
        }
        origin.token.forget();
        match asleep(&stream, &origin, leave.due(), settings).await {
            Woken::Device => {}
            Woken::Denied => return Box::pin(stream.close()).await,
            Woken::Drain | Woken::Idle => return Box::pin(stream.close_and_linger()).await,
        }
    }
}

/// Answers a request; in a drain, the device is told that there is no next one on this connection (RFC 9112, 9.6).
async fn answer(
    origin: &Rc<Origin>,
    leave: &Leave<'_>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut response = forward(Rc::clone(origin), request).await?;
    if leave.is_told() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

/// Serves `stream` until it ends or has been quiet for a while, and gives it back with what was read too early.
async fn awake(
    stream: Box<TlsStream>,
    origin: &Rc<Origin>,
    leave: &Leave<'_>,
    settings: Settings,
) -> (Box<TlsStream>, Outcome) {
    let service = service_fn(|request: Request<Incoming>| answer(origin, leave, request));
    let mut connection = builder(settings).serve_connection(stream, service);
    let outcome = drive(&mut connection, origin, leave, settings).await;
    let parts = connection.into_parts();
    let mut stream = parts.io;
    stream.unread(&parts.read_buf);
    (stream, outcome)
}

/// Drives hyper until the connection ends or has been quiet for a while.
async fn drive<S>(
    connection: &mut Connection<Box<TlsStream>, S>,
    origin: &Origin,
    leave: &Leave<'_>,
    settings: Settings,
) -> Outcome
where
    S: hyper::service::Service<
            Request<Incoming>,
            Response = Response<ResponseBody>,
            Error = Infallible,
        >,
{
    let mut watchdog = Watchdog::new(Rc::clone(&origin.activity), settings, Quiet::Rests);
    let due = leave.due();
    tokio::pin!(due);
    let mut draining = false;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(denied) = origin.place.poll_denied(cx) {
            origin.ended(denied);
            return Poll::Ready(Outcome::Denied);
        }
        // The connection goes first: a request that has come already is answered, drain or not.
        let mut progress = Pin::new(&mut *connection).poll(cx);
        if progress.is_pending() && !draining && due.as_mut().poll(cx).is_ready() {
            draining = true;
            Pin::new(&mut *connection).graceful_shutdown();
            progress = Pin::new(&mut *connection).poll(cx);
        }
        if let Poll::Ready(result) = progress {
            if let Err(error) = result {
                count_unanswerable(&error, origin);
                tracing::debug!(%error, device = origin.permit.device_id(), "the connection ended early");
            }
            return Poll::Ready(Outcome::Ended);
        }
        match watchdog.poll(cx) {
            Poll::Ready(Due::Rest) => Poll::Ready(Outcome::Quiet),
            Poll::Ready(Due::Deadline(deadline)) => {
                origin.worker.metrics().timed_out(deadline);
                Poll::Ready(Outcome::Ended)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A head that hyper cannot parse is answered by hyper, with 431, 414 or 400, and seen nowhere else.
fn count_unanswerable(error: &hyper::Error, origin: &Origin) {
    if error.is_parse() {
        let unrouted = origin.worker.unrouted();
        unrouted.answered(StatusCode::BAD_REQUEST, Duration::ZERO);
        log_unanswerable(origin);
        origin.activity.leave_unread();
    }
}
