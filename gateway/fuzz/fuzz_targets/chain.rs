//! Any certificates as a presented chain, one after the other: what no trusted authority signed is never believed, and
//! what is believed is in date, leads to the anchor, and can be used wherever a device is.

#![no_main]

use std::sync::LazyLock;

use gateway::fetch::HttpUrl;
use gateway::headers;
use gateway::identity::{Identified, Rule, Source};
use gateway::ocsp::subject::{Issuer, Subject};
use gateway::verify::revocation::distribution_points;
use gateway::verify::{
    AuthorityId, PresentedChain, Refusal, Rules, Settings, TrustMaterial, VerifiedChain,
};
use gateway_fuzz::der;
use gateway_fuzz::pki::{self, NOW};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use rustls::pki_types::CertificateDer;

static STRICT: LazyLock<TrustMaterial> = LazyLock::new(|| pki::material(Rules::default()));

static LEGACY: LazyLock<TrustMaterial> = LazyLock::new(|| {
    pki::material(Rules {
        legacy_end_entities: true,
        ..Rules::default()
    })
});

const LIMITS: Settings = Settings {
    max_certificates: 10,
    max_bytes: 64 * 1024,
};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    gateway_fuzz::mutate::mutate(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    // What is no element is still worth being taken for a certificate.
    let presented = der::elements(data).unwrap_or_else(|| vec![data]);
    check(&presented);
    let signed: Vec<Vec<u8>> = presented
        .iter()
        .map(|der| pki::resign(der).unwrap_or_else(|| der.to_vec()))
        .collect();
    let signed: Vec<&[u8]> = signed.iter().map(Vec::as_slice).collect();
    if signed != presented {
        check(&signed);
    }
});

fn check(ders: &[&[u8]]) {
    let certificates: Vec<CertificateDer<'_>> =
        ders.iter().map(|der| CertificateDer::from(*der)).collect();
    let Some((end_entity, intermediates)) = certificates.split_first() else {
        return;
    };
    let presented = PresentedChain {
        end_entity,
        intermediates,
    };
    if let Err(refusal) = presented.check_limits(&LIMITS) {
        assert!(certificates.len() > 10 || ders.concat().len() > LIMITS.max_bytes);
        assert_eq!(
            refusal == Refusal::TooManyCertificates,
            certificates.len() > 10
        );
        return;
    }
    let strict = VerifiedChain::verify(&STRICT, presented, NOW);
    let legacy = VerifiedChain::verify(&LEGACY, presented, NOW);
    if strict.is_ok() {
        assert!(legacy.is_ok(), "{:?} where less is asked", legacy.err());
    }
    let chain = match legacy {
        Ok(chain) => chain,
        Err(refusal) => {
            refusal.to_certificate_error();
            return;
        }
    };
    assert_eq!(chain.end_entity(), end_entity);
    for certificate in std::iter::once(end_entity).chain(chain.intermediates()) {
        assert!(pki::is_signed(certificate), "a forged certificate");
    }
    assert!((chain.not_before()..=chain.not_after()).contains(&NOW));
    assert!(LEGACY.trusts(chain.anchor()));
    assert_eq!(chain.links().len(), chain.intermediates().len() + 1);
    let anchor = LEGACY.anchors().first().expect("an anchor");
    let anchor = AuthorityId::new(anchor.subject(), anchor.public_key());
    assert_eq!(chain.links().last().map(|link| link.issuer), Some(anchor));
    for late in [chain.not_before().wrapping_sub(1), chain.not_after() + 1] {
        assert!(VerifiedChain::verify(&LEGACY, presented, late).is_err());
    }
    use_it(&chain);
}

/// What is done with a verified chain later.
fn use_it(chain: &VerifiedChain) {
    let settings = headers::Settings {
        client_cert_chain: true,
        forwarded: true,
    };
    for source in [
        Source::CommonName,
        Source::SanUri,
        Source::SanDns,
        Source::Serial,
        Source::Fingerprint,
    ] {
        let rule = Rule {
            source,
            pattern: None,
        };
        if let Ok(device) = Identified::from_chain(chain, &rule, settings) {
            assert_eq!(device.not_after(), chain.not_after());
            assert!(
                device
                    .device_id()
                    .bytes()
                    .all(|byte| matches!(byte, b' '..=b'~'))
            );
        }
    }
    for point in distribution_points(chain.end_entity()) {
        let _ = point.parse::<HttpUrl>();
    }
    let issuer = chain.issuer();
    let issuer = Issuer::from_contents(&issuer.subject, &issuer.public_key);
    let subject = Subject::new(
        chain.end_entity(),
        issuer.expect("a verified issuer has a key").into(),
    );
    assert!(subject.is_ok(), "a verified certificate names its issuer");
}
