//! Why a certificate was revoked (RFC 5280, section 5.3.1).

use crate::der::Malformed;

/// Why a certificate was revoked. [`RemoveFromList`](Self::RemoveFromList) takes a revocation back and is never the reason
/// for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// None is given.
    Unspecified = 0,
    /// Its private key is suspected to be known to others.
    KeyCompromise = 1,
    /// The private key of an authority is.
    AuthorityCompromise = 2,
    /// The subject's name or affiliation has changed.
    AffiliationChanged = 3,
    /// Another certificate has replaced it.
    Superseded = 4,
    /// It is not needed any more.
    CessationOfOperation = 5,
    /// Revoked until further notice. Counts as revoked.
    CertificateHold = 6,
    /// Not revoked any more; in delta lists only.
    RemoveFromList = 8,
    /// A privilege that it states was withdrawn.
    PrivilegeWithdrawn = 9,
    /// The private key of an attribute authority is known to others.
    AttributeAuthorityCompromise = 10,
}

impl Reason {
    const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AuthorityCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromList,
        Self::PrivilegeWithdrawn,
        Self::AttributeAuthorityCompromise,
    ];

    /// From the contents of the ENUMERATED.
    pub(super) fn from_code(contents: &[u8]) -> Result<Self, Malformed> {
        match contents {
            [code] => Self::from_number(*code).ok_or(Malformed),
            _ => Err(Malformed),
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }
}
