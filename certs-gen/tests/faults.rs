//! Faults on disk: the manifest and its files, and that each credential is wrong in the one way that it says.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use certs_gen::credential::Credential;
use certs_gen::crl::{self, CrlSpec};
use certs_gen::faults::{
    Error, Expectation, FaultsSpec, MANIFEST, Manifest, SCHEMA, generate, generate_unless,
};
use certs_gen::fleet::{self, FleetSpec, Silent};
use certs_gen::inspect::{CertificateItem, Item, RevocationListItem, inspect};
use certs_gen::key::{KeyKind, PrivateKey};
use certs_gen::layout::Layout;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

struct Faults {
    around: tempfile::TempDir,
    manifest: Manifest,
}

impl Faults {
    fn new(change: impl Fn(&mut FleetSpec)) -> Self {
        let around = tempfile::tempdir().unwrap();
        let mut fleet = FleetSpec::new(around.path().join("pki"), 1);
        change(&mut fleet);
        fleet::generate(&fleet, &Silent).unwrap();
        let spec = spec(&around);
        let manifest = generate(&spec).unwrap();
        assert_eq!(Manifest::load(&spec.out).unwrap(), manifest);
        Self { around, manifest }
    }

    fn out(&self) -> PathBuf {
        self.around.path().join("faults")
    }

    fn layout(&self) -> Layout {
        Layout::new(self.around.path().join("pki"))
    }

    fn credential(&self, name: &str) -> Credential {
        let fault = self.manifest.faults.iter().find(|fault| fault.name == name);
        let file = &fault.unwrap_or_else(|| panic!("no fault {name}")).file;
        Credential::from_pem(&fs::read(self.out().join(file)).unwrap()).unwrap()
    }

    fn described(&self, name: &str) -> Vec<CertificateItem> {
        let describe = |der: &Vec<u8>| match items(der).remove(0) {
            Item::Certificate(certificate) => *certificate,
            other => panic!("{other:?}"),
        };
        self.credential(name).chain.iter().map(describe).collect()
    }
}

fn spec(around: &tempfile::TempDir) -> FaultsSpec {
    FaultsSpec {
        ca: around.path().join("pki"),
        out: around.path().join("faults"),
        force: false,
    }
}

fn items(bytes: &[u8]) -> Vec<Item> {
    inspect(bytes, OffsetDateTime::now_utc()).unwrap().items
}

fn list(bytes: &[u8]) -> RevocationListItem {
    match items(bytes).remove(0) {
        Item::RevocationList(list) => *list,
        other => panic!("{other:?}"),
    }
}

static FAULTS: LazyLock<Faults> = LazyLock::new(|| Faults::new(|_| {}));

#[test]
fn the_manifest_names_every_file_once() {
    let faults = &FAULTS.manifest.faults;
    assert_eq!(FAULTS.manifest.schema, SCHEMA);
    let names: HashSet<_> = faults.iter().map(|fault| &fault.name).collect();
    assert_eq!(names.len(), faults.len());
    for fault in faults {
        let path = FAULTS.out().join(&fault.file);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", fault.name);
        assert!(fault.wrong.ends_with('.'), "{}", fault.name);
        Credential::from_pem(&fs::read(path).unwrap()).unwrap();
    }
    // The manifest, the trust anchor, the folder of lists.
    let files = fs::read_dir(FAULTS.out()).unwrap().count();
    assert_eq!(files, faults.len() + 3);
    let anchor = fs::read(FAULTS.out().join(&FAULTS.manifest.trust_anchor)).unwrap();
    assert_eq!(anchor, fs::read(FAULTS.layout().trust_anchor()).unwrap());
}

#[test]
fn every_reason_of_the_gateway_is_there() {
    let reason = |expected: &Expectation| match expected {
        Expectation::Accept => "accept".to_owned(),
        Expectation::Refuse { reason, .. } => reason.clone(),
    };
    let faults = FAULTS.manifest.faults.iter();
    let reasons: HashSet<_> = faults.map(|fault| reason(&fault.expected)).collect();
    for expected in [
        "accept",
        "expired",
        "not_yet_valid",
        "unknown_issuer",
        "bad_signature",
        "unsupported_algorithm",
        "wrong_usage",
        "wrong_role",
        "constraint_violated",
        "unsupported_extension",
        "no_identity",
        "too_many_certificates",
        "chain_too_large",
        "malformed_certificate",
        "weak_key",
        "legacy_version",
        "revoked",
        "bad_certificate_verify",
    ] {
        assert!(reasons.contains(expected), "{expected}");
    }
}

