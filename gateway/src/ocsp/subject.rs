//! What is asked about: a certificate's serial number and its issuer, and where the certificate says to ask.
//!
//! Nothing here is verified. Make a subject of a verified chain only: where a certificate says to ask is where the gateway
//! connects to.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::pki_types::{Der, TrustAnchor};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_OCSP, OID_PKIX_AUTHORITY_INFO_ACCESS};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::der::{self, Reader};
use crate::fetch::HttpUrl;
use crate::signed::PublicKey;

/// How many responders of a certificate are asked, in its order, until one answers.
pub const MAX_RESPONDERS: usize = 2;

/// Why something is no subject, or no issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It cannot be parsed.
    #[error("it cannot be parsed")]
    Malformed,
    /// The certificate names another issuer.
    #[error("the certificate names another issuer")]
    OtherIssuer,
}

/// Who issued a certificate: a certificate authority's name and key.
///
/// Both are kept as webpki has them in a [`TrustAnchor`], without the header (tag and length) of their outer SEQUENCE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    name: Vec<u8>,
    key_info: Vec<u8>,
    key: PublicKey,
}

impl Issuer {
    /// An issuer from what is in its name and in its SubjectPublicKeyInfo, both without the header of their SEQUENCE, as
    /// webpki's [`TrustAnchor`] has them.
    ///
    /// # Errors
    /// The public key cannot be parsed.
    pub fn from_contents(name: &[u8], key_info: &[u8]) -> Result<Self, SubjectError> {
        Ok(Self {
            key: PublicKey::from_contents(key_info).map_err(|_| SubjectError::Malformed)?,
            name: name.to_owned(),
            key_info: key_info.to_owned(),
        })
    }

    /// The issuer that `certificate` (DER) is of.
    ///
    /// # Errors
    /// It cannot be parsed.
    pub fn from_certificate(certificate: &[u8]) -> Result<Self, SubjectError> {
        let certificate = parse(certificate)?;
        Self::from_contents(
            contents(certificate.subject().as_raw())?,
            contents(certificate.public_key().raw)?,
        )
    }

    /// What is in its name.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its name as it is encoded.
    pub(super) fn name_der(&self) -> Vec<u8> {
        der::encode(der::SEQUENCE, &[&self.name])
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// It as the only one that is trusted.
    pub(super) fn as_anchor(&self) -> TrustAnchor<'_> {
        TrustAnchor {
            subject: Der::from_slice(&self.name),
            subject_public_key_info: Der::from_slice(&self.key_info),
            name_constraints: None,
        }
    }
}

/// SHA-256 over issuer and serial number.
pub(super) type Key = [u8; 32];

/// A certificate to ask about. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Subject(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: Arc<Issuer>,
    serial: Vec<u8>,
    responders: Vec<HttpUrl>,
    key: Key,
}

impl Subject {
    /// The subject that `certificate` (DER) is, issued by `issuer`.
    ///
    /// Of the responders that it names (authority information access, RFC 5280, 4.2.2.1) the first [`MAX_RESPONDERS`] of
    /// plain http are kept; it may name none.
    ///
    /// # Errors
    /// It cannot be parsed, or names another issuer.
    pub fn new(certificate: &[u8], issuer: Arc<Issuer>) -> Result<Self, SubjectError> {
        let certificate = parse(certificate)?;
        if contents(certificate.issuer().as_raw())? != issuer.name() {
            return Err(SubjectError::OtherIssuer);
        }
        let serial = certificate.raw_serial().to_owned();
        Ok(Self(Arc::new(Inner {
            key: key(&issuer, &serial),
            responders: responders(&certificate),
            issuer,
            serial,
        })))
    }

    /// Who issued it.
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// The serial number, as the contents of its INTEGER.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// Where the certificate says to ask.
    pub fn responders(&self) -> &[HttpUrl] {
        &self.0.responders
    }

    pub(super) fn key(&self) -> &Key {
        &self.0.key
    }
}

/// The serial number in colon-separated hex.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.serial().iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, SubjectError> {
    X509Certificate::from_der(certificate)
        .map(|(_, certificate)| certificate)
        .map_err(|_| SubjectError::Malformed)
}

fn contents(encoding: &[u8]) -> Result<&[u8], SubjectError> {
    Reader::new(encoding)
        .contents(der::SEQUENCE)
        .map_err(|_| SubjectError::Malformed)
}

fn responders(certificate: &X509Certificate<'_>) -> Vec<HttpUrl> {
    // A certificate with two such extensions is malformed; webpki refused it.
    let Ok(Some(extension)) = certificate.get_extension_unique(&OID_PKIX_AUTHORITY_INFO_ACCESS)
    else {
        return Vec::new();
    };
    let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
        return Vec::new();
    };
    access
        .iter()
        .filter(|description| description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP)
        .filter_map(|description| match description.access_location {
            GeneralName::URI(url) => url.parse().ok(),
            _ => None,
        })
        .take(MAX_RESPONDERS)
        .collect()
}

fn key(issuer: &Issuer, serial: &[u8]) -> Key {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [&issuer.name, &issuer.key_info, serial] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
