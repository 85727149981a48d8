//! A presented chain becomes a verified chain here, and nowhere else.
//!
//! Limits come first, because a certificate list costs CPU in proportion to its length; then path building and
//! signatures, by webpki. Nothing here is policy: whether a verified device may be served is for `authorize`. The
//! cache of verdicts is in [`cache`]; revocation is not checked yet.

pub mod cache;

use std::collections::HashSet;

use aws_lc_rs::digest;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::IdentityError;

/// Bounds on what a device may present, checked before any signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The most certificates in a list, end entity included.
    pub max_certificates: usize,
    /// The most bytes of all certificates together.
    pub max_bytes: usize,
}

/// Names a trust anchor: SHA-256 over its subject and public key. The same key under a new certificate is the same
/// anchor.
pub type AnchorId = [u8; 32];

/// The trust anchors of one trust domain.
#[derive(Debug)]
pub struct Anchors {
    anchors: Vec<TrustAnchor<'static>>,
    ids: HashSet<AnchorId>,
}

impl Anchors {
    /// The set of `anchors`; doubles do no harm.
    pub fn new(anchors: Vec<TrustAnchor<'static>>) -> Self {
        let ids = anchors.iter().map(anchor_id).collect();
        Self { anchors, ids }
    }

    /// Whether the anchor is (still) one of these.
    pub fn trusts(&self, anchor: &AnchorId) -> bool {
        self.ids.contains(anchor)
    }

    /// The anchors' subjects, as a server hints them to its clients (RFC 8446, 4.2.4).
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.anchors.iter().map(|anchor| anchor.subject.as_ref())
    }
}

fn anchor_id(anchor: &TrustAnchor<'_>) -> AnchorId {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [
        anchor.subject.as_ref(),
        anchor.subject_public_key_info.as_ref(),
    ] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    id
}

/// What a device sent, not yet believed.
#[derive(Debug, Clone, Copy)]
pub struct PresentedChain<'a> {
    /// The device's own certificate.
    pub end_entity: &'a CertificateDer<'a>,
    /// The other certificates, in the order they came.
    pub intermediates: &'a [CertificateDer<'a>],
}

impl PresentedChain<'_> {
    /// A hash of every byte presented, in order. Length prefixes keep two different lists from having one encoding.
    pub fn hash(&self) -> cache::ChainHash {
        let mut context = digest::Context::new(&digest::SHA256);
        for certificate in std::iter::once(self.end_entity).chain(self.intermediates) {
            context.update(&(certificate.len() as u64).to_be_bytes());
            context.update(certificate);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        cache::ChainHash::new(hash)
    }

    /// # Errors
    /// The list is over one of the limits.
    pub fn check_limits(&self, settings: &Settings) -> Result<(), Refusal> {
        if self.intermediates.len() >= settings.max_certificates {
            return Err(Refusal::TooManyCertificates);
        }
        let bytes: usize = self.intermediates.iter().map(|der| der.len()).sum();
        if bytes.saturating_add(self.end_entity.len()) > settings.max_bytes {
            return Err(Refusal::ChainTooLarge);
        }
        Ok(())
    }
}

