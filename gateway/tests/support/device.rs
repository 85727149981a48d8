//! A device: a certificate, its own ticket slot, and blocking connections over which a test writes what it wants.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certs_gen::credential::Credential;
use rustls::client::{
    ClientConnection, ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, NamedGroup, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use super::PATIENCE;
use super::message::{Message, Reader};
use super::pki::{Pki, SERVER_NAME};

/// How a device connects.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) groups: Vec<&'static dyn SupportedKxGroup>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) tickets: Arc<dyn ClientSessionStore>,
    /// The trust anchor by which it knows its gateway, if not the fleet's.
    pub(crate) trusts: Option<Vec<u8>>,
    /// While true, it says that it has no certificate.
    pub(crate) conceals: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            groups: vec![provider::kx_group::X25519],
            alpn: Vec::new(),
            tickets: Arc::new(ClientSessionMemoryCache::new(8)),
            trusts: None,
            conceals: Arc::default(),
        }
    }
}

impl Options {
    pub(crate) fn tls12() -> Self {
        Self {
            versions: vec![&rustls::version::TLS12],
            ..Self::default()
        }
    }

    pub(crate) fn tls13() -> Self {
        Self {
            versions: vec![&rustls::version::TLS13],
            ..Self::default()
        }
    }

    pub(crate) fn h2() -> Self {
        Self {
            alpn: vec![b"h2".to_vec()],
            ..Self::default()
        }
    }
}

#[derive(Clone)]
pub(crate) struct Device {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl Device {
    pub(crate) fn new(pki: &Pki, credential: Option<&Credential>) -> Self {
        Self::with(pki, credential, Options::default())
    }

    pub(crate) fn with(pki: &Pki, credential: Option<&Credential>, options: Options) -> Self {
        let provider = rustls::crypto::CryptoProvider {
            kx_groups: options.groups,
            ..provider::default_provider()
        };
        let anchor = options
            .trusts
            .unwrap_or_else(|| pki.anchor.certificate_der().to_vec());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(anchor)).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&options.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match credential {
            // Not `with_client_auth_cert`, which would notice a key that belongs to another certificate.
            Some(credential) => builder.with_client_cert_resolver(Arc::new(Certificate {
                shown: resolver(credential),
                conceals: options.conceals,
            })),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = options.alpn;
        config.resumption = Resumption::store(options.tickets);
        Self {
            config: Arc::new(config),
            server_name: ServerName::try_from(SERVER_NAME).unwrap(),
        }
    }

    /// The same device, with the same tickets, that calls its gateway by another name. By an address, it sends none.
    pub(crate) fn calling(&self, name: &str) -> Self {
        Self {
            config: self.config(),
            server_name: ServerName::try_from(name.to_owned()).unwrap(),
        }
    }

    pub(crate) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Connects and does the handshake, which must work as far as a client can see.
    pub(crate) fn connect(&self, gateway: SocketAddr) -> Connection {
        self.try_connect(gateway).unwrap()
    }

    pub(crate) fn try_connect(&self, gateway: SocketAddr) -> io::Result<Connection> {
        let mut tcp = connect(gateway);
        let mut tls = self.session();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Connection {
            reader: Reader::new(StreamOwned::new(tls, tcp)),
        })
    }

    /// A TLS session that has not begun, for tests that carry its bytes themselves.
    pub(crate) fn session(&self) -> ClientConnection {
        ClientConnection::new(self.config(), self.server_name()).unwrap()
    }

    /// The alert with which the gateway turns this device away. In TLS 1.3 it comes after what the client takes for the
    /// end of the handshake.
    pub(crate) fn alert(&self, gateway: SocketAddr) -> AlertDescription {
        let error = match self.try_connect(gateway) {
            Ok(mut connection) => connection.error(),
            Err(error) => error,
        };
        match tls_error(&error) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => panic!("no alert, but {error:?}"),
        }
    }

    /// Asks for `path` on a connection of its own.
    pub(crate) fn get(&self, gateway: SocketAddr, path: &str) -> (Message, HandshakeKind) {
        let mut connection = self.connect(gateway);
        let response = connection.get(path);
        let kind = connection.kind();
        connection.close();
        (response, kind)
    }
}

