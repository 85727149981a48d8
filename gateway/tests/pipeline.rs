//! What a served request looks like on both sides of the gateway, over HTTP/1.1 and HTTP/2, TLS 1.3 and 1.2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use rustls::HandshakeKind;
use rustls::client::ClientConnection;
use support::counters::{expect_moved, expect_value, handshake, request};
use support::device::{Device, Options, connect};
use support::message::Message;
use support::upstream::{ok, refusing_address};
use support::{Fleet, Upstream, eventually, h2};

const HOST: &str = "host: fleet.test\r\n";

fn h2_device(fleet: &Fleet) -> Device {
    let credential = fleet.pki.device("device-000001");
    Device::with(&fleet.pki, Some(&credential), Options::h2())
}

/// The fields that the gateway vouches for.
const VOUCHED: [&str; 7] = [
    "client-cert",
    "client-cert-chain",
    "x-forwarded-client-cert",
    "x-device-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "forwarded",
];

fn vouched(message: &Message) -> Vec<(&str, Vec<&str>)> {
    VOUCHED.map(|name| (name, message.fields(name))).into()
}

// Requests and responses

#[test]
fn get_over_http1_reaches_the_upstream_byte_by_byte_as_expected() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    let response =
        connection.ask("GET /a/b?c=d%20e HTTP/1.1\r\nHost: fleet.test:8443\r\nAccept: */*\r\n\r\n");
    assert_eq!((response.status(), response.text()), (200, "ok"));
    let request = fleet.upstream.only_request();
    assert_eq!(request.first_line(), "GET /a/b?c=d%20e HTTP/1.1");
    assert_eq!(request.field("host"), "fleet.test:8443");
    assert_eq!(request.field("accept"), "*/*");
    assert_eq!(request.wire, b"");
    let names: Vec<&str> = request
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 7, "nothing else is sent: {names:?}");
}

#[test]
fn post_over_http1_keeps_its_length() {
    let fleet = Fleet::start(|_| {});
    let response = fleet.connect().ask(&format!(
        "POST /telemetry HTTP/1.1\r\n{HOST}content-length: 5\r\n\r\nhello"
    ));
    assert_eq!(response.status(), 200);
    let request = fleet.upstream.only_request();
    assert_eq!(request.first_line(), "POST /telemetry HTTP/1.1");
    assert_eq!(request.field("content-length"), "5");
    assert!(request.fields("transfer-encoding").is_empty());
    assert_eq!(request.wire, b"hello");
}

#[test]
fn get_and_post_over_http2_become_http1_upstream() {
    let fleet = Fleet::start(|_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let response = h2::ask(&mut sender, h2::get("/a?b=c")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.body(), "ok");
        let post = h2::request("POST", "https://fleet.test:8443/telemetry", "hello");
        assert_eq!(h2::ask(&mut sender, post).await.status(), 200);
    });
    let get = fleet.upstream.request(0);
    assert_eq!(get.first_line(), "GET /a?b=c HTTP/1.1");
    assert_eq!(get.field("host"), "fleet.test");
    assert!(get.fields("transfer-encoding").is_empty());
    let post = fleet.upstream.request(1);
    assert_eq!(post.first_line(), "POST /telemetry HTTP/1.1");
    assert_eq!(post.field("host"), "fleet.test:8443");
    assert_eq!(post.body, b"hello");
}

#[test]
fn a_large_response_over_http2_comes_in_frames_that_fill_a_record_each() {
    let text: String = (0..30_000).map(|number| format!("{number:08}")).collect();
    let sent = text.clone();
    let fleet = Fleet::with_upstream(Upstream::answering(move |_| ok(&sent)), |_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let response = sender.send_request(h2::get("/")).await.unwrap();
        assert_eq!(response.headers()["content-length"], "240000");
        let (mut body, mut received, mut longest) = (response.into_body(), Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            longest = longest.max(data.len());
            received.extend_from_slice(&data);
        }
        assert!(received == text.as_bytes());
        // With its header a frame is as long as a record may be.
        assert_eq!(longest + 9, 16 * 1024);
    });
}

#[test]
fn a_body_in_many_frames_over_http2_is_no_flood() {
    // Their headers alone are more than a connection may send beside its requests.
    const PIECE: usize = 1024;
    const PIECES: usize = 40_000;
    let fleet = Fleet::start(|_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let body = Body {
            piece: PIECE,
            ..Body::new(PIECE * PIECES, false)
        };
        let request = h2::request("POST", "https://fleet.test/", "").map(|_| body);
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    });
    let request = fleet.upstream.only_request();
    assert_eq!(request.body.len(), PIECE * PIECES);
}

#[test]
fn a_body_of_unknown_length_over_http2_is_chunked_upstream() {
    let fleet = Fleet::start(|_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let body = Body::new(20_000, false);
        let request = h2::request("POST", "https://fleet.test/", "").map(|_| body);
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
    });
    let request = fleet.upstream.only_request();
    assert_eq!(request.field("transfer-encoding"), "chunked");
    assert!(request.fields("content-length").is_empty());
    assert_eq!(request.body, vec![b'x'; 20_000]);
}

