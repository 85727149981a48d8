//! The URLs that can be fetched: absolute, `http`, with a host. Nothing here is looked up.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Version};
use http_body_util::Full;

const DEFAULT_PORT: u16 = 80;

/// The longest URL that is accepted, in bytes.
const MAX_LENGTH: usize = 2048;

/// An absolute `http` URL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    /// A name, or an address without brackets.
    host: String,
    port: u16,
    /// The value of the host field: what the URL says, without the default port.
    authority: HeaderValue,
    path: PathAndQuery,
}

/// Why a text is no URL that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no absolute URL, or over-long.
    #[error("it is not an absolute URL of at most {MAX_LENGTH} bytes")]
    Malformed,
    /// Its scheme is https.
    #[error(
        "revocation data is signed and fetched by plain http; https would need revocation data for the server's own certificate"
    )]
    Https,
    /// Its scheme is neither.
    #[error("its scheme is not http")]
    Scheme,
    /// It holds a user name or a password.
    #[error("it holds a user name or a password, which nothing here would send")]
    UserInfo,
}

impl FromStr for HttpUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_LENGTH {
            return Err(UrlError::Malformed);
        }
        // Not part of what is asked for (RFC 9110, 4.2.5).
        let text = text.split('#').next().unwrap_or(text);
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(UrlError::Https),
            Some(_) => return Err(UrlError::Scheme),
            None => return Err(UrlError::Malformed),
        }
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = authority.host();
        let port = match (authority.port_u16(), authority.as_str().strip_prefix(host)) {
            (Some(port), _) => port,
            (None, Some("")) => DEFAULT_PORT,
            // A port that is no number.
            (None, _) => return Err(UrlError::Malformed),
        };
        let shown = match port {
            DEFAULT_PORT => host.to_owned(),
            port => format!("{host}:{port}"),
        };
        let host = bare(host).ok_or(UrlError::Malformed)?;
        if host.is_empty() || port == 0 {
            return Err(UrlError::Malformed);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            authority: HeaderValue::try_from(shown).map_err(|_| UrlError::Malformed)?,
            path: path(&uri).ok_or(UrlError::Malformed)?,
        })
    }
}

/// `host` without the brackets that an IPv6 address has, and nothing else may have (RFC 3986, 3.2.2).
fn bare(host: &str) -> Option<&str> {
    match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .filter(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => (!host.contains(['[', ']'])).then_some(host),
    }
}

/// Path and query; an empty path is `/` (RFC 9110, 4.2.3), also before a query.
fn path(uri: &Uri) -> Option<PathAndQuery> {
    match uri.path_and_query() {
        None => Some(PathAndQuery::from_static("/")),
        Some(path) if path.as_str().starts_with('/') => Some(path.clone()),
        Some(query) => format!("/{}", query.as_str()).parse().ok(),
    }
}

impl HttpUrl {
    /// Host and port, the host as a name or as an address without brackets.
    pub(super) fn endpoint(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// A request for it in origin form.
    pub(super) fn request(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers.clone();
        let ours = [
            (header::HOST, self.authority.clone()),
            (header::CONNECTION, HeaderValue::from_static("close")),
            (
                header::USER_AGENT,
                HeaderValue::from_static(concat!("fleetgate/", env!("CARGO_PKG_VERSION"))),
            ),
        ];
        request.headers_mut().extend(ours);
        request
    }

    /// Where `location` leads to from here: an absolute URL, or an absolute path of the same server. Servers of lists use no
    /// other form.
    pub(super) fn join(&self, location: &str) -> Result<Self, UrlError> {
        if !location.starts_with('/') || location.starts_with("//") {
            return location.parse();
        }
        let location = location.split('#').next().unwrap_or(location);
        Ok(Self {
            path: location.parse().map_err(|_| UrlError::Malformed)?,
            ..self.clone()
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority.to_str().unwrap_or_default();
        write!(f, "http://{authority}{}", self.path)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpUrl, UrlError};

    fn url(text: &str) -> HttpUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_says_where_to_connect_and_what_to_ask_for() {
        for (text, endpoint, shown) in [
            ("http://a.example", ("a.example", 80), "http://a.example/"),
            (
                "http://a.example:80/x?y#z",
                ("a.example", 80),
                "http://a.example/x?y",
            ),
            (
                "http://10.0.0.1:8080/x",
                ("10.0.0.1", 8080),
                "http://10.0.0.1:8080/x",
            ),
            ("http://[::1]:81", ("::1", 81), "http://[::1]:81/"),
            ("HTTP://a.example/", ("a.example", 80), "http://a.example/"),
            (
                "http://a.example?y",
                ("a.example", 80),
                "http://a.example/?y",
            ),
        ] {
            let parsed = url(text);
            assert_eq!(parsed.endpoint(), endpoint, "{text}");
            assert_eq!(parsed.to_string(), shown, "{text}");
            assert_eq!(parsed, url(shown), "what is shown is another URL");
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_with_its_reason() {
        let long = format!("http://a.example/{}", "x".repeat(3000));
        for (text, reason) in [
            ("https://a.example/", UrlError::Https),
            ("ldap://a.example/cn=x", UrlError::Scheme),
            ("http://user:secret@a.example/", UrlError::UserInfo),
            ("a.example", UrlError::Malformed),
            ("/path", UrlError::Malformed),
            ("http://", UrlError::Malformed),
            ("http://a.example:0/", UrlError::Malformed),
            ("http://a.example:99999/", UrlError::Malformed),
            ("http://a example/", UrlError::Malformed),
            ("http://a[:]:1/", UrlError::Malformed),
            ("http://[a.example]/", UrlError::Malformed),
            ("", UrlError::Malformed),
            (&long, UrlError::Malformed),
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_redirection_may_be_absolute_or_an_absolute_path() {
        let from = url("http://a.example:81/x/y?z");
        for (location, to) in [
            ("http://b.example/c", Ok("http://b.example/c")),
            ("/c?d#e", Ok("http://a.example:81/c?d")),
            ("https://b.example/c", Err(UrlError::Https)),
            ("//b.example/c", Err(UrlError::Malformed)),
            ("c", Err(UrlError::Malformed)),
        ] {
            assert_eq!(from.join(location), to.map(url), "{location}");
        }
    }
}
