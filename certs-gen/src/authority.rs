//! Certificate authorities in memory: a trust anchor, intermediates below it, and what they issue.
//!
//! This is the whole PKI without files. A fleet is made with it, a signing request answered, and tests make with it
//! the certificates that a fleet should not have: expired, of another anchor, without the right purpose.
//!
//! ```
//! use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec};
//!
//! let anchor = Authority::trust_anchor(&AuthoritySpec::new("my trust anchor"))?;
//! let intermediate = anchor.intermediate(&AuthoritySpec::new("my intermediate"))?;
//! let mut spec = EndEntitySpec::device("device-000042");
//! spec.extended_key_usages.clear(); // a device certificate without a purpose
//! let credential = intermediate.issue(&spec)?;
//! assert_eq!(credential.chain.len(), 2); // end entity, intermediate
//! # Ok::<(), certs_gen::IssueError>(())
//! ```
//!
//! Deliberately checks nothing of what it is asked to sign: [`crate::fleet`] and [`crate::sign`] have the rules.

mod end_entity;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rcgen::{PublicKeyData, SerialNumber};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::IssueError;
use crate::credential::{Credential, chain_pem, pem_block};
use crate::entropy::{Entropy, Place};
use crate::key::{KeyKind, PrivateKey};

pub use end_entity::{EndEntitySpec, ExtendedKeyUsage, KeyUsage, SubjectAltName};

/// What a trust anchor or an intermediate shall be.
#[derive(Clone, Debug)]
pub struct AuthoritySpec {
    /// The subject's common name. Names should differ within one PKI: chains are built by name.
    pub common_name: String,
    /// Type of its key.
    pub key: KeyKind,
    /// First second of validity.
    pub not_before: OffsetDateTime,
    /// Last second of validity.
    pub not_after: OffsetDateTime,
    /// How many intermediates may follow below it (RFC 5280 section 4.2.1.9); `None`: any number.
    pub path_length: Option<u8>,
    /// Big-endian serial number; `None`: random.
    pub serial: Option<Vec<u8>>,
}

impl AuthoritySpec {
    /// P-256, valid from an hour ago for ten years, any path length, random serial number.
    pub fn new(common_name: impl Into<String>) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            common_name: common_name.into(),
            key: KeyKind::P256,
            not_before: now - Duration::HOUR,
            not_after: now + Duration::days(3650),
            path_length: None,
            serial: None,
        }
    }

    fn params(&self) -> Result<CertificateParams, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(Some(&self.common_name));
        params.not_before = self.not_before;
        params.not_after = self.not_after;
        params.is_ca = IsCa::Ca(self.path_length.map_or(
            BasicConstraints::Unconstrained,
            BasicConstraints::Constrained,
        ));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial_number(self.serial.as_deref())?);
        Ok(params)
    }
}

/// A trust anchor or intermediate that can issue.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    /// Itself and the intermediates above, without the trust anchor: what follows the end entity in a chain.
    path: Vec<Vec<u8>>,
    not_after: OffsetDateTime,
}

impl Authority {
    /// Makes a self-signed trust anchor with a fresh key.
    ///
    /// # Errors
    /// [`IssueError`] if the key cannot be made or the certificate not be encoded.
    pub fn trust_anchor(spec: &AuthoritySpec) -> Result<Self, IssueError> {
        Self::trust_anchor_with_key(spec, PrivateKey::generate(spec.key)?)
    }

    /// The same with a key that exists already; `spec.key` is not looked at.
    ///
    /// # Errors
    /// [`IssueError`] if the certificate cannot be encoded.
    pub fn trust_anchor_with_key(
        spec: &AuthoritySpec,
        key: PrivateKey,
    ) -> Result<Self, IssueError> {
        let params = spec.params()?;
        let certificate = params.self_signed(key.pair())?.der().to_vec();
        let issuer = Issuer::new(params, key.into_pair());
        Ok(Self {
            issuer,
            certificate,
            path: Vec::new(),
            not_after: spec.not_after,
        })
    }

    /// Makes an intermediate below this authority, with a fresh key.
    ///
    /// # Errors
    /// [`IssueError`] if the key cannot be made or the certificate not be encoded.
    pub fn intermediate(&self, spec: &AuthoritySpec) -> Result<Self, IssueError> {
        self.intermediate_with_key(spec, PrivateKey::generate(spec.key)?)
    }

