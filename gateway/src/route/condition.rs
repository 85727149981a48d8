//! What a request must be like for a route to serve it. Pure.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::authorize::DeviceIds;

/// What a route asks of a request. What is empty asks nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// The request's host, without its port.
    pub host: Option<Host>,
    /// Its path.
    pub path: Path,
    /// One of these methods.
    pub methods: Vec<Method>,
    /// All of these fields.
    pub headers: Vec<Field>,
    /// One of these devices, which a peer without a certificate is not.
    pub devices: Option<DeviceIds>,
}

/// Hosts, in lower case, without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// This one.
    Exact(String),
    /// One label or more before this, which begins with a dot.
    Below(String),
}

/// Paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// This one.
    Exact(String),
    /// This one, and what continues it after a `/`.
    Prefix(String),
}

/// A header field that a request must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: HeaderName,
    /// Its value, in one of its lines; `None` is any.
    pub value: Option<HeaderValue>,
}

impl Host {
    /// Whether `host` (a host, perhaps with a port) is one of these.
    pub(super) fn matches(&self, host: &str) -> bool {
        let name = without_port(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            Self::Exact(exact) => name.eq_ignore_ascii_case(exact),
            Self::Below(suffix) => name
                .len()
                .checked_sub(suffix.len())
                .filter(|labels| *labels > 0)
                .and_then(|labels| name.get(labels..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
        }
    }
}

/// An address in brackets has colons of its own.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

impl Path {
    /// As it is written.
    pub fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text,
        }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => rest(prefix, path).is_some(),
        }
    }
}

/// What of `path` follows `prefix`. Whole segments only: `/tele` is no prefix of `/telemetry`.
pub(super) fn rest<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(prefix)
        .filter(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

impl Conditions {
    /// All of them but the method, which the caller asks for last to know whether it alone is wrong.
    pub(super) fn match_all_but_method(
        &self,
        host: Option<&str>,
        path: &str,
        headers: &HeaderMap,
        device: Option<&str>,
    ) -> bool {
        self.path.matches(path)
            && self
                .host
                .as_ref()
                .is_none_or(|wanted| host.is_some_and(|host| wanted.matches(host)))
            && self.headers.iter().all(|field| field.is_in(headers))
            && self
                .devices
                .as_ref()
                .is_none_or(|ids| device.is_some_and(|device| ids.contains(device)))
    }

    pub(super) fn match_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Sorts the more specific first: by host, then an exact path, then the longer prefix, then the number of further
    /// conditions.
    pub(super) fn specificity(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Some(Host::Exact(_)) => (2, 0),
            Some(Host::Below(suffix)) => (1, suffix.len()),
            None => (0, 0),
        };
        let path = match &self.path {
            Path::Exact(_) => (true, 0),
            Path::Prefix(prefix) => (false, prefix.len()),
        };
        let further = usize::from(!self.methods.is_empty())
            + self.headers.len()
            + usize::from(self.devices.is_some());
        std::cmp::Reverse((host, path, further))
    }
}

impl Field {
    fn is_in(&self, headers: &HeaderMap) -> bool {
        match &self.value {
            None => headers.contains_key(&self.name),
            Some(value) => headers
                .get_all(&self.name)
                .iter()
                .any(|other| other == value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, rest};

    #[test]
    fn hosts_are_compared_without_case_port_and_trailing_dot() {
        let exact = Host::Exact("api.example".into());
        for host in [
            "api.example",
            "API.example.",
            "api.example:8443",
            "api.example.:1",
        ] {
            assert!(exact.matches(host), "{host}");
        }
        for host in ["api.example.org", "xapi.example", "", ":8443"] {
            assert!(!exact.matches(host), "{host}");
        }
        let below = Host::Below(".plant.example".into());
        assert!(below.matches("a.plant.example") && below.matches("a.B.Plant.example:1"));
        for host in [
            "plant.example",
            ".plant.example",
            "aplant.example",
            "\u{e9}.example",
        ] {
            assert!(!below.matches(host), "{host}");
        }
        assert!(Host::Exact("[::1]".into()).matches("[::1]:8443"));
        assert!(Host::Exact("[::1]".into()).matches("[::1]"));
    }

    #[test]
    fn prefixes_match_whole_segments() {
        assert_eq!(rest("/", "/anything"), Some("anything"));
        assert_eq!(rest("/telemetry", "/telemetry"), Some(""));
        assert_eq!(rest("/telemetry", "/telemetry/7"), Some("/7"));
        assert_eq!(rest("/telemetry/", "/telemetry/7"), Some("7"));
        assert_eq!(rest("/tele", "/telemetry"), None);
        assert_eq!(rest("/telemetry/", "/telemetry"), None);
    }
}
