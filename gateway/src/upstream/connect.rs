//! How an endpoint is reached: its address, what is spoken there, and the connection itself.
//!
//! It chooses no endpoint and keeps no connection.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpStream, UnixStream};

use crate::upstream::UpstreamError;
use crate::upstream::stream::Stream;
use crate::upstream::tls;

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
    /// How connections are encrypted; `None` is clear text.
    pub tls: Option<tls::Client>,
}

impl Target {
    /// Connects, and does the TLS handshake where one is to be done. It sets no deadline.
    ///
    /// # Errors
    /// There is no connection, or none of the wanted kind.
    pub(super) async fn connect(&self) -> Result<Stream, UpstreamError> {
        let unreachable = UpstreamError::Unreachable;
        let connecting = match &self.address {
            Address::Socket(address) => TcpStream::connect(address).await,
            Address::Name { host, port } => TcpStream::connect((host.as_str(), *port)).await,
            Address::Unix(path) => {
                let unix = UnixStream::connect(path).await.map_err(unreachable)?;
                return Ok(Stream::Unix(unix));
            }
        };
        let tcp = connecting.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        match &self.tls {
            None => Ok(Stream::Tcp(tcp)),
            Some(client) => {
                let tls = client.connect(tcp, self.protocol).await;
                tls.map(|tls| Stream::Tls(Box::new(tls)))
                    .map_err(UpstreamError::Tls)
            }
        }
    }
}
