//! `lab throughput`: large bodies each way, through the gateway and through HAProxy in turn.
//!
//! Conducts the transfers; what becomes of their figures is said in [`report`].

mod html;
mod report;
mod text;
mod transfer;

#[cfg(test)]
mod fixture;

use std::path::{Path, PathBuf};

use clap::Args;
use loadgen::Stop;
use serde::{Deserialize, Serialize};

use crate::circumstances::Begun;
use crate::cli::Exit;
use crate::compare::running::{Installed, Running};
use crate::compare::server::Server;
use crate::cores::Cores;
use crate::fleet;
use crate::gateway_process::PKI;
use crate::order::Orders;
use crate::quota::Quota;
use crate::session::Session;
use crate::upstream_process::UpstreamProcess;
use report::Report;
use transfer::{Transfer, Way};

/// Devices that there must be: one for each connection.
const DEVICES: usize = 4;
/// Bytes that go each way before anything is measured: buffers have their size then.
const WARM_UP: u64 = 16_000_000;

/// Arguments of `lab throughput`.
#[derive(Debug, Args)]
#[command(after_help = "\
The servers get a share of a core by a control group, which takes the right to make one (root). Without it they have the whole core,
and rates are not judged.

Examples:
  cargo lab throughput
  cargo lab throughput --megabytes 200 --rounds 5
  cargo lab throughput --quick")]
pub(crate) struct Arguments {
    /// Megabytes (10⁶ bytes) of a body, or of all bodies where there are several at once [default: 1000; with --quick: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_000))]
    megabytes: Option<u32>,
    /// How often everything is measured; twice in each round [default: 2; with --quick: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Percent of a core that the servers have
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(5..=100), default_value_t = 50)]
    share: u8,
    /// Folder for the report [default: lab-out/throughput-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the order [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Seconds instead of minutes: shows that it works; rates are measured and not judged
    #[arg(long)]
    quick: bool,
    /// Keep the work folder: certificates, configurations, logs
    #[arg(long)]
    keep: bool,
}

/// Everything that the experiment was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// Bytes of all bodies of one transfer.
    pub(crate) bytes: u64,
    /// How often everything is measured; twice in each round.
    pub(crate) rounds: usize,
    /// Share of a core that the servers have.
    pub(crate) share: f64,
    /// Seed of the order and of the resampling.
    pub(crate) seed: u64,
    /// Shortened: shows that it works.
    pub(crate) quick: bool,
}

impl Arguments {
    fn choices(&self) -> Choices {
        Choices {
            bytes: u64::from(self.megabytes.unwrap_or(if self.quick { 20 } else { 1000 }))
                * 1_000_000,
            rounds: self.rounds.unwrap_or(if self.quick { 1 } else { 2 }).into(),
            share: f64::from(self.share) / 100.0,
            seed: self.seed.unwrap_or_else(|| rand::random::<u32>().into()),
            quick: self.quick,
        }
    }
}

/// Makes the transfers, prints their table, writes the report.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<Exit> {
    let session = Session {
        command: "throughput",
        out: arguments.out.as_ref(),
        keep: arguments.keep,
    };
    let choices = arguments.choices();
    let conducted = session.report(
        |work, stop| conduct(&choices, work, stop),
        text::render,
        html::render,
    )?;
    Ok(match conducted {
        None => Exit::Stopped,
        Some(report) if report.void => Exit::Void,
        Some(report) if report.passed => Exit::Passed,
        Some(_) => Exit::Failed,
    })
}

/// The gateway, and HAProxy where it is installed.
fn servers() -> Vec<Installed> {
    let gateway = Installed {
        server: Server::Fleetgate,
        program: PathBuf::new(),
        version: gateway::cli::VERSION.to_owned(),
    };
    let peer = Server::Haproxy.find().and_then(|program| {
        Some(Installed {
            server: Server::Haproxy,
            version: Server::Haproxy.version(&program)?,
            program,
        })
    });
    std::iter::once(gateway).chain(peer).collect()
}

/// Everything in order; `None` if it was stopped from outside.
fn conduct(choices: &Choices, work: &Path, stop: &Stop) -> anyhow::Result<Option<Report>> {
    let begun = Begun::now();
    fleet::make(&work.join(PKI), DEVICES)?;
    let cores = Cores::choose()?;
    cores.stay_with_generator()?;
    let upstream = UpstreamProcess::start(work)?;
    let installed = servers();
    let running = installed
        .iter()
        .map(|installed| {
            let name = installed.server.program();
            let running = Running::start(installed, name, work, upstream.address, cores)?;
            Ok((installed.server, running))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    for (server, running) in &running {
        for way in Way::all() {
            Transfer::make(*server, running, way, WARM_UP, work, stop)?;
        }
    }
    let pids: Vec<u32> = running
        .iter()
        .flat_map(|(_, running)| running.pids.clone())
        .collect();
    // They are never busy at once, so they can share it.
    let quota = match Quota::grant(&pids, choices.share, cores, work) {
        Ok(quota) => Some(quota),
        Err(error) => {
            eprintln!("lab: the servers keep their whole core: {error:#}");
            None
        }
    };

    let mut orders = Orders::new(choices.seed);
    let all: Vec<usize> = (0..running.len()).collect();
    let mut transfers = Vec::new();
    for round in 0..choices.rounds {
        for way in Way::all() {
            eprintln!("round {} of {}: {}", round + 1, choices.rounds, way.title());
            for index in orders.block(&all) {
                let Some((server, running)) = running.get(index) else {
                    continue;
                };
                let made = Transfer::make(*server, running, way, choices.bytes, work, stop)?;
                transfers.push(Transfer { round, ..made });
                if stop.is_requested() {
                    return Ok(None);
                }
            }
        }
    }
    let peer = installed.into_iter().nth(1).map(|peer| peer.version);
    let known = begun.end(cores);
    Ok(Some(Report::new(
        known,
        choices,
        peer,
        quota.is_some(),
        transfers,
    )))
}
