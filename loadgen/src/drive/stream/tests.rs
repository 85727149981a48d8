use std::cell::Cell;
use std::task::Waker;
use std::time::Duration;

use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec};
use certs_gen::credential::Credential;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::{TlsAcceptor, server};

use super::*;
use crate::fleet::ticket::TicketSlot;

/// Two ends of connections that trust each other.
pub(crate) struct Ends {
    anchor: Authority,
    version: &'static SupportedProtocolVersion,
    provider: Arc<CryptoProvider>,
    pub(crate) tickets: Arc<TicketSlot>,
}

type Device = TlsStream<DuplexStream>;
type Server = server::TlsStream<DuplexStream>;

/// More than the longest ticket here.
const TICKET: usize = 10_000;

impl Ends {
    pub(crate) fn new(version: &'static SupportedProtocolVersion) -> Ends {
        Ends::of("anchor", version)
    }

    fn of(anchor: &str, version: &'static SupportedProtocolVersion) -> Ends {
        Ends {
            anchor: Authority::trust_anchor(&AuthoritySpec::new(anchor)).unwrap(),
            version,
            provider: Arc::new(aws_lc_rs::default_provider()),
            tickets: Arc::new(TicketSlot::default()),
        }
    }

    fn trusts(&self) -> Arc<RootCertStore> {
        let mut anchors = RootCertStore::empty();
        let certificate = CertificateDer::from(self.anchor.certificate_der().to_vec());
        anchors.add(certificate).unwrap();
        Arc::new(anchors)
    }

    fn issue(
        &self,
        spec: &EndEntitySpec,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let Credential { chain, key } = self.anchor.issue(spec).unwrap();
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        (chain, PrivateKeyDer::Pkcs8(key.into()))
    }

    pub(crate) fn device(&self) -> ClientConfig {
        let (chain, key) = self.issue(&EndEntitySpec::device("device-1"));
        let mut configuration = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(self.trusts())
            .with_client_auth_cert(chain, key)
            .unwrap();
        configuration.resumption = rustls::client::Resumption::store(self.tickets.clone());
        configuration
    }

    /// A server that shows its certificate followed by `more` copies of the anchor.
    pub(crate) fn server(&self, more: usize) -> ServerConfig {
        let names = ["localhost".parse().unwrap()];
        let (mut chain, key) = self.issue(&EndEntitySpec::server(&names));
        let anchor = CertificateDer::from(self.anchor.certificate_der().to_vec());
        chain.extend(std::iter::repeat_n(anchor, more));
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.trusts(), Arc::clone(&self.provider));
        let mut configuration = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        configuration.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        configuration.send_tls13_tickets = 1;
        configuration
    }

    /// Both ends, over a network that holds `window` bytes.
    async fn connect(&self, window: usize) -> (io::Result<Device>, io::Result<Server>) {
        connect(self.device(), self.server(0), window).await
    }
}

async fn connect(
    device: ClientConfig,
    server: ServerConfig,
    window: usize,
) -> (io::Result<Device>, io::Result<Server>) {
    let (near, far) = tokio::io::duplex(window);
    let name = ServerName::try_from("localhost").unwrap();
    let accepted = Cell::new(false);
    tokio::join!(
        async {
            let mut device = TlsStream::connect(near, Arc::new(device), name).await?;
            // Where the ticket does not fit into the network, the server waits until it is taken.
            while window < TICKET && !accepted.get() {
                assert!(hear(&mut device).is_pending());
                tokio::task::yield_now().await;
            }
            Ok(device)
        },
        async {
            let server = TlsAcceptor::from(Arc::new(server)).accept(far).await;
            accepted.set(true);
            server
        }
    )
}

/// Bytes of which each says where it stands.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

fn tls_error(error: &io::Error) -> &rustls::Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

/// What has come by now, without anybody to read it.
fn hear(device: &mut Device) -> Poll<io::Result<()>> {
    device.poll_heard(&mut Context::from_waker(Waker::noop()))
}

fn holds_nothing(device: &Device) -> bool {
    let held = [&device.incoming, &device.data];
    held.iter().all(|buffer| buffer.capacity() == 0) && device.records.outgoing().is_empty()
}

