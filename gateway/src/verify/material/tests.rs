use rcgen::{BasicConstraints, IsCa, Issuer, KeyUsagePurpose};

use super::TrustMaterial;
use crate::verify::tests::{
    NOW, anchor, authority_params, below, device_params, expired, issue, key, material, named,
    refusal, verify, version_one,
};
use crate::verify::{AuthorityCertificate, AuthorityError, Refusal, Rules};

#[test]
fn what_cannot_issue_is_no_anchor() {
    let rules = Rules::default();
    let error = |params| AuthorityCertificate::anchor(anchor(params).der(), &rules).unwrap_err();
    assert_eq!(error(named("root")), AuthorityError::NotAnAuthority);
    let mut params = authority_params("root");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    assert_eq!(error(params), AuthorityError::NoCertificateSigning);
    let garbage = rustls::pki_types::CertificateDer::from(vec![0x30, 0x00]);
    assert_eq!(
        AuthorityCertificate::anchor(&garbage, &rules).unwrap_err(),
        AuthorityError::Malformed
    );
}

#[test]
fn version_one_is_for_anchors_only() {
    let key = key();
    let params = authority_params("root");
    let der = version_one(params.self_signed(&key).unwrap().der(), &key);
    let rules = Rules::default();
    assert_eq!(
        AuthorityCertificate::intermediate(&der, &rules).unwrap_err(),
        AuthorityError::OldVersion
    );
    let old = AuthorityCertificate::anchor(&der, &rules).unwrap();
    let material = TrustMaterial::new(vec![old], Vec::new(), rules);
    let device = issue(&Issuer::new(params, key), &device_params("device"));
    assert!(verify(&material, &device, &[]).0.is_ok());
}

#[test]
fn an_expired_anchor_is_named_and_leads_nowhere() {
    let root = anchor(expired(authority_params("root")));
    let trusted = material(&[&root], Rules::default());
    assert_eq!(trusted.expired(NOW).count(), 1);
    assert_eq!(trusted.expired(NOW - 1).count(), 0);
    let device = issue(&root, &device_params("device"));
    assert_eq!(refusal(&trusted, &device, &[]), Refusal::Expired);
}

#[test]
fn a_renewed_anchor_takes_the_place_of_the_expired_one() {
    let key = key();
    let old = expired(authority_params("root")).self_signed(&key).unwrap();
    let renewed = authority_params("root").self_signed(&key).unwrap();
    let device = issue(
        &Issuer::new(authority_params("root"), key),
        &device_params("device"),
    );
    let rules = Rules::default();
    let anchors =
        [&old, &renewed].map(|anchor| AuthorityCertificate::anchor(anchor.der(), &rules).unwrap());
    assert_eq!(anchors[0].id(), anchors[1].id());
    let window = anchors[1].window();
    let trusted = TrustMaterial::new(anchors.to_vec(), Vec::new(), rules);
    let chain = verify(&trusted, &device, &[]).0.unwrap();
    assert_eq!((chain.not_before(), chain.not_after()), window);
}

#[test]
fn a_chain_is_valid_no_longer_than_its_anchor() {
    let mut params = authority_params("root");
    let until = NOW + 100;
    params.not_after = time::OffsetDateTime::from_unix_timestamp(until as i64).unwrap();
    let root = anchor(params);
    let device = issue(&root, &device_params("device"));
    let chain = verify(&material(&[&root], Rules::default()), &device, &[])
        .0
        .unwrap();
    assert_eq!(chain.not_after(), until);
}

#[test]
fn an_anchor_bounds_the_length_of_its_paths() {
    let mut params = authority_params("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = anchor(params);
    let middle = below(&root, authority_params("middle"));
    let trusted = material(&[&root], Rules::default());
    let device = issue(&root, &device_params("device"));
    assert!(verify(&trusted, &device, &[]).0.is_ok());
    let device = issue(&middle, &device_params("device"));
    assert_eq!(
        refusal(&trusted, &device, &[middle.der().clone()]),
        Refusal::ConstraintViolated
    );
}

#[test]
fn a_device_need_not_present_preloaded_intermediates() {
    let root = anchor(authority_params("root"));
    let upper = below(&root, authority_params("upper"));
    let lower = below(&upper, authority_params("lower"));
    let device = issue(&lower, &device_params("device"));
    let rules = Rules::default();
    let others: Vec<_> = (0..20)
        .map(|n| below(&root, authority_params(&format!("other {n}"))))
        .collect();
    let load = |der| AuthorityCertificate::intermediate(der, &rules).unwrap();
    let mut intermediates: Vec<_> = others.iter().map(|other| load(other.der())).collect();
    intermediates.extend([load(upper.der()), load(lower.der())]);
    let anchors = vec![AuthorityCertificate::anchor(root.der(), &rules).unwrap()];
    let trusted = TrustMaterial::new(anchors, intermediates, rules);

    let (chain, cost) = verify(&trusted, &device, &[]);
    assert_eq!(
        chain.unwrap().intermediates(),
        [lower.der().clone(), upper.der().clone()]
    );
    assert_eq!(cost, 3, "the others cost nothing");
    // A presented one leads to a preloaded one, and one that is both counts once.
    let (chain, cost) = verify(&trusted, &device, &[lower.der().clone()]);
    assert!(chain.is_ok());
    assert_eq!(cost, 3);
}

#[test]
fn only_authorities_are_preloaded() {
    let root = anchor(authority_params("root"));
    let device = issue(&root, &device_params("device"));
    assert_eq!(
        AuthorityCertificate::intermediate(&device, &Rules::default()).unwrap_err(),
        AuthorityError::NotAnAuthority
    );
}
