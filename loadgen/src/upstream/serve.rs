//! Accepting connections and serving HTTP/1.1 on them.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::head::{Keeping, Kept};
use super::reply::{self, Reset};

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
    let kept = Kept::default();
    let service = service_fn(|request| {
        requests.fetch_add(1, Ordering::Relaxed);
        let abrupt = Rc::clone(&abrupt);
        let kept = kept.clone();
        async move {
            match reply::to(request, &kept).await {
                Ok(response) => Ok::<_, Reset>(response),
                Err(reset) => {
                    abrupt.set(true);
                    Err(reset)
                }
            }
        }
    });
    let mut io = TokioIo::new(Keeping {
        stream,
        kept: kept.clone(),
    });
    let served = http1::Builder::new()
        .half_close(false)
        .serve_connection(&mut io, service)
        .await;
    if served.is_err() && abrupt.get() {
        // If this fails the peer sees an ordinary close instead of a reset.
        let _ = reset(&io.into_inner().stream);
    }
}

/// Zero linger: closing sends RST.
fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}
