//! What an end entity's certificate shall say: a plain struct, each field free to be wrong on purpose.

use std::net::IpAddr;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use time::{Duration, OffsetDateTime};

use super::{distinguished_name, serial_number};
use crate::IssueError;
use crate::key::KeyKind;
use crate::names::{ServerName, device_uri};

/// What an end entity's certificate shall say.
#[derive(Clone, Debug)]
pub struct EndEntitySpec {
    /// The subject's common name; `None` makes an empty subject (and the SANs critical, RFC 5280 section 4.1.2.6).
    pub common_name: Option<String>,
    /// Type of its key, where one is made.
    pub key: KeyKind,
    /// First second of validity.
    pub not_before: OffsetDateTime,
    /// Last second of validity.
    pub not_after: OffsetDateTime,
    /// Subject alternative names; the extension is left out when empty.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Purposes; the extension is left out when empty.
    pub extended_key_usages: Vec<ExtendedKeyUsage>,
    /// Key usages, critical; the extension is left out when empty.
    pub key_usages: Vec<KeyUsage>,
    /// Big-endian serial number; `None`: random.
    pub serial: Option<Vec<u8>>,
}

/// A subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI.
    Uri(String),
    /// A mail address.
    Email(String),
}

/// A purpose (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// TLS server.
    ServerAuth,
    /// TLS client.
    ClientAuth,
    /// Any purpose.
    Any,
    /// Code signing: a purpose that is no use for TLS.
    CodeSigning,
}

/// A key usage (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUsage {
    /// Signatures other than on certificates and CRLs: what TLS 1.3 needs.
    DigitalSignature,
    /// Encryption of keys (RSA key exchange).
    KeyEncipherment,
    /// Key agreement.
    KeyAgreement,
    /// Signatures on certificates: not for an end entity.
    KeyCertSign,
}

impl EndEntitySpec {
    /// A device: clientAuth, its id as common name and as the URI `urn:device:ID`; P-256, valid from an hour ago for
    /// 90 days, random serial number.
    pub fn device(id: &str) -> Self {
        let uri = SubjectAltName::Uri(device_uri(id, None));
        Self::new(Some(id.to_owned()), vec![uri], ExtendedKeyUsage::ClientAuth)
    }

    /// A server: serverAuth, its names as SANs and the first DNS name as common name; otherwise as a device.
    pub fn server(names: &[ServerName]) -> Self {
        let fits = |name: &&ServerName| matches!(name, ServerName::Dns(name) if name.len() <= crate::names::LONGEST_COMMON_NAME);
        let common_name = names.iter().find(fits).map(ToString::to_string);
        Self::new(
            common_name,
            names.iter().map(SubjectAltName::from).collect(),
            ExtendedKeyUsage::ServerAuth,
        )
    }

    fn new(
        common_name: Option<String>,
        subject_alt_names: Vec<SubjectAltName>,
        purpose: ExtendedKeyUsage,
    ) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            common_name,
            key: KeyKind::P256,
            not_before: now - Duration::HOUR,
            not_after: now + Duration::days(90),
            subject_alt_names,
            extended_key_usages: vec![purpose],
            key_usages: vec![KeyUsage::DigitalSignature],
            serial: None,
        }
    }

    pub(super) fn params(&self) -> Result<CertificateParams, IssueError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(self.common_name.as_deref());
        params.not_before = self.not_before;
        params.not_after = self.not_after;
        params.subject_alt_names = self
            .subject_alt_names
            .iter()
            .map(SubjectAltName::to_rcgen)
            .collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = self
            .key_usages
            .iter()
            .copied()
            .map(KeyUsage::to_rcgen)
            .collect();
        params.extended_key_usages = self
            .extended_key_usages
            .iter()
            .copied()
            .map(ExtendedKeyUsage::to_rcgen)
            .collect();
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial_number(self.serial.as_deref())?);
        Ok(params)
    }
}

impl From<&ServerName> for SubjectAltName {
    fn from(name: &ServerName) -> Self {
        match name {
            ServerName::Dns(name) => Self::Dns(name.clone()),
            ServerName::Ip(address) => Self::Ip(*address),
        }
    }
}

impl std::fmt::Display for SubjectAltName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => write!(formatter, "DNS:{name}"),
            Self::Ip(address) => write!(formatter, "IP:{address}"),
            Self::Uri(uri) => write!(formatter, "URI:{uri}"),
            Self::Email(address) => write!(formatter, "email:{address}"),
        }
    }
}

impl SubjectAltName {
    fn to_rcgen(&self) -> Result<SanType, IssueError> {
        let ascii = |text: &str| {
            rcgen::string::Ia5String::try_from(text).map_err(|_| IssueError::Name(text.to_owned()))
        };
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(ascii(name)?),
            Self::Ip(address) => SanType::IpAddress(*address),
            Self::Uri(uri) => SanType::URI(ascii(uri)?),
            Self::Email(address) => SanType::Rfc822Name(ascii(address)?),
        })
    }
}

impl ExtendedKeyUsage {
    fn to_rcgen(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
            Self::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
            Self::Any => ExtendedKeyUsagePurpose::Any,
            Self::CodeSigning => ExtendedKeyUsagePurpose::CodeSigning,
        }
    }
}

impl KeyUsage {
    fn to_rcgen(self) -> KeyUsagePurpose {
        match self {
            Self::DigitalSignature => KeyUsagePurpose::DigitalSignature,
            Self::KeyEncipherment => KeyUsagePurpose::KeyEncipherment,
            Self::KeyAgreement => KeyUsagePurpose::KeyAgreement,
            Self::KeyCertSign => KeyUsagePurpose::KeyCertSign,
        }
    }
}
