//! A fleet that lies in a folder: one made by `certs-gen fleet`, or any folder of PEM files.
//!
//! In a folder of `certs-gen` each file below `devices/` is a device, and only the files of devices that take part are
//! read. In any other, every file is read to find out what it is. Nothing is added to what a device presents and nothing
//! left out: a bundle without its intermediate is presented without it.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::KeyProvider;

use super::anchors::TRUST_ANCHOR;
use super::bundle::{Bundle, Paths};
use super::error::{FleetError, UnusableFiles};
use super::identity::Identity;
use super::pairs;
use super::parallel::{self, AT_ONCE, Opened};
use super::pem_file::{self, Certificate, Unusable};
use crate::plan::Share;

/// Endings of files that must be of use; others are taken where they are, and passed over where not.
const ENDINGS: [&str; 5] = ["pem", "crt", "cer", "cert", "key"];
/// Folders below folders; deeper ones are passed over.
const DEEPEST: usize = 16;

/// What a folder holds.
#[derive(Debug)]
pub(super) struct Folder {
    /// How many devices take part, here and elsewhere.
    pub(super) size: usize,
    /// Those of this part, in order.
    pub(super) identities: Vec<Arc<Identity>>,
    /// Self-issued authorities found on the way.
    pub(super) anchors: Vec<Certificate>,
}

/// What is to be read, and how.
pub(super) struct Reading<'a> {
    pub(super) flag: &'static str,
    pub(super) pki: &'a Path,
    pub(super) wanted: Option<usize>,
    pub(super) part: Share,
    pub(super) keys: &'a dyn KeyProvider,
}

impl Reading<'_> {
    /// Reads the folder.
    ///
    /// # Errors
    ///
    /// It cannot be read, holds too few devices, or files in it cannot be used: all of them are named.
    pub(super) fn read(
        &self,
        observer: &mut dyn FnMut(Opened) -> ControlFlow<()>,
    ) -> Result<Folder, FleetError> {
        let devices = self.pki.join("devices");
        if devices.is_dir() && self.pki.join(TRUST_ANCHOR).is_file() {
            self.read_generated(&devices, observer)
        } else {
            self.read_any(observer)
        }
    }

    fn read_generated(
        &self,
        devices: &Path,
        observer: &mut dyn FnMut(Opened) -> ControlFlow<()>,
    ) -> Result<Folder, FleetError> {
        let mut files = self.files(devices)?;
        files.retain(|path| path.extension().is_some_and(|ending| ending == "pem"));
        let size = self.enough(devices, files.len())?;
        files.truncate(size);
        let files: Vec<_> = self.of_this_part(files).collect();
        let paths = Paths::default();
        let read = |path: &PathBuf| {
            let contents = pem_file::read(path, self.keys).map_err(Unusable::reason)?;
            only_device(Bundle::new(contents, &paths))
        };
        let results = parallel::map(&files, AT_ONCE, observer, read).ok_or(FleetError::Stopped)?;
        let mut identities = Vec::with_capacity(files.len());
        let mut unusable = Vec::new();
        for (path, result) in files.into_iter().zip(results) {
            match result {
                Ok(identity) => identities.push(Arc::new(identity)),
                Err(reason) => unusable.push((path, reason)),
            }
        }
        self.all_usable(unusable)?;
        Ok(Folder {
            size,
            identities,
            anchors: Vec::new(),
        })
    }

    fn read_any(
        &self,
        observer: &mut dyn FnMut(Opened) -> ControlFlow<()>,
    ) -> Result<Folder, FleetError> {
        let files = self.files(self.pki)?;
        let paths = Paths::default();
        let read = |path: &PathBuf| {
            pem_file::read(path, self.keys).map(|contents| Bundle::new(contents, &paths))
        };
        let results = parallel::map(&files, AT_ONCE, observer, read).ok_or(FleetError::Stopped)?;
        let mut unusable = Vec::new();
        let mut bundles = Vec::new();
        for (path, result) in files.into_iter().zip(results) {
            match result {
                Ok(bundle) => bundles.push((path, bundle)),
                Err(why) if must_be_of_use(&path) => unusable.push((path, why.reason())),
                Err(_) => {}
            }
        }
        let (identities, anchors) = pairs::join(bundles, &paths, &mut unusable);
        unusable.sort();
        self.all_usable(unusable)?;
        let size = self.enough(self.pki, identities.len())?;
        let identities = identities.into_iter().take(size).map(Arc::new).collect();
        Ok(Folder {
            size,
            identities: self.of_this_part(identities).collect(),
            anchors,
        })
    }

    /// How many devices take part.
    fn enough(&self, folder: &Path, found: usize) -> Result<usize, FleetError> {
        if found == 0 {
            return Err(FleetError::NoDevice(folder.to_owned()));
        }
        let wanted = self.wanted.unwrap_or(found);
        if found < wanted {
            return Err(FleetError::TooFew {
                folder: folder.to_owned(),
                found,
                wanted,
            });
        }
        Ok(wanted)
    }

    fn of_this_part<T>(&self, all: Vec<T>) -> impl Iterator<Item = T> {
        all.into_iter()
            .skip(self.part.index)
            .step_by(self.part.of.max(1))
    }

    fn all_usable(&self, files: Vec<(PathBuf, String)>) -> Result<(), FleetError> {
        if files.is_empty() {
            return Ok(());
        }
        Err(FleetError::Unusable(UnusableFiles {
            folder: self.pki.to_owned(),
            files,
        }))
    }

    /// The files below `folder` in order of their names. Hidden ones are passed over, and so are folders that are links.
    fn files(&self, folder: &Path) -> Result<Vec<PathBuf>, FleetError> {
        let mut files = Vec::new();
        collect(folder, DEEPEST, &mut files).map_err(|(path, reason)| FleetError::Unreadable {
            flag: self.flag,
            path,
            reason,
        })?;
        Ok(files)
    }
}

fn collect(
    folder: &Path,
    deeper: usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let unreadable = |source| (folder.to_owned(), source);
    let mut entries = fs::read_dir(folder)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(|source| (path.clone(), source))?;
        if kind.is_dir() && deeper > 0 {
            collect(&path, deeper - 1, files)?;
        } else if kind.is_file() || (kind.is_symlink() && path.is_file()) {
            files.push(path);
        }
    }
    Ok(())
}

fn must_be_of_use(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// The one device of a bundle that must hold one.
fn only_device(mut bundle: Bundle) -> Result<Identity, String> {
    let identity = bundle.devices.pop();
    match identity {
        Some(identity) if bundle.devices.is_empty() => Ok(identity),
        Some(_) => Err("several devices in one file".to_owned()),
        None if bundle.holds_others => Err("not a device: a server or an authority".to_owned()),
        None if bundle.loose_keys.is_empty() => Err("no PRIVATE KEY in it".to_owned()),
        None if bundle.loose_certificates.is_empty() => Err("no CERTIFICATE in it".to_owned()),
        None => Err(NO_PAIR.to_owned()),
    }
}

const NO_PAIR: &str = "certificate and key do not make a pair";
