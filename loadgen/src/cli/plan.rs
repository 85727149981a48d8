//! Plan files on the command line: `loadgen plan check`, and what flags change of a plan that `loadgen run` is given.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{ArgMatches, Args, Command, Subcommand, parser::ValueSource};
use loadgen::plan::{Executor, Limit, Plan, PlanFile};

use super::Outcome;
use super::activity::ActivityArguments;
use super::exit::Exit;
use super::run::RunArguments;

/// Flags of when attempts start that a file says for each scenario.
const OF_A_SCENARIO: [&str; 3] = ["interval", "arrivals", "max_in_flight"];

/// Arguments of `loadgen plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(subcommand)]
    command: PlanCommand,
}

#[derive(Debug, Subcommand)]
enum PlanCommand {
    /// Say everything that is wrong with plan files (exit 2), or nothing; neither fleet nor target is looked at.
    Check {
        /// Plan files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Does what the arguments say.
pub(crate) fn run(arguments: &PlanArguments) -> Outcome {
    let PlanCommand::Check { files } = &arguments.command;
    let wrong: Vec<String> = files
        .iter()
        .filter_map(|file| read(file).err())
        .map(|error| format!("{error:#}"))
        .collect();
    if wrong.is_empty() {
        return Ok(Exit::Pass);
    }
    Err((Exit::Usage, anyhow!(wrong.join("\n"))))
}

/// Reads a plan file.
pub(crate) fn read(path: &Path) -> anyhow::Result<PlanFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the plan {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    PlanFile::read(&text, folder).map_err(|problems| {
        let lines: String = problems
            .iter()
            .map(|problem| format!("\n  {problem}"))
            .collect();
        anyhow!("the plan {} cannot be used:{lines}", path.display())
    })
}

/// What was given on the command line, and is not a default.
pub(crate) struct Given<'a>(pub(crate) &'a ArgMatches);

impl Given<'_> {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.0.value_source(flag) == Some(ValueSource::CommandLine)
    }
}

/// Lets flags change how the scenarios of a plan from a file run.
///
/// # Errors
///
/// A flag says what the file says for each scenario.
pub(crate) fn change_scenarios(
    plan: &mut Plan,
    arguments: &RunArguments,
    given: &Given<'_>,
) -> anyhow::Result<()> {
    let of_activities = ActivityArguments::augment_args(Command::new("run"));
    let of_activities = of_activities
        .get_arguments()
        .map(|flag| flag.get_id().as_str());
    if let Some(flag) = of_activities
        .chain(OF_A_SCENARIO)
        .find(|flag| given.has(flag))
    {
        return Err(anyhow!(
            "--{}: a plan file says this for each of its scenarios, change it there",
            flag.replace('_', "-")
        ));
    }
    if let Some(duration) = arguments.duration {
        let mut changed = false;
        for scenario in plan.scenarios.iter_mut() {
            match &mut scenario.executor {
                Executor::Hold(hold) => {
                    hold.duration = duration;
                    changed = true;
                }
                executor => {
                    if let Some(limit @ Limit::DurationSeconds(_)) = executor.limit_mut() {
                        *limit = Limit::DurationSeconds(duration);
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            return Err(anyhow!(
                "--duration changes scenarios that go on for a time, and this plan has none: each ends when its own work is done, \
                 change that in the plan file"
            ));
        }
    }
    let only = |plan: &mut Plan, flag: &str, change: &dyn Fn(&mut Executor) -> bool| {
        let changed = plan
            .scenarios
            .only_mut()
            .is_some_and(|scenario| change(&mut scenario.executor));
        if changed {
            return Ok(());
        }
        Err(anyhow!(
            "{flag} changes a plan with one scenario whose executor knows it: say it in the plan file"
        ))
    };
    if let Some(rate) = arguments.rate {
        only(plan, "--rate", &|executor| match executor {
            Executor::ConstantArrivalRate(constant) => {
                constant.rate_per_second = rate;
                true
            }
            _ => false,
        })?;
    }
    if let Some(devices) = arguments.connections {
        only(plan, "--connections", &|executor| match executor {
            Executor::ConstantDevices(constant) => {
                constant.devices = devices;
                true
            }
            _ => false,
        })?;
    }
    if let Some(count) = arguments.count {
        only(plan, "--count", &|executor| match executor.limit_mut() {
            Some(limit) => {
                *limit = Limit::Count(count);
                true
            }
            None => false,
        })?;
    }
    Ok(())
}
