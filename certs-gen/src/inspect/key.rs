//! A key, by its public half.

use serde::Serialize;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Item;
use crate::public_key::{PublicKeyKind, fingerprint};

/// A private or public key, described by its public half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyItem {
    /// Its kind, such as `ECDSA P-256`.
    pub key: String,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub public_key_sha256: String,
    /// The item in the same file, from 1, whose certificate or request holds this key.
    pub belongs_to_item: Option<usize>,
}

impl KeyItem {
    pub(super) fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        Self {
            key: PublicKeyKind::of(key).to_string(),
            public_key_sha256: fingerprint(key.raw),
            belongs_to_item: None,
        }
    }
}

/// Tells each key in the file which certificate or request in the same file it belongs to.
pub(super) fn match_certificates(items: &mut [Item]) {
    let holders: Vec<Option<String>> = items
        .iter()
        .map(|item| match item {
            Item::Certificate(certificate) => Some(certificate.public_key_sha256.clone()),
            Item::Request(request) => Some(request.public_key_sha256.clone()),
            _ => None,
        })
        .collect();
    for item in items {
        if let Item::PrivateKey(key) | Item::PublicKey(key) = item {
            let holder = |found: &Option<String>| found.as_ref() == Some(&key.public_key_sha256);
            key.belongs_to_item = holders.iter().position(holder).map(|position| position + 1);
        }
    }
}
