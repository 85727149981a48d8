//! Revoking, listing and renewing on disk: what is recorded, what the lists say when parsed back, and who signed them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs_gen::credential::Credential;
use certs_gen::crl::{self, CrlSpec, Lists};
use certs_gen::fleet::{self, Fleet, FleetSpec, Silent};
use certs_gen::inspect::{Item, RevocationListItem, inspect};
use certs_gen::key::KeyKind;
use certs_gen::layout::{AuthorityName, Layout};
use certs_gen::renew::{self, RenewSpec, renew};
use certs_gen::revocation::{Error, Outcome, Reason, RevokeSpec, Serial, revoke};
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

const FIRST: AuthorityName = AuthorityName::Intermediate(0);
const SECOND: AuthorityName = AuthorityName::Intermediate(1);

struct Pki {
    root: PathBuf,
    _around: tempfile::TempDir,
}

impl Pki {
    /// Two intermediates below a policy layer, four devices.
    fn new(change: impl Fn(&mut FleetSpec)) -> Self {
        let around = tempfile::tempdir().unwrap();
        let mut spec = FleetSpec::new(around.path().join("pki"), 4);
        (spec.intermediates, spec.depth) = (2, 2);
        change(&mut spec);
        fleet::generate(&spec, &Silent).unwrap();
        Self {
            root: spec.out,
            _around: around,
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.root)
    }

    fn serial(&self, index: usize) -> Serial {
        let device = Fleet::open(&self.root).unwrap().device(index).unwrap();
        serial(device.end_entity())
    }

    fn revoke(&self, change: impl Fn(&mut RevokeSpec)) -> Result<Vec<Outcome>, Error> {
        let mut spec = RevokeSpec::new(&self.root);
        change(&mut spec);
        revoke(&spec)
    }

    fn revoke_device(&self, id: &str) -> Outcome {
        self.revoke(|spec| spec.devices = vec![id.to_owned()])
            .unwrap()
            .remove(0)
    }

    fn lists(&self, change: impl Fn(&mut CrlSpec)) -> Result<Lists, Error> {
        let mut spec = CrlSpec::new(&self.root);
        change(&mut spec);
        crl::write(&spec)
    }

    /// The files in the folder of lists.
    fn files(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<_> = fs::read_dir(self.layout().crl_folder())
            .unwrap()
            .map(name)
            .collect();
        names.sort();
        names
    }

    fn described(&self, file: &str) -> RevocationListItem {
        described(&self.layout().crl_folder().join(file))
    }
}

fn described(path: &Path) -> RevocationListItem {
    let bytes = fs::read(path).unwrap();
    let inspection = inspect(&bytes, OffsetDateTime::now_utc()).unwrap();
    match inspection.items.into_iter().next().unwrap() {
        Item::RevocationList(list) => *list,
        other => panic!("{other:?}"),
    }
}

fn serials(list: &RevocationListItem) -> Vec<&str> {
    list.revoked
        .iter()
        .map(|entry| entry.serial.as_str())
        .collect()
}

fn serial(der: &[u8]) -> Serial {
    Serial::from_bytes(X509Certificate::from_der(der).unwrap().1.raw_serial())
}

fn contents(path: &Path) -> Vec<Vec<u8>> {
    let blocks = pem::parse_many(fs::read(path).unwrap()).unwrap();
    blocks.into_iter().map(pem::Pem::into_contents).collect()
}

#[test]
fn a_device_is_revoked_by_whoever_issued_it() {
    let pki = Pki::new(|_| {});
    for (index, issuer) in [(0, FIRST), (1, SECOND), (2, FIRST), (3, SECOND)] {
        let outcome = pki.revoke_device(&format!("device-{index:06}"));
        assert!(!outcome.already);
        assert_eq!(outcome.revocation.issuer, issuer, "{index}");
        assert_eq!(outcome.revocation.serial, pki.serial(index));
    }
    assert!(pki.revoke_device("device-000001").already);
    assert_eq!(pki.files(), ["revoked.json"]);
}

