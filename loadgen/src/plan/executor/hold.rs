//! `hold`: nothing is released. The connections that the activity opened beforehand are held.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::seconds;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// For how long, in seconds.
    #[serde(with = "seconds", rename = "duration_seconds")]
    pub duration: Duration,
}
