//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/version`.
//!
//! Plain HTTP for operators, on the main thread, where it cannot slow a worker. It changes nothing.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::server::Server;

/// Serves `server`'s state on `listener`, for ever.
///
/// # Errors
/// The socket cannot be registered with the runtime.
pub async fn serve(listener: std::net::TcpListener, server: Rc<RefCell<Server>>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            // Out of descriptors, most likely. Metrics can wait.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let server = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &server);
                async { Ok::<_, Infallible>(response) }
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>, server: &RefCell<Server>) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, path) => page(path, &server.borrow()),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered here\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let text = "text/plain; version=0.0.4; charset=utf-8";
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(text));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn page(path: &str, server: &Server) -> (StatusCode, String) {
    match path {
        "/livez" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if server.is_ready() => (StatusCode::OK, "ready\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
        "/metrics" => (StatusCode::OK, server.render_metrics()),
        "/version" => (StatusCode::OK, format!("{}\n", crate::cli::VERSION)),
        _ => (
            StatusCode::NOT_FOUND,
            "here are /livez, /readyz, /metrics and /version\n".to_owned(),
        ),
    }
}
