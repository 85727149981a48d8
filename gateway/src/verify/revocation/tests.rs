//! Lists as authorities really sign them, and lists as no decent authority would: from DER to the answer.
//!
//! Lists are put together with a small DER writer, for rcgen writes neither delta lists nor bad ones; that rcgen's own
//! lists are read is checked too.

pub(super) mod support;

use std::sync::Arc;

use proptest::prelude::{any, prop, proptest};
use rcgen::KeyUsagePurpose;
use x509_parser::prelude::{FromDer, X509Certificate};

use support::{
    LATER, NOW, Signer, TestList, boolean_extension, entry, extension, removal, revoked_for, write,
};

use super::{
    Authority, Coverage, ListError, Reason, RevocationKey, RevocationSet, Role, Status,
    VerifiedList, Warning, verify_list,
};
use crate::der;
use crate::verify::authority::AuthorityId;

fn verified(list: &TestList, signer: &Signer) -> Arc<VerifiedList> {
    Arc::new(verify_list(&list.signed_by(signer), &[signer.authority()]).unwrap())
}

fn refused(list: &TestList, signer: &Signer) -> ListError {
    verify_list(&list.signed_by(signer), &[signer.authority()]).unwrap_err()
}

fn set_of(lists: &[Arc<VerifiedList>]) -> (RevocationSet, Vec<Warning>) {
    RevocationSet::new(lists.iter().cloned(), None)
}

fn status(set: &RevocationSet, signer: &Signer, serial: &[u8]) -> Status {
    status_at(set, signer, serial, NOW)
}

fn status_at(set: &RevocationSet, signer: &Signer, serial: &[u8], now: u64) -> Status {
    let issuer = signer.authority().id();
    let key = RevocationKey::new(&issuer, serial);
    set.status(&issuer, &key, &Coverage::new(Role::EndEntity, None), now)
}

fn full(number: u64, serials: &[u8]) -> TestList {
    TestList {
        number: Some(number),
        entries: serials.iter().map(|serial| entry(&[*serial])).collect(),
        ..TestList::default()
    }
}

fn delta(number: u64, base: u64, entries: Vec<Vec<u8>>) -> TestList {
    TestList {
        number: Some(number),
        base: Some(base),
        entries,
        ..TestList::default()
    }
}

#[test]
fn what_a_list_names_is_revoked_and_nothing_else() {
    let signer = Signer::new("a");
    let list = TestList {
        entries: vec![entry(&[0, 0x80]), revoked_for(&[5], 6)],
        ..TestList::default()
    };
    let (set, warnings) = set_of(&[verified(&list, &signer)]);
    assert_eq!(warnings, []);
    assert_eq!(
        status(&set, &signer, &[0x80]),
        Status::Revoked(Reason::Unspecified)
    );
    assert_eq!(
        status(&set, &signer, &[0, 0, 0x80]),
        Status::Revoked(Reason::Unspecified)
    );
    assert_eq!(
        status(&set, &signer, &[5]),
        Status::Revoked(Reason::CertificateHold),
        "on hold is revoked"
    );
    assert_eq!(status(&set, &signer, &[6]), Status::Good);
}

#[test]
fn another_issuer_with_the_same_serial_number_is_another_certificate() {
    let (one, other) = (Signer::new("one"), Signer::new("other"));
    let (set, _) = set_of(&[
        verified(&full(1, &[7]), &one),
        verified(&full(1, &[8]), &other),
    ]);
    assert!(matches!(status(&set, &one, &[7]), Status::Revoked(_)));
    assert_eq!(status(&set, &other, &[7]), Status::Good);
    assert_eq!(status(&set, &Signer::new("third"), &[7]), Status::NoList);
}

