//! `per-device-iterations`: every device makes so many attempts, one after another, all devices at the same time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::seconds;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PerDeviceIterations {
    /// Attempts of each device.
    pub iterations: u64,
    /// The scenario ends then even if not all are made, in seconds.
    #[serde(default, with = "seconds::optional", rename = "at_most_seconds")]
    pub at_most: Option<Duration>,
}
