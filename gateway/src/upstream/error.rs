//! Why an upstream gave no response, or no whole one.

use std::io;

/// Why an upstream gave no response, or no whole one.
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
    Broken(#[from] Fault),
    /// The device did not send the whole request, or too much of it. No fault of the upstream.
    #[error("the request ended early: {0}")]
    Upload(Box<dyn std::error::Error + Send + Sync>),
}

/// What was wrong with a connection, or with what came on it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The connection ended before the first byte of a response.
    #[error("the connection was closed before the response{}", because(.0))]
    ClosedBeforeHead(Option<io::Error>),
    /// The connection ended inside a response's head.
    #[error("the connection was closed inside the response's head{}", because(.0))]
    ClosedInHead(Option<io::Error>),
    /// The connection ended before its body did.
    #[error("the connection was closed inside the response's body{}", because(.0))]
    ClosedInBody(Option<io::Error>),
    /// What came does not begin like a response, or a line in its head is no field.
    #[error("no valid HTTP response")]
    NotHttp,
    /// A head with too many bytes or fields.
    #[error("the response's head is too large")]
    HeadTooLarge,
    /// The end of the body is told in no way, or in two (RFC 9112, 6.3).
    #[error("the response's framing is ambiguous")]
    Framing,
    /// A chunked body that is none.
    #[error("the response's chunks are malformed")]
    Chunk,
    /// Something that nobody asked for: bytes between two responses, a switch of protocols, informational responses without end.
    #[error("the upstream sent what was not asked for")]
    Unasked,
    /// An error of HTTP/2.
    #[error("{0}")]
    Http2(#[from] hyper::Error),
}

fn because(error: &Option<io::Error>) -> String {
    error
        .as_ref()
        .map_or_else(String::new, |error| format!(" ({error})"))
}

impl UpstreamError {
    /// The names of all errors that are the upstream's, for metrics.
    pub const LABELS: [&str; 15] = [
        "unreachable",
        "connect_timeout",
        "tls",
        "queue_full",
        "queue_timeout",
        "response_timeout",
        "closed_before_head",
        "closed_in_head",
        "closed_in_body",
        "not_http",
        "head_too_large",
        "framing",
        "chunk",
        "unasked",
        "http2",
    ];

    /// Its name; `None` where it is not the upstream's.
    pub fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable(_) => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls(_) => "tls",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::Broken(fault) => fault.label(),
            Self::Upload(_) | Self::NoEndpoint | Self::RequestTimeout => return None,
        })
    }
}

impl Fault {
    /// Its name, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::ClosedBeforeHead(_) => "closed_before_head",
            Self::ClosedInHead(_) => "closed_in_head",
            Self::ClosedInBody(_) => "closed_in_body",
            Self::NotHttp => "not_http",
            Self::HeadTooLarge => "head_too_large",
            Self::Framing => "framing",
            Self::Chunk => "chunk",
            Self::Unasked => "unasked",
            Self::Http2(_) => "http2",
        }
    }
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError<R> {
    /// Why.
    pub error: UpstreamError,
    /// What is left of it.
    pub left: Left<R>,
}

/// What is left of a request that got no response.
#[derive(Debug)]
pub enum Left<R> {
    /// Nothing: it has a body, of which the upstream may have seen some.
    Nothing,
    /// All of it, and no endpoint looked at it: it may be sent elsewhere, whatever it is.
    Unsent(R),
    /// All of it, because it has no body; the upstream may have seen it.
    Sent(R),
}

impl<R> SendError<R> {
    /// A request of which the upstream may have seen something.
    pub(super) fn sent(error: impl Into<UpstreamError>) -> Self {
        Self {
            error: error.into(),
            left: Left::Nothing,
        }
    }
}
