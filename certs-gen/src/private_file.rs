//! Files and folders with the right mode from their first moment, and errors that say what to do.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file or folder could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {reason}", path = path.display(), reason = explain(source))]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl WriteError {
    /// The error with a path below `temporary` told as if it were below `out`, which is the name that the user knows.
    pub(crate) fn told_as_in(self, temporary: &Path, out: &Path) -> Self {
        let path = match self.path.strip_prefix(temporary) {
            Ok(rest) => out.join(rest),
            Err(_) => self.path,
        };
        Self {
            path,
            source: self.source,
        }
    }
}

/// Creates a file with mode 0600, which must not exist yet.
pub(crate) fn create_private(path: &Path, contents: &[u8]) -> Result<(), WriteError> {
    create(path, 0o600, contents)
}

/// Creates a file with mode 0644 less the umask, which must not exist yet.
pub(crate) fn create_public(path: &Path, contents: &[u8]) -> Result<(), WriteError> {
    create(path, 0o644, contents)
}

/// Creates a folder with mode 0700, which must not exist yet.
pub(crate) fn create_folder(path: &Path) -> Result<(), WriteError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
}

/// Writes a file with this mode (less the umask) beside `path`, and removes it again unless it is renamed.
pub(crate) fn write_beside(
    path: &Path,
    mode: u32,
    contents: &[u8],
) -> Result<NamedTempFile, WriteError> {
    let write = || -> io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new()
            .prefix(".certs-gen.partial-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder_of(path))?;
        file.write_all(contents)?;
        Ok(file)
    };
    write().map_err(|error| WriteError {
        path: path.to_owned(),
        source: without_temporary_name(&error),
    })
}

/// Puts a file with this mode (less the umask) at `path`, or replaces what is there, in one step; afterwards it is on the
/// disk, also if the power fails.
pub(crate) fn replace(path: &Path, mode: u32, contents: &[u8]) -> Result<(), WriteError> {
    let file = write_beside(path, mode, contents)?;
    let settle = || -> io::Result<()> {
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder_of(path))?.sync_all()
    };
    settle().map_err(|error| WriteError {
        path: path.to_owned(),
        source: without_temporary_name(&error),
    })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn create(path: &Path, mode: u32, contents: &[u8]) -> Result<(), WriteError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(contents))
        .map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
}

/// What the system said, without the temporary name that `tempfile` adds and no user has ever heard of.
pub(crate) fn without_temporary_name(error: &io::Error) -> io::Error {
    error.kind().into()
}

/// What the system said, and what to do about it where that is clear.
pub(crate) fn explain(error: &io::Error) -> String {
    let remedy = match error.kind() {
        // What is missing is never the file, which is about to be made.
        io::ErrorKind::NotFound => {
            return "the folder around it does not exist; make it first".to_owned();
        }
        io::ErrorKind::StorageFull => "free some space or choose another place",
        io::ErrorKind::QuotaExceeded => "free some of the quota or choose another place",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose a place where you may write"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {remedy}")
}
