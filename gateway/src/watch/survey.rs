//! Which directories have to be watched for a list of paths, and which events in them matter.
//!
//! Directories, not files: a file that is replaced by a rename takes its watch along. It looks at the file system once, when
//! asked, and watches nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind};

/// What is read from a folder that is named as a whole.
const LOADED: [&str; 6] = ["pem", "crt", "cer", "crl", "der", "toml"];

/// Symbolic links followed for one path, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// The directories that paths lead through, by their real paths, and what matters in each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    directories: BTreeMap<PathBuf, Entries>,
}

/// The entries of one directory that matter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entries {
    names: BTreeSet<OsString>,
    /// Every file that is read from a folder, besides those named.
    loaded: bool,
}

impl Survey {
    /// Follows `paths`, which are absolute, as far as they exist.
    pub(super) fn of(paths: &BTreeSet<PathBuf>) -> Self {
        let mut survey = Self::default();
        for path in paths {
            let end = survey.follow(path);
            if end.is_dir() {
                survey.enter(end);
            }
        }
        survey
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.keys().map(PathBuf::as_path)
    }

    /// The path in `event` that matters, if one does. Opening, reading and closing matter nowhere: whoever reads the files
    /// again because something changed would go on for ever.
    pub(super) fn concerned<'a>(&self, event: &'a Event) -> Option<&'a Path> {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            EventKind::Access(_) => return None,
            _ => {}
        }
        let gone = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        event
            .paths
            .iter()
            .map(PathBuf::as_path)
            .find(|path| self.names(path) || (gone && self.directories.contains_key(*path)))
    }

    /// Whether `path` is an entry that matters in a directory that does.
    fn names(&self, path: &Path) -> bool {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        self.directories.get(directory).is_some_and(|entries| {
            entries.names.contains(name) || (entries.loaded && is_loaded(name))
        })
    }

    /// Walks along `path` as the system does, notes the entry at its end and every symbolic link on the way, and returns
    /// where it ended: at the file or folder itself, or at the first entry that does not exist.
    fn follow(&mut self, path: &Path) -> PathBuf {
        let mut directory = PathBuf::from("/");
        let mut ahead = components(path);
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                directory.pop();
                continue;
            }
            let entry = directory.join(&name);
            let kind = fs::symlink_metadata(&entry).map(|metadata| metadata.file_type());
            let is_link = kind.as_ref().is_ok_and(fs::FileType::is_symlink);
            let is_directory = kind.is_ok_and(|kind| kind.is_dir());
            if is_directory && !ahead.is_empty() {
                directory = entry;
                continue;
            }
            let entries = self.directories.entry(directory.clone()).or_default();
            entries.names.insert(name);
            let target = is_link.then(|| fs::read_link(&entry).ok()).flatten();
            match target {
                Some(target) if links < MAX_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        directory = PathBuf::from("/");
                    }
                    let mut through = components(&target);
                    through.append(&mut ahead);
                    ahead = through;
                }
                _ => return entry,
            }
        }
        directory
    }

    /// Notes a folder that is named as a whole, and where the links among its files lead.
    fn enter(&mut self, folder: PathBuf) {
        let links: Vec<PathBuf> = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| is_loaded(&entry.file_name()))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
            .map(|entry| entry.path())
            .collect();
        for link in links {
            self.follow(&link);
        }
        self.directories.entry(folder).or_default().loaded = true;
    }
}

fn is_loaded(name: &OsStr) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| LOADED.iter().any(|loaded| extension == *loaded))
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}
