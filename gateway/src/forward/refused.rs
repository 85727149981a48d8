//! Requests that the gateway answers itself: why, and with what.

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;

use crate::headers;

/// Why a request gets an answer from the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed(headers::Malformed),
    TooManyHeaders,
    Misdirected,
    Method,
    /// No route serves it with this method; with these, if there are any.
    MethodOfRoute(HeaderValue),
    NoRoute,
    /// A path that the upstream may take for another one.
    AmbiguousPath,
    /// A route, or the want of one, refuses it.
    Denied,
    NoDevice,
    BodyTooLarge,
    BodyCutOff,
    /// It is too soon, for so long.
    Limited(Duration),
    Unreachable,
    Broken,
    Timeout,
}

impl Refused {
    /// The reason in logs.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Malformed(headers::Malformed::TransferEncoding) => "bad_transfer_encoding",
            Self::Malformed(headers::Malformed::AmbiguousLength) => "ambiguous_length",
            Self::Malformed(headers::Malformed::Target) => "bad_target",
            Self::Malformed(headers::Malformed::Host) => "bad_host",
            Self::TooManyHeaders => "too_many_headers",
            Self::Misdirected => "misdirected",
            Self::Method => "method",
            Self::MethodOfRoute(_) => "method",
            Self::NoRoute => "no_route",
            Self::AmbiguousPath => "ambiguous_path",
            Self::Denied => "denied",
            Self::Limited(_) => "limited",
            Self::NoDevice => "no_device",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyCutOff => "body_cut_off",
            Self::Unreachable => "upstream_unreachable",
            Self::Broken => "upstream_broken",
            Self::Timeout => "upstream_timeout",
        }
    }

    /// Whether nothing that follows on an HTTP/1.1 connection can be trusted to be a request: where one message ends and the
    /// next begins is in doubt (RFC 9112, 6.3).
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Malformed(malformed) if *malformed != headers::Malformed::Host)
    }

    /// The methods that are allowed instead (RFC 9110, 10.2.1).
    pub(super) fn allow(&self) -> Option<&HeaderValue> {
        match self {
            Self::MethodOfRoute(allowed) => Some(allowed),
            _ => None,
        }
    }

    /// After how many seconds the device may ask again (RFC 9110, 10.2.3), where that is known.
    pub(super) fn retry_after(&self) -> Option<u64> {
        match self {
            // To the next whole second, and at least one.
            Self::Limited(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            _ => None,
        }
    }

    /// The status, and a word to the device.
    pub(super) fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(headers::Malformed::TransferEncoding) => (
                StatusCode::BAD_REQUEST,
                "transfer-encoding must be exactly chunked\n",
            ),
            Self::Malformed(headers::Malformed::AmbiguousLength) => (
                StatusCode::BAD_REQUEST,
                "the length of the request is ambiguous\n",
            ),
            Self::Malformed(headers::Malformed::Target) => {
                (StatusCode::BAD_REQUEST, "the target must be a path\n")
            }
            Self::Malformed(headers::Malformed::Host) => (
                StatusCode::BAD_REQUEST,
                "exactly one valid host is needed\n",
            ),
            Self::TooManyHeaders => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too many header fields\n",
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "this host belongs to another trust domain than the connection\n",
            ),
            Self::NoDevice => (
                StatusCode::FORBIDDEN,
                "a device certificate is needed here\n",
            ),
            Self::AmbiguousPath => (StatusCode::BAD_REQUEST, "the path is ambiguous\n"),
            Self::Denied => (StatusCode::FORBIDDEN, "not allowed here\n"),
            Self::MethodOfRoute(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "the method is not allowed here\n",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "the method is not supported\n",
            ),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no route for this path\n"),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request body is too large\n",
            ),
            Self::BodyCutOff => (StatusCode::BAD_REQUEST, "the request body ended early\n"),
            Self::Limited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "the device asks for too much\n",
            ),
            Self::Unreachable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the upstream cannot be reached\n",
            ),
            Self::Broken => (
                StatusCode::BAD_GATEWAY,
                "the upstream gave no valid response\n",
            ),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "the upstream took too long\n"),
        }
    }
}
