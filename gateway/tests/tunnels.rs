//! Listeners whose protocol is TCP, over real sockets: authorized devices, bytes both ways, and the PROXY header.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use gateway::trust::DEFAULT;
use gateway::trust::denylist::Order;
use rustls::{AlertDescription, HandshakeKind};
use support::counters::expect_value;
use support::upstream::{Peer, refusing_address};
use support::{Connection, Device, Fleet, Gateway, Options, Pki, Setup, Upstream};

/// A tunnel's listener beside the one of every test, with these further keys.
fn tcp(keys: &str) -> String {
    format!(
        "[[listeners]]\nname = \"broker\"\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
         upstream = \"telemetry\"\n{keys}\n"
    )
}

fn broker(gateway: &Gateway) -> SocketAddr {
    gateway.server().listeners()[1].1
}

/// A gateway with a tunnel to an upstream that hands its connections to the test.
fn tunnel(keys: &str) -> (Fleet, Receiver<Peer>) {
    let (hand, peers) = mpsc::channel();
    let upstream = Upstream::by_hand(move |peer| hand.send(peer).unwrap());
    let fleet = Fleet::with_upstream(upstream, |setup| setup.more = tcp(keys));
    (fleet, peers)
}

fn ended(outcome: &str) -> String {
    format!("gateway_tunnels_total{{listener=\"broker\",outcome=\"{outcome}\"}}")
}

fn moved(direction: &str) -> String {
    format!("gateway_tunnel_bytes_total{{direction=\"{direction}\",listener=\"broker\"}}")
}

/// Bytes that no shift or repetition leaves as they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[test]
fn bytes_go_both_ways_as_they_are() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    device.send("CONNECT");
    let mut peer = peers.recv().unwrap();
    assert_eq!(peer.reader.exactly(7).unwrap(), b"CONNECT");
    peer.send("CONNACK");
    assert_eq!(device.exactly(7), b"CONNACK");
    expect_value(
        &fleet.gateway,
        "gateway_tunnels_open{listener=\"broker\"}",
        1,
    );
}

#[test]
fn an_upstream_may_speak_first() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    peers.recv().unwrap().send("220 ready");
    assert_eq!(device.exactly(9), b"220 ready");
}

#[test]
fn megabytes_both_ways_at_once_are_not_mixed_up() {
    const LENGTH: usize = 3_000_000;
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    let upstream = std::thread::spawn(move || {
        let mut peer = peers.recv().unwrap();
        let mut writing = peer.tcp().try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            writing.write_all(&pattern(LENGTH)).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let received = peer.reader.exactly(LENGTH).unwrap();
        writer.join().unwrap();
        received
    });
    // The device writes and reads in turns, so the tunnel must hold back whichever side is not read.
    let (sent, mut received) = (pattern(LENGTH), Vec::new());
    for piece in sent.chunks(50_000) {
        device.send(piece);
        received.extend(device.exactly(piece.len()));
    }
    device.half_close();
    assert!(device.rest().is_empty());
    assert!(upstream.join().unwrap() == sent && received == sent);
    expect_value(&fleet.gateway, &ended("closed"), 1);
    expect_value(&fleet.gateway, &moved("to_upstream"), LENGTH as u64);
    expect_value(&fleet.gateway, &moved("to_device"), LENGTH as u64);
}

#[test]
fn a_side_that_is_done_can_still_listen() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    device.send("all");
    device.half_close();
    let mut peer = peers.recv().unwrap();
    assert_eq!(peer.reader.exactly(3).unwrap(), b"all");
    let mut rest = Vec::new();
    assert_eq!(peer.reader.source.read_to_end(&mut rest).unwrap(), 0);
    peer.send("the answer");
    drop(peer);
    assert_eq!(device.rest(), b"the answer");
    expect_value(&fleet.gateway, &ended("closed"), 1);
}

#[test]
fn an_upstream_that_is_done_can_still_listen() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    let mut peer = peers.recv().unwrap();
    peer.tcp().shutdown(Shutdown::Write).unwrap();
    assert!(device.rest().is_empty());
    device.send("later");
    assert_eq!(peer.reader.exactly(5).unwrap(), b"later");
}