#[test]
fn chunks_are_streamed_both_ways() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|_| {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                .to_vec()
        }),
        |_| {},
    );
    let mut connection = fleet.connect();
    let response = connection.ask(&format!(
        "POST / HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
    ));
    assert_eq!(response.field("transfer-encoding"), "chunked");
    assert_eq!(response.text(), "abcde");
    let request = fleet.upstream.only_request();
    assert_eq!(request.field("transfer-encoding"), "chunked");
    assert_eq!(request.body, b"hello world");
    assert_eq!(connection.get("/again").text(), "abcde");
}

#[test]
fn a_length_beside_chunks_never_reaches_the_upstream() {
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
    ] {
        let fleet = Fleet::start(|_| {});
        let mut connection = fleet.connect();
        connection.send(format!(
            "POST / HTTP/1.1\r\n{HOST}{framing}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ));
        assert_eq!(connection.response().status(), 200);
        assert_eq!(
            connection.rest(),
            b"",
            "RFC 9112, 6.1: the connection is closed after that"
        );
        let request = fleet.upstream.only_request();
        assert!(request.fields("content-length").is_empty());
        assert_eq!(request.field("transfer-encoding"), "chunked");
        assert_eq!(request.body, b"hello");
    }
}

#[test]
fn trailers_cannot_carry_identity_fields() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    let response = connection.ask(&format!(
        "POST / HTTP/1.1\r\n{HOST}te: trailers\r\ntrailer: X-Device-Id\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Device-Id: forged\r\n\r\n"
    ));
    assert_eq!(response.status(), 200);
    let request = fleet.upstream.only_request();
    assert_eq!(request.wire, b"5\r\nhello\r\n0\r\n\r\n");
    assert!(request.fields("trailer").is_empty() && request.fields("te").is_empty());
}

#[test]
fn the_response_to_head_has_a_length_and_no_body() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".to_vec()),
        |_| {},
    );
    let mut connection = fleet.connect();
    for _ in 0..2 {
        connection.send(format!("HEAD /x HTTP/1.1\r\n{HOST}\r\n"));
        let response = connection.response_to_head();
        assert_eq!(
            (response.status(), response.field("content-length")),
            (200, "1234")
        );
    }
    assert_eq!(fleet.upstream.connections(), 1);
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let head = h2::request("HEAD", "https://fleet.test/x", "");
        let response = h2::ask(&mut sender, head).await;
        assert_eq!(response.headers()["content-length"], "1234");
        assert!(response.body().is_empty());
    });
}

#[test]
fn responses_without_a_body_do_not_hold_the_connection_up() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|received| {
            match received.message.target() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\netag: \"x\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            }
            .into()
        }),
        |_| {},
    );
    let mut connection = fleet.connect();
    for _ in 0..2 {
        let response = connection.get("/204");
        assert_eq!(response.status(), 204);
        assert!(response.fields("content-length").is_empty());
        let response = connection.get("/304");
        assert_eq!((response.status(), response.field("etag")), (304, "\"x\""));
        assert_eq!(connection.get("/empty").status(), 200);
    }
    assert_eq!(fleet.upstream.connections(), 1);
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        for (path, status) in [("/204", 204), ("/304", 304), ("/empty", 200)] {
            assert_eq!(h2::ask(&mut sender, h2::get(path)).await.status(), status);
        }
    });
}

#[test]
fn a_response_that_ends_with_the_connection_is_delivered_whole() {
    let fleet = Fleet::with_upstream(
        Upstream::by_hand(|mut peer| {
            peer.reader.head().unwrap();
            peer.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
        }),
        |_| {},
    );
    let mut connection = fleet.connect();
    for _ in 0..2 {
        assert_eq!(connection.get("/").text(), "until the end");
    }
    assert_eq!(fleet.upstream.connections(), 2);
}

#[test]
fn informational_responses_are_not_taken_for_the_answer() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|_| {
            [
                b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec(),
                ok("real"),
            ]
            .concat()
        }),
        |_| {},
    );
    assert_eq!(fleet.connect().get("/").text(), "real");
}

#[test]
fn expect_continue_is_answered_by_the_gateway_and_not_passed_on() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}expect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    ));
    assert_eq!(connection.exactly(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.send("hello");
    assert_eq!(connection.response().status(), 200);
    let request = fleet.upstream.only_request();
    assert!(request.fields("expect").is_empty());
    assert_eq!(request.body, b"hello");
}

#[test]
fn expect_continue_is_refused_without_asking_for_the_body() {
    let fleet = Fleet::start(|setup| setup.more = "[limits]\nrequest_body = \"10B\"\n".into());
    let mut connection = fleet.connect();
    let response = connection.ask(&format!(
        "POST / HTTP/1.1\r\n{HOST}expect: 100-continue\r\ncontent-length: 500\r\n\r\n"
    ));
    assert_eq!(response.status(), 413);
}

#[test]
fn three_requests_in_one_write_are_answered_in_order() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|received| ok(received.message.target())),
        |_| {},
    );
    let mut connection = fleet.connect();
    let three: String = ["/1", "/2", "/3"]
        .map(|path| format!("GET {path} HTTP/1.1\r\n{HOST}\r\n"))
        .concat();
    connection.send(three);
    for path in ["/1", "/2", "/3"] {
        assert_eq!(connection.response().text(), path);
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    connection.send("GET /old HTTP/1.0\r\n\r\n");
    let response = connection.response();
    assert_eq!(response.text(), "ok");
    assert_eq!(connection.rest(), b"");
    let request = fleet.upstream.only_request();
    assert_eq!(request.first_line(), "GET /old HTTP/1.1");
}

