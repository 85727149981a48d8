//! Samples: what one attempt was like, and what all of them were like together.
//!
//! Imports no other module of this crate and performs no load itself: recorders are filled by `drive` and read by
//! `report`.

pub mod attempt;
pub mod control_group;
pub mod health;
pub mod outcome;
pub mod process;
pub mod recorder;
pub mod returns;
pub mod series;

pub use attempt::{Attempt, HandshakeKind};
pub use control_group::ControlGroup;
pub use health::{Health, Verdict};
pub use outcome::{Cause, Failure, IdentityFault, LocalCause, Moment};
pub use process::{Watched, Watcher};
pub use recorder::{Counts, Recorder};
pub use returns::Returns;
pub use series::{Second, Series};

use std::time::{Duration, SystemTime};

/// What one scenario measured.
#[derive(Debug)]
pub struct ScenarioSamples {
    /// Its name.
    pub name: String,
    /// Devices that took part in it.
    pub devices: usize,
    /// Samples.
    pub recorder: Recorder,
    /// How its devices came back, where they lost their connections.
    pub returns: Option<Returns>,
}

impl ScenarioSamples {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &ScenarioSamples) {
        self.devices += other.devices;
        self.recorder.merge(&other.recorder);
        if let Some(other) = &other.returns {
            self.returns.get_or_insert_default().merge(other);
        }
    }
}

/// The devices with one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadDevices {
    /// The fault's name.
    pub fault: String,
    /// The alert with which the server is expected to refuse them; `None`: it is expected to serve them.
    pub alert: Option<u8>,
    /// How many there are.
    pub devices: usize,
}

/// Everything measured in one run, all shards together.
#[derive(Debug)]
pub struct Measurement {
    /// When the load began, warm-up included.
    pub load_started_at: SystemTime,
    /// When the measured window began.
    pub started_at: SystemTime,
    /// Length of the measured window.
    pub window: Duration,
    /// Samples of all shards.
    pub recorder: Recorder,
    /// The same by scenario, in the plan's order.
    pub scenarios: Vec<ScenarioSamples>,
    /// One entry per second of load.
    pub series: Vec<Second>,
    /// Connections open when the window ended.
    pub open_at_end: u64,
    /// Devices that took part.
    pub devices: usize,
    /// What is wrong with those that are bad on purpose.
    pub faults: Vec<BadDevices>,
    /// Threads that drove them.
    pub shards: usize,
    /// Devices whose preparation failed.
    pub unprepared: u64,
    /// The generator's own condition.
    pub health: Health,
    /// The watched processes, where any were named.
    pub watched: Option<Watched>,
    /// The generator's own process, looked at at the same moments.
    pub generator: Option<Watched>,
    /// Whether the run was stopped from outside.
    pub interrupted: bool,
}
