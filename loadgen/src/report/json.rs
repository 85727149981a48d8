//! Saving a result and reading it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::{RunResult, SCHEMA, file};

/// Why a result cannot be saved or read.
#[derive(Debug, Error)]
pub enum ResultFileError {
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a result.
    #[error("{} is not a result of `loadgen run --json`: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A result of another version.
    #[error("{} has schema `{schema}`; this loadgen reads `{SCHEMA}`", path.display())]
    OtherSchema {
        /// The file.
        path: PathBuf,
        /// What it says.
        schema: String,
    },
}

/// Only the part that every version has.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Writes the result beside `path` and renames it, so that nobody sees half of it.
///
/// # Errors
///
/// The file cannot be written.
pub fn save(result: &RunResult, path: &Path) -> Result<(), ResultFileError> {
    let failed = |source| ResultFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut text = serde_json::to_string_pretty(result).map_err(|error| failed(error.into()))?;
    text.push('\n');
    file::write(path, &text).map_err(failed)
}

/// Reads a saved result.
///
/// # Errors
///
/// The file cannot be read, or is no result of this version.
pub fn load(path: &Path) -> Result<RunResult, ResultFileError> {
    let text = fs::read_to_string(path).map_err(|source| ResultFileError::Io {
        path: path.to_owned(),
        source,
    })?;
    let malformed = |source| ResultFileError::Malformed {
        path: path.to_owned(),
        source,
    };
    let head: Head = serde_json::from_str(&text).map_err(malformed)?;
    if head.schema != SCHEMA {
        return Err(ResultFileError::OtherSchema {
            path: path.to_owned(),
            schema: head.schema,
        });
    }
    serde_json::from_str(&text).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        assert!(load(&path).unwrap_err().to_string().contains("result.json"));
        fs::write(&path, "{").unwrap();
        assert!(
            load(&path)
                .unwrap_err()
                .to_string()
                .contains("not a result")
        );
        fs::write(&path, r#"{"schema": "loadgen.result/9"}"#).unwrap();
        assert!(
            load(&path)
                .unwrap_err()
                .to_string()
                .contains("loadgen.result/9")
        );
    }
}
