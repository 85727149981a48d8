//! A folder that appears whole or not at all: written beside its place, then renamed into it.
//!
//! Dropping a [`Staging`] that was not committed removes what was written. Deliberately does not fsync: a fleet can
//! be made again, and ten thousand fsyncs would cost more than the fleet.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::private_file::{explain, without_temporary_name};

/// Why the folder cannot be put in its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StagingError {
    /// Something is there, and `--force` was not given.
    #[error("--out {path} exists already: choose another folder, or replace what is in it with --force", path = .0.display())]
    Exists(PathBuf),
    /// Something is there that is not of the kind to be made.
    #[error("--out {path} is neither {noun} (no {manifest} of ours in it) nor empty, and --force replaces nothing else: choose another folder", path = path.display())]
    NotOurs {
        /// What is there.
        path: PathBuf,
        /// What it would have to be.
        noun: &'static str,
        /// The file that would say so.
        manifest: &'static str,
    },
    /// The path ends in no name.
    #[error("--out {path} names no folder that could be made: give it a name", path = .0.display())]
    NoName(PathBuf),
    /// The folder around it cannot be used.
    #[error("cannot make --out in {parent}: {reason}", parent = parent.display(), reason = explain_parent(source))]
    Parent {
        /// The folder around it.
        parent: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The finished folder could not be renamed.
    #[error("cannot put the finished folder at --out {path}: {reason}", path = path.display(), reason = explain(source))]
    Rename {
        /// Where it should have gone.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn explain_parent(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "that folder does not exist; make it first".to_owned(),
        io::ErrorKind::NotADirectory => "that is not a folder; choose another --out".to_owned(),
        _ => explain(error),
    }
}

/// What kind of folder is made: `--force` replaces nothing but another of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What it is called, with its article.
    pub(crate) noun: &'static str,
    /// The file in it that says what it is.
    pub(crate) manifest: &'static str,
    /// What the manifest's schema begins with.
    pub(crate) schema: &'static str,
}

/// A temporary folder beside its future place.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: TempDir,
    target: PathBuf,
    replace: bool,
}

impl Staging {
    /// Checks that `out` is free, or may be replaced, and makes the temporary folder.
    pub(crate) fn begin(out: &Path, force: bool, kind: Kind) -> Result<Self, StagingError> {
        let replace = match out.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => {
                return Err(StagingError::Parent {
                    parent: parent_of(out),
                    source,
                });
            }
            Ok(_) if !force => return Err(StagingError::Exists(out.to_owned())),
            Ok(_) if is_replaceable(out, kind) => true,
            Ok(_) => {
                return Err(StagingError::NotOurs {
                    path: out.to_owned(),
                    noun: kind.noun,
                    manifest: kind.manifest,
                });
            }
        };
        // Where a link leads is replaced, not the link; and `.` or `a/..` get a name that can be renamed.
        let target = if replace {
            out.canonicalize().map_err(|source| StagingError::Parent {
                parent: parent_of(out),
                source,
            })?
        } else {
            out.to_owned()
        };
        let name = target
            .file_name()
            .ok_or_else(|| StagingError::NoName(out.to_owned()))?;
        let parent = parent_of(&target);
        let folder = tempfile::Builder::new()
            .prefix(&format!(".{}.partial-", name.to_string_lossy()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(|error| StagingError::Parent {
                parent,
                source: without_temporary_name(&error),
            })?;
        Ok(Self {
            folder,
            target,
            replace,
        })
    }

    /// The temporary folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the folder in its place; what it replaces is removed.
    pub(crate) fn commit(self) -> Result<(), StagingError> {
        let Self {
            folder,
            target,
            replace,
        } = self;
        if replace {
            // After this, the temporary name is the old fleet's, and dropping the folder removes it. A remainder
            // of the old fleet there is no reason to call this a failure: the new one is in place.
            exchange(folder.path(), &target).map_err(|error| failed(&target, error))?;
            return Ok(());
        }
        move_without_replacing(folder.path(), &target).map_err(|error| failed(&target, error))?;
        // Nothing is left at the old name to be removed.
        let _moved = folder.keep();
        Ok(())
    }
}

/// Lets two folders change places: in one step where the file system can, otherwise in three.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Err(error) if is_unsupported(error) => {
            let aside = new.with_extension("old");
            fs::rename(old, &aside)?;
            if let Err(error) = fs::rename(new, old) {
                fs::rename(&aside, old)?;
                return Err(error);
            }
            fs::rename(&aside, new)
        }
        outcome => Ok(outcome?),
    }
}

