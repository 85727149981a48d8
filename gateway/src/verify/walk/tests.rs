use rcgen::{
    BasicConstraints, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::CertificateDer;

use crate::verify::tests::{
    Authority, anchor, authority_params, below, device_params, expired, issue, key, material,
    refusal, verify, version_one,
};
use crate::verify::{Refusal, Rules};

const ACCEPTING: Rules = Rules {
    min_rsa_bits: 2048,
    legacy_end_entities: true,
};

/// A version 1 end entity below `issuer`.
fn legacy(issuer: &Authority) -> CertificateDer<'static> {
    version_one(&issue(issuer, &device_params("device")), issuer.key())
}

fn none() -> Vec<CertificateDer<'static>> {
    Vec::new()
}

#[test]
fn legacy_end_entities_are_a_choice() {
    let root = anchor(authority_params("root"));
    let device = legacy(&root);
    assert_eq!(
        refusal(&material(&[&root], Rules::default()), &device, &none()),
        Refusal::LegacyVersion
    );
    let (chain, cost) = verify(&material(&[&root], ACCEPTING), &device, &none());
    let chain = chain.unwrap();
    assert_eq!(chain.end_entity(), &device);
    assert_eq!((chain.links().len(), cost), (1, 1));
}

#[test]
fn legacy_end_entities_below_intermediates() {
    let root = anchor(authority_params("root"));
    let upper = below(&root, authority_params("upper"));
    let lower = below(&upper, authority_params("lower"));
    let list = [upper.der().clone(), lower.der().clone()];
    let trusted = material(&[&root], ACCEPTING);
    let chain = verify(&trusted, &legacy(&lower), &list).0.unwrap();
    assert_eq!(
        chain.intermediates(),
        [lower.der().clone(), upper.der().clone()]
    );
    assert_eq!(
        refusal(&trusted, &legacy(&lower), &list[1..]),
        Refusal::UnknownIssuer
    );
}

#[test]
fn a_version_one_certificate_issues_nothing() {
    let root = anchor(authority_params("root"));
    let middle = below(&root, authority_params("middle"));
    let old = version_one(middle.der(), root.key());
    let trusted = material(&[&root], ACCEPTING);
    for device in [legacy(&middle), issue(&middle, &device_params("device"))] {
        assert_eq!(
            refusal(&trusted, &device, std::slice::from_ref(&old)),
            Refusal::WrongRole
        );
    }
}

#[test]
fn a_forged_legacy_end_entity_is_refused() {
    let root = anchor(authority_params("root"));
    let stranger = anchor(authority_params("root"));
    let trusted = material(&[&root], ACCEPTING);
    assert_eq!(
        refusal(&trusted, &legacy(&stranger), &none()),
        Refusal::BadSignature
    );
    let mut damaged = legacy(&root).to_vec();
    let end = damaged.len() - 1;
    damaged[end] ^= 1;
    assert_eq!(
        refusal(&trusted, &CertificateDer::from(damaged), &none()),
        Refusal::BadSignature
    );
    assert_eq!(
        refusal(
            &trusted,
            &legacy(&anchor(authority_params("other"))),
            &none()
        ),
        Refusal::UnknownIssuer
    );
}

#[test]
fn a_forged_step_below_a_real_intermediate_is_refused() {
    let root = anchor(authority_params("root"));
    let middle = below(&root, authority_params("middle"));
    let stranger = below(&root, authority_params("stranger"));
    let trusted = material(&[&root], ACCEPTING);
    let device = version_one(&issue(&middle, &device_params("device")), stranger.key());
    let list = [middle.der().clone()];
    assert_eq!(refusal(&trusted, &device, &list), Refusal::BadSignature);
}

#[test]
fn the_issuers_of_legacy_end_entities_are_held_to_all_rules() {
    let root = anchor(authority_params("root"));
    let trusted = material(&[&root], ACCEPTING);
    let mut no_signer = authority_params("middle");
    no_signer.key_usages = vec![KeyUsagePurpose::CrlSign];
    let mut no_authority = authority_params("middle");
    no_authority.is_ca = IsCa::ExplicitNoCa;
    let mut servers = authority_params("middle");
    servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut critical = authority_params("middle");
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    critical.custom_extensions.push(unknown);
    for (params, expected) in [
        (critical, Refusal::UnsupportedExtension),
        (no_signer, Refusal::WrongRole),
        (no_authority, Refusal::WrongRole),
        (servers, Refusal::WrongUsage),
        (expired(authority_params("middle")), Refusal::Expired),
    ] {
        let middle = below(&root, params);
        let list = [middle.der().clone()];
        assert_eq!(refusal(&trusted, &legacy(&middle), &list), expected);
    }
    let mut last = authority_params("upper");
    last.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let upper = below(&root, last);
    let lower = below(&upper, authority_params("lower"));
    let list = [upper.der().clone(), lower.der().clone()];
    assert!(verify(&trusted, &legacy(&upper), &list).0.is_ok());
    assert_eq!(
        refusal(&trusted, &legacy(&lower), &list),
        Refusal::ConstraintViolated
    );
}