#[test]
fn a_device_that_asks_to_close_is_obeyed() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    let response = connection.ask(&format!(
        "GET / HTTP/1.1\r\n{HOST}connection: close\r\n\r\n"
    ));
    assert_eq!(response.field("connection"), "close");
    assert_eq!(connection.rest(), b"");
    assert!(
        fleet
            .upstream
            .only_request()
            .fields("connection")
            .is_empty()
    );
}

// Identity

#[test]
fn identity_fields_are_the_same_on_every_kind_of_connection() {
    let fleet = Fleet::start(|setup| {
        setup.more = "[identity_headers]\nclient_cert_chain = true\nforwarded = true\n".into();
    });
    let credential = fleet.pki.device("device-000042");
    let address = fleet.gateway.address();
    for options in [Options::tls13(), Options::tls12()] {
        let device = Device::with(&fleet.pki, Some(&credential), options.clone());
        assert_eq!(device.get(address, "/").1, HandshakeKind::Full);
        assert_eq!(device.get(address, "/").1, HandshakeKind::Resumed);
        let options = Options {
            alpn: vec![b"h2".to_vec()],
            ..options
        };
        let device = Device::with(&fleet.pki, Some(&credential), options);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            h2::run(async {
                let (mut sender, end) = h2::connect(&device, address).await;
                assert_eq!(
                    h2::ask(&mut sender, h2::get("/")).await.status(),
                    200,
                    "{kind:?}"
                );
                drop(sender);
                end.await.unwrap().unwrap();
            });
        }
    }
    expect_value(&fleet.gateway, &handshake("full", "ok"), 4);
    expect_value(&fleet.gateway, &handshake("resumed", "ok"), 4);
    let received = fleet.upstream.received();
    assert_eq!(received.len(), 8);
    let first = &received[0].message;
    for other in &received {
        assert_eq!(vouched(&other.message), vouched(first));
    }
    assert_eq!(first.field("x-device-id"), "device-000042");
    assert_eq!(first.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(first.field("x-forwarded-proto"), "https");
    assert_eq!(first.field("forwarded"), "for=127.0.0.1;proto=https");
    let certificate = base64(first.field("client-cert"));
    assert_eq!(certificate, credential.end_entity());
    assert_eq!(
        base64(first.field("client-cert-chain")),
        credential.chain[1]
    );
    let hash = gateway::identity::hex(
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate).as_ref(),
    );
    assert_eq!(
        first.field("x-forwarded-client-cert"),
        format!("Hash={hash};Subject=\"CN=device-000042\";URI=urn:device:device-000042")
    );
}

/// The certificate in an RFC 8941 byte sequence.
fn base64(field: &str) -> Vec<u8> {
    use base64::Engine as _;
    let inner = field.strip_prefix(':').unwrap().strip_suffix(':').unwrap();
    base64::engine::general_purpose::STANDARD
        .decode(inner)
        .unwrap()
}

#[test]
fn optional_identity_fields_are_not_sent_unasked_nor_taken_from_the_device() {
    let fleet = Fleet::start(|_| {});
    fleet.connect().ask(&format!(
        "GET / HTTP/1.1\r\n{HOST}forwarded: for=1.2.3.4\r\nclient-cert-chain: :AA==:\r\n\r\n"
    ));
    let request = fleet.upstream.only_request();
    assert!(
        request.fields("forwarded").is_empty() && request.fields("client-cert-chain").is_empty()
    );
}

