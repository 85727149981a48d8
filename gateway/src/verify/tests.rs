use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SigningKey,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _};

use super::revocation::{Coverage, RevocationKey, Role};
use super::signature::Budget;
use super::{
    AuthorityCertificate, AuthorityId, Link, PresentedChain, Refusal, Rules, TrustMaterial,
    VerifiedChain,
};

/// A time at which every certificate here is valid that is not made otherwise.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(crate) fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

pub(crate) fn authority_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn device_params(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_after = OffsetDateTime::from_unix_timestamp(NOW as i64 - 1).unwrap();
    params
}

pub(crate) fn anchor(params: CertificateParams) -> Authority {
    CertifiedIssuer::self_signed(params, key()).unwrap()
}

pub(crate) fn below(issuer: &Authority, params: CertificateParams) -> Authority {
    CertifiedIssuer::signed_by(params, key(), issuer).unwrap()
}

pub(crate) fn issue(
    issuer: &Issuer<'_, KeyPair>,
    params: &CertificateParams,
) -> CertificateDer<'static> {
    params.signed_by(&key(), issuer).unwrap().der().clone()
}

pub(crate) fn material(anchors: &[&Authority], rules: Rules) -> TrustMaterial {
    let anchors = anchors
        .iter()
        .map(|anchor| AuthorityCertificate::anchor(anchor.der(), &rules).unwrap())
        .collect();
    TrustMaterial::new(anchors, Vec::new(), rules)
}

/// The result, and the number of signature checks that it cost.
pub(crate) fn verify(
    material: &TrustMaterial,
    end_entity: &CertificateDer<'static>,
    intermediates: &[CertificateDer<'static>],
) -> (Result<VerifiedChain, Refusal>, usize) {
    let budget = Budget::new();
    let presented = PresentedChain {
        end_entity,
        intermediates,
    };
    let result = VerifiedChain::verify_within(&budget, material, presented, NOW);
    (result, budget.used())
}

pub(crate) fn refusal(
    material: &TrustMaterial,
    end_entity: &CertificateDer<'static>,
    intermediates: &[CertificateDer<'static>],
) -> Refusal {
    verify(material, end_entity, intermediates).0.unwrap_err()
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let mut der = vec![tag];
    match contents.len() {
        short @ ..128 => der.push(short as u8),
        128..256 => der.extend([0x81, length[1]]),
        _ => der.extend([0x82, length[0], length[1]]),
    }
    der.extend_from_slice(contents);
    der
}

/// The same certificate in version 1: without a version and without extensions, signed again.
pub(crate) fn version_one(der: &[u8], issuer: &KeyPair) -> CertificateDer<'static> {
    let (_, certificate) = Any::from_der(der).unwrap();
    let (_, tbs) = Any::from_der(certificate.data).unwrap();
    let mut rest = tbs.data;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (after, field) = Any::from_der(rest).unwrap();
        let raw = &rest[..rest.len() - after.len()];
        if field.class() == x509_parser::der_parser::asn1_rs::Class::Universal {
            fields.push(raw);
        }
        rest = after;
    }
    let algorithm = fields[1].to_vec();
    let tbs = tlv(0x30, &fields.concat());
    let mut bits = vec![0];
    bits.extend(issuer.sign(&tbs).unwrap());
    CertificateDer::from(tlv(0x30, &[tbs, algorithm, tlv(0x03, &bits)].concat()))
}

/// An RSA key of `bits` whose holder nobody knows.
struct RsaKey(Vec<u8>);

