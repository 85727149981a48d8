//! Writing a file so that nobody ever sees half of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes `text` beside `path` and renames it.
///
/// # Errors
///
/// The file cannot be written; nothing is left beside it then.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    let beside = PathBuf::from(beside);
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| {
            // The error that counts is the first one.
            let _ = fs::remove_file(&beside);
        })
}
