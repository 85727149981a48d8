//! Fleets from folders: certificates and keys wherever they lie, and every mistake named.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec};
use certs_gen::key::{KeyKind, PrivateKey};
use loadgen::Fleet;
use loadgen::fleet::FleetError;
use loadgen::plan::{FleetSpec, Share};
use rustls::crypto::aws_lc_rs;

use crate::fleets::{WHOLE, of_device, open};
use crate::pki;

/// An authority and its devices in whatever files the test wants.
struct Workshop {
    folder: tempfile::TempDir,
    anchor: Authority,
    intermediate: Authority,
}

impl Workshop {
    fn new() -> Workshop {
        let anchor = Authority::trust_anchor(&AuthoritySpec::new("odd anchor")).unwrap();
        let intermediate = anchor
            .intermediate(&AuthoritySpec::new("odd intermediate"))
            .unwrap();
        Workshop {
            folder: tempfile::tempdir().unwrap(),
            anchor,
            intermediate,
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Certificate, intermediate and key, each as PEM.
    fn device(&self, id: &str, kind: KeyKind) -> [String; 3] {
        let mut spec = EndEntitySpec::device(id);
        spec.key = kind;
        let key = PrivateKey::generate(kind).unwrap();
        let credential = self.intermediate.issue_with_key(&spec, &key).unwrap();
        let chain = credential.chain_pem();
        let second = chain[1..].find("-----BEGIN").unwrap() + 1;
        let (own, rest) = chain.split_at(second);
        [own.to_owned(), rest.to_owned(), key.pem()]
    }

    fn open(&self) -> Result<Fleet, FleetError> {
        let keys = aws_lc_rs::default_provider().key_provider;
        let go_on = |_| ControlFlow::Continue(());
        let spec = FleetSpec::folder(self.folder.path());
        Fleet::open(&spec, None, 1, WHOLE, keys, go_on)
    }
}

fn names(fleet: &Fleet) -> Vec<String> {
    (0..fleet.len())
        .map(|number| of_device(fleet, number).1)
        .collect()
}

#[test]
fn any_folder_of_bundles_will_do() {
    let workshop = Workshop::new();
    workshop.write("ca/root.crt", &workshop.anchor.certificate_pem());
    workshop.write("ca/root.key", &workshop.anchor.key_pem());
    // The key first, the chain upside down, text around it, in a file without ending.
    let [own, above, key] = workshop.device("one", KeyKind::P256);
    workshop.write("a", &format!("Bag Attributes\n{key}words\n{above}{own}\n"));
    // A pair, its names unlike each other, the chain with the certificate.
    let [own, above, key] = workshop.device("two", KeyKind::Ed25519);
    workshop.write("b/cert.crt", &(own.clone() + &above));
    workshop.write("z/other-name.key", &key);
    // The same once more as a bundle: still one device.
    workshop.write("b/both.pem", &(key + &own + &above));
    // Two devices in one file.
    let [own, above, key] = workshop.device("three", KeyKind::Rsa2048);
    let [own_4, _, key_4] = workshop.device("four", KeyKind::P384);
    workshop.write("c.pem", &[own, own_4, above, key, key_4].concat());
    // What is no device.
    let server = EndEntitySpec::server(&["localhost".parse().unwrap()]);
    workshop.write("server.pem", &workshop.anchor.issue(&server).unwrap().pem());
    workshop.write("README", "what lies here\n");
    workshop.write(".hidden/broken.pem", "rubbish");

    let fleet = workshop.open().unwrap();
    let expected = ["CN=one", "CN=two", "CN=three", "CN=four"];
    assert_eq!(names(&fleet), expected);
    for number in 0..4 {
        let identity = fleet.identity(number, 0).unwrap();
        assert_eq!(
            identity.path()[0].as_ref(),
            workshop.intermediate.certificate_der()
        );
    }
    assert_eq!(fleet.trust_anchors().roots.len(), 1);
}

#[test]
fn every_file_that_cannot_be_used_is_named() {
    let workshop = Workshop::new();
    let [own, above, key] = workshop.device("one", KeyKind::P256);
    workshop.write("good.pem", &[own.clone(), above, key.clone()].concat());
    workshop.write("rubbish.pem", "rubbish");
    workshop.write("cut-off.pem", own.get(..200).unwrap());
    workshop.write("empty.key", "");
    workshop.write("not-der.crt", &own.replace("MII", "AAA"));
    let [other, _, other_key] = workshop.device("two", KeyKind::P256);
    workshop.write("no-key.crt", &other);
    let _ = other_key;
    let [_, _, lonely] = workshop.device("three", KeyKind::P256);
    workshop.write("lonely.key", &lonely);
    workshop.write(
        "locked.key",
        &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
    );
    workshop.write("huge.pem", &"x".repeat((1 << 20) + 1));
    let FleetError::Unusable(unusable) = workshop.open().unwrap_err() else {
        panic!()
    };
    let text = unusable.to_string();
    for (file, why) in [
        ("rubbish.pem", "no PEM"),
        ("cut-off.pem", "does not end"),
        ("empty.key", "no PEM"),
        ("not-der.crt", "a certificate that is none"),
        ("no-key.crt", "no private key belongs"),
        ("lonely.key", "no certificate belongs"),
        ("locked.key", "encrypted"),
        ("huge.pem", "longer than 1 MiB"),
    ] {
        let line = text.lines().find(|line| line.contains(file));
        assert!(
            line.is_some_and(|line| line.contains(why)),
            "{file}: {text}"
        );
    }
    assert_eq!(unusable.files.len(), 8, "{text}");
}

#[test]
fn a_long_list_of_unusable_files_is_cut_off() {
    let workshop = Workshop::new();
    for number in 0..50 {
        workshop.write(&format!("{number:02}.pem"), "rubbish");
    }
    let text = workshop.open().unwrap_err().to_string();
    assert!(
        text.contains("50 files") && text.contains("and 30 more"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 22);
}

#[test]
fn a_folder_without_trust_anchor_needs_one() {
    let workshop = Workshop::new();
    let [own, above, key] = workshop.device("one", KeyKind::P256);
    workshop.write("one.pem", &[own, above, key].concat());
    let without = workshop.open().unwrap_err().to_string();
    assert!(without.contains("--ca"), "{without}");
    let mut spec = FleetSpec::folder(workshop.folder.path());
    spec.ca = Some(pki::ours().join("trust-anchor.pem"));
    assert_eq!(open(&spec, 1, 1, WHOLE).unwrap().len(), 1);
    spec.ca = Some(workshop.path("one.key"));
    let missing = open(&spec, 1, 1, WHOLE).unwrap_err().to_string();
    assert!(missing.contains("--ca"), "{missing}");
}

#[test]
fn a_broken_device_of_a_generated_fleet_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let spec = certs_gen::fleet::FleetSpec::new(folder.path().join("pki"), 3);
    certs_gen::fleet::generate(&spec, &certs_gen::fleet::Silent).unwrap();
    let devices = folder.path().join("pki/devices/00");
    let text = fs::read_to_string(devices.join("device-000000.pem")).unwrap();
    let key = text.find("-----BEGIN PRIVATE").unwrap();
    let other = fs::read_to_string(devices.join("device-000001.pem")).unwrap();
    let other_key = &other[other.find("-----BEGIN PRIVATE").unwrap()..];
    fs::write(devices.join("device-000000.pem"), &text[..key]).unwrap();
    let swapped = fs::read_to_string(devices.join("device-000002.pem")).unwrap();
    let certificates = &swapped[..swapped.find("-----BEGIN PRIVATE").unwrap()];
    let swapped = certificates.to_owned() + other_key;
    fs::write(devices.join("device-000002.pem"), swapped).unwrap();
    let pki = FleetSpec::folder(folder.path().join("pki"));
    let text = open(&pki, 3, 1, WHOLE).unwrap_err().to_string();
    assert!(
        text.contains("device-000000.pem: no PRIVATE KEY")
            && text.contains("device-000002.pem: certificate and key do not make a pair"),
        "{text}"
    );
    // Who does not take part is not looked at.
    let second_only = Share { index: 1, of: 3 };
    assert_eq!(open(&pki, 3, 1, second_only).unwrap().len(), 1);
}
