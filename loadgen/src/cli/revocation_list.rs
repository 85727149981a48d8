//! `loadgen revocation-list`: what the server must know before devices that are revoked can be refused.

use std::path::PathBuf;

use clap::Args;
use loadgen::Plan;
use loadgen::plan::Target;
use loadgen::report::file;

use super::Outcome;
use super::exit::Exit;
use super::fleet::FleetArguments;

/// Arguments of `loadgen revocation-list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example, with the same fleet as the run that follows:
  loadgen revocation-list --mint-ca ca.pem --mint-key ca.key --devices 100000 --bad revoked:1% --out ca.crl.pem")]
pub(crate) struct RevocationListArguments {
    #[command(flatten)]
    fleet: FleetArguments,
    /// Seed of the run.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Where to write the list (PEM).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes the list.
pub(crate) fn write(arguments: &RevocationListArguments) -> Outcome {
    let usage = |error| (Exit::Usage, error);
    let target = Target::parse("https://localhost").map_err(|error| usage(error.into()))?;
    let mut plan = Plan::new(target, "");
    plan.fleet = arguments.fleet.spec().map_err(usage)?;
    plan.devices = arguments.fleet.devices;
    plan.seed = arguments.seed;
    let list = loadgen::revocation_list(&plan).map_err(|error| usage(error.into()))?;
    file::write(&arguments.out, &list).map_err(|error| {
        usage(anyhow::anyhow!(
            "cannot write {} (--out): {error}",
            arguments.out.display()
        ))
    })?;
    Ok(Exit::Pass)
}