fn resolver(credential: &Credential) -> SingleCertAndKey {
    let chain = credential
        .chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let key = PrivatePkcs8KeyDer::from(credential.key.clone());
    let key = provider::sign::any_supported_type(&key.into()).unwrap();
    SingleCertAndKey::from(CertifiedKey::new(chain, key))
}

/// A device's certificate, shown or not.
#[derive(Debug)]
struct Certificate {
    shown: SingleCertAndKey,
    conceals: Arc<AtomicBool>,
}

impl ResolvesClientCert for Certificate {
    fn resolve(
        &self,
        hints: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let conceals = self.conceals.load(Ordering::SeqCst);
        (!conceals)
            .then(|| ResolvesClientCert::resolve(&self.shown, hints, schemes))
            .flatten()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A ticket slot that gives out its tickets whatever the server's name, as no device should.
#[derive(Debug)]
pub(crate) struct Nameless(ClientSessionMemoryCache);

impl Nameless {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(ClientSessionMemoryCache::new(8)))
    }

    fn name() -> ServerName<'static> {
        ServerName::try_from("any.test").unwrap()
    }
}

impl ClientSessionStore for Nameless {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(Self::name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&Self::name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

/// A TCP connection that never waits for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// The TLS stack's own error inside an input/output error.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// An open connection of a device.
pub(crate) struct Connection {
    reader: Reader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection {
    pub(crate) fn kind(&self) -> HandshakeKind {
        self.reader.source.conn.handshake_kind().unwrap()
    }

    pub(crate) fn tls(&mut self) -> &mut ClientConnection {
        &mut self.reader.source.conn
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.reader.source.sock
    }

    /// Lets reads and writes take no longer than this.
    pub(crate) fn allow(&self, patience: std::time::Duration) {
        self.tcp().set_read_timeout(Some(patience)).unwrap();
        self.tcp().set_write_timeout(Some(patience)).unwrap();
    }

    /// Writes `bytes`, as they are, in one piece.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.source.write_all(bytes.as_ref())?;
        self.reader.source.flush()
    }

    /// Writes as much of `bytes` as the connection takes at once.
    pub(crate) fn try_send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.reader.source.write(bytes)?;
        self.reader.source.flush()?;
        Ok(count)
    }

    /// Reads and forgets what comes next, and says how much that was.
    pub(crate) fn try_some(&mut self) -> io::Result<usize> {
        self.reader.source.read(&mut [0; 16 * 1024])
    }

    /// The next response.
    pub(crate) fn response(&mut self) -> Message {
        self.reader.response(false).unwrap()
    }

    pub(crate) fn try_response(&mut self) -> io::Result<Message> {
        self.reader.response(false)
    }

    /// The next response, to a request that was HEAD.
    pub(crate) fn response_to_head(&mut self) -> Message {
        self.reader.response(true).unwrap()
    }

    /// Reads exactly `length` bytes.
    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        self.reader.exactly(length).unwrap()
    }

    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: fleet.test\r\n\r\n"))
    }

    /// Sends `request` and reads the answer.
    pub(crate) fn ask(&mut self, request: &str) -> Message {
        self.send(request);
        self.response()
    }

    /// Reads until something is wrong, and says what.
    pub(crate) fn error(&mut self) -> io::Error {
        let mut piece = [0; 1024];
        loop {
            match self.reader.source.read(&mut piece) {
                Ok(0) => panic!("the gateway closed the connection in order"),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Waits for the gateway to close the connection with a close_notify, and returns what came before.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = self.reader.held().to_vec();
        self.reader.source.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Waits for the connection to end, in order or not.
    pub(crate) fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        if let Err(error) = self.reader.source.read_to_end(&mut rest) {
            assert!(
                !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ),
                "the gateway did not end the connection"
            );
        }
    }

    /// Says close_notify and goes on reading.
    pub(crate) fn half_close(&mut self) {
        self.reader.source.conn.send_close_notify();
        self.reader.source.flush().unwrap();
        self.tcp().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection in order.
    pub(crate) fn close(mut self) {
        self.reader.source.conn.send_close_notify();
        let _ = self.reader.source.flush();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        super::upstream::reset(self.reader.source.sock);
    }
}