#[test]
fn forged_identity_fields_never_reach_the_upstream() {
    let fleet = Fleet::start(|_| {});
    let forged: String = [
        "X-Device-Id: forged",
        "x-device-id: forged",
        "X-DEVICE-ID:forged",
        "X_Device_Id: forged",
        "x_device-id: forged",
        "Client-Cert: :forged:",
        "client_cert: :forged:",
        "Client-Cert-Chain: :forged:",
        "X-Forwarded-Client-Cert: Subject=forged",
        "X-Forwarded-Client-Cert: Subject=forged",
        "X_Forwarded_Client_Cert: Subject=forged",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: forged",
        "X-Forwarded-Host: forged",
        "X-Forwarded-Port: forged",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=forged",
        "Content_Length: 31337666",
        "Transfer_Encoding: forged",
    ]
    .iter()
    .map(|line| format!("{line}\r\n"))
    .collect();
    let connection = "Connection: X-Device-Id, Client-Cert, X-Forwarded-For, Host\r\nConnection: X-Forwarded-Proto\r\n";
    fleet
        .connect()
        .ask(&format!("GET / HTTP/1.1\r\n{HOST}{forged}{connection}\r\n"));
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let mut request = h2::get("/");
        for line in forged.lines().filter(|line| !line.starts_with("Transfer")) {
            let (name, value) = line.split_once(':').unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .append(name, value.trim().parse().unwrap());
        }
        assert_eq!(h2::ask(&mut sender, request).await.status(), 200);
    });
    for index in 0..2 {
        let request = fleet.upstream.request(index);
        let head = &request.head;
        assert!(
            !head.contains("forged") && !head.contains("6.6.6.6") && !head.contains("31337666"),
            "{head}"
        );
        assert!(!head.contains('_'), "{head}");
        assert_eq!(request.field("x-device-id"), "device-000001");
        assert_eq!(request.field("host"), "fleet.test");
        for name in [
            "client-cert",
            "x-forwarded-client-cert",
            "x-forwarded-for",
            "x-forwarded-proto",
        ] {
            request.field(name);
        }
    }
}

#[test]
fn hop_by_hop_fields_stay_on_their_side() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|_| {
            "HTTP/1.1 200 OK\r\nconnection: x-upstream-hop\r\nx-upstream-hop: a\r\nkeep-alive: timeout=5\r\n\
             proxy-connection: keep-alive\r\nupgrade: h2c\r\nx-kept: yes\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
             content-length: 2\r\n\r\nok"
                .into()
        }),
        |_| {},
    );
    let mut connection = fleet.connect();
    let response = connection.ask(&format!(
        "GET / HTTP/1.1\r\n{HOST}connection: keep-alive, x-device-hop, upgrade\r\nx-device-hop: a\r\nkeep-alive: 5\r\n\
         te: trailers\r\nupgrade: h2c\r\nproxy-connection: keep-alive\r\nproxy-authorization: Basic eA==\r\n\
         http2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\nx-kept: yes\r\nauthorization: Bearer kept\r\n\r\n"
    ));
    let request = fleet.upstream.request(0);
    for name in [
        "connection",
        "x-device-hop",
        "keep-alive",
        "te",
        "upgrade",
        "proxy-connection",
        "proxy-authorization",
        "http2-settings",
    ] {
        assert!(
            request.fields(name).is_empty(),
            "{name} in {}",
            request.head
        );
    }
    assert_eq!(request.field("x-kept"), "yes");
    assert_eq!(request.field("authorization"), "Bearer kept");
    for name in [
        "connection",
        "x-upstream-hop",
        "keep-alive",
        "proxy-connection",
        "upgrade",
    ] {
        assert!(
            response.fields(name).is_empty(),
            "{name} in {}",
            response.head
        );
    }
    assert_eq!(response.field("x-kept"), "yes");
    assert_eq!(response.fields("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(connection.get("/again").status(), 200);
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let response = h2::ask(&mut sender, h2::get("/")).await;
        assert_eq!(response.headers()["x-kept"], "yes");
        assert!(!response.headers().contains_key("x-upstream-hop"));
    });
}

#[test]
fn the_authority_of_the_target_replaces_host() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    let absolute = "GET http://real.test:81/a?b HTTP/1.1\r\nhost: other.test\r\n\r\n";
    assert_eq!(connection.ask(absolute).status(), 200);
    assert_eq!(
        connection
            .ask("GET http://real.test HTTP/1.1\r\nhost: real.test\r\n\r\n")
            .status(),
        200
    );
    let request = fleet.upstream.request(0);
    assert_eq!(request.first_line(), "GET /a?b HTTP/1.1");
    assert_eq!(request.field("host"), "real.test:81");
    assert_eq!(fleet.upstream.request(1).first_line(), "GET / HTTP/1.1");
}

#[test]
fn http2_may_say_host_as_long_as_it_is_the_same() {
    let fleet = Fleet::start(|_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let mut request = h2::get("/");
        request
            .headers_mut()
            .insert("host", "fleet.test".parse().unwrap());
        assert_eq!(h2::ask(&mut sender, request).await.status(), 200);
    });
    assert_eq!(fleet.upstream.only_request().field("host"), "fleet.test");
}

#[test]
fn cookies_that_http2_split_are_one_field_upstream() {
    let fleet = Fleet::start(|_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let mut request = h2::get("/");
        for cookie in ["a=1", "b=2", "c=3"] {
            request
                .headers_mut()
                .append("cookie", cookie.parse().unwrap());
        }
        assert_eq!(h2::ask(&mut sender, request).await.status(), 200);
    });
    assert_eq!(
        fleet.upstream.only_request().fields("cookie"),
        ["a=1; b=2; c=3"]
    );
}

// Back-pressure

const UPLOAD: usize = 32 * 1024 * 1024;

/// What the gateway and three kernels' buffers may hold of a stream; far less than the stream.
const IN_BETWEEN: usize = 16 * 1024 * 1024;

