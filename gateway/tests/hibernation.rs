//! Connections on which nothing is asked: they hibernate, and wake up with nothing lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use support::counters::expect_value;
use support::device::{Connection, Device, Options};
use support::upstream::ok;
use support::{Fleet, Upstream, h2};

const HOST: &str = "host: fleet.test\r\n";

const HIBERNATING: &str = "gateway_connections_hibernating{listener=\"devices\"}";

/// Waits until `count` connections hibernate.
fn all_rest(fleet: &Fleet, count: u64) {
    expect_value(&fleet.gateway, HIBERNATING, count);
}

/// Runs `test` for each case at once, because each of them waits for seconds.
fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

#[test]
fn a_hibernating_connection_serves_the_next_request() {
    let fleet = Fleet::start(|_| {});
    let credential = fleet.pki.device("device-000001");
    for options in [Options::tls13(), Options::tls12()] {
        for asks_first in [false, true] {
            let device = Device::with(&fleet.pki, Some(&credential), options.clone());
            let mut connection = device.connect(fleet.gateway.address());
            if asks_first {
                assert_eq!(connection.get("/").status(), 200);
            }
            all_rest(&fleet, 1);
            assert_eq!(connection.get("/").status(), 200);
            assert_eq!(connection.get("/").status(), 200);
            all_rest(&fleet, 1);
        }
    }
}

#[test]
fn a_head_that_is_split_across_the_moment_of_hibernation_is_read_whole() {
    let fleet = Fleet::with_upstream(
        Upstream::answering(|received| ok(received.message.target())),
        |_| {},
    );
    // Buffers are released a quarter of a second after the first answer.
    side_by_side([150, 230, 240, 250, 260, 270, 350, 600], |pause| {
        let mut connection = fleet.connect();
        connection.send(format!("GET /first HTTP/1.1\r\n{HOST}\r\nGET /sec"));
        assert_eq!(connection.response().text(), "/first");
        std::thread::sleep(Duration::from_millis(pause));
        connection.send(format!("ond HTTP/1.1\r\n{HOST}\r\n"));
        assert_eq!(connection.response().text(), "/second", "after {pause} ms");
    });
}

#[test]
fn a_request_at_the_moment_of_hibernation_is_not_lost() {
    let fleet = Fleet::start(|_| {});
    side_by_side((240..260).step_by(2), |pause| {
        let mut connection = fleet.connect();
        for _ in 0..2 {
            assert_eq!(connection.get("/").status(), 200);
            std::thread::sleep(Duration::from_millis(pause));
        }
        assert_eq!(connection.get("/").status(), 200);
    });
}

#[test]
fn a_record_that_arrives_in_part_while_hibernating_is_read_whole() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/").status(), 200);
    all_rest(&fleet, 1);
    let mut record = Vec::new();
    connection
        .tls()
        .writer()
        .write_all(format!("GET /x HTTP/1.1\r\n{HOST}\r\n").as_bytes())
        .unwrap();
    connection.tls().write_tls(&mut record).unwrap();
    let mut tcp = connection.tcp().try_clone().unwrap();
    tcp.write_all(&record[..20]).unwrap();
    // Not a byte of a request yet.
    all_rest(&fleet, 1);
    tcp.write_all(&record[20..]).unwrap();
    assert_eq!(connection.response().status(), 200);
}

#[test]
fn a_device_that_closes_while_hibernating_is_let_go() {
    side_by_side(0..3, |ending| {
        let fleet = Fleet::start(|_| {});
        let mut connection = fleet.connect();
        assert_eq!(connection.get("/").status(), 200);
        all_rest(&fleet, 1);
        match ending {
            0 => connection.close(),
            1 => connection.reset(),
            _ => {
                connection.half_close();
                assert_eq!(connection.rest(), b"", "answered with a close_notify");
            }
        }
        expect_value(
            &fleet.gateway,
            "gateway_connections_open{listener=\"devices\"}",
            0,
        );
    });
}

#[test]
fn keys_change_while_a_connection_hibernates() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    for _ in 0..3 {
        all_rest(&fleet, 1);
        // Asks the gateway to change its own too, which it says with its next record.
        connection.tls().refresh_traffic_keys().unwrap();
        assert_eq!(connection.get("/").status(), 200);
    }
}