#[test]
fn keys_belong_to_certificates_but_where_that_is_the_fault() {
    for fault in &FAULTS.manifest.faults {
        // The library reads no key so short.
        if fault.name == "weak_rsa" {
            continue;
        }
        let credential = FAULTS.credential(&fault.name);
        let (_, certificate) = match X509Certificate::from_der(credential.end_entity()) {
            Ok(parsed) => parsed,
            Err(error) => panic!("{}: {error}", fault.name),
        };
        let key = PrivateKey::from_der(&credential.key).unwrap();
        let fits = key.public_key_der() == certificate.public_key().raw;
        assert_eq!(fits, fault.name != "wrong_key", "{}", fault.name);
    }
}

#[test]
fn every_signature_is_good_but_where_that_is_the_fault() {
    let anchor = pem::parse(fs::read(FAULTS.layout().trust_anchor()).unwrap()).unwrap();
    for fault in &FAULTS.manifest.faults {
        let mut chain = FAULTS.credential(&fault.name).chain;
        match fault.name.as_str() {
            // Their chains are no chains.
            "wrong_anchor" | "self_signed" | "missing_intermediate" => continue,
            "oversized_chain" => chain.truncate(2),
            "unordered_chain" => chain.swap(1, 2),
            _ => {}
        }
        // Whose chain has the trust anchor already, now at its end.
        if fault.name != "unordered_chain" {
            chain.push(anchor.contents().to_vec());
        }
        for (place, pair) in chain.windows(2).enumerate() {
            let (_, subject) = X509Certificate::from_der(&pair[0]).unwrap();
            let (_, issuer) = X509Certificate::from_der(&pair[1]).unwrap();
            assert_eq!(
                subject.issuer().as_raw(),
                issuer.subject().as_raw(),
                "{}",
                fault.name
            );
            let good = subject.verify_signature(Some(issuer.public_key())).is_ok();
            // The verifier here knows no ECDSA with SHA-1; openssl does, in the other test.
            let is_fault =
                place == 0 && ["tampered", "sha1_signature"].contains(&fault.name.as_str());
            assert_eq!(good, !is_fault, "{} at {place}", fault.name);
        }
    }
}

#[test]
fn each_is_wrong_as_it_says() {
    let end_entity = |name: &str| FAULTS.described(name).remove(0);
    let intermediate = |name: &str| FAULTS.described(name).remove(1);
    assert_eq!(end_entity("version_1").version, 1);
    assert_eq!(intermediate("version_1").version, 3);
    assert_eq!(intermediate("version_1_intermediate").version, 1);
    assert_eq!(end_entity("version_1_intermediate").version, 3);
    assert_eq!(end_entity("weak_rsa").key, "RSA 1024 bits");
    assert_eq!(end_entity("sha1_signature").signature, "1.2.840.10045.4.1");
    assert_eq!(
        intermediate("sha1_signature").signature,
        "ecdsa-with-SHA256"
    );
    assert_eq!(end_entity("empty_subject").subject, "");
    assert_eq!(
        end_entity("two_ids").subject,
        "CN=fault-two-ids, CN=device-000000"
    );
    assert!(end_entity("self_signed").self_issued);
    assert_eq!(
        end_entity("server_only").extensions.extended_key_usages,
        ["serverAuth"]
    );
    assert_eq!(
        end_entity("other_purpose").extensions.extended_key_usages,
        ["codeSigning"]
    );
    assert!(
        end_entity("authority_as_device")
            .extensions
            .basic_constraints
            .unwrap()
            .ca
    );
    assert!(
        !intermediate("intermediate_without_ca")
            .extensions
            .basic_constraints
            .unwrap()
            .ca
    );
    let usages = intermediate("intermediate_without_key_cert_sign")
        .extensions
        .key_usages;
    assert_eq!(usages, ["cRLSign"]);
    let others = intermediate("name_constraint_violated")
        .extensions
        .other_extensions;
    assert_eq!(others, ["nameConstraints"]);
    assert_eq!(
        end_entity("unknown_critical_extension")
            .extensions
            .other_extensions,
        ["1.3.6.1.4.1.32473.1"]
    );
    let lengths = |name: &str| FAULTS.credential(name).chain.len();
    assert_eq!(lengths("oversized_chain"), 102);
    assert_eq!(lengths("path_length_exceeded"), 3);
    assert_eq!(lengths("missing_intermediate"), 1);
    let unordered = FAULTS.described("unordered_chain");
    let self_issued: Vec<_> = unordered.iter().map(|item| item.self_issued).collect();
    assert_eq!(self_issued, [false, true, false]);
    let too_large = FAULTS.credential("too_large").end_entity().len();
    assert!((32 * 1024..64 * 1024).contains(&too_large), "{too_large}");
    let oversized: usize = FAULTS
        .credential("oversized_chain")
        .chain
        .iter()
        .map(Vec::len)
        .sum();
    assert!(oversized < 64 * 1024 - 1024, "{oversized}");
    let twice = FAULTS.credential("duplicated_extension");
    let (_, twice) = X509Certificate::from_der(twice.end_entity()).unwrap();
    assert!(twice.extended_key_usage().is_err());
}