#[test]
fn anything_that_the_fleet_has_is_found_by_its_serial_number() {
    let pki = Pki::new(|_| {});
    let layout = pki.layout();
    let of = |path: &Path| serial(&contents(path)[0]);
    for (serial, issuer, name) in [
        (pki.serial(3), SECOND, "device-000003"),
        (of(&layout.server()), FIRST, "server"),
        (
            of(&layout.intermediate(1)),
            AuthorityName::Policy(1),
            "intermediate-01",
        ),
        (
            of(&layout.policy(1)),
            AuthorityName::TrustAnchor,
            "policy-01",
        ),
    ] {
        let outcome = pki
            .revoke(|spec| spec.serials = vec![serial.clone()])
            .unwrap()
            .remove(0)
            .revocation;
        assert_eq!(
            (outcome.issuer, outcome.name.as_deref()),
            (issuer, Some(name))
        );
    }
    let outcome = pki
        .revoke(|spec| spec.intermediates = vec![SECOND])
        .unwrap()
        .remove(0);
    assert!(outcome.already);
    let anchor = of(&layout.trust_anchor());
    let refused = pki
        .revoke(|spec| spec.serials = vec![anchor.clone()])
        .unwrap_err();
    assert!(matches!(refused, Error::TrustAnchor { .. }), "{refused}");
}

#[test]
fn refusals_name_the_flag_and_record_nothing() {
    let pki = Pki::new(|_| {});
    let refused = |change: &dyn Fn(&mut RevokeSpec), words: &[&str]| {
        let error = pki
            .revoke(|spec| {
                spec.devices = vec!["device-000001".to_owned()];
                change(spec);
            })
            .unwrap_err()
            .to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} is missing in: {error}");
        }
        assert!(!pki.layout().crl_folder().exists());
    };
    refused(
        &|spec| spec.devices.push("device-000004".into()),
        &["--device device-000004", "device-000003"],
    );
    refused(
        &|spec| spec.devices.push("../../etc".into()),
        &["--device ../../etc"],
    );
    refused(
        &|spec| spec.serials = vec!["4a".parse().unwrap()],
        &["--serial 4a", "--issuer"],
    );
    refused(
        &|spec| {
            spec.serials = vec!["4a".parse().unwrap()];
            spec.issuer = Some(AuthorityName::Intermediate(2));
        },
        &["--issuer intermediate-02"],
    );
    refused(
        &|spec| spec.intermediates = vec![AuthorityName::Policy(2)],
        &["--intermediate policy-02"],
    );
    refused(
        &|spec| spec.intermediates = vec![AuthorityName::TrustAnchor],
        &["--intermediate", "trust anchor"],
    );
}

#[test]
fn every_authority_has_a_signed_list_also_an_empty_one() {
    let pki = Pki::new(|_| {});
    pki.revoke(|spec| {
        spec.devices = vec!["device-000001".into()];
        spec.reason = Some(Reason::KeyCompromise);
    })
    .unwrap();
    let made = pki
        .lists(|spec| spec.next_update = Duration::from_secs(3600))
        .unwrap();
    assert_eq!((made.number, made.base), (1, None));
    let issuers: Vec<_> = made
        .lists
        .iter()
        .map(|list| list.issuer.to_string())
        .collect();
    assert_eq!(
        issuers,
        [
            "trust-anchor",
            "policy-01",
            "intermediate-00",
            "intermediate-01"
        ]
    );
    for list in &made.lists {
        let der = contents(&list.path).remove(0);
        let (rest, parsed) = CertificateRevocationList::from_der(&der).unwrap();
        assert!(rest.is_empty());
        assert_eq!(parsed.version().unwrap().0, 1, "version 2");
        let (certificate, _) = pki.layout().authority(list.issuer);
        let issuer = contents(&certificate).remove(0);
        let (_, issuer) = X509Certificate::from_der(&issuer).unwrap();
        assert_eq!(parsed.issuer().as_raw(), issuer.subject().as_raw());
        parsed.verify_signature(issuer.public_key()).unwrap();
        assert_eq!(
            parsed.next_update().unwrap().timestamp() - parsed.last_update().timestamp(),
            3600
        );
        let key_id =
            issuer
                .iter_extensions()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                });
        let pointed_to =
            parsed
                .extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(id) => {
                        Some(id.key_identifier.as_ref()?.0.to_vec())
                    }
                    _ => None,
                });
        assert!(key_id.is_some() && key_id == pointed_to);
        assert_eq!(list.revoked, parsed.iter_revoked_certificates().count());
        assert_eq!(list.revoked, usize::from(list.issuer == SECOND));
    }
    let list = pki.described("intermediate-01.pem");
    assert_eq!(serials(&list), [pki.serial(1).to_string()]);
    assert_eq!(list.revoked[0].reason.as_deref(), Some("KeyCompromise"));
    assert_eq!((list.number.as_deref(), list.delta_to), (Some("1"), None));
}

