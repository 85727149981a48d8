//! Says what a file holds: certificates, chains, keys, requests, revocation lists; PEM or DER, alone or bundled.
//!
//! ```text
//! bytes ─▶ blocks ─▶ Item (certificate, key, request, list) ─▶ words, or JSON with a schema
//! ```
//!
//! Deliberately judges nothing: no signature is verified, no chain is built; and no secret is ever shown.

mod blocks;
mod certificate;
mod extensions;
mod key;
mod request;
mod revocation_list;
mod words;

use serde::Serialize;
use time::OffsetDateTime;

pub use blocks::InspectError;
pub use certificate::{CertificateItem, Lifetime, LifetimeState};
pub use extensions::{BasicConstraintsItem, ExtensionsItem};
pub use key::KeyItem;
pub use request::RequestItem;
pub use revocation_list::{RevocationListItem, RevokedItem};

/// The schema of the JSON form.
pub const SCHEMA: &str = "certs-gen.inspect/1";

/// What a file holds.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Its items, in the order in which they stand in the file.
    pub items: Vec<Item>,
}

/// One thing in a file.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Item {
    /// An X.509 certificate (RFC 5280).
    Certificate(Box<CertificateItem>),
    /// An unencrypted private key: PKCS#8, SEC 1 or PKCS#1. Only its public half is described.
    PrivateKey(KeyItem),
    /// An encrypted private key, of which nothing can be said.
    EncryptedPrivateKey,
    /// A public key (SubjectPublicKeyInfo).
    PublicKey(KeyItem),
    /// A certificate signing request (PKCS#10, RFC 2986).
    Request(Box<RequestItem>),
    /// A certificate revocation list (RFC 5280 section 5).
    RevocationList(Box<RevocationListItem>),
    /// A PEM block of another kind.
    Other {
        /// The label in its first line.
        label: String,
    },
}

/// Reads a file's contents; `now` is what "expired" is measured against.
///
/// # Errors
/// [`InspectError`] if the contents are none of what this understands, or part of them is damaged.
pub fn inspect(bytes: &[u8], now: OffsetDateTime) -> Result<Inspection, InspectError> {
    let mut items = blocks::items(bytes, now)?;
    key::match_certificates(&mut items);
    Ok(Inspection {
        schema: SCHEMA,
        items,
    })
}