/// An upstream that reads no body before it is told to, and then counts it.
fn slow_reader(go: mpsc::Receiver<()>) -> Upstream {
    let go = Mutex::new(go);
    Upstream::by_hand(move |mut peer| {
        let head = peer.reader.head().unwrap();
        go.lock().unwrap().recv().unwrap();
        let mut left =
            head.field("content-length").parse::<usize>().unwrap() - peer.reader.held().len();
        let mut piece = vec![0; 64 * 1024];
        while left > 0 {
            match peer.reader.source.read(&mut piece).unwrap() {
                0 => panic!("the upload was cut off"),
                count => left -= count,
            }
        }
        peer.send(ok("got it all"));
    })
}

#[test]
fn an_upload_over_http1_waits_for_a_slow_upstream() {
    let (go, wait) = mpsc::channel();
    let fleet = Fleet::with_upstream(slow_reader(wait), |_| {});
    let mut connection = fleet.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: {UPLOAD}\r\n\r\n"
    ));
    // A write that makes no progress for this long is stuck. The library reads when it cannot write.
    connection.allow(Duration::from_millis(400));
    let piece = vec![b'x'; 16 * 1024];
    let mut written = 0;
    while written < UPLOAD {
        match connection.try_send_some(&piece[..piece.len().min(UPLOAD - written)]) {
            Ok(count) => written += count,
            Err(_) => break,
        }
    }
    assert!(
        written < IN_BETWEEN,
        "{written} bytes went somewhere before the upstream read one"
    );
    go.send(()).unwrap();
    connection.allow(support::PATIENCE);
    while written < UPLOAD {
        written += connection
            .try_send_some(&piece[..piece.len().min(UPLOAD - written)])
            .unwrap();
    }
    assert_eq!(connection.response().text(), "got it all");
}

/// A body of `left` bytes, sent in pieces, that counts what was taken from it.
struct Body {
    left: usize,
    piece: usize,
    says_length: bool,
    taken: Arc<AtomicUsize>,
}

impl Body {
    fn new(left: usize, says_length: bool) -> Self {
        Self {
            left,
            piece: 16 * 1024,
            says_length,
            taken: Arc::default(),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let count = self.left.min(self.piece);
        if count == 0 {
            return Poll::Ready(None);
        }
        self.left -= count;
        self.taken.fetch_add(count, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; count])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.says_length {
            SizeHint::with_exact(self.left as u64)
        } else {
            SizeHint::default()
        }
    }
}

#[test]
fn an_upload_over_http2_waits_for_a_slow_upstream_and_other_streams_do_not() {
    let (go, wait) = mpsc::channel();
    let other = Upstream::ok();
    let fleet = Fleet::with_upstream(slow_reader(wait), |setup| {
        setup.more = format!(
            "[[upstreams]]\nname = \"other\"\nendpoints = [\"http://{}\"]\n\
             [[routes]]\npath_prefix = \"/other\"\nupstream = \"other\"\n",
            other.address()
        );
    });
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let body = Body::new(UPLOAD, true);
        let taken = Arc::clone(&body.taken);
        let answer =
            sender.send_request(h2::request("POST", "https://fleet.test/", "").map(|_| body));
        let answer = tokio::task::spawn_local(answer);
        let mut last = 0;
        // Stuck when nothing more was taken for a while.
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = taken.load(Ordering::SeqCst);
            if now > 0 && now == last {
                break;
            }
            last = now;
        }
        assert!(
            last < IN_BETWEEN,
            "{last} bytes went somewhere before the upstream read one"
        );
        let empty = Body::new(0, true);
        let other = sender.send_request(h2::get("/other").map(|_| empty));
        assert_eq!(other.await.unwrap().status(), 200);
        go.send(()).unwrap();
        let response = h2::whole(answer.await.unwrap().unwrap()).await;
        assert_eq!(response.body(), "got it all");
        assert_eq!(taken.load(Ordering::SeqCst), UPLOAD);
    });
}

/// An upstream that sends `UPLOAD` bytes, and counts how many its socket took.
fn large_sender() -> (Upstream, Arc<AtomicUsize>) {
    let sent = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&sent);
    let upstream = Upstream::by_hand(move |mut peer| {
        while peer.reader.head().is_ok() {
            counter.store(0, Ordering::SeqCst);
            peer.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {UPLOAD}\r\n\r\n"
            ));
            for _ in 0..UPLOAD / 16_384 {
                if peer.reader.source.write_all(&[b'y'; 16_384]).is_err() {
                    return;
                }
                counter.fetch_add(16_384, Ordering::SeqCst);
            }
        }
    });
    (upstream, sent)
}