#[test]
fn lists_are_signed_with_every_kind_of_key() {
    for kind in KeyKind::ALL {
        let pki = Pki::new(|spec| (spec.ca_key, spec.depth, spec.intermediates) = (kind, 1, 1));
        pki.revoke_device("device-000000");
        for list in pki.lists(|_| {}).unwrap().lists {
            let der = contents(&list.path).remove(0);
            let (_, parsed) = CertificateRevocationList::from_der(&der).unwrap();
            let (certificate, _) = pki.layout().authority(list.issuer);
            let issuer = contents(&certificate).remove(0);
            let (_, issuer) = X509Certificate::from_der(&issuer).unwrap();
            parsed.verify_signature(issuer.public_key()).unwrap();
        }
    }
}

#[test]
fn a_delta_has_what_was_revoked_since_the_full_list() {
    let pki = Pki::new(|_| {});
    let refused = pki.lists(|spec| spec.delta = true).unwrap_err();
    assert!(matches!(refused, Error::NoBase(_)), "{refused}");
    pki.revoke_device("device-000000");
    pki.lists(|_| {}).unwrap();
    pki.revoke_device("device-000002");
    let delta = pki.lists(|spec| spec.delta = true).unwrap();
    assert_eq!((delta.number, delta.base), (2, Some(1)));
    let list = pki.described("intermediate-00.delta.pem");
    assert_eq!(serials(&list), [pki.serial(2).to_string()]);
    assert_eq!(
        (list.number.as_deref(), list.delta_to.as_deref()),
        (Some("2"), Some("1"))
    );
    let path = pki.layout().crl_folder().join("intermediate-00.delta.pem");
    let der = contents(&path).remove(0);
    let (_, parsed) = CertificateRevocationList::from_der(&der).unwrap();
    let critical: Vec<_> = parsed
        .extensions()
        .iter()
        .filter(|extension| extension.critical)
        .map(|extension| extension.oid.to_id_string())
        .collect();
    assert_eq!(critical, ["2.5.29.27"]);

    // Still since the full list, not since the last delta.
    pki.revoke_device("device-000001");
    pki.lists(|spec| spec.delta = true).unwrap();
    assert_eq!(pki.described("intermediate-00.delta.pem").revoked_count, 1);
    assert_eq!(pki.described("intermediate-01.delta.pem").revoked_count, 1);
    assert_eq!(pki.described("intermediate-01.pem").revoked_count, 0);

    // The next full list has all, and takes the place of the deltas.
    let full = pki.lists(|_| {}).unwrap();
    assert_eq!((full.number, full.base), (4, None));
    assert_eq!(pki.described("intermediate-00.pem").revoked_count, 2);
    let files = [
        "intermediate-00.pem",
        "intermediate-01.pem",
        "policy-01.pem",
        "revoked.json",
        "trust-anchor.pem",
    ];
    assert_eq!(pki.files(), files);
}

#[test]
fn der_takes_the_place_of_pem_and_the_other_way_round() {
    let pki = Pki::new(|spec| (spec.depth, spec.intermediates) = (1, 1));
    pki.lists(|_| {}).unwrap();
    pki.lists(|spec| spec.der = true).unwrap();
    assert_eq!(
        pki.files(),
        ["intermediate-00.crl", "revoked.json", "trust-anchor.crl"]
    );
    assert_eq!(
        pki.described("intermediate-00.crl").number.as_deref(),
        Some("2")
    );
    pki.lists(|_| {}).unwrap();
    assert_eq!(
        pki.files(),
        ["intermediate-00.pem", "revoked.json", "trust-anchor.pem"]
    );
}

#[test]
fn padding_is_distinct_seeded_and_recorded_nowhere() {
    let pki = Pki::new(|spec| (spec.depth, spec.intermediates) = (1, 2));
    pki.revoke_device("device-000000");
    let padded = |seed: Option<u64>| {
        let made = pki
            .lists(|spec| (spec.pad, spec.seed) = (1201, seed))
            .unwrap();
        let counts: Vec<_> = made.lists.iter().map(|list| list.revoked).collect();
        assert_eq!(counts, [0, 1202, 1201]);
        let of = |file: &str| -> std::collections::HashSet<String> {
            pki.described(file)
                .revoked
                .into_iter()
                .map(|entry| entry.serial)
                .collect()
        };
        (of("intermediate-00.pem"), of("intermediate-01.pem"))
    };
    let (first, second) = padded(Some(7));
    assert_eq!((first.len(), second.len()), (1202, 1201));
    assert!(first.is_disjoint(&second));
    assert!(first.contains(&pki.serial(0).to_string()));
    assert_eq!(padded(Some(7)), (first.clone(), second));
    assert_ne!(padded(None).0, first);
    pki.lists(|_| {}).unwrap();
    assert_eq!(pki.described("intermediate-00.pem").revoked_count, 1);
}

