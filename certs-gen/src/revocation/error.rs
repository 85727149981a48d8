//! Why nothing was revoked, or no lists were made.

use std::io;
use std::path::PathBuf;

use crate::IssueError;
use crate::fleet::OpenError;
use crate::layout::AuthorityName;
use crate::private_file::WriteError;

use super::Serial;

/// Why nothing was revoked, or no lists were made. Each text is a sentence that names the flag or file at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A flag's value cannot be used.
    #[error("{flag} {value} cannot be used: {remedy}")]
    Usage {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// `--ca` is not a fleet, or something in it cannot be read.
    #[error(transparent)]
    Fleet(#[from] OpenError),
    /// The fleet has no such device.
    #[error("--device {id}: the fleet in {ca} has no such device, only device-000000 to device-{last:06}", ca = ca.display())]
    NoSuchDevice {
        /// The id.
        id: String,
        /// The fleet's folder.
        ca: PathBuf,
        /// The highest number.
        last: usize,
    },
    /// The fleet has no such authority.
    #[error("{flag} {name}: the fleet in {ca} has no such authority", ca = ca.display())]
    NoSuchAuthority {
        /// The flag.
        flag: &'static str,
        /// The name.
        name: AuthorityName,
        /// The fleet's folder.
        ca: PathBuf,
    },
    /// No certificate in the folder has this serial number.
    #[error("--serial {serial}: no certificate in {ca} has this serial number; if the fleet signed it, say who with --issuer, such as intermediate-00", ca = ca.display())]
    NoSuchSerial {
        /// The serial number.
        serial: Serial,
        /// The fleet's folder.
        ca: PathBuf,
    },
    /// A trust anchor cannot revoke itself.
    #[error(
        "{flag}: a trust anchor cannot be revoked by a list; take it out of the verifiers' trust anchors"
    )]
    TrustAnchor {
        /// The flag.
        flag: &'static str,
    },
    /// A certificate in the folder was issued by none of the fleet's authorities.
    #[error("{flag} {value}: its certificate was issued by no authority of the fleet in {ca}", ca = ca.display())]
    ForeignIssuer {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// The fleet's folder.
        ca: PathBuf,
    },
    /// The record could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record is not one.
    #[error("{path} is not a record of revocations: {reason}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A delta list needs a full list to add to.
    #[error("--delta: there is no full list yet for it to add to; run `certs-gen crl --ca {ca}` first", ca = .0.display())]
    NoBase(PathBuf),
    /// A list could not be made.
    #[error("cannot make the revocation list of {issuer}: {source}")]
    Issue {
        /// Whose list.
        issuer: AuthorityName,
        /// Why.
        source: IssueError,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Error {
    /// Whether the request itself was wrong, and not something that happened on the way.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage { .. })
    }
}
