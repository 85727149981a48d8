//! Why a fleet could not be made.

use std::path::Path;

use crate::IssueError;
use crate::private_file::WriteError;
use crate::staging::StagingError;

/// Why a fleet could not be made. Each text is a sentence that names the flag or path and what to do.
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
        remedy: String,
    },
    /// The folder `--out` cannot be made, or replaced, or is in use.
    #[error(transparent)]
    Out(#[from] StagingError),
    /// A key or certificate could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The manifest could not be encoded.
    #[error("cannot encode fleet.json: {0}")]
    Manifest(serde_json::Error),
    /// [`super::Progress::cancelled`] said so.
    #[error("interrupted; nothing was left behind")]
    Cancelled,
}

impl Error {
    pub(super) fn usage(
        flag: &'static str,
        value: impl ToString,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Usage {
            flag,
            value: value.to_string(),
            remedy: remedy.into(),
        }
    }

    /// The error with paths below `temporary` told as if they were below `out`, which is the name that the user knows.
    pub(super) fn told_as_in(self, temporary: &Path, out: &Path) -> Self {
        match self {
            Self::Write(error) => Self::Write(error.told_as_in(temporary, out)),
            other => other,
        }
    }

    /// Whether the request itself was wrong, and not something that happened on the way.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage { .. })
    }
}
