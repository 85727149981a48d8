//! `loadgen compare`: two saved results side by side, and whether a regression is proven.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use loadgen::report::compare::{self, Judgement, Margins};
use loadgen::report::html::comparison;
use loadgen::report::json;

use super::Outcome;
use super::exit::Exit;
use super::outputs;
use super::value;

/// Arguments of `loadgen compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  no regression: none of the figures can be worse by more than the margin
  3  a regression is proven
  4  inconclusive: neither is proven (or a run is void); measure longer

Examples:
  loadgen compare before.json after.json
  loadgen compare before.json after.json --threshold 10% --html comparison.html
  loadgen compare nginx.json gateway.json --despite-differences")]
pub(crate) struct CompareArguments {
    /// The baseline: a file written by `loadgen run --json`.
    baseline: PathBuf,
    /// The candidate: another.
    candidate: PathBuf,
    /// By how much times, rates and the share of resumptions may be worse.
    #[arg(long, value_name = "PERCENT", value_parser = value::share, default_value = "5%")]
    threshold: f64,
    /// How many more of all attempts may fail.
    #[arg(long, value_name = "PERCENT", value_parser = value::share, default_value = "0.5%")]
    failures_threshold: f64,
    /// Compare results even if the runs were told different things.
    #[arg(long)]
    despite_differences: bool,
    /// Write the comparison as a page, one run over the other.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Compares, prints, and says by the exit code what was found.
pub(crate) fn run(arguments: &CompareArguments) -> Outcome {
    if let Some(path) = &arguments.html {
        outputs::check_writable("--html", path).map_err(|error| (Exit::Usage, error))?;
    }
    let load = |path| json::load(path).map_err(|error| (Exit::Usage, error.into()));
    let (first, second) = (load(&arguments.baseline)?, load(&arguments.candidate)?);
    let obstacles = compare::obstacles(&first, &second);
    if !obstacles.is_empty() && !arguments.despite_differences {
        let names: Vec<_> = obstacles.iter().map(ToString::to_string).collect();
        return Err((
            Exit::Usage,
            anyhow!(
                "the runs were told different things and are not comparable (--despite-differences compares them all the same):\n  {}",
                names.join("\n  ")
            ),
        ));
    }
    let margins = Margins {
        relative: arguments.threshold,
        absolute: arguments.failures_threshold,
    };
    let found = compare::compare(&first, &second, margins);
    super::print(compare::text::render(&found, &first, &second).as_bytes())?;
    if let Some(path) = &arguments.html {
        outputs::write("--html", path, || comparison::page(&found, &first, &second))
            .map_err(|error| (Exit::Failure, error))?;
    }
    Ok(match found.judgement {
        Judgement::Better | Judgement::NotWorse => Exit::Pass,
        Judgement::Worse => Exit::Regression,
        Judgement::Inconclusive => Exit::Inconclusive,
    })
}
