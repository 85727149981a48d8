//! The certificate of an authority that the operator named, checked once, when it is loaded, for what it can be used for.
//!
//! It reads no files, and does not say whether the authority is trusted.

use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::certificate::Certificate;
use super::key::{KeyType, Rules};
use super::{AnchorId, AuthorityId, Refusal};

/// A certificate that the operator named: a trust anchor, or a preloaded intermediate.
#[derive(Debug, Clone)]
pub struct AuthorityCertificate {
    der: CertificateDer<'static>,
    trust_anchor: TrustAnchor<'static>,
    id: AuthorityId,
    issuer: Box<[u8]>,
    name: String,
    window: (u64, u64),
    key: KeyType,
    signs_lists: bool,
    path_length: Option<usize>,
}

/// Why a certificate cannot be an anchor or a preloaded intermediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be parsed.
    #[error("it is not an X.509 certificate, or a malformed one")]
    Malformed,
    /// Version 1 is accepted of anchors only: nothing in such a certificate says that it may issue others.
    #[error("it is of X.509 version 1 or 2")]
    OldVersion,
    /// Basic constraints are absent, or say CA:FALSE.
    #[error("its basic constraints do not say that it is a certificate authority (CA:TRUE)")]
    NotAnAuthority,
    /// Key usage is present, without keyCertSign.
    #[error("its key usage lacks keyCertSign")]
    NoCertificateSigning,
    /// Its key is too small, too large or of a bad exponent.
    #[error("its key is too weak, or larger than 8192 bits")]
    WeakKey,
    /// Its key is of a kind that is not accepted.
    #[error("its key is not RSA, P-256, P-384, P-521 or Ed25519")]
    UnsupportedKey,
}

impl From<Refusal> for AuthorityError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WeakKey => Self::WeakKey,
            Refusal::UnsupportedAlgorithm => Self::UnsupportedKey,
            _ => Self::Malformed,
        }
    }
}

impl AuthorityCertificate {
    /// Takes `der` for a trust anchor. Its signature is not checked (RFC 5280, 6.1.1 (d)), and version 1 is accepted, as
    /// old anchors are.
    ///
    /// # Errors
    /// What keeps it from issuing certificates.
    pub fn anchor(der: &CertificateDer<'_>, rules: &Rules) -> Result<Self, AuthorityError> {
        Self::new(der, rules, true)
    }

    /// Takes `der` for an intermediate. Whether it leads to an anchor is found out with each path.
    ///
    /// # Errors
    /// What keeps it from issuing certificates.
    pub fn intermediate(der: &CertificateDer<'_>, rules: &Rules) -> Result<Self, AuthorityError> {
        Self::new(der, rules, false)
    }

    fn new(
        der: &CertificateDer<'_>,
        rules: &Rules,
        accept_version_one: bool,
    ) -> Result<Self, AuthorityError> {
        let certificate = Certificate::parse(der)?;
        if !(accept_version_one && certificate.is_version_one()) {
            if !certificate.is_version_three() {
                return Err(AuthorityError::OldVersion);
            }
            if !certificate.is_authority()? {
                return Err(AuthorityError::NotAnAuthority);
            }
            if !certificate.may_sign_certificates()? {
                return Err(AuthorityError::NoCertificateSigning);
            }
        }
        Ok(Self {
            trust_anchor: webpki::anchor_from_trusted_cert(der)
                .map_err(|_| AuthorityError::Malformed)?
                .to_owned(),
            id: certificate.authority(),
            issuer: certificate.issuer().into(),
            name: certificate.x509().subject().to_string(),
            window: certificate.window(),
            key: certificate.key_type(rules)?,
            signs_lists: certificate.may_sign_lists()?,
            path_length: certificate.path_length()?,
            der: der.clone().into_owned(),
        })
    }

    /// The certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The anchor as webpki takes it.
    pub(super) fn trust_anchor(&self) -> &TrustAnchor<'static> {
        &self.trust_anchor
    }

    /// The contents of its issuer's `Name`, without the SEQUENCE header.
    pub(super) fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Which anchor it is, if it is one.
    pub fn anchor_id(&self) -> AnchorId {
        let names = self.trust_anchor.name_constraints.as_deref();
        AnchorId::new(&self.id, names, self.path_length)
    }

    /// Which authority it is.
    pub fn id(&self) -> &AuthorityId {
        &self.id
    }

    /// Its subject as text, for logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The contents of its subject's `Name`, without the SEQUENCE header.
    pub fn subject(&self) -> &[u8] {
        &self.trust_anchor.subject
    }

    /// The contents of its `SubjectPublicKeyInfo`, without the SEQUENCE header.
    pub fn public_key(&self) -> &[u8] {
        &self.trust_anchor.subject_public_key_info
    }

    /// The first and the last second of its validity, since the Unix epoch.
    pub fn window(&self) -> (u64, u64) {
        self.window
    }

    /// The kind of its key.
    pub fn key(&self) -> KeyType {
        self.key
    }

    /// Whether it may sign revocation lists: key usage is absent or has cRLSign (RFC 5280, 6.3.3 (f)).
    pub fn signs_lists(&self) -> bool {
        self.signs_lists
    }

    /// The most intermediates that may stand between it and an end entity, if it says so.
    pub fn path_length(&self) -> Option<usize> {
        self.path_length
    }
}
