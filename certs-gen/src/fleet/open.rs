//! A fleet that lies in a folder: its manifest, its devices, its issuing authorities.
//!
//! Reads what is asked for and no more; a fleet of a million devices opens as fast as one of ten.

use std::io;
use std::path::{Path, PathBuf};

use crate::IssueError;
use crate::authority::Authority;
use crate::credential::{Credential, CredentialError};
use crate::key::PrivateKey;
use crate::layout::Layout;
use crate::manifest::{Manifest, ManifestError};

/// A fleet that lies in a folder.
#[derive(Clone, Debug)]
pub struct Fleet {
    layout: Layout,
    manifest: Manifest,
}

/// Why a fleet, or something in it, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The manifest could not be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A device's file is not a credential.
    #[error("{path} is not a device's credential: {source}", path = path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CredentialError,
    },
    /// An authority's certificate or key cannot be used.
    #[error("cannot issue with {path}: {source}", path = path.display())]
    Authority {
        /// The certificate or key.
        path: PathBuf,
        /// What is wrong with it.
        source: IssueError,
    },
}

impl Fleet {
    /// Opens the fleet in the folder `root`.
    ///
    /// # Errors
    /// [`OpenError::Manifest`] if it is not a fleet.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            layout: Layout::new(root),
            manifest: Manifest::load(root)?,
        })
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What `fleet.json` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads the credential of device number `index`.
    ///
    /// # Errors
    /// [`OpenError`] if the file is missing or not a credential.
    pub fn device(&self, index: usize) -> Result<Credential, OpenError> {
        let path = self.layout.device_path(index);
        Credential::from_pem(&read(&path)?).map_err(|source| OpenError::Credential { path, source })
    }

    /// Reads the authority that signs requests: the first intermediate if there is one, else the trust anchor.
    ///
    /// # Errors
    /// [`OpenError`] if its certificate or key is missing, or they do not belong together.
    pub fn issuer(&self) -> Result<Authority, OpenError> {
        let (certificate, key) = if self.manifest.intermediates > 0 {
            (self.layout.intermediate(0), self.layout.intermediate_key(0))
        } else {
            (self.layout.trust_anchor(), self.layout.trust_anchor_key())
        };
        let bad_key = |source| OpenError::Authority {
            path: key.clone(),
            source,
        };
        let bad_certificate = |source| OpenError::Authority {
            path: certificate.clone(),
            source,
        };
        let block = pem::parse(read(&key)?).map_err(|_| bad_key(IssueError::UnreadableKey))?;
        let private_key = PrivateKey::from_der(block.contents()).map_err(bad_key)?;
        let mut path = pem::parse_many(read(&certificate)?)
            .map_err(|_| bad_certificate(IssueError::UnreadableCertificate))?
            .into_iter()
            .map(pem::Pem::into_contents);
        let own = path
            .next()
            .ok_or_else(|| bad_certificate(IssueError::UnreadableCertificate))?;
        Authority::from_parts(own, &path.collect::<Vec<_>>(), private_key).map_err(bad_certificate)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(path).map_err(|source| OpenError::Read {
        path: path.to_owned(),
        source,
    })
}
