//! A mutual-TLS server with faults on demand. It counts what it did, so that both sides' counts can be compared.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::peers::{self, Broker, Echo, Seen};

/// What the server does with whoever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers.
    Answers,
    /// Answers with this status.
    Status(u16),
    /// Accepts the TCP connection and never says a byte.
    SilentTls,
    /// Completes the handshake and never answers.
    SilentHttp,
    /// Resets the connection when a request arrives.
    Resets,
    /// Closes cleanly when a request arrives.
    Closes,
    /// Answers, and is busy so long with each request: its thread does nothing else.
    Takes(Duration),
    /// Answers so many requests a second at the most, whatever else happens: the others wait for their turn.
    Serves(u32),
    /// Does nothing at all for a second when request number N arrives: its thread is blocked.
    PausesAtRequest(u64),
    /// Answers with a body of so many bytes.
    Body(usize),
    /// Announces a body of so many bytes, sends half of it and closes.
    HalfBody(usize),
    /// Says for which device it takes whoever asks.
    NamesDevice(Honesty),
    /// Notes how connections end.
    NotesEnds,
    /// Speaks WebSocket.
    WebSocket(Echo),
    /// Speaks MQTT.
    Mqtt(Broker),
}

/// What it says about devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Honesty {
    /// The truth.
    Honest,
    /// The truth after a full handshake; it takes every resumed session for another device's.
    MistakenWhenResumed,
    /// Nothing.
    Mute,
}

/// What the server is like.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) behaviour: Behaviour,
    pub(crate) tickets: bool,
    /// Whose devices it trusts.
    pub(crate) trusts: &'static Path,
    /// Whose server certificate it presents.
    pub(crate) presents: &'static Path,
    pub(crate) alpn: &'static [&'static [u8]],
}

impl Default for Options {
    fn default() -> Options {
        Options {
            behaviour: Behaviour::Answers,
            tickets: true,
            trusts: crate::pki::ours(),
            presents: crate::pki::ours(),
            alpn: &[b"h2", b"http/1.1", b"mqtt"],
        }
    }
}

/// What the server counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) body_bytes: AtomicU64,
    /// When the last request had its turn, where they have turns.
    turn: Mutex<Option<Instant>>,
    /// End entity certificates seen in full handshakes.
    pub(crate) devices: Mutex<BTreeSet<Vec<u8>>>,
    pub(crate) seen: Seen,
}

/// A server that has had nothing to do, or was kept from it, may make up for so much.
const BUCKET: Duration = Duration::from_millis(20);

impl Counters {
    /// The next request's turn, by a token bucket.
    fn next_turn(&self, per_second: u32) -> Instant {
        let now = Instant::now();
        let mut turn = self.turn.lock().unwrap();
        let last = turn.map_or(now, |last| last.max(now - BUCKET));
        *turn.insert(last + Duration::from_secs(1) / per_second)
    }
}

/// A running server; dropping it stops it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(options: Options) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let (stop, mut stopped) = watch::channel(false);
        let configuration = configuration(&options);
        let behaviour = options.behaviour;
        let thread = std::thread::spawn({
            let counters = Arc::clone(&counters);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    tokio::select! {
                        () = accept(listener, configuration, behaviour, counters) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                });
            }
        });
        Server {
            address,
            counters,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Returns once so many requests have been counted.
    pub(crate) fn wait_for_requests(&self, wanted: u64) {
        while self.counters.requests.load(Ordering::Relaxed) < wanted {
            std::thread::yield_now();
        }
    }

    /// Ends the server and returns what it counted; everything that arrived has been dealt with by then.
    pub(crate) fn counted(mut self) -> Arc<Counters> {
        self.end();
        Arc::clone(&self.counters)
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn configuration(options: &Options) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut anchors = RootCertStore::empty();
    let anchor = CertificateDer::from_pem_file(options.trusts.join("trust-anchor.pem")).unwrap();
    anchors.add(anchor).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), Arc::clone(&provider))
            .build()
            .unwrap();
    let chain = CertificateDer::pem_file_iter(options.presents.join("server.pem"))
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(options.presents.join("server.key")).unwrap();
    let mut configuration = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    configuration.send_tls13_tickets = 0;
    if options.tickets {
        configuration.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        configuration.send_tls13_tickets = 1;
    }
    configuration.alpn_protocols = options.alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(configuration)
}

