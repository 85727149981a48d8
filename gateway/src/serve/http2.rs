//! HTTP/2 on one connection, which ALPN chose; the preface is not sniffed for. By hyper while something is asked, hibernating
//! while nothing is.
//!
//! hyper keeps some twenty KiB for a connection on which nothing happens, and cannot be taken apart. So it is dropped over a
//! quiet time and made again, told what its predecessor knew: `ledger` keeps that, `between` lies between hyper and the
//! device, and `frames` reads what goes by.

mod between;
mod frames;
mod ledger;

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;

use between::Between;
use ledger::Ledger;

use crate::admission::Slot;
use crate::clock;
use crate::drain::Leave;
use crate::forward::{Origin, forward};
use crate::local::Local;
use crate::metrics::Deadline;
use crate::serve::Settings;
use crate::serve::asleep::{Woken, asleep};
use crate::serve::watchdog::{Due, Quiet, Watchdog};
use crate::tls::stream::TlsStream;

/// Receive windows: what a device may send ahead of the upstream's reading, for one stream and for all of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// How long a device may take to acknowledge that its idle connection ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// `_slot` counts the connection as open until it ends.
pub(super) async fn serve(
    stream: Box<TlsStream>,
    origin: Rc<Origin>,
    settings: Settings,
    _slot: Slot,
) {
    origin.activity.multiplex();
    let leave = origin.worker.drain().leave();
    let mut between = Between::first(stream);
    let mut end = End::Open;
    loop {
        // Boxed: what an awake connection needs is freed before the connection rests.
        let Some((stream, ledger)) = Box::pin(awake(between, &origin, &leave, settings, end)).await
        else {
            return;
        };
        origin.token.forget();
        end = match asleep(&stream, &origin, leave.told(), settings).await {
            Woken::Device | Woken::Drain => End::Open,
            Woken::Idle => End::Due,
            Woken::Denied => return Box::pin(stream.close()).await,
        };
        between = Between::again(stream, ledger, CONNECTION_WINDOW);
    }
}

/// Whether a connection that wakes is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Due,
}

/// Serves a connection until it ends or has been quiet for a while. Then it gives the stream back, and what a server that
/// goes on has to know.
async fn awake(
    between: Between,
    origin: &Rc<Origin>,
    leave: &Leave<'_>,
    settings: Settings,
    end: End,
) -> Option<(Box<TlsStream>, Ledger)> {
    let service = service_fn(|request: Request<Incoming>| forward(Rc::clone(origin), request));
    let mut connection = Box::pin(builder(settings).serve_connection(between.clone(), service));
    let mut watchdog = Watchdog::new(Rc::clone(&origin.activity), settings, Quiet::Asks);
    let turn = leave.told();
    tokio::pin!(turn);
    let mut draining = false;
    let farewell = tokio::time::sleep(FAREWELL);
    tokio::pin!(farewell);
    let mut leaving = end == End::Due;
    let mut told = false;
    let rests = std::future::poll_fn(|cx| {
        if let Poll::Ready(denied) = origin.place.poll_denied(cx) {
            origin.ended(denied);
            return Poll::Ready(false);
        }
        // The connection goes first: a request that has come already is answered, drain or not.
        let mut progress = connection.as_mut().poll(cx);
        if progress.is_pending() && !draining && turn.as_mut().poll(cx).is_ready() {
            draining = true;
            connection.as_mut().graceful_shutdown();
            progress = connection.as_mut().poll(cx);
        }
        // GOAWAY first: a request that is on its way can then safely be sent again elsewhere.
        if progress.is_pending() && leaving && !told {
            told = true;
            farewell.as_mut().reset(tokio::time::Instant::from_std(clock::now() + FAREWELL));
            connection.as_mut().graceful_shutdown();
            progress = connection.as_mut().poll(cx);
        }
        if let Poll::Ready(result) = progress {
            if let Err(error) = result {
                tracing::debug!(%error, device = origin.permit.device_id(), "the connection ended early");
            }
            return Poll::Ready(false);
        }
        if let Some(flood) = origin.activity.flood(clock::now) {
            origin.worker.metrics().flooded(flood);
            tracing::info!(
                device = origin.permit.device_id(),
                kind = flood.label(),
                "an HTTP/2 connection is ended because it keeps the gateway busy for nothing"
            );
            return Poll::Ready(false);
        }
        if leaving {
            return farewell.as_mut().poll(cx).map(|()| false);
        }
        loop {
            match watchdog.poll(cx) {
                Poll::Ready(Due::Rest) if !draining && between.can_rest() => {
                    return Poll::Ready(true);
                }
                Poll::Ready(Due::Rest) => {}
                Poll::Ready(Due::Deadline(deadline)) => {
                    origin.worker.metrics().timed_out(deadline);
                    if deadline != Deadline::Idle {
                        return Poll::Ready(false);
                    }
                    leaving = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    drop(connection);
    if rests { between.into_parts() } else { None }
}

fn builder(settings: Settings) -> Builder<Local> {
    let mut builder = Builder::new(Local);
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(u32::try_from(settings.max_request_head).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A table of the client's would have to outlive hyper's connection.
        .header_table_size(0)
        .max_send_buf_size(64 * 1024);
    builder
}
