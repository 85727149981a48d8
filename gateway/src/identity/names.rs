//! The names in an end entity, and the one of them that a rule makes the device's id.
//!
//! An id that is absent, ambiguous, over-long or ill-encoded is refused, never guessed.

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::rule::{Rule, Source};
use super::{IdentityError, MAX_DEVICE_ID, hex, spiffe};

/// The longest text that a pattern is tried on, in bytes.
const MAX_MATCHED: usize = 2048;

/// What a certificate says about its holder.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) device_id: String,
    pub(super) subject: String,
    pub(super) uris: Vec<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) serial: String,
}

/// Reads the certificate `der`, whose SHA-256 is `fingerprint`.
///
/// # Errors
/// Why it names no device.
pub(super) fn read(
    der: &[u8],
    fingerprint: &[u8; 32],
    rule: &Rule,
) -> Result<Names, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| IdentityError::Malformed)?;
    let alternative = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let device_id = match rule.source {
        Source::CommonName => matching(common_name(&certificate)?, rule)?,
        Source::Serial => matching(serial(certificate.raw_serial())?, rule)?,
        Source::Fingerprint => matching(hex(fingerprint), rule)?,
        Source::SanUri => the_one(uri_candidates(alternative)?, rule)?,
        Source::SanDns => the_one(dns_candidates(alternative)?, rule)?,
    };
    check_device_id(&device_id)?;
    let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
    for name in alternative {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            _ => {}
        }
    }
    Ok(Names {
        device_id,
        subject: certificate.subject().to_string(),
        uris,
        dns_names,
        serial: certificate.raw_serial_as_string(),
    })
}

/// The common name in the certificate `der`, if it has exactly one that is text.
pub(super) fn only_common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    common_name(&certificate).ok()
}

/// `text` as far as the rule's pattern makes it the id.
fn matching(text: String, rule: &Rule) -> Result<String, IdentityError> {
    let Some(pattern) = &rule.pattern else {
        return Ok(text);
    };
    if text.len() > MAX_MATCHED {
        return Err(IdentityError::TooLong);
    }
    let id = pattern.id_of(&text).ok_or(IdentityError::PatternMismatch)?;
    // Not only the id: the pattern's dot also takes what no name should have.
    check_characters(&text)?;
    Ok(id.to_owned())
}

/// The id of the one candidate that matches.
fn the_one(candidates: Vec<String>, rule: &Rule) -> Result<String, IdentityError> {
    let mut ids = candidates
        .into_iter()
        .filter_map(|name| match matching(name, rule) {
            Err(IdentityError::PatternMismatch) => None,
            other => Some(other),
        });
    let id = ids.next().ok_or(IdentityError::Absent)?;
    if ids.next().is_some() {
        return Err(IdentityError::Ambiguous);
    }
    id
}

fn common_name(certificate: &X509Certificate<'_>) -> Result<String, IdentityError> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().ok_or(IdentityError::Absent)?;
    if names.next().is_some() {
        return Err(IdentityError::Ambiguous);
    }
    // UTF8String, PrintableString, IA5String and NumericString; other types would need guessing.
    name.as_str()
        .map(str::to_owned)
        .map_err(|_| IdentityError::IllEncoded)
}

fn serial(contents: &[u8]) -> Result<String, IdentityError> {
    // RFC 5280, 4.1.2.2: positive. A negative one would share its hex with the positive one that has a zero before it.
    if contents.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Err(IdentityError::IllEncoded);
    }
    let significant = contents.iter().position(|byte| *byte != 0);
    significant
        .and_then(|first| contents.get(first..))
        .map(hex)
        .ok_or(IdentityError::Absent)
}

const DNS_TAG: u32 = 2;
const URI_TAG: u32 = 6;

fn uri_candidates(names: &[GeneralName<'_>]) -> Result<Vec<String>, IdentityError> {
    let mut candidates = Vec::new();
    for name in names {
        match name {
            GeneralName::URI(uri) if spiffe::has_scheme(uri) && !spiffe::is_id(uri) => {
                return Err(IdentityError::InvalidSpiffeId);
            }
            GeneralName::URI(uri) => candidates.push((*uri).to_owned()),
            GeneralName::Invalid(tag, _) if tag.0 == URI_TAG => {
                return Err(IdentityError::IllEncoded);
            }
            _ => {}
        }
    }
    Ok(candidates)
}

fn dns_candidates(names: &[GeneralName<'_>]) -> Result<Vec<String>, IdentityError> {
    let mut candidates = Vec::new();
    for name in names {
        match name {
            // A wildcard names many hosts, and no device.
            GeneralName::DNSName(name) if name.contains('*') => {
                return Err(IdentityError::IllEncoded);
            }
            // RFC 4343: letter case does not tell two DNS names apart.
            GeneralName::DNSName(name) => candidates.push(name.to_ascii_lowercase()),
            GeneralName::Invalid(tag, _) if tag.0 == DNS_TAG => {
                return Err(IdentityError::IllEncoded);
            }
            _ => {}
        }
    }
    Ok(candidates)
}

pub(super) fn check_device_id(id: &str) -> Result<(), IdentityError> {
    if id.is_empty() {
        return Err(IdentityError::Absent);
    }
    if id.len() > MAX_DEVICE_ID {
        return Err(IdentityError::TooLong);
    }
    check_characters(id)
}

fn check_characters(id: &str) -> Result<(), IdentityError> {
    // Visible ASCII goes into a header field value (RFC 9110, 5.5) and a log line as it is; a space at either end, or
    // bytes that another reader decodes otherwise, would let two devices look like one.
    let inner_space = |byte: u8| byte == b' ' && !id.starts_with(' ') && !id.ends_with(' ');
    if id
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || inner_space(byte))
    {
        Ok(())
    } else {
        Err(IdentityError::IllEncoded)
    }
}
