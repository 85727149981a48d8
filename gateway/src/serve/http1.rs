//! HTTP/1.1 on one connection, by hyper while something is asked, hibernating while nothing is.
//!
//! hyper keeps its buffers for as long as its connection object lives. A connection that has been quiet for a while is
//! taken apart, only the TLS state stays, and the next byte puts it together again.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::service_fn;

use crate::forward::body::ResponseBody;
use crate::forward::{Origin, forward, log_unanswerable};
use crate::metrics::Deadline;
use crate::serve::Settings;
use crate::serve::watchdog::{Due, Quiet, Watchdog};
use crate::tls::stream::TlsStream;

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

pub(super) async fn serve(mut stream: TlsStream, origin: Rc<Origin>, settings: Settings) {
    let builder = builder(settings);
    loop {
        let service = service_fn(|request: Request<Incoming>| {
            let origin = Rc::clone(&origin);
            forward(origin, request)
        });
        let mut connection = Box::new(builder.serve_connection(stream, service));
        let outcome = awake(&mut connection, &origin, settings).await;
        let parts = connection.into_parts();
        stream = parts.io;
        match outcome {
            Outcome::Ended if origin.activity.has_unread() => return stream.linger().await,
            Outcome::Ended => return,
            Outcome::Denied => return stream.close().await,
            Outcome::Quiet => {}
        }
        stream.unread(&parts.read_buf);
        origin.token.forget();
        if !asleep(&stream, &origin, settings).await {
            stream.close().await;
            return;
        }
    }
}

/// Drives hyper until the connection ends or has been quiet for a while.
async fn awake<S>(
    connection: &mut Connection<TlsStream, S>,
    origin: &Origin,
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
    let drain = origin.worker.drain().started();
    tokio::pin!(drain);
    let mut draining = false;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(denied) = origin.place.poll_denied(cx) {
            origin.ended(denied);
            return Poll::Ready(Outcome::Denied);
        }
        // The connection goes first: a request that has come already is answered, drain or not.
        let mut progress = Pin::new(&mut *connection).poll(cx);
        if progress.is_pending() && !draining && drain.as_mut().poll(cx).is_ready() {
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

/// Waits for the next byte. Whether the connection is to be served further.
async fn asleep(stream: &TlsStream, origin: &Origin, settings: Settings) -> bool {
    if stream.has_plaintext() {
        return true;
    }
    let (_, since) = origin.activity.phase();
    let idle = tokio::time::Instant::from_std(since + settings.idle_timeout);
    tokio::select! {
        biased;
        denied = origin.place.denied() => {
            origin.ended(denied);
            false
        }
        // Before the drain, so that a request that has come already is answered in a drain too.
        readable = stream.readable() => readable.is_ok(),
        () = origin.worker.drain().started() => false,
        () = tokio::time::sleep_until(idle) => {
            origin.worker.metrics().timed_out(Deadline::Idle);
            false
        }
    }
}