#[test]
fn a_break_is_not_passed_on_as_an_end() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    device.send("x");
    let mut peer = peers.recv().unwrap();
    peer.reader.exactly(1).unwrap();
    peer.reset();
    // Without close_notify the device knows that something is missing.
    let kind = device.error().kind();
    assert!(matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    ));
    expect_value(&fleet.gateway, &ended("upstream_broke"), 1);
}

#[test]
fn a_device_that_vanishes_takes_its_tunnel_along() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    device.send("x");
    let mut peer = peers.recv().unwrap();
    peer.reader.exactly(1).unwrap();
    device.reset();
    assert!(peer.reader.exactly(1).is_err());
    expect_value(&fleet.gateway, &ended("device_broke"), 1);
    expect_value(
        &fleet.gateway,
        "gateway_tunnels_open{listener=\"broker\"}",
        0,
    );
}

#[test]
fn an_upstream_that_is_not_there_is_counted() {
    let pki = Pki::new();
    let mut setup = Setup::new(refusing_address());
    setup.more = tcp("");
    let gateway = Gateway::start(&pki, &setup);
    let device = Device::new(&pki, Some(&pki.device("device-000001")));
    device.connect(broker(&gateway)).wait_for_end();
    expect_value(&gateway, &ended("upstream_unreachable"), 1);
}

#[test]
fn a_tunnel_in_which_nothing_moves_ends() {
    let (fleet, peers) = tunnel("idle_timeout = \"200ms\"");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    let peer = peers.recv().unwrap();
    device.wait_for_end();
    drop(peer);
    expect_value(&fleet.gateway, &ended("idle"), 1);
}

#[test]
fn revocation_reaches_an_open_tunnel() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    let _peer = peers.recv().unwrap();
    let order = Order::Device {
        trust_domain: DEFAULT.into(),
        device_id: "device-000001".into(),
    };
    fleet.gateway.server().revoke(order).unwrap();
    device.wait_for_end();
    expect_value(&fleet.gateway, &ended("denied"), 1);
    let again = fleet.device();
    let alert = again.alert(broker(&fleet.gateway));
    assert_eq!(alert, AlertDescription::CertificateRevoked);
}

