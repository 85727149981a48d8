//! Who signed a response, and whether the certificate's issuer wants that to be so (RFC 6960, 4.2.2.2).
//!
//! Two may sign: the issuer with the key that it signs certificates with, and whom it appointed by a certificate that it
//! issued itself for this purpose alone. A responder that a configuration names, whoever its issuer, is not supported.

use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{Basic, ResponseError};
use crate::der::{self, Malformed, Reader, Value};
use crate::ocsp::subject::Issuer;
use crate::signed::PublicKey;

/// id-kp-OCSPSigning, 1.3.6.1.5.5.7.3.9.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];

/// How many of the certificates of a response are looked at. One is enough for an honest responder, and each costs a signature.
const MAX_CERTIFICATES: usize = 4;

/// Who a response says signed it.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResponderId<'a> {
    /// What is in the subject of the signer's certificate.
    Name(&'a [u8]),
    /// SHA-1 over the signer's public key.
    KeyHash(&'a [u8]),
}

impl<'a> ResponderId<'a> {
    pub(super) fn parse(element: Value<'a>) -> Result<Self, Malformed> {
        const BY_NAME: u8 = der::constructed(1);
        const BY_KEY: u8 = der::constructed(2);
        let mut reader = Reader::new(element.contents);
        let id = match element.tag {
            BY_NAME => Self::Name(reader.contents(der::SEQUENCE)?),
            BY_KEY => Self::KeyHash(reader.contents(der::OCTET_STRING)?),
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(id)
    }

    fn is(&self, name: &[u8], key: &PublicKey) -> bool {
        match self {
            Self::Name(id) => *id == name,
            Self::KeyHash(id) => {
                let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.bits());
                *id == hash.as_ref()
            }
        }
    }
}

/// Checks that `response` was signed by whom it names, and that this is `issuer`, or one appointed by it at `now` (seconds
/// since the Unix epoch).
pub(super) fn check(
    responder: &ResponderId<'_>,
    response: &Basic<'_>,
    issuer: &Issuer,
    now: u64,
) -> Result<(), ResponseError> {
    let mut failure = ResponseError::UnknownSigner;
    if responder.is(issuer.name(), issuer.key()) {
        match issuer.key().verify(&response.signed) {
            Ok(()) => return Ok(()),
            Err(error) => failure = error.into(),
        }
    }
    let mut certificates = Reader::new(response.certificates);
    for _ in 0..MAX_CERTIFICATES {
        if certificates.is_empty() {
            break;
        }
        let certificate = CertificateDer::from_slice(certificates.any()?.whole);
        match by_appointed(responder, &certificate, response, issuer, now) {
            Ok(()) => return Ok(()),
            // It is somebody else's certificate.
            Err(ResponseError::UnknownSigner) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn by_appointed(
    responder: &ResponderId<'_>,
    certificate: &CertificateDer<'_>,
    response: &Basic<'_>,
    issuer: &Issuer,
    now: u64,
) -> Result<(), ResponseError> {
    let certificate =
        EndEntityCert::try_from(certificate).map_err(ResponseError::UnauthorizedSigner)?;
    let key_info = certificate.subject_public_key_info();
    let key = PublicKey::from_contents(Reader::new(&key_info).contents(der::SEQUENCE)?)?;
    if !responder.is(certificate.subject(), &key) {
        return Err(ResponseError::UnknownSigner);
    }
    // No intermediates: the issuer itself must have appointed it.
    certificate
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[issuer.as_anchor()],
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(now)),
            KeyUsage::required(OCSP_SIGNING),
            None,
            None,
        )
        .map_err(ResponseError::UnauthorizedSigner)?;
    Ok(key.verify(&response.signed)?)
}