impl Inspection {
    /// The inspection in words, for people.
    pub fn words(&self) -> String {
        words::inspection(self)
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::{InspectError, Inspection, Item, LifetimeState, inspect};
    use crate::authority::{Authority, AuthoritySpec, EndEntitySpec};
    use crate::credential::{Credential, pem_block};
    use crate::key::{KeyKind, PrivateKey};

    fn issued(change: impl Fn(&mut EndEntitySpec)) -> Credential {
        let anchor = Authority::trust_anchor(&AuthoritySpec::new("anchor")).unwrap();
        let intermediate = anchor
            .intermediate(&AuthoritySpec::new("intermediate"))
            .unwrap();
        let mut spec = EndEntitySpec::device("device-000042");
        change(&mut spec);
        intermediate.issue(&spec).unwrap()
    }

    fn look(bytes: impl AsRef<[u8]>) -> Inspection {
        inspect(bytes.as_ref(), OffsetDateTime::now_utc()).unwrap()
    }

    #[test]
    fn a_bundle_in_words() {
        let words = look(issued(|_| {}).pem()).words();
        for expected in [
            "certificate 1 of 3 items",
            "CN=device-000042",
            "CN=intermediate",
            "expires in 89 days",
            "URI:urn:device:device-000042",
            "ECDSA P-256",
            "clientAuth",
            "not a CA",
            "a CA",
            "private key",
            "belongs to item 1",
        ] {
            assert!(
                words.contains(expected),
                "{expected:?} is missing in\n{words}"
            );
        }
    }

    #[test]
    fn lifetimes() {
        let now = OffsetDateTime::now_utc();
        let state = |before: Duration, after: Duration| {
            let credential =
                issued(|spec| (spec.not_before, spec.not_after) = (now + before, now + after));
            let items = look(credential.end_entity()).items;
            let Some(Item::Certificate(certificate)) = items.first() else {
                panic!("no certificate")
            };
            (certificate.validity.state, certificate.validity.days)
        };
        let day = Duration::DAY;
        assert_eq!(
            state(-day, 10 * day + Duration::HOUR),
            (LifetimeState::Valid, 10)
        );
        assert_eq!(state(-5 * day, -3 * day), (LifetimeState::Expired, 3));
        assert_eq!(
            state(2 * day + Duration::HOUR, 5 * day),
            (LifetimeState::NotYetValid, 2)
        );
    }

    #[test]
    fn der_of_each_kind() {
        let credential = issued(|_| {});
        assert!(matches!(
            look(credential.end_entity()).items.as_slice(),
            [Item::Certificate(_)]
        ));
        assert!(matches!(
            look(&credential.key).items.as_slice(),
            [Item::PrivateKey(_)]
        ));
        let key = PrivateKey::from_pkcs8(KeyKind::P256, &credential.key).unwrap();
        assert!(matches!(
            look(key.public_key_der()).items.as_slice(),
            [Item::PublicKey(_)]
        ));
        let csr = rcgen::CertificateParams::default()
            .serialize_request(key.pair())
            .unwrap();
        assert!(matches!(
            look(csr.der()).items.as_slice(),
            [Item::Request(_)]
        ));
    }

    #[test]
    fn a_revocation_list() {
        let now = OffsetDateTime::now_utc();
        let revoked = rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from(0x2a_u64),
            revocation_time: now,
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: now - Duration::DAY,
            next_update: now + Duration::days(7) + Duration::HOUR,
            crl_number: rcgen::SerialNumber::from(3_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let mut params = rcgen::CertificateParams::default();
        params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
        let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
        let list = list.signed_by(&issuer).unwrap();
        let words = look(list.der()).words();
        for expected in [
            "certificate revocation list",
            "number               3",
            "2a on ",
            "expires in 7 days",
        ] {
            assert!(
                words.contains(expected),
                "{expected:?} is missing in\n{words}"
            );
        }
        let json = serde_json::to_value(look(list.pem().unwrap())).unwrap();
        assert_eq!(json["items"][0]["revoked"][0]["serial"], "2a");
    }

    #[test]
    fn no_secret_is_shown() {
        let credential = issued(|_| {});
        let inspection = look(credential.pem());
        let shown = inspection.words() + &serde_json::to_string(&inspection).unwrap();
        let secret = crate::public_key::hex(&credential.key[36..68]);
        assert!(!shown.contains(&secret));
        assert!(shown.contains("certs-gen.inspect/1"));
    }

    #[test]
    fn names_cannot_drive_the_terminal() {
        let words =
            look(issued(|spec| spec.common_name = Some("a\u{1b}[31mb".into())).pem()).words();
        assert!(!words.contains('\u{1b}'), "{words}");
    }

    #[test]
    fn garbage_and_damage_are_told() {
        let error = |bytes: &[u8]| inspect(bytes, OffsetDateTime::now_utc()).unwrap_err();
        assert!(matches!(error(b""), InspectError::Empty));
        assert!(matches!(error(b"garbage"), InspectError::Unknown));
        let credential = issued(|_| {});
        let whole = credential.pem();
        assert!(matches!(
            error(&whole.as_bytes()[..whole.len() - 30]),
            InspectError::Damaged(_)
        ));
        assert!(matches!(
            error(pem_block("CERTIFICATE", b"x").as_bytes()),
            InspectError::Block { .. }
        ));
        let mut longer = credential.end_entity().to_vec();
        longer.push(0);
        assert!(matches!(error(&longer), InspectError::Unknown));
    }
}
