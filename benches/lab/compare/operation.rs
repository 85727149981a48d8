//! What is compared: operations whose CPU is counted, and idle connections whose memory is.

use std::path::Path;
use std::time::Duration;

use loadgen::Plan;
use loadgen::plan::{ConstantDevices, Executor, Hold, Limit, Mode, Part, Protocol, Target};
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

impl Choices {
    /// Devices of one measurement in which none has been there before: no two of a server's measurements have the same.
    fn devices_new(&self) -> usize {
        let new = self.devices_idle.saturating_sub(self.devices_full);
        (new / (2 * self.rounds.max(1))).clamp(1, MOST_NEW)
    }
}

/// What a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Connection with a full handshake of a device that has not been here before, and one GET.
    FullCold,
    /// Connection with a full handshake, the chain verified before, and one GET.
    FullWarm,
    /// Connection with a resumed handshake and one GET.
    Resumed,
    /// GET on an open connection, HTTP/1.1.
    Request,
    /// GET on an open connection, HTTP/2.
    RequestH2,
    /// GET of 64 KiB on an open connection, HTTP/1.1.
    Body,
    /// GET of 64 KiB on an open connection, HTTP/2.
    BodyH2,
    /// An idle connection, held after one request.
    IdleMemory,
}

/// Most devices of one measurement in which none has been there before.
const MOST_NEW: usize = 600;
/// What a large answer has.
const LARGE: &str = "/bytes/65536";

impl Operation {
    /// Those whose CPU is counted.
    pub(crate) const TIMED: [Operation; 7] = [
        Operation::FullCold,
        Operation::FullWarm,
        Operation::Resumed,
        Operation::Request,
        Operation::RequestH2,
        Operation::Body,
        Operation::BodyH2,
    ];
    /// All.
    pub(crate) const ALL: [Operation; 8] = [
        Operation::FullCold,
        Operation::FullWarm,
        Operation::Resumed,
        Operation::Request,
        Operation::RequestH2,
        Operation::Body,
        Operation::BodyH2,
        Operation::IdleMemory,
    ];

    /// Its name in reports.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Operation::FullCold => "full handshake + GET, device unknown",
            Operation::FullWarm => "full handshake + GET",
            Operation::Resumed => "resumed + GET",
            Operation::Request => "GET, keep-alive",
            Operation::RequestH2 => "GET, HTTP/2",
            Operation::Body => "GET of 64 KiB, keep-alive",
            Operation::BodyH2 => "GET of 64 KiB, HTTP/2",
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

    /// Whether it is made on connections that were opened before.
    pub(crate) fn is_request(self) -> bool {
        matches!(
            self,
            Operation::Request | Operation::RequestH2 | Operation::Body | Operation::BodyH2
        )
    }

    /// What loadgen is to do against `target`, with the certificates in the work folder, watching the processes `pids`. `nth`
    /// counts what this server has been asked of this operation before.
    pub(crate) fn plan(
        self,
        choices: &Choices,
        mut target: Target,
        work: &Path,
        pids: &[u32],
        nth: usize,
    ) -> Plan {
        if matches!(self, Operation::Body | Operation::BodyH2) {
            target.path = LARGE.to_owned();
        }
        let mut plan = Plan::new(target, work.join(PKI));
        // The generator has one core.
        plan.shards = Some(1);
        plan.watch_pids = pids.to_vec();
        plan.warmup = choices.warmup;
        plan.seed = choices.seed;
        // A slow server's queue is no failure.
        plan.timeout = Duration::from_secs(30);
        let (mode, devices) = match self {
            Operation::FullCold => (Mode::Full, choices.devices_idle.max(choices.devices_full)),
            Operation::FullWarm => (Mode::Full, choices.devices_full),
            Operation::Resumed => (Mode::Resume, choices.devices_resumed),
            Operation::IdleMemory => (Mode::Idle, choices.devices_idle),
            _ => (Mode::Telemetry, choices.devices_request),
        };
        let protocol = match self {
            Operation::RequestH2 | Operation::BodyH2 => Protocol::H2,
            _ => Protocol::Http1,
        };
        plan.devices = Some(devices);
        // Without anything to post loadgen sends GETs: what is compared is the way through the proxy.
        let activity = mode.activity(protocol, 0);
        let duration = choices.duration;
        let executor = match self {
            Operation::IdleMemory => Executor::Hold(Hold { duration }),
            Operation::FullCold => {
                let new = choices.devices_new();
                plan.warmup = Duration::ZERO;
                at_a_time(choices, new, Limit::Count(new as u64))
            }
            _ => at_a_time(choices, devices, Limit::DurationSeconds(duration)),
        };
        plan = plan.with_scenario(executor, activity);
        if self == Operation::FullCold {
            let new = choices.devices_new();
            let first = choices.devices_full + nth * new;
            plan.scenarios.first_mut().devices = Part::Range(first, first + new - 1);
        }
        plan
    }

    /// Each of the devices that will connect in full once, so that a chain cache holds them all.
    pub(crate) fn prime(choices: &Choices, target: Target, work: &Path, devices: usize) -> Plan {
        let mut plan = Operation::FullWarm.plan(choices, target, work, &[], 0);
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
