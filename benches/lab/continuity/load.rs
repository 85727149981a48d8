//! What the fleet does meanwhile, as plans for loadgen; pure.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use loadgen::Plan;
use loadgen::plan::{ConstantArrivalRate, Executor, Limit, Mode, Protocol, Target, seconds};
use serde::{Deserialize, Serialize};

use crate::gateway_process::PKI;

/// What the experiment was told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Choices {
    /// Devices in the fleet.
    pub(super) devices: usize,
    /// Requests on kept connections.
    pub(super) requests_per_second: f64,
    /// New connections, half of them with tickets.
    pub(super) connections_per_second: f64,
    /// How often the gateway is reloaded before the take-over.
    pub(super) reloads: u32,
    /// Measured time, in seconds.
    #[serde(with = "seconds", rename = "duration_seconds")]
    pub(super) duration: Duration,
    /// Load before it, in seconds.
    #[serde(with = "seconds", rename = "warmup_seconds")]
    pub(super) warmup: Duration,
    /// The gateway's grace period, in seconds.
    #[serde(with = "seconds", rename = "grace_seconds")]
    pub(super) grace: Duration,
    /// Shortened.
    pub(super) quick: bool,
}

impl Choices {
    pub(super) fn new(quick: bool) -> Self {
        let of = |thorough, hasty| if quick { hasty } else { thorough };
        Self {
            // A device asks about once a second, far more often than a quarter of the grace period.
            devices: of(400, 100),
            requests_per_second: if quick { 125.0 } else { 500.0 },
            connections_per_second: if quick { 50.0 } else { 200.0 },
            reloads: 10,
            duration: Duration::from_secs(of(45, 15) as u64),
            warmup: Duration::from_secs(of(3, 1) as u64),
            grace: Duration::from_secs(of(20, 8) as u64),
            quick,
        }
    }

    /// The reloads take a third of the time; the drain needs most of the rest.
    pub(super) fn between_reloads(&self) -> Duration {
        self.duration / 3 / (self.reloads + 1)
    }
}

/// One kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Load {
    /// Requests on kept connections over HTTP/1.1.
    KeptHttp1,
    /// Requests on kept connections over HTTP/2.
    KeptHttp2,
    /// New connections with full handshakes.
    Full,
    /// New connections with tickets.
    Resumed,
}

impl Load {
    pub(super) const ALL: [Load; 4] = [Load::KeptHttp1, Load::KeptHttp2, Load::Full, Load::Resumed];

    /// Its name for tables.
    pub(super) fn title(self) -> &'static str {
        match self {
            Load::KeptHttp1 => "kept, HTTP/1.1",
            Load::KeptHttp2 => "kept, HTTP/2",
            Load::Full => "full handshakes",
            Load::Resumed => "resumptions",
        }
    }

    /// What loadgen is to do against the gateway at `address`, with the certificates in the work folder.
    pub(super) fn plan(self, choices: &Choices, address: SocketAddr, work: &Path) -> Plan {
        let target = Target {
            host: address.ip().to_string(),
            port: address.port(),
            path: "/telemetry".to_owned(),
            connect_to: None,
        };
        let (mode, rate) = match self {
            Load::KeptHttp1 => (Mode::Telemetry, choices.requests_per_second * 0.8),
            Load::KeptHttp2 => (Mode::Telemetry, choices.requests_per_second * 0.2),
            Load::Full => (Mode::Full, choices.connections_per_second / 2.0),
            Load::Resumed => (Mode::Resume, choices.connections_per_second / 2.0),
        };
        let protocol = match self {
            Load::KeptHttp2 => Protocol::H2,
            _ => Protocol::Http1,
        };
        let executor = ConstantArrivalRate::poisson(rate, Limit::DurationSeconds(choices.duration));
        let mut plan = Plan::new(target, work.join(PKI)).with_scenario(
            Executor::ConstantArrivalRate(executor),
            mode.activity(protocol, 256),
        );
        plan.shards = Some(1);
        plan.warmup = choices.warmup;
        if self == Load::KeptHttp2 {
            // As often for each device as over HTTP/1.1.
            plan.devices = Some(choices.devices / 4);
        }
        plan
    }
}