#[test]
fn a_reload_does_not_cut_a_tunnel() {
    let (mut fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    let mut peer = peers.recv().unwrap();
    let mut setup = Setup::new(fleet.upstream.address());
    setup.more = tcp("");
    setup.path_prefix = "/elsewhere".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    device.send("still here");
    assert_eq!(peer.reader.exactly(10).unwrap(), b"still here");
}

#[test]
fn only_a_certificate_opens_a_tunnel_unless_the_listener_says_otherwise() {
    for (keys, open) in [("", false), ("allow_anonymous = true", true)] {
        let (hand, peers) = mpsc::channel();
        let upstream = Upstream::by_hand(move |peer| hand.send(peer).unwrap());
        let fleet = Fleet::with_upstream(upstream, |setup| {
            setup.trust = "client_auth = \"optional\"".into();
            setup.more = tcp(keys);
        });
        let nobody = Device::new(&fleet.pki, None);
        let mut connection = nobody.connect(broker(&fleet.gateway));
        if open {
            connection.send("x");
            assert_eq!(peers.recv().unwrap().reader.exactly(1).unwrap(), b"x");
        } else {
            connection.wait_for_end();
            expect_value(
                &fleet.gateway,
                "gateway_denied_total{reason=\"no_device\"}",
                1,
            );
            assert!(peers.try_recv().is_err(), "nothing reached the upstream");
        }
    }
}

#[test]
fn alpn_is_checked_where_the_listener_names_protocols() {
    let (fleet, peers) = tunnel("alpn = [\"mqtt\"]");
    let credential = fleet.pki.device("device-000001");
    let offering = |alpn: &[&str]| {
        let options = Options {
            alpn: alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..Options::default()
        };
        Device::with(&fleet.pki, Some(&credential), options)
    };
    for alpn in [&["x-other", "mqtt"][..], &[]] {
        let mut device = offering(alpn).connect(broker(&fleet.gateway));
        device.send("x");
        assert_eq!(peers.recv().unwrap().reader.exactly(1).unwrap(), b"x");
    }
    let alert = offering(&["h2"]).alert(broker(&fleet.gateway));
    assert_eq!(alert, AlertDescription::NoApplicationProtocol);
}

/// The PROXY header at the front of what reached the upstream: the bytes, and the first that follow them.
fn proxy_header(peer: &mut Peer) -> Vec<u8> {
    let mut header = peer.reader.exactly(16).unwrap();
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    header.extend(peer.reader.exactly(length).unwrap());
    header
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn said_after_connecting(
    device: &Device,
    fleet: &Fleet,
    peers: &Receiver<Peer>,
) -> (Vec<u8>, HandshakeKind) {
    let mut connection: Connection = device.connect(broker(&fleet.gateway));
    connection.send("\r\n\r\n\0\r\nQUIT\n forged");
    let mut peer = peers.recv().unwrap();
    let header = proxy_header(&mut peer);
    let after = peer.reader.exactly(19).unwrap();
    assert_eq!(
        after, b"\r\n\r\n\0\r\nQUIT\n forged",
        "only what the gateway says comes first"
    );
    peer.send("ok");
    assert_eq!(connection.exactly(2), b"ok");
    let kind = connection.kind();
    let source = connection.tcp().local_addr().unwrap().port().to_be_bytes();
    assert_eq!(header[24..26], source);
    connection.close();
    (header, kind)
}

#[test]
fn the_upstream_learns_who_it_is_on_full_and_resumed_connections() {
    let (fleet, peers) = tunnel("proxy_protocol = \"v2\"");
    let device = fleet.device();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (header, kind) = said_after_connecting(&device, &fleet, &peers);
        assert_eq!(kind, expected);
        let presented = if kind == HandshakeKind::Full {
            0x07
        } else {
            0x05
        };
        assert!(contains(&header, &[presented, 0, 0, 0, 0, 0x21]));
        assert!(
            contains(&header, b"\x22\x00\x0ddevice-000001"),
            "the common name"
        );
        assert!(
            contains(&header, b"\xe0\x00\x0ddevice-000001"),
            "the device id"
        );
        assert!(
            contains(&header, b"\x02\x00\x0cgateway.test"),
            "the server name"
        );
        assert!(contains(&header, b"TLSv1.3") && contains(&header, b"TLS_AES_128_GCM_SHA256"));
        assert!(header.len() < 300, "no certificate unless asked for");
    }
}

#[test]
fn the_certificate_goes_along_where_it_is_asked_for() {
    let (fleet, peers) = tunnel("proxy_protocol = \"v2\"\nproxy_protocol_certificate = true");
    let (header, _) = said_after_connecting(&fleet.device(), &fleet, &peers);
    let credential = fleet.pki.device("device-000001");
    // Issued anew with the same name: the certificates differ, their subjects do not.
    assert!(header.len() > credential.chain[0].len());
    assert!(contains(&header, &[0x28]));
}

#[test]
fn a_drain_lets_a_tunnel_last_for_the_grace_period() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    let mut peer = peers.recv().unwrap();
    fleet.gateway.server().drain();
    device.send("the last word");
    assert_eq!(peer.reader.exactly(13).unwrap(), b"the last word");
    device.close();
    drop(peer);
    assert!(fleet.gateway.join().is_ok());
}

#[test]
fn a_slow_device_holds_its_upstream_back() {
    let (fleet, peers) = tunnel("");
    let mut device = fleet.device().connect(broker(&fleet.gateway));
    let peer = peers.recv().unwrap();
    let tcp = peer.tcp();
    tcp.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut written = 0;
    let piece = pattern(64 * 1024);
    let blocked = loop {
        match (&*tcp).write(&piece) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
        assert!(written < 200 << 20, "the gateway reads without end");
    };
    assert!(matches!(
        blocked.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    assert_eq!(device.exactly(written).len(), written);
}
