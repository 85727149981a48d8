//! Fleets issued by hand: certificates as the guides for makers of devices have `openssl` make them, which are of X.509
//! version 1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use certs_gen::credential::Credential;
use gateway::headers;
use gateway::identity::{self, Identified};
use gateway::tls::credentials::load_anchors;
use gateway::trust::DEFAULT;
use gateway::trust::denylist::Order;
use gateway::verify::{PresentedChain, Refusal, Rules, TrustMaterial, VerifiedChain};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use support::counters::{expect_moved, expect_value, handshake, request, ticket};
use support::device::{Device, Options};
use support::pki::SERVER_NAME;
use support::{Fleet, Setup};

/// Word for word as such a guide has them.
const COMMANDS: &str = r#"
openssl genrsa -out rootCA.key 2048
openssl req -x509 -new -nodes -key rootCA.key \
-sha256 -days 3650 -out rootCA.pem \
-subj "/CN=IoT Root CA/O=Its Your Turn"
openssl genrsa -out device.key 2048
openssl req -new -key device.key -out device.csr \
-subj "/CN=sensor-001/O=Its Your Turn"
openssl x509 -req -in device.csr -CA rootCA.pem \
-CAkey rootCA.key -CAcreateserial \
-out device.pem -days 365 -sha256
"#;

/// A folder with what the commands make.
fn issued_by_hand() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), COMMANDS);
    folder
}