#[tokio::test]
async fn both_versions_carry_both_ways_in_pieces_of_any_size() {
    for version in [&TLS12, &TLS13] {
        for window in [1, 7, 1000, 100_000] {
            let ends = Ends::new(version);
            let (device, server) = ends.connect(window).await;
            let (mut device, mut server) = (device.unwrap(), server.unwrap());
            assert_eq!(device.session().protocol_version(), Some(version.version));
            let sent = bytes(window.min(1000) * 40 + 1);
            let echo = async {
                let mut received = vec![0; sent.len()];
                server.read_exact(&mut received).await.unwrap();
                server.write_all(&received).await.unwrap();
                server.flush().await.unwrap();
            };
            let talk = async {
                device.write_all(&sent).await.unwrap();
                device.flush().await.unwrap();
                let mut received = vec![0; sent.len()];
                // Pieces smaller than a record, so that what is left of it must wait.
                for part in received.chunks_mut(100) {
                    device.read_exact(part).await.unwrap();
                }
                assert!(received == sent);
            };
            tokio::join!(echo, talk);
            assert_eq!(ends.tickets.received(), 1);
            assert!(holds_nothing(&device), "{device:?}");
        }
    }
}

#[tokio::test]
async fn a_large_body_passes_each_way() {
    let (device, server) = Ends::new(&TLS13).connect(64 * 1024).await;
    let (device, server) = (device.unwrap(), server.unwrap());
    let body = bytes(5_000_000);
    let (mut device_reads, mut device_writes) = tokio::io::split(device);
    let (mut server_reads, mut server_writes) = tokio::io::split(server);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    tokio::join!(
        async {
            device_writes.write_all(&body).await.unwrap();
            device_writes.shutdown().await.unwrap();
        },
        async {
            server_writes.write_all(&body).await.unwrap();
            server_writes.shutdown().await.unwrap();
        },
        async { device_reads.read_to_end(&mut down).await.unwrap() },
        async { server_reads.read_to_end(&mut up).await.unwrap() },
    );
    assert!(up == body && down == body);
}

#[tokio::test]
async fn slices_are_sealed_together() {
    let (device, server) = Ends::new(&TLS13).connect(64 * 1024).await;
    let (mut device, mut server) = (device.unwrap(), server.unwrap());
    let slices = [&b"head"[..], &[], b"body"].map(IoSlice::new);
    assert_eq!(device.write_vectored(&slices).await.unwrap(), 8);
    assert_eq!(device.write_vectored(&[]).await.unwrap(), 0);
    device.flush().await.unwrap();
    let mut received = [0; 100];
    // One record: one read of the server's library gets all of it.
    assert_eq!(server.read(&mut received).await.unwrap(), 8);
    assert_eq!(&received[..8], b"headbody");
    let large = bytes(SEALED + 5);
    let slices = [IoSlice::new(b"head"), IoSlice::new(&large)];
    let written = async {
        let written = device.write_vectored(&slices).await.unwrap();
        device.flush().await.unwrap();
        written
    };
    let mut received = vec![0; SEALED];
    let (written, read) = tokio::join!(written, server.read_exact(&mut received));
    assert_eq!((written, read.unwrap()), (SEALED, SEALED));
    assert!(received.starts_with(b"head") && received[4..] == large[..SEALED - 4]);
}

#[tokio::test]
async fn a_certificate_message_may_span_records() {
    let ends = Ends::new(&TLS13);
    // About 30 KB: two records, of which small pieces arrive.
    let (device, _) = connect(ends.device(), ends.server(60), 500).await;
    let peers = device.unwrap().session().peer_certificates().unwrap().len();
    assert_eq!(peers, 61);
}

#[tokio::test]
async fn the_end_is_told_from_a_cut() {
    let ends = Ends::new(&TLS13);
    let (device, server) = ends.connect(64 * 1024).await;
    let (mut device, mut server) = (device.unwrap(), server.unwrap());
    server.write_all(b"last").await.unwrap();
    server.shutdown().await.unwrap();
    let mut received = Vec::new();
    device.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"last");
    assert!(matches!(hear(&mut device), Poll::Ready(Ok(()))));
    // The server has closed its side only.
    device.write_all(b"answer").await.unwrap();
    device.shutdown().await.unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"answer");

    let (device, server) = ends.connect(64 * 1024).await;
    let mut device = device.unwrap();
    let (network, _) = server.unwrap().into_inner();
    drop(network);
    for _ in 0..2 {
        let cut = device.read_u8().await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
    assert!(matches!(hear(&mut device), Poll::Ready(Err(_))));
}

