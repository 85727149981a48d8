//! Where an answer says for which device the server takes the one that asked.
//!
//! A server that resumes one device's session for another serves both, and no status shows it. One that tells its upstream who the device
//! is can be held to its word: the upstream, or the server itself, has to say it back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A place in an HTTP response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum IdentityEcho {
    /// A field of the response's head, by its name in lower case.
    Header(String),
    /// A string in its body, which is JSON, by a pointer (RFC 6901).
    Json(String),
    /// A field of the request as the upstream received it, by its name in lower case: the body is what `loadgen upstream` answers on
    /// `/headers`.
    Received(String),
}

/// The text names no such place.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` says not where the identity is echoed; write header:NAME, json:/POINTER or received:NAME (for `loadgen upstream` on /headers)"
)]
pub struct IdentityEchoError(String);

impl FromStr for IdentityEcho {
    type Err = IdentityEchoError;

    fn from_str(text: &str) -> Result<IdentityEcho, IdentityEchoError> {
        let wrong = || IdentityEchoError(text.to_owned());
        let (kind, place) = text.split_once(':').ok_or_else(wrong)?;
        match kind {
            "header" if is_field_name(place) => {
                Ok(IdentityEcho::Header(place.to_ascii_lowercase()))
            }
            "received" if is_field_name(place) => {
                Ok(IdentityEcho::Received(place.to_ascii_lowercase()))
            }
            "json" if place.starts_with('/') => Ok(IdentityEcho::Json(place.to_owned())),
            _ => Err(wrong()),
        }
    }
}

/// A token (RFC 9110 section 5.6.2).
fn is_field_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(is_allowed)
}

impl fmt::Display for IdentityEcho {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityEcho::Header(name) => write!(formatter, "header:{name}"),
            IdentityEcho::Json(pointer) => write!(formatter, "json:{pointer}"),
            IdentityEcho::Received(name) => write!(formatter, "received:{name}"),
        }
    }
}

impl From<IdentityEcho> for String {
    fn from(echo: IdentityEcho) -> String {
        echo.to_string()
    }
}

impl TryFrom<String> for IdentityEcho {
    type Error = IdentityEchoError;

    fn try_from(text: String) -> Result<IdentityEcho, IdentityEchoError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_the_help_shows() {
        for text in [
            "header:x-device-id",
            "json:/identity/id",
            "received:x-device-id",
        ] {
            let echo: IdentityEcho = text.parse().unwrap();
            assert_eq!(echo.to_string(), text);
        }
        let echo = "header:X-Device-Id".parse();
        assert_eq!(echo, Ok(IdentityEcho::Header("x-device-id".to_owned())));
        for text in [
            "",
            "x-device-id",
            "header:",
            "header:a b",
            "json:id",
            "cookie:id",
        ] {
            assert!(text.parse::<IdentityEcho>().is_err(), "{text}");
        }
    }
}
