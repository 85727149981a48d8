//! A fleet that lies in a folder: its manifest, its devices, its issuing authorities.
//!
//! Reads what is asked for and no more; a fleet of a million devices opens as fast as one of ten.

use std::io;
use std::path::{Path, PathBuf};

use crate::IssueError;
use crate::authority::Authority;
use crate::credential::{Credential, CredentialError};
use crate::key::PrivateKey;
use crate::layout::{AuthorityName, Layout};
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

    /// The names of its authorities: the trust anchor, the policy layers, the intermediates.
    pub fn authorities(&self) -> impl Iterator<Item = AuthorityName> + use<> {
        let policies = (1..self.manifest.depth).map(AuthorityName::Policy);
        let intermediates = (0..self.manifest.intermediates).map(AuthorityName::Intermediate);
        std::iter::once(AuthorityName::TrustAnchor)
            .chain(policies)
            .chain(intermediates)
    }

    /// Whether this authority issues to devices.
    pub fn issues_devices(&self, name: AuthorityName) -> bool {
        match name {
            AuthorityName::TrustAnchor => self.manifest.intermediates == 0,
            AuthorityName::Policy(_) => false,
            AuthorityName::Intermediate(_) => true,
        }
    }

    /// Reads the authority that signs requests: the first intermediate if there is one, else the trust anchor.
    ///
    /// # Errors
    /// [`OpenError`] if its certificate or key is missing, or they do not belong together.
    pub fn issuer(&self) -> Result<Authority, OpenError> {
        self.authority(if self.manifest.intermediates > 0 {
            AuthorityName::Intermediate(0)
        } else {
            AuthorityName::TrustAnchor
        })
    }

    /// Reads an authority.
    ///
    /// # Errors
    /// [`OpenError`] if its certificate or key is missing, or they do not belong together.
    pub fn authority(&self, name: AuthorityName) -> Result<Authority, OpenError> {
        let (certificate, key) = self.layout.authority(name);
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
        let mut path = certificates(&certificate)?.into_iter();
        let own = path
            .next()
            .ok_or_else(|| bad_certificate(IssueError::UnreadableCertificate))?;
        Authority::from_parts(own, &path.collect::<Vec<_>>(), private_key).map_err(bad_certificate)
    }

    /// Reads an authority's own certificate as DER, without its key.
    ///
    /// # Errors
    /// [`OpenError`] if the file is missing or not a certificate.
    pub fn authority_certificate(&self, name: AuthorityName) -> Result<Vec<u8>, OpenError> {
        let (path, _) = self.layout.authority(name);
        first_certificate(&path)
    }

    /// Reads the server's own certificate as DER.
    ///
    /// # Errors
    /// [`OpenError`] if the file is missing or not a certificate.
    pub fn server_certificate(&self) -> Result<Vec<u8>, OpenError> {
        first_certificate(&self.layout.server())
    }
}

fn first_certificate(path: &Path) -> Result<Vec<u8>, OpenError> {
    certificates(path)?
        .into_iter()
        .next()
        .ok_or_else(|| OpenError::Authority {
            path: path.to_owned(),
            source: IssueError::UnreadableCertificate,
        })
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, OpenError> {
    let blocks = pem::parse_many(read(path)?).map_err(|_| OpenError::Authority {
        path: path.to_owned(),
        source: IssueError::UnreadableCertificate,
    })?;
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(path).map_err(|source| OpenError::Read {
        path: path.to_owned(),
        source,
    })
}
