//! The ways in which endpoints are reached: TLS with the gateway's own certificate, Unix sockets, HTTP/2, and what passes on
//! them besides heads and bodies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use certs_gen::credential::Credential;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use support::counters::{upstream_failure, upstream_open};
use support::message::Reader;
use support::upstream::{Peer, ok};
use support::{Device, Fleet, Options, Pki, Setup, Upstream, eventually, h2};
use tokio::sync::{mpsc, oneshot};

const HOST: &str = "host: fleet.test\r\n";

fn h2_device(fleet: &Fleet) -> Device {
    let credential = fleet.pki.device("device-000001");
    Device::with(&fleet.pki, Some(&credential), Options::h2())
}

// TLS

/// The configuration of a server that shows `credential`, speaks `alpn`, and wants a certificate of `clients` if there is one.
fn server_config(
    credential: &Credential,
    alpn: &[&str],
    clients: Option<&Pki>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(pki) => {
            let mut roots = RootCertStore::empty();
            let anchor = pki.anchor.certificate_der().to_vec();
            roots.add(CertificateDer::from(anchor)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = credential.chain.iter();
    let chain = chain.map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivatePkcs8KeyDer::from(credential.key.clone());
    let mut config = builder.with_single_cert(chain, key.into()).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// An HTTP/1.1 server over TLS that answers with the server name it was asked for, and the ids of devices as which it is asked.
fn tls_upstream(config: Arc<ServerConfig>) -> Upstream {
    Upstream::by_hand(move |peer| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = Reader::new(StreamOwned::new(session, peer.reader.source));
        while let Ok(request) = tls.request() {
            let session = &tls.source.conn;
            let certificates = session.peer_certificates().map_or(0, <[_]>::len);
            let name = session.server_name().unwrap_or("none").to_owned();
            let device = request.field("x-device-id");
            let answer = ok(&format!("{name} {certificates} {device}"));
            tls.source.write_all(&answer).unwrap();
        }
    })
}

/// A gateway in front of `upstream` by TLS, with `keys` in its `tls` table.
fn behind_tls(pki: Pki, upstream: Upstream, host: &str, keys: &str) -> Fleet {
    let mut setup = Setup::new(upstream.address());
    setup.endpoints.clear();
    setup.more_endpoints = vec![format!("https://{host}:{}", upstream.address().port())];
    setup.upstream =
        format!("connect_timeout = \"1s\"\ntls = {{ anchors = [\"trust-anchor.pem\"], {keys} }}");
    let gateway = support::Gateway::start(&pki, &setup);
    Fleet {
        pki,
        upstream,
        gateway,
    }
}

fn failures(fleet: &Fleet, host: &str, reason: &str) -> u64 {
    let endpoint = format!("{host}:{}", fleet.upstream.address().port());
    let counters = fleet.gateway.counters();
    counters.get(&upstream_failure(&endpoint, reason))
}

#[test]
fn endpoints_are_reached_by_tls_under_their_name() {
    let pki = Pki::new();
    let upstream = tls_upstream(server_config(&pki.server_for(&["localhost"]), &[], None));
    let fleet = behind_tls(pki, upstream, "localhost", "");
    let mut connection = fleet.connect();
    for _ in 0..3 {
        assert_eq!(connection.get("/").text(), "localhost 0 device-000001");
    }
    assert_eq!(fleet.upstream.connections(), 1);
}

#[test]
fn the_name_can_be_another_than_the_host() {
    let pki = Pki::new();
    let config = server_config(&pki.server_for(&["backend.test"]), &["http/1.1"], None);
    let keys = "server_name = \"backend.test\"";
    let fleet = behind_tls(pki, tls_upstream(config), "127.0.0.1", keys);
    assert_eq!(
        fleet.connect().get("/").text(),
        "backend.test 0 device-000001"
    );
}

#[test]
fn endpoints_of_another_name_or_anchor_get_no_request() {
    let pki = Pki::new();
    let config = server_config(&pki.server_for(&["other.test"]), &[], None);
    let fleet = behind_tls(pki, tls_upstream(config), "localhost", "");
    assert_eq!(fleet.connect().get("/").status(), 502);
    assert_eq!(failures(&fleet, "localhost", "tls"), 1);

    let stranger = Pki::new().server_for(&["localhost"]);
    let upstream = tls_upstream(server_config(&stranger, &[], None));
    let fleet = behind_tls(Pki::new(), upstream, "localhost", "");
    assert_eq!(fleet.connect().get("/").status(), 502);
    assert_eq!(failures(&fleet, "localhost", "tls"), 1);
}

#[test]
fn an_endpoint_in_clear_text_gets_no_request_by_tls() {
    let upstream = Upstream::by_hand(|mut peer| {
        let hello = peer.reader.exactly(1).unwrap();
        assert_eq!(hello, [22], "a TLS record with a handshake message");
        peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    let fleet = behind_tls(Pki::new(), upstream, "localhost", "");
    assert_eq!(fleet.connect().get("/").status(), 502);
    assert_eq!(failures(&fleet, "localhost", "tls"), 1);
}

#[test]
fn the_gateway_presents_its_certificate_where_it_has_one() {
    let pki = Pki::new();
    pki.write_server("client", &pki.device("gateway-1"));
    let config = server_config(&pki.server_for(&["localhost"]), &[], Some(&pki));
    let keys = "certificate = \"client.pem\", private_key = \"client.key\"";
    let fleet = behind_tls(pki, tls_upstream(config), "localhost", keys);
    assert_eq!(fleet.connect().get("/").text(), "localhost 2 device-000001");

    let pki = Pki::new();
    let config = server_config(&pki.server_for(&["localhost"]), &[], Some(&pki));
    let fleet = behind_tls(pki, tls_upstream(config), "localhost", "");
    assert_eq!(fleet.connect().get("/").status(), 502);
}

#[test]
fn a_handshake_that_stands_still_is_a_connection_that_took_too_long() {
    let upstream = Upstream::by_hand(|mut peer| {
        let _ = peer.reader.exactly(1 << 20);
    });
    let fleet = behind_tls(Pki::new(), upstream, "localhost", "");
    assert_eq!(fleet.connect().get("/").status(), 504);
    assert_eq!(failures(&fleet, "localhost", "connect_timeout"), 1);
}

// Unix sockets

#[test]
fn endpoints_are_reached_by_unix_sockets() {
    let pki = Pki::new();
    let listener =
        std::os::unix::net::UnixListener::bind(pki.folder().join("backend.sock")).unwrap();
    let connections = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&connections);
    std::thread::spawn(move || {
        while let Ok((unix, _)) = listener.accept() {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut reader = Reader::new(unix);
            while let Ok(request) = reader.request() {
                let _ = reader.source.write_all(&ok(request.target()));
            }
        }
    });
    let mut setup = Setup::new("127.0.0.1:1".parse().unwrap());
    setup.endpoints.clear();
    setup.more_endpoints = vec!["unix:backend.sock".into(), "unix:absent.sock".into()];
    let gateway = support::Gateway::start(&pki, &setup);
    let device = Device::new(&pki, Some(&pki.device("device-000001")));
    let mut connection = device.connect(gateway.address());
    for path in ["/a", "/b", "/c"] {
        assert_eq!(connection.get(path).text(), path);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

// HTTP/2

/// What an HTTP/2 upstream does with a request.
type Serve = dyn Fn(Request<Incoming>) -> Answering + Send + Sync;
type Answering = Pin<Box<dyn Future<Output = Response<Pieces>> + Send>>;
type Pieces = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// An HTTP/2 server, in clear text or by TLS.
struct H2Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Ends the oldest connection with GOAWAY.
    leave: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl H2Upstream {
    fn start(
        streams: u32,
        tls: Option<Arc<ServerConfig>>,
        serve: impl Fn(Request<Incoming>) -> Answering + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&connections);
        let serve: Arc<Serve> = Arc::new(serve);
        let (leave, orders) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
        let orders = Arc::new(tokio::sync::Mutex::new(orders));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((tcp, _)) = listener.accept().await {
                    tcp.set_nodelay(true).unwrap();
                    counter.fetch_add(1, Ordering::SeqCst);
                    let (serve, tls, orders) =
                        (Arc::clone(&serve), tls.clone(), Arc::clone(&orders));
                    tokio::spawn(async move {
                        match tls {
                            None => connection(TokioIo::new(tcp), streams, serve, orders).await,
                            Some(tls) => {
                                let acceptor = tokio_rustls::TlsAcceptor::from(tls);
                                if let Ok(tls) = acceptor.accept(tcp).await {
                                    connection(TokioIo::new(tls), streams, serve, orders).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        Self {
            address,
            connections,
            leave,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Ends the oldest connection, and waits until it has said so.
    fn leave(&self) {
        let (done, wait) = oneshot::channel();
        self.leave.send(done).unwrap();
        wait.blocking_recv().unwrap();
    }

    /// A gateway in front of it, with more `keys` for the upstream.
    fn fleet(&self, pki: Pki, endpoint: &str, keys: &str) -> Fleet {
        let mut setup = Setup::new(self.address);
        setup.endpoints.clear();
        setup.more_endpoints = vec![endpoint.to_owned()];
        setup.upstream = format!("protocol = \"http2\"\n{keys}");
        let gateway = support::Gateway::start(&pki, &setup);
        Fleet {
            pki,
            upstream: Upstream::ok(),
            gateway,
        }
    }

    fn clear_text(&self, keys: &str) -> Fleet {
        self.fleet(Pki::new(), &format!("http://{}", self.address), keys)
    }
}

async fn connection<I>(
    io: I,
    streams: u32,
    serve: Arc<Serve>,
    orders: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<oneshot::Sender<()>>>>,
) where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let answering = serve(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(streams)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let order = async { orders.lock().await.recv().await };
    tokio::select! {
        _ = connection.as_mut() => {}
        order = order => {
            connection.as_mut().graceful_shutdown();
            // Polled once, it has written GOAWAY.
            tokio::select! {
                biased;
                _ = connection.as_mut() => {}
                () = std::future::ready(()) => {}
            }
            if let Some(done) = order {
                let _ = done.send(());
            }
            let _ = connection.await;
        }
    }
}

fn text(text: impl Into<Bytes>) -> Pieces {
    Full::new(text.into()).boxed()
}

/// Answers with the path and what HTTP/2 says besides.
fn describing(request: Request<Incoming>) -> Answering {
    Box::pin(async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let field = |name: &str| {
            let value = head.headers.get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or("-").to_owned()
        };
        let described = format!(
            "{:?} {} {} te={} host={} device={} body={} trailers={:?}",
            head.version,
            head.method,
            head.uri,
            field("te"),
            field("host"),
            field("x-device-id"),
            String::from_utf8_lossy(&body.to_bytes()),
            trailers.keys().collect::<Vec<_>>(),
        );
        Response::new(text(described))
    })
}

#[test]
fn requests_become_http2_with_prior_knowledge() {
    let upstream = H2Upstream::start(100, None, describing);
    let fleet = upstream.clear_text("");
    let mut connection = fleet.connect();
    assert_eq!(
        connection.get("/a?b=c").text(),
        "HTTP/2.0 GET http://fleet.test/a?b=c te=- host=- device=device-000001 body= trailers=[]"
    );
    let post = format!("POST /p HTTP/1.1\r\n{HOST}te: trailers\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(
        connection.ask(&post).text(),
        "HTTP/2.0 POST http://fleet.test/p te=trailers host=- device=device-000001 body=hello trailers=[]"
    );
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn requests_become_http2_by_tls_where_both_agree() {
    let pki = Pki::new();
    let config = server_config(&pki.server_for(&["localhost"]), &["h2", "http/1.1"], None);
    let upstream = H2Upstream::start(100, Some(config), describing);
    let endpoint = format!("https://localhost:{}", upstream.address.port());
    let keys = "tls = { anchors = [\"trust-anchor.pem\"] }";
    let fleet = upstream.fleet(pki, &endpoint, keys);
    let answer = fleet.connect().get("/a");
    assert!(
        answer
            .text()
            .starts_with("HTTP/2.0 GET https://fleet.test/a "),
        "{}",
        answer.text()
    );

    let pki = Pki::new();
    let config = server_config(&pki.server_for(&["localhost"]), &["http/1.1"], None);
    let upstream = H2Upstream::start(100, Some(config), describing);
    let endpoint = format!("https://localhost:{}", upstream.address.port());
    let fleet = upstream.fleet(pki, &endpoint, keys);
    assert_eq!(
        fleet.connect().get("/").status(),
        502,
        "the endpoint does not speak HTTP/2"
    );
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = H2Upstream::start(100, None, |request| {
        Box::pin(async move {
            let te = request.headers().get("te").cloned();
            let body = request.into_body().collect().await.unwrap();
            let sent = body.trailers().cloned().unwrap_or_default();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-te", te.unwrap());
            trailers.insert("x-checksum", sent["x-checksum"].clone());
            trailers.insert(
                "x-forged",
                sent.contains_key("x-device-id")
                    .to_string()
                    .parse()
                    .unwrap(),
            );
            let frames = [Frame::data(body.to_bytes()), Frame::trailers(trailers)];
            Response::new(Given(frames.into()).boxed())
        })
    });
    let fleet = upstream.clear_text("");
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "1234".parse().unwrap());
        trailers.insert("x-device-id", "forged".parse().unwrap());
        let frames = [
            Frame::data(Bytes::from_static(b"message")),
            Frame::trailers(trailers),
        ];
        let mut request =
            h2::request("POST", "https://fleet.test/grpc", "").map(|_| Given(frames.into()));
        request
            .headers_mut()
            .insert("te", "trailers".parse().unwrap());
        let response = sender.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap().clone();
        assert_eq!(body.to_bytes(), "message");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-te"], "trailers");
        assert_eq!(trailers["x-checksum"], "1234");
        assert_eq!(trailers["x-forged"], "false");
    });
}

#[test]
fn trailers_of_chunked_bodies_pass_both_ways() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|_| {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
              x-sum: 1\r\ncontent-length: 7\r\nconnection: x\r\n\r\n"
                .to_vec()
        }),
        |_| {},
    );
    let post = format!(
        "POST / HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
         X-Checksum: 12\r\nContent-Length: 9\r\nHost: evil\r\nX_Device_Id: forged\r\n\r\n"
    );
    assert_eq!(fleet.connect().ask(&post).text(), "ok");
    let request = fleet.upstream.only_request();
    assert_eq!(
        String::from_utf8_lossy(&request.wire),
        "5\r\nhello\r\n0\r\nx-checksum: 12\r\n\r\n"
    );
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let response = sender.send_request(h2::get("/")).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(
            (trailers.len(), &trailers["x-sum"]),
            (1, &"1".parse().unwrap())
        );
    });
}

/// Frames of a body, given one after the other.
struct Given(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Given {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// An upstream that answers only when so many requests as its connections carry at the most have come.
fn together(streams: u32, at_once: usize) -> (H2Upstream, Arc<AtomicUsize>) {
    let barrier = Arc::new(tokio::sync::Barrier::new(at_once));
    let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let seen = Arc::clone(&most);
    let upstream = H2Upstream::start(streams, None, move |_| {
        let (barrier, now, most) = (Arc::clone(&barrier), Arc::clone(&now), Arc::clone(&most));
        Box::pin(async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Response::new(text("together"))
        })
    });
    (upstream, seen)
}

/// Asks `count` times at once over one device's connection; the statuses.
fn ask_at_once(fleet: &Fleet, count: usize) -> Vec<u16> {
    h2::run(async {
        let (sender, _) = h2::connect(&h2_device(fleet), fleet.gateway.address()).await;
        let asking = (0..count).map(|_| {
            let mut sender = sender.clone();
            tokio::task::spawn_local(async move {
                h2::ask(&mut sender, h2::get("/")).await.status().as_u16()
            })
        });
        let asking: Vec<_> = asking.collect();
        let mut statuses = Vec::new();
        for answer in asking {
            statuses.push(answer.await.unwrap());
        }
        statuses
    })
}

#[test]
fn one_connection_carries_many_requests_at_once() {
    let (upstream, most) = together(100, 20);
    let fleet = upstream.clear_text("");
    assert_eq!(ask_at_once(&fleet, 20), [200; 20]);
    assert_eq!(
        (upstream.connections(), most.load(Ordering::SeqCst)),
        (1, 20)
    );
}

#[test]
fn more_requests_than_a_connection_may_carry_get_another() {
    let (upstream, most) = together(4, 8);
    let fleet = upstream.clear_text("");
    assert_eq!(ask_at_once(&fleet, 8), [200; 8]);
    assert_eq!(
        (upstream.connections(), most.load(Ordering::SeqCst)),
        (2, 8)
    );
}

#[test]
fn more_requests_than_all_connections_may_carry_wait() {
    let (upstream, most) = together(2, 2);
    let fleet = upstream.clear_text("max_connections = 1\nqueue_timeout = \"20s\"");
    assert_eq!(ask_at_once(&fleet, 6), [200; 6]);
    assert_eq!(
        (upstream.connections(), most.load(Ordering::SeqCst)),
        (1, 2)
    );
}

/// Frames of HTTP/2 (RFC 9113, 4.1).
struct Frames(Reader<std::net::TcpStream>);

const DATA_END: u8 = 0x1;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;

impl Frames {
    /// Reads the preface and says the settings.
    fn begin(peer: Peer) -> Self {
        let mut frames = Self(peer.reader);
        frames.0.exactly(24).unwrap();
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.source.write_all(&frame).unwrap();
    }

    /// Type and stream of the next frame.
    fn next(&mut self) -> Option<(u8, u32)> {
        let head = self.0.exactly(9).ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        self.0.exactly(length).ok()?;
        Some((head[3], u32::from_be_bytes(head[5..9].try_into().unwrap())))
    }

    /// The stream of the next request.
    fn request(&mut self) -> Option<u32> {
        loop {
            if let (HEADERS, stream) = self.next()? {
                return Some(stream);
            }
        }
    }

    /// Answers with an empty 200.
    fn answer(&mut self, stream: u32) {
        self.send(HEADERS, 0x4 | DATA_END, stream, &[0x88]);
    }
}

#[test]
fn requests_that_the_endpoint_refuses_unseen_are_sent_again() {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let upstream = Upstream::by_hand(|peer| {
        let number = peer.number;
        let mut frames = Frames::begin(peer);
        while let Some(stream) = frames.request() {
            match (number, stream) {
                (0, 3) => frames.send(RST_STREAM, 0, stream, &REFUSED_STREAM),
                _ => frames.answer(stream),
            }
        }
    });
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.upstream = "protocol = \"http2\"".into();
    });
    let mut connection = fleet.connect();
    for _ in 0..3 {
        assert_eq!(connection.get("/").status(), 200);
    }
    assert_eq!(fleet.upstream.connections(), 2);
}

#[test]
fn an_endpoint_that_answers_no_ping_is_given_up() {
    let (pinged, pings) = std::sync::mpsc::channel();
    let upstream = Upstream::by_hand(move |peer| {
        let mut frames = Frames::begin(peer);
        while let Some((kind, _)) = frames.next() {
            if kind == PING {
                let _ = pinged.send(());
            }
        }
    });
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.upstream = "protocol = \"http2\"\nping_interval = \"100ms\"\nretries = 0".into();
    });
    assert_eq!(fleet.connect().get("/").status(), 502);
    pings.recv_timeout(support::PATIENCE).unwrap();
    let endpoint = fleet.upstream.address().to_string();
    let counters = fleet.gateway.counters();
    assert_eq!(counters.get(&upstream_failure(&endpoint, "http2")), 1);
}

#[test]
fn an_endpoint_that_speaks_no_http2_is_none() {
    let fleet = Fleet::start(|setup| setup.upstream = "protocol = \"http2\"".into());
    assert_eq!(fleet.connect().get("/").status(), 502);
}

#[test]
fn a_connection_that_ends_finishes_its_requests_and_gets_no_new_ones() {
    let (go, wait) = oneshot::channel::<()>();
    let wait = Mutex::new(Some(wait));
    let upstream = H2Upstream::start(100, None, move |request| {
        let wait = match request.uri().path() {
            "/slow" => wait.lock().unwrap().take(),
            _ => None,
        };
        Box::pin(async move {
            if let Some(wait) = wait {
                wait.await.unwrap();
            }
            Response::new(text("well"))
        })
    });
    let fleet = upstream.clear_text("");
    let mut slow = fleet.connect();
    let mut other = fleet.connect();
    assert_eq!(other.get("/").text(), "well");
    slow.send(format!("GET /slow HTTP/1.1\r\n{HOST}\r\n"));
    support::counters::expect_value(
        &fleet.gateway,
        &upstream_open(&upstream.address.to_string()),
        1,
    );
    upstream.leave();
    for _ in 0..3 {
        assert_eq!(other.get("/").text(), "well");
    }
    assert_eq!(upstream.connections(), 2);
    go.send(()).unwrap();
    assert_eq!(slow.response().text(), "well");
    eventually("the old connection to end", || {
        let open = upstream_open(&upstream.address.to_string());
        (fleet.gateway.counters().get(&open) == 1).then_some(())
    });
}

// Health checks

/// Waits for a check of the only endpoint, and says what came of it.
fn checked(fleet: &Fleet) -> &'static str {
    eventually("a health check", || {
        let upstreams = fleet.gateway.server().upstream_views();
        let check = upstreams[0].endpoints[0].last_check.as_ref();
        check.map(|check| check.outcome)
    })
}

