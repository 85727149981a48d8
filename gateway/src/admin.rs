//! The admin listener: health, metrics, a live page, what is open and in force, and orders to revoke, disconnect and drain.
//!
//! HTTP for operators, on the main thread, where it cannot slow a worker; what only workers know it asks them for in slices.
//! Who may ask is decided in [`access`], before anything else is looked at.

pub mod access;
mod answer;
mod connections;
pub mod log_level;
mod page;
mod query;
pub mod revoke;
mod tls;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::clock;
use crate::metrics::exposition::Exposition;
use crate::server::{OrderError, Server};
use access::Access;
use answer::Answer;
use log_level::LogLevel;

/// How many connections are served at once; whoever comes then waits.
const CONNECTIONS: usize = 64;

/// How long a client may take for its handshake, a request's head, and a request's body.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest body of a request, in bytes.
const LONGEST: usize = 4096;

/// What the admin listener works with.
pub struct Admin {
    server: Rc<RefCell<Server>>,
    log_level: LogLevel,
}

impl Admin {
    /// For `server`, whose logs `log_level` filters.
    pub fn new(server: Rc<RefCell<Server>>, log_level: LogLevel) -> Self {
        Self { server, log_level }
    }
}

/// Serves `admin` on `listener`, for ever.
///
/// # Errors
/// The socket cannot be registered with the runtime.
pub async fn serve(listener: std::net::TcpListener, admin: Rc<Admin>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        let Ok((tcp, _)) = listener.accept().await else {
            // Out of descriptors, most likely. Metrics can wait.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let admin = Rc::clone(&admin);
        tokio::task::spawn_local(async move {
            connection(tcp, &admin).await;
            drop(permit);
        });
    }
    Ok(())
}

