//! The authority that issues a minted fleet, read from its files.

use std::fs;
use std::path::Path;

use certs_gen::authority::Authority;
use certs_gen::key::PrivateKey;
use rustls::crypto::KeyProvider;
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::FleetError;
use super::pem_file::{self, Certificate, Contents, Role, Unusable};
use crate::plan::fleet::Mint;

/// The authority, and what is presented or trusted above its devices.
pub(super) struct Issuer {
    pub(super) authority: Authority,
    /// Its private key as it stands in the file: the secret from which devices' keys are derived.
    pub(super) secret: Vec<u8>,
    /// What devices present after their own certificate: the authority and those above it, without the trust anchor.
    pub(super) path: Vec<CertificateDer<'static>>,
    /// Self-issued certificates of the file.
    pub(super) anchors: Vec<CertificateDer<'static>>,
    /// The authority's own validity, and so its devices'.
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
}

impl Issuer {
    /// Reads certificate and key.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, or the two do not make a pair of an authority that is valid now.
    pub(super) fn read(
        mint: &Mint,
        keys: &dyn KeyProvider,
        now: OffsetDateTime,
    ) -> Result<Issuer, FleetError> {
        let secret = private_key("--mint-key", &mint.key)?;
        let key_broken = |what: String| broken("--mint-key", &mint.key, what);
        let key = PrivateKey::from_der(&secret).map_err(|error| key_broken(error.to_string()))?;
        let mut certificates = certificates("--mint-ca", &mint.ca, keys)?;
        let ca_broken = |what: &str| broken("--mint-ca", &mint.ca, what.to_owned());
        let position = certificates
            .iter()
            .position(|certificate| *certificate.public_key == *key.public_key_der())
            .ok_or_else(|| {
                let ca = mint.ca.display();
                key_broken(format!("it belongs to no certificate in {ca} (--mint-ca)"))
            })?;
        let own = certificates.remove(position);
        if own.role != Role::Authority {
            return Err(ca_broken("the certificate says that it is no authority's"));
        }
        let (not_before, not_after) =
            validity(&own.der).ok_or_else(|| ca_broken("a certificate without validity"))?;
        if now < not_before || now > not_after {
            return Err(ca_broken(&format!(
                "the certificate is valid from {not_before} to {not_after}, which is not now"
            )));
        }
        let is_anchor = own.is_self_issued();
        let (anchors, above): (Vec<_>, Vec<_>) = certificates
            .into_iter()
            .partition(Certificate::is_self_issued);
        let above = upwards(&own, above);
        let above_der: Vec<Vec<u8>> = above.iter().map(|der| der.to_vec()).collect();
        let authority = Authority::from_parts(own.der.to_vec(), &above_der, key)
            .map_err(|error| ca_broken(&error.to_string()))?;
        let mut anchors: Vec<_> = anchors.into_iter().map(|anchor| anchor.der).collect();
        let mut path = Vec::new();
        if is_anchor {
            anchors.push(own.der);
        } else {
            path.push(own.der);
            path.extend(above);
        }
        Ok(Issuer {
            authority,
            secret,
            path,
            anchors,
            not_before,
            not_after,
        })
    }
}

/// Those of `others` that lead up from `from`, in order.
fn upwards(from: &Certificate, mut others: Vec<Certificate>) -> Vec<CertificateDer<'static>> {
    let mut path = Vec::new();
    let mut issuer = from.issuer.clone();
    while let Some(position) = others.iter().position(|other| other.subject == issuer) {
        let above = others.remove(position);
        issuer = above.issuer;
        path.push(above.der);
    }
    path
}

fn certificates(
    flag: &'static str,
    path: &Path,
    keys: &dyn KeyProvider,
) -> Result<Vec<Certificate>, FleetError> {
    let Contents { certificates, .. } = pem_file::read(path, keys).map_err(|why| match why {
        Unusable::Unreadable(reason) => FleetError::Unreadable {
            flag,
            path: path.to_owned(),
            reason,
        },
        why => broken(flag, path, why.reason()),
    })?;
    if certificates.is_empty() {
        return Err(broken(flag, path, "no CERTIFICATE in it".to_owned()));
    }
    Ok(certificates)
}

/// The bytes of the first private key in the file.
fn private_key(flag: &'static str, path: &Path) -> Result<Vec<u8>, FleetError> {
    let text = fs::read(path).map_err(|reason| FleetError::Unreadable {
        flag,
        path: path.to_owned(),
        reason,
    })?;
    let blocks = pem::parse_many(text)
        .map_err(|error| broken(flag, path, format!("no valid PEM: {error}")))?;
    blocks
        .into_iter()
        .find(|block| block.tag().ends_with("PRIVATE KEY"))
        .map(pem::Pem::into_contents)
        .ok_or_else(|| broken(flag, path, "no PRIVATE KEY in it".to_owned()))
}

fn validity(der: &CertificateDer<'_>) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let (from, until) = (validity.not_before, validity.not_after);
    Some((from.to_datetime(), until.to_datetime()))
}

fn broken(flag: &'static str, path: &Path, what: String) -> FleetError {
    FleetError::Broken {
        flag,
        path: path.to_owned(),
        what,
    }
}