fn wait_until_stuck(sent: &AtomicUsize) -> usize {
    let mut last = 0;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = sent.load(Ordering::SeqCst);
        if now > 0 && now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn a_large_response_over_http1_waits_for_a_slow_device() {
    let (upstream, sent) = large_sender();
    let fleet = Fleet::with_upstream(upstream, |_| {});
    let mut connection = fleet.connect();
    connection.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    let stuck = wait_until_stuck(&sent);
    assert!(
        stuck < IN_BETWEEN,
        "{stuck} bytes were taken for a device that read none"
    );
    assert_eq!(connection.response().body, vec![b'y'; UPLOAD]);
    let again = connection.get("/again");
    assert_eq!(again.body.len(), UPLOAD);
    assert_eq!(fleet.upstream.connections(), 1);
}

#[test]
fn a_large_response_over_http2_waits_for_a_slow_device() {
    let (upstream, sent) = large_sender();
    let fleet = Fleet::with_upstream(upstream, |_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let response = sender.send_request(h2::get("/")).await.unwrap();
        let stuck = tokio::task::spawn_blocking(move || wait_until_stuck(&sent))
            .await
            .unwrap();
        assert!(
            stuck < IN_BETWEEN,
            "{stuck} bytes were taken for a device that read none"
        );
        let response = h2::whole(response).await;
        assert_eq!(response.body().len(), UPLOAD);
    });
}

// Upstream connections

#[test]
fn upstream_connections_are_kept_and_shared_by_devices() {
    let fleet = Fleet::start(|_| {});
    for number in 0..5 {
        let device = Device::new(
            &fleet.pki,
            Some(&fleet.pki.device(&format!("device-{number:06}"))),
        );
        assert_eq!(device.get(fleet.gateway.address(), "/").0.status(), 200);
    }
    assert_eq!(fleet.upstream.connections(), 1);
    let ids: Vec<String> = fleet
        .upstream
        .received()
        .iter()
        .map(|received| received.message.field("x-device-id").to_owned())
        .collect();
    assert_eq!(
        ids,
        [0, 1, 2, 3, 4].map(|number| format!("device-{number:06}"))
    );
}

fn upstream_connections_open(fleet: &Fleet) -> String {
    format!(
        "gateway_upstream_connections_open{{endpoint=\"{}\",upstream=\"telemetry\"}}",
        fleet.upstream.address()
    )
}

#[test]
fn a_pooled_connection_that_the_upstream_closed_does_not_fail_the_next_request() {
    let fleet = Fleet::with_upstream(
        Upstream::by_hand(|mut peer| {
            if peer.reader.head().is_ok() {
                peer.send(ok("once"));
            }
        }),
        |_| {},
    );
    let mut connection = fleet.connect();
    for _ in 0..5 {
        assert_eq!(connection.get("/").text(), "once");
        expect_value(&fleet.gateway, &upstream_connections_open(&fleet), 0);
    }
    assert_eq!(fleet.upstream.connections(), 5);
}

#[test]
fn an_upstream_that_says_close_is_not_used_again() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|_| {
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_vec()
        }),
        |_| {},
    );
    let mut connection = fleet.connect();
    for _ in 0..3 {
        assert_eq!(connection.get("/").status(), 200);
    }
    assert_eq!(fleet.upstream.connections(), 3);
}

#[test]
fn pooled_connections_are_bounded_in_number_and_age() {
    for (limit, pause) in [
        ("pool_max_idle = 0", 0),
        ("pool_idle_timeout = \"100ms\"", 200),
    ] {
        let fleet = Fleet::start(|setup| setup.upstream = limit.into());
        let mut connection = fleet.connect();
        for count in 1..=3 {
            assert_eq!(connection.get("/").status(), 200);
            assert_eq!(fleet.upstream.connections(), count, "{limit}");
            std::thread::sleep(Duration::from_millis(pause));
        }
    }
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let fleet = Fleet::start(|setup| setup.endpoints.insert(0, refusing_address()));
    let mut connection = fleet.connect();
    for _ in 0..4 {
        assert_eq!(connection.get("/").status(), 200);
    }
}

#[test]
fn a_response_that_the_upstream_cuts_off_is_cut_off_for_the_device() {
    let cut = |framing: &'static str| {
        Upstream::by_hand(move |mut peer| {
            if peer.reader.head().is_ok() {
                peer.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
            }
        })
    };
    for framing in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\na\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let fleet = Fleet::with_upstream(cut(framing), |_| {});
        let mut connection = fleet.connect();
        connection.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
        assert!(
            connection.try_response().is_err(),
            "{framing:?} was taken for a whole response"
        );
        h2::run(async {
            let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
            let response = sender.send_request(h2::get("/")).await.unwrap();
            assert!(response.into_body().collect().await.is_err(), "{framing:?}");
        });
    }
}

#[test]
fn a_request_that_the_device_cuts_off_is_cut_off_for_the_upstream() {
    let whole = Arc::<AtomicUsize>::default();
    let (seen, ended) = (Arc::clone(&whole), Arc::<AtomicUsize>::default());
    let over = Arc::clone(&ended);
    let fleet = Fleet::with_upstream(
        Upstream::by_hand(move |mut peer| {
            if peer.reader.request().is_ok() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            over.fetch_add(1, Ordering::SeqCst);
        }),
        |_| {},
    );
    for framing in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        for in_order in [true, false] {
            let mut connection = fleet.connect();
            connection.send(format!("POST / HTTP/1.1\r\n{HOST}{framing}"));
            let begun = fleet.upstream.connections();
            eventually("the upload to begin", || {
                (fleet.upstream.connections() >= begun).then_some(())
            });
            if in_order {
                connection.close();
            } else {
                connection.reset();
            }
        }
    }
    eventually("all uploads to end", || {
        (ended.load(Ordering::SeqCst) == fleet.upstream.connections()).then_some(())
    });
    assert_eq!(whole.load(Ordering::SeqCst), 0);
}

