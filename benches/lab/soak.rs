//! `lab soak`: mixed traffic with faults for a long time.
//!
//! Several load generators run side by side; meanwhile the upstream is killed and returns, the gateway reloads, and clients
//! that are none knock. What must hold then is said in [`report`].

mod faults;
mod report;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use clap::Args;
use loadgen::plan::{ConstantArrivalRate, Executor, Limit, Mode, Protocol, Target};
use loadgen::{Plan, RunResult, Stop};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::circumstances::Begun;
use crate::cli::{Exit, positive_duration};
use crate::cores::Cores;
use crate::gateway_process::{GatewayProcess, PKI};
use crate::resources::{descriptors, resident};
use crate::session::Session;
use crate::upstream_process::UpstreamProcess;
use crate::{admin, client, fleet};
use faults::{Fault, Faults};
use report::{Findings, Report, Traffic};

/// From one fault to the next.
const PAUSE: Duration = Duration::from_secs(2);
/// After the upstream has returned, connections that it had are still found dead.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Between two looks at memory.
const LOOK: Duration = Duration::from_secs(1);
/// Time for what the devices have closed to be gone at the gateway.
const SETTLE: Duration = Duration::from_secs(12);

/// Arguments of `lab soak`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo lab soak
  cargo lab soak --duration 60s")]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, value_name = "TIME", value_parser = positive_duration, default_value = "20m")]
    duration: Duration,
    /// Devices of the fleet
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=2000))]
    devices: u32,
    /// Folder for the report [default: lab-out/soak-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Keep the work folder: certificates, configuration, logs
    #[arg(long)]
    keep: bool,
}

/// Everything that the experiment was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// How long, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "duration_seconds")]
    pub(crate) duration: Duration,
    /// Devices of the fleet.
    pub(crate) devices: usize,
    /// Seed of everything random.
    pub(crate) seed: u64,
}

/// Soaks, prints the table, writes the report.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<Exit> {
    let session = Session {
        command: "soak",
        out: arguments.out.as_ref(),
        keep: arguments.keep,
    };
    let choices = Choices {
        duration: arguments.duration,
        devices: arguments.devices as usize,
        seed: arguments.seed,
    };
    let conducted = session.report(
        |work, stop| conduct(&choices, work, stop),
        report::text,
        report::html,
    )?;
    Ok(match conducted {
        None => Exit::Stopped,
        Some(report) if report.passed => Exit::Passed,
        Some(_) => Exit::Failed,
    })
}

/// Everything in order; `None` if it was stopped from outside.
fn conduct(choices: &Choices, work: &Path, stop: &Stop) -> anyhow::Result<Option<Report>> {
    let begun = Begun::now();
    fleet::make(&work.join(PKI), choices.devices)?;
    let cores = Cores::choose()?;
    cores.stay_with_generator()?;
    let upstream = UpstreamProcess::start(work)?;
    let gateway = GatewayProcess::start("soak", work, upstream.address, cores)?;
    let device = client::fleet(&work.join(PKI), 1)?
        .pop()
        .context("there is no device")?;
    let mut faults = Faults::new(work, &gateway, upstream, device, choices.seed);
    let before = own_descriptors(&gateway)?;
    let mut findings = Findings::default();
    let mut outages = Vec::new();

    let plans = plans(choices, gateway.devices, work);
    let runs = std::thread::scope(|scope| {
        let running: Vec<_> = plans
            .iter()
            .map(|(title, plan)| {
                let stop = stop.clone();
                (
                    *title,
                    scope.spawn(move || loadgen::run(plan, stop, |_| ())),
                )
            })
            .collect();
        let mut next = Instant::now() + PAUSE;
        let mut round = Fault::ALL.iter().cycle();
        let mut broken = None;
        while running.iter().any(|(_, run)| !run.is_finished()) {
            std::thread::sleep(LOOK);
            match resident(gateway.pid()) {
                Ok(memory) => findings.resident.push(memory.now),
                Err(error) => broken = Some(error),
            }
            if Instant::now() < next || broken.is_some() {
                continue;
            }
            if let Some(fault) = round.next() {
                match faults.make(*fault) {
                    Ok(away) => outages.extend(away),
                    Err(error) => broken = Some(error.context(fault.title())),
                }
                *findings.faults.entry(*fault).or_default() += 1;
            }
            next = Instant::now() + PAUSE;
        }
        let runs = running.into_iter().map(|(title, run)| {
            let run = run.join().map_err(|_| anyhow!("a load generator died"))?;
            Ok((title, run?))
        });
        let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
        broken.map_or(Ok(runs), Err)
    })?;
    if stop.is_requested() {
        return Ok(None);
    }

    for (title, run) in &runs {
        findings.failed_without_outage += failed_outside(run, &outages)?;
        findings.traffic.push(traffic(title, run));
    }
    let until = Instant::now() + SETTLE;
    let page = loop {
        let page = admin::metrics(gateway.admin)?;
        if page.sum("gateway_connections_open", &[]) == 0.0 || Instant::now() > until {
            break page;
        }
        std::thread::sleep(LOOK);
    };
    let requests = |class| page.sum("gateway_requests_total", &[("status", class)]) as u64;
    findings.gateway_ok = requests("2xx");
    findings.gateway_5xx = requests("5xx");
    findings.connections_left = page.sum("gateway_connections_open", &[]) as u64;
    findings.descriptors_left = own_descriptors(&gateway)? - before;
    let log = std::fs::read_to_string(work.join("soak.log")).context("cannot read the log")?;
    findings.panics = log.lines().filter(|line| line.contains("panicked")).count() as u64;
    Ok(Some(Report::new(begun.end(cores), choices, findings)))
}

