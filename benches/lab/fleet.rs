//! The fleet's certificates: made once, before anything is measured, on all cores.

use std::path::Path;

use anyhow::Context as _;
use certs_gen::fleet::{FleetSpec, Silent, generate};

/// The key type of every certificate here, as reports name it.
pub(crate) const KEY: &str = "P-256";

/// Makes a trust anchor, an intermediate, a server and `devices` devices in `folder`.
pub(crate) fn make(folder: &Path, devices: usize) -> anyhow::Result<()> {
    let spec = FleetSpec::new(folder, devices);
    generate(&spec, &Silent).context("cannot make the fleet's certificates")?;
    Ok(())
}