#[test]
fn an_empty_list_speaks_about_everything() {
    let signer = Signer::new("a");
    let (set, _) = set_of(&[verified(&full(1, &[]), &signer)]);
    assert_eq!(status(&set, &signer, &[1]), Status::Good);
    let info: Vec<_> = set.lists().collect();
    assert_eq!(info.len(), 1);
    assert_eq!((info[0].issuer.as_str(), info[0].entries), ("CN=a", 0));
    assert_eq!((info[0].this_update, info[0].next_update), (NOW - 1, LATER));
    assert_eq!(info[0].number.unwrap().to_string(), "1");
}

#[test]
fn a_list_past_its_next_update_is_stale_but_its_revocations_hold() {
    let signer = Signer::new("a");
    let (set, _) = set_of(&[verified(&full(1, &[7]), &signer)]);
    assert_eq!(status_at(&set, &signer, &[1], LATER - 1), Status::Good);
    assert_eq!(
        status_at(&set, &signer, &[1], LATER),
        Status::Stale { since: LATER }
    );
    assert!(matches!(
        status_at(&set, &signer, &[7], LATER),
        Status::Revoked(_)
    ));
}

#[test]
fn the_older_list_loses_in_either_order() {
    let signer = Signer::new("a");
    let old = verified(&full(1, &[7]), &signer);
    let new = verified(&full(2, &[8]), &signer);
    for lists in [[&old, &new], [&new, &old]] {
        let (set, warnings) = set_of(&lists.map(Arc::clone));
        assert_eq!(status(&set, &signer, &[7]), Status::Good);
        assert!(matches!(status(&set, &signer, &[8]), Status::Revoked(_)));
        assert!(matches!(warnings[..], [Warning::Superseded { .. }]));
        assert!(warnings[0].to_string().contains("list 1 of CN=a"));
    }
}

#[test]
fn of_lists_with_one_number_the_later_wins_and_the_same_one_twice_is_no_news() {
    let signer = Signer::new("a");
    let earlier = TestList {
        this_update: NOW - 100,
        ..full(1, &[7])
    };
    let earlier = verified(&earlier, &signer);
    let later = verified(&full(1, &[8]), &signer);
    let (set, warnings) = set_of(&[later, earlier.clone()]);
    assert_eq!(warnings.len(), 1);
    assert_eq!(status(&set, &signer, &[7]), Status::Good);
    let (_, warnings) = set_of(&[earlier.clone(), earlier]);
    assert_eq!(warnings, []);
}

#[test]
fn a_reload_does_not_go_back_to_an_older_list() {
    let signer = Signer::new("a");
    let old = verified(&full(1, &[7]), &signer);
    let new = verified(&full(2, &[7, 8]), &signer);
    let (before, _) = set_of(&[new]);
    let (set, warnings) = RevocationSet::new([Arc::clone(&old)], Some(&before));
    assert!(matches!(status(&set, &signer, &[8]), Status::Revoked(_)));
    assert!(matches!(warnings[..], [Warning::Rollback { .. }]));
    let (set, warnings) = RevocationSet::new([], Some(&before));
    assert_eq!(warnings, []);
    assert_eq!(
        status(&set, &signer, &[8]),
        Status::NoList,
        "removing every list of an issuer is a decision"
    );
}

#[test]
fn a_delta_adds_and_removes_and_keeps_the_full_list_fresh() {
    let signer = Signer::new("a");
    let full_list = full(10, &[1, 2, 3]);
    let changes = TestList {
        next_update: Some(LATER + 500),
        ..delta(
            12,
            9,
            vec![revoked_for(&[4], 1), removal(&[2]), removal(&[9])],
        )
    };
    let (set, warnings) = set_of(&[verified(&changes, &signer), verified(&full_list, &signer)]);
    assert_eq!(warnings, []);
    assert_eq!(
        status(&set, &signer, &[4]),
        Status::Revoked(Reason::KeyCompromise)
    );
    assert_eq!(status(&set, &signer, &[2]), Status::Good);
    assert!(matches!(status(&set, &signer, &[1]), Status::Revoked(_)));
    assert_eq!(status_at(&set, &signer, &[5], LATER + 499), Status::Good);
    let info = set.lists().next().unwrap();
    assert_eq!((info.entries, info.next_update), (3, LATER + 500));
    assert_eq!(info.number.unwrap().to_string(), "12");
}

