//! What each trust domain has of its own: credentials, intermediates, the rule by which devices are known, and a policy. What
//! must not get from one domain into another is in `bypass`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use aws_lc_rs::digest::{SHA256, digest};
use certs_gen::authority::{EndEntitySpec, SubjectAltName};
use certs_gen::credential::Credential;
use gateway::identity::hex;
use rustls::{AlertDescription, HandshakeKind};
use support::counters::{expect_moved, expect_value, handshake};
use support::device::{Device, Options};
use support::pki::SERVER_NAME;
use support::plants::{PLANT, PLANT_NAME};
use support::{Connection, Fleet, Gateway, Plants};

fn both_versions(test: impl Fn(Options)) {
    test(Options::tls13());
    test(Options::tls12());
}

fn open(device: &Device, gateway: &Gateway) -> Connection {
    let mut connection = device.connect(gateway.address());
    let host = device.server_name().to_str().into_owned();
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    assert_eq!(connection.ask(&request).status(), 200, "{host}");
    connection
}

#[test]
fn each_domain_shows_its_own_certificate() {
    both_versions(|options| {
        let plants = Plants::start(|_| {});
        let devices = [
            plants.fleets_device(options.clone()),
            plants.plants_device(options),
        ];
        for (device, server) in devices.iter().zip(&plants.servers) {
            let mut connection = open(device, &plants.gateway);
            let shown = connection.tls().peer_certificates().unwrap()[0].to_vec();
            assert_eq!(shown, server.end_entity());
        }
        assert_eq!(plants.device_ids(), ["device-000001", "press-000001"]);
    });
}

#[test]
fn a_domain_without_credentials_shows_those_of_tls() {
    let plants = Plants::start(|setup| {
        let own = "certificate = \"plant.pem\"\nprivate_key = \"plant.key\"\n";
        setup.more = setup.more.replace(own, "");
        setup.server = "plant".into();
    });
    let device = plants.plants_device(Options::default());
    let mut connection = open(&device, &plants.gateway);
    let shown = connection.tls().peer_certificates().unwrap()[0].to_vec();
    assert_eq!(shown, plants.servers[1].end_entity());
}

/// The domain `plant-7` trusts the fleet's anchor as well, under rules of its own.
fn same_anchor(setup: &mut support::Setup) {
    setup.more = setup.more.replace("plant-anchor.pem", "trust-anchor.pem");
}

#[test]
fn an_intermediate_that_the_gateway_knows_need_not_be_presented() {
    both_versions(|options| {
        let pem = |plants: &Plants| plants.pki.intermediate.certificate_pem();
        let mut plants = Plants::start(same_anchor);
        plants.pki.write("intermediate.pem", &pem(&plants));
        plants.reload(|setup| {
            setup.more += "intermediates = [\"intermediate.pem\"]\n";
            setup.more += "[identity_headers]\nclient_cert_chain = true\n";
        });
        let credential = plants.pki.device("device-000001");
        let alone = Credential {
            chain: vec![credential.end_entity().to_vec()],
            ..credential.clone()
        };
        let device = Device::with(&plants.pki, Some(&alone), options.clone());
        // It is the plant's, and no help in the default domain.
        let before = plants.gateway.counters();
        assert_eq!(
            device.alert(plants.gateway.address()),
            AlertDescription::UnknownCA
        );
        let refused = [handshake("full", "unknown_issuer")];
        expect_moved(&plants.gateway, &before, &refused);
        let device = device.calling(PLANT_NAME);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let connection = open(&device, &plants.gateway);
            assert_eq!(connection.kind(), kind);
            connection.close();
        }
        // The upstream sees the path as it was verified, whoever supplied it.
        let whole = Device::with(&plants.pki, Some(&credential), options).calling(PLANT_NAME);
        open(&whole, &plants.gateway);
        let received = plants.upstream.received();
        let chains: Vec<&str> = received
            .iter()
            .map(|received| received.message.field("client-cert-chain"))
            .collect();
        assert_eq!(chains, [chains[0]; 3]);
        assert_eq!(plants.device_ids(), ["device-000001"; 3]);
    });
}

// Who a device is

const SPIFFE_ID: &str = "spiffe://plant-7.example/press/7";

fn uri(text: &str) -> SubjectAltName {
    SubjectAltName::Uri(text.into())
}

fn dns(name: &str) -> SubjectAltName {
    SubjectAltName::Dns(name.into())
}

/// A certificate with these alternative names, and the serial number 0x00abcd.
fn named(names: Vec<SubjectAltName>) -> EndEntitySpec {
    EndEntitySpec {
        subject_alt_names: names,
        serial: Some(vec![0x00, 0xab, 0xcd]),
        ..EndEntitySpec::device("device-000001")
    }
}

/// The id under which the upstream knows a device of the certificate `spec`, by the identity rule `rule`, whatever kind of
/// handshake it did; `None`, it is refused because it has none.
fn known_as(rule: &str, spec: &EndEntitySpec) -> (Credential, Option<String>) {
    let fleet = Fleet::start(|setup| setup.more = format!("[trust.identity]\n{rule}\n"));
    let credential = fleet.pki.issue(spec);
    let mut ids = Vec::new();
    for options in [Options::tls13(), Options::tls12()] {
        let device = Device::with(&fleet.pki, Some(&credential), options);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let before = fleet.gateway.counters();
            let (outcome, id) = id_told(&fleet, &device);
            let kind = match (outcome, kind) {
                ("ok", HandshakeKind::Resumed) => "resumed",
                _ => "full",
            };
            let moved = support::eventually("the handshake to be counted", || {
                let moved = fleet.gateway.counters().handshakes_since(&before);
                (!moved.is_empty()).then_some(moved)
            });
            assert_eq!(moved, [format!("{kind} {outcome}")], "{rule}");
            ids.push(id);
        }
    }
    let first = ids[0].clone();
    assert_eq!(ids, vec![first.clone(); 4], "{rule}");
    (credential, first)
}

