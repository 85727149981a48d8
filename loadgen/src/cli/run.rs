//! `loadgen run`: from flags to a plan, from a result to an exit code.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use loadgen::export::Shared;
use loadgen::fleet::FleetError;
use loadgen::measure::Verdict;
use loadgen::plan::{
    ConstantArrivalRate, ConstantDevices, Executor, Hold, Limit, Plan, Segment, StartAt, Threshold,
};
use loadgen::report::{Abort, json, text};
use loadgen::{RunError, RunResult, stop_channel};

use super::activity::ActivityArguments;
use super::exit::Exit;
use super::exports::Exports;
use super::fleet::FleetArguments;
use super::outputs::Outputs;
use super::plan::Given;
use super::progress::Progress;
use super::server::ServerArguments;
use super::terminal::Terminal;
use super::value::{self, Arrivals, Mode};
use super::{Outcome, signals};

/// Arguments of `loadgen run`.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  loadgen run --target https://127.0.0.1:8443 --pki pki --mode full --connections 64 --duration 30s
  loadgen run --target https://127.0.0.1:8443 --pki pki --mode resume --rate 2000/s --watch-pid 4711 --json result.json
  loadgen run --target https://127.0.0.1:8443 --pki pki --mode idle --devices 4000 --duration 10s --watch-pid 4711
  loadgen run --target https://127.0.0.1:8443 --pki pki --resume-ratio 0.8 --rate 500/s --close reset
  loadgen run --target https://127.0.0.1:8443 --pki pki --connections 1000 --hold 5m --telemetry-every 10s --telemetry-jitter 1s
  loadgen run --target https://127.0.0.1:8443 --pki pki --path /firmware.bin --expect-bytes 4MiB --connections 8
  loadgen run --target https://127.0.0.1:8443 --pki pki --protocol websocket --path /ws --ws-subprotocol telemetry.v1
  loadgen run --target https://127.0.0.1:8883 --pki pki --protocol mqtt5 --mqtt-qos 1 --mode telemetry --interval 10s
  loadgen run storm.toml --target https://gateway:8443 --pki pki --json result.json
  loadgen run --target https://gateway:8443 --pki pki --rate 9000/s --segment 0/3 --start-at 2026-11-21T18:00:00Z --json 0.json"
)]
pub(crate) struct RunArguments {
    /// A plan file (TOML); flags override what it says.
    #[arg(value_name = "PLAN.toml")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    fleet: FleetArguments,
    #[command(flatten)]
    activity: ActivityArguments,
    /// Open model: attempts start at this rate, whether or not earlier ones are done.
    #[arg(long, value_name = "N/s", value_parser = value::rate, conflicts_with_all = ["connections", "interval"])]
    pub(super) rate: Option<f64>,
    /// Closed model: so many attempts at a time, back to back [default: 64, or one per device if there are fewer].
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<usize>, conflicts_with = "interval")]
    pub(super) connections: Option<usize>,
    /// Open model: each device once per interval (the same as --rate DEVICES/INTERVAL).
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration)]
    interval: Option<Duration>,
    /// How the arrivals of the open model are spread.
    #[arg(long, value_enum, default_value = "uniform")]
    arrivals: Arrivals,
    /// Length of the measured window [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration, conflicts_with = "count")]
    pub(super) duration: Option<Duration>,
    /// Stop after exactly so many attempts instead of after a time.
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<u64>)]
    pub(super) count: Option<u64>,
    /// Load before the measured window [default: 2s; 0s with --count].
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    warmup: Option<Duration>,
    /// Most attempts in flight in the open model [default: one per device].
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<usize>, conflicts_with = "connections")]
    max_in_flight: Option<usize>,
    /// Perform only this part of the plan, counted from 0: with 0/3, 1/3 and 2/3 on three machines its devices, arrivals and
    /// connections are performed once each. All other flags are the whole plan's and the same everywhere.
    #[arg(long, value_name = "I/N", default_value_t = Segment::WHOLE, hide_default_value = true)]
    segment: Segment,
    /// Prepare the devices, then begin the load (warm-up included) at this time: RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    start_at: Option<StartAt>,
    /// Write the result to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    exports: Exports,
    /// Fail (exit 99) unless this holds: p99<50ms, max<2s, error_rate<1%, rate>1000/s; may be repeated.
    #[arg(long, value_name = "EXPR")]
    threshold: Vec<Threshold>,
}