impl RsaKey {
    fn new(bits: usize, exponent: u8) -> Self {
        let mut modulus = vec![0; bits / 8 + 1];
        modulus[1] = 0x80;
        modulus[bits / 8] = 1;
        let integers = [tlv(0x02, &modulus), tlv(0x02, &[exponent])].concat();
        Self(tlv(0x30, &integers))
    }
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[test]
fn a_chain_says_what_revocation_and_ocsp_ask_for() {
    let root = anchor(authority_params("root"));
    let middle = below(&root, authority_params("middle"));
    let device = issue(&middle, &device_params("device"));
    let material = material(&[&root], Rules::default());
    let chain = verify(&material, &device, &[middle.der().clone()])
        .0
        .unwrap();
    let link = |issuer: AuthorityId, role, der: &CertificateDer<'_>| {
        let certificate = super::certificate::Certificate::parse(der).unwrap();
        Link {
            issuer,
            key: RevocationKey::new(&issuer, certificate.serial()),
            coverage: Coverage::of(role, certificate.x509()),
        }
    };
    let issuer = AuthorityCertificate::intermediate(middle.der(), &Rules::default()).unwrap();
    let trusted = AuthorityCertificate::anchor(root.der(), &Rules::default()).unwrap();
    let links = [
        link(*issuer.id(), Role::EndEntity, &device),
        link(*trusted.id(), Role::Authority, middle.der()),
    ];
    assert_eq!(chain.links(), links);
    assert_eq!(*chain.issuer().subject, *issuer.subject());
    assert_eq!(*chain.issuer().public_key, *issuer.public_key());
    assert!(material.trusts(chain.anchor()));
    assert_eq!(
        *issuer.id(),
        AuthorityId::new(issuer.subject(), issuer.public_key())
    );
}

#[test]
fn key_usage_is_respected_where_it_is_present() {
    let root = anchor(authority_params("root"));
    let material = material(&[&root], Rules::default());
    let mut params = device_params("device");
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    assert_eq!(
        refusal(&material, &issue(&root, &params), &[]),
        Refusal::WrongUsage
    );
    params.key_usages.clear();
    assert!(verify(&material, &issue(&root, &params), &[]).0.is_ok());

    let mut params = authority_params("no signer");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let middle = below(&root, params);
    let device = issue(&middle, &device_params("device"));
    assert_eq!(
        refusal(&material, &device, &[middle.der().clone()]),
        Refusal::WrongRole
    );
    let mut params = authority_params("silent");
    params.key_usages.clear();
    let middle = below(&root, params);
    let device = issue(&middle, &device_params("device"));
    assert!(
        verify(&material, &device, &[middle.der().clone()])
            .0
            .is_ok()
    );
}

#[test]
fn another_path_is_tried_where_ours_is_the_objection() {
    let root = anchor(authority_params("root"));
    let key = key();
    let mut unfit = authority_params("middle");
    unfit.key_usages = vec![KeyUsagePurpose::CrlSign];
    let unfit = unfit.signed_by(&key, &root).unwrap().der().clone();
    let fit = authority_params("middle").signed_by(&key, &root).unwrap();
    let device = issue(
        &Issuer::new(authority_params("middle"), key),
        &device_params("device"),
    );
    let list = [unfit, fit.der().clone()];
    let chain = verify(&material(&[&root], Rules::default()), &device, &list)
        .0
        .unwrap();
    assert_eq!(chain.intermediates(), &list[1..]);
}

#[test]
fn any_purpose_is_not_client_authentication_and_none_is() {
    let root = anchor(authority_params("root"));
    let material = material(&[&root], Rules::default());
    let mut params = device_params("device");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    assert_eq!(
        refusal(&material, &issue(&root, &params), &[]),
        Refusal::WrongUsage
    );
    params.extended_key_usages.clear();
    assert!(verify(&material, &issue(&root, &params), &[]).0.is_ok());
}

#[test]
fn unfit_keys_are_refused() {
    let root = anchor(authority_params("root"));
    let material = material(&[&root], Rules::default());
    let device = |key: &RsaKey| {
        let certificate = device_params("device").signed_by(key, &root).unwrap();
        verify(&material, certificate.der(), &[]).0.map(|_| ())
    };
    assert_eq!(device(&RsaKey::new(2048, 3)), Ok(()));
    for (bits, exponent) in [(1024, 3), (2040, 3), (8200, 3), (2048, 1), (2048, 4)] {
        assert_eq!(
            device(&RsaKey::new(bits, exponent)),
            Err(Refusal::WeakKey),
            "{bits} bits, exponent {exponent}"
        );
    }
}

