//! `constant-devices`: the closed model. So many devices at a time, each attempt begun as soon as one is done.

use serde::{Deserialize, Serialize};

use super::Limit;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConstantDevices {
    /// Devices at work at any time; all devices of the scenario take turns.
    pub devices: usize,
    /// When it ends.
    pub until: Limit,
}

impl ConstantDevices {
    /// `devices` at a time.
    pub fn new(devices: usize, until: Limit) -> ConstantDevices {
        ConstantDevices { devices, until }
    }
}
