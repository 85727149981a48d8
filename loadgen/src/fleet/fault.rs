//! What is wrong with the bad devices, and what the server is expected to do with them.
//!
//! A fault is minted, or comes from a folder made by `certs-gen faults`, whose credential is then shared by all devices that
//! have the fault.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use certs_gen::credential::Credential;
use certs_gen::faults::{Alert, Expectation, Manifest};
use certs_gen::key::{KeyKind, PrivateKey};
use rustls::crypto::KeyProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::FleetError;
use super::identity::Identity;
use crate::plan::FleetSpec;
use crate::plan::fleet::Identities;

/// What is wrong with some of the devices.
#[derive(Debug)]
pub struct Fault {
    /// Its name, as in `--bad`.
    pub name: String,
    /// The alert with which the server is expected to refuse; `None`: it is expected to serve the device all the same.
    pub alert: Option<u8>,
    pub(super) source: Source,
}

/// Where the credential comes from.
#[derive(Debug)]
pub(super) enum Source {
    Minted(MintedFault),
    Read(Arc<Identity>),
}

/// Faults that need no folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MintedFault {
    Expired,
    NotYetValid,
    Untrusted,
    OtherPurpose,
    ServerOnly,
    WrongKey,
    Revoked,
}

/// Name, fault and expected alert; names and alerts are those of `certs-gen faults`, where it has the same.
const MINTED: [(&str, MintedFault, Alert); 8] = [
    ("expired", MintedFault::Expired, Alert::CertificateExpired),
    (
        "not_yet_valid",
        MintedFault::NotYetValid,
        Alert::CertificateExpired,
    ),
    ("untrusted", MintedFault::Untrusted, Alert::UnknownCa),
    ("wrong_anchor", MintedFault::Untrusted, Alert::UnknownCa),
    (
        "other_purpose",
        MintedFault::OtherPurpose,
        Alert::UnsupportedCertificate,
    ),
    (
        "server_only",
        MintedFault::ServerOnly,
        Alert::UnsupportedCertificate,
    ),
    ("wrong_key", MintedFault::WrongKey, Alert::DecryptError),
    ("revoked", MintedFault::Revoked, Alert::CertificateRevoked),
];

/// The faults of `--bad`, in its order. With a folder of faults, what it has comes from there.
///
/// # Errors
///
/// The folder cannot be used, or a fault is not known.
pub(super) fn resolve(spec: &FleetSpec, keys: &dyn KeyProvider) -> Result<Vec<Fault>, FleetError> {
    let manifest = match &spec.faults {
        Some(folder) => Some((
            folder,
            Manifest::load(folder).map_err(|reason| FleetError::Unreadable {
                flag: "--faults",
                path: folder.join(certs_gen::faults::MANIFEST),
                reason,
            })?,
        )),
        None => None,
    };
    let minted = matches!(spec.identities, Identities::Minted { .. });
    spec.bad
        .parts()
        .iter()
        .map(|(name, _)| {
            // `untrusted` is what people say; the folder has it by its own name.
            let listed = if name == "untrusted" {
                "wrong_anchor"
            } else {
                name
            };
            if let Some((folder, manifest)) = &manifest
                && let Some(fault) = manifest.faults.iter().find(|fault| fault.name == listed)
            {
                let alert = match fault.expected {
                    Expectation::Accept => None,
                    Expectation::Refuse { alert, .. } => Some(alert.code()),
                };
                let identity = read(&folder.join(&fault.file), keys)?;
                return Ok(Fault {
                    name: name.clone(),
                    alert,
                    source: Source::Read(Arc::new(identity)),
                });
            }
            let known = MINTED.iter().find(|(known, ..)| minted && known == name);
            known
                .map(|(_, fault, alert)| Fault {
                    name: name.clone(),
                    alert: Some(alert.code()),
                    source: Source::Minted(*fault),
                })
                .ok_or_else(|| FleetError::NoSuchFault {
                    name: name.clone(),
                    known: names(manifest.as_ref().map(|(_, manifest)| manifest), minted),
                })
        })
        .collect()
}

fn names(manifest: Option<&Manifest>, minted: bool) -> Vec<String> {
    let mut names: Vec<String> = manifest
        .iter()
        .flat_map(|manifest| &manifest.faults)
        .map(|fault| fault.name.clone())
        .collect();
    if minted {
        names.extend(MINTED.iter().map(|(name, ..)| (*name).to_owned()));
    }
    names.sort();
    names.dedup();
    names
}

/// Reads a faulty credential as it is: nothing is put in order, and nothing need fit.
fn read(path: &Path, keys: &dyn KeyProvider) -> Result<Identity, FleetError> {
    let text = fs::read(path).map_err(|reason| FleetError::Unreadable {
        flag: "--faults",
        path: path.to_owned(),
        reason,
    })?;
    let broken = |what: String| FleetError::Broken {
        flag: "--faults",
        path: path.to_owned(),
        what,
    };
    let credential = Credential::from_pem(&text).map_err(|error| broken(error.to_string()))?;
    let load = |der: Vec<u8>| {
        let der = PrivatePkcs8KeyDer::from(der);
        keys.load_private_key(PrivateKeyDer::from(der)).ok()
    };
    let signing = match load(credential.key) {
        Some(signing) => signing,
        // The library signs with no weak key. Its certificate is refused before anybody looks at the signature.
        None => PrivateKey::generate(KeyKind::P256)
            .ok()
            .and_then(|key| load(key.pkcs8_der().to_vec()))
            .ok_or_else(|| broken("no key to present it with".to_owned()))?,
    };
    let mut chain = credential.chain.into_iter().map(CertificateDer::from);
    let end_entity = chain
        .next()
        .ok_or_else(|| broken("no CERTIFICATE in it".to_owned()))?;
    Ok(Identity::new(end_entity, chain.collect(), signing))
}
