//! A device that connects, asks, and then holds its connection: what the load generator has no use for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use loadgen::fleet::{Device, Fleet};
use loadgen::plan::{FleetSpec, Share};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const REQUEST: &[u8] = b"GET /telemetry HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The upstream's answers are shorter by far.
const LONGEST_RESPONSE: usize = 64 * 1024;

/// A device's end of a connection.
pub(crate) type Connection = TlsStream<TcpStream>;

/// A device that can connect.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Its number in the fleet.
    pub(crate) number: usize,
    /// Its side of TLS.
    pub(crate) configuration: Arc<ClientConfig>,
    /// Keeps its credentials and its ticket.
    pub(crate) device: Arc<Device>,
}

/// The first `count` devices of the fleet in `pki`.
pub(crate) fn fleet(pki: &Path, count: usize) -> anyhow::Result<Vec<Client>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let all = Share { index: 0, of: 1 };
    let keys = provider.key_provider;
    let observer = |_| ControlFlow::Continue(());
    let fleet = Fleet::open(&FleetSpec::folder(pki), Some(count), 1, all, keys, observer)?;
    fleet
        .devices(0, 1)
        .into_iter()
        .map(|device| {
            let mut configuration = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&TLS13])?
                .with_root_certificates(Arc::clone(fleet.trust_anchors()))
                .with_client_cert_resolver(device.credentials());
            configuration.resumption = Resumption::store(device.tickets.clone());
            configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Client {
                number: device.number,
                configuration: Arc::new(configuration),
                device: Arc::new(device),
            })
        })
        .collect()
}

/// The name that the server's certificate has.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Connects, and asks nothing yet.
pub(crate) async fn open(client: &Client, address: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(&client.configuration));
    connector
        .connect(server_name(), stream)
        .await
        .context("no handshake")
}

/// Connects, and makes one request.
pub(crate) async fn connect(client: &Client, address: SocketAddr) -> anyhow::Result<Connection> {
    let mut connection = open(client, address).await?;
    ask(&mut connection).await.context("no answer")?;
    Ok(connection)
}

/// Makes a request and reads its answer, which must be 200.
pub(crate) async fn ask(connection: &mut Connection) -> io::Result<()> {
    connection.write_all(REQUEST).await?;
    connection.flush().await?;
    let mut response = Vec::new();
    let mut buffer = [0; 1024];
    while !is_whole(&response)? {
        let read = connection.read(&mut buffer).await?;
        if read == 0 || response.len() > LONGEST_RESPONSE {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        response.extend(buffer.iter().take(read));
    }
    Ok(())
}

/// Whether this is all of an answer; an error if its status is not 200.
fn is_whole(response: &[u8]) -> io::Result<bool> {
    let text = String::from_utf8_lossy(response);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(false);
    };
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(status.to_owned()));
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .ok_or_else(|| io::Error::other("an answer of unknown length"))?;
    Ok(body.len() >= length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        assert!(is_whole(whole).unwrap());
        for length in 0..whole.len() {
            assert!(!is_whole(&whole[..length]).unwrap(), "{length}");
        }
        assert!(is_whole(b"HTTP/1.1 502 Bad\r\n\r\n").is_err());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n").is_err());
    }
}