#[test]
fn a_weak_issuer_is_called_so() {
    let root = anchor(authority_params("root"));
    let middle = authority_params("middle");
    let weak = middle.signed_by(&RsaKey::new(1024, 3), &root).unwrap();
    let size = rcgen::RsaKeySize::_2048;
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    let device = issue(&Issuer::new(middle, key), &device_params("device"));
    let material = material(&[&root], Rules::default());
    assert_eq!(
        refusal(&material, &device, &[weak.der().clone()]),
        Refusal::WeakKey
    );
}

#[test]
fn extensions_that_nobody_knows_matter_only_if_critical() {
    let root = anchor(authority_params("root"));
    let material = material(&[&root], Rules::default());
    let with = |oid: &[u64], critical| {
        let mut params = device_params("device");
        let mut extension = CustomExtension::from_oid_content(oid, vec![0x05, 0x00]);
        extension.set_criticality(critical);
        params.custom_extensions.push(extension);
        verify(&material, &issue(&root, &params), &[]).0.map(|_| ())
    };
    let unknown = [1, 3, 6, 1, 4, 1, 99_999, 1];
    assert_eq!(with(&unknown, false), Ok(()));
    assert_eq!(with(&unknown, true), Err(Refusal::UnsupportedExtension));
    let certificate_policies = [2, 5, 29, 32];
    assert_eq!(
        with(&certificate_policies, true),
        Err(Refusal::UnsupportedExtension)
    );
}

#[test]
fn copies_of_an_intermediate_cost_nothing() {
    let root = anchor(authority_params("root"));
    let middle = below(&root, authority_params("middle"));
    let device = issue(&middle, &device_params("device"));
    let mut forged = device.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = CertificateDer::from(forged);
    let material = material(&[&root], Rules::default());
    let (ordinary, cost) = verify(&material, &forged, &[middle.der().clone()]);
    assert_eq!((ordinary.unwrap_err(), cost), (Refusal::BadSignature, 2));
    let copies = vec![middle.der().clone(); 9];
    let (refused, cost_of_copies) = verify(&material, &forged, &copies);
    assert_eq!(refused.unwrap_err(), Refusal::BadSignature);
    assert_eq!(cost_of_copies, cost);
}

#[test]
fn a_maze_of_forged_intermediates_costs_a_bounded_number_of_checks() {
    let root = anchor(authority_params("root"));
    // Each claims the anchor's name, so that each can stand above each, and all below the anchor.
    let forged: Vec<Authority> = (0..9).map(|_| anchor(authority_params("root"))).collect();
    let device = issue(&forged[0], &device_params("device"));
    let list: Vec<CertificateDer<'_>> = forged.iter().map(|forged| forged.der().clone()).collect();
    let material = material(&[&root], Rules::default());
    let (refused, cost) = verify(&material, &device, &list);
    assert_eq!(refused.unwrap_err(), Refusal::ConstraintViolated);
    assert_eq!(cost, super::signature::MAX_CHECKS);
}

#[test]
fn a_maze_that_leads_nowhere_costs_a_bounded_number_of_steps() {
    let root = anchor(authority_params("root"));
    // Each stands above each other one: thousands of paths, and not one signature to check.
    let maze: Vec<Authority> = (0..9).map(|_| anchor(authority_params("maze"))).collect();
    let device = issue(&maze[0], &device_params("device"));
    let list: Vec<CertificateDer<'_>> = maze.iter().map(|issuer| issuer.der().clone()).collect();
    let budget = Budget::new();
    let presented = PresentedChain {
        end_entity: &device,
        intermediates: &list,
    };
    let material = material(&[&root], Rules::default());
    let refused = VerifiedChain::verify_within(&budget, &material, presented, NOW);
    assert_eq!(refused.unwrap_err(), Refusal::ConstraintViolated);
    assert_eq!(budget.used(), 0);
    assert!(budget.is_exhausted(), "the search was ended");
}
