//! What is to happen, and when: a plain value, pure and seeded.
//!
//! A [`Plan`] says everything that a run needs to know. This module does not open files, read clocks or touch the
//! network, and it imports no other module of this crate: two machines with the same plan release the same arrivals.

pub mod arrival;
pub mod distance;
pub mod executor;
pub mod file;
pub mod fleet;
pub mod identity_echo;
pub mod ramp;
pub mod scenario;
pub mod seconds;
pub mod segment;
pub mod sharing;
pub mod source;
pub mod spread;
pub mod start_at;
pub mod target;
pub mod threshold;
pub mod workload;
pub mod written;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use arrival::{ArrivalTimes, Pattern, Share};
pub use distance::Distances;
pub use executor::{
    Backoff, ConstantArrivalRate, ConstantDevices, Executor, Hold, Limit, PerDeviceIterations,
    RampingArrivalRate, RampingDevices, ReconnectStorm, RotateCertificates, TicketExpiryWave,
};
pub use file::PlanFile;
pub use fleet::FleetSpec;
pub use identity_echo::IdentityEcho;
pub use ramp::Stage;
pub use scenario::{Part, PartError, Scenario, Scenarios};
pub use segment::Segment;
pub use source::SourceAddresses;
pub use spread::Spread;
pub use start_at::StartAt;
pub use target::Target;
pub use threshold::Threshold;
pub use workload::{
    Action, Actions, Activity, ActivityError, Close, Connect, Exchange, Mode, Say, Telemetry,
    TelemetryTimes,
};

/// Everything that a run is told. Saved as `choices` in the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The server under test.
    pub target: Target,
    /// Where the devices come from.
    #[serde(flatten)]
    pub fleet: FleetSpec,
    /// How many devices take part; `None` means all of the folder.
    pub devices: Option<usize>,
    /// What is to happen, and who takes part in it.
    #[serde(flatten)]
    pub scenarios: Scenarios,
    /// Time under load before the measured window, in seconds.
    #[serde(with = "seconds", rename = "warmup_seconds")]
    pub warmup: Duration,
    /// TLS version offered.
    pub tls: TlsVersion,
    /// Key exchange groups offered, in this order; a key share is sent for the first.
    pub groups: Vec<Group>,
    /// Local addresses from which the devices connect, in turn.
    pub source_addresses: SourceAddresses,
    /// An attempt that is not done this long after its start is a timeout, in seconds.
    #[serde(with = "seconds", rename = "timeout_seconds")]
    pub timeout: Duration,
    /// How far away the devices are.
    #[serde(default)]
    pub distances: Distances,
    /// A device that the server has not accepted this long after the intended start gives up, in seconds; `None` waits for the
    /// timeout.
    #[serde(default, with = "seconds::optional", rename = "patience_seconds")]
    pub patience: Option<Duration>,
    /// Where answers over HTTP say for which device the server takes the one that asked; `None`: that is not looked at.
    #[serde(default)]
    pub verify_identity: Option<IdentityEcho>,
    /// Seed of everything random in the plan.
    pub seed: u64,
    /// Which part of the plan this process performs.
    #[serde(default)]
    pub segment: Segment,
    /// When the load begins; `None` means as soon as the devices are prepared.
    #[serde(default)]
    pub start_at: Option<StartAt>,
    /// Threads that drive the fleet; `None` means one per core.
    pub shards: Option<usize>,
    /// Processes whose CPU time and memory are read (the server under test).
    pub watch_pids: Vec<u32>,
    /// What the result must satisfy.
    pub thresholds: Vec<Threshold>,
}

/// What is spoken inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive.
    Http1,
    /// HTTP/2, one request at a time per connection.
    H2,
    /// WebSocket (RFC 6455) over HTTP/1.1.
    Websocket,
    /// MQTT 3.1.1.
    Mqtt,
    /// MQTT 5.
    Mqtt5,
    /// Nothing.
    Tls,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Protocol; 6] = [
        Protocol::Http1,
        Protocol::H2,
        Protocol::Websocket,
        Protocol::Mqtt,
        Protocol::Mqtt5,
        Protocol::Tls,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::H2 => "HTTP/2",
            Protocol::Websocket => "WebSocket",
            Protocol::Mqtt => "MQTT 3.1.1",
            Protocol::Mqtt5 => "MQTT 5",
            Protocol::Tls => "TLS alone",
        }
    }

    /// The name offered by ALPN (RFC 7301), as IANA has registered it; `None` offers nothing.
    pub fn alpn(self) -> Option<&'static str> {
        match self {
            Protocol::Http1 | Protocol::Websocket => Some("http/1.1"),
            Protocol::H2 => Some("h2"),
            Protocol::Mqtt | Protocol::Mqtt5 => Some("mqtt"),
            Protocol::Tls => None,
        }
    }
}

/// TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with extended master secret.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// Key exchange group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Group {
    /// X25519.
    X25519,
    /// NIST P-256 (secp256r1).
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384 (secp384r1).
    #[serde(rename = "P-384")]
    P384,
    /// Hybrid post-quantum key exchange.
    #[serde(rename = "X25519MLKEM768")]
    X25519MlKem768,
}

