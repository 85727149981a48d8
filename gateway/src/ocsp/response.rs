//! A responder's answer, parsed and believed or not (RFC 6960, 4.2).
//!
//! Believed is what the certificate's issuer signed, or a responder that the issuer appointed, about the certificate that
//! was asked about, and no longer than it says. Nothing is remembered here.

mod signer;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::request::{NONCE, Request};
use super::subject::Issuer;
use crate::der::{self, Malformed, Reader};
use crate::signed::{SignatureError, Signed};
use signer::ResponderId;

/// How far the responder's clock may be from ours.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// What a responder says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    /// It is not revoked. It need not have been issued.
    Good,
    /// It is revoked, or on hold, or was never issued.
    Revoked {
        /// Since when, in seconds since the Unix epoch.
        since: u64,
    },
    /// The responder does not know it.
    Unknown,
}

/// An answer that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub status: CertificateStatus,
    /// When there should be a newer one, in seconds since the Unix epoch.
    pub next_update: u64,
}

impl Answer {
    /// The last second at which it may be used, since the Unix epoch: [`CLOCK_SKEW`] after the next should be there.
    pub fn usable_until(&self) -> u64 {
        self.next_update.saturating_add(CLOCK_SKEW.as_secs())
    }
}

/// Why an answer cannot be believed, or is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// It does not have the form of an OCSP response.
    #[error("it is not of the form of an OCSP response")]
    Malformed,
    /// The responder says that it does not answer (RFC 6960, 4.2.1).
    #[error("the responder says {0}")]
    Refused(Refusal),
    /// It is of another type than id-pkix-ocsp-basic.
    #[error("it is of another type than the basic one")]
    OtherType,
    /// It has a critical extension that is not understood.
    #[error("it has a critical extension that is not understood")]
    CriticalExtension,
    /// Its signature is of an algorithm, or with a key, that is not supported.
    #[error("its signature algorithm is not supported")]
    UnsupportedAlgorithm,
    /// It names as its signer neither the issuer nor a certificate that it carries.
    #[error("its signer is not the issuer, and the signer's certificate is not there")]
    UnknownSigner,
    /// The issuer did not appoint its signer, or not for now (RFC 6960, 4.2.2.2).
    #[error("its signer was not appointed by the issuer: {0}")]
    UnauthorizedSigner(webpki::Error),
    /// Its signature is not of the signer that it names.
    #[error("its signature is wrong")]
    BadSignature,
    /// It answers another request than ours.
    #[error("it has another nonce than the request")]
    OtherNonce,
    /// It says nothing of the certificate that was asked about.
    #[error("it is about another certificate")]
    OtherCertificate,
    /// It was made later than now.
    #[error("it is from the future")]
    NotYetValid,
    /// There is a newer one by now, or there should be.
    #[error("it is out of date")]
    Expired,
}

/// What a responder says instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It did not understand the request.
    MalformedRequest,
    /// It is in trouble.
    InternalError,
    /// It is not ready now.
    TryLater,
    /// It wants requests to be signed.
    SignatureRequired,
    /// It does not answer us, or has nothing on this certificate (RFC 5019, 2.2.3).
    Unauthorized,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MalformedRequest => "malformedRequest",
            Self::InternalError => "internalError",
            Self::TryLater => "tryLater",
            Self::SignatureRequired => "sigRequired",
            Self::Unauthorized => "unauthorized",
        })
    }
}

impl From<Malformed> for ResponseError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<SignatureError> for ResponseError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Unsupported => Self::UnsupportedAlgorithm,
            SignatureError::Wrong => Self::BadSignature,
        }
    }
}

/// Reads from `response` what it says at `now` (seconds since the Unix epoch) of the certificate that `request` asks about
/// and `issuer` issued.
///
/// An answer that does not say when there will be a newer one may be used for `without_next_update` from when it was made.
/// A nonce that was sent may be missing from the answer, as RFC 9654, 2.1 lets a responder ignore it; another one may not be there.
///
/// # Errors
/// Why it is not believed.
pub fn verify(
    response: &[u8],
    request: &Request,
    issuer: &Issuer,
    now: u64,
    without_next_update: Duration,
) -> Result<Answer, ResponseError> {
    let basic = Basic::parse(basic(response)?)?;
    let data = Data::parse(basic.signed.data)?;
    signer::check(&data.responder, &basic, issuer, now)?;
    check_extensions(data.extensions, request)?;
    let single = data.about(request)?;
    single.into_answer(now, without_next_update)
}

/// The BasicOCSPResponse in an OCSPResponse.
fn basic(response: &[u8]) -> Result<&[u8], ResponseError> {
    let mut reader = Reader::only(response, der::SEQUENCE)?;
    let refusal = match reader.contents(der::ENUMERATED)? {
        [0] => None,
        [1] => Some(Refusal::MalformedRequest),
        [2] => Some(Refusal::InternalError),
        [3] => Some(Refusal::TryLater),
        [5] => Some(Refusal::SignatureRequired),
        [6] => Some(Refusal::Unauthorized),
        _ => return Err(ResponseError::Malformed),
    };
    if let Some(refusal) = refusal {
        return Err(ResponseError::Refused(refusal));
    }
    let mut bytes = Reader::only(reader.contents(der::constructed(0))?, der::SEQUENCE)?;
    reader.end()?;
    let kind = bytes.contents(der::OBJECT_IDENTIFIER)?;
    let response = bytes.contents(der::OCTET_STRING)?;
    bytes.end()?;
    match kind {
        BASIC => Ok(response),
        _ => Err(ResponseError::OtherType),
    }
}

/// A BasicOCSPResponse.
struct Basic<'a> {
    signed: Signed<'a>,
    /// One Certificate after the other.
    certificates: &'a [u8],
}