#[test]
fn health_checks_go_the_ways_of_requests() {
    const CHECK: &str = "health_check = { path = \"/healthz\", host = \"check.test\" }\n";
    const TLS: &str =
        "tls = { anchors = [\"trust-anchor.pem\"], server_name = \"backend.test\" }\n";
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let serve = || {
        let asked = Arc::clone(&asked);
        move |request: Request<Incoming>| -> Answering {
            let line = format!("{:?} {}", request.version(), request.uri());
            asked.lock().unwrap().push(line);
            Box::pin(async { Response::new(text("")) })
        }
    };
    let upstream = H2Upstream::start(100, None, serve());
    assert_eq!(checked(&upstream.clear_text(CHECK)), "ok");
    let pki = Pki::new();
    let config = server_config(&pki.server_for(&["backend.test"]), &["h2"], None);
    let upstream = H2Upstream::start(100, Some(Arc::clone(&config)), serve());
    let endpoint = format!("https://{}", upstream.address);
    let keys = format!("{CHECK}{TLS}");
    assert_eq!(checked(&upstream.fleet(pki, &endpoint, &keys)), "ok");
    let strangers = upstream.fleet(Pki::new(), &endpoint, &keys);
    assert_eq!(checked(&strangers), "tls");
    assert_eq!(
        *asked.lock().unwrap(),
        [
            "HTTP/2.0 http://check.test/healthz",
            "HTTP/2.0 https://check.test/healthz"
        ]
    );
}
