//! Certificates written field by field, so that any of them can be wrong.
//!
//! What comes out is good DER, but for what the caller spoils: RFC 5280's rules are the caller's to break.

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::KeyPair;
use time::OffsetDateTime;

use super::workshop::DIGITAL_SIGNATURE;
use crate::IssueError;
use crate::authority::{EndEntitySpec, SubjectAltName};
use crate::der;
use crate::entropy::{Entropy, Place};
use crate::key::PrivateKey;
use crate::signed::{algorithm_of, sign};

const COMMON_NAME: &[u8] = b"\x55\x04\x03";
const SUBJECT_KEY_ID: &[u8] = b"\x55\x1d\x0e";
const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";
const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
const NAME_CONSTRAINTS: &[u8] = b"\x55\x1d\x1e";
const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
const CLIENT_AUTH: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x02";

/// The fields of a certificate (RFC 5280 section 4.1), each free to be wrong.
pub(super) struct Template {
    /// 1, where `extensions` must be empty, or 3.
    pub(super) version: u8,
    /// Big-endian.
    pub(super) serial: Vec<u8>,
    /// DER Name.
    pub(super) issuer: Vec<u8>,
    pub(super) validity: (OffsetDateTime, OffsetDateTime),
    /// DER Name.
    pub(super) subject: Vec<u8>,
    /// DER SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
    /// Its subject key identifier.
    pub(super) key_id: Vec<u8>,
    /// Each as DER.
    pub(super) extensions: Vec<Vec<u8>>,
}

impl Template {
    /// Version 3, a random serial number, no extensions.
    pub(super) fn new(
        common_name: &str,
        validity: (OffsetDateTime, OffsetDateTime),
        key: &PrivateKey,
        issuer: Vec<u8>,
    ) -> Result<Self, IssueError> {
        let public_key = key.public_key_der();
        let hash = digest(&SHA256, &public_key);
        Ok(Self {
            version: 3,
            serial: Entropy::System.serial(Place::new("fault", 0))?,
            issuer,
            validity,
            subject: name(&[common_name]),
            // RFC 7093 section 2: the leftmost 160 bits of a SHA-256.
            key_id: hash.as_ref().iter().copied().take(20).collect(),
            public_key,
            extensions: Vec::new(),
        })
    }

    /// A device's certificate. Names and dates are from `entity`, the rest is as for any device.
    pub(super) fn device(
        entity: &EndEntitySpec,
        key: &PrivateKey,
        issuer: Vec<u8>,
        authority_key_id: &[u8],
    ) -> Result<Self, IssueError> {
        let common_name = entity.common_name.as_deref().unwrap_or_default();
        let validity = (entity.not_before, entity.not_after);
        let mut template = Self::new(common_name, validity, key, issuer)?;
        template.add_key_ids(authority_key_id);
        template.extensions.extend([
            alternative_names(&entity.subject_alt_names)?,
            key_usage(DIGITAL_SIGNATURE),
            client_auth(),
            basic_constraints(false, None),
        ]);
        Ok(template)
    }

    pub(super) fn add_key_ids(&mut self, authority: &[u8]) {
        let own = der::element(der::OCTET_STRING, &self.key_id);
        self.extensions
            .push(der::authority_key_identifier(authority));
        self.extensions
            .push(der::extension(SUBJECT_KEY_ID, false, &own));
    }

    /// Without an extension that it has.
    pub(super) fn remove(&mut self, extension: &[u8]) {
        self.extensions.retain(|other| other != extension);
    }

    /// The certificate, signed with `key`'s usual algorithm.
    pub(super) fn signed_by(&self, key: &KeyPair) -> Result<Vec<u8>, IssueError> {
        sign(&self.to_be_signed(algorithm_of(key)?), key)
    }

    /// TBSCertificate, which names the algorithm of the signature that is to follow.
    pub(super) fn to_be_signed(&self, algorithm: &[u8]) -> Vec<u8> {
        let (not_before, not_after) = self.validity;
        // Version 1 is the default, and DER leaves defaults out; 3 is written as 2.
        let version = match self.version {
            1 => Vec::new(),
            version => der::element(der::context(0), &der::number(u64::from(version) - 1)),
        };
        let extensions = match self.extensions.as_slice() {
            [] => Vec::new(),
            extensions => {
                let all = der::element(der::SEQUENCE, &extensions.concat());
                der::element(der::context(3), &all)
            }
        };
        der::sequence(&[
            &version,
            &der::unsigned(&self.serial),
            algorithm,
            &self.issuer,
            &der::sequence(&[&der::time(not_before), &der::time(not_after)]),
            &self.subject,
            &self.public_key,
            &extensions,
        ])
    }
}

/// A Name of common names, one to each relative distinguished name.
pub(super) fn name(common_names: &[&str]) -> Vec<u8> {
    let one = |text: &&str| {
        let text = der::element(der::UTF8_STRING, text.as_bytes());
        let attribute = der::sequence(&[&der::oid(COMMON_NAME), &text]);
        der::element(der::SET, &attribute)
    };
    let all: Vec<u8> = common_names.iter().flat_map(one).collect();
    der::element(der::SEQUENCE, &all)
}

/// Key usage, critical; `bits` is its first byte.
pub(super) fn key_usage(bits: u8) -> Vec<u8> {
    // Trailing zero bits of a named bit list are cut off (X.690 section 11.2.2); no bits at all are no byte.
    let unused = bits.trailing_zeros().min(7) as u8;
    let value = der::element(der::BIT_STRING, &[unused, bits]);
    der::extension(KEY_USAGE, true, &value)
}

/// Basic constraints, critical.
pub(super) fn basic_constraints(is_authority: bool, path_length: Option<u64>) -> Vec<u8> {
    let authority = if is_authority {
        der::element(der::BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    let length = path_length.map(der::number).unwrap_or_default();
    let value = der::sequence(&[&authority, &length]);
    der::extension(BASIC_CONSTRAINTS, true, &value)
}

/// Name constraints, critical, that permit this DNS name and those below it.
pub(super) fn permitted_dns(domain: &str) -> Vec<u8> {
    let subtree = der::sequence(&[&der::element(der::context_primitive(2), domain.as_bytes())]);
    let value = der::sequence(&[&der::element(der::context(0), &subtree)]);
    der::extension(NAME_CONSTRAINTS, true, &value)
}

/// Extended key usage with clientAuth alone.
pub(super) fn client_auth() -> Vec<u8> {
    let value = der::sequence(&[&der::oid(CLIENT_AUTH)]);
    der::extension(EXTENDED_KEY_USAGE, false, &value)
}

fn alternative_names(names: &[SubjectAltName]) -> Result<Vec<u8>, IssueError> {
    let mut all = Vec::new();
    for name in names {
        let (tag, text) = match name {
            SubjectAltName::Email(address) => (1, address),
            SubjectAltName::Dns(name) => (2, name),
            SubjectAltName::Uri(uri) => (6, uri),
            SubjectAltName::Ip(address) => return Err(IssueError::Name(address.to_string())),
        };
        der::push_element(&mut all, der::context_primitive(tag), text.as_bytes());
    }
    let value = der::element(der::SEQUENCE, &all);
    Ok(der::extension(SUBJECT_ALT_NAME, false, &value))
}