#[test]
fn lists_that_cannot_be() {
    let pki = Pki::new(|_| {});
    let is_usage = |change: &dyn Fn(&mut CrlSpec)| pki.lists(change).unwrap_err().is_usage();
    assert!(is_usage(&|spec| spec.next_update = Duration::ZERO));
    assert!(is_usage(&|spec| spec.next_update = Duration::MAX));
    assert!(is_usage(&|spec| spec.pad = crl::MOST_PADDING + 1));
}

#[test]
fn a_fleet_without_intermediates_lists_on_the_trust_anchor() {
    let pki = Pki::new(|spec| spec.depth = 0);
    assert_eq!(
        pki.revoke_device("device-000003").revocation.issuer,
        AuthorityName::TrustAnchor
    );
    let made = pki.lists(|spec| spec.pad = 5).unwrap();
    assert_eq!(made.lists.len(), 1);
    assert_eq!(pki.described("trust-anchor.pem").revoked_count, 6);
}

#[test]
fn a_renewed_device_keeps_names_issuer_and_key() {
    let pki = Pki::new(|spec| spec.spiffe_domain = Some("plant-7.example".into()));
    let open = || Fleet::open(&pki.root).unwrap().device(3).unwrap();
    let old = open();
    let mut spec = RenewSpec::new(&pki.root, "device-000003");
    spec.validity = Duration::from_secs(3600);
    let renewed = renew(&spec).unwrap();
    let new = open();
    assert_eq!(renewed.issuer, SECOND);
    assert_eq!(renewed.old_serial, serial(old.end_entity()));
    assert_eq!(renewed.new_serial, serial(new.end_entity()));
    assert_ne!(renewed.old_serial, renewed.new_serial);
    assert!(new.key == old.key && new.chain[1..] == old.chain[1..]);
    let (_, before) = X509Certificate::from_der(old.end_entity()).unwrap();
    let (_, after) = X509Certificate::from_der(new.end_entity()).unwrap();
    assert_eq!(before.subject().as_raw(), after.subject().as_raw());
    assert_eq!(before.public_key().raw, after.public_key().raw);
    // Names, purposes, usages and key identifiers alike.
    let extensions = |certificate: &X509Certificate<'_>| -> Vec<(String, Vec<u8>)> {
        let of = |extension: &x509_parser::prelude::X509Extension<'_>| {
            (extension.oid.to_id_string(), extension.value.to_vec())
        };
        certificate.extensions().iter().map(of).collect()
    };
    assert_eq!(extensions(&before), extensions(&after));
    assert!(after.validity().not_after < before.validity().not_after);
    assert_eq!(
        after.validity().not_after.timestamp(),
        renewed.not_after.unix_timestamp()
    );
    let mode = fs::metadata(&renewed.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(renewed.path.parent().unwrap())
            .unwrap()
            .count(),
        4
    );
}

#[test]
fn a_renewed_device_may_have_a_new_key() {
    let pki = Pki::new(|spec| spec.key = KeyKind::Ed25519);
    let open = || -> Credential { Fleet::open(&pki.root).unwrap().device(0).unwrap() };
    let old = open();
    let mut spec = RenewSpec::new(&pki.root, "device-000000");
    spec.new_key = true;
    renew(&spec).unwrap();
    let new = open();
    assert_ne!(old.key, new.key);
    assert_eq!(old.key.len(), new.key.len(), "of the same type");
    // Renewed is not revoked; and what is revoked then is the new one.
    assert!(!pki.layout().crl_folder().exists());
    assert_eq!(
        pki.revoke_device("device-000000").revocation.serial,
        serial(new.end_entity())
    );
}

#[test]
fn renewals_that_are_refused_leave_the_device_as_it_is() {
    let pki = Pki::new(|_| {});
    let path = pki.layout().device_path(0);
    let refused = |device: &str, validity: u64| {
        let mut spec = RenewSpec::new(&pki.root, device);
        spec.validity = Duration::from_secs(validity);
        renew(&spec).unwrap_err()
    };
    let before = fs::read(&path).unwrap();
    assert!(refused("device-000000", 0).is_usage());
    assert!(
        refused("device-000004", 60)
            .to_string()
            .contains("--device device-000004")
    );
    assert_eq!(fs::read(&path).unwrap(), before);
    // A certificate from elsewhere.
    let other = Pki::new(|_| {});
    fs::copy(other.layout().device_path(0), &path).unwrap();
    assert!(matches!(
        refused("device-000000", 60),
        renew::Error::ForeignIssuer(_)
    ));
    let error = pki
        .revoke(|spec| spec.devices = vec!["device-000000".into()])
        .unwrap_err();
    assert!(matches!(error, Error::ForeignIssuer { .. }), "{error}");
}
