//! Which device takes the next attempt of a scenario, and whether there may be one more; pure.
//!
//! A device does one thing at a time, whichever scenarios it belongs to. Devices are used in turn, so that a run spreads
//! over all of them, and the bound on attempts in flight keeps the plan's promise about descriptors.

use std::collections::VecDeque;

/// The devices of one shard.
#[derive(Debug)]
pub(crate) struct Budget {
    busy: Vec<bool>,
    in_flight: usize,
    scenarios: Vec<Turns>,
}

/// The devices of one scenario which are not busy with it.
#[derive(Debug)]
struct Turns {
    free: VecDeque<usize>,
    in_flight: usize,
    max_in_flight: usize,
}

impl Budget {
    /// All `devices` of the shard, free.
    pub(crate) fn new(devices: usize) -> Budget {
        Budget {
            busy: vec![false; devices],
            in_flight: 0,
            scenarios: Vec::new(),
        }
    }

    /// Adds the next scenario: its devices, and how many of them may be busy with it at a time.
    pub(crate) fn add_scenario(&mut self, devices: &[usize], max_in_flight: usize) {
        self.scenarios.push(Turns {
            free: devices.iter().copied().collect(),
            in_flight: 0,
            max_in_flight,
        });
    }

    /// The scenario's device that has been free for longest, unless too much is in flight.
    pub(crate) fn take(&mut self, scenario: usize) -> Option<usize> {
        let turns = self.scenarios.get_mut(scenario)?;
        if turns.in_flight >= turns.max_in_flight {
            return None;
        }
        for _ in 0..turns.free.len() {
            let device = turns.free.pop_front()?;
            match self.busy.get_mut(device) {
                Some(busy @ false) => {
                    *busy = true;
                    turns.in_flight += 1;
                    self.in_flight += 1;
                    return Some(device);
                }
                // Another scenario has it.
                _ => turns.free.push_back(device),
            }
        }
        None
    }

    /// A device that took its turn is free again.
    pub(crate) fn give_back(&mut self, scenario: usize, device: usize) {
        if let Some(turns) = self.scenarios.get_mut(scenario) {
            turns.free.push_back(device);
            turns.in_flight -= 1;
        }
        self.release(device);
    }

    fn release(&mut self, device: usize) {
        self.release_claim(device);
        self.in_flight -= 1;
    }

    /// Takes this very device, out of turn, unless it is busy. It is not in flight by that alone.
    pub(crate) fn claim(&mut self, device: usize) -> bool {
        match self.busy.get_mut(device) {
            Some(busy @ false) => {
                *busy = true;
                true
            }
            _ => false,
        }
    }

    /// A claimed device is free again.
    pub(crate) fn release_claim(&mut self, device: usize) {
        if let Some(busy) = self.busy.get_mut(device) {
            *busy = false;
        }
    }

    /// A claimed device begins an attempt.
    pub(crate) fn begin_claimed(&mut self) {
        self.in_flight += 1;
    }

    /// And ends it.
    pub(crate) fn end_claimed(&mut self) {
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
        let mut budget = Budget::new(3);
        budget.add_scenario(&[0, 1, 2], 2);
        assert_eq!(
            (budget.take(0), budget.take(0), budget.take(0)),
            (Some(0), Some(1), None)
        );
        budget.give_back(0, 0);
        assert_eq!(budget.take(0), Some(2));
        budget.give_back(0, 2);
        assert_eq!((budget.take(0), budget.in_flight()), (Some(0), 2));
    }

    #[test]
    fn a_claimed_device_is_passed_over() {
        let mut budget = Budget::new(2);
        budget.add_scenario(&[0, 1], 9);
        assert!(budget.claim(0) && !budget.claim(0) && !budget.claim(7));
        assert_eq!((budget.take(0), budget.take(0)), (Some(1), None));
        assert!(!budget.claim(1));
        budget.begin_claimed();
        assert_eq!(budget.in_flight(), 2);
        budget.end_claimed();
        budget.release_claim(0);
        assert_eq!(budget.take(0), Some(0));
    }

    #[test]
    fn a_device_of_two_scenarios_is_busy_with_one() {
        let mut budget = Budget::new(3);
        budget.add_scenario(&[0, 1], 9);
        budget.add_scenario(&[1, 2], 9);
        assert_eq!((budget.take(0), budget.take(0)), (Some(0), Some(1)));
        assert_eq!((budget.take(1), budget.take(1)), (Some(2), None));
        budget.give_back(0, 1);
        assert_eq!((budget.take(1), budget.take(0)), (Some(1), None));
        budget.give_back(1, 1);
        assert_eq!((budget.take(0), budget.in_flight()), (Some(1), 3));
    }
}
