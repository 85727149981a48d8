//! Why a revocation list is not used, in words for the operator who named its file.

use crate::der::Malformed;

/// Why a revocation list is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not DER, or not the structure of RFC 5280, section 5.1.
    #[error("it is not a well-formed revocation list: {0}")]
    Malformed(&'static str),
    /// No nextUpdate, so it would never go stale (RFC 5280, section 5.1.2.5, demands one).
    #[error("it has no nextUpdate")]
    NoNextUpdate,
    /// A critical extension that is not understood, of the list or of an entry.
    #[error("it has a critical extension that is not understood: {0}")]
    CriticalExtension(String),
    /// It speaks for other issuers than its own (RFC 5280, section 5.2.5).
    #[error("it is an indirect list, which is not supported")]
    Indirect,
    /// It holds revocations for some reasons only.
    #[error("it is limited to some revocation reasons, which is not supported")]
    SomeReasons,
    /// It is about attribute certificates.
    #[error("it is about attribute certificates only")]
    AttributeCertificates,
    /// Its distribution point is named relative to its issuer.
    #[error("its distribution point is named relative to its issuer, which is not supported")]
    RelativePoint,
    /// removeFromCRL outside a delta list, where it means nothing (RFC 5280, section 5.3.1).
    #[error("it is a full list and has an entry with the reason removeFromCRL")]
    RemovalInFullList,
    /// Nobody who could have signed it is known.
    #[error(
        "its issuer is not known: the certificate of {issuer}{key} must be among trust.anchors or trust.intermediates"
    )]
    UnknownIssuer {
        /// The issuer's name.
        issuer: String,
        /// The wanted key as ` (key identifier …)`, if the list names one and an issuer of that name is known.
        key: String,
    },
    /// The issuer's certificate has a key usage without cRLSign (RFC 5280, section 4.2.1.3).
    #[error("the certificate of its issuer, {issuer}, does not allow it to sign revocation lists")]
    NotAllowedToSign {
        /// The issuer's name.
        issuer: String,
    },
    /// An algorithm that is not accepted, or not for this key.
    #[error("it is signed with an algorithm that is not accepted")]
    UnsupportedAlgorithm,
    /// The signature does not fit.
    #[error("its signature by {issuer} is wrong")]
    BadSignature {
        /// The issuer's name.
        issuer: String,
    },
}

impl ListError {
    /// For `map_err`: names the part that is malformed.
    pub(super) fn malformed(what: &'static str) -> impl Fn(Malformed) -> Self {
        move |Malformed| Self::Malformed(what)
    }
}
