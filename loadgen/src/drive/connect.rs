//! From nothing to an encrypted connection: bind, connect, TLS handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};

use super::counted::Counted;
use super::distant::Distant;
use super::exchange::Connection;
use super::failure;
use super::leaving::Leaving;
use super::observed::{Observation, Observed};
use super::open::OpenConnections;
use super::script::Script;
use super::stream::TlsStream;
use super::tls;
use crate::fleet::Device;
use crate::measure::outcome::ServerFault;
use crate::measure::{Attempt, Cause, HandshakeKind};
use crate::plan::{Distances, Protocol, SourceAddresses};

/// Source addresses that are tried for a connection while there is no free port.
const SOURCES_TRIED: usize = 3;

/// Opens the connections of one shard.
pub(crate) struct Connector {
    pub(crate) address: SocketAddr,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) source_addresses: SourceAddresses,
    pub(crate) distances: Distances,
    pub(crate) configuration: ClientConfig,
    pub(crate) open: Rc<OpenConnections>,
}

impl Connector {
    /// Opens a connection on which `device` is to speak `script`, offering its ticket if `offer`; notes each step in `attempt`.
    pub(crate) async fn connect(
        &self,
        device: &Device,
        script: &Script,
        offer: bool,
        attempt: &mut Attempt,
    ) -> Result<Connection, Cause> {
        attempt.resumption_wanted = offer;
        device.tickets.prepare(offer);
        let observation = Observation::new(device.tickets.clone());

        let round_trip = self.distances.of(device.number);
        if !round_trip.is_zero() {
            // The kernel's own: the device's first packet there, and the server's back.
            tokio::time::sleep(round_trip).await;
        }
        let stream = self
            .tcp(device)
            .await
            .map_err(|error| failure::cause_of(&error))?;
        attempt.tcp_done = Some(Instant::now());
        let stream = Leaving::new(stream, Rc::clone(&observation));
        let stream = Counted::new(stream, Rc::clone(&observation));
        let stream = Distant::new(stream, round_trip);

        let configuration = tls::for_device(&self.configuration, device, script.protocol);
        let handshake = TlsStream::connect(stream, configuration, self.server_name.clone());
        let stream = handshake.await.map_err(|error| failure::cause_of(&error));
        attempt.resumption_offered = device.tickets.offered();
        let stream = stream?;
        attempt.client_finished = Some(Instant::now());

        let session = stream.session();
        attempt.handshake = match session.handshake_kind() {
            Some(rustls::HandshakeKind::Resumed) => Some(HandshakeKind::Resumed),
            Some(rustls::HandshakeKind::FullWithHelloRetryRequest) => Some(HandshakeKind::FullHrr),
            Some(rustls::HandshakeKind::Full) | None => Some(HandshakeKind::Full),
        };
        if script.protocol == Protocol::H2 && session.alpn_protocol() != Some(b"h2") {
            return Err(Cause::RefusedServer(ServerFault::Alpn));
        }
        let stream = Observed::new(stream, observation, self.open.enter());
        Connection::start(script, stream).await
    }

    /// Connects from the device's source address; while all ports of that are taken, from one of the next in the pool.
    async fn tcp(&self, device: &Device) -> io::Result<TcpStream> {
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        for next in 0..SOURCES_TRIED {
            let source = self.source_addresses.of(device.number + next);
            result = self.tcp_from(source).await;
            let taken = matches!(&result, Err(error) if error.kind() == io::ErrorKind::AddrInUse);
            if !taken || source.is_none() {
                break;
            }
        }
        result
    }

    async fn tcp_from(&self, source: Option<IpAddr>) -> io::Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        socket.connect(self.address).await
    }
}
