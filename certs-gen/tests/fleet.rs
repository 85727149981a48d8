//! A fleet on disk, parsed back: the folder contract, what each certificate says, who signed it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use certs_gen::credential::Credential;
use certs_gen::fleet::{self, Fleet, FleetSpec, Manifest, Mint, Silent};
use certs_gen::key::{KeyKind, PrivateKey};
use certs_gen::layout::{Layout, device_id};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

fn parse(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn certificates(path: &Path) -> Vec<Vec<u8>> {
    pem::parse_many(fs::read(path).unwrap())
        .unwrap()
        .into_iter()
        .map(pem::Pem::into_contents)
        .collect()
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> &'a str {
    certificate
        .subject()
        .iter_common_name()
        .next()
        .unwrap()
        .as_str()
        .unwrap()
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

/// Checks names, signatures and validity from the end entity up to the trust anchor.
fn assert_chain(chain: &[Vec<u8>], anchor: &[u8]) {
    let mut links: Vec<_> = chain.iter().map(|der| parse(der)).collect();
    links.push(parse(anchor));
    for (below, pair) in links.windows(2).enumerate() {
        let [subject, issuer] = pair else {
            unreachable!()
        };
        assert_eq!(subject.issuer().as_raw(), issuer.subject().as_raw());
        subject.verify_signature(Some(issuer.public_key())).unwrap();
        assert!(subject.validity().not_before >= issuer.validity().not_before);
        assert!(subject.validity().not_after <= issuer.validity().not_after);
        let constraints = issuer.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(below as u32));
        let usage = issuer.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_default_fleet_is_as_documented() {
    let around = tempfile::tempdir().unwrap();
    let spec = FleetSpec::new(around.path().join("fleet"), 25);
    let manifest = fleet::generate(&spec, &Silent).unwrap();
    assert_eq!(Manifest::load(&spec.out).unwrap(), manifest);
    assert_eq!(
        (manifest.devices, manifest.intermediates, manifest.depth),
        (25, 1, 1)
    );

    let layout = Layout::new(&spec.out);
    let anchor = certificates(&layout.trust_anchor()).remove(0);
    let mut serials = HashSet::new();
    for index in 0..25 {
        let credential = Fleet::open(&spec.out).unwrap().device(index).unwrap();
        assert_eq!(credential.chain.len(), 2);
        assert_chain(&credential.chain, &anchor);
        let end_entity = parse(credential.end_entity());
        assert_eq!(common_name(&end_entity), device_id(index));
        assert_eq!(
            uris(&end_entity),
            [format!("urn:device:{}", device_id(index))]
        );
        let purposes = end_entity.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.client_auth && !purposes.server_auth);
        let usage = end_entity.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && usage.value.flags == 1);
        assert!(!end_entity.basic_constraints().unwrap().unwrap().value.ca);
        let key = PrivateKey::from_pkcs8(KeyKind::P256, &credential.key).unwrap();
        assert_eq!(key.public_key_der(), end_entity.public_key().raw);
        assert!(serials.insert(end_entity.raw_serial().to_vec()));
    }

    let chain = certificates(&layout.server());
    assert_chain(&chain, &anchor);
    let server = parse(&chain[0]);
    let purposes = server.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && !purposes.client_auth);
    let names = server.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(names.general_names.len(), 3);
}

