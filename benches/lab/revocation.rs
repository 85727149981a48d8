//! `lab revocation`: how soon a revoked device is gone, and what being able to revoke costs.
//!
//! ```text
//! lists ─▶ live        devices that are connected are revoked: how soon their connections end, and only theirs
//!       └▶ cost        a long list: CPU of handshakes beside a gateway without lists, start and memory
//!          reconnect   bytes of a reconnect, with each kind of ticket
//! ```
//!
//! Conducts the experiments; what becomes of their figures is said in [`report`].

mod bar;
mod choices;
mod client_hello;
mod cost;
mod held;
mod html;
mod lists;
mod live;
mod operation;
mod reconnect;
mod report;
mod text;

#[cfg(test)]
mod fixture;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use loadgen::Stop;
use loadgen::report::Host;

use crate::cli::{Exit, positive_duration};
use crate::cores::Cores;
use crate::gateway_process::{GatewayProcess, PKI, Variation};
use crate::session::Session;
use crate::upstream_process::UpstreamProcess;
use crate::{fleet, output};
use choices::Choices;
use lists::Lists;
use live::Trigger;
use report::{Circumstances, Findings, Report};

/// Arguments of `lab revocation`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo lab revocation
  cargo lab revocation --rounds 25 --out my-report
  cargo lab revocation --quick")]
pub(crate) struct Arguments {
    /// Devices that are connected when every ninth of them is revoked [default: 9000; with --quick: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=15_000))]
    devices: Option<u32>,
    /// Entries of the long list [default: 1000000; with --quick: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    entries: Option<u32>,
    /// How often the cost of the long list is measured; twice in each round [default: 15; with --quick: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Length of one measurement of cost [default: 1s; with --quick: 300ms]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Folder for the report [default: lab-out/revocation-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the order [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Half a minute instead of some six: shows that it works; times and CPU are measured and not judged
    #[arg(long)]
    quick: bool,
    /// Keep the work folder: certificates, lists, configurations, logs
    #[arg(long)]
    keep: bool,
}

impl Arguments {
    fn choices(&self) -> Choices {
        let quick = self.quick;
        let of = |thorough: usize, hasty: usize| if quick { hasty } else { thorough };
        let milliseconds =
            |thorough, hasty| Duration::from_millis(if quick { hasty } else { thorough });
        Choices {
            devices: self
                .devices
                .map_or(of(9000, 500), |devices| devices as usize),
            live_rounds: of(3, 1),
            entries: self
                .entries
                .map_or(of(1_000_000, 20_000), |entries| entries as usize),
            rounds: self.rounds.map_or(of(15, 1), usize::from),
            duration: self.duration.unwrap_or(milliseconds(1000, 300)),
            warmup: milliseconds(300, 100),
            at_a_time: 16,
            devices_full: of(1000, 50),
            devices_resumed: of(200, 20),
            reconnects: of(1000, 100),
            seed: self.seed.unwrap_or_else(|| rand::random::<u32>().into()),
            quick,
        }
    }
}

/// Runs the experiments, prints their tables, writes the report.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<Exit> {
    let session = Session {
        command: "revocation",
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
    } else {
        Exit::Failed
    })
}

/// Everything in order; `None` if it was stopped from outside.
fn conduct(choices: &Choices, work: &Path, stop: &Stop) -> anyhow::Result<Option<Report>> {
    let began = Instant::now();
    let started_at = output::now();
    let host = Host::here();
    eprintln!(
        "making certificates for {} devices, and lists of up to {} entries",
        crate::number::count(choices.fleet() as u64),
        crate::number::count(choices.entries as u64)
    );
    fleet::make(&work.join(PKI), choices.fleet())?;
    let lists = Lists::make(work, choices)?;
    let cores = Cores::choose()?;
    cores.stay_with_generator()?;
    let upstream = UpstreamProcess::start(work)?;
    let laboratory = Laboratory {
        choices,
        work,
        upstream: upstream.address,
        cores,
        stop,
    };

    let mut findings = Findings::default();
    for round in 0..choices.live_rounds {
        for trigger in Trigger::ALL {
            eprintln!(
                "revoking connected devices {}, round {} of {}",
                trigger.title(),
                round + 1,
                choices.live_rounds
            );
            let live = live::conduct(&laboratory, &lists, trigger, round)?;
            findings.live.push(live);
            if stop.is_requested() {
                return Ok(None);
            }
        }
    }
    eprintln!("bytes of a reconnect");
    findings.reconnects = reconnect::conduct(&laboratory)?;
    (findings.cells, findings.starts) = cost::conduct(&laboratory)?;
    if stop.is_requested() {
        return Ok(None);
    }
    let known = Circumstances {
        started_at,
        took: began.elapsed(),
        host,
        gateway_version: gateway::cli::VERSION.to_owned(),
        server_core: cores.server,
        generator_core: cores.generator,
    };
    Ok(Some(Report::new(known, choices, findings)))
}

/// What every experiment needs.
struct Laboratory<'run> {
    choices: &'run Choices,
    work: &'run Path,
    upstream: SocketAddr,
    cores: Cores,
    stop: &'run Stop,
}

impl Laboratory<'_> {
    fn gateway(&self, name: &str, variation: &Variation) -> anyhow::Result<GatewayProcess> {
        GatewayProcess::start_with(variation, name, self.work, self.upstream, self.cores)
    }
}