impl<'a> Basic<'a> {
    fn parse(encoding: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::only(encoding, der::SEQUENCE)?;
        let signed = Signed {
            data: reader.any()?.whole,
            algorithm: reader.contents(der::SEQUENCE)?,
            signature: reader.bits()?,
        };
        let certificates = match reader.optional(der::constructed(0))? {
            Some(list) => Reader::new(list).contents(der::SEQUENCE)?,
            None => &[],
        };
        reader.end()?;
        Ok(Self {
            signed,
            certificates,
        })
    }
}

/// The ResponseData that is signed.
struct Data<'a> {
    responder: ResponderId<'a>,
    /// One SingleResponse after the other.
    responses: Reader<'a>,
    extensions: Option<&'a [u8]>,
}

impl<'a> Data<'a> {
    fn parse(encoding: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::only(encoding, der::SEQUENCE)?;
        if let Some(version) = reader.optional(der::constructed(0))? {
            let mut version = Reader::new(version);
            if version.contents(der::INTEGER)? != [0] {
                return Err(Malformed);
            }
            version.end()?;
        }
        let responder = ResponderId::parse(reader.any()?)?;
        let _produced_at = reader.time()?;
        let responses = reader.inside(der::SEQUENCE)?;
        let extensions = reader.optional(der::constructed(1))?;
        reader.end()?;
        Ok(Self {
            responder,
            responses,
            extensions,
        })
    }

    /// The one response about the certificate that was asked about. Two of them could contradict each other.
    fn about(&self, request: &Request) -> Result<Single, ResponseError> {
        let mut responses = self.responses;
        let mut found = None;
        while !responses.is_empty() {
            let mut response = responses.inside(der::SEQUENCE)?;
            if !request.id().is(response.contents(der::SEQUENCE)?)? {
                continue;
            }
            if found.replace(Single::parse(response)?).is_some() {
                return Err(ResponseError::Malformed);
            }
        }
        found.ok_or(ResponseError::OtherCertificate)
    }
}

/// A SingleResponse, after its CertID.
#[derive(Debug)]
struct Single {
    status: CertificateStatus,
    this_update: u64,
    next_update: Option<u64>,
}

impl Single {
    fn parse(mut reader: Reader<'_>) -> Result<Self, ResponseError> {
        let status = status(&mut reader)?;
        let this_update = reader.time()?;
        let next_update = match reader.optional(der::constructed(0))? {
            Some(time) => {
                let mut time = Reader::new(time);
                let next_update = time.time()?;
                time.end()?;
                Some(next_update)
            }
            None => None,
        };
        if let Some(extensions) = reader.optional(der::constructed(1))? {
            each_extension(extensions, |_, _| Ok(false))?;
        }
        reader.end()?;
        Ok(Self {
            status,
            this_update,
            next_update,
        })
    }

    fn into_answer(self, now: u64, without_next_update: Duration) -> Result<Answer, ResponseError> {
        if self.this_update > now.saturating_add(CLOCK_SKEW.as_secs()) {
            return Err(ResponseError::NotYetValid);
        }
        let by_setting = || {
            self.this_update
                .saturating_add(without_next_update.as_secs())
        };
        let answer = Answer {
            status: self.status,
            next_update: self.next_update.unwrap_or_else(by_setting),
        };
        if answer.next_update < self.this_update {
            return Err(ResponseError::Malformed);
        }
        match answer.usable_until() < now {
            true => Err(ResponseError::Expired),
            false => Ok(answer),
        }
    }
}

fn status(reader: &mut Reader<'_>) -> Result<CertificateStatus, Malformed> {
    const GOOD: u8 = der::primitive(0);
    const REVOKED: u8 = der::constructed(1);
    const UNKNOWN: u8 = der::primitive(2);
    let status = reader.any()?;
    match status.tag {
        GOOD if status.contents.is_empty() => Ok(CertificateStatus::Good),
        UNKNOWN if status.contents.is_empty() => Ok(CertificateStatus::Unknown),
        REVOKED => {
            let mut revoked = Reader::new(status.contents);
            let since = revoked.time()?;
            if let Some(reason) = revoked.optional(der::constructed(0))? {
                Reader::only(reason, der::ENUMERATED)?;
            }
            revoked.end()?;
            Ok(CertificateStatus::Revoked { since })
        }
        _ => Err(Malformed),
    }
}

fn check_extensions(extensions: Option<&[u8]>, request: &Request) -> Result<(), ResponseError> {
    let Some(extensions) = extensions else {
        return Ok(());
    };
    each_extension(extensions, |id, value| {
        if id != NONCE {
            return Ok(false);
        }
        let mut value = Reader::new(value);
        let nonce = value.contents(der::OCTET_STRING)?;
        value.end()?;
        match request.nonce() {
            Some(ours) if nonce != ours => Err(ResponseError::OtherNonce),
            _ => Ok(true),
        }
    })
}

/// Shows `look` each extension's identifier and value; it says whether it understood. A critical one must be understood
/// (RFC 5280, 4.2).
fn each_extension(
    extensions: &[u8],
    mut look: impl FnMut(&[u8], &[u8]) -> Result<bool, ResponseError>,
) -> Result<(), ResponseError> {
    let mut list = Reader::only(extensions, der::SEQUENCE)?;
    while !list.is_empty() {
        let mut extension = list.inside(der::SEQUENCE)?;
        let id = extension.contents(der::OBJECT_IDENTIFIER)?;
        let critical = extension
            .optional(der::BOOLEAN)?
            .is_some_and(|flag| flag != [0]);
        let value = extension.contents(der::OCTET_STRING)?;
        extension.end()?;
        if !look(id, value)? && critical {
            return Err(ResponseError::CriticalExtension);
        }
    }
    Ok(())
}
