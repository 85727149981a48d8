//! What upstreams do wrong, over real sockets: the device gets a status that says so or a response that it can tell is cut off,
//! never a wrong body; the connection is not used again; and one series of failures moves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Frame;
use support::counters::{expect_value, request, upstream_failure, upstream_open};
use support::upstream::{Peer, ok, refusing_address};
use support::{Device, Fleet, Options, Setup, Upstream, h2};

const HOST: &str = "host: fleet.test\r\n";

/// A fleet whose upstream treats its first connection to `fault`, and answers properly on all others. Nothing is sent again, so
/// that the fault is seen.
fn first_faulty(
    fault: impl Fn(Peer) + Send + Sync + 'static,
    change: impl FnOnce(&mut Setup),
) -> Fleet {
    let upstream = Upstream::by_hand(move |mut peer| {
        if peer.number == 0 {
            return fault(peer);
        }
        while peer.reader.request().is_ok() {
            peer.send(ok("well"));
        }
    });
    Fleet::with_upstream(upstream, |setup| {
        change(setup);
        setup.upstream.push_str("\nretries = 0");
    })
}

fn h2_device(fleet: &Fleet) -> Device {
    let credential = fleet.pki.device("device-000001");
    Device::with(&fleet.pki, Some(&credential), Options::h2())
}

fn failures(fleet: &Fleet, reason: &str) -> u64 {
    let endpoint = fleet.upstream.address().to_string();
    fleet
        .gateway
        .counters()
        .get(&upstream_failure(&endpoint, reason))
}

/// The first request is answered with `status` by the gateway, counted once as `reason`, and the second is served on another
/// connection.
fn answered_and_recovered(fleet: &Fleet, status: u16, reason: &str) {
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/first").status(), status, "{reason}");
    assert_eq!(failures(fleet, reason), 1, "{reason}");
    assert_eq!(fleet.gateway.counters().get(&request("5xx")), 1);
    assert_eq!(connection.get("/second").text(), "well");
    assert_eq!(fleet.upstream.connections(), 2);
    assert_eq!(failures(fleet, reason), 1, "{reason}");
}

/// Answers the first request with `bytes`, and goes on listening.
fn says(bytes: impl Into<Vec<u8>>) -> impl Fn(Peer) + Send + Sync + 'static {
    let bytes = bytes.into();
    move |mut peer| {
        peer.reader.request().unwrap();
        peer.send(&bytes);
        let _ = peer.reader.request();
    }
}

// No connection

#[test]
fn a_refusing_endpoint() {
    let address = refusing_address();
    let fleet = Fleet::start(|setup| setup.endpoints = vec![address]);
    assert_eq!(fleet.connect().get("/").status(), 503);
    let series = upstream_failure(&address.to_string(), "unreachable");
    assert_eq!(fleet.gateway.counters().get(&series), 1);
}

#[test]
fn an_endpoint_that_swallows_connections() {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    // Nobody accepts, so that the kernel drops what comes after these.
    let mut queued = Vec::new();
    while let Ok(tcp) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(tcp);
    }
    let fleet = Fleet::start(|setup| {
        setup.endpoints = vec![address];
        setup.upstream = "connect_timeout = \"100ms\"".into();
    });
    assert_eq!(fleet.connect().get("/").status(), 504);
    let series = upstream_failure(&address.to_string(), "connect_timeout");
    assert_eq!(fleet.gateway.counters().get(&series), 1);
}

// No response

#[test]
fn connections_that_end_before_the_response() {
    let hears = |mut peer: Peer| drop(peer.reader.request().unwrap());
    answered_and_recovered(&first_faulty(hears, |_| {}), 502, "closed_before_head");
    let resets = |mut peer: Peer| {
        peer.reader.request().unwrap();
        peer.reset();
    };
    answered_and_recovered(&first_faulty(resets, |_| {}), 502, "closed_before_head");
}

