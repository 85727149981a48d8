//! `lab demo`: a fleet, a gateway and an upstream on this machine, and what each operation cost.
//!
//! Conducts the phases and hands over to the report; it measures nothing itself.

mod checks;
mod html;
mod phase;
mod progress;
mod report;
mod text;

#[cfg(test)]
mod fixture;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use loadgen::Stop;
use loadgen::plan::Target;
use loadgen::report::Host;

use crate::cli::{Exit, positive_duration};
use crate::cores::Cores;
use crate::gateway_process::{GatewayProcess, PKI};
use crate::session::Session;
use crate::upstream_process::UpstreamProcess;
use crate::{admin, fleet, output};
use phase::{Choices, Phase};
use progress::Progress;
use report::{PhaseReport, Placement, Report};

/// Arguments of `lab demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo lab demo
  cargo lab demo --devices 10000 --duration 20s --out my-report
  cargo lab demo --quick")]
pub(crate) struct Arguments {
    /// Devices in the fleet, each with a certificate of its own [default: 2000; with --quick: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=15_000))]
    devices: Option<u32>,
    /// Measured time of each phase; the cold phase ends when each device has connected once [default: 8s; with --quick: 1s]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Folder for the report [default: lab-out/demo-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A few seconds instead of most of a minute: shows that it works, not what it costs
    #[arg(long)]
    quick: bool,
    /// Keep the work folder: certificates, the gateway's configuration, logs
    #[arg(long)]
    keep: bool,
}

impl Arguments {
    fn choices(&self) -> Choices {
        let devices = match (self.devices, self.quick) {
            (Some(devices), _) => devices as usize,
            (None, false) => 2000,
            (None, true) => 100,
        };
        let seconds = if self.quick { 1 } else { 8 };
        Choices {
            devices,
            duration: self.duration.unwrap_or(Duration::from_secs(seconds)),
            warmup: Duration::from_millis(if self.quick { 300 } else { 1000 }),
            at_a_time: devices.min(8),
            telemetry_per_second: devices as f64,
            quick: self.quick,
        }
    }
}

/// Runs the demo, prints its table, writes its report.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<Exit> {
    let session = Session {
        command: "demo",
        out: arguments.out.as_ref(),
        keep: arguments.keep,
    };
    let conducted = session.report(
        |work, stop| conduct(&arguments.choices(), work, stop),
        text::render,
        html::render,
    )?;
    let Some(report) = conducted else {
        return Ok(Exit::Stopped);
    };
    Ok(if report.passed {
        Exit::Passed
    } else if report.void {
        Exit::Void
    } else {
        Exit::Failed
    })
}

/// All phases in order; `None` if it was stopped from outside.
fn conduct(choices: &Choices, work: &Path, stop: &Stop) -> anyhow::Result<Option<Report>> {
    let began = Instant::now();
    let started_at = output::now();
    // Before this thread is put on one core: making certificates may use all of them.
    let host = Host::here();
    let progress = Progress::new();
    progress.line(&format!(
        "making certificates for {} devices",
        crate::number::count(choices.devices as u64)
    ));
    fleet::make(&work.join(PKI), choices.devices)?;

    let cores = Cores::choose()?;
    cores.stay_with_generator()?;
    if cores.are_one() {
        progress.line(
            "only one core: server and generator share it, so rates and times include each other's work",
        );
    }
    let upstream = UpstreamProcess::start(work)?;
    let gateway = GatewayProcess::start("gateway", work, upstream.address, cores)?;
    progress.line(&format!(
        "gateway on {} (core {}), upstream on {} (core {})",
        gateway.devices, cores.server, upstream.address, cores.generator
    ));

    let mut phases = Vec::new();
    for phase in Phase::ALL {
        let measured = measure(phase, choices, work, &gateway, stop, &progress)?;
        if stop.is_requested() {
            return Ok(None);
        }
        phases.push(measured);
    }
    let placement = Placement {
        server_core: cores.server,
        generator_core: cores.generator,
    };
    let version = gateway.version.clone();
    let took = began.elapsed();
    Ok(Some(Report::new(
        started_at, took, version, host, placement, choices, phases,
    )))
}

fn measure(
    phase: Phase,
    choices: &Choices,
    work: &Path,
    gateway: &GatewayProcess,
    stop: &Stop,
    progress: &Progress,
) -> anyhow::Result<PhaseReport> {
    let plan = phase.plan(choices, target(gateway.devices), work, gateway.pid());
    let before = admin::settled_counts(gateway.admin)?;
    progress.begin(phase.title());
    let outcome = loadgen::run(&plan, stop.clone(), |second| progress.second(phase, second));
    let run =
        outcome.with_context(|| format!("the phase `{}` could not be driven", phase.title()))?;
    let after = admin::settled_counts(gateway.admin)?;
    let measured = PhaseReport::new(phase, run, after.since(&before));
    progress.end(&measured);
    Ok(measured)
}

fn target(address: SocketAddr) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
        path: "/telemetry".to_owned(),
        connect_to: None,
    }
}