/// What the handshake is to be counted as, and the id that the upstream was told.
fn id_told(fleet: &Fleet, device: &Device) -> (&'static str, Option<String>) {
    let answer = device
        .try_connect(fleet.gateway.address())
        .and_then(|mut connection| {
            connection.try_send("GET / HTTP/1.1\r\nhost: fleet.test\r\n\r\n")?;
            connection.try_response()
        });
    if answer.is_err() {
        return ("no_identity", None);
    }
    let last = fleet.upstream.received().pop().unwrap();
    ("ok", Some(last.message.field("x-device-id").to_owned()))
}

#[test]
fn the_identity_rule_says_what_upstreams_know_a_device_by() {
    let spiffe = "device_id = \"san_uri\"";
    let pattern = r#"device_id = "san_uri"
pattern = "urn:plant:(?P<id>[a-z]+-[0-9]+):.*""#;
    let cases = [
        ("", named(vec![uri(SPIFFE_ID)]), Some("device-000001")),
        (
            "pattern = \"device-(?P<id>[0-9]+)\"",
            named(vec![]),
            Some("000001"),
        ),
        ("pattern = \"press-.*\"", named(vec![]), None),
        (spiffe, named(vec![uri(SPIFFE_ID)]), Some(SPIFFE_ID)),
        (
            spiffe,
            named(vec![uri("urn:device:7"), dns("press-7.plant-7.example")]),
            Some("urn:device:7"),
        ),
        (
            spiffe,
            named(vec![uri(SPIFFE_ID), uri("urn:device:7")]),
            None,
        ),
        (
            spiffe,
            named(vec![uri("spiffe://plant-7.example/../admin")]),
            None,
        ),
        (
            spiffe,
            named(vec![uri("SPIFFE://plant-7.example/press/7")]),
            None,
        ),
        (spiffe, named(vec![dns("press-7.plant-7.example")]), None),
        (
            pattern,
            named(vec![uri(SPIFFE_ID), uri("urn:plant:press-7:2026")]),
            Some("press-7"),
        ),
        (
            "device_id = \"san_dns\"",
            named(vec![uri(SPIFFE_ID), dns("Press-7.Plant-7.Example")]),
            Some("press-7.plant-7.example"),
        ),
        ("device_id = \"san_dns\"", named(vec![]), None),
        ("device_id = \"serial\"", named(vec![]), Some("abcd")),
    ];
    for (rule, spec, expected) in cases {
        let (_, id) = known_as(rule, &spec);
        assert_eq!(id.as_deref(), expected, "{rule}, {spec:?}");
    }
    let (credential, id) = known_as("device_id = \"fingerprint\"", &named(vec![]));
    let fingerprint = hex(digest(&SHA256, credential.end_entity()).as_ref());
    assert_eq!(id.as_deref(), Some(fingerprint.as_str()));
}

#[test]
fn one_certificate_is_another_device_in_another_domain() {
    let plants = Plants::start(|setup| {
        same_anchor(setup);
        setup.more += "[trust_domains.identity]\ndevice_id = \"san_uri\"\n";
    });
    let device = plants.fleets_device(Options::default());
    for _ in 0..2 {
        open(&device, &plants.gateway).close();
        open(&device.calling(PLANT_NAME), &plants.gateway).close();
    }
    let both = ["device-000001", "urn:device:device-000001"];
    assert_eq!(plants.device_ids(), [both, both].concat());
}

// Who may be served

#[test]
fn each_domain_has_its_own_policy() {
    both_versions(|options| {
        let plants = Plants::start(|setup| {
            same_anchor(setup);
            setup.more += "[trust_domains.policy]\nallow = [\"press-*\"]\ndeny = [\"press-13\"]\n";
        });
        for (id, status) in [("press-12", true), ("press-13", false), ("device-1", false)] {
            let credential = plants.pki.device(id);
            let device = Device::with(&plants.pki, Some(&credential), options.clone());
            open(&device, &plants.gateway).close();
            let elsewhere = device.calling(PLANT_NAME);
            if status {
                open(&elsewhere, &plants.gateway).close();
            } else {
                elsewhere.connect(plants.gateway.address()).wait_for_end();
            }
        }
        expect_value(
            &plants.gateway,
            "gateway_denied_total{reason=\"policy\"}",
            2,
        );
        assert_eq!(plants.device_ids().len(), 4);
    });
}

#[test]
fn a_domain_that_is_removed_takes_its_connections_along() {
    let mut plants = Plants::start(|_| {});
    let theirs = plants.plants_device(Options::default());
    let ours = plants.fleets_device(Options::default());
    let mut of_the_plant = open(&theirs, &plants.gateway);
    let mut of_the_fleet = open(&ours, &plants.gateway);
    let section = plants.setup.more.clone();
    assert!(section.contains(PLANT));
    plants.reload(|setup| setup.more.clear());
    of_the_plant.wait_for_end();
    expect_value(
        &plants.gateway,
        "gateway_connections_ended_total{reason=\"domain_removed\"}",
        1,
    );
    assert_eq!(of_the_fleet.get("/").status(), 200);
    // Its names belong to the default domain now, whose certificate does not have them.
    let theirs = theirs.calling(SERVER_NAME);
    assert_eq!(
        theirs.alert(plants.gateway.address()),
        AlertDescription::UnknownCA
    );
}