#[test]
fn half_closed_connections() {
    let half_closes = |mut peer: Peer| {
        peer.reader.request().unwrap();
        peer.tcp().shutdown(Shutdown::Write).unwrap();
        // Until the gateway lets go of it.
        let _ = peer.reader.request();
    };
    answered_and_recovered(
        &first_faulty(half_closes, |_| {}),
        502,
        "closed_before_head",
    );
}

#[test]
fn connections_that_end_inside_the_head() {
    let cut = |mut peer: Peer| {
        peer.reader.request().unwrap();
        peer.send("HTTP/1.1 200 OK\r\ncontent-le");
    };
    answered_and_recovered(&first_faulty(cut, |_| {}), 502, "closed_in_head");
}

#[test]
fn responses_that_never_come() {
    let silent = |mut peer: Peer| {
        peer.reader.request().unwrap();
        let _ = peer.reader.request();
    };
    let patience = |setup: &mut Setup| setup.upstream = "response_timeout = \"150ms\"".into();
    answered_and_recovered(&first_faulty(silent, patience), 504, "response_timeout");
    let dribbles = says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: ");
    answered_and_recovered(&first_faulty(dribbles, patience), 504, "response_timeout");
}

#[test]
fn an_upload_that_the_upstream_does_not_take_times_out() {
    let deaf = |mut peer: Peer| {
        peer.reader.head().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
    };
    let fleet = first_faulty(deaf, |setup| {
        setup.upstream = "response_timeout = \"400ms\"".into()
    });
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let request = h2::request("POST", "https://fleet.test/", "").map(|_| Endless);
        assert_eq!(sender.send_request(request).await.unwrap().status(), 504);
    });
    assert_eq!(failures(&fleet, "response_timeout"), 1);
}

// No valid response

#[test]
fn responses_that_are_none() {
    let head = "HTTP/1.1 200 OK\r\n";
    let long = format!("{head}x: {}\r\n\r\n", "y".repeat(70_000));
    let many = format!("{head}{}\r\n", "x: y\r\n".repeat(200));
    let informational = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20);
    for (bytes, reason) in [
        ("garbage without end".to_owned(), "not_http"),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), "not_http"),
        (
            "HTTP/1.1 200 OK\ncontent-length: 2\n\nno".to_owned(),
            "not_http",
        ),
        (
            format!("{head}content-length: 2\nx: y\r\n\r\nno"),
            "not_http",
        ),
        (format!("{head}content-length : 2\r\n\r\nno"), "not_http"),
        (
            format!("{head}x: y\r\n z\r\ncontent-length: 2\r\n\r\nno"),
            "not_http",
        ),
        (
            "HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nno".to_owned(),
            "not_http",
        ),
        (
            "HTTP/2 200\r\ncontent-length: 2\r\n\r\nno".to_owned(),
            "not_http",
        ),
        (long, "head_too_large"),
        (many, "head_too_large"),
        (
            format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\nno"),
            "framing",
        ),
        (format!("{head}content-length: 2, 2\r\n\r\nno"), "framing"),
        (format!("{head}content-length: two\r\n\r\nno"), "framing"),
        (
            format!("{head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            "framing",
        ),
        (
            format!("{head}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            "framing",
        ),
        (
            format!("{head}transfer-encoding: gzip\r\n\r\nno"),
            "framing",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_owned(),
            "unasked",
        ),
        (informational, "unasked"),
    ] {
        answered_and_recovered(&first_faulty(says(bytes), |_| {}), 502, reason);
    }
}

// No whole body

/// The device sees a response without its end, counted once as `reason`; the next request is served on another connection.
fn cut_off_and_recovered(bytes: &'static str, closes: bool, reason: &str) {
    let fault = move |mut peer: Peer| {
        peer.reader.request().unwrap();
        peer.send(bytes);
        if !closes {
            let _ = peer.reader.request();
        }
    };
    let fleet = first_faulty(fault, |_| {});
    let mut connection = fleet.connect();
    connection.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    assert!(
        connection.try_response().is_err(),
        "{bytes:?} was taken for a whole response"
    );
    assert_eq!(failures(&fleet, reason), 1, "{bytes:?}");
    assert_eq!(fleet.connect().get("/").text(), "well");
    assert_eq!(fleet.upstream.connections(), 2);

    let fleet = first_faulty(fault, |_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let response = sender.send_request(h2::get("/")).await.unwrap();
        assert!(response.into_body().collect().await.is_err(), "{bytes:?}");
        let response = h2::ask(&mut sender, h2::get("/")).await;
        assert_eq!(response.body(), "well");
    });
}

