//! `faults.json`: what is wrong with each credential, and what is expected of those who are shown it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The schema that this version writes.
pub const SCHEMA: &str = "certs-gen.faults/1";

/// The contents of `faults.json`. Paths are relative to its folder. Unknown keys are ignored, so that later versions may
/// add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Program and version that made the folder.
    pub generator: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// The one certificate to trust, the fleet's.
    pub trust_anchor: String,
    /// Revocation lists of all the fleet's authorities.
    pub crls: Vec<String>,
    /// The credentials.
    pub faults: Vec<Fault>,
}

/// One credential and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// A name in lower case, with underscores.
    pub name: String,
    /// The credential: end entity, the rest of the chain in the order to present it, PKCS#8 key; PEM.
    pub file: String,
    /// What is wrong, a sentence.
    pub wrong: String,
    /// What a gateway with default settings, and with the lists in force, is expected to do.
    pub expected: Expectation,
    /// What openssl makes of it.
    pub openssl: Openssl,
}

/// What a gateway is expected to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Expectation {
    /// Serve the device.
    Accept,
    /// Turn it away in the handshake.
    Refuse {
        /// The reason, as Fleetgate's metrics label it.
        reason: String,
        /// The alert that the device gets.
        alert: Alert,
    },
}

/// A TLS alert (RFC 8446 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// A certificate was corrupt.
    BadCertificate,
    /// A certificate was of an unsupported type.
    UnsupportedCertificate,
    /// A certificate was revoked.
    CertificateRevoked,
    /// A certificate has expired or is not yet valid.
    CertificateExpired,
    /// Some other issue made the certificate unacceptable.
    CertificateUnknown,
    /// No path to a trust anchor.
    UnknownCa,
    /// A good certificate whose holder is not let in.
    AccessDenied,
    /// A signature did not verify.
    DecryptError,
}

impl Alert {
    /// The number on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::BadCertificate => 42,
            Self::UnsupportedCertificate => 43,
            Self::CertificateRevoked => 44,
            Self::CertificateExpired => 45,
            Self::CertificateUnknown => 46,
            Self::UnknownCa => 48,
            Self::AccessDenied => 49,
            Self::DecryptError => 51,
        }
    }
}

/// What `openssl verify` makes of a credential, called in the manifest's folder with `arguments`, then
/// `-CAfile TRUST_ANCHOR -untrusted FILE FILE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Openssl {
    /// Its opinion.
    pub opinion: Opinion,
    /// The purpose, and what else it needs to have an opinion.
    pub arguments: Vec<String>,
}

/// An opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opinion {
    /// It finds nothing wrong.
    Accept,
    /// It finds something wrong.
    Refuse,
    /// It does not look at what is wrong.
    None,
}

impl Manifest {
    /// Reads `faults.json` in the folder `root`.
    ///
    /// # Errors
    /// What the system or the parser said.
    pub fn load(root: &Path) -> std::io::Result<Self> {
        let bytes = std::fs::read(root.join(super::MANIFEST))?;
        let manifest: Self = serde_json::from_slice(&bytes)?;
        if manifest.schema != SCHEMA {
            let found = &manifest.schema;
            let text = format!("schema {found:?}, and this version reads {SCHEMA:?} only");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        Ok(manifest)
    }

    /// The manifest as it is written: indented JSON with a final line end.
    ///
    /// # Errors
    /// If a date is past the year 9999, which RFC 3339 cannot write.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}
