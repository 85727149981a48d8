//! Who a verified chain belongs to: its device id, names and fingerprint, parsed once per chain.
//!
//! Pure: no I/O, no clock, no TLS state. It trusts nothing that [`VerifiedChain`] did not prove, and decides nothing
//! about what the device may do; that is `authorize`.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::headers::{self, IdentityHeaders};
use crate::verify::{AnchorId, VerifiedChain};

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
    headers: IdentityHeaders,
}

/// Why a verified certificate names no device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificate could not be parsed a second time, with names.
    #[error("the certificate's names cannot be parsed")]
    Malformed,
    /// The subject has no common name.
    #[error("the subject has no common name")]
    Absent,
    /// The subject has more than one common name, and nothing says which is the device's.
    #[error("the subject has more than one common name")]
    Ambiguous,
    /// The id is longer than [`MAX_DEVICE_ID`] bytes.
    #[error("the device id is longer than {MAX_DEVICE_ID} bytes")]
    TooLong,
    /// The id has characters that cannot go into a header or a log line unchanged.
    #[error("the device id has characters outside visible ASCII")]
    IllEncoded,
}

impl Identified {
    /// Reads the identity out of `chain`. The device id is the subject's one common name, of visible ASCII characters.
    ///
    /// `headers` says which optional header values to prepare.
    ///
    /// # Errors
    /// An id that is absent, ambiguous, over-long or ill-encoded is refused, never guessed.
    pub fn from_chain(
        chain: &VerifiedChain,
        headers: headers::Settings,
    ) -> Result<Self, IdentityError> {
        let der = chain.end_entity();
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        let device_id = common_name(&certificate)?;
        let (uris, dns_names) = alternative_names(&certificate)?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        let mut identified = Self {
            device_id,
            subject: certificate.subject().to_string(),
            uris,
            dns_names,
            serial: certificate.raw_serial_as_string(),
            fingerprint,
            not_before: chain.not_before(),
            not_after: chain.not_after(),
            anchor: *chain.anchor(),
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
            anchor: [0; 32],
            headers: IdentityHeaders::default(),
        }
    }
}

impl fmt::Display for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device_id)
    }
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

fn common_name(certificate: &X509Certificate<'_>) -> Result<String, IdentityError> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().ok_or(IdentityError::Absent)?;
    if names.next().is_some() {
        return Err(IdentityError::Ambiguous);
    }
    let id = name.as_str().map_err(|_| IdentityError::IllEncoded)?;
    check_device_id(id)?;
    Ok(id.to_owned())
}

fn check_device_id(id: &str) -> Result<(), IdentityError> {
    if id.is_empty() {
        return Err(IdentityError::Absent);
    }
    if id.len() > MAX_DEVICE_ID {
        return Err(IdentityError::TooLong);
    }
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

fn alternative_names(
    certificate: &X509Certificate<'_>,
) -> Result<(Vec<String>, Vec<String>), IdentityError> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| IdentityError::Malformed)?;
    let mut uris = Vec::new();
    let mut dns_names = Vec::new();
    for name in extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            _ => {}
        }
    }
    Ok((uris, dns_names))
}

#[cfg(test)]
mod tests {
    use super::{IdentityError, check_device_id, hex};

    #[test]
    fn ordinary_ids_are_accepted() {
        for id in ["device-000042", "sensor 7", "a", "spiffe://plant/7"] {
            assert_eq!(check_device_id(id), Ok(()), "{id}");
        }
    }

    #[test]
    fn odd_ids_are_refused_by_name() {
        assert_eq!(check_device_id(""), Err(IdentityError::Absent));
        assert_eq!(
            check_device_id(&"x".repeat(257)),
            Err(IdentityError::TooLong)
        );
        for id in [" a", "a ", "a\r\nX-Device-Id: b", "dévice", "a\0b"] {
            assert_eq!(
                check_device_id(id),
                Err(IdentityError::IllEncoded),
                "{id:?}"
            );
        }
    }

    #[test]
    fn hex_is_lower_case() {
        assert_eq!(hex(&[0, 0xAB, 0x0f]), "00ab0f");
    }
}
