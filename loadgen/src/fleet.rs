//! The devices of a fleet: read from a folder of certificates, or minted in memory.
//!
//! ```text
//! FleetSpec ─▶ Fleet::open ─▶ identities of this part of the fleet ─▶ Device, one per run
//!              folder | mint   certificate, path, key ready to sign     ticket slot, what is expected
//! ```
//!
//! Opening is the slow part and uses all cores; a fleet that is open can be driven again and again. Knows files and
//! credentials; opens no connection.

mod anchors;
mod bundle;
pub mod device;
pub mod error;
mod folder;
pub mod identity;
mod parallel;
mod pem_file;
pub mod ticket;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::KeyProvider;

pub use anchors::TrustAnchors;
pub use device::{Device, Refusal};
pub use error::FleetError;
pub use identity::Identity;
pub use parallel::Opened;

use crate::plan::fleet::Identities;
use crate::plan::{FleetSpec, Share};
use folder::{Folder, Reading};

/// A fleet that is open, or the part of one that this process drives.
#[derive(Debug)]
pub struct Fleet {
    size: usize,
    part: Share,
    anchors: Arc<TrustAnchors>,
    identities: Vec<Arc<Identity>>,
    next: Vec<Arc<Identity>>,
}

impl Fleet {
    /// Opens the devices of `part`: those whose number, divided by `part.of`, leaves `part.index`. `devices` is how many the
    /// whole fleet has (`None`: all that the folder holds). `observer` is told now and then how far it is, and can end it.
    ///
    /// # Errors
    ///
    /// What the operator has to mend, with everything wrong that can be found at once.
    pub fn open(
        spec: &FleetSpec,
        devices: Option<usize>,
        part: Share,
        keys: &dyn KeyProvider,
        mut observer: impl FnMut(Opened) -> ControlFlow<()>,
    ) -> Result<Fleet, FleetError> {
        let contradictions = spec.contradictions(devices);
        if !contradictions.is_empty() {
            return Err(FleetError::Contradiction(contradictions));
        }
        match &spec.identities {
            Identities::Folder { pki, next_pki } => {
                // Before the devices: whoever names the wrong folder learns it at once.
                let anchors = match &spec.ca {
                    Some(ca) => Some(anchors::read("--ca", ca)?),
                    None => anchors_of_folder(pki)?,
                };
                let reading = |flag, pki, wanted| Reading {
                    flag,
                    pki,
                    wanted,
                    part,
                    keys,
                };
                let folder = reading("--pki", pki, devices).read(&mut observer)?;
                let next = match next_pki {
                    Some(next) => {
                        let next = reading("--next-pki", next, Some(folder.size));
                        next.read(&mut observer)?.identities
                    }
                    None => Vec::new(),
                };
                let anchors = match anchors {
                    Some(anchors) => anchors,
                    None => anchors_found(pki, &folder)?,
                };
                Ok(Fleet {
                    size: folder.size,
                    part,
                    anchors: Arc::new(anchors),
                    identities: folder.identities,
                    next,
                })
            }
            Identities::Minted { .. } => Err(FleetError::Contradiction(vec![
                "minted fleets cannot be opened yet (--mint-ca)".to_owned(),
            ])),
        }
    }

    /// Devices of the whole fleet, here and elsewhere.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Devices of this part.
    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Whether this part has no device.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Whom the devices trust.
    pub fn trust_anchors(&self) -> &Arc<TrustAnchors> {
        &self.anchors
    }

    /// Every `stride`-th device of this part from the one in place `first`, each with an empty ticket slot.
    pub fn devices(&self, first: usize, stride: usize) -> Vec<Device> {
        self.identities
            .iter()
            .enumerate()
            .skip(first)
            .step_by(stride.max(1))
            .map(|(place, identity)| {
                let number = place * self.part.of.max(1) + self.part.index;
                Device::new(number, Arc::clone(identity), None)
            })
            .collect()
    }

    /// The identity that device `number` of this part has after `generation` renewals (from 1).
    ///
    /// From folders there are two: the second folder's after odd renewals, the first one's again after even ones.
    ///
    /// # Errors
    ///
    /// The fleet is from one folder only, or the device is not of this part.
    pub fn next_identity(
        &self,
        number: usize,
        generation: u32,
    ) -> Result<Arc<Identity>, FleetError> {
        let place = number / self.part.of.max(1);
        let from = if generation % 2 == 1 {
            &self.next
        } else {
            &self.identities
        };
        from.get(place).cloned().ok_or(FleetError::NoNextIdentity)
    }
}

fn anchors_of_folder(pki: &Path) -> Result<Option<TrustAnchors>, FleetError> {
    let path = pki.join(anchors::TRUST_ANCHOR);
    if !path.exists() {
        return Ok(None);
    }
    anchors::read("--pki", &path).map(Some)
}

fn anchors_found(pki: &Path, folder: &Folder) -> Result<TrustAnchors, FleetError> {
    if folder.anchors.is_empty() {
        return Err(FleetError::NoTrustAnchor {
            path: pki.to_owned(),
        });
    }
    let found = folder.anchors.iter().map(|anchor| anchor.der.clone());
    anchors::of(found).map_err(|error| FleetError::Broken {
        flag: "--pki",
        path: pki.to_owned(),
        what: format!("one of its authorities is no usable trust anchor: {error}"),
    })
}