/// Descriptors of the gateway without those of its connections to the upstream, which it may keep.
fn own_descriptors(gateway: &GatewayProcess) -> anyhow::Result<i64> {
    let page = admin::metrics(gateway.admin)?;
    let upstream = page.sum("gateway_upstream_connections_open", &[]) as i64;
    Ok(descriptors(gateway.pid())? as i64 - upstream)
}

/// What is done side by side, and what it is called.
fn plans(choices: &Choices, address: SocketAddr, work: &Path) -> Vec<(&'static str, Plan)> {
    let plan = |mode: Mode, protocol, path: &str, rate: f64, payload| {
        let target = Target {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: address.port(),
            path: path.to_owned(),
            connect_to: Some(address),
        };
        let executor = ConstantArrivalRate::poisson(rate, Limit::DurationSeconds(choices.duration));
        let mut plan = Plan::new(target, work.join(PKI)).with_scenario(
            Executor::ConstantArrivalRate(executor),
            mode.activity(protocol, payload),
        );
        plan.devices = Some(choices.devices);
        plan.warmup = Duration::ZERO;
        plan.shards = Some(1);
        plan.seed = choices.seed;
        plan
    };
    let (http1, h2) = (Protocol::Http1, Protocol::H2);
    vec![
        (
            "telemetry, HTTP/1.1",
            plan(Mode::Telemetry, http1, "/", 50.0, 256),
        ),
        (
            "telemetry, HTTP/2",
            plan(Mode::Telemetry, h2, "/", 50.0, 256),
        ),
        (
            "mixed with reconnects, HTTP/1.1",
            plan(Mode::Mixed, http1, "/echo", 30.0, 4096),
        ),
        (
            "mixed with reconnects, HTTP/2",
            plan(Mode::Mixed, h2, "/echo", 30.0, 4096),
        ),
        ("full reconnects", plan(Mode::Full, http1, "/", 10.0, 0)),
        (
            "uploads of 1 MB",
            plan(Mode::Telemetry, h2, "/sink", 2.0, 1_000_000),
        ),
        (
            "downloads of 1 MB",
            plan(Mode::Resume, http1, "/bytes/1000000", 2.0, 0),
        ),
    ]
}

fn traffic(title: &str, run: &RunResult) -> Traffic {
    let before = &run.before_window;
    let mut failed = BTreeMap::new();
    for error in run.errors.iter().chain(&before.errors) {
        let kind = format!("{} {}", error.class, error.code);
        *failed.entry(kind.trim().to_owned()).or_default() += error.count;
    }
    Traffic {
        title: title.to_owned(),
        started: run.counts.started + before.counts.started,
        ok: run.counts.ok + before.counts.ok,
        failed,
    }
}

/// Attempts that failed in a second in which the upstream was not away.
fn failed_outside(run: &RunResult, outages: &[(Instant, Instant)]) -> anyhow::Result<u64> {
    let started = OffsetDateTime::parse(&run.run.started_at, &Rfc3339)
        .context("loadgen says no time of day")?;
    let ago = SystemTime::now()
        .duration_since(started.into())
        .unwrap_or_default();
    let now = Instant::now();
    let origin = now.checked_sub(ago).unwrap_or(now);
    let failed = run.seconds.iter().filter(|second| {
        let from = origin + Duration::from_secs(second.second);
        let to = from + Duration::from_secs(1);
        !outages
            .iter()
            .any(|(gone, back)| to >= *gone && from <= *back + AFTERMATH)
    });
    Ok(failed.map(|second| second.failed).sum())
}