/// Makes the run and reports it.
pub(crate) fn run(arguments: &RunArguments, given: &Given<'_>) -> Outcome {
    let mut plan = arguments
        .plan(given)
        .map_err(|error| (Exit::Usage, error))?;
    arguments
        .outputs
        .check(arguments.json.as_deref())
        .map_err(|error| (Exit::Usage, error))?;
    let (handle, stop) = stop_channel();
    let stop_at_signal = handle.clone();
    signals::on_signal(move || stop_at_signal.stop())
        .map_err(|error| (Exit::Failure, error.into()))?;
    let live = Shared::default();
    let exporting = arguments
        .exports
        .start(&live)
        .map_err(|error| (Exit::Usage, error))?;
    let mut progress = Progress::new(Terminal::of_standard_error(), plan.warmup);
    let fleet = loadgen::open_fleet(&plan, |opened| {
        progress.opening(opened);
        if stop.is_requested() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    progress.clear();
    let fleet = fleet.map_err(|error| (exit_of_error(&error), error.into()))?;
    if arguments.plan.is_none() {
        plan.scenarios.first_mut().executor = arguments.executor(fleet.size());
    }
    let mut abort = Abort::new(&plan);
    let outcome = loadgen::run_with_fleet(&plan, &fleet, stop, |second| {
        if abort.look(second) {
            handle.stop();
        }
        live.add(second);
        live.with(|live| progress.show(live));
    });
    progress.clear();
    exporting.finish();
    let result = outcome.map_err(|error| (exit_of_error(&error), error.into()))?;
    super::print(text::render(&result).as_bytes())?;
    if let Some(path) = &arguments.json {
        json::save(&result, path).map_err(|error| (Exit::Failure, error.into()))?;
        eprintln!("result written to {}", path.display());
    }
    arguments
        .outputs
        .write(&result)
        .map_err(|error| (Exit::Failure, error))?;
    Ok(match abort.fired() {
        Some(threshold) => {
            eprintln!("loadgen: ended early: {threshold} failed");
            Exit::Threshold
        }
        None => exit_of(&result),
    })
}

impl RunArguments {
    fn plan(&self, given: &Given<'_>) -> anyhow::Result<Plan> {
        if let Some(path) = &self.plan {
            return self.plan_from_file(path, given);
        }
        let mut plan = self.server.plan(&self.fleet)?;
        if self.activity.mode == Mode::Idle {
            self.check_idle()?;
        }
        self.check_model(given)?;
        plan.scenarios.first_mut().activity = self.activity.activity()?;
        let warmup = Duration::from_secs(if self.count.is_some() { 0 } else { 2 });
        plan.warmup = self.warmup.unwrap_or(warmup);
        plan.segment = self.segment;
        plan.start_at = self.start_at;
        plan.thresholds.clone_from(&self.threshold);
        Ok(plan)
    }

    fn plan_from_file(&self, path: &Path, given: &Given<'_>) -> anyhow::Result<Plan> {
        let file = super::plan::read(path)?;
        let target = self.server.target(file.target.as_ref())?;
        let fleet = self.fleet.spec_or(file.fleet.as_ref())?;
        let mut plan = file.into_plan(target, fleet);
        self.server.change(&mut plan, given);
        plan.devices = self.fleet.devices.or(plan.devices);
        super::plan::change_scenarios(&mut plan, self, given)?;
        plan.warmup = self.warmup.unwrap_or(plan.warmup);
        plan.segment = self.segment;
        plan.start_at = self.start_at;
        plan.thresholds.extend(self.threshold.iter().cloned());
        Ok(plan)
    }

    fn check_idle(&self) -> anyhow::Result<()> {
        let given = [
            (self.rate.is_some(), "--rate"),
            (self.connections.is_some(), "--connections"),
            (self.interval.is_some(), "--interval"),
            (self.count.is_some(), "--count"),
        ];
        match given.iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(anyhow!(
                "--mode idle only holds connections: {flag} means nothing there, leave it out"
            )),
            None => Ok(()),
        }
    }

    /// What only the open model knows means nothing in the closed one.
    fn check_model(&self, given: &Given<'_>) -> anyhow::Result<()> {
        let open = self.rate.is_some() || self.interval.is_some();
        let of_open = [
            (given.has("arrivals"), "--arrivals"),
            (self.max_in_flight.is_some(), "--max-in-flight"),
        ];
        match of_open.iter().find(|(given, _)| *given && !open) {
            Some((_, flag)) => Err(anyhow!(
                "{flag} is for the open model: say --rate N/s or --interval TIME with it, or leave it out"
            )),
            None => Ok(()),
        }
    }

    /// When attempts start; some of it depends on how many devices there are.
    fn executor(&self, devices: usize) -> Executor {
        let duration = self.duration.unwrap_or(Duration::from_secs(30));
        if self.activity.mode == Mode::Idle {
            return Executor::Hold(Hold { duration });
        }
        let until = match self.count {
            Some(count) => Limit::Count(count),
            None => Limit::DurationSeconds(duration),
        };
        let once_each = |interval: Duration| devices as f64 / interval.as_secs_f64();
        match self.rate.or_else(|| self.interval.map(once_each)) {
            Some(rate_per_second) => Executor::ConstantArrivalRate(ConstantArrivalRate {
                rate_per_second,
                arrivals: self.arrivals.into(),
                max_in_flight: self.max_in_flight,
                until,
            }),
            None => {
                let at_a_time = self.connections.unwrap_or(devices.min(MOST_BY_DEFAULT));
                Executor::ConstantDevices(ConstantDevices::new(at_a_time, until))
            }
        }
    }
}

/// Attempts at a time when nothing is said about it.
const MOST_BY_DEFAULT: usize = 64;

pub(super) fn exit_of(result: &RunResult) -> Exit {
    if result.run.interrupted {
        Exit::Interrupted
    } else if result.validity.verdict == Verdict::Void {
        Exit::Void
    } else if !result.thresholds_hold() {
        Exit::Threshold
    } else {
        Exit::Pass
    }
}

pub(crate) fn exit_of_error(error: &RunError) -> Exit {
    match error {
        RunError::Fleet(FleetError::Stopped) => Exit::Interrupted,
        RunError::Thread(_) | RunError::Runtime(_) | RunError::ShardDied => Exit::Failure,
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_of_this_program_is_no_mistake_of_its_user() {
        assert_eq!(exit_of_error(&RunError::ShardDied), Exit::Failure);
        assert_eq!(exit_of_error(&RunError::NothingEchoed), Exit::Usage);
    }
}
