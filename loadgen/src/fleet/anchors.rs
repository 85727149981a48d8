//! Whom the devices trust: against these the server's certificate is verified.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::FleetError;

/// Whom the devices trust.
pub type TrustAnchors = RootCertStore;

/// The name of the trust anchor in a folder of `certs-gen`.
pub(super) const TRUST_ANCHOR: &str = "trust-anchor.pem";

/// Reads a PEM file of trust anchors, named by `flag`.
///
/// # Errors
///
/// It cannot be read, or holds something that is no usable trust anchor, or none.
pub(super) fn read(flag: &'static str, path: &Path) -> Result<TrustAnchors, FleetError> {
    let pem = fs::read(path).map_err(|reason| FleetError::Unreadable {
        flag,
        path: path.to_owned(),
        reason,
    })?;
    let broken = |what: String| FleetError::Broken {
        flag,
        path: path.to_owned(),
        what,
    };
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(format!("no valid PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(broken("no CERTIFICATE in it".to_owned()));
    }
    of(flag, path, certificates)
}

/// The same of certificates that have been read from `path`.
///
/// # Errors
///
/// There are none, or one cannot be a trust anchor.
pub(super) fn of(
    flag: &'static str,
    path: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<TrustAnchors, FleetError> {
    let path = || path.to_owned();
    if certificates.is_empty() {
        return Err(FleetError::NoTrustAnchor { flag, path: path() });
    }
    let mut anchors = RootCertStore::empty();
    for certificate in certificates {
        anchors
            .add(certificate)
            .map_err(|error| FleetError::Broken {
                flag,
                path: path(),
                what: format!("not a usable trust anchor: {error}"),
            })?;
    }
    Ok(anchors)
}
