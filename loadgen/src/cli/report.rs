//! `loadgen report`: a saved result again, on the terminal or as files.

use std::path::PathBuf;

use clap::Args;
use loadgen::report::{json, text};

use super::Outcome;
use super::exit::Exit;
use super::outputs::Outputs;

/// Arguments of `loadgen report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  loadgen report result.json
  loadgen report result.json --html result.html --markdown result.md
  loadgen report result.json --csv result.csv")]
pub(crate) struct ReportArguments {
    /// A file written by `loadgen run --json` or `loadgen merge --json`.
    file: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
}

/// Prints the table, or writes the files that are wanted instead.
pub(crate) fn run(arguments: &ReportArguments) -> Outcome {
    arguments
        .outputs
        .check(None)
        .map_err(|error| (Exit::Usage, error))?;
    let result = json::load(&arguments.file).map_err(|error| (Exit::Usage, error.into()))?;
    if arguments.outputs.any() {
        arguments
            .outputs
            .write(&result)
            .map_err(|error| (Exit::Failure, error))?;
        return Ok(Exit::Pass);
    }
    super::print(text::render(&result).as_bytes())
}
