//! How an endpoint is reached: its address, what is spoken there, and the connection itself.
//!
//! It chooses no endpoint and keeps no connection.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Socket(SocketAddr),
    /// A host name that is looked up at each connect, and a port.
    Name {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is spoken with an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1, one request at a time on a connection.
    #[default]
    Http1,
    /// HTTP/2, many requests at a time; in clear text with prior knowledge (RFC 9113, 3.3).
    Http2,
}

/// An endpoint as its pool needs to know it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// What is spoken there.
    pub protocol: Protocol,
}