#[test]
fn bodies_that_end_early() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsho",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\nx: y",
    ] {
        cut_off_and_recovered(bytes, true, "closed_in_body");
    }
}

#[test]
fn chunks_that_are_none() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nlonger than five\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\nshort\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\nno field\r\n\r\n",
    ] {
        cut_off_and_recovered(bytes, false, "chunk");
    }
}

// Too much

#[test]
fn bytes_behind_a_response_reach_nobody() {
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong";
    let at_once = says([&ok("right")[..], smuggled.as_bytes()].concat());
    let fleet = first_faulty(at_once, |_| {});
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/first").text(), "right");
    assert_eq!(connection.get("/second").text(), "well");
    assert_eq!(
        (failures(&fleet, "unasked"), fleet.upstream.connections()),
        (1, 2)
    );
}

#[test]
fn bytes_on_an_unused_connection_reach_nobody() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let later = move |mut peer: Peer| {
        peer.reader.request().unwrap();
        peer.send(ok("right"));
        wait.lock().unwrap().recv().unwrap();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong");
        let _ = peer.reader.request();
    };
    let fleet = first_faulty(later, |_| {});
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/first").text(), "right");
    go.send(()).unwrap();
    // Noticed without any request.
    let endpoint = fleet.upstream.address().to_string();
    expect_value(&fleet.gateway, &upstream_failure(&endpoint, "unasked"), 1);
    expect_value(&fleet.gateway, &upstream_open(&endpoint), 0);
    assert_eq!(connection.get("/second").text(), "well");
    assert_eq!(fleet.upstream.connections(), 2);
}

#[test]
fn a_body_where_there_must_be_none_is_not_taken_for_the_next_response() {
    for head in [
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n",
    ] {
        let bytes = format!("{head}\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong");
        let fleet = first_faulty(says(bytes), |_| {});
        let mut connection = fleet.connect();
        assert!(matches!(connection.get("/first").status(), 204 | 304));
        assert_eq!(connection.get("/second").text(), "well");
        assert_eq!(failures(&fleet, "unasked"), 1);
    }
}

// Early answers

#[test]
fn an_answer_before_the_end_of_the_upload_is_passed_on() {
    let early = |mut peer: Peer| {
        peer.reader.head().unwrap();
        peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\ntoo");
        let _ = peer.reader.exactly(usize::MAX);
    };
    let fleet = first_faulty(early, |_| {});
    let mut connection = fleet.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 1000000\r\n\r\nbegin"
    ));
    let response = connection.response();
    assert_eq!((response.status(), response.text()), (413, "too"));
    assert_eq!(fleet.connect().get("/").text(), "well");
    assert_eq!(
        fleet.upstream.connections(),
        2,
        "the connection of a half-sent request is not used again"
    );
}

#[test]
fn an_answer_beside_a_closed_ear_is_passed_on() {
    // It answers without reading, and resets the connection while the upload is under way.
    let closes = |mut peer: Peer| {
        peer.reader.head().unwrap();
        peer.send(
            "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\ntoo",
        );
        let mut read = 0;
        while read < 1_000_000 {
            match std::io::Read::read(&mut peer.reader.source, &mut [0; 64 * 1024]) {
                Ok(1..) => read += 1,
                _ => return,
            }
        }
    };
    let fleet = first_faulty(closes, |_| {});
    let mut connection = fleet.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 300000\r\n\r\n"
    ));
    let piece = vec![b'x'; 16 * 1024];
    for _ in 0..4 {
        let _ = connection.try_send(&piece);
    }
    assert_eq!(connection.response().status(), 413);
}

