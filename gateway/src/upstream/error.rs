//! Why an upstream gave no response, or no whole one.

use std::io;

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No address of any endpoint is known.
    #[error("no host name of its endpoints resolves")]
    NoEndpoint,
    /// The endpoint could not be connected to.
    #[error("the endpoint cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The endpoint could not be connected to in time, with TLS where it is spoken.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The TLS handshake failed: another name, an unknown anchor, a refused client certificate.
    #[error("the TLS handshake with the endpoint failed: {0}")]
    Tls(io::Error),
    /// All connections are busy, and enough requests wait for one.
    #[error("too many requests wait for a connection")]
    QueueFull,
    /// All connections were busy for too long.
    #[error("no connection was free in time")]
    QueueTimeout,
    /// The response's head did not come in time.
    #[error("the response took too long")]
    ResponseTimeout,
    /// All attempts together took too long.
    #[error("the response took too long, with all attempts")]
    RequestTimeout,
    /// The connection broke, or what came was no HTTP.
    #[error("the upstream broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError<R> {
    /// Why.
    pub error: UpstreamError,
    /// The request, where nothing of it was sent: it may be sent elsewhere.
    pub unsent: Option<R>,
}
