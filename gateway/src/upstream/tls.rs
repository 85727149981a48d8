//! TLS towards an endpoint: whom to trust there, as whom to present oneself, and the handshake.
//!
//! The endpoint's certificate is always verified for its name. Certificates are read elsewhere.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::upstream::connect::{Address, Protocol};

/// What an operator says about TLS to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Files and folders with the anchors that the endpoints' certificates must lead to.
    pub anchors: Vec<PathBuf>,
    /// The certificate chain and the private key that the gateway presents; `None` is none.
    pub credentials: Option<(PathBuf, PathBuf)>,
    /// The name that the endpoints' certificates must be for, where that is not the host in their address.
    pub server_name: Option<String>,
}

/// The name is neither a DNS name nor an IP address.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is neither a DNS name nor an IP address")]
pub struct BadName(String);

/// What an endpoint's connections share.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Client {
    /// For an endpoint at `address`, whose certificate must be for `server_name`, or else for the host in the address.
    ///
    /// # Errors
    /// There is no such name.
    pub fn new(
        config: Arc<ClientConfig>,
        server_name: Option<&str>,
        address: &Address,
    ) -> Result<Self, BadName> {
        let name = match (server_name, address) {
            (Some(name), _) => name.to_owned(),
            (None, Address::Name { host, .. }) => host.clone(),
            (None, Address::Socket(address)) => address.ip().to_string(),
            (None, Address::Unix(path)) => path.display().to_string(),
        };
        match ServerName::try_from(name.clone()) {
            Ok(server_name) => Ok(Self {
                config,
                server_name,
            }),
            Err(_) => Err(BadName(name)),
        }
    }

    /// Does the handshake on `tcp`, for `protocol`.
    ///
    /// # Errors
    /// It fails, or the endpoint does not speak the protocol.
    pub(super) async fn connect(
        &self,
        tcp: TcpStream,
        protocol: Protocol,
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let tls = connector.connect(self.server_name.clone(), tcp).await?;
        match (protocol, tls.get_ref().1.alpn_protocol()) {
            // A server without ALPN speaks HTTP/1.1; HTTP/2 must be agreed upon (RFC 9113, 3.2).
            (Protocol::Http1, None | Some(b"http/1.1")) | (Protocol::Http2, Some(b"h2")) => Ok(tls),
            _ => Err(io::Error::other("the endpoint speaks another protocol")),
        }
    }
}
