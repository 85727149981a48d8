//! Connections that switch to WebSocket, over real sockets: what each side gets of the other's request, and that from then on
//! every byte goes through as it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::sync::mpsc::{self, Receiver};

use gateway::trust::DEFAULT;
use gateway::trust::denylist::Order;
use support::counters::{expect_value, request};
use support::message::Message;
use support::upstream::{Peer, ok};
use support::{Connection, Fleet, Setup, Upstream};

const HOST: &str = "host: fleet.test\r\n";
const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn ask() -> String {
    format!(
        "GET /lns HTTP/1.1\r\n{HOST}connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n{KEY}\r\n"
    )
}

/// A gateway before an upstream that reads a request and leaves the rest to the test.
fn fleet(change: impl FnOnce(&mut Setup)) -> (Fleet, Receiver<(Peer, Message)>) {
    let (hand, peers) = mpsc::channel();
    let upstream = Upstream::by_hand(move |mut peer| {
        if let Ok(message) = peer.reader.request() {
            hand.send((peer, message)).unwrap();
        }
    });
    (Fleet::with_upstream(upstream, change), peers)
}

/// A device and an upstream that have switched.
fn switched(fleet: &Fleet, peers: &Receiver<(Peer, Message)>) -> (Connection, Peer) {
    let mut device = fleet.connect();
    device.send(ask());
    let (mut peer, _) = peers.recv().unwrap();
    peer.send(SWITCHING);
    assert_eq!(device.response_to_head().status(), 101);
    (device, peer)
}

fn ended(outcome: &str) -> String {
    format!("gateway_tunnels_total{{listener=\"devices\",outcome=\"{outcome}\"}}")
}

#[test]
fn both_sides_get_the_others_handshake_and_the_identity_goes_along() {
    let (fleet, peers) = fleet(|_| {});
    let mut device = fleet.connect();
    device.send(ask().replace(
        "Upgrade\r\nupgrade",
        "Upgrade, X-Device-Id\r\nx-device-id: forged\r\nupgrade",
    ));
    let (mut peer, message) = peers.recv().unwrap();
    assert_eq!(message.first_line(), "GET /lns HTTP/1.1");
    assert_eq!(message.field("connection"), "upgrade");
    assert_eq!(message.field("upgrade"), "websocket");
    assert_eq!(
        message.field("sec-websocket-key"),
        "dGhlIHNhbXBsZSBub25jZQ=="
    );
    assert_eq!(message.field("x-device-id"), "device-000001");
    peer.send(SWITCHING);
    let response = device.response_to_head();
    assert_eq!(response.status(), 101);
    assert_eq!(response.field("upgrade"), "websocket");
    assert_eq!(response.field("connection"), "upgrade");
    assert_eq!(
        response.field("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    expect_value(&fleet.gateway, &request("1xx"), 1);
    expect_value(
        &fleet.gateway,
        "gateway_tunnels_open{listener=\"devices\"}",
        1,
    );
}

#[test]
fn every_byte_after_the_switch_goes_through_as_it_is() {
    let (fleet, peers) = fleet(|_| {});
    let (mut device, mut peer) = switched(&fleet, &peers);
    // Requests to somebody who does not know that the connection has switched.
    let hidden = format!("GET /hidden HTTP/1.1\r\n{HOST}\r\n");
    device.send(&hidden);
    assert_eq!(
        peer.reader.exactly(hidden.len()).unwrap(),
        hidden.as_bytes()
    );
    let large: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number >> 3) as u8)
        .collect();
    let sent = large.clone();
    let writer = std::thread::spawn(move || {
        peer.send(&sent);
        peer
    });
    assert!(device.exactly(large.len()) == large);
    let mut peer = writer.join().unwrap();
    device.send(&large);
    assert!(peer.reader.exactly(large.len()).unwrap() == large);
    device.close();
    drop(peer);
    expect_value(&fleet.gateway, &ended("closed"), 1);
}

#[test]
fn what_comes_together_with_the_handshake_is_not_lost() {
    let (fleet, peers) = fleet(|_| {});
    let mut device = fleet.connect();
    device.send(ask() + "early from the device");
    let (mut peer, _) = peers.recv().unwrap();
    peer.send(SWITCHING.to_owned() + "early from the upstream");
    assert_eq!(device.response_to_head().status(), 101);
    assert_eq!(device.exactly(23), b"early from the upstream");
    assert_eq!(peer.reader.exactly(21).unwrap(), b"early from the device");
}

