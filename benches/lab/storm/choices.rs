//! How much of everything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything that the experiment was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// Devices of the fleet.
    pub(crate) devices: usize,
    /// Share of a core that the gateway has in the storms.
    pub(crate) share: f64,
    /// Length of a storm, and of measuring the capacity before it, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "duration_seconds")]
    pub(crate) duration: Duration,
    /// Load before each of them, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "warmup_seconds")]
    pub(crate) warmup: Duration,
    /// Length of the quiet before the first, and of the watch after each, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "quiet_seconds")]
    pub(crate) quiet: Duration,
    /// When a device of a storm gives up, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "patience_seconds")]
    pub(crate) patience: Duration,
    /// When one of the burst does, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "burst_patience_seconds")]
    pub(crate) burst_patience: Duration,
    /// Devices of the burst, which all come in one second.
    pub(crate) burst: usize,
    /// Connections that are open all the time.
    pub(crate) established: usize,
    /// Requests per second over all of them.
    pub(crate) requests_per_second: f64,
    /// Seed of what is random.
    pub(crate) seed: u64,
    /// Shortened: shows that it works.
    pub(crate) quick: bool,
}

/// Offered load of the burst, as a multiple of the capacity.
pub(super) const BURST_FACTOR: f64 = 1.5;
/// Offered loads of the storms.
pub(super) const FACTORS: [f64; 2] = [2.0, 5.0];

/// Where the devices of a storm are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Where {
    /// 60 ms away.
    Near,
    /// Every other one 300 ms away, the others 60 ms.
    Mixed,
}

impl Where {
    /// Both.
    pub(super) const ALL: [Where; 2] = [Where::Near, Where::Mixed];

    /// In words.
    pub(super) fn title(self) -> &'static str {
        match self {
            Where::Near => "devices 60 ms away",
            Where::Mixed => "half of them 300 ms away",
        }
    }

    /// The round trips.
    pub(super) fn round_trips(self) -> &'static [Duration] {
        const NEAR: Duration = Duration::from_millis(60);
        const FAR: Duration = Duration::from_millis(300);
        match self {
            Where::Near => &[NEAR],
            Where::Mixed => &[NEAR, FAR],
        }
    }

    /// How long a device is on its way at least: TCP, TLS and HTTP take a round trip each; on average.
    pub(super) fn journey(self) -> Duration {
        let trips = self.round_trips();
        let all: Duration = trips.iter().sum();
        all * 3 / u32::try_from(trips.len()).unwrap_or(1)
    }
}
