//! More devices than can be served in their patience: those who come too late are reset, everybody is counted, and nothing is
//! left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use support::counters::{expect_value, handshake, shed};
use support::device::connect;
use support::{Device, Fleet, Options};

const OPEN: &str = "gateway_connections_open{listener=\"devices\"}";

/// Nobody is patient here, so that a few hundred devices are a storm.
const IMPATIENT: &str =
    "[admission]\nnewest_first_after = \"1ms\"\npatience_min = \"2ms\"\npatience_max = \"2ms\"\n";

/// So many connections, each with its hello sent, and no more.
fn storm(fleet: &Fleet, device: &Device, devices: usize) -> Vec<TcpStream> {
    let hellos: Vec<Vec<u8>> = (0..devices)
        .map(|_| {
            let mut hello = Vec::new();
            device.session().write_tls(&mut hello).unwrap();
            hello
        })
        .collect();
    let send = |hello: &Vec<u8>| {
        let mut tcp = connect(fleet.gateway.address());
        // Who is too late may have been told already.
        let _ = tcp.write_all(hello);
        tcp
    };
    hellos.iter().map(send).collect()
}

/// Whether the gateway sent its flight. Otherwise it reset the connection before a word.
fn is_answered(tcp: &mut TcpStream) -> bool {
    match tcp.read(&mut [0; 1]) {
        Ok(length) => length == 1,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            false
        }
    }
}

#[test]
fn who_comes_too_late_is_reset_and_counted() {
    const DEVICES: usize = 400;
    let fleet = Fleet::start(|setup| setup.more = IMPATIENT.into());
    let mut established = fleet.connect();
    assert_eq!(established.get("/").status(), 200);
    let before = fleet.gateway.counters();
    let mut storm = storm(&fleet, &fleet.device(), DEVICES);
    assert_eq!(established.get("/").status(), 200, "in the storm");
    let answered = storm.iter_mut().map(is_answered).filter(|is| *is).count();
    let late = DEVICES - answered;
    assert!(answered > 0 && late > 0, "{answered} of {DEVICES}");
    let counted = before.get(&shed("too_late")) + late as u64;
    expect_value(&fleet.gateway, &shed("too_late"), counted);
    drop(storm);
    let closed = handshake("full", "closed");
    let reset = handshake("full", "reset");
    // Those who were answered leave without a word of their own; their unread flights make that a reset for most.
    support::eventually("everybody is counted", || {
        let now = fleet.gateway.counters();
        let left = |series| now.get(series) - before.get(series);
        (left(&closed) + left(&reset) == answered as u64).then_some(())
    });
    expect_value(&fleet.gateway, OPEN, 1);
    for kind in ["answer", "resumed_hello", "full_hello"] {
        let waiting = format!("gateway_admission_waiting{{kind=\"{kind}\"}}");
        expect_value(&fleet.gateway, &waiting, 0);
    }
    established.close();
    let (response, _) = fleet.device().get(fleet.gateway.address(), "/after");
    assert_eq!(response.status(), 200);
}

#[test]
fn a_burst_is_served_whole_by_default() {
    const DEVICES: usize = 200;
    let fleet = Fleet::start(|_| {});
    let mut storm = storm(&fleet, &fleet.device(), DEVICES);
    assert!(storm.iter_mut().all(is_answered));
    assert_eq!(fleet.gateway.counters().get(&shed("too_late")), 0);
}

#[test]
fn a_ticket_is_recognized_in_the_hello() {
    for options in [Options::tls13(), Options::tls12()] {
        let fleet = Fleet::start(|_| {});
        let credential = fleet.pki.device("device-000001");
        let device = Device::with(&fleet.pki, Some(&credential), options);
        let (response, _) = device.get(fleet.gateway.address(), "/");
        assert_eq!(response.status(), 200);
        let mut first = Vec::new();
        device.session().write_tls(&mut first).unwrap();
        let gateway::tls::hello::FirstFlight::Hello(body) =
            gateway::tls::hello::first_flight(&first)
        else {
            panic!("no hello");
        };
        let hello = gateway::tls::hello::ClientHello::parse(&body).unwrap();
        assert_eq!(hello.server_name, Some(support::pki::SERVER_NAME));
        assert!(hello.ticket.is_some_and(|ticket| ticket.len() > 100));
    }
}