#[test]
fn a_device_that_leaves_frees_its_upstream_connection() {
    let fleet = Fleet::with_upstream(
        Upstream::by_hand(|mut peer| while peer.reader.head().is_ok() {}),
        |_| {},
    );
    let mut connection = fleet.connect();
    connection.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    eventually("the request", || {
        (fleet.upstream.connections() == 1).then_some(())
    });
    connection.reset();
    expect_value(&fleet.gateway, &upstream_connections_open(&fleet), 0);
    expect_value(
        &fleet.gateway,
        "gateway_connections_open{listener=\"devices\"}",
        0,
    );
}

#[test]
fn an_early_answer_leaves_the_rest_of_the_upload_a_body() {
    let fleet = Fleet::with_upstream(
        Upstream::by_hand(|mut peer| {
            while let Ok(head) = peer.reader.head() {
                peer.send(ok(head.target()));
            }
        }),
        |_| {},
    );
    let smuggled = format!("GET /smuggled HTTP/1.1\r\n{HOST}\r\n");
    let mut connection = fleet.connect();
    let length = smuggled.len() + 4;
    connection.send(format!(
        "POST /early HTTP/1.1\r\n{HOST}content-length: {length}\r\n\r\nhalf"
    ));
    assert_eq!(connection.response().text(), "/early");
    // Longer than the second after which a quiet connection is taken apart.
    std::thread::sleep(Duration::from_millis(1500));
    let _ = connection.try_send(&smuggled);
    let _ = connection.try_send(format!(
        "GET /next HTTP/1.1\r\n{HOST}connection: close\r\n\r\n"
    ));
    if let Ok(response) = connection.try_response() {
        assert_eq!(response.text(), "/next", "the body was taken for a request");
    }
}

// TLS

/// Carries a session's bytes to the gateway in pieces of `size`.
fn speak_in_pieces(fleet: &Fleet, tls: &mut ClientConnection, size: usize) -> String {
    let mut tcp = connect(fleet.gateway.address());
    let mut answer = Vec::new();
    tls.writer()
        .write_all(format!("GET / HTTP/1.1\r\n{HOST}connection: close\r\n\r\n").as_bytes())
        .unwrap();
    loop {
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        for piece in flight.chunks(size) {
            tcp.write_all(piece).unwrap();
            std::thread::yield_now();
        }
        if tls.read_tls(&mut tcp).unwrap() == 0 {
            return String::from_utf8(answer).unwrap();
        }
        tls.process_new_packets().unwrap();
        let _ = tls.reader().read_to_end(&mut answer);
    }
}

#[test]
fn tls_records_may_be_split_anywhere() {
    let fleet = Fleet::start(|_| {});
    let credential = fleet.pki.device("device-000001");
    for options in [Options::tls13(), Options::tls12()] {
        for size in [1, 2, 3, 5, 7, 64, 1000] {
            let device = Device::with(&fleet.pki, Some(&credential), options.clone());
            let answer = speak_in_pieces(&fleet, &mut device.session(), size);
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{size}: {answer}");
        }
    }
}

#[test]
fn a_request_in_many_small_records_is_read_whole() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    for byte in format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 300\r\n\r\n{:0300}",
        7
    )
    .bytes()
    {
        connection.send([byte]);
    }
    assert_eq!(connection.response().status(), 200);
    assert_eq!(
        fleet.upstream.only_request().body,
        format!("{:0300}", 7).as_bytes()
    );
}

#[test]
fn a_device_may_renew_its_keys_at_any_time() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|received| ok(&received.message.body.len().to_string())),
        |_| {},
    );
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000001")),
        Options::tls13(),
    );
    let mut connection = device.connect(fleet.gateway.address());
    assert_eq!(connection.get("/").status(), 200);
    connection.tls().refresh_traffic_keys().unwrap();
    assert_eq!(connection.get("/").status(), 200);
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 8\r\n\r\nhalf"
    ));
    connection.tls().refresh_traffic_keys().unwrap();
    connection.send("half");
    assert_eq!(connection.response().text(), "8");
    std::thread::sleep(Duration::from_millis(1300));
    connection.tls().refresh_traffic_keys().unwrap();
    assert_eq!(connection.get("/").status(), 200, "also while hibernating");
}

