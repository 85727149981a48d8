//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/version`, `/revoke`, `/.well-known/jwks.json`.
//!
//! Plain HTTP for operators, on the main thread, where it cannot slow a worker. It authenticates nobody, so it belongs on
//! loopback. Of all its paths only `/revoke` changes anything, and not for a page in somebody's browser.

pub mod revoke;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::server::{OrderError, Server};

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
            let service = service_fn(|request| answer(request, &server));
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        });
    }
}

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

async fn answer(
    request: Request<Incoming>,
    server: &RefCell<Server>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, content_type, body) = match request.uri().path() {
        "/revoke" if is_read => {
            let orders = server.borrow().orders();
            (StatusCode::OK, JSON, revoke::render(&orders))
        }
        "/revoke" if matches!(*request.method(), Method::POST | Method::DELETE) => {
            let (status, body) = change(request, server).await;
            (status, TEXT, body + "\n")
        }
        "/.well-known/jwks.json" if is_read => (StatusCode::OK, JSON, server.borrow().jwks()),
        path if is_read => {
            let (status, body) = page(path, &server.borrow());
            (status, TEXT, body)
        }
        _ => {
            let body = "only GET is answered here, and POST and DELETE at /revoke\n".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, body)
        }
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

/// Puts an order into force, or lifts one.
async fn change(request: Request<Incoming>, server: &RefCell<Server>) -> (StatusCode, String) {
    /// The longest order, in bytes.
    const LONGEST: usize = 4096;
    let headers = request.headers();
    let is_json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(JSON.as_bytes()));
    // A page in a browser can send requests here, but not without an Origin, nor this content type without asking first.
    if !is_json || headers.contains_key(ORIGIN) {
        let text = format!("send {JSON}, and not from a browser's page");
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    }
    let lift = *request.method() == Method::DELETE;
    let Ok(body) = Limited::new(request.into_body(), LONGEST).collect().await else {
        let text = format!("an order has {LONGEST} bytes at the most");
        return (StatusCode::PAYLOAD_TOO_LARGE, text);
    };
    let order = match revoke::parse(&body.to_bytes()) {
        Ok(order) => order,
        Err(problem) => return (StatusCode::BAD_REQUEST, problem),
    };
    let result = match lift {
        true => server.borrow().reinstate(&order),
        false => server.borrow().revoke(order),
    };
    match result {
        Ok(text) => (StatusCode::OK, text.to_owned()),
        Err(OrderError::NoSuchDomain(name)) => (
            StatusCode::BAD_REQUEST,
            format!("no trust domain is called \"{name}\""),
        ),
        Err(OrderError::NotKept(problem)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("in force until the gateway restarts, and not kept: {problem}"),
        ),
    }
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
            "here are /livez, /readyz, /metrics, /version, /revoke and /.well-known/jwks.json\n"
                .to_owned(),
        ),
    }
}
