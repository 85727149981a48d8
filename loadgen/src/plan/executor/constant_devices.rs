//! `constant-devices`: the closed model. So many devices at a time, each attempt begun as soon as one is done.

use serde::{Deserialize, Serialize};

use super::Limit;
use crate::plan::arrival::Share;
use crate::plan::part_of;

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

    /// How many of the devices at a time one share has. The shares add up to the whole.
    pub fn devices_of(&self, share: Share) -> usize {
        let devices = part_of(self.devices as u64, share.index, share.of);
        usize::try_from(devices).unwrap_or(usize::MAX)
    }

    /// How many measured attempts one share makes, if the plan counts them. The shares add up to the whole, and a share has as much
    /// of it as it has of the devices at a time: each of these makes its part, so that none is left with work and nobody to do it.
    pub fn attempts_of(&self, share: Share) -> Option<u64> {
        let count = self.until.count()?;
        let at_a_time = self.devices.max(1) as u64;
        let each = (count / at_a_time) * self.devices_of(share) as u64;
        Some(each + part_of(count % at_a_time, share.index, share.of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Segment;

    #[test]
    fn devices_and_attempts_of_all_shares_are_the_whole_and_go_together() {
        for (devices, count) in [(4, 60), (7, 57), (1, 5), (64, 3), (3, 0), (5, 1001)] {
            let constant = ConstantDevices::new(devices, Limit::Count(count));
            for (segments, shards) in [(1, 1), (1, 8), (3, 2), (2, 5), (7, 3)] {
                let shares = (0..segments).flat_map(|segment| {
                    let segment = Segment::new(segment, segments).unwrap();
                    (0..shards).map(move |shard| segment.share(shard, shards))
                });
                let (mut at_a_time, mut attempts) = (0, 0);
                for share in shares {
                    let (workers, work) = (
                        constant.devices_of(share),
                        constant.attempts_of(share).unwrap(),
                    );
                    assert!(workers > 0 || work == 0, "{constant:?} {share:?}");
                    // Nobody has more than one attempt more than another.
                    let each = count / devices as u64;
                    let fair = each * workers as u64..=(each + 1) * workers as u64;
                    assert!(fair.contains(&work), "{constant:?} {share:?}");
                    at_a_time += workers;
                    attempts += work;
                }
                assert_eq!((at_a_time, attempts), (devices, count));
            }
        }
    }
}