impl Group {
    /// The group of this name.
    pub fn named(name: &str) -> Option<Group> {
        match name {
            "X25519" => Some(Group::X25519),
            "P-256" => Some(Group::P256),
            "P-384" => Some(Group::P384),
            "X25519MLKEM768" => Some(Group::X25519MlKem768),
            _ => None,
        }
    }
}

impl Plan {
    /// A plan with the same defaults as the command line: full handshakes, 64 connections at a time, 30 seconds.
    pub fn new(target: Target, pki: impl Into<PathBuf>) -> Plan {
        let source_addresses = SourceAddresses::automatic(&target);
        let limit = Limit::DurationSeconds(Duration::from_secs(30));
        let executor = Executor::ConstantDevices(ConstantDevices::new(64, limit));
        let activity = Activity::default();
        Plan {
            target,
            fleet: FleetSpec::folder(pki),
            devices: None,
            scenarios: Scenarios::one(Scenario::new(scenario::DEFAULT_NAME, executor, activity)),
            warmup: Duration::from_secs(2),
            tls: TlsVersion::Tls13,
            groups: vec![Group::X25519],
            source_addresses,
            timeout: Duration::from_secs(10),
            distances: Distances::default(),
            patience: None,
            verify_identity: None,
            seed: 1,
            segment: Segment::WHOLE,
            start_at: None,
            shards: None,
            watch_pids: Vec::new(),
            thresholds: Vec::new(),
        }
    }

    /// The same plan with this scenario and no other.
    pub fn with_scenario(mut self, executor: Executor, activity: Activity) -> Plan {
        self.scenarios = Scenarios::one(Scenario::new(scenario::DEFAULT_NAME, executor, activity));
        self
    }

    /// The length of the measured window, if that is known beforehand: no scenario goes on until all of it is done.
    pub fn window(&self) -> Option<Duration> {
        let ends: Option<Vec<_>> = self.scenarios.iter().map(Scenario::end).collect();
        ends?.into_iter().max()
    }
}

/// The seed of scenario number `scenario` of a plan; the first has the plan's own.
pub fn seed_of_scenario(seed: u64, scenario: usize) -> u64 {
    seed.wrapping_add((scenario as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))
}

/// Part `index` of `total` when it is split as evenly as whole numbers allow into `parts` parts.
pub fn part_of(total: u64, index: usize, parts: usize) -> u64 {
    let parts = parts.max(1) as u64;
    let index = index as u64;
    total / parts + u64::from(index < total % parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_total() {
        for total in [0, 1, 7, 64, 1001] {
            for parts in 1..9 {
                let sum: u64 = (0..parts).map(|index| part_of(total, index, parts)).sum();
                assert_eq!(sum, total);
            }
        }
    }

    fn a_plan() -> Plan {
        Plan::new(Target::parse("https://127.0.0.1:8443").unwrap(), "pki")
    }

    #[test]
    fn a_plan_survives_json() {
        let mut plan = a_plan();
        let mut rate = ConstantArrivalRate::new(2000.0, Limit::Count(12));
        rate.arrivals = Pattern::Poisson;
        let second = Scenario {
            devices: Part::Share(0.25),
            start: Duration::from_secs(5),
            ..Scenario::new(
                "second",
                Executor::ConstantArrivalRate(rate),
                Mode::Mixed.activity(Protocol::Http1, 9),
            )
        };
        plan.scenarios.push(second);
        plan.patience = Some(Duration::from_millis(1500));
        plan.distances = "60ms,300ms".parse().unwrap();
        plan.segment = "1/3".parse().unwrap();
        plan.start_at = Some("2026-11-21T18:00:00Z".parse().unwrap());
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_plan_of_before_there_were_scenarios_is_read() {
        let mut before = serde_json::to_value(a_plan()).unwrap();
        let keys = before.as_object_mut().unwrap();
        for key in ["scenarios", "distances", "patience_seconds"] {
            assert!(keys.remove(key).is_some(), "{key}");
        }
        keys.insert("mode".into(), "resume".into());
        keys.insert("payload_bytes".into(), 7.into());
        keys.insert("protocol".into(), "h2".into());
        keys.insert("max_in_flight".into(), 9.into());
        keys.insert("limit".into(), serde_json::json!({ "count": 12 }));
        let pace =
            serde_json::json!({ "model": "open", "rate_per_second": 2.5, "pattern": "poisson" });
        keys.insert("pace".into(), pace);
        let rate = ConstantArrivalRate {
            rate_per_second: 2.5,
            arrivals: Pattern::Poisson,
            max_in_flight: Some(9),
            until: Limit::Count(12),
        };
        let activity = Mode::Resume.activity(Protocol::H2, 7);
        let now = a_plan().with_scenario(Executor::ConstantArrivalRate(rate), activity);
        assert_eq!(serde_json::from_value::<Plan>(before.clone()).unwrap(), now);

        let keys = before.as_object_mut().unwrap();
        keys.insert("pace".into(), serde_json::json!({ "model": "hold" }));
        assert!(serde_json::from_value::<Plan>(before).is_err());
    }
}
