//! Fetches small signed documents by plain HTTP: certificate revocation lists and OCSP responses.
//!
//! One connection for each exchange, bounded in time and in bytes, on any tokio runtime; what drives the connection is the
//! caller's own future, so nothing goes on after it. Who signed a document is for the caller to check: that is why plain
//! HTTP does, and why https is refused, as checking a responder's own certificate would need the revocation data that is
//! being fetched. When to fetch is in [`schedule`]. It keeps no connections, no cookies and no cache, and speaks to no proxy.

mod exchange;
pub mod schedule;
mod url;

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Method, StatusCode, header};

use exchange::Answer;
pub use url::{HttpUrl, UrlError};

/// How many redirections are followed in one fetch.
pub const MAX_REDIRECTS: usize = 3;

/// Bounds on one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// For looking the host up, and for a connection to each of its addresses.
    pub connect_timeout: Duration,
    /// For everything together, redirections included.
    pub total_timeout: Duration,
    /// The most bytes of a body.
    pub max_bytes: usize,
}

/// What a server said identifies a version of a document (RFC 9110, 8.8), to be sent back with the next question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    entity_tag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

impl Validators {
    fn from_response(headers: &HeaderMap) -> Self {
        Self {
            entity_tag: headers.get(header::ETAG).cloned(),
            last_modified: headers.get(header::LAST_MODIFIED).cloned(),
        }
    }

    fn add_to(&self, headers: &mut HeaderMap) {
        let conditions = [
            (header::IF_NONE_MATCH, &self.entity_tag),
            (header::IF_MODIFIED_SINCE, &self.last_modified),
        ];
        for (name, value) in conditions {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }

    /// Whether the server gave none, so that every fetch transfers the whole document.
    pub fn is_empty(&self) -> bool {
        self.entity_tag.is_none() && self.last_modified.is_none()
    }
}

/// A fetched document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It is still the version that the validators name.
    NotModified,
    /// It, whole.
    Body {
        /// Its content.
        bytes: Bytes,
        /// What names this version.
        validators: Validators,
    },
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The host's name could not be resolved to an address.
    #[error("the host's name cannot be resolved: {0}")]
    NameNotResolved(std::io::Error),
    /// None of the host's addresses could be connected to.
    #[error("the server cannot be reached: {0}")]
    Unreachable(std::io::Error),
    /// A timeout ended it.
    #[error("the server took too long")]
    Timeout,
    /// The server answered with another status than 200, or with 304 unasked.
    #[error("the server answered with status {0}")]
    Status(StatusCode),
    /// The body is larger than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// More than [`MAX_REDIRECTS`] redirections.
    #[error("the server redirects more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
    /// A redirection that names no place, or one that cannot be followed.
    #[error("the server redirects to a place that cannot be followed")]
    BadRedirect,
    /// The connection broke off, or what came was no HTTP.
    #[error("the server broke off: {0}")]
    Broken(#[from] hyper::Error),
}

impl FetchError {
    /// Every metric label.
    pub const LABELS: [&str; 8] = [
        "name_not_resolved",
        "unreachable",
        "timeout",
        "bad_status",
        "too_large",
        "too_many_redirects",
        "bad_redirect",
        "broken",
    ];

    /// The metric label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NameNotResolved(_) => "name_not_resolved",
            Self::Unreachable(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::Status(_) => "bad_status",
            Self::TooLarge(_) => "too_large",
            Self::TooManyRedirects => "too_many_redirects",
            Self::BadRedirect => "bad_redirect",
            Self::Broken(_) => "broken",
        }
    }
}

/// Fetches `url`, unless the server says that it is still what `known` names.
///
/// # Errors
/// Why nothing was fetched.
pub async fn get(
    url: &HttpUrl,
    known: &Validators,
    settings: &Settings,
) -> Result<Fetched, FetchError> {
    let mut headers = HeaderMap::new();
    known.add_to(&mut headers);
    let asking = follow(url, Method::GET, headers, Bytes::new(), settings);
    let answer = in_time(asking, settings).await?;
    match answer.status {
        StatusCode::OK => Ok(Fetched::Body {
            bytes: answer.body,
            validators: Validators::from_response(&answer.headers),
        }),
        StatusCode::NOT_MODIFIED if !known.is_empty() => Ok(Fetched::NotModified),
        status => Err(FetchError::Status(status)),
    }
}

/// Sends `body` to `url` and returns the body of the answer.
///
/// # Errors
/// Why there is no answer.
pub async fn post(
    url: &HttpUrl,
    content_type: &'static str,
    body: Bytes,
    settings: &Settings,
) -> Result<Bytes, FetchError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let asking = follow(url, Method::POST, headers, body, settings);
    let answer = in_time(asking, settings).await?;
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(FetchError::Status(status)),
    }
}

/// Sends `body` with `headers` to `url` and to nobody whom that redirects to, and returns the body of the answer.
///
/// # Errors
/// Why there is no answer.
pub async fn send(
    url: &HttpUrl,
    headers: HeaderMap,
    body: Bytes,
    settings: &Settings,
) -> Result<Bytes, FetchError> {
    let request = url.request(Method::POST, &headers, body);
    let answer = in_time(exchange::exchange(url, request, settings), settings).await?;
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(FetchError::Status(status)),
    }
}

async fn in_time(
    asking: impl Future<Output = Result<Answer, FetchError>>,
    settings: &Settings,
) -> Result<Answer, FetchError> {
    tokio::time::timeout(settings.total_timeout, asking)
        .await
        .map_err(|_| FetchError::Timeout)?
}

/// Asks `url`, and where that redirects to, until an answer is none.
async fn follow(
    url: &HttpUrl,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    settings: &Settings,
) -> Result<Answer, FetchError> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let request = url.request(method.clone(), &headers, body.clone());
        let answer = exchange::exchange(&url, request, settings).await?;
        if !is_redirect(answer.status, &method) {
            return Ok(answer);
        }
        url = answer
            .headers
            .get(header::LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| url.join(location).ok())
            .ok_or(FetchError::BadRedirect)?;
    }
    Err(FetchError::TooManyRedirects)
}

/// Whether to ask the same elsewhere. After 301 to 303 a POST becomes a GET without its body (RFC 9110, 15.4), which is
/// another question than ours.
fn is_redirect(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            method == Method::GET
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
