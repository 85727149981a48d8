//! `loadgen capacity`: the most that a server carries.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use loadgen::capacity::search::Bounds;
use loadgen::capacity::{Order, Progress, find};
use loadgen::plan::Threshold;
use loadgen::report::capacity::{CapacityVerdict, ProbeResult, Variable, save, text};
use loadgen::report::html;
use loadgen::stop_channel;

use super::activity::ActivityArguments;
use super::exit::Exit;
use super::fleet::FleetArguments;
use super::outputs::{check_files, write};
use super::run::exit_of_error;
use super::server::ServerArguments;
use super::value::{self, Arrivals, Mode};
use super::{Outcome, signals};

/// Arguments of `loadgen capacity`.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
The answer is the highest load at which every --threshold holds, the server keeps up (it is not 1 % further behind at a window's end than
at its begin), and the generator was up to its task. Without --threshold: p99<1s and error_rate<1%.

Examples:
  loadgen capacity --target https://127.0.0.1:8443 --pki pki --watch-pid 4711
  loadgen capacity --target https://127.0.0.1:8443 --pki pki --mode resume --threshold 'p99<50ms' --threshold 'error_rate<0.1%'
  loadgen capacity --target https://127.0.0.1:8443 --pki pki --search requests --from 2000 --json capacity.json --html capacity.html
  loadgen capacity --target https://127.0.0.1:8443 --pki pki --search devices --interval 30s --watch-pid 4711

Exit codes:
  0    the maximum was found, or everything up to --to holds
  2    a flag, a file or the target cannot be used as given
  4    inconclusive: it could not be told within the bounds of the search
  5    void: only the generator limited the load; the maximum is at least what was reached
  99   not even the least load holds
  105  stopped from outside; what was known by then was still written"
)]
pub(crate) struct CapacityArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    fleet: FleetArguments,
    /// What to search for.
    #[arg(long, value_enum, default_value = "connections")]
    search: Search,
    #[command(flatten)]
    activity: ActivityArguments,
    /// How arrivals are spread.
    #[arg(long, value_enum, default_value = "uniform")]
    arrivals: Arrivals,
    /// How often a device with an open connection sends [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration)]
    interval: Option<Duration>,
    /// A condition on each probe: p99<50ms, max<2s, error_rate<1%, rate>1000/s; may be repeated [default: p99<1s, error_rate<1%].
    #[arg(long, value_name = "EXPR")]
    threshold: Vec<Threshold>,
    /// First load: operations per second, or devices [default: 100/s, or devices that send 20/s].
    #[arg(long, value_name = "LOAD", value_parser = value::load)]
    from: Option<f64>,
    /// Highest load to try [default: 1000000/s, or all devices].
    #[arg(long, value_name = "LOAD", value_parser = value::load)]
    to: Option<f64>,
    /// Width of the final gap between what holds and what fails.
    #[arg(long, value_name = "PERCENT", value_parser = value::percentage, default_value = "3%")]
    precision: f64,
    /// Load before each window, whole seconds.
    #[arg(long, value_name = "TIME", value_parser = value::whole_seconds, default_value = "2s")]
    settle: u64,
    /// Window of a probe, whole seconds; at low rates it is longer.
    #[arg(long, value_name = "TIME", value_parser = value::whole_seconds, default_value = "8s")]
    window: u64,
    /// Window of the confirmation at the end, whole seconds.
    #[arg(long, value_name = "TIME", value_parser = value::whole_seconds, default_value = "24s")]
    confirm: u64,
    /// Looks at one load at the most.
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<u32>, default_value = "3")]
    looks: u32,
    /// Probes at the most.
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<u32>, default_value = "80")]
    probes: u32,
    /// Do not overload the server at the end to see whether it recovers.
    #[arg(long)]
    no_overload: bool,
    /// For the sizing line: the time in which the fleet reconnects.
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration, default_value = "1m")]
    within: Duration,
    /// Write the result to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page that needs nothing else to be read.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What can be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Search {
    /// New connections per second: full, resumed or mixed (--mode).
    Connections,
    /// Requests per second on open connections.
    Requests,
    /// Devices with an open connection, each of which sends every --interval.
    Devices,
}

/// First load if nothing is said, in operations per second.
const FIRST_RATE: f64 = 100.0;
/// Overload at the end, as a multiple of what fails.
const OVERLOAD: f64 = 1.5;
/// What must hold when nothing is said about it.
const DEFAULT_CONDITIONS: [&str; 2] = ["p99<1s", "error_rate<1%"];

