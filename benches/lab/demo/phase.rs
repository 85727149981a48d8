//! The phases of the demo: what each does, in words and as a plan for loadgen; pure.

use std::path::Path;
use std::time::Duration;

use loadgen::Plan;
use loadgen::plan::{
    ConstantArrivalRate, ConstantDevices, Executor, Limit, Mode, Protocol, Target,
};
use serde::{Deserialize, Serialize};

use crate::gateway_process::PKI;

/// What the demo was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// Devices in the fleet.
    pub(crate) devices: usize,
    /// Measured time of a phase that has no other end, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "duration_seconds")]
    pub(crate) duration: Duration,
    /// Load before it, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "warmup_seconds")]
    pub(crate) warmup: Duration,
    /// Connections at a time in the phases that connect.
    pub(crate) at_a_time: usize,
    /// Reports per second of the whole fleet in the telemetry phase.
    pub(crate) telemetry_per_second: f64,
    /// Shortened: shows that it works, not what it costs.
    pub(crate) quick: bool,
}

/// One phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Full handshakes of devices that the gateway has never seen.
    ColdFull,
    /// Full handshakes of devices whose chain it has verified before.
    WarmFull,
    /// Resumed handshakes.
    Resumed,
    /// Requests on open connections.
    Telemetry,
}

impl Phase {
    /// All, in order.
    pub(crate) const ALL: [Phase; 4] = [
        Phase::ColdFull,
        Phase::WarmFull,
        Phase::Resumed,
        Phase::Telemetry,
    ];

    /// Its name for tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Phase::ColdFull => "cold full",
            Phase::WarmFull => "warm full",
            Phase::Resumed => "resumed",
            Phase::Telemetry => "telemetry",
        }
    }

    /// What happens in it, for somebody who sees it for the first time.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Phase::ColdFull => {
                "Every device connects once, with a full mutual-TLS handshake, sends one request and leaves. The gateway has never seen \
                 any of them, so it verifies each certificate chain, signature by signature."
            }
            Phase::WarmFull => {
                "The same devices again, with full handshakes. The gateway finds each chain in its verified-chain cache and skips the chain's \
                 signatures; that the device holds its private key is still proven every time."
            }
            Phase::Resumed => {
                "The same devices with the session ticket of their last visit: no certificates on the wire, no signatures. The gateway looks \
                 the identity up and authorizes it again all the same."
            }
            Phase::Telemetry => {
                "Every device holds one connection open and posts 256 bytes about once a second. This is where a healthy fleet spends \
                 its day."
            }
        }
    }

    /// What is counted as one operation.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Phase::ColdFull | Phase::WarmFull | Phase::Resumed => "connection",
            Phase::Telemetry => "request",
        }
    }

    /// What loadgen is to do against `target`, with the certificates in the work folder, watching the process `server`.
    pub(crate) fn plan(self, choices: &Choices, target: Target, work: &Path, server: u32) -> Plan {
        let mut plan = Plan::new(target, work.join(PKI));
        // The generator has one core.
        plan.shards = Some(1);
        plan.watch_pids = vec![server];
        plan.devices = Some(choices.devices);
        plan.warmup = choices.warmup;
        let duration = Limit::DurationSeconds(choices.duration);
        let closed =
            |until| Executor::ConstantDevices(ConstantDevices::new(choices.at_a_time, until));
        let (mode, executor) = match self {
            Phase::ColdFull => {
                // Devices take turns, so this many attempts are each device once; a warm-up would warm the cache.
                plan.warmup = Duration::ZERO;
                (Mode::Full, closed(Limit::Count(choices.devices as u64)))
            }
            Phase::WarmFull => (Mode::Full, closed(duration)),
            Phase::Resumed => (Mode::Resume, closed(duration)),
            Phase::Telemetry => {
                let rate = choices.telemetry_per_second;
                let open = ConstantArrivalRate::poisson(rate, duration);
                (Mode::Telemetry, Executor::ConstantArrivalRate(open))
            }
        };
        plan.with_scenario(executor, mode.activity(Protocol::Http1, 256))
    }
}
