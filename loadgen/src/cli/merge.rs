//! `loadgen merge`: the results of a plan's segments as one.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use loadgen::report::{json, merge, text};

use super::Outcome;
use super::exit::Exit;
use super::outputs::Outputs;
use super::run::exit_of;

/// Arguments of `loadgen merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is that of a run with the merged result: 5 if it is void, 99 if a threshold failed on the whole.

Examples:
  loadgen merge 0.json 1.json 2.json --json whole.json
  loadgen merge segment-*.json --json whole.json --html whole.html")]
pub(crate) struct MergeArguments {
    /// Files written by `loadgen run --segment I/N --json`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the merged result to this file.
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    #[command(flatten)]
    outputs: Outputs,
}

/// Merges, prints and writes.
pub(crate) fn run(arguments: &MergeArguments) -> Outcome {
    let usage = |error| (Exit::Usage, error);
    arguments
        .outputs
        .check(Some(&arguments.json))
        .map_err(usage)?;
    if arguments.files.contains(&arguments.json) {
        return Err(usage(anyhow!(
            "--json {}: this is one of the files to merge, name another",
            arguments.json.display()
        )));
    }
    let (mut results, mut complaints) = (Vec::new(), Vec::new());
    for file in &arguments.files {
        match json::load(file) {
            Ok(result) => results.push((file.display().to_string(), result)),
            Err(error) => complaints.push(error.to_string()),
        }
    }
    if complaints.is_empty() {
        match merge::merge(&results) {
            Ok(whole) => {
                super::print(text::render(&whole).as_bytes())?;
                let failure = |error| (Exit::Failure, error);
                json::save(&whole, &arguments.json).map_err(|error| failure(error.into()))?;
                eprintln!("result written to {}", arguments.json.display());
                arguments.outputs.write(&whole).map_err(failure)?;
                return Ok(exit_of(&whole));
            }
            Err(errors) => complaints.extend(errors.iter().map(ToString::to_string)),
        }
    }
    Err(usage(anyhow!(
        "cannot merge:\n  {}",
        complaints.join("\n  ")
    )))
}