#[test]
fn no_path_has_more_than_six_intermediates() {
    let root = anchor(authority_params("root"));
    let trusted = material(&[&root], ACCEPTING);
    let mut list = Vec::new();
    let mut issuer = root;
    for level in 1..=7 {
        issuer = below(&issuer, authority_params(&format!("level {level}")));
        list.push(issuer.der().clone());
        let found = verify(&trusted, &legacy(&issuer), &list).0.map(|_| ());
        let expected = match level {
            ..=6 => Ok(()),
            _ => Err(Refusal::ConstraintViolated),
        };
        assert_eq!(found, expected, "{level} intermediates");
    }
}

#[test]
fn an_expired_legacy_end_entity_is_refused() {
    let root = anchor(authority_params("root"));
    let device = issue(&root, &expired(device_params("device")));
    let device = version_one(&device, root.key());
    assert_eq!(
        refusal(&material(&[&root], ACCEPTING), &device, &none()),
        Refusal::Expired
    );
}

#[test]
fn a_maze_of_intermediates_is_bounded_for_legacy_end_entities_too() {
    let root = anchor(authority_params("root"));
    let key = key();
    // The attacker holds all keys, and each certificate is well signed by the next: all but the anchor's step is good.
    let forged: Vec<Authority> = (0..9).map(|_| anchor(authority_params("maze"))).collect();
    let list: Vec<_> = forged
        .iter()
        .flat_map(|issuer| {
            let params = authority_params("maze");
            [params.signed_by(&key, issuer).unwrap().der().clone()]
        })
        .chain(forged.iter().map(|forged| forged.der().clone()))
        .collect();
    let (refused, cost) = verify(&material(&[&root], ACCEPTING), &legacy(&forged[0]), &list);
    assert!(refused.is_err());
    assert!(cost <= crate::verify::signature::MAX_CHECKS);
}

// Directory names

fn directory(organization: DnValue) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    name
}

fn text(value: &str) -> DnValue {
    DnValue::Utf8String(value.to_owned())
}

/// What comes of a device of `organization` below an intermediate with the constraints.
fn constrained(
    permitted: Vec<GeneralSubtree>,
    excluded: Vec<GeneralSubtree>,
    organization: DnValue,
    alternative: Vec<SanType>,
) -> Result<(), Refusal> {
    let root = anchor(authority_params("root"));
    let mut params = authority_params("middle");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: excluded,
    });
    let middle = below(&root, params);
    let mut params = device_params("device");
    params.distinguished_name = directory(organization);
    params.distinguished_name.push(DnType::CommonName, "device");
    params.subject_alt_names = alternative;
    let device = issue(&middle, &params);
    let trusted = material(&[&root], Rules::default());
    verify(&trusted, &device, &[middle.der().clone()])
        .0
        .map(|_| ())
}

fn plant() -> GeneralSubtree {
    GeneralSubtree::DirectoryName(directory(text("Plant 7")))
}

#[test]
fn a_permitted_directory_name_is_respected() {
    let of = |organization| constrained(vec![plant()], Vec::new(), organization, Vec::new());
    assert_eq!(of(text("Plant 7")), Ok(()));
    assert_eq!(of(text("PLANT  7")), Ok(()));
    let printable = DnValue::PrintableString("plant 7".try_into().unwrap());
    assert_eq!(of(printable), Ok(()));
    for other in ["Plant 70", "Plant", ""] {
        assert_eq!(of(text(other)), Err(Refusal::ConstraintViolated), "{other}");
    }
}