#[test]
fn the_newest_delta_that_fits_is_applied() {
    let signer = Signer::new("a");
    let lists = [
        full(10, &[1]),
        delta(11, 10, vec![entry(&[2])]),
        delta(12, 10, vec![entry(&[2]), entry(&[3])]),
        delta(14, 11, vec![entry(&[4])]),
    ]
    .map(|list| verified(&list, &signer));
    let (set, warnings) = set_of(&lists);
    assert!(matches!(status(&set, &signer, &[3]), Status::Revoked(_)));
    assert_eq!(status(&set, &signer, &[4]), Status::Good);
    assert!(matches!(
        warnings[..],
        [Warning::DeltaWithoutBase { .. }, Warning::Superseded { .. }]
    ));
}

#[test]
fn a_delta_without_its_base_or_older_than_the_full_list_is_left_out_with_a_warning() {
    let signer = Signer::new("a");
    let (set, warnings) = set_of(&[verified(&delta(12, 10, vec![entry(&[2])]), &signer)]);
    assert_eq!(status(&set, &signer, &[2]), Status::NoList);
    assert!(matches!(warnings[..], [Warning::DeltaWithoutBase { .. }]));
    assert!(warnings[0].to_string().contains("number 10 or later"));

    let (set, warnings) = set_of(&[
        verified(&full(13, &[1]), &signer),
        verified(&delta(12, 10, vec![removal(&[1])]), &signer),
    ]);
    assert!(matches!(status(&set, &signer, &[1]), Status::Revoked(_)));
    assert!(matches!(warnings[..], [Warning::DeltaOutdated { .. }]));

    let (set, warnings) = set_of(&[
        verified(&full(12, &[1]), &signer),
        verified(&delta(12, 10, vec![removal(&[1])]), &signer),
    ]);
    assert!(matches!(status(&set, &signer, &[1]), Status::Revoked(_)));
    assert_eq!(warnings, [], "issued together");
}

#[test]
fn a_delta_that_disappears_stays_until_a_newer_full_list_comes() {
    let signer = Signer::new("a");
    let base = verified(&full(10, &[1]), &signer);
    let changes = verified(&delta(12, 10, vec![entry(&[2])]), &signer);
    let (before, _) = set_of(&[base.clone(), changes]);
    let (set, warnings) = RevocationSet::new([base], Some(&before));
    assert!(matches!(status(&set, &signer, &[2]), Status::Revoked(_)));
    assert!(matches!(warnings[..], [Warning::Rollback { .. }]));
    let (set, warnings) = RevocationSet::new([verified(&full(12, &[1]), &signer)], Some(&set));
    assert_eq!(status(&set, &signer, &[2]), Status::Good);
    assert_eq!(warnings, []);
}

#[test]
fn partitions_of_one_issuer_stand_side_by_side() {
    let signer = Signer::new("a");
    let part = |flag: u8, serial: u8| {
        let value = write(der::SEQUENCE, &write(der::primitive(flag), &[0xff]));
        let mut list = full(1, &[serial]);
        list.extensions.push(boolean_extension(28, true, &value));
        verified(&list, &signer)
    };
    let (users, authorities) = (part(1, 7), part(2, 8));
    let issuer = signer.authority().id();
    let ask = |set: &RevocationSet, role, serial: u8| {
        let key = RevocationKey::new(&issuer, &[serial]);
        set.status(&issuer, &key, &Coverage::new(role, None), NOW)
    };
    let (set, _) = set_of(std::slice::from_ref(&users));
    assert_eq!(ask(&set, Role::EndEntity, 1), Status::Good);
    assert_eq!(ask(&set, Role::Authority, 1), Status::NoList);
    let (set, warnings) = set_of(&[users, authorities]);
    assert_eq!(warnings, [], "neither replaces the other");
    assert_eq!(set.lists().count(), 2);
    assert_eq!(ask(&set, Role::Authority, 1), Status::Good);
    assert!(matches!(ask(&set, Role::Authority, 8), Status::Revoked(_)));
    assert!(matches!(ask(&set, Role::EndEntity, 7), Status::Revoked(_)));
}

