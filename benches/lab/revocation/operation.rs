//! The connections whose cost and bytes are measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use loadgen::measure::Verdict;
use loadgen::plan::{ConstantDevices, Executor, Limit, Mode, Protocol, Target};
use loadgen::{Plan, RunResult};
use serde::{Deserialize, Serialize};

use super::choices::Choices;
use crate::gateway_process::PKI;

/// Share of attempts that must have resumed where they should.
const RESUMED_SHARE: f64 = 0.99;

/// A connection with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// With a full handshake, the chain verified before.
    Full,
    /// With the ticket of the last connection.
    Resumed,
}

impl Operation {
    /// Both.
    pub(super) const ALL: [Operation; 2] = [Operation::Full, Operation::Resumed];

    /// Its name in reports.
    pub(super) fn title(self) -> &'static str {
        match self {
            Operation::Full => "full handshake + GET",
            Operation::Resumed => "resumed + GET",
        }
    }

    /// Loadgen's name for it.
    pub(super) fn metric(self) -> &'static str {
        match self {
            Operation::Full => "full",
            Operation::Resumed => "resumed",
        }
    }

    /// What loadgen is to do against the gateway at `address`, with the certificates in the work folder.
    pub(super) fn plan(
        self,
        choices: &Choices,
        address: SocketAddr,
        work: &Path,
        limit: Limit,
    ) -> Plan {
        let target = Target {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: address.port(),
            path: "/telemetry".to_owned(),
            connect_to: Some(address),
        };
        let (mode, devices) = match self {
            Operation::Full => (Mode::Full, choices.devices_full),
            Operation::Resumed => (Mode::Resume, choices.devices_resumed),
        };
        // GETs: nothing is posted.
        let activity = mode.activity(Protocol::Http1, 0);
        let executor = ConstantDevices::new(choices.at_a_time.min(devices), limit);
        let mut plan = Plan::new(target, work.join(PKI))
            .with_scenario(Executor::ConstantDevices(executor), activity);
        plan.devices = Some(devices);
        plan.warmup = match limit {
            Limit::DurationSeconds(_) => choices.warmup,
            Limit::Count(_) => Duration::ZERO,
        };
        // The generator has one core.
        plan.shards = Some(1);
        plan.seed = choices.seed;
        plan.timeout = Duration::from_secs(30);
        plan
    }

    /// Why a run does not measure what this operation is called.
    pub(super) fn faults(self, run: &RunResult) -> Vec<String> {
        let mut faults = Vec::new();
        let failed = run.counts.failed + run.before_window.counts.failed;
        if failed > 0 {
            let errors = run.errors.iter().chain(&run.before_window.errors);
            let kinds: Vec<String> = errors
                .map(|error| format!("{} {}", error.class, error.code).trim().to_owned())
                .collect();
            faults.push(format!("{failed} attempts failed ({})", kinds.join(", ")));
        }
        if run.validity.verdict == Verdict::Void {
            faults.push(format!("void: {}", run.validity.reasons.join("; ")));
        }
        match self {
            Operation::Full if run.handshakes.resumed > 0 || run.handshakes.full_hrr > 0 => {
                faults.push("not every handshake was full in one round trip".to_owned());
            }
            Operation::Resumed
                if run
                    .resumption
                    .accepted_share
                    .is_none_or(|share| share < RESUMED_SHARE) =>
            {
                faults.push("the gateway did not honour the tickets".to_owned());
            }
            _ => {}
        }
        if run.counts.accepted == 0 {
            faults.push("no operation was measured".to_owned());
        }
        faults
    }
}
