//! From certificates and keys to identities: the end entity is the certificate that a private key belongs to, wherever it
//! stands.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;

use super::identity::{Identity, Path};
use super::pem_file::{Certificate, Contents, Key, Role};

/// What a file is good for by itself, and what of it needs another file.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// Devices whose certificate and key are both here.
    pub(super) devices: Vec<Identity>,
    /// Keys of none of the certificates here.
    pub(super) loose_keys: Vec<Key>,
    /// Certificates to which no key here belongs: the chain of a device whose key lies in another file, or authorities.
    pub(super) loose_certificates: Vec<Certificate>,
    /// Whether a key here belongs to a certificate here that is no device's: a server's, or an authority's.
    pub(super) holds_others: bool,
}

/// Paths of which each is kept once, however many devices present it.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: Mutex<HashSet<Path>>,
}

impl Paths {
    fn shared(&self, path: Vec<CertificateDer<'static>>) -> Path {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = known.get(path.as_slice()) {
            return Arc::clone(path);
        }
        let path = Path::from(path);
        known.insert(Arc::clone(&path));
        path
    }
}

impl Bundle {
    pub(super) fn new(contents: Contents, paths: &Paths) -> Bundle {
        let mut bundle = Bundle {
            loose_certificates: contents.certificates,
            ..Bundle::default()
        };
        let mut end_entities = Vec::new();
        for key in contents.keys {
            match take_certificate_of(&key, &mut bundle.loose_certificates) {
                Some(certificate) if certificate.role == Role::Device => {
                    end_entities.push((certificate, key));
                }
                Some(certificate) => {
                    bundle.holds_others = true;
                    // An authority may still stand above the devices here, and be a trust anchor.
                    bundle.loose_certificates.push(certificate);
                }
                None => bundle.loose_keys.push(key),
            }
        }
        for (certificate, key) in end_entities {
            let identity = identity(certificate, &bundle.loose_certificates, key, paths);
            bundle.devices.push(identity);
        }
        if !bundle.devices.is_empty() {
            // Of a chain that has been used, nobody asks for more than a trust anchor.
            bundle
                .loose_certificates
                .retain(Certificate::is_trust_anchor);
        }
        bundle
    }
}

/// Removes the certificate to which the key belongs, a device's rather than another.
pub(super) fn take_certificate_of(
    key: &Key,
    certificates: &mut Vec<Certificate>,
) -> Option<Certificate> {
    let belongs = |certificate: &Certificate| certificate.public_key == key.public_key;
    let position = certificates
        .iter()
        .position(|certificate| belongs(certificate) && certificate.role == Role::Device)
        .or_else(|| certificates.iter().position(belongs))?;
    Some(certificates.remove(position))
}

/// The device of this certificate and key; of `others`, those that lead up from it come first, in order, then the rest.
pub(super) fn identity(
    end_entity: Certificate,
    others: &[Certificate],
    key: Key,
    paths: &Paths,
) -> Identity {
    let mut rest: Vec<&Certificate> = others.iter().collect();
    let mut path = Vec::new();
    let mut issuer = &end_entity.issuer;
    while let Some(position) = rest.iter().position(|other| other.subject == *issuer) {
        let above = rest.remove(position);
        path.push(above.der.clone());
        issuer = &above.issuer;
    }
    path.extend(rest.into_iter().map(|other| other.der.clone()));
    Identity::new(end_entity.der, paths.shared(path), key.signing)
}