#[test]
fn the_revoked_one_is_on_the_lists_of_both_folders() {
    let faults = Faults::new(|spec| spec.depth = 2);
    assert_eq!(
        faults.manifest.crls,
        [
            "crl/trust-anchor.pem",
            "crl/policy-01.pem",
            "crl/intermediate-00.pem"
        ]
    );
    let certificate = faults.described("revoked").remove(0);
    let read = |path: PathBuf| list(&fs::read(path).unwrap());
    let own = read(faults.out().join("crl/intermediate-00.pem"));
    assert_eq!((own.revoked.len(), own.number.as_deref()), (1, Some("1")));
    assert_eq!(own.revoked[0].serial, certificate.serial);
    let layout = faults.layout();
    assert_eq!(
        fs::read_dir(layout.crl_folder()).unwrap().count(),
        1,
        "the record only"
    );
    crl::write(&CrlSpec::new(layout.root())).unwrap();
    let later = read(layout.crl_folder().join("intermediate-00.pem"));
    assert_eq!(
        (later.revoked[0].serial.as_str(), later.number.as_deref()),
        (certificate.serial.as_str(), Some("2"))
    );
}

#[test]
fn any_kind_of_authority_signs_them() {
    for kind in [KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa4096] {
        let faults = Faults::new(|spec| {
            spec.ca_key = kind;
            spec.spiffe_domain = Some("plant-7.example".to_owned());
        });
        let oversized = faults.credential("oversized_chain").chain;
        let bytes: usize = oversized.iter().map(Vec::len).sum();
        assert!(oversized.len() > 32 && bytes < 64 * 1024 - 1024, "{kind}");
        let uris = &faults.described("version_1_intermediate")[0]
            .extensions
            .subject_alt_names;
        assert_eq!(
            *uris,
            ["URI:spiffe://plant-7.example/fault-version-1-intermediate"]
        );
    }
}

#[test]
fn only_a_folder_of_faults_is_replaced() {
    let faults = Faults::new(|_| {});
    let mut spec = spec(&faults.around);
    assert!(matches!(generate(&spec).unwrap_err(), Error::Out(_)));
    spec.force = true;
    let second = generate(&spec).unwrap();
    assert_eq!(Manifest::load(&spec.out).unwrap(), second);
    fs::write(
        faults.out().join(MANIFEST),
        "{\"schema\":\"certs-gen.fleet/1\"}",
    )
    .unwrap();
    assert!(Manifest::load(&spec.out).is_err());
    let refused = generate(&spec).unwrap_err().to_string();
    assert!(
        refused.contains("--out") && refused.contains("a folder of faults"),
        "{refused}"
    );
}

#[test]
fn cancelled_faults_leave_nothing_behind() {
    let around = tempfile::tempdir().unwrap();
    let fleet = FleetSpec::new(around.path().join("pki"), 1);
    fleet::generate(&fleet, &Silent).unwrap();
    let asked = Cell::new(0);
    let cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() == 5
    };
    let error = generate_unless(&spec(&around), &cancelled).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1);
    assert!(!Layout::new(fleet.out).crl_folder().exists());
}

#[test]
fn a_fleet_without_intermediates_is_refused() {
    let around = tempfile::tempdir().unwrap();
    let mut fleet = FleetSpec::new(around.path().join("pki"), 1);
    fleet.depth = 0;
    fleet::generate(&fleet, &Silent).unwrap();
    let refused = generate(&spec(&around)).unwrap_err().to_string();
    assert!(
        refused.contains("--ca") && refused.contains("--depth 1"),
        "{refused}"
    );
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1);
}
