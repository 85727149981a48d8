//! HTTP/2 on one connection, by hyper, which ALPN chose; the preface is not sniffed for.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;

use crate::clock;
use crate::forward::{Origin, forward};
use crate::local::Local;
use crate::metrics::Deadline;
use crate::serve::Settings;
use crate::serve::watchdog::{Due, Quiet, Watchdog};
use crate::tls::stream::TlsStream;

/// Receive windows: what a device may send ahead of the upstream's reading, for one stream and for all of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// How long a device may take to acknowledge that its idle connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) async fn serve(stream: TlsStream, origin: Rc<Origin>, settings: Settings) {
    let mut builder = Builder::new(Local);
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(u32::try_from(settings.max_request_head).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(64 * 1024);
    let service = service_fn(|request: Request<Incoming>| forward(Rc::clone(&origin), request));
    let mut connection = Box::pin(builder.serve_connection(stream, service));
    let mut watchdog = Watchdog::new(Rc::clone(&origin.activity), settings, Quiet::Waits);
    let drain = origin.worker.drain().started();
    tokio::pin!(drain);
    let mut draining = false;
    let farewell = tokio::time::sleep(FAREWELL);
    tokio::pin!(farewell);
    let mut leaving = false;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(denied) = origin.place.poll_denied(cx) {
            origin.ended(denied);
            return Poll::Ready(());
        }
        // The connection goes first: a request that has come already is answered, drain or not.
        let mut progress = connection.as_mut().poll(cx);
        if progress.is_pending() && !draining && drain.as_mut().poll(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
            progress = connection.as_mut().poll(cx);
        }
        if let Poll::Ready(result) = progress {
            if let Err(error) = result {
                tracing::debug!(%error, device = origin.permit.device_id(), "the connection ended early");
            }
            return Poll::Ready(());
        }
        if leaving {
            return farewell.as_mut().poll(cx);
        }
        match watchdog.poll(cx) {
            Poll::Ready(Due::Deadline(deadline)) => {
                origin.worker.metrics().timed_out(deadline);
                if deadline != Deadline::Idle {
                    return Poll::Ready(());
                }
                // GOAWAY first: a request that is on its way can then safely be sent again elsewhere.
                leaving = true;
                connection.as_mut().graceful_shutdown();
                farewell.as_mut().reset(tokio::time::Instant::from_std(clock::now() + FAREWELL));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Due::Rest) | Poll::Pending => Poll::Pending,
        }
    })
    .await;
}
