//! Certificates and keys that lie in different files, brought together.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;

use super::bundle::{self, Bundle, Paths};
use super::identity::Identity;
use super::pem_file::{Certificate, Key, Role};

/// What is left of a file whose devices have been found.
struct Rest {
    path: PathBuf,
    certificates: Vec<Certificate>,
    held_devices: bool,
}

/// All devices, in order of the files that hold their certificates, and the trust anchors. A key without certificate and a
/// certificate without key go to `unusable`.
pub(super) fn join(
    bundles: Vec<(PathBuf, Bundle)>,
    paths: &Paths,
    unusable: &mut Vec<(PathBuf, String)>,
) -> (Vec<Identity>, Vec<Certificate>) {
    let mut devices: Vec<(usize, Identity)> = Vec::new();
    let mut keys: HashMap<Box<[u8]>, (PathBuf, Key)> = HashMap::new();
    let mut rests: Vec<Rest> = Vec::new();
    for (index, (path, bundle)) in bundles.into_iter().enumerate() {
        let held_devices = !bundle.devices.is_empty();
        devices.extend(bundle.devices.into_iter().map(|identity| (index, identity)));
        for key in bundle.loose_keys {
            keys.insert(key.public_key.clone(), (path.clone(), key));
        }
        rests.push(Rest {
            path,
            certificates: bundle.loose_certificates,
            held_devices,
        });
    }
    name_lonely_keys(&keys, &rests, unusable);
    let mut seen = in_both(&devices, &rests);
    let issuers = issuers(&rests);
    let mut anchors = Vec::new();
    for (index, mut rest) in rests.into_iter().enumerate() {
        let is_end_entity = |certificate: &Certificate| {
            certificate.role == Role::Device && !issuers.contains(&certificate.subject)
        };
        // Where devices have been found, what is left of the file is their chain.
        let end_entity = rest.certificates.iter().position(is_end_entity);
        if let Some(position) = end_entity.filter(|_| !rest.held_devices) {
            let certificate = rest.certificates.remove(position);
            match keys.get(&certificate.public_key) {
                _ if seen.contains(&certificate.der) => {}
                Some((_, key)) => {
                    seen.insert(certificate.der.clone());
                    let chain = &rest.certificates;
                    let identity = bundle::identity(certificate, chain, key.clone(), paths);
                    devices.push((index, identity));
                }
                None => {
                    let reason = "no private key belongs to its certificate".to_owned();
                    unusable.push((rest.path, reason));
                }
            }
        }
        let certificates = rest.certificates.into_iter();
        anchors.extend(certificates.filter(Certificate::is_trust_anchor));
    }
    devices.sort_by_key(|(index, _)| *index);
    let devices = devices.into_iter().map(|(_, identity)| identity).collect();
    (devices, anchors)
}

fn name_lonely_keys(
    keys: &HashMap<Box<[u8]>, (PathBuf, Key)>,
    rests: &[Rest],
    unusable: &mut Vec<(PathBuf, String)>,
) {
    let certified: HashSet<&[u8]> = all(rests)
        .map(|certificate| certificate.public_key.as_ref())
        .collect();
    let lonely = keys.iter().filter(|(key, _)| !certified.contains(&***key));
    unusable.extend(lonely.map(|(_, (path, _))| {
        let reason = "no certificate belongs to its private key".to_owned();
        (path.clone(), reason)
    }));
}

/// Certificates that lie there once with their key, as a device that has been found, and once more without it.
fn in_both(devices: &[(usize, Identity)], rests: &[Rest]) -> HashSet<CertificateDer<'static>> {
    let without: HashSet<&CertificateDer<'_>> =
        all(rests).map(|certificate| &certificate.der).collect();
    let with = devices.iter().map(|(_, identity)| identity.end_entity());
    with.filter(|der| without.contains(der)).cloned().collect()
}

/// Subjects of those who have issued others here. Certificates of version 1 do not say that they are an authority's.
fn issuers(rests: &[Rest]) -> HashSet<Box<[u8]>> {
    all(rests)
        .filter(|certificate| !certificate.is_self_issued())
        .map(|certificate| certificate.issuer.clone())
        .collect()
}

fn all(rests: &[Rest]) -> impl Iterator<Item = &Certificate> {
    rests.iter().flat_map(|rest| &rest.certificates)
}
