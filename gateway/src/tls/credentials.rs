//! Reads certificates and keys from files: the gateway's own credentials and a trust domain's anchors.
//!
//! Every error names the file. Nothing here decides whom to trust; it only parses what the operator named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::verify::{AuthorityCertificate, AuthorityError, Rules};

/// Why credentials or anchors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// No PEM block of the wanted kind.
    #[error("{} holds no {wanted} in PEM form", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A PEM block that cannot be decoded.
    #[error("{} is not valid PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate that cannot be what the operator named it for.
    #[error("{} cannot be {role}: {error}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What it was to be.
        role: &'static str,
        /// What is wrong.
        error: AuthorityError,
    },
    /// A certificate that cannot be an anchor of servers.
    #[error("{} cannot be a trust anchor: {error}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// A private key that cannot be used, or belongs to another certificate.
    #[error("the private key {} cannot be used with {}: {error}", key.display(), certificate.display())]
    Key {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

/// Loads a certificate chain (end entity first) and its private key, and checks that they belong together.
///
/// # Errors
/// What is wrong, and in which file.
pub fn load(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CredentialError> {
    let chain = certificates(certificate)?;
    let pem = read(key)?;
    let private_key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => CredentialError::Empty {
            path: key.to_owned(),
            wanted: "private key",
        },
        other => CredentialError::Pem {
            path: key.to_owned(),
            reason: other.to_string(),
        },
    })?;
    CertifiedKey::from_der(chain, private_key, provider)
        .map(Arc::new)
        .map_err(|error| CredentialError::Key {
            key: key.to_owned(),
            certificate: certificate.to_owned(),
            error,
        })
}

/// Loads trust anchors from files, and from every `.pem`, `.crt` and `.cer` file of folders.
///
/// # Errors
/// What is wrong, and in which file. An empty set is an error: it would refuse every device.
pub fn load_anchors(
    paths: &[PathBuf],
    rules: &Rules,
) -> Result<Vec<AuthorityCertificate>, CredentialError> {
    load_authorities(paths, "a trust anchor", |certificate| {
        AuthorityCertificate::anchor(certificate, rules)
    })
}

/// Loads intermediates that devices need not present, in the same way.
///
/// # Errors
/// What is wrong, and in which file.
pub fn load_intermediates(
    paths: &[PathBuf],
    rules: &Rules,
) -> Result<Vec<AuthorityCertificate>, CredentialError> {
    load_authorities(paths, "an intermediate", |certificate| {
        AuthorityCertificate::intermediate(certificate, rules)
    })
}

/// Loads the anchors by which servers are verified that the gateway connects to, in the same way.
///
/// # Errors
/// What is wrong, and in which file.
pub fn load_roots(paths: &[PathBuf]) -> Result<RootCertStore, CredentialError> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        for file in files_of(path)? {
            for certificate in certificates(&file)? {
                roots
                    .add(certificate)
                    .map_err(|error| CredentialError::Root {
                        path: file.clone(),
                        error,
                    })?;
            }
        }
    }
    Ok(roots)
}

fn load_authorities(
    paths: &[PathBuf],
    role: &'static str,
    parse: impl Fn(&CertificateDer<'_>) -> Result<AuthorityCertificate, AuthorityError>,
) -> Result<Vec<AuthorityCertificate>, CredentialError> {
    let mut authorities = Vec::new();
    for path in paths {
        for file in files_of(path)? {
            for certificate in certificates(&file)? {
                let authority =
                    parse(&certificate).map_err(|error| CredentialError::Authority {
                        path: file.clone(),
                        role,
                        error,
                    })?;
                authorities.push(authority);
            }
        }
    }
    Ok(authorities)
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, CredentialError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error| CredentialError::Read {
        path: path.to_owned(),
        error,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_certificate = file.extension().is_some_and(|extension| {
            extension == "pem" || extension == "crt" || extension == "cer"
        });
        if is_certificate && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(CredentialError::Empty {
            path: path.to_owned(),
            wanted: "certificate file",
        });
    }
    files.sort();
    Ok(files)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let pem = read(path)?;
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| CredentialError::Pem {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    if certificates.is_empty() {
        return Err(CredentialError::Empty {
            path: path.to_owned(),
            wanted: "certificate",
        });
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    fs::read(path).map_err(|error| CredentialError::Read {
        path: path.to_owned(),
        error,
    })
}
