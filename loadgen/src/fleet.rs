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
pub mod fault;
mod folder;
pub mod identity;
mod issuer;
mod mint;
mod pairs;
mod parallel;
mod pem_file;
pub mod ticket;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::KeyProvider;
use time::OffsetDateTime;

pub use anchors::TrustAnchors;
pub use device::{Device, Refusal};
pub use error::FleetError;
pub use fault::Fault;
pub use identity::Identity;
pub use parallel::Opened;

use crate::plan::fleet::{BadShares, Identities, KeyMix};
use crate::plan::{self, FleetSpec, Share};
use fault::{MintedFault, Source};
use folder::{Folder, Reading};
use issuer::Issuer;
use mint::Mint;

/// A fleet that is open, or the part of one that this process drives.
#[derive(Debug)]
pub struct Fleet {
    size: usize,
    part: Share,
    anchors: Arc<TrustAnchors>,
    identities: Vec<Arc<Identity>>,
    renewals: Renewals,
    faults: Vec<Fault>,
    bad: BadShares,
    seed: u64,
}

/// Where devices have their next identities from.
#[derive(Debug)]
enum Renewals {
    None,
    Folder(Vec<Arc<Identity>>),
    Minted(Box<Mint>),
}

/// Whoever wants to know how far the opening is, and can end it.
type Observer<'a> = &'a mut dyn FnMut(Opened) -> ControlFlow<()>;

impl Fleet {
    /// Opens the devices of `part`: those whose number, divided by `part.of`, leaves `part.index`. `devices` is how many the
    /// whole fleet has (`None`: all that the folder holds). Which devices are bad, and what is minted, follows from `seed`.
    /// `observer` is told now and then how far it is, and can end it.
    ///
    /// # Errors
    ///
    /// What the operator has to mend, with everything wrong that can be found at once.
    pub fn open(
        spec: &FleetSpec,
        devices: Option<usize>,
        seed: u64,
        part: Share,
        keys: &'static dyn KeyProvider,
        mut observer: impl FnMut(Opened) -> ControlFlow<()>,
    ) -> Result<Fleet, FleetError> {
        let contradictions = spec.contradictions(devices);
        if !contradictions.is_empty() {
            return Err(FleetError::Contradiction(contradictions));
        }
        // Before the devices: whoever names the wrong file learns it at once.
        let faults = fault::resolve(spec, keys)?;
        let ca = match &spec.ca {
            Some(ca) => Some(anchors::read("--ca", ca)?),
            None => None,
        };
        let mut fleet = Fleet {
            size: 0,
            part,
            anchors: Arc::new(TrustAnchors::empty()),
            identities: Vec::new(),
            renewals: Renewals::None,
            faults,
            bad: spec.bad.clone(),
            seed,
        };
        let anchors = match &spec.identities {
            Identities::Folder { pki, next_pki } => {
                let ca = match ca {
                    None => anchors_of_folder(pki)?,
                    ca => ca,
                };
                let next = next_pki.as_deref();
                fleet.read(pki, next, ca, devices, keys, &mut observer)?
            }
            Identities::Minted { mint } => {
                let now = OffsetDateTime::now_utc();
                let issuer = Issuer::read(mint, keys, now)?;
                let anchors = ca.map_or_else(|| anchors_of_issuer(mint, &issuer), Ok)?;
                let mint = Mint::new(issuer, mint.keys.clone(), seed, keys, now)
                    .map_err(FleetError::Issuer)?;
                fleet.size = devices.unwrap_or_default();
                fleet.mint(mint, &mut observer)?;
                anchors
            }
        };
        fleet.anchors = Arc::new(anchors);
        Ok(fleet)
    }

    /// Reads the devices of a folder; returns whom they trust.
    fn read(
        &mut self,
        pki: &Path,
        next_pki: Option<&Path>,
        ca: Option<TrustAnchors>,
        devices: Option<usize>,
        keys: &dyn KeyProvider,
        observer: Observer<'_>,
    ) -> Result<TrustAnchors, FleetError> {
        let reading = |flag, pki, wanted| Reading {
            flag,
            pki,
            wanted,
            part: self.part,
            keys,
        };
        let folder = reading("--pki", pki, devices).read(observer)?;
        if let Some(next) = next_pki {
            let next = reading("--next-pki", next, Some(folder.size)).read(observer)?;
            self.renewals = Renewals::Folder(next.identities);
        }
        let anchors = ca.map_or_else(|| anchors_found(pki, &folder), Ok)?;
        self.size = folder.size;
        self.identities = folder.identities;
        for place in 0..self.identities.len() {
            let Some((_, fault)) = self.fault_of(self.number(place)) else {
                continue;
            };
            let Source::Read(bad) = &fault.source else {
                continue;
            };
            let bad = Arc::clone(bad);
            if let Some(identity) = self.identities.get_mut(place) {
                *identity = bad;
            }
        }
        Ok(anchors)
    }