async fn accept(
    listener: TcpListener,
    configuration: Arc<ServerConfig>,
    behaviour: Behaviour,
    counters: Arc<Counters>,
) {
    let acceptor = TlsAcceptor::from(configuration);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        counters.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(
            stream,
            acceptor.clone(),
            behaviour,
            Arc::clone(&counters),
        ));
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    behaviour: Behaviour,
    counters: Arc<Counters>,
) {
    stream.set_nodelay(true).unwrap();
    if behaviour == Behaviour::SilentTls {
        std::future::pending::<()>().await;
    }
    let Ok(mut stream) = acceptor.accept(stream).await else {
        counters.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let session = stream.get_ref().1;
    match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => counters.resumed.fetch_add(1, Ordering::Relaxed),
        _ => counters.full.fetch_add(1, Ordering::Relaxed),
    };
    if let Some(end_entity) = session.peer_certificates().and_then(<[_]>::first) {
        counters.devices.lock().unwrap().insert(end_entity.to_vec());
    }
    let named = match behaviour {
        Behaviour::NamesDevice(honesty) => name_of(session, honesty),
        _ => None,
    };
    let h2 = session.alpn_protocol() == Some(b"h2");
    match behaviour {
        Behaviour::SilentHttp => std::future::pending::<()>().await,
        Behaviour::NotesEnds => return peers::end(stream, &counters.seen).await,
        Behaviour::WebSocket(echo) => return peers::websocket(stream, echo, &counters.seen).await,
        Behaviour::Mqtt(broker) => return peers::mqtt(stream, broker, &counters.seen).await,
        Behaviour::HalfBody(length) => {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; length / 2]).await.unwrap();
            let _ = stream.shutdown().await;
            return;
        }
        Behaviour::Resets | Behaviour::Closes => {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut byte = [0; 1];
            let _ = stream.read(&mut byte).await;
            if behaviour == Behaviour::Resets {
                socket2::SockRef::from(stream.get_ref().0)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            } else {
                // Everything must be read, or the kernel would reset instead of closing.
                let _ = tokio::time::timeout(
                    Duration::from_millis(20),
                    stream.read_to_end(&mut Vec::new()),
                )
                .await;
                let _ = stream.shutdown().await;
            }
            return;
        }
        _ => {}
    }
    let service =
        service_fn(move |request| answer(request, behaviour, Arc::clone(&counters), named.clone()));
    let io = TokioIo::new(stream);
    let _ = if h2 {
        http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .serve_connection(io, service)
            .await
    } else {
        http1::Builder::new().serve_connection(io, service).await
    };
}

/// The subject of the certificate behind this connection, or what the server says instead.
fn name_of(session: &rustls::ServerConnection, honesty: Honesty) -> Option<String> {
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    match honesty {
        Honesty::Mute => None,
        Honesty::MistakenWhenResumed if resumed => Some("CN=device-999999".to_owned()),
        Honesty::Honest | Honesty::MistakenWhenResumed => {
            let end_entity = session.peer_certificates()?.first()?;
            let (_, certificate) = x509_parser::parse_x509_certificate(end_entity).ok()?;
            Some(certificate.subject().to_string())
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    behaviour: Behaviour,
    counters: Arc<Counters>,
    named: Option<String>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let number = counters.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let body = request.into_body().collect().await?.to_bytes();
    counters
        .body_bytes
        .fetch_add(body.len() as u64, Ordering::Relaxed);
    if let Behaviour::Takes(time) = behaviour {
        std::thread::sleep(time);
    }
    if let Behaviour::Serves(per_second) = behaviour {
        tokio::time::sleep_until(counters.next_turn(per_second).into()).await;
    }
    if behaviour == Behaviour::PausesAtRequest(number) {
        // The fault under test: one thread, and for a second it serves nobody.
        std::thread::sleep(Duration::from_secs(1));
    }
    let body = match behaviour {
        Behaviour::Body(length) => Bytes::from(vec![b'x'; length]),
        _ => named
            .as_ref()
            .map_or(Bytes::from_static(b"ok\n"), |subject| {
                let body = serde_json::json!({ "who": { "subject": subject } });
                Bytes::from(body.to_string())
            }),
    };
    let mut response = Response::new(Full::new(body));
    if let Some(subject) = named {
        let headers = response.headers_mut();
        headers.insert("x-device-subject", subject.parse().unwrap());
    }
    if let Behaviour::Status(status) = behaviour {
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
    }
    Ok(response)
}
