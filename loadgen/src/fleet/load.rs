//! Finding and reading the folder of certificates: `trust-anchor.pem` and `devices/*/*.pem`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use super::device::Device;

/// Why a fleet cannot be read.
#[derive(Debug, Error)]
pub enum FleetError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}; --pki must name a folder made by `certs-gen fleet`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is broken: {what}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The folder holds too few devices.
    #[error("{} holds {found} devices, --devices asks for {wanted}: make more with `certs-gen fleet`, or ask for fewer", folder.display())]
    TooFew {
        /// The folder of devices.
        folder: PathBuf,
        /// How many there are.
        found: usize,
        /// How many were asked for.
        wanted: usize,
    },
}

/// Whom the devices trust.
pub type TrustAnchors = RootCertStore;

/// Reads `trust-anchor.pem`.
///
/// # Errors
///
/// It is missing or no certificate.
pub fn trust_anchors(pki: &Path) -> Result<TrustAnchors, FleetError> {
    let path = pki.join("trust-anchor.pem");
    let pem = fs::read(&path).map_err(|source| FleetError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let broken = |what: String| FleetError::Broken {
        path: path.clone(),
        what,
    };
    let mut anchors = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| broken(format!("no valid PEM: {error}")))?;
        anchors
            .add(certificate)
            .map_err(|error| broken(format!("not a usable trust anchor: {error}")))?;
    }
    if anchors.is_empty() {
        return Err(broken("no CERTIFICATE in it".to_owned()));
    }
    Ok(anchors)
}

/// The device bundles of the folder in order of their names, as many as `wanted` (`None`: all).
///
/// # Errors
///
/// The folder is missing, or holds fewer.
pub fn device_files(pki: &Path, wanted: Option<usize>) -> Result<Vec<PathBuf>, FleetError> {
    let folder = pki.join("devices");
    let mut files = Vec::new();
    for entry in sorted_entries(&folder)? {
        if entry.is_dir() {
            files.extend(
                sorted_entries(&entry)?
                    .into_iter()
                    .filter(|path| is_pem(path)),
            );
        } else if is_pem(&entry) {
            files.push(entry);
        }
        if wanted.is_some_and(|wanted| files.len() >= wanted) {
            break;
        }
    }
    let wanted = wanted.unwrap_or(files.len().max(1));
    if files.len() < wanted {
        return Err(FleetError::TooFew {
            folder,
            found: files.len(),
            wanted,
        });
    }
    files.truncate(wanted);
    Ok(files)
}

/// Reads device number `number` of `files`, and every `stride`-th after it.
///
/// # Errors
///
/// The first bundle that cannot be used.
pub fn devices_of_shard(
    files: &[PathBuf],
    number: usize,
    stride: usize,
    provider: &CryptoProvider,
) -> Result<Vec<Device>, FleetError> {
    files
        .iter()
        .enumerate()
        .skip(number)
        .step_by(stride.max(1))
        .map(|(number, path)| Device::load(number, path.clone(), provider))
        .collect()
}

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>, FleetError> {
    let unreadable = |source| FleetError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let mut entries = fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    entries.sort_unstable();
    Ok(entries)
}

fn is_pem(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pem")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_file_is_missing_or_broken() {
        let folder = tempfile::tempdir().unwrap();
        let missing = trust_anchors(folder.path()).unwrap_err().to_string();
        assert!(
            missing.contains("trust-anchor.pem") && missing.contains("--pki"),
            "{missing}"
        );
        fs::write(folder.path().join("trust-anchor.pem"), "rubbish").unwrap();
        let broken = trust_anchors(folder.path()).unwrap_err().to_string();
        assert!(broken.contains("no CERTIFICATE"), "{broken}");
        assert!(device_files(folder.path(), None).is_err());
    }

    #[test]
    fn devices_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "devices/01/b.pem",
            "devices/00/z.pem",
            "devices/00/a.pem",
            "devices/00/a.txt",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let names = |files: Vec<PathBuf>| -> Vec<_> {
            files
                .iter()
                .map(|f| f.file_name().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            names(device_files(folder.path(), None).unwrap()),
            ["a.pem", "z.pem", "b.pem"]
        );
        assert_eq!(
            names(device_files(folder.path(), Some(2)).unwrap()),
            ["a.pem", "z.pem"]
        );
        let few = device_files(folder.path(), Some(9))
            .unwrap_err()
            .to_string();
        assert!(few.contains("holds 3 devices"), "{few}");
    }
}
