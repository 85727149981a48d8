//! Which of a fleet's authorities issued a certificate.
//!
//! Told by name and signature, not by counting: files may have been renewed, signed on request, or moved.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Fleet, OpenError};
use crate::layout::AuthorityName;

/// The certificates of a fleet's authorities, to look issuers up in.
pub(crate) struct Issuers {
    authorities: Vec<(AuthorityName, Vec<u8>)>,
}

impl Issuers {
    /// Reads the certificates of all authorities; no keys.
    pub(crate) fn open(fleet: &Fleet) -> Result<Self, OpenError> {
        let authorities = fleet
            .authorities()
            .map(|name| Ok((name, fleet.authority_certificate(name)?)))
            .collect::<Result<_, OpenError>>()?;
        Ok(Self { authorities })
    }

    /// Names and certificates (DER), the trust anchor first.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (AuthorityName, &[u8])> {
        self.authorities
            .iter()
            .map(|(name, der)| (*name, der.as_slice()))
    }

    /// Whether the fleet has an authority of this name.
    pub(crate) fn has(&self, name: AuthorityName) -> bool {
        self.authorities.iter().any(|(known, _)| *known == name)
    }

    /// Who signed this certificate; `None` if it was none of these.
    pub(crate) fn of(&self, certificate: &X509Certificate<'_>) -> Option<AuthorityName> {
        self.certificates()
            .find(|(_, der)| {
                X509Certificate::from_der(der).is_ok_and(|(_, issuer)| {
                    issuer.subject().as_raw() == certificate.issuer().as_raw()
                        && certificate
                            .verify_signature(Some(issuer.public_key()))
                            .is_ok()
                })
            })
            .map(|(name, _)| name)
    }
}