#[test]
fn keys_are_private_and_the_folders_too() {
    let around = tempfile::tempdir().unwrap();
    let mut spec = FleetSpec::new(around.path().join("fleet"), 2);
    spec.depth = 2;
    spec.seed = Some(1);
    fleet::generate(&spec, &Silent).unwrap();
    let layout = Layout::new(&spec.out);
    for folder in [
        layout.root(),
        &layout.devices_folder(),
        &layout.device_folder(0),
    ] {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    for key in [
        layout.trust_anchor_key(),
        layout.policy_key(1),
        layout.intermediate_key(0),
        layout.server_key(),
        layout.device_path(1),
        layout.manifest(), // has the seed
    ] {
        assert_eq!(mode(&key), 0o600, "{}", key.display());
    }
}

#[test]
fn every_depth_and_devices_dealt_out_in_turn() {
    for depth in 0..=3 {
        let around = tempfile::tempdir().unwrap();
        let mut spec = FleetSpec::new(around.path().join("fleet"), 7);
        spec.depth = depth;
        spec.intermediates = 3;
        let manifest = fleet::generate(&spec, &Silent).unwrap();
        assert_eq!(manifest.intermediates, if depth == 0 { 0 } else { 3 });
        let layout = Layout::new(&spec.out);
        let anchor = certificates(&layout.trust_anchor()).remove(0);
        for index in 0..7 {
            let chain = Fleet::open(&spec.out).unwrap().device(index).unwrap().chain;
            assert_eq!(chain.len(), depth + 1);
            assert_chain(&chain, &anchor);
            if depth > 0 {
                assert_eq!(chain[1..], certificates(&layout.intermediate(index % 3)));
            }
        }
        assert_eq!(layout.policy(1).exists(), depth >= 2);
        assert_chain(&certificates(&layout.server()), &anchor);
    }
}

#[test]
fn every_kind_of_key_in_every_place() {
    // RSA-3072 and -4096 differ from 2048 in the time they take, not in what is written.
    for kind in [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::Ed25519,
        KeyKind::Rsa2048,
    ] {
        let around = tempfile::tempdir().unwrap();
        let mut spec = FleetSpec::new(around.path().join("fleet"), 2);
        (spec.key, spec.ca_key, spec.server_key) = (kind, kind, kind);
        fleet::generate(&spec, &Silent).unwrap();
        let layout = Layout::new(&spec.out);
        let anchor = certificates(&layout.trust_anchor()).remove(0);
        let credential = Fleet::open(&spec.out).unwrap().device(1).unwrap();
        assert_chain(&credential.chain, &anchor);
        let key = PrivateKey::from_pkcs8(kind, &credential.key).unwrap();
        assert_eq!(
            key.public_key_der(),
            parse(credential.end_entity()).public_key().raw
        );
    }
}

#[test]
fn names_validity_and_spiffe_are_honoured() {
    let around = tempfile::tempdir().unwrap();
    let mut spec = FleetSpec::new(around.path().join("fleet"), 1);
    spec.validity = Duration::from_secs(3600);
    spec.server_names = vec![
        "Gateway.example".into(),
        "*.plant-7.example".into(),
        "192.0.2.1".into(),
    ];
    spec.spiffe_domain = Some("plant-7.example".into());
    let manifest = fleet::generate(&spec, &Silent).unwrap();
    assert_eq!(
        manifest.server_names,
        ["gateway.example", "*.plant-7.example", "192.0.2.1"]
    );
    let layout = Layout::new(&spec.out);
    let credential = Fleet::open(&spec.out).unwrap().device(0).unwrap();
    let device = parse(credential.end_entity());
    assert_eq!(uris(&device), ["spiffe://plant-7.example/device-000000"]);
    let not_after = device.validity().not_after.timestamp();
    assert_eq!(not_after, manifest.created.unix_timestamp() + 3600);
    assert_eq!(not_after, manifest.validity.not_after.unix_timestamp());
    let chain = certificates(&layout.server());
    assert_eq!(common_name(&parse(&chain[0])), "gateway.example");
}

#[test]
fn a_seed_gives_device_i_always_the_same_identity() {
    let identity = |credential: &Credential| {
        (
            credential.key.clone(),
            parse(credential.end_entity()).raw_serial().to_vec(),
        )
    };
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
        let mut spec = FleetSpec::new("in memory only", 3);
        (spec.key, spec.ca_key, spec.seed) = (kind, kind, Some(7));
        let (one, other) = (Mint::new(&spec).unwrap(), Mint::new(&spec).unwrap());
        assert_eq!(one.trust_anchor().key_pem(), other.trust_anchor().key_pem());
        // Whatever the order.
        let later = identity(&one.device(2).unwrap());
        assert_eq!(
            identity(&one.device(0).unwrap()),
            identity(&other.device(0).unwrap())
        );
        assert_eq!(later, identity(&other.device(2).unwrap()));
        spec.seed = None;
        assert_ne!(
            later,
            identity(&Mint::new(&spec).unwrap().device(2).unwrap())
        );
    }
}

#[test]
fn a_refused_or_cancelled_fleet_leaves_nothing_behind() {
    struct CancelAtOnce;
    impl fleet::Progress for CancelAtOnce {
        fn begin(&self, _devices: usize) {}
        fn advance(&self) {}
        fn finish(&self) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let around = tempfile::tempdir().unwrap();
    let spec = FleetSpec::new(around.path().join("fleet"), 100);
    assert!(matches!(
        fleet::generate(&spec, &CancelAtOnce),
        Err(fleet::Error::Cancelled)
    ));
    let mut absurd = spec.clone();
    absurd.devices = 0;
    assert!(fleet::generate(&absurd, &Silent).unwrap_err().is_usage());
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 0);
    fleet::generate(&spec, &Silent).unwrap();
    assert!(!fleet::generate(&spec, &Silent).unwrap_err().is_usage());
    fleet::generate(
        &FleetSpec {
            force: true,
            devices: 1,
            ..spec.clone()
        },
        &Silent,
    )
    .unwrap();
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1);
    assert_eq!(
        fs::read_dir(Layout::new(&spec.out).device_folder(0))
            .unwrap()
            .count(),
        1
    );
}
