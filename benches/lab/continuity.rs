//! `lab continuity`: ten reloads and a take-over under load, and whether anything was lost.
//!
//! ```text
//! load ─▶ four runs of loadgen at once: requests on kept connections over HTTP/1.1 and HTTP/2, full handshakes, resumptions
//!         while the gateway is reloaded, and then another process takes over from it
//! report  what each of them lost, which must be nothing
//! ```
//!
//! Conducts the experiment; what counts as a loss is said in [`report`].

mod load;
mod report;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use loadgen::report::Host;
use loadgen::{RunError, RunResult, Stop};

use crate::admin;
use crate::cli::Exit;
use crate::cores::Cores;
use crate::gateway_process::{GatewayProcess, PKI, Variation};
use crate::session::Session;
use crate::upstream_process::UpstreamProcess;
use crate::{fleet, output};
use load::{Choices, Load};
use report::{Driven, Report, Restart};

/// Arguments of `lab continuity`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo lab continuity
  cargo lab continuity --quick --out my-report")]
pub(crate) struct Arguments {
    /// Folder for the report [default: lab-out/continuity-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A quarter of the load, in a third of the time
    #[arg(long)]
    quick: bool,
    /// Keep the work folder: certificates, configurations, logs
    #[arg(long)]
    keep: bool,
}

/// Runs the experiment, prints its table, writes the report.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<Exit> {
    let session = Session {
        command: "continuity",
        out: arguments.out.as_ref(),
        keep: arguments.keep,
    };
    let conducted = session.report(
        |work, stop| conduct(Choices::new(arguments.quick), work, stop),
        Report::text,
        Report::html,
    )?;
    let Some(report) = conducted else {
        return Ok(Exit::Stopped);
    };
    Ok(match report.passed {
        true => Exit::Passed,
        false => Exit::Failed,
    })
}

/// The whole experiment; `None` if it was stopped from outside.
fn conduct(choices: Choices, work: &Path, stop: &Stop) -> anyhow::Result<Option<Report>> {
    let (started_at, began, host) = (output::now(), Instant::now(), Host::here());
    fleet::make(&work.join(PKI), choices.devices)?;
    let cores = Cores::choose()?;
    cores.stay_with_generator()?;
    let upstream = UpstreamProcess::start(work)?;
    let variation = Variation {
        // Reloads are asked for here, one by one.
        watch: Some(false),
        tickets: Some("self_contained"),
        handover: Some(choices.grace),
        ..Variation::default()
    };
    let start = |variation: &Variation, name: &str| {
        GatewayProcess::start_with(variation, name, work, upstream.address, cores)
    };
    let old = start(&variation, "gateway")?;
    eprintln!(
        "{:.0} requests/s on kept connections and {:.0} new connections/s for {} s",
        choices.requests_per_second,
        choices.connections_per_second,
        choices.duration.as_secs()
    );
    let runs: Vec<(Load, JoinHandle<Result<RunResult, RunError>>)> = Load::ALL
        .into_iter()
        .map(|load| {
            let (plan, stop) = (load.plan(&choices, old.devices, work), stop.clone());
            let run = std::thread::spawn(move || loadgen::run(&plan, stop, |_| ()));
            (load, run)
        })
        .collect();
    pause(choices.warmup, stop);
    for number in 1..=choices.reloads {
        pause(choices.between_reloads(), stop);
        eprintln!("reload {number} of {}", choices.reloads);
        old.reload()?;
    }
    pause(choices.between_reloads(), stop);
    let reloads_done =
        admin::metrics(old.admin)?.sum("gateway_reloads_total", &[("outcome", "ok")]);
    eprintln!("another process takes over");
    let asked = Instant::now();
    let taking_over = Variation {
        takes_over: true,
        ..variation
    };
    let new = start(&taking_over, "successor")?;
    if new.devices != old.devices {
        bail!(
            "the new process listens on {}, not {}",
            new.devices,
            old.devices
        );
    }
    let ready_after = new.ready_after;
    let ended_well = old.wait_for_end(choices.grace + Duration::from_secs(5), stop);
    let drained_after = asked.elapsed();
    let mut driven = Vec::new();
    for (load, run) in runs {
        let run = run
            .join()
            .map_err(|_| anyhow::anyhow!("loadgen panicked"))?;
        let run = run.with_context(|| format!("{} could not be driven", load.title()))?;
        driven.push(Driven { load, run });
    }
    if stop.is_requested() {
        return Ok(None);
    }
    let restart = Restart {
        ready_after,
        drained_after,
        ended_well: ended_well?,
    };
    Ok(Some(Report::new(
        started_at,
        began.elapsed(),
        new.version.clone(),
        host,
        choices,
        reloads_done as u64,
        restart,
        driven,
    )))
}

/// Waits, unless it is stopped from outside.
fn pause(time: Duration, stop: &Stop) {
    let until = Instant::now() + time;
    while Instant::now() < until && !stop.is_requested() {
        std::thread::sleep(Duration::from_millis(10));
    }
}
