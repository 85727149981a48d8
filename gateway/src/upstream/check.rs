//! One health check of one endpoint: a connection, and over it, where wanted, a request whose status is looked at.
//!
//! Each check has a connection of its own: that an old one still works says less. What follows from the outcome is decided by
//! `health`.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::upstream::UpstreamError;
use crate::upstream::connect::{Address, Protocol, Target};
use crate::upstream::health::Thresholds;
use crate::upstream::stream::Stream;

/// How endpoints are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What a check does.
    pub probe: Probe,
    /// From the end of a check to the start of the next, give or take a tenth.
    pub interval: Duration,
    /// For a whole check.
    pub timeout: Duration,
    /// How many results in a row turn an endpoint's health.
    pub thresholds: Thresholds,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Connects.
    Tcp,
    /// Asks with GET.
    Http {
        /// The path, and a query where one is wanted.
        path: PathAndQuery,
        /// The `Host`; `None` is the endpoint's own.
        host: Option<HeaderValue>,
        /// The least and the greatest status that passes.
        status: (StatusCode, StatusCode),
    },
}

/// How a check can end.
pub const OUTCOMES: [&str; 6] = [
    "ok",
    "unreachable",
    "tls",
    "timeout",
    "status",
    "no_response",
];

/// Checks the endpoint at `target`, of an entry of the configuration called `name`.
///
/// # Errors
/// One of [`OUTCOMES`].
pub(super) async fn run(
    target: &Target,
    name: &str,
    settings: &Settings,
) -> Result<(), &'static str> {
    let checking = tokio::time::timeout(settings.timeout, probe(target, name, &settings.probe));
    checking.await.unwrap_or(Err("timeout"))
}

async fn probe(target: &Target, name: &str, probe: &Probe) -> Result<(), &'static str> {
    let stream = target.connect().await.map_err(|error| match error {
        UpstreamError::Tls(_) => "tls",
        _ => "unreachable",
    })?;
    let Probe::Http { path, host, status } = probe else {
        return Ok(());
    };
    let host = match host {
        Some(host) => host.clone(),
        // A socket's path is no host.
        None if matches!(target.address, Address::Unix(_)) => HeaderValue::from_static("localhost"),
        None => HeaderValue::from_str(name).map_err(|_| "no_response")?,
    };
    let request = question(path, host);
    let response = match target.protocol {
        Protocol::Http1 => ask_http1(stream, request).await,
        Protocol::Http2 => ask_http2(stream, request, target.tls.is_some()).await,
    };
    match (status.0..=status.1).contains(&response.map_err(|_| "no_response")?) {
        true => Ok(()),
        false => Err("status"),
    }
}

fn question(path: &PathAndQuery, host: HeaderValue) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.clone().into();
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    let agent = HeaderValue::from_static("fleetgate-health-check");
    headers.insert(USER_AGENT, agent);
    request
}

async fn ask_http1(
    stream: Stream,
    mut request: Request<Empty<Bytes>>,
) -> Result<StatusCode, hyper::Error> {
    let close = HeaderValue::from_static("close");
    request.headers_mut().insert(CONNECTION, close);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    first_of(sender.send_request(request), connection).await
}

async fn ask_http2(
    stream: Stream,
    mut request: Request<Empty<Bytes>>,
    encrypted: bool,
) -> Result<StatusCode, hyper::Error> {
    // HTTP/2 names the host in the target (RFC 9113, 8.3.1).
    let host = request.headers_mut().remove(HOST);
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    target.scheme = Some(match encrypted {
        true => Scheme::HTTPS,
        false => Scheme::HTTP,
    });
    target.authority = host.and_then(|host| Authority::from_maybe_shared(host).ok());
    if let Ok(target) = Uri::from_parts(target) {
        *request.uri_mut() = target;
    }
    let stream = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    first_of(sender.send_request(request), connection).await
}

/// The status of a response that comes over a connection which has to be kept going until then.
async fn first_of<B>(
    response: impl Future<Output = Result<Response<B>, hyper::Error>>,
    connection: impl Future<Output = Result<(), hyper::Error>>,
) -> Result<StatusCode, hyper::Error> {
    let mut response = pin!(response);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        response = &mut response => return response.map(|response| response.status()),
        ended = &mut connection => ended,
    };
    ended?;
    // It ended in order, perhaps after the response.
    response.await.map(|response| response.status())
}
