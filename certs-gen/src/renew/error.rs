//! Why a device was not given a new certificate.

use std::path::PathBuf;

use crate::IssueError;
use crate::fleet::OpenError;
use crate::layout::AuthorityName;
use crate::private_file::WriteError;
use crate::revocation;

/// Why a device was not given a new certificate. Each text is a sentence that names the flag or file at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A validity, in seconds, that cannot be.
    #[error("--validity {0}s cannot be used: choose from 1s to 36500d, such as 90d")]
    Validity(u64),
    /// The fleet has no such device.
    #[error(transparent)]
    Device(#[from] revocation::Error),
    /// `--ca` is not a fleet, or something in it cannot be read.
    #[error(transparent)]
    Fleet(#[from] OpenError),
    /// The certificate in the folder was issued by none of the fleet's authorities.
    #[error("the certificate in {path} was issued by no authority of this fleet", path = .0.display())]
    ForeignIssuer(PathBuf),
    /// The certificate has names that cannot be taken over.
    #[error("the certificate in {path} has names that are no device's of this fleet; ask for a new one with `certs-gen sign`", path = .0.display())]
    Names(PathBuf),
    /// The authority has expired.
    #[error("{0} in --ca {ca} has expired: make a new fleet", ca = .1.display())]
    AuthorityExpired(AuthorityName, PathBuf),
    /// The certificate could not be made.
    #[error("cannot renew {path}: {source}", path = path.display())]
    Issue {
        /// The device's file.
        path: PathBuf,
        /// Why.
        source: IssueError,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Error {
    /// Whether the request itself was wrong, and not something that happened on the way.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Validity(_))
    }
}
