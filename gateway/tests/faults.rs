//! Every credential that `certs-gen faults` makes, presented to a running gateway: it is served, or refused with exactly the
//! alert and for exactly the reason that the manifest of faults says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::path::PathBuf;
use std::sync::LazyLock;

use certs_gen::credential::Credential;
use certs_gen::faults::{Expectation, Fault, FaultsSpec, Manifest, generate};
use certs_gen::fleet::{self, FleetSpec, Silent};
use certs_gen::key::{KeyKind, PrivateKey};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{AlertDescription, HandshakeKind};
use support::counters::{Counters, expect_moved, handshake, ticket};
use support::device::{Device, Options, tls_error};
use support::{Gateway, Pki, Setup, Upstream};

/// A fleet in `pki`, its faults in `faults`.
struct Faults {
    around: tempfile::TempDir,
    manifest: Manifest,
}

static FAULTS: LazyLock<Faults> = LazyLock::new(|| {
    let around = tempfile::tempdir().unwrap();
    let ca = around.path().join("pki");
    fleet::generate(&FleetSpec::new(ca.clone(), 1), &Silent).unwrap();
    let spec = FaultsSpec {
        ca,
        out: around.path().join("faults"),
        force: false,
    };
    let manifest = generate(&spec).unwrap();
    Faults { around, manifest }
});

impl Faults {
    fn path(&self, name: &str) -> PathBuf {
        self.around.path().join(name)
    }

    /// The smallest configuration that trusts the fleet.
    fn setup(&self, upstream: &Upstream) -> Setup {
        let anchor = self.path("faults").join(&self.manifest.trust_anchor);
        let mut setup = Setup::new(upstream.address());
        setup.anchors = vec![anchor.to_str().unwrap().to_owned()];
        setup
    }

    fn fault(&self, name: &str) -> &Fault {
        let mut faults = self.manifest.faults.iter();
        faults.find(|fault| fault.name == name).unwrap()
    }

    fn credential(&self, fault: &Fault) -> Credential {
        let file = self.path("faults").join(&fault.file);
        let mut credential = Credential::from_pem(&std::fs::read(file).unwrap()).unwrap();
        let key = PrivatePkcs8KeyDer::from(credential.key.clone()).into();
        if any_supported_type(&key).is_err() {
            // A key that the device's own library refuses. The chain is looked at before the proof.
            let other = PrivateKey::generate(KeyKind::P256).unwrap();
            credential.key = other.pkcs8_der().to_vec();
        }
        credential
    }
}

/// What became of one device: its status, or the alert, and the outcome that moved.
fn outcome(gateway: &Gateway, device: &Device) -> String {
    let before = gateway.counters();
    let seen = match device.try_connect(gateway.address()) {
        Err(error) => alert(&error),
        Ok(mut connection) => {
            let request = "GET / HTTP/1.1\r\nhost: fleet.test\r\n\r\n";
            match connection
                .try_send(request)
                .and_then(|()| connection.try_response())
            {
                Ok(response) => response.status().to_string(),
                Err(error) => alert(&error),
            }
        }
    };
    format!("{seen}, counted as {}", moved(gateway, &before))
}

fn alert(error: &std::io::Error) -> String {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => format!("alert {}", u8::from(*alert)),
        _ => format!("{error:?}"),
    }
}

/// The outcome of the one handshake that was counted since `before`.
fn moved(gateway: &Gateway, before: &Counters) -> String {
    support::eventually("the handshake to be counted", || {
        let moved = gateway.counters().handshakes_since(before);
        (!moved.is_empty()).then(|| moved.join("+"))
    })
}

fn expected(expectation: &Expectation) -> String {
    match expectation {
        Expectation::Accept => "200, counted as full ok".into(),
        Expectation::Refuse { reason, alert } => {
            format!("alert {}, counted as full {reason}", alert.code())
        }
    }
}

/// Presents every fault but those in `except` to a gateway of `setup`, in both versions of TLS, and reports all
/// differences at once.
fn present_all(setup: &Setup, except: &[(&str, Option<Expectation>)]) {
    let pki = Pki::new();
    let gateway = Gateway::start(&pki, setup);
    let mut differences = Vec::new();
    for fault in &FAULTS.manifest.faults {
        let exception = except.iter().find(|(name, _)| *name == fault.name);
        let expectation = match exception {
            None => &fault.expected,
            Some((_, Some(expectation))) => expectation,
            Some((_, None)) => continue,
        };
        let credential = FAULTS.credential(fault);
        for (version, options) in [("1.3", Options::tls13()), ("1.2", Options::tls12())] {
            let device = Device::with(&pki, Some(&credential), options);
            let (expected, found) = (expected(expectation), outcome(&gateway, &device));
            if found != expected {
                let name = &fault.name;
                differences.push(format!(
                    "{name} over TLS {version}: {found}; expected {expected}"
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn every_fault_is_answered_as_its_manifest_says() {
    let upstream = Upstream::ok();
    present_all(&FAULTS.setup(&upstream), &[("revoked", None)]);
    let served = FAULTS.manifest.faults.iter();
    let served = served.filter(|fault| fault.expected == Expectation::Accept);
    assert_eq!(upstream.received().len(), 2 * served.count());
}

#[test]
fn revocation_lists_change_no_other_reason() {
    let upstream = Upstream::ok();
    let mut setup = FAULTS.setup(&upstream);
    let (crls, intermediate) = (
        FAULTS.path("faults/crl"),
        FAULTS.path("pki/intermediate-00.pem"),
    );
    setup.trust = format!("crls = [{crls:?}]\nintermediates = [{intermediate:?}]");
    // The intermediate whose list is in force is known to the gateway: a device need not present it.
    let known = ("missing_intermediate", Some(Expectation::Accept));
    present_all(&setup, &[known]);
}

#[test]
fn a_version_1_device_is_served_only_as_long_as_the_operator_says_so() {
    for options in [Options::tls13(), Options::tls12()] {
        let (pki, upstream) = (Pki::new(), Upstream::ok());
        let mut setup = FAULTS.setup(&upstream);
        setup.trust = "legacy_end_entities = true".into();
        let mut gateway = Gateway::start(&pki, &setup);
        let credential = FAULTS.credential(FAULTS.fault("version_1"));
        let device = Device::with(&pki, Some(&credential), options);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (response, how) = device.get(gateway.address(), "/");
            assert_eq!((response.status(), how), (200, kind));
        }
        setup.trust = "legacy_end_entities = false".into();
        gateway.reload(&pki, &setup).unwrap();
        let before = gateway.counters();
        assert_eq!(
            device.alert(gateway.address()),
            AlertDescription::UnsupportedCertificate
        );
        expect_moved(&gateway, &before, &[handshake("full", "legacy_version")]);
        assert_eq!(
            gateway
                .counters()
                .get(&ticket("declined", "chain_forgotten")),
            1
        );
    }
}

#[test]
fn a_version_1_certificate_is_no_authority_even_where_it_may_be_a_device() {
    let (pki, upstream) = (Pki::new(), Upstream::ok());
    let mut setup = FAULTS.setup(&upstream);
    setup.trust = "legacy_end_entities = true".into();
    let gateway = Gateway::start(&pki, &setup);
    let fault = FAULTS.fault("version_1_intermediate");
    for options in [Options::tls13(), Options::tls12()] {
        let device = Device::with(&pki, Some(&FAULTS.credential(fault)), options);
        assert_eq!(outcome(&gateway, &device), expected(&fault.expected));
    }
}
