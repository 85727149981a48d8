//! Accepting connections and serving HTTP/1.1 on them.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::head::{Keeping, Kept};
use super::reply::{self, Reset};
use super::websocket;

/// Pause after an accept that failed for want of descriptors.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts for ever.
pub(super) async fn accept(listener: &TcpListener, requests: Arc<AtomicU64>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection(stream, Arc::clone(&requests)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_BACK_OFF).await,
        }
    }
}

async fn connection(stream: TcpStream, requests: Arc<AtomicU64>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let abrupt = Rc::new(Cell::new(false));
    let switched = Rc::new(Cell::new(false));
    let kept = Kept::default();
    let service = service_fn(|request| {
        requests.fetch_add(1, Ordering::Relaxed);
        let (abrupt, switched) = (Rc::clone(&abrupt), Rc::clone(&switched));
        let kept = kept.clone();
        // In a box, so that the connection can be taken apart when it switches protocols.
        Box::pin(async move {
            match reply::to(request, &kept).await {
                Ok(response) => {
                    switched.set(response.status() == StatusCode::SWITCHING_PROTOCOLS);
                    Ok::<_, Reset>(response)
                }
                Err(reset) => {
                    abrupt.set(true);
                    Err(reset)
                }
            }
        })
    });
    let io = TokioIo::new(Keeping {
        stream,
        kept: kept.clone(),
    });
    let mut connection = http1::Builder::new()
        .half_close(false)
        .serve_connection(io, service);
    let served = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().stream;
    if served.is_err() && abrupt.get() {
        // If this fails the peer sees an ordinary close instead of a reset.
        let _ = reset(&stream);
    } else if served.is_ok() && switched.get() {
        websocket::echo(stream, parts.read_buf).await;
    } else {
        // A peer that has gone needs no goodbye.
        let _ = stream.shutdown().await;
    }
}

/// Zero linger: closing sends RST.
fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}
