//! Devices that keep an HTTP/2 connection busy for nothing, frame by frame over real sockets. Each flood ends its own
//! connection, within bounds, and no other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::time::Duration;

use support::counters::{expect_value, timeout};
use support::{Connection, Device, Fleet, Options, PATIENCE, Upstream, eventually};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET /` for `fleet.test`, or `POST /`, as a header block (RFC 7541).
fn head(method_index: u8) -> Vec<u8> {
    let mut block = vec![0x80 | method_index, 0x80 | 4, 0x80 | 7, 0x41, 10];
    block.extend(b"fleet.test");
    block
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(2))
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head(3))
}

/// A gateway that ends idle connections late, in front of an upstream that never answers.
fn silent_upstream() -> Fleet {
    let upstream = Upstream::by_hand(|mut peer| while peer.reader.exactly(1).is_ok() {});
    Fleet::with_upstream(upstream, |_| {})
}

/// A device that has said hello in HTTP/2.
fn connect(fleet: &Fleet, settings: &[u8]) -> Connection {
    let credential = fleet.pki.device("device-000007");
    let device = Device::with(&fleet.pki, Some(&credential), Options::h2());
    let mut connection = device.connect(fleet.gateway.address());
    connection.send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
    connection
}

/// Sends `frames` (with the stream that each is to use) until the gateway ends the connection, or all are sent; then waits
/// for the end. How many went out.
fn flood(connection: &mut Connection, count: u32, frames: impl Fn(u32) -> Vec<u8>) -> u32 {
    for number in 0..count {
        if connection.try_send(frames(2 * number + 1)).is_err() {
            return number;
        }
    }
    connection.wait_for_end();
    count
}

fn floods(kind: &str) -> String {
    format!("gateway_http2_floods_total{{kind=\"{kind}\"}}")
}

/// Whoever else is there is served as before.
fn others_are_served(fleet: &Fleet) {
    let mut other = fleet.device().connect(fleet.gateway.address());
    assert_eq!(other.get("/route").status(), 200);
}

#[test]
fn requests_that_are_reset_at_once() {
    let fleet = silent_upstream();
    let mut connection = connect(&fleet, &[]);
    let sent = flood(&mut connection, 100_000, |stream| {
        [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert!(sent < 100_000, "the connection was ended on the way");
    // h2 itself may have ended it first, where the resets overtook their requests.
    assert!(fleet.upstream.connections() < 1000);
}

#[test]
fn requests_that_make_the_gateway_reset_them() {
    let fleet = silent_upstream();
    let mut connection = connect(&fleet, &[]);
    // A window update of nothing is an error of the stream (RFC 9113, 6.9): the gateway has to reset it.
    let sent = flood(&mut connection, 100_000, |stream| {
        [get(stream), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    });
    assert!(sent < 100_000, "the connection was ended on the way");
    assert!(fleet.upstream.connections() < 2000);
}

#[test]
fn a_header_block_without_end() {
    let fleet = silent_upstream();
    let mut connection = connect(&fleet, &[]);
    connection.send(frame(HEADERS, 0, 1, &head(2)));
    let field = [&[0x00, 1, b'a', 100][..], &[b'x'; 100]].concat();
    let sent = flood(&mut connection, 1_000_000, |_| {
        frame(CONTINUATION, 0, 1, &field)
    });
    assert!(sent < 1_000_000, "the connection was ended on the way");
    assert_eq!(fleet.upstream.connections(), 0);
}

#[test]
fn settings_and_pings_without_end() {
    let ping = |_| frame(PING, 0, 0, &[7; 8]);
    let settings = |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    let empty_settings = |_| frame(SETTINGS, 0, 0, &[]);
    let window = |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let kinds: [&dyn Fn(u32) -> Vec<u8>; 4] = [&ping, &settings, &empty_settings, &window];
    for frames in kinds {
        let fleet = silent_upstream();
        let mut connection = connect(&fleet, &[]);
        // Many at once, as a flood comes. The answers are not read before the end, but they are there to be read.
        let many = |stream| (0..1000).flat_map(|_| frames(stream)).collect();
        connection.allow(Duration::from_secs(5));
        let sent = flood(&mut connection, 10_000, many);
        assert!(sent < 10_000, "the connection was ended on the way");
        expect_value(&fleet.gateway, &floods("overhead"), 1);
    }
}

#[test]
fn data_frames_without_data() {
    let fleet = silent_upstream();
    let mut connection = connect(&fleet, &[]);
    connection.send(post(1));
    let many = |_| (0..1000).flat_map(|_| frame(DATA, 0, 1, &[])).collect();
    let sent = flood(&mut connection, 10_000, many);
    assert!(sent < 10_000, "the connection was ended on the way");
}

#[test]
fn windows_that_stay_shut_are_not_kept_open_by_pings() {
    let large = vec![b'x'; 1 << 20];
    let upstream = Upstream::answering(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", large.len());
        [head.as_bytes(), &large].concat()
    });
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.upstream = "response_timeout = \"600ms\"".into();
        setup.more = "[timeouts]\nidle = \"600ms\"".into();
    });
    // SETTINGS_INITIAL_WINDOW_SIZE of nothing (RFC 9113, 6.9.2).
    let mut connection = connect(&fleet, &[0, 4, 0, 0, 0, 0]);
    for stream in [1, 3, 5] {
        connection.send(get(stream));
    }
    connection.allow(Duration::from_millis(20));
    let deadline = gateway::clock::now() + PATIENCE;
    while connection.try_send(frame(PING, 0, 0, &[7; 8])).is_ok() {
        assert!(gateway::clock::now() < deadline, "pings keep it open");
        // Reads what is there, and waits a little for more: a ping now and then is no flood.
        while matches!(connection.try_some(), Ok(count) if count > 0) {}
    }
    expect_value(&fleet.gateway, &timeout("stalled"), 1);
}

#[test]
fn a_flood_ends_no_other_connection() {
    let fleet = Fleet::start(|setup| setup.path_prefix = "/route".into());
    let mut good = fleet.device().connect(fleet.gateway.address());
    assert_eq!(good.get("/route").status(), 200);
    let mut connection = connect(&fleet, &[]);
    let many = |_| (0..1000).flat_map(|_| frame(PING, 0, 0, &[7; 8])).collect();
    flood(&mut connection, 10_000, many);
    assert_eq!(good.get("/route").status(), 200);
    others_are_served(&fleet);
}

#[test]
fn a_device_that_pings_and_asks_is_no_flood() {
    let fleet = Fleet::start(|_| {});
    let mut connection = connect(&fleet, &[]);
    for number in 0..1000 {
        connection.send([frame(PING, 0, 0, &[7; 8]), get(2 * number + 1)].concat());
        if (number + 1) % 50 == 0 {
            let asked = usize::try_from(number).unwrap() + 1;
            eventually("the requests at the upstream", || {
                (fleet.upstream.received().len() == asked).then_some(())
            });
        }
    }
    expect_value(&fleet.gateway, &support::counters::request("2xx"), 1000);
    expect_value(&fleet.gateway, &floods("overhead"), 0);
    expect_value(&fleet.gateway, &floods("resets"), 0);
}