/// Searches and reports.
pub(crate) fn run(arguments: &CapacityArguments) -> Outcome {
    let usage = |error| (Exit::Usage, error);
    let mut order = arguments.order().map_err(usage)?;
    check_files(&[
        ("--json", arguments.json.as_deref()),
        ("--html", arguments.html.as_deref()),
    ])
    .map_err(usage)?;
    let (handle, stop) = stop_channel();
    signals::on_signal(move || handle.stop()).map_err(|error| (Exit::Failure, error.into()))?;
    let fleet = loadgen::open_fleet(&order.plan, |_| {
        if stop.is_requested() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let fleet = fleet.map_err(|error| (exit_of_error(&error), error.into()))?;
    if order.variable == Variable::Devices {
        order.bounds.to = order.bounds.to.min(fleet.size() as f64);
    }
    order.bounds.from = order.bounds.from.min(order.bounds.to);
    let mut line = Line::new();
    let outcome = find(&order, &fleet, stop, |progress| line.show(&progress));
    line.clear();
    let result = outcome.map_err(|error| (exit_of_error(&error), error.into()))?;
    super::print(text::render(&result).as_bytes())?;
    let failure = |error| (Exit::Failure, error);
    if let Some(path) = &arguments.json {
        save(&result, path).map_err(|error| failure(error.into()))?;
        eprintln!("result written to {}", path.display());
    }
    if let Some(path) = &arguments.html {
        write("--html", path, || html::capacity::page(&result)).map_err(failure)?;
    }
    Ok(match result.verdict {
        _ if result.run.interrupted => Exit::Interrupted,
        CapacityVerdict::Found | CapacityVerdict::HoldsAll => Exit::Pass,
        CapacityVerdict::GeneratorLimited => Exit::Void,
        CapacityVerdict::HoldsNothing => Exit::Threshold,
        CapacityVerdict::Inconclusive => Exit::Inconclusive,
    })
}

impl CapacityArguments {
    fn order(&self) -> anyhow::Result<Order> {
        let mut plan = self.server.plan(&self.fleet)?;
        let mode = self.mode()?;
        let interval = match (self.search, self.interval) {
            (Search::Connections, Some(_)) => {
                return Err(anyhow!(
                    "--interval is for --search requests and --search devices: leave it out"
                ));
            }
            (_, interval) => interval.unwrap_or(Duration::from_secs(30)),
        };
        plan.scenarios.first_mut().activity = self.activity.activity_in(mode)?;
        plan.thresholds.clone_from(&self.threshold);
        if plan.thresholds.is_empty() {
            plan.thresholds = DEFAULT_CONDITIONS
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, _>>()?;
        }
        let variable = match self.search {
            Search::Connections => Variable::Connections,
            Search::Requests => Variable::Requests,
            Search::Devices => Variable::Devices,
        };
        let to = self.to.unwrap_or(1e6);
        let first = match variable {
            Variable::Connections | Variable::Requests => FIRST_RATE,
            // Enough to send so many in a second.
            Variable::Devices => (FIRST_RATE * interval.as_secs_f64() / 5.0).ceil(),
        };
        let from = self.from.unwrap_or(first.min(to));
        if from > to {
            return Err(anyhow!("--from {from} lies above --to {to}"));
        }
        Ok(Order {
            plan,
            variable,
            arrivals: self.arrivals.into(),
            interval,
            bounds: Bounds {
                from,
                lowest: 1.0_f64.min(from),
                to,
                precision: self.precision,
                whole: variable == Variable::Devices,
                looks: self.looks,
                probes: self.probes,
                overload: (!self.no_overload).then_some(OVERLOAD),
            },
            settle_seconds: self.settle,
            window_seconds: self.window,
            confirm_seconds: self.confirm,
            within: self.within,
        })
    }

    fn mode(&self) -> anyhow::Result<Mode> {
        match (self.search, self.activity.mode) {
            (Search::Connections, mode @ (Mode::Full | Mode::Resume | Mode::Mixed)) => Ok(mode),
            (Search::Connections, _) => Err(anyhow!(
                "--mode: connections are full, resume or mixed; for the others say --search requests or --search devices"
            )),
            // Full is what is taken to be meant if nothing is said.
            (Search::Requests | Search::Devices, Mode::Full | Mode::Telemetry) => {
                Ok(Mode::Telemetry)
            }
            (Search::Requests | Search::Devices, _) => {
                Err(anyhow!("--mode is for --search connections: leave it out"))
            }
        }
    }
}

/// What is shown on standard error meanwhile: a line that changes, on a terminal, and one for each probe that has ended.
struct Line {
    terminal: bool,
    probe: String,
}

impl Line {
    fn new() -> Line {
        Line {
            terminal: io::stderr().is_terminal(),
            probe: String::new(),
        }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        // Progress that cannot be shown is no reason to end a search.
        let _ = match progress {
            Progress::Begins(probe) => {
                self.probe =
                    format!("{:?} {}", probe.purpose, text::load(probe.load)).to_lowercase();
                Ok(())
            }
            Progress::Second(second) if self.terminal => write!(
                io::stderr(),
                "\r\x1b[K{}: {} s, {}/s done, p99 {:.1} ms, failed {}",
                self.probe,
                second.index + 1,
                second.ok,
                second.response.value_at_quantile(0.99) as f64 / 1e3,
                second.failed + second.overflow
            ),
            Progress::Second(_) => Ok(()),
            Progress::Ended(probe) => self.ended(probe),
        };
    }

    fn ended(&self, probe: &ProbeResult) -> io::Result<()> {
        self.clear();
        let reason = probe.generator.reasons.first();
        let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
        writeln!(
            io::stderr(),
            "{}: {}, {}/s done, p99 {} ms{reason}",
            self.probe,
            probe.answer.name(),
            text::load(probe.achieved_per_second),
            probe
                .p99_ms
                .map_or("-".to_owned(), |p99| format!("{p99:.1}")),
        )
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
