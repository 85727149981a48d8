//! Makes credentials that are wrong on purpose, one fault each, and a manifest of what is wrong with which: to see that a
//! gateway refuses each of them, and for the right reason.
//!
//! ```text
//! a fleet ─▶ Workshop ─▶ catalogue, one maker for each fault ─▶ OUT/NAME.pem, OUT/crl/, OUT/faults.json
//! ```
//!
//! Every fault is on top of a path that is otherwise good, and signed by the fleet's own authorities where the fault allows
//! it, so that nothing else can be the reason for a refusal. Deliberately presents nothing to anybody.

mod catalogue;
mod end_entity;
mod error;
mod forge;
mod manifest;
mod obsolete;
mod path;
mod workshop;

use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

pub use error::Error;
pub use manifest::{Alert, Expectation, Fault, Manifest, Openssl, Opinion, SCHEMA};

use crate::crl::{CrlSpec, write_lists};
use crate::fleet::Fleet;
use crate::private_file::{create_folder, create_private, create_public};
use crate::revocation::{Ledger, Reason, Serial, Target};
use crate::staging::{Kind, Staging};
use workshop::Workshop;

/// The manifest's file name.
pub const MANIFEST: &str = "faults.json";

const KIND: Kind = Kind {
    noun: "a folder of faults",
    manifest: MANIFEST,
    schema: "certs-gen.faults/",
};

/// What to make, and where.
#[derive(Clone, Debug)]
pub struct FaultsSpec {
    /// The folder of the fleet whose authorities sign; it must have intermediates.
    pub ca: PathBuf,
    /// The folder to make.
    pub out: PathBuf,
    /// Replace what is at `out`, if it is a folder of faults or empty.
    pub force: bool,
}

/// Makes the credentials, lists and manifest, and puts them at `spec.out`: whole, or not at all.
///
/// The credential that is revoked is recorded as such in the fleet, so that its later lists have it too.
///
/// # Errors
/// [`Error`], whose text names the flag or path at fault.
pub fn generate(spec: &FaultsSpec) -> Result<Manifest, Error> {
    generate_unless(spec, &|| false)
}

/// The same, given up and removed when `cancelled` says so; it is asked before each credential.
///
/// # Errors
/// [`Error`] as of [`generate`], and [`Error::Cancelled`].
pub fn generate_unless(spec: &FaultsSpec, cancelled: &dyn Fn() -> bool) -> Result<Manifest, Error> {
    let staging = Staging::begin(&spec.out, spec.force, KIND)?;
    let fleet = Fleet::open(&spec.ca)?;
    if fleet.manifest().intermediates == 0 {
        return Err(Error::NoIntermediate(spec.ca.clone()));
    }
    let manifest = write_folder(&fleet, spec, staging.path(), cancelled)
        .map_err(|error| error.told_as_in(staging.path(), &spec.out))?;
    staging.commit()?;
    Ok(manifest)
}

fn write_folder(
    fleet: &Fleet,
    spec: &FaultsSpec,
    root: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Manifest, Error> {
    let now = OffsetDateTime::now_utc();
    let workshop = Workshop::open(fleet, now)?;
    let anchor = "trust-anchor.pem".to_owned();
    let pem = workshop.anchor.certificate_pem();
    create_public(&root.join(&anchor), pem.as_bytes())?;
    let mut faults = Vec::new();
    for entry in catalogue::ENTRIES {
        if cancelled() {
            return Err(Error::Cancelled);
        }
        let credential = (entry.make)(&workshop).map_err(|source| Error::Issue {
            name: entry.name,
            source,
        })?;
        let fault = entry.describe();
        create_private(&root.join(&fault.file), credential.pem().as_bytes())?;
        faults.push(fault);
    }
    let crls = write_crls(fleet, &workshop, spec, root)?;
    let manifest = Manifest {
        schema: SCHEMA.to_owned(),
        generator: concat!("certs-gen ", env!("CARGO_PKG_VERSION")).to_owned(),
        created: now.replace_nanosecond(0).unwrap_or(now),
        trust_anchor: anchor,
        crls,
        faults,
    };
    let json = manifest.to_json().map_err(Error::Manifest)?;
    // The manifest last: a folder that has one is complete.
    create_public(&root.join(MANIFEST), json.as_bytes())?;
    Ok(manifest)
}

/// Revokes what is to be revoked, and writes the lists of all authorities into `root/crl`.
fn write_crls(
    fleet: &Fleet,
    workshop: &Workshop,
    spec: &FaultsSpec,
    root: &Path,
) -> Result<Vec<String>, Error> {
    const FOLDER: &str = "crl";
    let mut ledger = Ledger::open(fleet.layout())?;
    let target = Target {
        issuer: workshop.issuer_name,
        serial: Serial::from_bytes(&workshop.revoked_serial),
        name: Some("fault revoked".to_owned()),
    };
    ledger.revoke(
        target,
        Some(Reason::KeyCompromise),
        OffsetDateTime::now_utc(),
    );
    let folder = root.join(FOLDER);
    create_folder(&folder)?;
    let lists = CrlSpec {
        // As long as the credentials are good.
        next_update: Duration::from_secs(workshop::VALIDITY.whole_seconds().unsigned_abs()),
        ..CrlSpec::new(&spec.ca)
    };
    // This saves the ledger too, before it writes the first list.
    let made = write_lists(&lists, fleet, &mut ledger, &folder)?;
    let name = |issuer| format!("{FOLDER}/{issuer}.pem");
    Ok(made.lists.iter().map(|list| name(list.issuer)).collect())
}