#[test]
fn a_list_is_believed_from_its_issuer_alone() {
    let signer = Signer::new("a");
    let namesake = Signer::new("a");
    let der = full(1, &[7]).signed_by(&signer);
    let error = verify_list(&der, &[namesake.authority()]).unwrap_err();
    assert!(matches!(error, ListError::BadSignature { .. }), "{error}");
    let list = verify_list(&der, &[namesake.authority(), signer.authority()]).unwrap();
    assert_eq!(list.issuer(), signer.authority().id());
    let error = verify_list(&der, &[Signer::new("b").authority()]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("CN=a must be among trust.anchors or trust.intermediates"),
        "{text}"
    );
}

#[test]
fn a_key_identifier_tells_namesakes_apart() {
    let signer = Signer::new("a");
    let namesake = Signer::new("a");
    let list = TestList {
        key_id: Some(signer.key_id()),
        ..full(1, &[7])
    };
    let der = list.signed_by(&signer);
    assert!(verify_list(&der, &[namesake.authority(), signer.authority()]).is_ok());
    let error = verify_list(&der, &[namesake.authority()]).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ListError::UnknownIssuer { .. }));
    assert!(text.contains("(key identifier "), "{text}");
}

#[test]
fn an_issuer_without_crl_sign_is_refused_unless_another_certificate_of_its_key_has_it() {
    let signer = Signer::with_usages("a", vec![KeyUsagePurpose::KeyCertSign]);
    let error = refused(&full(1, &[]), &signer);
    assert!(matches!(error, ListError::NotAllowedToSign { .. }));
    assert!(Signer::with_usages("a", Vec::new()).accepts(&full(1, &[])));
    let renewed = signer.renewed(vec![KeyUsagePurpose::CrlSign]);
    let der = full(1, &[]).signed_by(&signer);
    assert!(verify_list(&der, &[signer.authority(), renewed.authority()]).is_ok());
}

#[test]
fn an_authority_has_the_id_that_its_trust_anchor_has() {
    let signer = Signer::new("a");
    let certificate = signer.certificate.as_slice().into();
    let anchor = webpki::anchor_from_trusted_cert(&certificate).unwrap();
    let id = AuthorityId::new(&anchor.subject, &anchor.subject_public_key_info);
    assert_eq!(signer.authority().id(), id);
    assert!(Authority::from_certificate(b"garbage").is_err());
}

#[test]
fn every_accepted_signature_algorithm_signs_lists() {
    for signer in Signer::of_every_algorithm() {
        let list = verified(&full(1, &[7]), &signer);
        assert_eq!(list.entries(), 1);
        let mut der = full(1, &[7]).signed_by(&signer);
        *der.last_mut().unwrap() ^= 1;
        let error = verify_list(&der, &[signer.authority()]).unwrap_err();
        assert!(matches!(error, ListError::BadSignature { .. }), "{error}");
    }
}

#[test]
fn an_algorithm_that_is_not_accepted_says_so() {
    let signer = Signer::new("a").claiming(&[0x06, 0x01, 0x2a]);
    assert_eq!(
        refused(&full(1, &[]), &signer),
        ListError::UnsupportedAlgorithm
    );
}