#[test]
fn an_anchor_constrains_as_well() {
    let mut params = authority_params("root");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![plant()],
        excluded_subtrees: Vec::new(),
    });
    let root = anchor(params);
    let trusted = material(&[&root], ACCEPTING);
    for (organization, expected) in [
        ("Plant 7", Ok(())),
        ("Plant 8", Err(Refusal::ConstraintViolated)),
    ] {
        let mut params = device_params("device");
        params.distinguished_name = directory(text(organization));
        let device = issue(&root, &params);
        let old = version_one(&device, root.key());
        for device in [device, old] {
            assert_eq!(verify(&trusted, &device, &none()).0.map(|_| ()), expected);
        }
    }
}

#[test]
fn an_excluded_directory_name_is_refused_even_where_it_does_not_match() {
    let excluded = vec![GeneralSubtree::DirectoryName(directory(text("Other")))];
    assert_eq!(
        constrained(Vec::new(), excluded, text("Plant 7"), Vec::new()),
        Err(Refusal::ConstraintViolated)
    );
}

#[test]
fn constraints_beside_a_directory_name_hold_too() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let both = || vec![plant(), GeneralSubtree::DnsName("plant.example".to_owned())];
    let with = |alternative| constrained(both(), Vec::new(), text("Plant 7"), alternative);
    assert_eq!(with(Vec::new()), Ok(()));
    assert_eq!(with(vec![dns("press.plant.example")]), Ok(()));
    assert_eq!(
        with(vec![dns("press.plant.example"), dns("other.example")]),
        Err(Refusal::ConstraintViolated)
    );
    let excluded = vec![GeneralSubtree::DnsName("plant.example".to_owned())];
    assert_eq!(
        constrained(
            vec![plant()],
            excluded,
            text("Plant 7"),
            vec![dns("plant.example")]
        ),
        Err(Refusal::ConstraintViolated)
    );
}

#[test]
fn constrained_addresses_are_refused_where_there_are_any() {
    let mail = || vec![GeneralSubtree::Rfc822Name("plant.example".to_owned())];
    let address = || vec![SanType::Rfc822Name("a@plant.example".try_into().unwrap())];
    let with =
        |permitted, alternative| constrained(permitted, Vec::new(), text("Plant 7"), alternative);
    assert_eq!(with(mail(), Vec::new()), Ok(()));
    assert_eq!(with(mail(), address()), Err(Refusal::ConstraintViolated));
    let both = || [mail(), vec![plant()]].concat();
    assert_eq!(with(both(), Vec::new()), Ok(()));
    assert_eq!(with(both(), address()), Err(Refusal::ConstraintViolated));
}

#[test]
fn an_address_in_the_subject_is_an_address_too() {
    let root = anchor(authority_params("root"));
    let mut params = authority_params("middle");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            plant(),
            GeneralSubtree::Rfc822Name("plant.example".to_owned()),
        ],
        excluded_subtrees: Vec::new(),
    });
    let middle = below(&root, params);
    let mut params = device_params("device");
    params.distinguished_name = directory(text("Plant 7"));
    let email_address = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
    params
        .distinguished_name
        .push(email_address, text("a@other.example"));
    let device = issue(&middle, &params);
    let trusted = material(&[&root], Rules::default());
    assert_eq!(
        refusal(&trusted, &device, &[middle.der().clone()]),
        Refusal::ConstraintViolated
    );
}

#[test]
fn a_better_path_is_found_beside_an_expired_one_with_constraints() {
    let root = anchor(authority_params("root"));
    let key = key();
    let mut params = authority_params("middle");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![plant()],
        excluded_subtrees: Vec::new(),
    });
    let old = expired(params.clone()).signed_by(&key, &root).unwrap();
    let renewed = params.signed_by(&key, &root).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let mut device = device_params("device");
    device.distinguished_name = directory(text("Plant 7"));
    let device = issue(&issuer, &device);
    let list = [old.der().clone(), renewed.der().clone()];
    let trusted = material(&[&root], Rules::default());
    let chain = verify(&trusted, &device, &list).0.unwrap();
    assert_eq!(chain.intermediates(), &list[1..]);
}

#[test]
fn an_authority_below_constraints_is_no_device() {
    let root = anchor(authority_params("root"));
    let mut params = authority_params("middle");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![plant()],
        excluded_subtrees: Vec::new(),
    });
    let middle = below(&root, params);
    let mut lower = authority_params("lower");
    lower.distinguished_name = directory(text("Plant 7"));
    lower.key_usages.push(KeyUsagePurpose::DigitalSignature);
    let lower = issue(&middle, &lower);
    let trusted = material(&[&root], Rules::default());
    assert_eq!(
        refusal(&trusted, &lower, &[middle.der().clone()]),
        Refusal::WrongRole
    );
}
