//! What the admin listener answers with: a status, a kind of content, and a body that is whole.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    more: Option<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// A text.
    pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: Bytes::from(text.into()),
            more: None,
        }
    }

    /// JSON that is written already.
    pub(super) fn json(body: String) -> Self {
        Self {
            content_type: "application/json",
            ..Self::text(StatusCode::OK, body)
        }
    }

    /// `value` as JSON.
    pub(super) fn of(value: &impl Serialize) -> Self {
        match serde_json::to_string_pretty(value) {
            Ok(text) => Self::json(text + "\n"),
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// A page, with the policy that browsers are to hold it to.
    pub(super) fn page(html: Bytes, policy: HeaderValue) -> Self {
        Self {
            content_type: "text/html; charset=utf-8",
            body: html,
            more: Some((http::header::CONTENT_SECURITY_POLICY, policy)),
            ..Self::text(StatusCode::OK, "")
        }
    }

    /// What the client did wrong.
    pub(super) fn bad(problem: impl std::fmt::Display) -> Self {
        Self::text(StatusCode::BAD_REQUEST, format!("{problem}\n"))
    }

    /// That the path is asked otherwise.
    pub(super) fn only(allowed: &'static str) -> Self {
        Self {
            more: Some((ALLOW, HeaderValue::from_static(allowed))),
            ..Self::text(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("only {allowed} is answered here\n"),
            )
        }
    }

    /// The same with another status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some((name, value)) = self.more {
            headers.insert(name, value);
        }
        response
    }
}
