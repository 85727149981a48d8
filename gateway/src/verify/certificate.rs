//! One certificate, parsed once for all checks that webpki does not make.
//!
//! Each check is of one certificate alone: validity, usage, role, key. What needs two of them, signatures and names, is
//! in `signature` and `walk`.

use x509_parser::der_parser::asn1_rs::{Any, FromDer as _, Tag};
use x509_parser::extensions::{BasicConstraints, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
use x509_parser::prelude::{X509Certificate, X509Version};

use super::key::{KeyType, Rules};
use super::{AuthorityId, Refusal};

/// A parsed certificate that borrows its encoding.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    der: &'a [u8],
    x509: X509Certificate<'a>,
    issuer: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// # Errors
    /// [`Refusal::Malformed`]; so is a certificate with an extension twice (RFC 5280, 4.2).
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Refusal> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|_| Refusal::Malformed)?;
        if !rest.is_empty() || x509.extensions_map().is_err() {
            return Err(Refusal::Malformed);
        }
        let tbs = &x509.tbs_certificate;
        let (issuer, subject) = (
            contents(tbs.issuer.as_raw())?,
            contents(tbs.subject.as_raw())?,
        );
        let public_key = contents(tbs.subject_pki.raw)?;
        Ok(Self {
            der,
            issuer,
            subject,
            public_key,
            x509,
        })
    }

    pub(super) fn der(&self) -> &'a [u8] {
        self.der
    }

    pub(super) fn x509(&self) -> &X509Certificate<'a> {
        &self.x509
    }

    /// The contents of the issuer's `Name`.
    pub(super) fn issuer(&self) -> &'a [u8] {
        self.issuer
    }

    /// The contents of the subject's `Name`.
    pub(super) fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// The contents of the `SubjectPublicKeyInfo`.
    pub(super) fn public_key(&self) -> &'a [u8] {
        self.public_key
    }

    /// The contents of the serial number's encoding.
    pub(super) fn serial(&self) -> &'a [u8] {
        self.x509.raw_serial()
    }

    /// The authority that this certificate's subject and key are.
    pub(super) fn authority(&self) -> AuthorityId {
        AuthorityId::new(self.subject, self.public_key)
    }

    /// Version 1, and without what only later versions may have (RFC 5280, 4.1.2.1).
    pub(super) fn is_version_one(&self) -> bool {
        let tbs = &self.x509.tbs_certificate;
        self.x509.version() == X509Version::V1
            && tbs.extensions().is_empty()
            && tbs.issuer_uid.is_none()
            && tbs.subject_uid.is_none()
    }

    pub(super) fn is_version_three(&self) -> bool {
        self.x509.version() == X509Version::V3
    }

    /// The first and the last second of its validity, since the Unix epoch.
    pub(super) fn window(&self) -> (u64, u64) {
        let validity = self.x509.validity();
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        (
            seconds(validity.not_before.timestamp()),
            seconds(validity.not_after.timestamp()),
        )
    }

    /// # Errors
    /// [`Refusal::NotYetValid`] or [`Refusal::Expired`].
    pub(super) fn check_validity(&self, now: u64) -> Result<(), Refusal> {
        check_window(self.window(), now)
    }

    /// The kind of its key.
    ///
    /// # Errors
    /// Those of [`KeyType::of`].
    pub(super) fn key_type(&self, rules: &Rules) -> Result<KeyType, Refusal> {
        KeyType::of(self.x509.public_key(), rules)
    }

    /// What is asked of an end entity besides its path: no authority, a fit key, and, where key usage is said at all, that it may sign
    /// (RFC 8446, 4.4.2.4: the digitalSignature bit must be set if the extension is present).
    pub(super) fn check_end_entity(&self, rules: &Rules) -> Result<(), Refusal> {
        if self.is_authority()? {
            return Err(Refusal::WrongRole);
        }
        self.key_type(rules)?;
        match self.x509.key_usage().map_err(|_| Refusal::Malformed)? {
            Some(usage) if !usage.value.digital_signature() => Err(Refusal::WrongUsage),
            _ => Ok(()),
        }
    }

    /// What webpki does not ask of an issuer: a fit key, and, where key usage is said at all, that it may sign
    /// certificates (RFC 5280, 6.1.4 (n)).
    pub(super) fn check_issuer(&self, rules: &Rules) -> Result<(), Refusal> {
        if !self.is_version_three() || !self.is_authority()? || !self.may_sign_certificates()? {
            return Err(Refusal::WrongRole);
        }
        self.key_type(rules).map(|_| ())
    }

    /// Whether basic constraints say that it is a certificate authority.
    pub(super) fn is_authority(&self) -> Result<bool, Refusal> {
        Ok(self
            .basic_constraints()?
            .is_some_and(|constraints| constraints.ca))
    }

    /// Whether key usage is absent or has keyCertSign.
    pub(super) fn may_sign_certificates(&self) -> Result<bool, Refusal> {
        let usage = self.x509.key_usage().map_err(|_| Refusal::Malformed)?;
        Ok(usage.is_none_or(|usage| usage.value.key_cert_sign()))
    }

    /// Whether key usage is absent or has cRLSign.
    pub(super) fn may_sign_lists(&self) -> Result<bool, Refusal> {
        let usage = self.x509.key_usage().map_err(|_| Refusal::Malformed)?;
        Ok(usage.is_none_or(|usage| usage.value.crl_sign()))
    }

    /// The most intermediates that may follow below it, if it says so.
    pub(super) fn path_length(&self) -> Result<Option<usize>, Refusal> {
        Ok(self
            .basic_constraints()?
            .and_then(|constraints| constraints.path_len_constraint)
            .map(|length| length as usize))
    }

    fn basic_constraints(&self) -> Result<Option<&BasicConstraints>, Refusal> {
        let extension = self
            .x509
            .get_extension_unique(&OID_X509_EXT_BASIC_CONSTRAINTS)
            .map_err(|_| Refusal::Malformed)?;
        // x509-parser's own accessor takes one that cannot be parsed for an absent one.
        match extension.map(|extension| extension.parsed_extension()) {
            None => Ok(None),
            Some(ParsedExtension::BasicConstraints(constraints)) => Ok(Some(constraints)),
            Some(_) => Err(Refusal::Malformed),
        }
    }
}

/// # Errors
/// [`Refusal::NotYetValid`] or [`Refusal::Expired`].
pub(super) fn check_window((from, until): (u64, u64), now: u64) -> Result<(), Refusal> {
    if now < from {
        return Err(Refusal::NotYetValid);
    }
    if now > until {
        return Err(Refusal::Expired);
    }
    Ok(())
}

/// What is inside a DER SEQUENCE.
pub(super) fn contents(der: &[u8]) -> Result<&[u8], Refusal> {
    match Any::from_der(der) {
        Ok((_, any)) if any.tag() == Tag::Sequence => Ok(any.data),
        _ => Err(Refusal::Malformed),
    }
}
