//! A verified chain: a path from an end entity to a trust anchor, every check of which was made.
//!
//! The only maker of [`VerifiedChain`], for the paths that `path` finds: whoever found one, webpki or our own walker, it
//! goes through the same own checks here.

use rustls::pki_types::CertificateDer;

use super::certificate::{Certificate, check_window};
use super::issuer::AuthorityCertificate;
use super::revocation::{Coverage, RevocationKey, Role};
use super::{AnchorId, AuthorityId, Refusal, Rules};

/// One certificate of a path, as revocation lists name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who issued it.
    pub issuer: AuthorityId,
    /// Its serial number there, hashed.
    pub key: RevocationKey,
    /// Which of the issuer's lists speak about it.
    pub coverage: Coverage,
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
    anchor: AnchorId,
    not_before: u64,
    not_after: u64,
    end_entity: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    links: Vec<Link>,
    issuer: Issuer,
}

impl VerifiedChain {
    /// The chain of a path whose signatures and names were found good, after the checks that webpki leaves out.
    pub(super) fn checked(
        end_entity: &Certificate<'_>,
        intermediates: &[&Certificate<'_>],
        anchor: &AuthorityCertificate,
        rules: &Rules,
        now: u64,
    ) -> Result<Self, Refusal> {
        end_entity.check_end_entity(rules)?;
        for intermediate in intermediates {
            intermediate.check_issuer(rules)?;
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
            let issuer = issuers
                .next()
                .map_or(*anchor.id(), |issuer| issuer.authority());
            let role = match links.is_empty() {
                true => Role::EndEntity,
                false => Role::Authority,
            };
            links.push(Link {
                key: RevocationKey::new(&issuer, certificate.serial()),
                coverage: Coverage::of(role, certificate.x509()),
                issuer,
            });
        }
        let (subject, public_key) = intermediates
            .first()
            .map_or((anchor.subject(), anchor.public_key()), |nearest| {
                (nearest.subject(), nearest.public_key())
            });
        Ok(Self {
            anchor: anchor.anchor_id(),
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
    pub fn anchor(&self) -> &AnchorId {
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
