//! CertificateVerify: that a device holds the key of the certificate that it presented.
//!
//! rustls parses a certificate of version 3 only. An end entity of version 1, where those are accepted, has its key taken
//! out here and the signature checked with that. It judges no certificate: the chain was verified before.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

/// Checks `signature` over `message` with the key of `certificate`, by the rules of TLS 1.3 (RFC 8446, 4.4.3).
///
/// # Errors
/// What is wrong with the signature, or with the certificate.
pub fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature(message, certificate, signature, algorithms).or_else(|error| {
        let key = version_one_key(certificate).ok_or(error)?;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    })
}

/// Checks `signature` over `message` with the key of `certificate`, by the rules of TLS 1.2 (RFC 5246, 7.4.8).
///
/// # Errors
/// What is wrong with the signature, or with the certificate.
pub fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls12_signature(message, certificate, signature, algorithms).or_else(|error| {
        let key = version_one_key(certificate).ok_or(error)?;
        let key = RawPublicKeyEntity::try_from(&key)
            .map_err(|_| Error::from(CertificateError::BadEncoding))?;
        // In TLS 1.2 a scheme names no curve, so that several algorithms may fit it; at most one fits the key.
        let fitting = algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter());
        for algorithm in fitting {
            if key
                .verify_signature(*algorithm, message, signature.signature())
                .is_ok()
            {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(CertificateError::BadSignature.into())
    })
}

fn version_one_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    (parsed.version() == X509Version::V1)
        .then(|| SubjectPublicKeyInfoDer::from(parsed.tbs_certificate.subject_pki.raw))
}
