//! Who a verified chain belongs to: its device id, names and fingerprint, parsed once per chain.
//!
//! Pure: no I/O, no clock, no TLS state. It trusts nothing that [`VerifiedChain`] did not prove, and decides nothing
//! about what the device may do; that is `authorize`. Which part of the certificate is the id is said by a [`Rule`].

mod names;
mod rule;
mod spiffe;

use std::fmt::{self, Write as _};

use aws_lc_rs::digest;

use crate::headers::{self, IdentityHeaders};
use crate::verify::{AnchorId, Link, VerifiedChain};

pub use rule::{Pattern, PatternError, Rule, Source};

/// The longest device id that is accepted, in bytes. X.520 bounds a common name at 64 characters; URIs are longer.
pub const MAX_DEVICE_ID: usize = 256;

/// A device whose chain was verified, and what its certificate says about it.
///
/// The only constructor is [`Identified::from_chain`], which needs a [`VerifiedChain`]: an identity that nobody
/// verified cannot be written down.
#[derive(Debug)]
pub struct Identified {
    device_id: String,
    subject: String,
    uris: Vec<String>,
    dns_names: Vec<String>,
    serial: String,
    fingerprint: [u8; 32],
    not_before: u64,
    not_after: u64,
    anchor: AnchorId,
    links: Box<[Link]>,
    headers: IdentityHeaders,
}

/// Why a verified certificate names no device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificate could not be parsed a second time, with names.
    #[error("the certificate's names cannot be parsed")]
    Malformed,
    /// There is no name of the wanted kind.
    #[error("there is no name of the kind that the identity rule wants")]
    Absent,
    /// There is more than one such name, and nothing says which is the device's.
    #[error("there is more than one name of the kind that the identity rule wants")]
    Ambiguous,
    /// The name does not match the rule's pattern.
    #[error("the name does not match the pattern of the identity rule")]
    PatternMismatch,
    /// A URI of the scheme `spiffe` that is no SPIFFE ID of a workload.
    #[error("the SPIFFE ID is malformed")]
    InvalidSpiffeId,
    /// The id is longer than [`MAX_DEVICE_ID`] bytes.
    #[error("the device id is longer than {MAX_DEVICE_ID} bytes")]
    TooLong,
    /// The id has characters that cannot go into a header or a log line unchanged.
    #[error("the device id has characters outside visible ASCII")]
    IllEncoded,
}

impl Identified {
    /// Reads the identity out of `chain`, with the device id that `rule` says.
    ///
    /// `headers` says which optional header values to prepare.
    ///
    /// # Errors
    /// An id that is absent, ambiguous, over-long or ill-encoded is refused, never guessed.
    pub fn from_chain(
        chain: &VerifiedChain,
        rule: &Rule,
        headers: headers::Settings,
    ) -> Result<Self, IdentityError> {
        let der = chain.end_entity();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        let names = names::read(der, &fingerprint, rule)?;
        let mut identified = Self {
            device_id: names.device_id,
            subject: names.subject,
            uris: names.uris,
            dns_names: names.dns_names,
            serial: names.serial,
            fingerprint,
            not_before: chain.not_before(),
            not_after: chain.not_after(),
            anchor: *chain.anchor(),
            links: chain.links().into(),
            headers: IdentityHeaders::default(),
        };
        identified.headers = IdentityHeaders::prepare(&identified, chain, headers);
        Ok(identified)
    }

    /// The device's id.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// The subject in RFC 4514 order of the certificate, as text.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Subject alternative names that are URIs, in the certificate's order.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Subject alternative names that are DNS names, in the certificate's order.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The serial number as colon-separated hex.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// SHA-256 of the end entity's DER encoding.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// First second of the chain's validity, since the Unix epoch.
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// Last second of the chain's validity, since the Unix epoch.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// The anchor that the chain leads to.
    pub fn anchor(&self) -> &AnchorId {
        &self.anchor
    }

    /// The chain as revocation lists name it: the end entity, then each intermediate upwards.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The identity header values, prepared once.
    pub fn headers(&self) -> &IdentityHeaders {
        &self.headers
    }

    /// An identity made of nothing, for the tests of stages that take one.
    #[cfg(test)]
    pub(crate) fn for_tests(device_id: &str, not_before: u64, not_after: u64) -> Self {
        Self {
            device_id: device_id.to_owned(),
            subject: format!("CN={device_id}"),
            uris: vec![format!("urn:device:{device_id}")],
            dns_names: Vec::new(),
            serial: "01".to_owned(),
            fingerprint: [0xab; 32],
            not_before,
            not_after,
            anchor: AnchorId::new(&crate::verify::AuthorityId::new(&[], &[]), None, None),
            links: Box::default(),
            headers: IdentityHeaders::default(),
        }
    }
}

impl fmt::Display for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device_id)
    }
}

/// The subject's common name in the certificate `der`, if it has exactly one.
pub fn common_name(der: &[u8]) -> Option<String> {
    names::only_common_name(der)
}

/// Lower-case hex, as fingerprints are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The device id in a certificate that nobody verified.
///
/// Built for fuzzing alone, where bytes must reach the rules without a chain; anywhere else it would be a way around
/// [`Identified::from_chain`].
///
/// # Errors
/// As there.
#[cfg(fuzzing)]
pub fn unverified_device_id(der: &[u8], rule: &Rule) -> Result<String, IdentityError> {
    names::read(der, &[0; 32], rule).map(|names| names.device_id)
}

#[cfg(test)]
mod tests;
