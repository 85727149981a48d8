//! What faults calls, and what it says of the outcome.

use anyhow::Result;
use certs_gen::faults::{FaultsSpec, MANIFEST, generate_unless};

use super::arguments::FaultsArguments;
use super::commands::print;
use super::interrupt::Interrupt;

pub(crate) fn faults(arguments: &FaultsArguments) -> Result<()> {
    let spec = FaultsSpec {
        ca: arguments.ca.clone(),
        out: arguments.out.clone(),
        force: arguments.force,
    };
    let interrupt = Interrupt::install()?;
    let manifest = generate_unless(&spec, &|| interrupt.requested())?;
    let path = arguments.out.join(MANIFEST);
    let count = manifest.faults.len();
    print(&format!(
        "{count} faulty credentials, described in {}\n",
        path.display()
    ))
}