#[tokio::test]
async fn a_handshake_that_is_cut_off_or_garbage_fails_as_what_it_is() {
    let ends = Ends::new(&TLS13);
    let configuration = Arc::new(ends.device());
    let name = ServerName::try_from("localhost").unwrap();
    for (answer, expected) in [
        (&b""[..], io::ErrorKind::UnexpectedEof),
        (b"\x16\x03\x03\x00", io::ErrorKind::UnexpectedEof),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            io::ErrorKind::InvalidData,
        ),
        (b"\x15\x03\x03\x00\x02\x02\x46", io::ErrorKind::InvalidData),
    ] {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let device = TlsStream::connect(near, Arc::clone(&configuration), name.clone());
        let server = async {
            far.write_all(answer).await.unwrap();
            far.shutdown().await.unwrap();
            let mut hello = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(5), far.read_to_end(&mut hello)).await;
            hello
        };
        let (error, hello) = tokio::join!(async { device.await.unwrap_err() }, server);
        assert_eq!(error.kind(), expected, "{answer:?}");
        assert!(hello.starts_with(&[0x16, 3, 1]));
        if answer.starts_with(&[0x15]) {
            let version = AlertDescription::ProtocolVersion;
            assert_eq!(tls_error(&error), &rustls::Error::AlertReceived(version));
        } else if answer.starts_with(b"HTTP") {
            // The server is told why.
            assert!(hello.windows(2).any(|end| end == [0x15, 3]));
        }
    }
}

#[tokio::test]
async fn a_refusal_after_the_device_has_finished_is_read_and_outweighs_a_failed_write() {
    let ends = Ends::new(&TLS13);
    let stranger = Ends::of("stranger", &TLS13);
    // It trusts the server, which does not trust it.
    let refused = || {
        let mut configuration = ends.device();
        configuration.client_auth_cert_resolver = stranger.device().client_auth_cert_resolver;
        configuration
    };
    let (device, server) = connect(refused(), ends.server(0), 64 * 1024).await;
    // In TLS 1.3 the device is through before the server has looked.
    let mut device = device.unwrap();
    server.unwrap_err();
    let error = device.read_u8().await.unwrap_err();
    let unknown = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
    assert_eq!(tls_error(&error), &unknown);
    device.write_u8(1).await.unwrap_err();
    let again = device.read_u8().await.unwrap_err();
    assert_eq!(tls_error(&again), &unknown);

    let (device, server) = connect(refused(), ends.server(0), 64 * 1024).await;
    let mut device = device.unwrap();
    server.unwrap_err();
    device.write_all(b"request").await.unwrap_err();
    let words = device.last_words(&mut Context::from_waker(Waker::noop()));
    assert_eq!(tls_error(&words.unwrap()), &unknown);
}

#[tokio::test]
async fn keys_are_updated_on_either_side() {
    let (device, server) = Ends::new(&TLS13).connect(64 * 1024).await;
    let (mut device, mut server) = (device.unwrap(), server.unwrap());
    for round in 0..3 {
        // Asks the device to update its keys too.
        server.get_mut().1.refresh_traffic_keys().unwrap();
        server.write_u8(round).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(device.read_u8().await.unwrap(), round);
        device.write_u8(round).await.unwrap();
        device.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), round);
    }
    assert!(holds_nothing(&device), "{device:?}");
}

#[tokio::test]
async fn a_device_that_does_not_read_hears_tickets_data_and_the_end() {
    let ends = Ends::new(&TLS13);
    let (device, server) = ends.connect(64 * 1024).await;
    let (mut device, mut server) = (device.unwrap(), server.unwrap());
    assert_eq!(ends.tickets.received(), 0);
    assert!(hear(&mut device).is_pending());
    assert_eq!(ends.tickets.received(), 1);
    assert!(holds_nothing(&device), "{device:?}");
    server.write_all(b"unasked").await.unwrap();
    server.flush().await.unwrap();
    assert!(matches!(hear(&mut device), Poll::Ready(Ok(()))));
    assert!(device.has_data());
    let mut received = [0; 7];
    device.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"unasked");
    assert!(hear(&mut device).is_pending());
    server.shutdown().await.unwrap();
    assert!(matches!(hear(&mut device), Poll::Ready(Ok(()))));
    assert!(!device.has_data());
}
