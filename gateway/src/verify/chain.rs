//! A verified chain: a path from an end entity to a trust anchor, every check of which was made.
//!
//! The only maker of [`VerifiedChain`]. A path comes from webpki, or, in the two cases that webpki cannot decide, from
//! `walk`; both go through the same own checks here, so that none of them depends on who found the path. Where a path
//! fails one, other paths are tried.

use std::cell::RefCell;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::certificate::{Certificate, check_window};
use super::material::{AuthorityCertificate, TrustMaterial};
use super::signature::Budget;
use super::{AuthorityId, PresentedChain, Refusal, walk};

/// One certificate of a path, as revocation lists name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who issued it.
    pub issuer: AuthorityId,
    /// Its serial number: the contents of the DER INTEGER, as they stand in the certificate.
    pub serial: Box<[u8]>,
}

/// The authority that issued an end entity, as OCSP names it (RFC 6960, 4.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The contents of its `Name`, without the SEQUENCE header.
    pub subject: Box<[u8]>,
    /// The contents of its `SubjectPublicKeyInfo`, without the SEQUENCE header.
    pub public_key: Box<[u8]>,
}

/// A path from an end entity to a trust anchor, every signature of which was checked for client authentication.
#[derive(Debug)]
pub struct VerifiedChain {
    anchor: AuthorityId,
    not_before: u64,
    not_after: u64,
    end_entity: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    links: Vec<Link>,
    issuer: Issuer,
}

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
                |path, anchor| Self::checked(&end_entity, path, anchor, material, now),
            )
        };
        let result = if end_entity.is_version_three() {
            match Self::by_webpki(budget, material, &end_entity, presented, &candidates, now) {
                // Only a path whose signatures are good comes as far as its names.
                Err(Failure::Names) => walk(),
                Err(Failure::Refused(refusal)) => Err(refusal),
                Ok(chain) => Ok(chain),
            }
        } else if !end_entity.is_version_one() {
            Err(Refusal::Malformed)
        } else if !material.rules().legacy_end_entities {
            Err(Refusal::LegacyVersion)
        } else {
            walk()
        };
        result.map_err(|refusal| match budget.is_exhausted() {
            true => Refusal::ConstraintViolated,
            false => refusal,
        })
    }

    fn by_webpki(
        budget: &Budget,
        material: &TrustMaterial,
        end_entity: &Certificate<'_>,
        presented: PresentedChain<'_>,
        candidates: &[CertificateDer<'_>],
        now: u64,
    ) -> Result<Self, Failure> {
        let parsed = EndEntityCert::try_from(presented.end_entity)?;
        let counted = budget.algorithms();
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = counted
            .iter()
            .map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm)
            .collect();
        let found = RefCell::new(None);
        let own_checks = |path: &VerifiedPath<'_>| {
            let checked = Self::from_path(end_entity, path, material, now);
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
            KeyUsage::client_auth(),
            None,
            Some(&own_checks),
        );
        let (failed, found) = (result.err(), found.take());
        match (failed, found) {
            (None, Some(Ok(chain))) => Ok(chain),
            // A path that webpki accepts says more than those that it does not.
            (_, Some(Err(refusal))) => Err(Failure::Refused(refusal)),
            (Some(error), _) => Err(error.into()),
            (None, None) => Err(Failure::Refused(Refusal::UnknownIssuer)),
        }
    }

    fn from_path(
        end_entity: &Certificate<'_>,
        path: &VerifiedPath<'_>,
        material: &TrustMaterial,
        now: u64,
    ) -> Result<Self, Refusal> {
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
        Self::checked(end_entity, &intermediates, anchor, material, now)
    }

    /// The chain of a path whose signatures and names were found good, after the checks that webpki leaves out.
    fn checked(
        end_entity: &Certificate<'_>,
        intermediates: &[&Certificate<'_>],
        anchor: &AuthorityCertificate,
        material: &TrustMaterial,
        now: u64,
    ) -> Result<Self, Refusal> {
        end_entity.check_end_entity(material.rules())?;
        for intermediate in intermediates {
            intermediate.check_issuer(material.rules())?;
        }
        check_window(anchor.window(), now)?;
        if anchor
            .path_length()
            .is_some_and(|length| intermediates.len() > length)
        {
            return Err(Refusal::ConstraintViolated);
        }
        let (mut not_before, mut not_after) = anchor.window();
        let mut links = Vec::with_capacity(intermediates.len() + 1);
        let mut issuers = intermediates.iter();
        for certificate in std::iter::once(&end_entity).chain(intermediates) {
            let (from, until) = certificate.window();
            not_before = not_before.max(from);
            not_after = not_after.min(until);
            links.push(Link {
                issuer: issuers
                    .next()
                    .map_or(*anchor.id(), |issuer| issuer.authority()),
                serial: certificate.serial().into(),
            });
        }
        let (subject, public_key) = intermediates
            .first()
            .map_or((anchor.subject(), anchor.public_key()), |nearest| {
                (nearest.subject(), nearest.public_key())
            });
        Ok(Self {
            anchor: *anchor.id(),
            not_before,
            not_after,
            end_entity: CertificateDer::from(end_entity.der().to_vec()),
            intermediates: intermediates
                .iter()
                .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
                .collect(),
            links,
            issuer: Issuer {
                subject: subject.into(),
                public_key: public_key.into(),
            },
        })
    }

    /// The anchor at the end of the path.
    pub fn anchor(&self) -> &AuthorityId {
        &self.anchor
    }

    /// The first second at which every certificate of the path, the anchor's included, is valid.
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// The last second at which every certificate of the path, the anchor's included, is valid.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// The device's own certificate.
    pub fn end_entity(&self) -> &CertificateDer<'static> {
        &self.end_entity
    }

    /// The path's intermediates, nearest to the end entity first. What was presented but not needed is not here.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// The path as revocation lists name it: the end entity, then each intermediate upwards. The anchor is not in it.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Who issued the end entity.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }
}

/// Why webpki found no path.
enum Failure {
    /// A path whose signatures are good breaks name constraints, perhaps only by a form that webpki does not know.
    Names,
    /// Anything else.
    Refused(Refusal),
}

impl From<webpki::Error> for Failure {
    fn from(error: webpki::Error) -> Self {
        match error {
            webpki::Error::NameConstraintViolation => Self::Names,
            other => Self::Refused(other.into()),
        }
    }
}
