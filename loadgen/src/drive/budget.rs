//! Which device takes the next attempt, and whether there may be one more; pure.
//!
//! A device does one thing at a time. Devices are used in turn, so that a run spreads over the whole fleet, and the
//! bound on attempts in flight keeps the plan's promise about descriptors.

use std::collections::VecDeque;

/// The free devices of one shard.
#[derive(Debug)]
pub(crate) struct Budget {
    free: VecDeque<usize>,
    in_flight: usize,
    max_in_flight: usize,
}

impl Budget {
    pub(crate) fn new(devices: usize, max_in_flight: usize) -> Budget {
        Budget {
            free: (0..devices).collect(),
            in_flight: 0,
            max_in_flight,
        }
    }

    /// The device that has been free for longest, unless too much is in flight.
    pub(crate) fn take(&mut self) -> Option<usize> {
        if self.in_flight >= self.max_in_flight {
            return None;
        }
        let device = self.free.pop_front()?;
        self.in_flight += 1;
        Some(device)
    }

    /// A device is free again.
    pub(crate) fn give_back(&mut self, device: usize) {
        self.free.push_back(device);
        self.in_flight -= 1;
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_take_turns_within_the_bound() {
        let mut budget = Budget::new(3, 2);
        assert_eq!(
            (budget.take(), budget.take(), budget.take()),
            (Some(0), Some(1), None)
        );
        budget.give_back(0);
        assert_eq!(budget.take(), Some(2));
        budget.give_back(2);
        assert_eq!((budget.take(), budget.in_flight()), (Some(0), 2));
    }
}