#[test]
fn a_list_that_is_cut_off_or_has_a_tail_is_refused() {
    let signer = Signer::new("a");
    let der = full(1, &[7]).signed_by(&signer);
    for length in 0..der.len() {
        assert!(verify_list(&der[..length], &[signer.authority()]).is_err());
    }
    let tail = [der.as_slice(), &[0]].concat();
    assert!(verify_list(&tail, &[signer.authority()]).is_err());
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_reason() {
    let signer = Signer::new("a");
    let with = |extension: Vec<u8>| TestList {
        extensions: vec![extension],
        ..full(1, &[])
    };
    let with_entry = |extension: Vec<u8>| TestList {
        entries: vec![support::entry_with(&[7], &[extension])],
        ..full(1, &[])
    };
    let indirect = write(der::SEQUENCE, &write(der::primitive(4), &[0xff]));
    let refusal = |list: TestList| refused(&list, &signer);
    assert_eq!(
        refusal(with(boolean_extension(28, true, &indirect))),
        ListError::Indirect
    );
    assert_eq!(
        refusal(with_entry(boolean_extension(29, true, &[0x30, 0]))),
        ListError::Indirect
    );
    let unknown = || ListError::CriticalExtension("2.5.29.99".to_owned());
    assert_eq!(refusal(with(boolean_extension(99, true, &[]))), unknown());
    assert_eq!(
        refusal(with_entry(boolean_extension(99, true, &[]))),
        unknown()
    );
    assert!(signer.accepts(&with(boolean_extension(99, false, &[]))));
    assert!(signer.accepts(&with(extension(99, &[]))));
    assert!(signer.accepts(&with_entry(extension(24, &[1]))));
    let removal_in_full = TestList {
        entries: vec![removal(&[7])],
        ..full(1, &[])
    };
    assert_eq!(refusal(removal_in_full), ListError::RemovalInFullList);
    let endless = TestList {
        next_update: None,
        ..full(1, &[])
    };
    assert_eq!(refusal(endless), ListError::NoNextUpdate);
    let twice = with(extension(20, &write(der::INTEGER, &[1])));
    assert!(matches!(refusal(twice), ListError::Malformed(_)));
    let no_such_reason = TestList {
        entries: vec![revoked_for(&[7], 7)],
        ..full(1, &[])
    };
    assert!(matches!(refusal(no_such_reason), ListError::Malformed(_)));
    let delta_without_number = TestList {
        number: None,
        ..delta(1, 1, Vec::new())
    };
    assert!(matches!(
        refusal(delta_without_number),
        ListError::Malformed(_)
    ));
}

#[test]
fn version_1_lists_are_read_and_compared_by_date() {
    let signer = Signer::new("a");
    let list = |this_update, serial| TestList {
        version_1: true,
        number: None,
        this_update,
        entries: vec![entry(&[serial])],
        ..TestList::default()
    };
    let old = verified(&list(NOW - 100, 7), &signer);
    let new = verified(&list(NOW - 50, 8), &signer);
    let (set, _) = set_of(&[new, old]);
    assert_eq!(status(&set, &signer, &[7]), Status::Good);
    assert!(matches!(status(&set, &signer, &[8]), Status::Revoked(_)));
    let with_extensions = TestList {
        number: Some(1),
        ..list(NOW, 7)
    };
    assert!(matches!(
        refused(&with_extensions, &signer),
        ListError::Malformed(_)
    ));
}

#[test]
fn numbers_of_twenty_bytes_are_compared_as_numbers() {
    let signer = Signer::new("a");
    let list = |digits: &[u8], serial: u8| TestList {
        number: None,
        extensions: vec![extension(20, &write(der::INTEGER, digits))],
        ..full(0, &[serial])
    };
    let large = verified(&list(&[0x7f; 20], 7), &signer);
    let small = verified(&list(&[0, 0xff], 8), &signer);
    assert_eq!(small.number().unwrap().to_string(), "255");
    assert_eq!(
        large.number().unwrap().to_string(),
        format!("0x{}", "7f".repeat(20))
    );
    let (set, _) = set_of(&[large, small]);
    assert!(matches!(status(&set, &signer, &[7]), Status::Revoked(_)));
    for bad in [&[1; 21][..], &[0x80], &[]] {
        assert!(matches!(
            refused(&list(bad, 1), &signer),
            ListError::Malformed("cRLNumber")
        ));
    }
}

#[test]
fn a_partition_by_distribution_point_speaks_about_the_certificates_that_name_it() {
    let signer = Signer::new("a");
    let part = signer.rcgen_list(&[&[7]], Some("http://lists.test/1"));
    let part = Arc::new(verify_list(&part, &[signer.authority()]).unwrap());
    let (set, _) = set_of(&[part]);
    let issuer = signer.authority().id();
    for (point, serial, expected) in [
        (Some("http://lists.test/1"), 1, Status::Good),
        (Some("http://lists.test/2"), 1, Status::NoList),
        (None, 1, Status::Good),
        (
            Some("http://lists.test/2"),
            7,
            Status::Revoked(Reason::KeyCompromise),
        ),
    ] {
        let der = support::certificate(point);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let coverage = Coverage::of(Role::EndEntity, &certificate);
        let key = RevocationKey::new(&issuer, &[serial]);
        assert_eq!(set.status(&issuer, &key, &coverage, NOW), expected);
    }
}

#[test]
fn a_list_as_rcgen_writes_it_is_read() {
    let signer = Signer::new("a");
    let der = signer.rcgen_list(&[&[1, 2, 3], &[0xff, 1]], None);
    let list = Arc::new(verify_list(&der, &[signer.authority()]).unwrap());
    let (set, _) = set_of(&[list]);
    assert_eq!(
        status(&set, &signer, &[1, 2, 3]),
        Status::Revoked(Reason::KeyCompromise)
    );
    assert!(matches!(
        status(&set, &signer, &[0, 0xff, 1]),
        Status::Revoked(_)
    ));
    assert_eq!(status(&set, &signer, &[1]), Status::Good);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_verify(bytes: Vec<u8>) {
        let signer = Signer::shared();
        assert!(verify_list(&bytes, &[signer.authority()]).is_err());
    }

    #[test]
    fn a_mutated_list_never_panics_and_never_verifies(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, any::<u8>()), 1..4),
    ) {
        let signer = Signer::shared();
        let list = TestList {
            entries: vec![entry(&[7]), revoked_for(&[8], 1), removal(&[9])],
            ..delta(12, 10, Vec::new())
        };
        let good = list.signed_by(signer);
        let mut bytes = good.clone();
        for (index, edit, byte) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let verified = verify_list(&bytes, &[signer.authority()]);
        assert_eq!(verified.is_ok(), bytes == good);
    }

    #[test]
    fn whatever_is_signed_is_read_or_refused(
        entries: Vec<u8>,
        contents: Vec<u8>,
        number in any::<u8>(),
        id: Vec<u8>,
    ) {
        let signer = Signer::shared();
        let unknown = [
            write(der::OBJECT_IDENTIFIER, &id),
            write(der::BOOLEAN, &[0xff]),
            write(der::OCTET_STRING, &contents),
        ];
        let known = extension(number, &contents);
        for part in [known, write(der::SEQUENCE, &unknown.concat())] {
            let in_list = TestList {
                extensions: vec![part.clone()],
                ..full(1, &[])
            };
            let in_entry = TestList {
                entries: vec![support::entry_with(&[7], &[part])],
                ..full(1, &[])
            };
            let entries = TestList {
                entries: vec![entries.clone()],
                ..full(1, &[])
            };
            for list in [in_list, in_entry, entries] {
                let _ = verify_list(&list.signed_by(signer), &[signer.authority()]);
            }
        }
    }
}

#[test]
fn a_signature_over_another_list_does_not_fit() {
    let signer = Signer::new("a");
    let mut list = full(1, &[7]);
    let signature = signer.key.sign(&list.to_be_signed(&signer)).unwrap();
    list.entries.clear();
    let forged = list.with_signature(&signer, &signature);
    let error = verify_list(&forged, &[signer.authority()]).unwrap_err();
    assert!(matches!(error, ListError::BadSignature { .. }));
}
