//! A certificate revocation list.

use serde::Serialize;
use time::OffsetDateTime;
use x509_parser::der_parser::der::parse_der_integer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_DELTA_CRL_INDICATOR;
use x509_parser::prelude::{CertificateRevocationList, X509Extension};

use super::certificate::{algorithm, rfc3339, serial};
use super::{ExtensionsItem, Lifetime};
use crate::public_key::fingerprint;

/// A certificate revocation list.
#[derive(Clone, Debug, Serialize)]
pub struct RevocationListItem {
    /// Issuer.
    pub issuer: String,
    /// Algorithm of its signature.
    pub signature: String,
    /// From thisUpdate to nextUpdate; `None` without nextUpdate.
    pub validity: Option<Lifetime>,
    /// thisUpdate.
    #[serde(serialize_with = "rfc3339")]
    pub this_update: OffsetDateTime,
    /// cRLNumber, decimal.
    pub number: Option<String>,
    /// In a delta list, the number of the full list that it adds to, decimal (RFC 5280 section 5.2.4).
    pub delta_to: Option<String>,
    /// The key identifier of its issuer, hexadecimal.
    pub authority_key_id: Option<String>,
    /// How many certificates it revokes.
    pub revoked_count: usize,
    /// Those certificates.
    pub revoked: Vec<RevokedItem>,
    /// SHA-256 of the whole list as DER.
    pub sha256: String,
}

/// One revoked certificate.
#[derive(Clone, Debug, Serialize)]
pub struct RevokedItem {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// When it was revoked.
    #[serde(serialize_with = "rfc3339")]
    pub date: OffsetDateTime,
    /// The reason, if one is given.
    pub reason: Option<String>,
}

impl RevocationListItem {
    pub(super) fn of(list: &CertificateRevocationList<'_>, now: OffsetDateTime) -> Self {
        let this_update = list.last_update().to_datetime();
        let extensions = || {
            list.extensions()
                .iter()
                .map(|extension| extension.parsed_extension())
        };
        let number = extensions().find_map(|extension| match extension {
            ParsedExtension::CRLNumber(number) => Some(number.to_string()),
            _ => None,
        });
        let revoked: Vec<_> = list
            .iter_revoked_certificates()
            .map(|entry| RevokedItem {
                serial: serial(entry.raw_serial()),
                date: entry.revocation_date.to_datetime(),
                reason: entry.reason_code().map(|(_, reason)| reason.to_string()),
            })
            .collect();
        Self {
            issuer: list.issuer().to_string(),
            signature: algorithm(&list.signature_algorithm),
            validity: list
                .next_update()
                .map(|next_update| Lifetime::at(now, this_update, next_update.to_datetime())),
            this_update,
            number,
            delta_to: list.extensions().iter().find_map(delta_to),
            authority_key_id: ExtensionsItem::of(extensions()).authority_key_id,
            revoked_count: revoked.len(),
            revoked,
            sha256: fingerprint(list.as_raw()),
        }
    }
}

/// The BaseCRLNumber of a delta list; the parser leaves it to us.
fn delta_to(extension: &X509Extension<'_>) -> Option<String> {
    if extension.oid != OID_X509_EXT_DELTA_CRL_INDICATOR {
        return None;
    }
    let base = parse_der_integer(extension.value)
        .ok()
        .and_then(|(_, integer)| integer.as_biguint().ok());
    Some(base.map_or_else(|| "malformed".to_owned(), |base| base.to_string()))
}
