//! What is compared: operations whose CPU is counted, and idle connections whose memory is.

use std::path::Path;
use std::time::Duration;

use loadgen::Plan;
use loadgen::plan::{ConstantDevices, Executor, Hold, Limit, Mode, Protocol, Target};
use serde::{Deserialize, Serialize};

use crate::gateway_process::PKI;

/// Everything that the comparison was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// How often each operation of each server is measured; twice in each round.
    pub(crate) rounds: usize,
    /// Length of one measurement, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "duration_seconds")]
    pub(crate) duration: Duration,
    /// Load before it, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "warmup_seconds")]
    pub(crate) warmup: Duration,
    /// Operations at a time.
    pub(crate) at_a_time: usize,
    /// Devices that connect with full handshakes.
    pub(crate) devices_full: usize,
    /// Devices that resume.
    pub(crate) devices_resumed: usize,
    /// Open connections on which requests are made.
    pub(crate) devices_request: usize,
    /// Idle connections.
    pub(crate) devices_idle: usize,
    /// How often idle memory is measured.
    pub(crate) memory_rounds: usize,
    /// Seed of the order and of the resampling.
    pub(crate) seed: u64,
    /// Shortened: shows that it works.
    pub(crate) quick: bool,
}

/// What a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Connection with a full handshake, the chain verified before, and one GET.
    FullWarm,
    /// Connection with a resumed handshake and one GET.
    Resumed,
    /// GET on an open connection.
    Request,
    /// An idle connection, held after one request.
    IdleMemory,
}

impl Operation {
    /// Those whose CPU is counted.
    pub(crate) const TIMED: [Operation; 3] =
        [Operation::FullWarm, Operation::Resumed, Operation::Request];
    /// All.
    pub(crate) const ALL: [Operation; 4] = [
        Operation::FullWarm,
        Operation::Resumed,
        Operation::Request,
        Operation::IdleMemory,
    ];

    /// Its name in reports.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Operation::FullWarm => "full handshake + GET",
            Operation::Resumed => "resumed + GET",
            Operation::Request => "GET, keep-alive",
            Operation::IdleMemory => "idle connection",
        }
    }

    /// What its figures are.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Operation::IdleMemory => "KiB",
            _ => "µs",
        }
    }

    /// What loadgen is to do against `target`, with the certificates in the work folder, watching the processes `pids`.
    pub(crate) fn plan(self, choices: &Choices, target: Target, work: &Path, pids: &[u32]) -> Plan {
        let mut plan = Plan::new(target, work.join(PKI));
        // The generator has one core.
        plan.shards = Some(1);
        plan.watch_pids = pids.to_vec();
        plan.warmup = choices.warmup;
        plan.seed = choices.seed;
        // A slow server's queue is no failure.
        plan.timeout = Duration::from_secs(30);
        let (mode, devices) = match self {
            Operation::FullWarm => (Mode::Full, choices.devices_full),
            Operation::Resumed => (Mode::Resume, choices.devices_resumed),
            Operation::Request => (Mode::Telemetry, choices.devices_request),
            Operation::IdleMemory => (Mode::Idle, choices.devices_idle),
        };
        plan.devices = Some(devices);
        // Without anything to post loadgen sends GETs: what is compared is the way through the proxy.
        let activity = mode.activity(Protocol::Http1, 0);
        let duration = choices.duration;
        let executor = match mode {
            Mode::Idle => Executor::Hold(Hold { duration }),
            _ => at_a_time(choices, devices, Limit::DurationSeconds(duration)),
        };
        plan.with_scenario(executor, activity)
    }

    /// Each of the devices that will connect in full once, so that a chain cache holds them all.
    pub(crate) fn prime(choices: &Choices, target: Target, work: &Path, devices: usize) -> Plan {
        let mut plan = Operation::FullWarm.plan(choices, target, work, &[]);
        plan.devices = Some(devices);
        plan.scenarios.first_mut().executor =
            at_a_time(choices, devices, Limit::Count(devices as u64));
        plan.warmup = Duration::ZERO;
        plan
    }
}

fn at_a_time(choices: &Choices, devices: usize, until: Limit) -> Executor {
    let at_a_time = choices.at_a_time.min(devices);
    Executor::ConstantDevices(ConstantDevices::new(at_a_time, until))
}
