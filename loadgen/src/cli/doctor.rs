//! `loadgen doctor`: what this machine can carry, and whether that is enough.

use anyhow::anyhow;
use clap::Args;
use loadgen::doctor::{Diagnosis, Level, Wanted, text};
use loadgen::plan::SourceAddresses;

use super::Outcome;
use super::exit::Exit;
use super::value;

/// Where devices connect from in a run against this machine itself.
const LOOPBACK_POOL: &str = "127.0.1.1-127.0.1.250";

/// Arguments of `loadgen doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads and tries for about a second and changes nothing; what would lift a limit is printed as a command.
Exit code 0: carries the plan, or none was given; 5: it does not, a run would be void.

Examples:
  loadgen doctor
  loadgen doctor --devices 18000 --rate 2000/s
  loadgen doctor --devices 5000 --source-ips 10.0.0.5-10.0.0.9 --json")]
pub(crate) struct DoctorArguments {
    /// Whether so many devices can be connected at a time.
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<u64>)]
    devices: Option<u64>,
    /// Whether so many connections can be made per second, each with its handshake.
    #[arg(long, value_name = "N/s", value_parser = value::rate)]
    rate: Option<f64>,
    /// The handshakes of --rate are resumed ones.
    #[arg(long, requires = "rate")]
    resumed: bool,
    /// Local addresses that the run will connect from; `kernel` leaves the choice of one to it.
    #[arg(long, value_name = "FIRST-LAST", default_value = LOOPBACK_POOL, value_parser = sources)]
    source_ips: SourceAddresses,
    /// Print the diagnosis as JSON (schema loadgen.doctor/1).
    #[arg(long)]
    json: bool,
}

fn sources(text: &str) -> Result<SourceAddresses, String> {
    if text == "kernel" {
        return Ok(SourceAddresses::default());
    }
    text.parse()
        .map_err(|error: loadgen::plan::source::SourceAddressesError| error.to_string())
}

/// Looks, judges and prints.
pub(crate) fn diagnose(arguments: &DoctorArguments) -> Outcome {
    let wanted = Wanted {
        devices: arguments.devices,
        rate_per_second: arguments.rate,
        resumed: arguments.resumed,
    };
    let diagnosis = Diagnosis::here(&arguments.source_ips, wanted);
    let printed = if arguments.json {
        let mut json = serde_json::to_string_pretty(&diagnosis)
            .map_err(|error| (Exit::Failure, anyhow!(error)))?;
        json.push('\n');
        json
    } else {
        text::render(&diagnosis)
    };
    super::print(printed.as_bytes())?;
    Ok(
        if wanted.is_something() && diagnosis.level == Level::Insufficient {
            Exit::Void
        } else {
            Exit::Pass
        },
    )
}