/// Renames a folder to a name that must be free. Where the file system cannot promise that, an empty folder that
/// appeared there in the meantime is replaced, but never anything with contents.
fn move_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(error) if is_unsupported(error) => fs::rename(from, to),
        outcome => Ok(outcome?),
    }
}

fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

fn failed(target: &Path, source: io::Error) -> StagingError {
    match source.kind() {
        // Somebody else made it in the meantime.
        io::ErrorKind::AlreadyExists => StagingError::Exists(target.to_owned()),
        _ => StagingError::Rename {
            path: target.to_owned(),
            source,
        },
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether `--force` may replace this: an empty folder, or one whose manifest has one of the kind's schemas.
fn is_replaceable(path: &Path, kind: Kind) -> bool {
    let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    is_empty() || has_manifest(path, kind)
}

fn has_manifest(path: &Path, kind: Kind) -> bool {
    #[derive(serde::Deserialize)]
    struct SchemaOnly {
        schema: String,
    }
    fs::read(path.join(kind.manifest))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .is_some_and(|SchemaOnly { schema }| schema.starts_with(kind.schema))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Kind, Staging, StagingError};

    const KIND: Kind = Kind {
        noun: "a fleet",
        manifest: "fleet.json",
        schema: "certs-gen.fleet/",
    };

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
        names.sort();
        names
    }

    fn fleet_at(path: &Path) {
        fs::create_dir(path).unwrap();
        fs::write(path.join("fleet.json"), r#"{"schema":"certs-gen.fleet/1"}"#).unwrap();
    }

    #[test]
    fn dropped_leaves_nothing() {
        let around = tempfile::tempdir().unwrap();
        let staging = Staging::begin(&around.path().join("fleet"), false, KIND).unwrap();
        fs::write(staging.path().join("half"), "").unwrap();
        drop(staging);
        assert!(names(around.path()).is_empty());
    }

    #[test]
    fn committed_is_all_there_is() {
        let around = tempfile::tempdir().unwrap();
        let out = around.path().join("fleet");
        let staging = Staging::begin(&out, false, KIND).unwrap();
        fs::write(staging.path().join("new"), "").unwrap();
        staging.commit().unwrap();
        assert_eq!(names(around.path()), ["fleet"]);
        assert_eq!(names(&out), ["new"]);
    }

    #[test]
    fn force_replaces_a_fleet_also_behind_a_link() {
        let around = tempfile::tempdir().unwrap();
        let out = around.path().join("fleet");
        fleet_at(&out);
        std::os::unix::fs::symlink("fleet", around.path().join("link")).unwrap();
        let staging = Staging::begin(&around.path().join("link"), true, KIND).unwrap();
        fs::write(staging.path().join("new"), "").unwrap();
        staging.commit().unwrap();
        assert_eq!(names(around.path()), ["fleet", "link"]);
        assert_eq!(names(&out), ["new"]);
        assert!(around.path().join("link").is_symlink());
    }

    #[test]
    fn force_replaces_nothing_but_a_fleet_or_an_empty_folder() {
        let around = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            let error = Staging::begin(&around.path().join(name), true, KIND).unwrap_err();
            assert!(matches!(error, StagingError::NotOurs { .. }), "{error}");
        };
        fs::write(around.path().join("file"), "").unwrap();
        refused("file");
        fs::create_dir(around.path().join("other")).unwrap();
        fs::write(
            around.path().join("other/fleet.json"),
            r#"{"schema":"ships/1"}"#,
        )
        .unwrap();
        refused("other");
        fs::create_dir(around.path().join("empty")).unwrap();
        Staging::begin(&around.path().join("empty"), true, KIND)
            .unwrap()
            .commit()
            .unwrap();
    }

    #[test]
    fn without_force_nothing_is_replaced() {
        let around = tempfile::tempdir().unwrap();
        let out = around.path().join("fleet");
        fleet_at(&out);
        assert!(matches!(
            Staging::begin(&out, false, KIND).unwrap_err(),
            StagingError::Exists(_)
        ));
        // Nor what appears while the work is going on.
        let other = around.path().join("other");
        let staging = Staging::begin(&other, false, KIND).unwrap();
        fs::create_dir(&other).unwrap();
        assert!(matches!(
            staging.commit().unwrap_err(),
            StagingError::Exists(_)
        ));
        assert_eq!(names(around.path()), ["fleet", "other"]);
    }

    #[test]
    fn a_missing_parent_is_named() {
        let around = tempfile::tempdir().unwrap();
        let error = Staging::begin(&around.path().join("no/fleet"), false, KIND).unwrap_err();
        assert!(
            error.to_string().contains("does not exist; make it first"),
            "{error}"
        );
    }
}
