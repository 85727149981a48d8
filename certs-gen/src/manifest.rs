//! `fleet.json`: what a fleet's folder holds, for those who read it.
//!
//! Deliberately lists no devices: their ids and paths follow from the count (see [`crate::layout`]).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::key::KeyKind;
use crate::layout::Layout;

/// The schema that this version writes, and the only one that it reads.
pub const SCHEMA: &str = "certs-gen.fleet/1";

/// The contents of `fleet.json`. Unknown keys are ignored, so that later versions may add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Program and version that made the fleet.
    pub generator: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// Number of devices, `device-000000` and up.
    pub devices: usize,
    /// Number of issuing intermediates; 0 when the trust anchor itself issues.
    pub intermediates: usize,
    /// Certificates between trust anchor and end entity.
    pub depth: usize,
    /// Types of keys.
    pub algorithms: Algorithms,
    /// Validity of server and devices.
    pub validity: ValidityRecord,
    /// The server certificate's subject alternative names.
    pub server_names: Vec<String>,
    /// The SPIFFE trust domain, when device URIs are SPIFFE IDs.
    pub spiffe_domain: Option<String>,
    /// The seed, when one was given. Whoever knows it can derive the EC and Ed25519 keys.
    pub seed: Option<u64>,
}

/// Types of keys in a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Algorithms {
    /// Of each device.
    pub device: KeyKind,
    /// Of trust anchor and intermediates.
    pub ca: KeyKind,
    /// Of the server.
    pub server: KeyKind,
}

/// Validity of server and device certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidityRecord {
    /// First second of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Last second of validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// The validity asked for, counted from the moment of issue, in seconds.
    pub seconds: u64,
}

/// Why a fleet's folder could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}; is this a folder that `certs-gen fleet` made?", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `fleet.json` is not a manifest.
    #[error("{path} is not a fleet manifest: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `fleet.json` has a schema that this version does not know.
    #[error("{path} has schema {found:?}, this version reads {SCHEMA:?} only", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The schema found.
        found: String,
    },
}

impl Manifest {
    /// Reads `fleet.json` in the folder `root`.
    ///
    /// # Errors
    /// [`ManifestError`] if it is missing, malformed, or of an unknown schema.
    pub fn load(root: &Path) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct SchemaOnly {
            schema: String,
        }
        let path = Layout::new(root).manifest();
        let bytes = std::fs::read(&path).map_err(|source| ManifestError::Read {
            path: path.clone(),
            source,
        })?;
        let malformed = |error: serde_json::Error| ManifestError::Malformed {
            path: path.clone(),
            reason: error.to_string(),
        };
        // The schema first: a later one may have changed anything else.
        let SchemaOnly { schema } = serde_json::from_slice(&bytes).map_err(malformed)?;
        if schema != SCHEMA {
            return Err(ManifestError::Schema {
                path,
                found: schema,
            });
        }
        serde_json::from_slice(&bytes).map_err(malformed)
    }

    /// The manifest as it is written: indented JSON with a final line end.
    ///
    /// # Errors
    /// If a date is past the year 9999, which RFC 3339 cannot write.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The validity that was asked for.
    pub fn validity_duration(&self) -> Duration {
        Duration::from_secs(self.validity.seconds)
    }
}
