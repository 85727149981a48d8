//! One way of sending a large body, and what it took.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use loadgen::measure::Verdict;
use loadgen::plan::{ConstantDevices, Executor, Limit, Mode, Protocol, Target};
use loadgen::{Plan, RunResult, Stop};
use serde::{Deserialize, Serialize};

use crate::compare::running::Running;
use crate::compare::server::Server;
use crate::gateway_process::PKI;
use crate::resources::{forget_peak, resident};

/// Longest time for one body.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How bodies go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Way {
    /// Which way.
    pub(crate) direction: Direction,
    /// Over which protocol of the device; to the upstream it is HTTP/1.1.
    pub(crate) protocol: Protocol,
    /// Over how many connections at once, each with its part of the bytes.
    pub(crate) connections: usize,
}

/// Towards whom the body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// To the device.
    Download,
    /// To the upstream.
    Upload,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// Through whom.
    pub(crate) server: Server,
    /// How.
    pub(crate) way: Way,
    /// In which round.
    pub(crate) round: usize,
    /// Bytes of all bodies.
    pub(crate) bytes: u64,
    /// From the first connection to the last byte, of all of them.
    pub(crate) seconds: f64,
    /// CPU of the server.
    pub(crate) cpu_seconds: f64,
    /// Resident memory of the server before.
    pub(crate) resident_before: u64,
    /// The most during it.
    pub(crate) resident_peak: u64,
    /// Whether the generator was healthy.
    pub(crate) verdict: Verdict,
    /// Its doubts.
    pub(crate) reasons: Vec<String>,
}

impl Way {
    /// Every way, in the order of the report.
    pub(super) fn all() -> Vec<Way> {
        let mut ways = Vec::new();
        for direction in [Direction::Download, Direction::Upload] {
            for protocol in [Protocol::Http1, Protocol::H2] {
                for connections in [1, 4] {
                    ways.push(Way {
                        direction,
                        protocol,
                        connections,
                    });
                }
            }
        }
        ways
    }

    /// Its name in reports.
    pub(super) fn title(self) -> String {
        let direction = match self.direction {
            Direction::Download => "download",
            Direction::Upload => "upload",
        };
        let protocol = self.protocol.name();
        let connections = match self.connections {
            1 => "1 connection".to_owned(),
            many => format!("{many} connections"),
        };
        format!("{direction}, {protocol}, {connections}")
    }

    fn plan(self, address: SocketAddr, work: &Path, bytes: u64, pids: &[u32]) -> Plan {
        let part = bytes / self.connections as u64;
        let target = Target {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: address.port(),
            path: match self.direction {
                Direction::Download => format!("/bytes/{part}"),
                Direction::Upload => "/sink".to_owned(),
            },
            connect_to: Some(address),
        };
        // A download begins with its connection: of so many bytes a handshake is no part.
        let mode = match self.direction {
            Direction::Download => Mode::Full,
            Direction::Upload => Mode::Telemetry,
        };
        let activity = mode.activity(self.protocol, part);
        let once_each = Limit::Count(self.connections as u64);
        let executor = ConstantDevices::new(self.connections, once_each);
        let mut plan = Plan::new(target, work.join(PKI))
            .with_scenario(Executor::ConstantDevices(executor), activity);
        plan.devices = Some(self.connections);
        plan.warmup = Duration::ZERO;
        plan.timeout = TIMEOUT;
        // The generator has one core.
        plan.shards = Some(1);
        plan.watch_pids = pids.to_vec();
        plan
    }
}

impl Transfer {
    /// Sends `bytes` through `running`.
    pub(super) fn make(
        server: Server,
        running: &Running,
        way: Way,
        bytes: u64,
        work: &Path,
        stop: &Stop,
    ) -> anyhow::Result<Transfer> {
        let memory = || {
            let each = running.pids.iter().map(|pid| resident(*pid));
            each.collect::<anyhow::Result<Vec<_>>>()
        };
        for pid in &running.pids {
            forget_peak(*pid)?;
        }
        let before = memory()?;
        let plan = way.plan(running.address, work, bytes, &running.pids);
        let run = loadgen::run(&plan, stop.clone(), |_| ())?;
        let title = format!("{} through {}", way.title(), server.name());
        check(&run, way).with_context(|| title.clone())?;
        let watched = run.watched.as_ref().context("nobody was watched")?;
        Ok(Transfer {
            server,
            way,
            round: 0,
            bytes: bytes / way.connections as u64 * way.connections as u64,
            seconds: run.run.window_seconds,
            cpu_seconds: watched.cpu_seconds,
            resident_before: before.iter().map(|memory| memory.now).sum(),
            resident_peak: memory()?.iter().map(|memory| memory.peak).sum(),
            verdict: run.validity.verdict,
            reasons: run.validity.reasons.clone(),
        })
    }

    /// Megabytes (10⁶) per second.
    pub(super) fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds.max(1e-9)
    }

    /// CPU of the server, in seconds per gigabyte (10⁹).
    pub(super) fn cost(&self) -> f64 {
        self.cpu_seconds / (self.bytes as f64 / 1e9)
    }

    /// What memory grew by at most, in megabytes.
    pub(super) fn grown(&self) -> f64 {
        (self.resident_peak as f64 - self.resident_before as f64) / 1e6
    }
}

/// Every body must have arrived.
fn check(run: &RunResult, way: Way) -> anyhow::Result<()> {
    if run.run.interrupted {
        return Ok(());
    }
    if run.counts.ok != way.connections as u64 {
        let errors: Vec<String> = run
            .errors
            .iter()
            .map(|error| format!("{} {} at {}", error.class, error.code, error.when))
            .collect();
        bail!(
            "{} of {} bodies arrived ({})",
            run.counts.ok,
            way.connections,
            errors.join(", ")
        );
    }
    Ok(())
}