fn run(folder: &Path, commands: &str) {
    let output = Command::new("sh")
        .args(["-e", "-c", commands])
        .current_dir(folder)
        .output()
        .expect("a shell runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn verify(anchor: PathBuf, device: &Path, rules: Rules) -> Result<VerifiedChain, Refusal> {
    let anchors = load_anchors(&[anchor], &rules).unwrap();
    let material = TrustMaterial::new(anchors, Vec::new(), rules);
    let device = CertificateDer::from_pem_file(device).unwrap();
    let presented = PresentedChain {
        end_entity: &device,
        intermediates: &[],
    };
    VerifiedChain::verify(&material, presented, gateway::clock::unix_seconds())
}

#[test]
fn a_device_of_the_guide_is_known_where_the_operator_says_so() {
    let folder = issued_by_hand();
    let anchor = folder.path().join("rootCA.pem");
    let device = folder.path().join("device.pem");
    let refused = verify(anchor.clone(), &device, Rules::default());
    assert_eq!(refused.unwrap_err(), Refusal::LegacyVersion);

    let accepting = Rules {
        legacy_end_entities: true,
        ..Rules::default()
    };
    let chain = verify(anchor, &device, accepting).unwrap();
    let rule = identity::Rule::default();
    let identified = Identified::from_chain(&chain, &rule, headers::Settings::default()).unwrap();
    assert_eq!(identified.device_id(), "sensor-001");

    // Another anchor of the same name.
    let other = issued_by_hand();
    let refused = verify(other.path().join("rootCA.pem"), &device, accepting);
    assert_eq!(refused.unwrap_err(), Refusal::BadSignature);
}

// The running gateway

/// A gateway that trusts the guide's anchor.
fn trusting(folder: &Path, legacy: bool) -> Fleet {
    Fleet::start(|setup| trust(setup, folder, legacy))
}

fn trust(setup: &mut Setup, folder: &Path, legacy: bool) {
    setup.anchors = vec![folder.join("rootCA.pem").to_str().unwrap().to_owned()];
    setup.trust = format!("legacy_end_entities = {legacy}");
}

/// The guide's device, which is `openssl s_client` in `folder`, with one request; what it printed.
fn sensor(fleet: &Fleet, folder: &Path, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-servername", SERVER_NAME])
        .args(["-connect", &fleet.gateway.address().to_string()])
        .args(["-cert", "device.pem", "-key", "device.key"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    let request = format!("GET / HTTP/1.1\r\nHost: {SERVER_NAME}\r\nConnection: close\r\n\r\n");
    // A refused client may be gone before it has read its standard input.
    let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_device_of_the_guide_is_served_resumes_and_is_revoked_like_any_other() {
    let folder = issued_by_hand();
    for version in ["-tls1_3", "-tls1_2"] {
        let fleet = trusting(folder.path(), true);
        let before = fleet.gateway.counters();
        let first = sensor(&fleet, folder.path(), &[version, "-sess_out", "session"]);
        let served = first.contains("New, TLSv1") && first.contains("200 OK");
        assert!(served, "{version}: {first}");
        let again = sensor(&fleet, folder.path(), &[version, "-sess_in", "session"]);
        let served = again.contains("Reused, TLSv1") && again.contains("200 OK");
        assert!(served, "{version}: {again}");
        expect_moved(
            &fleet.gateway,
            &before,
            &[
                handshake("full", "ok"),
                handshake("resumed", "ok"),
                request("2xx"),
                request("2xx"),
            ],
        );
        for index in 0..2 {
            let id = fleet.upstream.request(index);
            assert_eq!(id.field("x-device-id"), "sensor-001");
        }
        let order = Order::Device {
            trust_domain: DEFAULT.into(),
            device_id: "sensor-001".into(),
        };
        fleet.gateway.server().revoke(order).unwrap();
        let refused = sensor(&fleet, folder.path(), &[version, "-sess_in", "session"]);
        assert!(
            refused.contains("certificate revoked"),
            "{version}: {refused}"
        );
        expect_value(&fleet.gateway, &ticket("declined", "revoked"), 1);
        expect_value(&fleet.gateway, &handshake("full", "revoked"), 1);
        assert_eq!(fleet.upstream.received().len(), 2);
    }
}

#[test]
fn the_policy_holds_for_devices_of_the_guide() {
    let folder = issued_by_hand();
    let fleet = Fleet::start(|setup| {
        trust(setup, folder.path(), true);
        setup.more = "[trust.policy]\ndeny = [\"sensor-*\"]\n".into();
    });
    for version in ["-tls1_3", "-tls1_2"] {
        let said = sensor(&fleet, folder.path(), &[version]);
        assert!(!said.contains("200 OK"), "{version}: {said}");
    }
    expect_value(&fleet.gateway, "gateway_denied_total{reason=\"policy\"}", 2);
    assert!(fleet.upstream.received().is_empty());
}

#[test]
fn a_device_of_the_guide_is_refused_by_default() {
    let folder = issued_by_hand();
    let fleet = trusting(folder.path(), false);
    for version in ["-tls1_3", "-tls1_2"] {
        let before = fleet.gateway.counters();
        let said = sensor(&fleet, folder.path(), &[version]);
        assert!(
            said.contains("unsupported certificate"),
            "{version}: {said}"
        );
        expect_moved(
            &fleet.gateway,
            &before,
            &[handshake("full", "legacy_version")],
        );
    }
    assert!(fleet.upstream.received().is_empty());
}

/// The guide's device as an authority: it signs for another, once as the guide does, once with the extensions of a device.
const ABUSE: &str = r#"
openssl genrsa -out other.key 2048
openssl req -new -key other.key -out other.csr -subj "/CN=sensor-666"
openssl x509 -req -in other.csr -CA device.pem -CAkey device.key -CAcreateserial -out other-1.pem -days 365
printf 'basicConstraints = CA:FALSE\nextendedKeyUsage = clientAuth\n' > extensions
openssl x509 -req -in other.csr -CA device.pem -CAkey device.key -CAcreateserial -out other-3.pem -days 365 \
-extfile extensions
"#;

#[test]
fn a_device_of_the_guide_is_no_authority() {
    let folder = issued_by_hand();
    run(folder.path(), ABUSE);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let credential = |end_entity: &str| {
        let pem = read(end_entity) + &read("device.pem") + &read("other.key");
        Credential::from_pem(pem.as_bytes()).unwrap()
    };
    for (legacy, end_entity, outcome) in [
        (true, "other-1.pem", "wrong_role"),
        (true, "other-3.pem", "wrong_role"),
        (false, "other-1.pem", "legacy_version"),
        (false, "other-3.pem", "wrong_role"),
    ] {
        let fleet = trusting(folder.path(), legacy);
        for options in [Options::tls13(), Options::tls12()] {
            let device = Device::with(&fleet.pki, Some(&credential(end_entity)), options);
            let before = fleet.gateway.counters();
            assert_eq!(
                device.alert(fleet.gateway.address()),
                AlertDescription::UnsupportedCertificate,
                "{legacy}, {end_entity}"
            );
            expect_moved(&fleet.gateway, &before, &[handshake("full", outcome)]);
        }
    }
}