    /// The same with a key that exists already; `spec.key` is not looked at.
    ///
    /// # Errors
    /// [`IssueError`] if the certificate cannot be encoded.
    pub fn intermediate_with_key(
        &self,
        spec: &AuthoritySpec,
        key: PrivateKey,
    ) -> Result<Self, IssueError> {
        let mut params = spec.params()?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key.pair(), &self.issuer)?.der().to_vec();
        let path = std::iter::once(certificate.clone())
            .chain(self.path.iter().cloned())
            .collect();
        let issuer = Issuer::new(params, key.into_pair());
        Ok(Self {
            issuer,
            certificate,
            path,
            not_after: spec.not_after,
        })
    }

    /// An authority from its certificate, its key, and the intermediates above it (nearest first, without the trust
    /// anchor). A self-signed certificate makes a trust anchor.
    ///
    /// # Errors
    /// [`IssueError`] if one of them cannot be read or the key belongs to another certificate.
    pub fn from_parts(
        certificate: Vec<u8>,
        above: &[Vec<u8>],
        key: PrivateKey,
    ) -> Result<Self, IssueError> {
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|_| IssueError::UnreadableCertificate)?;
        if parsed.public_key().raw != key.public_key_der() {
            return Err(IssueError::KeyMismatch);
        }
        let not_after = parsed.validity().not_after.to_datetime();
        let path = if parsed.subject() == parsed.issuer() {
            Vec::new()
        } else {
            std::iter::once(certificate.clone())
                .chain(above.iter().cloned())
                .collect()
        };
        let issuer = Issuer::from_ca_cert_der(&certificate.as_slice().into(), key.into_pair())?;
        Ok(Self {
            issuer,
            certificate,
            path,
            not_after,
        })
    }

    /// Issues an end entity certificate with a fresh key.
    ///
    /// # Errors
    /// [`IssueError`] if the key cannot be made, a name not be written or the certificate not be encoded.
    pub fn issue(&self, spec: &EndEntitySpec) -> Result<Credential, IssueError> {
        self.issue_with_key(spec, &PrivateKey::generate(spec.key)?)
    }

    /// The same with a key that exists already; `spec.key` is not looked at.
    ///
    /// # Errors
    /// [`IssueError`] if a name cannot be written or the certificate not be encoded.
    pub fn issue_with_key(
        &self,
        spec: &EndEntitySpec,
        key: &PrivateKey,
    ) -> Result<Credential, IssueError> {
        Ok(Credential {
            chain: self.certify(spec, key.pair())?,
            key: key.pkcs8_der().to_vec(),
        })
    }

    /// Certifies somebody else's public key (DER SubjectPublicKeyInfo): the chain, end entity first.
    ///
    /// # Errors
    /// [`IssueError`] if the key is not understood, a name cannot be written or the certificate not be encoded.
    pub fn issue_for_public_key(
        &self,
        spec: &EndEntitySpec,
        public_key: &[u8],
    ) -> Result<Vec<Vec<u8>>, IssueError> {
        self.certify(spec, &rcgen::SubjectPublicKeyInfo::from_der(public_key)?)
    }

    fn certify(
        &self,
        spec: &EndEntitySpec,
        key: &impl PublicKeyData,
    ) -> Result<Vec<Vec<u8>>, IssueError> {
        let certificate = spec.params()?.signed_by(key, &self.issuer)?.der().to_vec();
        Ok(std::iter::once(certificate)
            .chain(self.path.iter().cloned())
            .collect())
    }

    /// Its certificate as DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// Its certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        pem_block("CERTIFICATE", &self.certificate)
    }

    /// Itself and the intermediates above as PEM; for a trust anchor, itself.
    pub fn path_pem(&self) -> String {
        if self.path.is_empty() {
            self.certificate_pem()
        } else {
            chain_pem(&self.path)
        }
    }

    /// Its private key as a PEM block `PRIVATE KEY`.
    pub fn key_pem(&self) -> String {
        pem_block("PRIVATE KEY", self.issuer.key().serialized_der())
    }

    pub(crate) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// Itself and the intermediates above, nearest first; empty for a trust anchor.
    pub(crate) fn path(&self) -> &[Vec<u8>] {
        &self.path
    }

    /// Its subject as DER, byte for byte: who looks for an issuer compares names.
    pub(crate) fn subject_der(&self) -> Result<Vec<u8>, IssueError> {
        let (_, certificate) = X509Certificate::from_der(&self.certificate)
            .map_err(|_| IssueError::UnreadableCertificate)?;
        Ok(certificate.subject().as_raw().to_vec())
    }

    /// Its subject key identifier, which is what it issues points back to (RFC 5280 section 4.2.1.2).
    pub(crate) fn key_id(&self) -> Result<Vec<u8>, IssueError> {
        let (_, certificate) = X509Certificate::from_der(&self.certificate)
            .map_err(|_| IssueError::UnreadableCertificate)?;
        certificate
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
            .ok_or(IssueError::UnreadableCertificate)
    }

    /// Last second of its own validity.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }
}

// By hand, so that a stray `{:?}` never prints a private key.
impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("path", &self.path.len())
            .finish_non_exhaustive()
    }
}

fn distinguished_name(common_name: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(common_name) = common_name {
        name.push(DnType::CommonName, common_name);
    }
    name
}

fn serial_number(given: Option<&[u8]>) -> Result<SerialNumber, IssueError> {
    match given {
        Some(bytes) => Ok(SerialNumber::from_slice(bytes)),
        None => Ok(Entropy::System.serial(Place::new("any", 0))?.into()),
    }
}
