//! One health check of one endpoint: a connection, and over it, where wanted, a request whose status is looked at.
//!
//! Each check has a connection of its own: that an old one still works says less. What follows from the outcome is decided by
//! `health`.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::upstream::connect::Address;
use crate::upstream::health::Thresholds;

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
pub const OUTCOMES: [&str; 5] = ["ok", "unreachable", "timeout", "status", "no_response"];

/// Checks the endpoint at `address`, of an entry of the configuration called `name`.
///
/// # Errors
/// One of [`OUTCOMES`].
pub(super) async fn run(
    address: &Address,
    name: &str,
    settings: &Settings,
) -> Result<(), &'static str> {
    let checking = tokio::time::timeout(settings.timeout, probe(address, name, &settings.probe));
    checking.await.unwrap_or(Err("timeout"))
}

async fn probe(address: &Address, name: &str, probe: &Probe) -> Result<(), &'static str> {
    match address {
        Address::Socket(address) => {
            let tcp = TcpStream::connect(address).await;
            ask(tcp.map_err(|_| "unreachable")?, name, probe).await
        }
        Address::Unix(path) => ask(connect_unix(path).await?, "localhost", probe).await,
        // Endpoints are addresses; names are entries of the configuration.
        Address::Name { .. } => Err("unreachable"),
    }
}

async fn connect_unix(path: &Path) -> Result<UnixStream, &'static str> {
    let unix = UnixStream::connect(path).await;
    unix.map_err(|_| "unreachable")
}

async fn ask<S>(stream: S, name: &str, probe: &Probe) -> Result<(), &'static str>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Probe::Http { path, host, status } = probe else {
        return Ok(());
    };
    let no_response = |_| "no_response";
    let (mut sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(no_response)?;
    let host = match host {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(name).map_err(|_| "no_response")?,
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.clone().into();
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static("fleetgate-health-check"),
    );
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(no_response)?,
        // It ends before the response only where there is none.
        _ = connection => return Err("no_response"),
    };
    match (status.0..=status.1).contains(&response.status()) {
        true => Ok(()),
        false => Err("status"),
    }
}