#[test]
fn an_upstream_that_declines_answers_like_any_other() {
    let upstream = Upstream::answering(|received| match received.message.fields("upgrade")[..] {
        [_] => {
            b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\nupgrade: x/1\r\n\r\nno".to_vec()
        }
        _ => ok("ok"),
    });
    let fleet = Fleet::with_upstream(upstream, |_| {});
    let mut device = fleet.connect();
    let response = device.ask(&ask());
    assert_eq!((response.status(), response.text()), (426, "no"));
    assert!(response.fields("upgrade").is_empty());
    assert_eq!(device.get("/").text(), "ok");
    expect_value(
        &fleet.gateway,
        "gateway_tunnels_open{listener=\"devices\"}",
        0,
    );
}

#[test]
fn nothing_else_is_switched_to() {
    let (fleet, peers) = fleet(|_| {});
    let others = [
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "connection: upgrade\r\nupgrade: websocket, h2c\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n",
        "connection: keep-alive\r\nupgrade: websocket\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n",
    ];
    for fields in others {
        let mut device = fleet.connect();
        device.send(format!("GET /lns HTTP/1.1\r\n{HOST}{fields}{KEY}\r\n"));
        let (mut peer, message) = peers.recv().unwrap();
        assert!(message.fields("upgrade").is_empty(), "{fields:?}");
        assert!(message.fields("connection").is_empty(), "{fields:?}");
        // An upstream that switches all the same is not followed.
        peer.send(SWITCHING);
        assert_eq!(device.response().status(), 502, "{fields:?}");
    }
}

#[test]
fn an_upstream_that_switches_to_something_else_is_not_followed() {
    let (fleet, peers) = fleet(|_| {});
    let mut device = fleet.connect();
    device.send(ask());
    let (mut peer, _) = peers.recv().unwrap();
    peer.send(SWITCHING.replace("websocket", "h2c"));
    assert_eq!(device.response().status(), 502);
}

#[test]
fn a_reload_cuts_no_connection_that_has_switched() {
    let (mut fleet, peers) = fleet(|_| {});
    let (mut device, mut peer) = switched(&fleet, &peers);
    let mut setup = Setup::new(fleet.upstream.address());
    setup.path_prefix = "/elsewhere".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    peer.send("still there");
    assert_eq!(device.exactly(11), b"still there");
    device.send("here too");
    assert_eq!(peer.reader.exactly(8).unwrap(), b"here too");
}

#[test]
fn revocation_reaches_a_connection_that_has_switched() {
    let (fleet, peers) = fleet(|_| {});
    let (mut device, _peer) = switched(&fleet, &peers);
    let order = Order::Device {
        trust_domain: DEFAULT.into(),
        device_id: "device-000001".into(),
    };
    fleet.gateway.server().revoke(order).unwrap();
    device.wait_for_end();
    expect_value(&fleet.gateway, &ended("denied"), 1);
}

#[test]
fn a_connection_that_has_switched_may_be_quiet_for_longer_than_another() {
    let (fleet, peers) = fleet(|setup| {
        setup.upstream = "response_timeout = \"100ms\"".into();
        setup.more = "[timeouts]\nidle = \"100ms\"\nwebsocket_idle = \"700ms\"".into();
    });
    let (mut device, _peer) = switched(&fleet, &peers);
    let mut other = fleet.connect();
    other.wait_for_end();
    expect_value(
        &fleet.gateway,
        "gateway_tunnels_open{listener=\"devices\"}",
        1,
    );
    device.wait_for_end();
    expect_value(&fleet.gateway, &ended("idle"), 1);
}

#[test]
fn a_drain_lets_it_last_for_the_grace_period() {
    let (fleet, peers) = fleet(|_| {});
    let (mut device, mut peer) = switched(&fleet, &peers);
    fleet.gateway.server().drain();
    device.send("the last word");
    assert_eq!(peer.reader.exactly(13).unwrap(), b"the last word");
    device.close();
    drop(peer);
    assert!(fleet.gateway.join().is_ok());
}