/// Serves one connection. Whatever goes wrong ends it, and concerns nobody else.
async fn connection(tcp: TcpStream, admin: &Admin) {
    // A reload may have changed who may use it since the last connection.
    let Some(access) = admin.server.borrow().access() else {
        return;
    };
    let service = service_fn(|request| respond(request, admin));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE * 3);
    match access.tls() {
        None => {
            let _ = builder.serve_connection(TokioIo::new(tcp), service).await;
        }
        Some(config) => {
            let handshake = TlsAcceptor::from(Arc::clone(config)).accept(tcp);
            match tokio::time::timeout(PATIENCE, handshake).await {
                Ok(Ok(stream)) => {
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "no handshake on the admin listener"),
                Err(_) => {}
            }
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    admin: &Admin,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let access = admin.server.borrow().access();
    let answer = match access {
        Some(access) => answer(request, admin, &access).await,
        None => Answer::text(
            StatusCode::NOT_FOUND,
            "there is no admin listener any more\n",
        ),
    };
    Ok(answer.into_response())
}

async fn answer(request: Request<Incoming>, admin: &Admin, access: &Access) -> Answer {
    let (head, body) = request.into_parts();
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let (path, query) = (head.uri.path(), head.uri.query());
    let is_order = !is_read && ORDERS.iter().any(|(known, _)| *known == path);
    if let Err(refused) = access.check(&head, is_order) {
        let (status, text) = refused.answer();
        return Answer::text(status, text);
    }
    if is_read {
        return read(path, query, admin).await;
    }
    if !is_order {
        return Answer::only("GET, HEAD");
    }
    let body = match tokio::time::timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let text = format!("an order has {LONGEST} bytes at the most\n");
            return Answer::text(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        Err(_) => return Answer::text(StatusCode::REQUEST_TIMEOUT, "the order did not come\n"),
    };
    order(&head.method, path, &body, admin).await
}

/// Paths that change something, and how they are asked.
const ORDERS: [(&str, &str); 4] = [
    ("/revoke", "GET, HEAD, POST, DELETE"),
    ("/disconnect", "POST"),
    ("/drain", "POST"),
    ("/log-level", "GET, HEAD, PUT"),
];

const PATHS: &str = "here are / (a page), /livez, /readyz, /metrics, /version, /stats, /connections, /devices, /config, \
    /upstreams, /state, /log-level, /revoke, /disconnect, /drain and /.well-known/jwks.json\n";

async fn read(path: &str, query: Option<&str>, admin: &Admin) -> Answer {
    let server = || admin.server.borrow();
    let text = |text: &str| Answer::text(StatusCode::OK, text);
    match path {
        "/" => page::page(),
        "/livez" => text("ok\n"),
        "/readyz" if server().is_ready() => text("ready\n"),
        "/readyz" => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/metrics" => text(&server().render_metrics()),
        "/version" => text(&format!("{}\n", crate::cli::VERSION)),
        "/stats" => stats(&server()),
        "/config" => Answer::of(&server().configuration()),
        "/upstreams" => Answer::of(&server().upstreams_in_force()),
        "/state" => Answer::of(&server().state()),
        "/log-level" => Answer::of(&admin.log_level.get()),
        "/revoke" => Answer::json(revoke::render(&server().orders())),
        "/.well-known/jwks.json" => Answer::json(server().jwks()),
        "/connections" => {
            let asks = server().asks();
            match connections::list(&asks, query).await {
                Ok(page) => Answer::of(&page),
                Err(problem) => Answer::bad(problem),
            }
        }
        "/devices" => {
            let asks = server().asks();
            match connections::devices(&asks, query).await {
                Ok(page) => Answer::of(&page),
                Err(problem) => Answer::bad(problem),
            }
        }
        path => match ORDERS.iter().find(|(known, _)| *known == path) {
            Some((_, allowed)) => Answer::only(allowed),
            None => Answer::text(StatusCode::NOT_FOUND, PATHS),
        },
    }
}

/// All metrics as JSON, for the page.
fn stats(server: &Server) -> Answer {
    let page = server.render_metrics();
    Answer::of(&json!({
        "schema": "gateway.stats/1",
        "time": clock::unix_seconds(),
        "version": crate::cli::VERSION,
        "ready": server.is_ready(),
        "metrics": Exposition::parse(&page).to_json(),
    }))
}

async fn order(method: &Method, path: &str, body: &[u8], admin: &Admin) -> Answer {
    match (path, method) {
        ("/revoke", &(Method::POST | Method::DELETE)) => {
            change(*method == Method::DELETE, body, &admin.server.borrow())
        }
        ("/log-level", &Method::PUT) => match admin.log_level.put(body) {
            Ok(level) => Answer::of(&level),
            Err(problem) => Answer::bad(problem),
        },
        ("/disconnect", &Method::POST) => match connections::order(body) {
            Ok(filter) => {
                let asks = admin.server.borrow().asks();
                let disconnected = connections::disconnect(&asks, filter).await;
                tracing::warn!(disconnected, "an administrator has ended open connections");
                Answer::of(&json!({ "disconnected": disconnected }))
            }
            Err(problem) => Answer::bad(problem),
        },
        ("/drain", &Method::POST) => {
            tracing::warn!("an administrator wants Fleetgate drained");
            admin.server.borrow().ask_for_drain();
            Answer::of(&json!({ "draining": true })).with_status(StatusCode::ACCEPTED)
        }
        _ => match ORDERS.iter().find(|(known, _)| *known == path) {
            Some((_, allowed)) => Answer::only(allowed),
            None => Answer::text(StatusCode::NOT_FOUND, PATHS),
        },
    }
}

/// Puts an order to revoke into force, or lifts one.
fn change(lift: bool, body: &[u8], server: &Server) -> Answer {
    let order = match revoke::parse(body) {
        Ok(order) => order,
        Err(problem) => return Answer::bad(problem),
    };
    let result = match lift {
        true => server.reinstate(&order),
        false => server.revoke(order),
    };
    match result {
        Ok(text) => Answer::text(StatusCode::OK, format!("{text}\n")),
        Err(OrderError::NoSuchDomain(name)) => {
            Answer::bad(format!("no trust domain is called \"{name}\""))
        }
        Err(OrderError::NotKept(problem)) => Answer::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("in force until the gateway restarts, and not kept: {problem}\n"),
        ),
    }
}
