//! What is to happen, and when: a plain value, pure and seeded.
//!
//! A [`Plan`] says everything that a run needs to know. This module does not open files, read clocks or touch the
//! network, and it imports no other module of this crate: two machines with the same plan release the same arrivals.

pub mod arrival;
pub mod distance;
pub mod fleet;
pub mod seconds;
pub mod source;
pub mod target;
pub mod threshold;
pub mod workload;
pub mod written;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use arrival::{ArrivalTimes, Pattern, Share};
pub use distance::Distances;
pub use fleet::FleetSpec;
pub use source::SourceAddresses;
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
    /// What each arrival does.
    pub mode: Mode,
    /// Open or closed model.
    pub pace: Pace,
    /// When the measured window ends.
    pub limit: Limit,
    /// Time under load before the measured window, in seconds.
    #[serde(with = "seconds", rename = "warmup_seconds")]
    pub warmup: Duration,
    /// Size of a telemetry body.
    pub payload_bytes: usize,
    /// What is offered by ALPN and spoken.
    pub protocol: Protocol,
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
    /// Most attempts at a time in the open model; `None` means as many as there are devices.
    pub max_in_flight: Option<usize>,
    /// Seed of everything random in the plan.
    pub seed: u64,
    /// Threads that drive the fleet; `None` means one per core.
    pub shards: Option<usize>,
    /// Processes whose CPU time and memory are read (the server under test).
    pub watch_pids: Vec<u32>,
    /// What the result must satisfy.
    pub thresholds: Vec<Threshold>,
}

/// How attempts are released.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "model")]
pub enum Pace {
    /// Open model: attempts start when the schedule says so, whether or not earlier ones are done.
    Open {
        /// Arrivals per second over the whole fleet.
        rate_per_second: f64,
        /// How the arrivals are spread over a second.
        pattern: Pattern,
    },
    /// Closed model: this many attempts at a time, back to back.
    Closed {
        /// Attempts in flight at any time.
        connections: usize,
    },
    /// Nothing is released: the connections that were opened beforehand are held.
    Hold,
}

/// When the measured window ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// After this time, in seconds.
    #[serde(with = "seconds")]
    DurationSeconds(Duration),
    /// After exactly this many attempts.
    Count(u64),
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

impl Plan {
    /// A plan with the same defaults as the command line: full handshakes, 64 connections at a time, 30 seconds.
    pub fn new(target: Target, pki: impl Into<PathBuf>) -> Plan {
        let source_addresses = SourceAddresses::automatic(&target);
        Plan {
            target,
            fleet: FleetSpec::folder(pki),
            devices: None,
            mode: Mode::Full,
            pace: Pace::Closed { connections: 64 },
            limit: Limit::DurationSeconds(Duration::from_secs(30)),
            warmup: Duration::from_secs(2),
            payload_bytes: 256,
            protocol: Protocol::Http1,
            tls: TlsVersion::Tls13,
            groups: vec![Group::X25519],
            source_addresses,
            timeout: Duration::from_secs(10),
            distances: Distances::default(),
            patience: None,
            max_in_flight: None,
            seed: 1,
            shards: None,
            watch_pids: Vec::new(),
            thresholds: Vec::new(),
        }
    }
}

impl Plan {
    /// What each arrival does.
    pub fn activity(&self) -> Activity {
        self.mode.activity(self.protocol, self.payload_bytes as u64)
    }
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

    #[test]
    fn a_plan_survives_json() {
        let target = Target::parse("https://127.0.0.1:8443").unwrap();
        let mut plan = Plan::new(target, "pki");
        plan.pace = Pace::Open {
            rate_per_second: 2000.0,
            pattern: Pattern::Poisson,
        };
        plan.limit = Limit::Count(12);
        plan.patience = Some(Duration::from_millis(1500));
        plan.distances = "60ms,300ms".parse().unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_plan_of_before_there_were_distances_is_read() {
        let target = Target::parse("https://127.0.0.1:8443").unwrap();
        let plan = Plan::new(target, "pki");
        let mut json = serde_json::to_value(&plan).unwrap();
        let keys = json.as_object_mut().unwrap();
        assert!(keys.remove("distances").is_some() && keys.remove("patience_seconds").is_some());
        assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan);
    }
}
