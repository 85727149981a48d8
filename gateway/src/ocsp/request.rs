//! The question to a responder (RFC 6960, 4.1), about one certificate. It is not signed.

use aws_lc_rs::digest;

use super::subject::Subject;
use crate::der::{self, Malformed, Reader, encode};

/// The media type of a request (RFC 6960, A.1).
pub const CONTENT_TYPE: &str = "application/ocsp-request";

/// 1.3.6.1.5.5.7.48.1.2.
pub(super) const NONCE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];

/// 32 bytes of chance, as RFC 9654, 2.1 recommends.
pub type Nonce = [u8; 32];

/// How a request names the certificate's issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hash {
    /// SHA-1: the one that every responder understands (RFC 5019, 2.1.1). It is a name, and protects nothing.
    #[default]
    Sha1,
    /// SHA-256, for responders that are known to understand it.
    Sha256,
}

impl Hash {
    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }

    /// The object identifier: 1.3.14.3.2.26, or 2.16.840.1.101.3.4.2.1.
    fn identifier(self) -> &'static [u8] {
        match self {
            Self::Sha1 => &[0x2b, 14, 3, 2, 26],
            Self::Sha256 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
        }
    }
}

/// Names a certificate to a responder: its issuer by hashes, and its serial number (RFC 6960, 4.1.1).
#[derive(Debug, Clone)]
pub(super) struct CertificateId {
    hash: Hash,
    name: digest::Digest,
    key: digest::Digest,
    serial: Vec<u8>,
}

impl CertificateId {
    fn new(subject: &Subject, hash: Hash) -> Self {
        let issuer = subject.issuer();
        Self {
            hash,
            name: digest::digest(hash.algorithm(), &issuer.name_der()),
            key: digest::digest(hash.algorithm(), issuer.key().bits()),
            serial: subject.serial().to_owned(),
        }
    }

    pub(super) fn to_der(&self) -> Vec<u8> {
        let algorithm = encode(
            der::SEQUENCE,
            &[
                &encode(der::OBJECT_IDENTIFIER, &[self.hash.identifier()]),
                &encode(der::NULL, &[]),
            ],
        );
        let parts = [
            &algorithm,
            &encode(der::OCTET_STRING, &[self.name.as_ref()]),
            &encode(der::OCTET_STRING, &[self.key.as_ref()]),
            &encode(der::INTEGER, &[&self.serial]),
        ];
        encode(der::SEQUENCE, &parts.map(Vec::as_slice))
    }

    /// Whether `id` (the contents of a CertID) names the same certificate in the same way. The parameters of the hash may
    /// be there as NULL or not at all (RFC 5754, 2).
    pub(super) fn is(&self, id: &[u8]) -> Result<bool, Malformed> {
        let mut reader = Reader::new(id);
        let hash = reader
            .inside(der::SEQUENCE)?
            .contents(der::OBJECT_IDENTIFIER)?;
        let name = reader.contents(der::OCTET_STRING)?;
        let key = reader.contents(der::OCTET_STRING)?;
        let serial = reader.contents(der::INTEGER)?;
        reader.end()?;
        Ok(hash == self.hash.identifier()
            && name == self.name.as_ref()
            && key == self.key.as_ref()
            && serial == self.serial)
    }
}

/// A question about one certificate.
#[derive(Debug, Clone)]
pub struct Request {
    id: CertificateId,
    nonce: Option<Nonce>,
}

impl Request {
    /// The question about `subject`. A nonce keeps an old answer from being replayed, but many responders answer from a
    /// store and leave it out (RFC 5019, 2.2.1).
    pub fn new(subject: &Subject, hash: Hash, nonce: Option<Nonce>) -> Self {
        Self {
            id: CertificateId::new(subject, hash),
            nonce,
        }
    }

    /// The request as it is sent.
    pub fn to_der(&self) -> Vec<u8> {
        let one = encode(der::SEQUENCE, &[&self.id.to_der()]);
        let list = encode(der::SEQUENCE, &[&one]);
        let extensions = self
            .nonce
            .map(|nonce| encode(der::constructed(2), &[&nonce_extensions(&nonce)]))
            .unwrap_or_default();
        let to_be_signed = encode(der::SEQUENCE, &[&list, &extensions]);
        encode(der::SEQUENCE, &[&to_be_signed])
    }

    pub(super) fn id(&self) -> &CertificateId {
        &self.id
    }

    pub(super) fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }
}

/// Extensions of which a nonce is the only one (RFC 9654, 2.1).
pub(super) fn nonce_extensions(nonce: &[u8]) -> Vec<u8> {
    let value = encode(der::OCTET_STRING, &[nonce]);
    let extension = encode(
        der::SEQUENCE,
        &[
            &encode(der::OBJECT_IDENTIFIER, &[NONCE]),
            &encode(der::OCTET_STRING, &[&value]),
        ],
    );
    encode(der::SEQUENCE, &[&extension])
}
