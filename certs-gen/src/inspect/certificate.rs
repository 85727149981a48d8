//! A certificate: who, by whom, until when.

use serde::{Serialize, Serializer};
use time::{Duration, OffsetDateTime};
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::AlgorithmIdentifier;

use super::ExtensionsItem;
use crate::public_key::{PublicKeyKind, fingerprint, hex};

/// A certificate.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateItem {
    /// X.509 version, 1 to 3.
    pub version: u32,
    /// Subject.
    pub subject: String,
    /// Issuer.
    pub issuer: String,
    /// Whether subject and issuer are the same name.
    pub self_issued: bool,
    /// Serial number, hexadecimal, without leading zero bytes.
    pub serial: String,
    /// Its validity.
    pub validity: Lifetime,
    /// Kind of public key, such as `ECDSA P-256`.
    pub key: String,
    /// Signature algorithm of the issuer, such as `ecdsa-with-SHA256`.
    pub signature: String,
    /// What its extensions say.
    #[serde(flatten)]
    pub extensions: ExtensionsItem,
    /// SHA-256 of the whole certificate as DER.
    pub sha256: String,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub public_key_sha256: String,
}

/// A span of time and where now stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lifetime {
    /// First second.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: OffsetDateTime,
    /// Last second.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: OffsetDateTime,
    /// Where now stands in it.
    pub state: LifetimeState,
    /// Whole days until expiry, since expiry, or until it begins, as the state says.
    pub days: i64,
}

/// Where now stands in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LifetimeState {
    /// Before it.
    NotYetValid,
    /// In it.
    Valid,
    /// After it.
    Expired,
}

impl Lifetime {
    pub(super) fn at(
        now: OffsetDateTime,
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Self {
        let (state, distance): (_, Duration) = if now < not_before {
            (LifetimeState::NotYetValid, not_before - now)
        } else if now > not_after {
            (LifetimeState::Expired, now - not_after)
        } else {
            (LifetimeState::Valid, not_after - now)
        };
        Self {
            not_before,
            not_after,
            state,
            days: distance.whole_days(),
        }
    }
}

impl CertificateItem {
    pub(super) fn of(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Self {
        let validity = certificate.validity();
        Self {
            version: certificate.version().0.saturating_add(1),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            serial: serial(certificate.raw_serial()),
            validity: Lifetime::at(
                now,
                validity.not_before.to_datetime(),
                validity.not_after.to_datetime(),
            ),
            key: PublicKeyKind::of(certificate.public_key()).to_string(),
            signature: algorithm(&certificate.signature_algorithm),
            extensions: ExtensionsItem::of(
                certificate
                    .extensions()
                    .iter()
                    .map(|extension| extension.parsed_extension()),
            ),
            sha256: fingerprint(certificate.as_raw()),
            public_key_sha256: fingerprint(certificate.public_key().raw),
        }
    }
}

/// A serial number in hexadecimal, without the leading zero bytes that only keep it positive.
pub(super) fn serial(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    match bytes.get(zeros..) {
        Some(rest) if !rest.is_empty() => hex(rest),
        _ => "00".to_owned(),
    }
}

/// The name of a signature algorithm, or its object identifier where it has none here.
pub(super) fn algorithm(identifier: &AlgorithmIdentifier<'_>) -> String {
    oid2sn(&identifier.algorithm, oid_registry())
        .map_or_else(|_| identifier.algorithm.to_id_string(), str::to_owned)
}

/// As RFC 3339; dates that it cannot write (past the year 9999) as null.
pub(super) fn rfc3339<S: Serializer>(
    time: &OffsetDateTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.format(&time::format_description::well_known::Rfc3339)
        .ok()
        .serialize(serializer)
}
