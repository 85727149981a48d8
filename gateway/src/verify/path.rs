//! Finding a path: by webpki, and by `walk` in the two cases that webpki cannot decide.
//!
//! Where a path fails one of our own checks, others are tried. It knows no cache and no limits of size.

use std::cell::RefCell;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, VerifiedPath};

use super::certificate::Certificate;
use super::signature::Budget;
use super::{PresentedChain, Refusal, TrustMaterial, VerifiedChain, names, walk};

impl VerifiedChain {
    /// Builds and checks a path for `presented` to one of the anchors of `material`, valid at `now` (seconds since the
    /// Unix epoch), by RFC 5280, section 6, for the key purpose clientAuth.
    ///
    /// # Errors
    /// Why there is none.
    pub fn verify(
        material: &TrustMaterial,
        presented: PresentedChain<'_>,
        now: u64,
    ) -> Result<Self, Refusal> {
        Self::verify_within(&Budget::new(), material, presented, now)
    }

    pub(super) fn verify_within(
        budget: &Budget,
        material: &TrustMaterial,
        presented: PresentedChain<'_>,
        now: u64,
    ) -> Result<Self, Refusal> {
        let end_entity = Certificate::parse(presented.end_entity)?;
        let candidates = material.candidates(&end_entity, presented.intermediates);
        let walk = || {
            walk::find(
                budget,
                material.anchors(),
                &end_entity,
                &candidates,
                now,
                |path, anchor| {
                    VerifiedChain::checked(&end_entity, path, anchor, material.rules(), now)
                },
            )
        };
        let result = if end_entity.is_version_three() {
            match by_webpki(budget, material, &end_entity, presented, &candidates, now) {
                // webpki reports the worst of what it met, so that any error may hide a path that only names keep it from.
                Err(_) if names::are_constrained(material, &candidates) => walk(),
                result => result,
            }
        } else if !end_entity.is_version_one() {
            Err(Refusal::Malformed)
        } else if !material.rules().legacy_end_entities {
            Err(Refusal::LegacyVersion)
        } else {
            walk()
        };
        result.map_err(|refusal| match refusal {
            _ if budget.is_exhausted() => Refusal::ConstraintViolated,
            // The stack takes no signature by a small key for a good one.
            Refusal::BadSignature if has_weak_issuer(&end_entity, &candidates, material) => {
                Refusal::WeakKey
            }
            other => other,
        })
    }
}

fn has_weak_issuer(
    end_entity: &Certificate<'_>,
    candidates: &[CertificateDer<'_>],
    material: &TrustMaterial,
) -> bool {
    candidates
        .iter()
        .filter_map(|der| Certificate::parse(der).ok())
        .any(|candidate| {
            candidate.subject() == end_entity.issuer()
                && candidate.key_type(material.rules()) == Err(Refusal::WeakKey)
        })
}

fn by_webpki(
    budget: &Budget,
    material: &TrustMaterial,
    end_entity: &Certificate<'_>,
    presented: PresentedChain<'_>,
    candidates: &[CertificateDer<'_>],
    now: u64,
) -> Result<VerifiedChain, Refusal> {
    let parsed = EndEntityCert::try_from(presented.end_entity)?;
    let counted = budget.algorithms();
    let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = counted
        .iter()
        .map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm)
        .collect();
    let found = RefCell::new(None);
    let own_checks = |path: &VerifiedPath<'_>| {
        let checked = from_path(end_entity, path, material, now);
        let verdict = match checked {
            Ok(_) => Ok(()),
            // Any error makes webpki try another path; ours is kept beside it.
            Err(_) => Err(webpki::Error::UnknownIssuer),
        };
        found.replace(Some(checked));
        verdict
    };
    let result = parsed.verify_for_usage(
        &algorithms,
        material.trust_anchors(),
        candidates,
        UnixTime::since_unix_epoch(Duration::from_secs(now)),
        budget.client_auth(),
        None,
        Some(&own_checks),
    );
    let (failed, found) = (result.err(), found.take());
    match (failed, found) {
        (None, Some(Ok(chain))) => Ok(chain),
        // A path that webpki accepts says more than those that it does not.
        (_, Some(Err(refusal))) => Err(refusal),
        (Some(error), _) => Err(error.into()),
        (None, None) => Err(Refusal::UnknownIssuer),
    }
}

fn from_path(
    end_entity: &Certificate<'_>,
    path: &VerifiedPath<'_>,
    material: &TrustMaterial,
    now: u64,
) -> Result<VerifiedChain, Refusal> {
    let ders: Vec<CertificateDer<'_>> = path
        .intermediate_certificates()
        .map(|certificate| certificate.der())
        .collect();
    let intermediates: Vec<Certificate<'_>> = ders
        .iter()
        .map(|der| Certificate::parse(der))
        .collect::<Result<_, _>>()?;
    // Anchors may share subject and key, as one that was renewed does; webpki lends ours, so the place tells them apart.
    let anchor = material
        .trust_anchors()
        .iter()
        .position(|anchor| std::ptr::eq(anchor, path.anchor()))
        .and_then(|place| material.anchors().get(place))
        .ok_or(Refusal::UnknownIssuer)?;
    let intermediates: Vec<&Certificate<'_>> = intermediates.iter().collect();
    VerifiedChain::checked(end_entity, &intermediates, anchor, material.rules(), now)
}
