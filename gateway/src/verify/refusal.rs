//! Why a presented chain is not verified: one value, one metric label, one alert for each reason.

use rustls::CertificateError;

use crate::identity::IdentityError;

/// Why a presented chain is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More certificates than [`super::Settings::max_certificates`].
    #[error("too many certificates")]
    TooManyCertificates,
    /// More bytes than [`super::Settings::max_bytes`].
    #[error("the certificates are too large")]
    ChainTooLarge,
    /// A certificate that cannot be parsed, or breaks RFC 5280's profile.
    #[error("a certificate is malformed")]
    Malformed,
    /// The end entity is an X.509 version 1 certificate.
    #[error(
        "the certificate is of X.509 version 1, without any extension; legacy_end_entities accepts such devices"
    )]
    LegacyVersion,
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
    #[error("a signature or key algorithm is not accepted")]
    UnsupportedAlgorithm,
    /// A key of the path is too small, too large or of a bad exponent.
    #[error("a key is too weak")]
    WeakKey,
    /// Key usage or extended key usage does not allow client authentication.
    #[error("the certificate is not for client authentication")]
    WrongUsage,
    /// An end entity signed, or a certificate authority was presented as a device.
    #[error("a certificate is used in a role that it does not have")]
    WrongRole,
    /// A name or path length constraint is violated, or the path is too long to look for.
    #[error("a constraint of an issuer is violated")]
    ConstraintViolated,
    /// A critical extension that is not understood.
    #[error("a critical extension is not understood")]
    UnsupportedExtension,
    /// A certificate of the path is revoked.
    #[error("a certificate is revoked")]
    Revoked,
    /// Whether a certificate of the path is revoked cannot be told, and the policy is to refuse then.
    #[error("whether a certificate is revoked is not known")]
    RevocationUnknown,
    /// The chain verifies, but names no device.
    #[error("the certificate names no device: {0}")]
    NoIdentity(IdentityError),
}

impl Refusal {
    /// Every reason, for the metric that counts them.
    pub const ALL: [Self; 17] = [
        Self::TooManyCertificates,
        Self::ChainTooLarge,
        Self::Malformed,
        Self::LegacyVersion,
        Self::UnknownIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::BadSignature,
        Self::UnsupportedAlgorithm,
        Self::WeakKey,
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
            Self::LegacyVersion => "legacy_version",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadSignature => "bad_signature",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::WeakKey => "weak_key",
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
            // bad_certificate
            Self::Malformed | Self::UnsupportedExtension => CertificateError::BadEncoding,
            Self::UnknownIssuer => CertificateError::UnknownIssuer,
            Self::Expired => CertificateError::Expired,
            Self::NotYetValid => CertificateError::NotValidYet,
            Self::BadSignature => CertificateError::BadSignature,
            // unsupported_certificate, "of an unsupported type": a version or a key that we do not take, though nothing
            // is broken about it.
            Self::UnsupportedAlgorithm
            | Self::LegacyVersion
            | Self::WeakKey
            | Self::WrongUsage
            | Self::WrongRole => CertificateError::InvalidPurpose,
            Self::Revoked => CertificateError::Revoked,
            Self::NoIdentity(_) => CertificateError::ApplicationVerificationFailure,
            // certificate_unknown, "some other (unspecified) issue". rustls says unknown_ca for a status that is not
            // known, which would send the device's owner looking for an anchor when the missing list is ours.
            Self::TooManyCertificates
            | Self::ChainTooLarge
            | Self::ConstraintViolated
            | Self::RevocationUnknown => {
                CertificateError::Other(rustls::OtherError(std::sync::Arc::new(self)))
            }
        }
    }
}

impl From<webpki::Error> for Refusal {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } => Self::Expired,
            E::CertNotValidYet { .. } => Self::NotYetValid,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::InvalidSignatureForPublicKey => Self::BadSignature,
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Self::WrongUsage,
            // The end entity's version is looked at before webpki is asked: an issuer is of another one.
            E::CaUsedAsEndEntity | E::EndEntityUsedAsCa | E::UnsupportedCertVersion => {
                Self::WrongRole
            }
            E::NameConstraintViolation
            | E::PathLenConstraintViolated
            | E::MaximumPathDepthExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded
            | E::UnsupportedNameType => Self::ConstraintViolated,
            E::UnsupportedCriticalExtension => Self::UnsupportedExtension,
            E::SignatureAlgorithmMismatch
            | E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::UnsupportedAlgorithm,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rustls::{AlertDescription, CertificateError};

    use super::Refusal;

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: HashSet<&str> = Refusal::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }

    #[test]
    fn the_newer_reasons_get_the_alerts_that_fit() {
        let alert = |refusal: Refusal| -> AlertDescription {
            let error: CertificateError = refusal.to_certificate_error();
            error.into()
        };
        assert_eq!(
            alert(Refusal::WeakKey),
            AlertDescription::UnsupportedCertificate
        );
        assert_eq!(
            alert(Refusal::LegacyVersion),
            AlertDescription::UnsupportedCertificate
        );
        assert_eq!(
            alert(Refusal::Revoked),
            AlertDescription::CertificateRevoked
        );
        assert_eq!(
            alert(Refusal::RevocationUnknown),
            AlertDescription::CertificateUnknown
        );
    }

    #[test]
    fn an_operator_is_told_which_key_accepts_legacy_devices() {
        assert!(
            Refusal::LegacyVersion
                .to_string()
                .contains("legacy_end_entities")
        );
    }
}
