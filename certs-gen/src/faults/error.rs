//! Why the faults could not be made.

use std::path::{Path, PathBuf};

use crate::IssueError;
use crate::fleet::OpenError;
use crate::private_file::WriteError;
use crate::revocation;
use crate::staging::StagingError;

/// Why the faults could not be made. Each text is a sentence that names the flag or path and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder `--out` cannot be made, or replaced, or is in use.
    #[error(transparent)]
    Out(#[from] StagingError),
    /// `--ca` is not a fleet, or something in it cannot be read.
    #[error(transparent)]
    Fleet(#[from] OpenError),
    /// The fleet's trust anchor issues itself, and allows no intermediates.
    #[error("the fleet in --ca {ca} has no intermediates, which many faults need: make one with --depth 1 or more", ca = .0.display())]
    NoIntermediate(PathBuf),
    /// A credential could not be made.
    #[error("cannot make the fault {name}: {source}")]
    Issue {
        /// The fault's name.
        name: &'static str,
        /// Why.
        source: IssueError,
    },
    /// The revocation could not be recorded, or the lists not be made.
    #[error(transparent)]
    Revocation(#[from] revocation::Error),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The manifest could not be encoded.
    #[error("cannot encode faults.json: {0}")]
    Manifest(serde_json::Error),
    /// The user wants it no more.
    #[error("interrupted; nothing was left behind")]
    Cancelled,
}

impl Error {
    /// The error with paths below `temporary` told as if they were below `out`, which is the name that the user knows.
    pub(super) fn told_as_in(self, temporary: &Path, out: &Path) -> Self {
        match self {
            Self::Write(error) | Self::Revocation(revocation::Error::Write(error)) => {
                Self::Write(error.told_as_in(temporary, out))
            }
            other => other,
        }
    }
}
