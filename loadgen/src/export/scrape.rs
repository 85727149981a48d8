//! The page that Prometheus scrapes: `GET /metrics`, on a thread of its own, for as long as the run lasts.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use super::{Shared, exposition};

/// Connections that are served at a time; more wait.
const CONNECTIONS: usize = 16;
/// Time for a request's head to come, and for a connection altogether.
const HEAD: Duration = Duration::from_secs(5);
/// See [`HEAD`].
const CONNECTION: Duration = Duration::from_secs(60);
/// Pause after an accept that failed for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The page is served until this is dropped.
#[derive(Debug)]
pub struct Scrape {
    address: SocketAddr,
    _stop: oneshot::Sender<Infallible>,
}

impl Scrape {
    /// Serves the page on `address`.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on, or there is no thread to be had.
    pub fn start(address: SocketAddr, shared: Shared) -> io::Result<Scrape> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("scrape".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, shared) => {}
                        // Nothing is ever sent: it ends when the sender is dropped.
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Scrape {
            address,
            _stop: stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let response = answer(&request, &shared);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let serving = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD)
                        .serve_connection(TokioIo::new(stream), service);
                    // Whoever has gone away has gone away.
                    let _ = tokio::time::timeout(CONNECTION, serving).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(BACK_OFF).await,
        }
    }
}

fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = Full::from("the metrics are at /metrics\n");
    } else if request.method() != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET"));
    } else {
        *response.body_mut() = Full::from(exposition::render(&shared.families()));
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(exposition::CONTENT_TYPE),
        );
    }
    response
}