    fn mint(&mut self, mint: Mint, observer: Observer<'_>) -> Result<(), FleetError> {
        let numbers: Vec<usize> = (self.part.index..self.size)
            .step_by(self.part.of.max(1))
            .collect();
        let make = |number: &usize| {
            let fault = match self.fault_of(*number).map(|(_, fault)| &fault.source) {
                Some(Source::Read(bad)) => return Ok(Arc::clone(bad)),
                Some(Source::Minted(fault)) => Some(*fault),
                None => None,
            };
            mint.identity(*number, 0, fault)
                .map(Arc::new)
                .map_err(|reason| FleetError::Mint {
                    number: *number,
                    reason,
                })
        };
        self.identities = parallel::map(&numbers, parallel::AT_ONCE, observer, make)
            .ok_or(FleetError::Stopped)?
            .into_iter()
            .collect::<Result<_, _>>()?;
        self.renewals = Renewals::Minted(Box::new(mint));
        Ok(())
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

    /// What is wrong with the bad devices, in the order of the plan's `bad`.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Every `stride`-th device of this part from the one in place `first`, each with an empty ticket slot.
    pub fn devices(&self, first: usize, stride: usize) -> Vec<Device> {
        self.identities
            .iter()
            .enumerate()
            .skip(first)
            .step_by(stride.max(1))
            .map(|(place, identity)| {
                let number = self.number(place);
                let to_be_refused = self.fault_of(number).and_then(|(at, fault)| {
                    Some(Refusal {
                        fault: u16::try_from(at).ok()?,
                        alert: fault.alert?,
                    })
                });
                Device::new(number, Arc::clone(identity), to_be_refused)
            })
            .collect()
    }

    /// The identity that device `number` of this part has after `generation` renewals (0: the one it began with).
    ///
    /// A minted one has another key and serial number each time, and costs about 0.15 ms to make. From folders there are two:
    /// the second folder's after odd renewals, the first one's again after even ones. Bad devices keep theirs.
    ///
    /// # Errors
    ///
    /// The fleet is from one folder only, the device is not of this part, or the identity cannot be made.
    pub fn identity(&self, number: usize, generation: u32) -> Result<Arc<Identity>, FleetError> {
        let place = number / self.part.of.max(1);
        let first = || self.identities.get(place);
        let identity = match &self.renewals {
            _ if generation == 0 || self.fault_of(number).is_some() => first(),
            Renewals::None => None,
            Renewals::Folder(next) if generation % 2 == 1 => next.get(place),
            Renewals::Folder(_) => first(),
            Renewals::Minted(mint) => {
                let made = mint.identity(number, generation, None);
                return made
                    .map(Arc::new)
                    .map_err(|reason| FleetError::Mint { number, reason });
            }
        };
        identity.cloned().ok_or(FleetError::NoNextIdentity)
    }

    /// How many devices of this part have the fault in place `at` of [`Fleet::faults`].
    pub fn devices_with_fault(&self, at: usize) -> usize {
        let numbers = (0..self.len()).map(|place| self.number(place));
        numbers
            .filter(|number| self.fault_of(*number).is_some_and(|(found, _)| found == at))
            .count()
    }

    fn number(&self, place: usize) -> usize {
        place * self.part.of.max(1) + self.part.index
    }

    fn fault_of(&self, number: usize) -> Option<(usize, &Fault)> {
        let at = self.bad.of(number, self.seed)?;
        Some((at, self.faults.get(at)?))
    }
}

/// The revocation list, as PEM, of those minted devices that have the fault `revoked`: the server must have it before the
/// load begins. Mints nothing else.
///
/// # Errors
///
/// The fleet is not a minted one, or its issuer cannot be used.
pub fn revocation_list(
    spec: &FleetSpec,
    devices: Option<usize>,
    seed: u64,
    keys: &'static dyn KeyProvider,
) -> Result<String, FleetError> {
    let contradictions = spec.contradictions(devices);
    if !contradictions.is_empty() {
        return Err(FleetError::Contradiction(contradictions));
    }
    let Identities::Minted { mint } = &spec.identities else {
        return Err(FleetError::Contradiction(vec![
            "only a minted fleet has a list of its own (--mint-ca); for a folder there is `certs-gen crl`".to_owned(),
        ]));
    };
    let faults = fault::resolve(spec, keys)?;
    let is_revoked = |fault: &Fault| matches!(fault.source, Source::Minted(MintedFault::Revoked));
    let now = OffsetDateTime::now_utc();
    let issuer = Issuer::read(mint, keys, now)?;
    let mint = Mint::new(issuer, KeyMix::default(), seed, keys, now).map_err(FleetError::Issuer)?;
    let numbers = (0..devices.unwrap_or_default()).filter(|number| {
        let fault = spec.bad.of(*number, seed).and_then(|at| faults.get(at));
        fault.is_some_and(is_revoked)
    });
    mint.revocation_list(numbers).map_err(FleetError::Issuer)
}

fn anchors_of_folder(pki: &Path) -> Result<Option<TrustAnchors>, FleetError> {
    let path = pki.join(anchors::TRUST_ANCHOR);
    if !path.exists() {
        return Ok(None);
    }
    anchors::read("--pki", &path).map(Some)
}

fn anchors_found(pki: &Path, folder: &Folder) -> Result<TrustAnchors, FleetError> {
    let found = folder.anchors.iter().map(|anchor| anchor.der.clone());
    anchors::of("--pki", pki, found.collect())
}

fn anchors_of_issuer(
    mint: &plan::fleet::Mint,
    issuer: &Issuer,
) -> Result<TrustAnchors, FleetError> {
    anchors::of("--mint-ca", &mint.ca, issuer.anchors.clone())
}
