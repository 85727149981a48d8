//! A presented chain becomes a verified chain here, and nowhere else.
//!
//! Limits come first, because a certificate list costs CPU in proportion to its length; then path building and
//! signatures, by webpki; then what webpki leaves out. Nothing here is policy: whether a verified device may be served is
//! for `authorize`. The cache of verdicts is in [`cache`]; revocation is not checked here.
//!
//! What one list may cost is bounded by `signature`: copies count once, and a maze of intermediates ends path building.
//! Where webpki is laxer than RFC 5280, `chain` adds the check: an anchor's own validity and path length, keyCertSign of
//! intermediates and digitalSignature of end entities where key usage is present, types and sizes of all keys. Where it
//! is stricter than private PKIs can live with, `walk` decides instead: version 1 end entities if the operator accepts
//! them, and permitted directory names. What stays refused: constraints on e-mail addresses and URIs where such a
//! name is present, excluded directory names, critical policy extensions, anyExtendedKeyUsage in place of clientAuth.
//! An absent extended key usage allows client authentication.

mod authority;
pub mod cache;
mod certificate;
mod chain;
mod issuer;
mod key;
mod material;
mod names;
mod path;
mod refusal;
pub mod revocation;
mod signature;
mod walk;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;

pub use authority::{AnchorId, AuthorityId};
pub use chain::{Issuer, Link, VerifiedChain};
pub use issuer::{AuthorityCertificate, AuthorityError};
pub use key::{KeyType, Rules};
pub use material::TrustMaterial;
pub use refusal::Refusal;

/// Bounds on what a device may present, checked before any signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The most certificates in a list, end entity included.
    pub max_certificates: usize,
    /// The most bytes of all certificates together.
    pub max_bytes: usize,
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

#[cfg(test)]
pub(crate) mod tests;
