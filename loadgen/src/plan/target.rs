//! The server under test: an https address, parsed.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The server under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Host name or IP address: sent as SNI and `Host`, and verified against the server's certificate.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Request path, with its query.
    pub path: String,
    /// Connect here instead of resolving `host`.
    pub connect_to: Option<SocketAddr>,
}

/// Why a target cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// Not a URL.
    #[error("`{0}` is not a URL; write it as https://HOST:PORT")]
    NotAUrl(String),
    /// Another scheme.
    #[error("`{0}` is not https; loadgen speaks mutual TLS only, write https://HOST:PORT")]
    NotHttps(String),
    /// A path without its slash.
    #[error("the path `{0}` must begin with `/` and contain no spaces")]
    BadPath(String),
}

impl Target {
    /// Parses `https://HOST[:PORT][/PATH]`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        let uri: http::Uri = text
            .parse()
            .map_err(|_| TargetError::NotAUrl(text.to_owned()))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some(_) => return Err(TargetError::NotHttps(text.to_owned())),
            None => return Err(TargetError::NotAUrl(text.to_owned())),
        }
        let host = match uri.host() {
            Some(host) if !host.is_empty() => host.trim_matches(['[', ']']).to_owned(),
            _ => return Err(TargetError::NotAUrl(text.to_owned())),
        };
        let port = match (uri.port_u16(), uri.authority()) {
            (Some(port), _) => port,
            // No port is the default one; one that is not a number up to 65535 is a mistake.
            (None, Some(authority)) if Some(authority.as_str()) == uri.host() => 443,
            (None, _) => return Err(TargetError::NotAUrl(text.to_owned())),
        };
        Ok(Target {
            host,
            port,
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            connect_to: None,
        })
    }

    /// The same target with another path.
    ///
    /// # Errors
    ///
    /// A path must begin with `/`.
    pub fn with_path(mut self, path: &str) -> Result<Target, TargetError> {
        let parsed = path.parse::<http::uri::PathAndQuery>();
        if !path.starts_with('/') || parsed.is_err() {
            return Err(TargetError::BadPath(path.to_owned()));
        }
        path.clone_into(&mut self.path);
        Ok(self)
    }

    /// `host:port` as the `Host` header and `:authority` have it.
    pub fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// The address, where no name must be resolved to know it.
    pub fn literal_address(&self) -> Option<SocketAddr> {
        self.connect_to
            .or_else(|| Some(SocketAddr::new(self.host.parse().ok()?, self.port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_host_port_and_path() {
        let target = Target::parse("https://gateway.example:8443/telemetry?x=1").unwrap();
        assert_eq!(target.authority(), "gateway.example:8443");
        assert_eq!(target.path, "/telemetry?x=1");
        assert_eq!(target.literal_address(), None);
        assert_eq!(
            Target::parse("https://[::1]:1").unwrap().authority(),
            "[::1]:1"
        );
        assert_eq!(Target::parse("https://a").unwrap().port, 443);
    }

    #[test]
    fn refuses_what_is_not_https() {
        for text in [
            "http://a:1",
            "a:1",
            "",
            "https://",
            "127.0.0.1:8443",
            "https://a:99999",
            "ftp://x",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
        let target = Target::parse("https://a").unwrap();
        assert!(target.clone().with_path("telemetry").is_err());
        assert!(target.clone().with_path("/a b").is_err());
        assert_eq!(target.with_path("/a").unwrap().path, "/a");
    }
}
