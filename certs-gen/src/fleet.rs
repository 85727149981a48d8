//! A whole fleet: specified, minted, written into a folder.
//!
//! [`generate`] writes a fleet as [`crate::layout`] has it, [`Fleet`] opens one that is written; [`Mint`] makes the same
//! certificates one by one in memory. Deliberately prints nothing: how far it has come is told to a [`Progress`].

mod error;
mod issuers;
mod mint;
mod open;
mod progress;
mod spec;
mod workers;

use std::path::Path;

pub use error::Error;
pub(crate) use issuers::Issuers;
pub use mint::Mint;
pub use open::{Fleet, OpenError};
pub use progress::{Progress, Silent};
pub use spec::{FleetSpec, LONGEST_VALIDITY, MOST_INTERMEDIATES, MOST_JOBS, MOST_LAYERS};

pub use crate::manifest::Manifest;

use crate::layout::{DEVICES_PER_FOLDER, Layout};
use crate::private_file::{create_folder, create_private, create_public};
use crate::staging::{Kind, Staging};

const KIND: Kind = Kind {
    noun: "a fleet",
    manifest: "fleet.json",
    schema: "certs-gen.fleet/",
};

/// Makes the fleet and puts it at `spec.out`: whole, or not at all.
///
/// Everything is written into a temporary folder beside `spec.out` first and renamed into place at the end. When
/// anything fails, or `progress` says that the user cancelled, the temporary folder is removed.
///
/// # Errors
/// [`Error`], whose text names the flag or path at fault; [`Error::is_usage`] tells the two apart.
pub fn generate(spec: &FleetSpec, progress: &dyn Progress) -> Result<Manifest, Error> {
    spec.check()?;
    // Before the work, so that an unusable folder is told at once and not after a minute of RSA keys.
    let staging = Staging::begin(&spec.out, spec.force, KIND)?;
    let mint = Mint::unless_cancelled(spec, progress)?;
    let manifest = mint.manifest();
    write_fleet(&mint, &manifest, spec, staging.path(), progress)
        .map_err(|error| error.told_as_in(staging.path(), &spec.out))?;
    staging.commit()?;
    Ok(manifest)
}

fn write_fleet(
    mint: &Mint,
    manifest: &Manifest,
    spec: &FleetSpec,
    root: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    write_authorities(mint, root)?;
    write_devices(mint, spec, root, progress)?;
    // The manifest last: a folder that has one is complete.
    let json = manifest.to_json().map_err(Error::Manifest)?;
    // Whoever knows the seed can derive keys, so it is kept like one.
    let create = if spec.seed.is_some() {
        create_private
    } else {
        create_public
    };
    Ok(create(&Layout::new(root).manifest(), json.as_bytes())?)
}

fn write_authorities(mint: &Mint, root: &Path) -> Result<(), Error> {
    let layout = Layout::new(root);
    let anchor = mint.trust_anchor();
    create_public(&layout.trust_anchor(), anchor.certificate_pem().as_bytes())?;
    create_private(&layout.trust_anchor_key(), anchor.key_pem().as_bytes())?;
    for (position, policy) in mint.policies().iter().enumerate() {
        create_public(&layout.policy(position + 1), policy.path_pem().as_bytes())?;
        create_private(
            &layout.policy_key(position + 1),
            policy.key_pem().as_bytes(),
        )?;
    }
    for (number, intermediate) in mint.intermediates().iter().enumerate() {
        create_public(
            &layout.intermediate(number),
            intermediate.path_pem().as_bytes(),
        )?;
        create_private(
            &layout.intermediate_key(number),
            intermediate.key_pem().as_bytes(),
        )?;
    }
    let server = mint.server()?;
    create_public(&layout.server(), server.chain_pem().as_bytes())?;
    create_private(&layout.server_key(), server.key_pem().as_bytes())?;
    Ok(())
}

fn write_devices(
    mint: &Mint,
    spec: &FleetSpec,
    root: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let layout = Layout::new(root);
    create_folder(&layout.devices_folder())?;
    for first in (0..spec.devices).step_by(DEVICES_PER_FOLDER) {
        create_folder(&layout.device_folder(first))?;
    }
    progress.begin(spec.devices);
    let outcome = workers::for_each(spec.devices, spec.jobs, |index| {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        create_private(
            &layout.device_path(index),
            mint.device(index)?.pem().as_bytes(),
        )?;
        progress.advance();
        Ok(())
    });
    progress.finish();
    outcome
}
