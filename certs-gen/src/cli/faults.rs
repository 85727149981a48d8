//! What faults calls, and what it says of the outcome.

use anyhow::Result;
use certs_gen::faults::{FaultsSpec, MANIFEST, generate};

use super::arguments::FaultsArguments;
use super::commands::print;

pub(crate) fn faults(arguments: &FaultsArguments) -> Result<()> {
    let manifest = generate(&FaultsSpec {
        ca: arguments.ca.clone(),
        out: arguments.out.clone(),
        force: arguments.force,
    })?;
    let path = arguments.out.join(MANIFEST);
    let count = manifest.faults.len();
    print(&format!(
        "{count} faulty credentials, described in {}\n",
        path.display()
    ))
}
