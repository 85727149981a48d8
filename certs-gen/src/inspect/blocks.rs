//! From bytes to items: PEM blocks by their label, DER by trial.

use pem::Pem;
use time::OffsetDateTime;
use x509_parser::prelude::FromDer;

use super::{CertificateItem, Item, KeyItem, RequestItem, RevocationListItem};

/// Why a file's contents could not be described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Neither PEM nor one of the known DER structures.
    #[error("neither PEM nor DER of a certificate, key, signing request or revocation list")]
    Unknown,
    /// PEM that does not parse.
    #[error("damaged PEM: {0}")]
    Damaged(String),
    /// A PEM block whose contents are not what its label says.
    #[error("item {number} ({label}) is damaged: its contents are not what its label says")]
    Block {
        /// Which block, from 1.
        number: usize,
        /// Its label.
        label: String,
    },
}

const BEGIN: &[u8] = b"-----BEGIN ";

pub(super) fn items(bytes: &[u8], now: OffsetDateTime) -> Result<Vec<Item>, InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::Empty);
    }
    let begun = bytes
        .windows(BEGIN.len())
        .filter(|window| *window == BEGIN)
        .count();
    if begun == 0 {
        return from_der(bytes, now)
            .map(|item| vec![item])
            .ok_or(InspectError::Unknown);
    }
    let blocks =
        pem::parse_many(bytes).map_err(|error| InspectError::Damaged(error.to_string()))?;
    // The parser passes over a last block without end.
    if blocks.len() < begun {
        return Err(InspectError::Damaged(format!(
            "of {begun} blocks, {} have an end",
            blocks.len()
        )));
    }
    let item = |(position, block): (usize, &Pem)| {
        from_block(block, now).ok_or_else(|| InspectError::Block {
            number: position + 1,
            label: block.tag().to_owned(),
        })
    };
    blocks.iter().enumerate().map(item).collect()
}

fn from_block(block: &Pem, now: OffsetDateTime) -> Option<Item> {
    let der = block.contents();
    // The old way of encrypting (RFC 1421), which openssl's -traditional still writes.
    let is_encrypted = block
        .headers()
        .get("Proc-Type")
        .is_some_and(|value| value.contains("ENCRYPTED"));
    match block.tag() {
        "CERTIFICATE" | "X509 CERTIFICATE" => certificate(der, now),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => request(der),
        "X509 CRL" => revocation_list(der, now),
        "ENCRYPTED PRIVATE KEY" => Some(Item::EncryptedPrivateKey),
        "EC PRIVATE KEY" | "RSA PRIVATE KEY" if is_encrypted => Some(Item::EncryptedPrivateKey),
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => private_key(der),
        "PUBLIC KEY" => public_key(der),
        label => Some(Item::Other {
            label: label.to_owned(),
        }),
    }
}

fn from_der(der: &[u8], now: OffsetDateTime) -> Option<Item> {
    certificate(der, now)
        .or_else(|| revocation_list(der, now))
        .or_else(|| request(der))
        .or_else(|| public_key(der))
        .or_else(|| private_key(der))
}

/// Parses DER and insists that nothing follows it.
fn whole<'a, T: FromDer<'a, E>, E>(der: &'a [u8]) -> Option<T> {
    T::from_der(der)
        .ok()
        .filter(|(rest, _)| rest.is_empty())
        .map(|(_, parsed)| parsed)
}

fn certificate(der: &[u8], now: OffsetDateTime) -> Option<Item> {
    whole(der).map(|parsed| Item::Certificate(Box::new(CertificateItem::of(&parsed, now))))
}

fn request(der: &[u8]) -> Option<Item> {
    whole(der).map(|parsed| Item::Request(Box::new(RequestItem::of(&parsed))))
}

fn revocation_list(der: &[u8], now: OffsetDateTime) -> Option<Item> {
    whole(der).map(|parsed| Item::RevocationList(Box::new(RevocationListItem::of(&parsed, now))))
}

fn public_key(der: &[u8]) -> Option<Item> {
    whole(der).map(|parsed| Item::PublicKey(KeyItem::of(&parsed)))
}

fn private_key(der: &[u8]) -> Option<Item> {
    let public = crate::key::PrivateKey::from_der(der).ok()?.public_key_der();
    whole(&public).map(|parsed| Item::PrivateKey(KeyItem::of(&parsed)))
}