/// A path from an end entity to a trust anchor, every signature of which was checked for client authentication.
#[derive(Debug)]
pub struct VerifiedChain {
    anchor: AnchorId,
    not_before: u64,
    not_after: u64,
    end_entity: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl VerifiedChain {
    /// Builds and checks a path for `presented` to one of `anchors`, valid at `now` (seconds since the Unix epoch),
    /// by RFC 5280, section 6, for the key purpose clientAuth.
    ///
    /// # Errors
    /// Why there is none.
    pub fn verify(
        anchors: &Anchors,
        presented: PresentedChain<'_>,
        now: u64,
    ) -> Result<Self, Refusal> {
        let end_entity = EndEntityCert::try_from(presented.end_entity).map_err(refusal)?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let path = end_entity
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors.anchors,
                presented.intermediates,
                time,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(refusal)?;
        Self::from_path(presented.end_entity, &path)
    }

    fn from_path(
        end_entity: &CertificateDer<'_>,
        path: &VerifiedPath<'_>,
    ) -> Result<Self, Refusal> {
        let (mut not_before, mut not_after) = validity(end_entity)?;
        let mut intermediates = Vec::new();
        for certificate in path.intermediate_certificates() {
            let der = certificate.der().into_owned();
            let (from, until) = validity(&der)?;
            not_before = not_before.max(from);
            not_after = not_after.min(until);
            intermediates.push(der);
        }
        Ok(Self {
            anchor: anchor_id(path.anchor()),
            not_before,
            not_after,
            end_entity: end_entity.clone().into_owned(),
            intermediates,
        })
    }

    /// The anchor at the end of the path.
    pub fn anchor(&self) -> &AnchorId {
        &self.anchor
    }

    /// The first second at which every certificate of the path is valid.
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// The last second at which every certificate of the path is valid.
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
}

fn validity(der: &CertificateDer<'_>) -> Result<(u64, u64), Refusal> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Refusal::Malformed)?;
    let validity = certificate.validity();
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    Ok((
        seconds(validity.not_before.timestamp()),
        seconds(validity.not_after.timestamp()),
    ))
}

/// Why a presented chain is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More certificates than [`Settings::max_certificates`].
    #[error("too many certificates")]
    TooManyCertificates,
    /// More bytes than [`Settings::max_bytes`].
    #[error("the certificates are too large")]
    ChainTooLarge,
    /// A certificate that cannot be parsed, or breaks RFC 5280's profile.
    #[error("a certificate is malformed")]
    Malformed,
    /// No path to a trust anchor.
    #[error("no path to a trust anchor")]
    UnknownIssuer,
    /// A certificate of the path has expired.
    #[error("a certificate has expired")]
    Expired,
    /// A certificate of the path is not valid yet.
    #[error("a certificate is not valid yet")]
    NotYetValid,
    /// A signature of the path is wrong.
    #[error("a signature is wrong")]
    BadSignature,
    /// A signature or key algorithm that is not accepted.
    #[error("a signature algorithm is not accepted")]
    UnsupportedAlgorithm,
    /// Extended key usage does not allow client authentication.
    #[error("the certificate is not for client authentication")]
    WrongUsage,
    /// An end entity signed, or a certificate authority was presented as a device.
    #[error("a certificate is used in a role that it does not have")]
    WrongRole,
    /// A name or path length constraint is violated.
    #[error("a constraint of an issuer is violated")]
    ConstraintViolated,
    /// A critical extension that is not understood.
    #[error("a critical extension is not understood")]
    UnsupportedExtension,
    /// A certificate of the chain is revoked.
    #[error("a certificate is revoked")]
    Revoked,
    /// Nothing fresh is known about a certificate's revocation, and the trust domain says to refuse then.
    #[error("nothing fresh is known about a certificate's revocation")]
    RevocationUnknown,
    /// The chain verifies, but names no device.
    #[error("the certificate names no device: {0}")]
    NoIdentity(IdentityError),
}

impl Refusal {
    /// Every reason, for the metric that counts them.
    pub const ALL: [Self; 15] = [
        Self::TooManyCertificates,
        Self::ChainTooLarge,
        Self::Malformed,
        Self::UnknownIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::BadSignature,
        Self::UnsupportedAlgorithm,
        Self::WrongUsage,
        Self::WrongRole,
        Self::ConstraintViolated,
        Self::UnsupportedExtension,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::NoIdentity(IdentityError::Absent),
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooManyCertificates => "too_many_certificates",
            Self::ChainTooLarge => "chain_too_large",
            Self::Malformed => "malformed_certificate",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadSignature => "bad_signature",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::WrongUsage => "wrong_usage",
            Self::WrongRole => "wrong_role",
            Self::ConstraintViolated => "constraint_violated",
            Self::UnsupportedExtension => "unsupported_extension",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::NoIdentity(_) => "no_identity",
        }
    }

    /// The error that makes the TLS stack send the right alert (RFC 8446, 6.2).
    pub fn to_certificate_error(self) -> CertificateError {
        match self {
            Self::Malformed | Self::UnsupportedExtension => CertificateError::BadEncoding,
            Self::UnknownIssuer => CertificateError::UnknownIssuer,
            Self::Expired => CertificateError::Expired,
            Self::NotYetValid => CertificateError::NotValidYet,
            Self::BadSignature => CertificateError::BadSignature,
            Self::UnsupportedAlgorithm | Self::WrongUsage | Self::WrongRole => {
                CertificateError::InvalidPurpose
            }
            Self::Revoked => CertificateError::Revoked,
            Self::RevocationUnknown => CertificateError::UnknownRevocationStatus,
            Self::NoIdentity(_) => CertificateError::ApplicationVerificationFailure,
            Self::TooManyCertificates | Self::ChainTooLarge | Self::ConstraintViolated => {
                CertificateError::Other(rustls::OtherError(std::sync::Arc::new(self)))
            }
        }
    }
}

fn refusal(error: webpki::Error) -> Refusal {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => Refusal::Expired,
        E::CertNotValidYet { .. } => Refusal::NotYetValid,
        E::UnknownIssuer => Refusal::UnknownIssuer,
        E::InvalidSignatureForPublicKey => Refusal::BadSignature,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Refusal::WrongUsage,
        E::CaUsedAsEndEntity | E::EndEntityUsedAsCa => Refusal::WrongRole,
        E::NameConstraintViolation
        | E::PathLenConstraintViolated
        | E::MaximumPathDepthExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded
        | E::UnsupportedNameType => Refusal::ConstraintViolated,
        E::UnsupportedCriticalExtension => Refusal::UnsupportedExtension,
        E::SignatureAlgorithmMismatch
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Refusal::UnsupportedAlgorithm,
        _ => Refusal::Malformed,
    }
}