#[test]
fn a_broken_record_ends_the_connection_with_an_alert_and_nothing_else() {
    for request in [
        "",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",
    ] {
        let fleet = Fleet::start(|_| {});
        let mut connection = fleet.connect();
        assert_eq!(connection.get("/").status(), 200);
        connection.send(request);
        let mut tcp = connection.tcp().try_clone().unwrap();
        tcp.write_all(&[23, 3, 3, 0, 32]).unwrap();
        tcp.write_all(&[7; 32]).unwrap();
        let error = connection.error();
        let alert = support::device::tls_error(&error);
        assert!(
            matches!(
                alert,
                Some(rustls::Error::AlertReceived(
                    rustls::AlertDescription::BadRecordMac
                ))
            ),
            "{error:?}"
        );
        assert_eq!(
            fleet.device().get(fleet.gateway.address(), "/").0.status(),
            200
        );
    }
}

#[test]
fn a_device_without_alpn_speaks_http1_and_one_with_both_speaks_http2() {
    let fleet = Fleet::start(|_| {});
    let credential = fleet.pki.device("device-000001");
    for (offered, chosen) in [
        (vec![], None),
        (vec![b"http/1.1".to_vec()], Some(&b"http/1.1"[..])),
        (vec![b"http/1.1".to_vec(), b"h2".to_vec()], Some(b"h2")),
    ] {
        let options = Options {
            alpn: offered,
            ..Options::default()
        };
        let mut connection =
            Device::with(&fleet.pki, Some(&credential), options).connect(fleet.gateway.address());
        assert_eq!(connection.tls().alpn_protocol(), chosen);
        if chosen != Some(b"h2") {
            assert_eq!(connection.get("/").status(), 200);
        }
    }
}

#[test]
fn the_configured_groups_are_all_spoken() {
    use rustls::crypto::aws_lc_rs::kx_group;
    let fleet = Fleet::start(|setup| {
        setup.tls = "groups = [\"X25519MLKEM768\", \"X25519\", \"P-256\", \"P-384\"]".into()
    });
    let credential = fleet.pki.device("device-000001");
    for group in [
        kx_group::X25519MLKEM768,
        kx_group::X25519,
        kx_group::SECP256R1,
        kx_group::SECP384R1,
    ] {
        let options = Options {
            groups: vec![group],
            ..Options::default()
        };
        let device = Device::with(&fleet.pki, Some(&credential), options);
        let (response, kind) = device.get(fleet.gateway.address(), "/");
        assert_eq!(
            (response.status(), kind),
            (200, HandshakeKind::Full),
            "{group:?}"
        );
    }
}

#[test]
fn a_device_that_guesses_the_wrong_group_is_asked_again_and_counted_so() {
    use rustls::crypto::aws_lc_rs::kx_group;
    let fleet = Fleet::start(|setup| setup.tls = "groups = [\"P-256\"]".into());
    let options = Options {
        groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..Options::default()
    };
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000001")),
        options,
    );
    let before = fleet.gateway.counters();
    let (response, kind) = device.get(fleet.gateway.address(), "/");
    assert_eq!(
        (response.status(), kind),
        (200, HandshakeKind::FullWithHelloRetryRequest)
    );
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full_hrr", "ok"), request("2xx")],
    );
}

// The token

#[test]
fn upstreams_get_a_token_whose_key_the_admin_listener_publishes() {
    let pki = support::Pki::new();
    let upstream = Upstream::ok();
    let key = rcgen::KeyPair::generate().unwrap();
    pki.write("token.key", &key.serialize_pem());
    let mut setup = support::Setup::new(upstream.address());
    setup.more = "[identity_headers.token]\nkey = \"token.key\"\naudience = \"telemetry\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n"
        .into();
    let config = pki.write("gateway.toml", &setup.text());
    let program = support::program::Program::run(&config);
    let device = Device::new(&pki, Some(&pki.device("device-000001")));
    for name in ["x-device-token", "X_Device_Token"] {
        let mut connection = device.connect(program.devices());
        let request = format!("GET / HTTP/1.1\r\nhost: fleet.test\r\n{name}: forged\r\n\r\n");
        assert_eq!(connection.ask(&request).status(), 200);
    }
    let requests: Vec<_> = upstream
        .received()
        .into_iter()
        .map(|received| received.message)
        .collect();
    assert_eq!(requests.len(), 2);
    let answer = program.ask_admin("GET /.well-known/jwks.json");
    assert_eq!(answer.field("content-type"), "application/json");
    let keys: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    for request in &requests {
        assert!(!request.head.contains("forged"), "{}", request.head);
        let token = request.field("x-device-token");
        let claims = verified(token, &keys["keys"][0]);
        assert_eq!(claims["sub"], "device-000001");
        assert_eq!(claims["aud"], "telemetry");
        assert_eq!(claims["iss"], "fleetgate");
    }
}

/// The claims of a token that is signed with `key`, a JWK.
fn verified(token: &str, key: &serde_json::Value) -> serde_json::Value {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use base64::Engine as _;
    let decode = |text: &str| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .unwrap()
    };
    let mut point = vec![4];
    point.extend(decode(key["x"].as_str().unwrap()));
    point.extend(decode(key["y"].as_str().unwrap()));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decode(signature))
        .expect("the signature fits the published key");
    let (_, claims) = signed.split_once('.').unwrap();
    serde_json::from_slice(&decode(claims)).unwrap()
}
