//! How much of everything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of so many connected devices one is revoked.
const ONE_IN: usize = 9;

/// Everything that the experiments were told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// Devices that are connected when some of them are revoked.
    pub(crate) devices: usize,
    /// How often that is done, each way.
    pub(crate) live_rounds: usize,
    /// Entries of the long list.
    pub(crate) entries: usize,
    /// How often the cost of the long list is measured; twice in each round.
    pub(crate) rounds: usize,
    /// Length of one measurement of cost, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "duration_seconds")]
    pub(crate) duration: Duration,
    /// Load before it, in seconds.
    #[serde(with = "loadgen::plan::seconds", rename = "warmup_seconds")]
    pub(crate) warmup: Duration,
    /// Connections at a time, while their cost is measured.
    pub(crate) at_a_time: usize,
    /// Devices that connect with full handshakes.
    pub(crate) devices_full: usize,
    /// Devices that resume.
    pub(crate) devices_resumed: usize,
    /// Connections of each kind whose bytes are counted.
    pub(crate) reconnects: usize,
    /// Seed of the order and of the resampling.
    pub(crate) seed: u64,
    /// Shortened: shows that it works.
    pub(crate) quick: bool,
}

impl Choices {
    /// Devices that are needed in all.
    pub(super) fn fleet(&self) -> usize {
        self.devices
            .max(self.devices_full)
            .max(self.devices_resumed)
    }

    /// The numbers of the devices that are revoked, from all over the fleet.
    pub(super) fn revoked(&self) -> Vec<usize> {
        let count = self.devices / ONE_IN;
        (0..count).map(|index| index * ONE_IN).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;

    #[test]
    fn every_ninth_device_is_revoked() {
        let choices = fixture::choices();
        let revoked = choices.revoked();
        assert_eq!((choices.devices, revoked.len()), (9000, 1000));
        assert!(revoked.iter().all(|number| *number < choices.devices));
        assert_eq!(revoked.get(..3), Some([0, 9, 18].as_slice()));
    }
}