#[test]
fn requests_and_responses_run_at_the_same_time() {
    const ROUNDS: usize = 20;
    let echo = |mut peer: Peer| {
        peer.reader.head().unwrap();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..ROUNDS {
            let line = peer.reader.exactly(3 + 4 + 2).unwrap();
            peer.send(line);
        }
        peer.reader.exactly(5).unwrap();
        peer.send("0\r\n\r\n");
        let _ = peer.reader.request();
    };
    let fleet = first_faulty(echo, |_| {});
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let (give, body) = tokio::sync::mpsc::channel::<bytes::Bytes>(1);
        let request = h2::request("POST", "https://fleet.test/", "").map(|_| Received(body));
        let response = sender.send_request(request).await.unwrap();
        let mut body = response.into_body();
        for round in 0..ROUNDS {
            let piece = format!("{round:04}");
            give.send(piece.clone().into()).await.unwrap();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        drop(give);
        let rest = body.collect().await.unwrap().to_bytes();
        assert!(rest.is_empty());
    });
}

/// A body without an end.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Self::Error>>> {
        const PIECE: &[u8] = &[b'x'; 16 * 1024];
        Poll::Ready(Some(Ok(Frame::data(bytes::Bytes::from_static(PIECE)))))
    }
}

/// A body that is given piece by piece.
struct Received(tokio::sync::mpsc::Receiver<bytes::Bytes>);

impl hyper::body::Body for Received {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Self::Error>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

// A crowd

/// An upstream that holds each answer back until it is told to give one.
fn held_back() -> (Upstream, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (go, wait) = mpsc::channel();
    let (wait, asked) = (Mutex::new(wait), Arc::<AtomicUsize>::default());
    let counter = Arc::clone(&asked);
    let upstream = Upstream::by_hand(move |mut peer| {
        while peer.reader.request().is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
            if wait.lock().unwrap().recv().is_err() {
                return;
            }
            peer.send(ok("well"));
        }
    });
    (upstream, go, asked)
}

#[test]
fn requests_wait_for_a_connection_and_no_more_of_them_than_may() {
    let (upstream, go, asked) = held_back();
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.upstream = "max_connections = 1\nmax_pending = 1\nqueue_timeout = \"20s\"".into();
    });
    let get = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
    let (mut first, mut second) = (fleet.connect(), fleet.connect());
    first.send(&get);
    support::eventually("the first request", || {
        (asked.load(Ordering::SeqCst) == 1).then_some(())
    });
    second.send(&get);
    // One of the two that come now waits, whichever it is.
    let mut third = fleet.connect();
    third.send(&get);
    let endpoint = fleet.upstream.address().to_string();
    expect_value(
        &fleet.gateway,
        &upstream_failure(&endpoint, "queue_full"),
        1,
    );
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.response().text(), "well");
    let mut statuses = [second.response().status(), third.response().status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(fleet.upstream.connections(), 1);
}

#[test]
fn requests_do_not_wait_for_a_connection_for_ever() {
    let (upstream, go, asked) = held_back();
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.upstream = "max_connections = 1\nqueue_timeout = \"100ms\"".into();
    });
    let mut first = fleet.connect();
    first.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    support::eventually("the first request", || {
        (asked.load(Ordering::SeqCst) == 1).then_some(())
    });
    assert_eq!(fleet.connect().get("/").status(), 503);
    assert_eq!(failures(&fleet, "queue_timeout"), 1);
    go.send(()).unwrap();
    assert_eq!(first.response().text(), "well");
    go.send(()).unwrap();
    assert_eq!(fleet.connect().get("/").text(), "well");
}

#[test]
fn connections_end_after_so_many_requests_and_at_a_certain_age() {
    for (limit, connections) in [
        ("max_connection_requests = 2", 3),
        ("max_connection_age = \"1ms\"", 6),
        ("max_connection_age = \"1h\"", 1),
    ] {
        let fleet = Fleet::start(|setup| setup.upstream = limit.into());
        let mut connection = fleet.connect();
        for _ in 0..6 {
            assert_eq!(connection.get("/").status(), 200);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(fleet.upstream.connections(), connections, "{limit}");
    }
}
