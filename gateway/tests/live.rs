//! What happens to connections that are open when trust in their device ends, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::time::Duration;

use certs_gen::authority::EndEntitySpec;
use gateway::trust::DEFAULT;
use gateway::trust::denylist::Order;
use rustls::AlertDescription;
use support::counters::expect_value;
use support::device::Options;
use support::program::Program;
use support::{Connection, Device, Fleet, Setup, Upstream, eventually, h2};
use time::OffsetDateTime;

fn ended(reason: &str) -> String {
    format!("gateway_connections_ended_total{{reason=\"{reason}\"}}")
}

fn order(device_id: &str) -> Order {
    Order::Device {
        trust_domain: DEFAULT.into(),
        device_id: device_id.into(),
    }
}

fn device(fleet: &Fleet, id: &str) -> Device {
    Device::new(&fleet.pki, Some(&fleet.pki.device(id)))
}

fn open(fleet: &Fleet, device: &Device) -> Connection {
    let mut connection = device.connect(fleet.gateway.address());
    assert_eq!(connection.get("/").status(), 200);
    connection
}

#[test]
fn an_order_ends_every_open_connection_of_its_device_and_no_other() {
    let fleet = Fleet::start(|setup| setup.workers = 2);
    let revoked = device(&fleet, "device-000001");
    let mut its: Vec<Connection> = (0..8).map(|_| open(&fleet, &revoked)).collect();
    let mut others: Vec<Connection> = (2..10)
        .map(|number| open(&fleet, &device(&fleet, &format!("device-{number:06}"))))
        .collect();
    fleet
        .gateway
        .server()
        .revoke(order("device-000001"))
        .unwrap();
    for connection in &mut its {
        connection.wait_for_end();
    }
    expect_value(&fleet.gateway, &ended("revoked"), 8);
    for connection in &mut others {
        assert_eq!(connection.get("/").status(), 200);
    }
    // It holds a ticket too, which is declined; the full handshake that follows says why.
    assert_eq!(
        revoked.alert(fleet.gateway.address()),
        AlertDescription::CertificateRevoked
    );
    fleet
        .gateway
        .server()
        .reinstate(&order("device-000001"))
        .unwrap();
    open(&fleet, &revoked);
}

#[test]
fn a_request_that_is_being_answered_is_cut_off_too() {
    let (started, wait) = std::sync::mpsc::channel();
    let started = std::sync::Mutex::new(started);
    let upstream = Upstream::by_hand(move |mut peer| {
        peer.reader.request().unwrap();
        started.lock().unwrap().send(()).unwrap();
        // Never answers; the gateway closes.
        let _ = peer.reader.request();
    });
    let fleet = Fleet::with_upstream(upstream, |_| {});
    let mut connection = device(&fleet, "device-000001").connect(fleet.gateway.address());
    connection.send("GET / HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
    wait.recv_timeout(Duration::from_secs(20)).unwrap();
    fleet
        .gateway
        .server()
        .revoke(order("device-000001"))
        .unwrap();
    connection.wait_for_end();
}

#[test]
fn an_expired_certificate_ends_its_connections() {
    let fleet = Fleet::start(|_| {});
    let mut spec = EndEntitySpec::device("device-000001");
    spec.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(3);
    let short = Device::new(&fleet.pki, Some(&fleet.pki.issue(&spec)));
    let mut connection = open(&fleet, &short);
    let mut other = open(&fleet, &device(&fleet, "device-000002"));
    connection.wait_for_end();
    expect_value(&fleet.gateway, &ended("expired"), 1);
    assert_eq!(other.get("/").status(), 200);
}

#[test]
fn a_policy_that_changes_ends_connections() {
    let mut fleet = Fleet::start(|_| {});
    let mut denied = open(&fleet, &device(&fleet, "device-000001"));
    let mut allowed = open(&fleet, &device(&fleet, "device-000002"));
    let mut setup = Setup::new(fleet.upstream.address());
    setup.more = "[trust.policy]\ndeny = [\"*1\"]\n".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    denied.wait_for_end();
    expect_value(&fleet.gateway, &ended("policy"), 1);
    assert_eq!(allowed.get("/").status(), 200);
}

#[test]
fn orders_come_over_the_admin_listener_and_outlive_a_restart() {
    let pki = support::Pki::new();
    let upstream = Upstream::ok();
    let mut setup = Setup::new(upstream.address());
    setup.more = "[admin]\naddress = \"127.0.0.1:0\"\nrevocations_file = \"revoked.json\"\n".into();
    let config = pki.write("gateway.toml", &setup.text());
    let device = Device::new(&pki, Some(&pki.device("device-000001")));
    let body = r#"{"device_id": "device-000001"}"#;
    {
        let program = Program::run(&config);
        let mut connection = device.connect(program.devices());
        assert_eq!(connection.get("/").status(), 200);
        assert_eq!(
            program.send_admin("POST", "/revoke", "", body).status(),
            415
        );
        let json = "content-type: application/json\r\n";
        let from_a_page = format!("{json}origin: http://evil.example\r\n");
        assert_eq!(
            program
                .send_admin("POST", "/revoke", &from_a_page, body)
                .status(),
            415
        );
        assert_eq!(
            program.send_admin("POST", "/revoke", json, "{}").status(),
            400
        );
        let elsewhere = r#"{"device_id": "device-000001", "trust_domain": "plant-7"}"#;
        let answer = program.send_admin("POST", "/revoke", json, elsewhere);
        assert!(answer.status() == 400 && answer.text().contains("plant-7"));
        assert_eq!(connection.get("/").status(), 200);
        assert_eq!(
            program.send_admin("POST", "/revoke", json, body).text(),
            "revoked\n"
        );
        connection.wait_for_end();
    }
    let program = Program::run(&config);
    assert_eq!(
        device.alert(program.devices()),
        AlertDescription::CertificateRevoked
    );
    assert!(
        program
            .ask_admin("GET /revoke")
            .text()
            .contains("device-000001")
    );
    let json = "content-type: application/json\r\n";
    let answer = program.send_admin("DELETE", "/revoke", json, body);
    assert_eq!(answer.text(), "reinstated\n");
    assert_eq!(device.get(program.devices(), "/").0.status(), 200);
}

#[test]
fn http2_connections_end_too() {
    let fleet = Fleet::start(|_| {});
    let options = Options::h2();
    let credential = fleet.pki.device("device-000001");
    let device = Device::with(&fleet.pki, Some(&credential), options);
    h2::run(async {
        let (mut sender, end) = h2::connect(&device, fleet.gateway.address()).await;
        assert_eq!(h2::ask(&mut sender, h2::get("/")).await.status(), 200);
        fleet
            .gateway
            .server()
            .revoke(order("device-000001"))
            .unwrap();
        let _ = end.await;
    });
    eventually("the connection to be counted", || {
        (fleet.gateway.counters().get(&ended("revoked")) == 1).then_some(())
    });
}

#[test]
fn other_rules_end_the_connections_of_their_domain() {
    let mut fleet = Fleet::start(|_| {});
    let device = device(&fleet, "device-000001");
    let mut open = open(&fleet, &device);
    let mut setup = Setup::new(fleet.upstream.address());
    setup.more = "[identity_headers]\nforwarded = true\n".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(open.get("/").status(), 200, "what is sent is no rule");
    setup.more = "[trust.identity]\ndevice_id = \"serial\"\n".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    open.wait_for_end();
    expect_value(&fleet.gateway, &ended("rules_changed"), 1);
    assert_eq!(device.get(fleet.gateway.address(), "/").0.status(), 200);
}