#[test]
fn a_request_that_takes_long_keeps_nobody_awake_afterwards() {
    let upstream = Upstream::answering(|_| {
        std::thread::sleep(Duration::from_millis(400));
        ok("at last")
    });
    let fleet = Fleet::with_upstream(upstream, |_| {});
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/").text(), "at last");
    all_rest(&fleet, 1);
}

#[test]
fn many_connections_hibernate_and_all_wake_up() {
    let fleet = Fleet::start(|setup| setup.workers = 2);
    let device = fleet.device();
    let connect = |_| device.connect(fleet.gateway.address());
    let mut connections: Vec<Connection> = (0..100).map(connect).collect();
    for round in 0..2 {
        for connection in &mut connections {
            assert_eq!(connection.get("/").status(), 200, "round {round}");
        }
        all_rest(&fleet, 100);
    }
}

// HTTP/2

fn h2_device(fleet: &Fleet) -> Device {
    let credential = fleet.pki.device("device-000001");
    Device::with(&fleet.pki, Some(&credential), Options::h2())
}

/// Waits until the one connection hibernates, while the device goes on.
async fn rests(fleet: &Fleet) {
    while fleet.gateway.counters().get(HIBERNATING) != 1 {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

async fn ask(device: &mut SendRequest<Full<Bytes>>, path: &str, body: &'static str) -> Bytes {
    let request = h2::request("POST", &format!("https://fleet.test{path}"), body);
    let response = h2::ask(device, request).await;
    assert_eq!(response.status(), 200);
    response.into_body()
}

#[test]
fn an_http2_connection_hibernates_and_serves_the_next_request() {
    let upstream = Upstream::answering(|received| ok(received.message.target()));
    let fleet = Fleet::with_upstream(upstream, |_| {});
    h2::run(async {
        let (mut device, _end) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        rests(&fleet).await;
        for round in 0..3 {
            for number in 0..2 {
                let path = format!("/{round}/{number}");
                assert_eq!(ask(&mut device, &path, "").await, path);
            }
            rests(&fleet).await;
        }
    });
}

#[test]
fn windows_of_an_http2_connection_are_as_large_after_every_sleep() {
    // Both together are more than any window, were it not opened again.
    let upstream = Upstream::answering(|received| {
        assert_eq!(received.message.body.len(), 150_000);
        ok(&"x".repeat(2_000_000))
    });
    let fleet = Fleet::with_upstream(upstream, |_| {});
    let body: &'static str = Box::leak("y".repeat(150_000).into_boxed_str());
    h2::run(async {
        let (mut device, _end) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        for _ in 0..4 {
            assert_eq!(ask(&mut device, "/", body).await.len(), 2_000_000);
            rests(&fleet).await;
        }
    });
}

#[test]
fn a_drain_says_goaway_to_a_hibernating_http2_connection() {
    let fleet = Fleet::start(|_| {});
    h2::run(async {
        let (mut device, end) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        ask(&mut device, "/", "").await;
        rests(&fleet).await;
        fleet.gateway.server().drain();
        end.await.unwrap().expect("closed in order");
    });
    fleet.gateway.join().unwrap();
}

#[test]
fn an_http2_connection_that_hibernates_too_long_is_told_goaway() {
    let fleet = Fleet::start(|setup| {
        setup.upstream = "response_timeout = \"1s\"\n".into();
        setup.more = "[timeouts]\nidle = \"1500ms\"\nrequest_head = \"1s\"\n".into();
    });
    let mut device = Raw::connect(&fleet);
    device.ask(1);
    all_rest(&fleet, 1);
    let (kind, _, _, payload) = device.frame();
    assert_eq!((kind, &payload[4..]), (GOAWAY, &[0; 4][..]));
    expect_value(
        &fleet.gateway,
        "gateway_timeouts_total{deadline=\"idle\"}",
        1,
    );
    device.0.wait_for_end();
}

#[test]
fn a_device_that_closes_its_hibernating_http2_connection_is_let_go() {
    let fleet = Fleet::start(|_| {});
    for ending in [Connection::close, Connection::reset] {
        let mut device = Raw::connect(&fleet);
        device.ask(1);
        all_rest(&fleet, 1);
        ending(device.0);
        expect_value(
            &fleet.gateway,
            "gateway_connections_open{listener=\"devices\"}",
            0,
        );
    }
}

/// A device that speaks HTTP/2 frame by frame, so that it sees all that the gateway says.
struct Raw(Connection);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET / HTTP/2` to fleet.test, without anything for a table (RFC 7541, 6).
const GET: &[u8] = b"\x82\x87\x84\x01\x0afleet.test";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [a, b, c, kind, flags];
    [&head, &stream.to_be_bytes()[..], payload].concat()
}

impl Raw {
    /// A connection on which both sides have said what they begin with.
    fn connect(fleet: &Fleet) -> Self {
        let mut device = Self(h2_device(fleet).connect(fleet.gateway.address()));
        let greeting = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &[]),
            frame(WINDOW_UPDATE, 0, 0, &100_000u32.to_be_bytes()),
        ];
        device.0.send(greeting.concat());
        let mut said = [(); 3].map(|()| {
            let (kind, flags, stream, _) = device.frame();
            (kind, flags, stream)
        });
        said.sort_unstable();
        let expected = [(SETTINGS, 0, 0), (SETTINGS, ACK, 0), (WINDOW_UPDATE, 0, 0)];
        assert_eq!(said, expected);
        device.0.send(frame(SETTINGS, ACK, 0, &[]));
        device
    }

    fn frame(&mut self) -> (u8, u8, u32, Vec<u8>) {
        let head = self.0.exactly(9);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.0.exactly(length as usize);
        (head[3], head[4], stream, payload)
    }

    /// Asks on `stream`, and expects an answer and nothing else.
    fn ask(&mut self, stream: u32) {
        self.0
            .send(frame(HEADERS, END_HEADERS | END_STREAM, stream, GET));
        self.expect_answer(stream);
    }

    fn expect_answer(&mut self, on: u32) {
        let (kind, flags, stream, _) = self.frame();
        assert_eq!((kind, flags, stream), (HEADERS, END_HEADERS, on));
        loop {
            let (kind, flags, stream, _) = self.frame();
            assert_eq!((kind, stream), (DATA, on));
            if flags & END_STREAM != 0 {
                return;
            }
        }
    }
}

#[test]
fn a_device_sees_nothing_of_its_connection_being_made_again() {
    let fleet = Fleet::start(|_| {});
    let mut device = Raw::connect(&fleet);
    device.ask(1);
    all_rest(&fleet, 1);
    for number in 0..3 {
        device.0.send(frame(PING, 0, 0, &[number; 8]));
        assert_eq!(device.frame(), (PING, ACK, 0, vec![number; 8]));
        all_rest(&fleet, 1);
    }
    device.ask(3);
}

#[test]
fn what_concerns_a_stream_from_before_a_sleep_is_passed_over() {
    let fleet = Fleet::start(|_| {});
    let mut device = Raw::connect(&fleet);
    device.ask(5);
    all_rest(&fleet, 1);
    let late = [
        frame(WINDOW_UPDATE, 0, 5, &[0, 0, 0, 9]),
        frame(RST_STREAM, 0, 5, &[0, 0, 0, 8]),
        frame(HEADERS, END_HEADERS | END_STREAM, 7, GET),
    ];
    device.0.send(late.concat());
    device.expect_answer(7);
    all_rest(&fleet, 1);
    // A number that was used cannot be used again, and one that was passed over neither.
    device
        .0
        .send(frame(HEADERS, END_HEADERS | END_STREAM, 3, GET));
    device.ask(9);
}

#[test]
fn frames_that_are_cut_across_a_sleep_are_read_whole() {
    let fleet = Fleet::start(|_| {});
    let mut device = Raw::connect(&fleet);
    device.ask(1);
    for (stream, cut) in [(3, 1), (5, 8), (7, 9), (9, 12)] {
        all_rest(&fleet, 1);
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        device.0.send(&request[..cut]);
        // Awake, it stays so: a frame is on its way.
        expect_value(&fleet.gateway, HIBERNATING, 0);
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(fleet.gateway.counters().get(HIBERNATING), 0);
        device.0.send(&request[cut..]);
        device.expect_answer(stream);
    }
}

#[test]
fn a_connection_with_something_unacknowledged_stays_awake_until_it_is() {
    let fleet = Fleet::start(|_| {});
    let mut device = Raw(h2_device(&fleet).connect(fleet.gateway.address()));
    let greeting = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
    ];
    device.0.send(greeting.concat());
    for _ in 0..3 {
        device.frame();
    }
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(fleet.gateway.counters().get(HIBERNATING), 0);
    device.0.send(frame(SETTINGS, ACK, 0, &[]));
    all_rest(&fleet, 1);
    device.ask(1);
}
