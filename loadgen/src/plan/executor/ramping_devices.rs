//! `ramping-devices`: the closed model with a number of devices that changes in stages.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::arrival::Share;
use crate::plan::part_of;
use crate::plan::ramp::{Stage, duration_of};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RampingDevices {
    /// Devices at work at the begin.
    pub start: usize,
    /// Where their number goes from there; a device that is one too many finishes its attempt.
    pub stages: Vec<Stage>,
}

/// A share's number of devices changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When, since the scenario began.
    pub at: Duration,
    /// The number from then on.
    pub devices: usize,
}

impl RampingDevices {
    /// The length of all stages.
    pub fn duration(&self) -> Duration {
        duration_of(&self.stages)
    }

    /// The greatest number of devices.
    pub fn most(&self) -> usize {
        let targets = self.stages.iter().map(|stage| stage.target as usize);
        targets.fold(self.start, usize::max)
    }

    /// How the number of one share changes. At every moment the shares add up to the whole.
    pub fn steps(&self, share: Share) -> Vec<Step> {
        let mut devices = usize::try_from(part_of(self.start as u64, share.index, share.of))
            .unwrap_or(usize::MAX);
        let mut steps = vec![Step {
            at: Duration::ZERO,
            devices,
        }];
        let (mut begin, mut from) = (Duration::ZERO, self.start);
        for stage in &self.stages {
            let to = stage.target as usize;
            let distance = from.abs_diff(to);
            for step in 1..=distance {
                // Device number k (from 0) works while the line lies above k.
                let (number, covered) = if to > from {
                    (from + step - 1, step)
                } else {
                    (from - step, step)
                };
                if number % share.of != share.index {
                    continue;
                }
                devices = if to > from {
                    devices + 1
                } else {
                    devices.saturating_sub(1)
                };
                steps.push(Step {
                    at: begin + stage.duration.mul_f64(covered as f64 / distance as f64),
                    devices,
                });
            }
            (begin, from) = (begin + stage.duration, to);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(start: usize, stages: &[(u64, f64)]) -> RampingDevices {
        let stages = stages.iter().map(|(seconds, target)| Stage {
            target: *target,
            duration: Duration::from_secs(*seconds),
        });
        RampingDevices {
            start,
            stages: stages.collect(),
        }
    }

    fn at(steps: &[Step], time: Duration) -> usize {
        let past = steps.iter().take_while(|step| step.at <= time);
        past.last().unwrap().devices
    }

    #[test]
    fn shares_add_up_to_the_whole_at_every_moment() {
        let ramping = settings(3, &[(10, 50.0), (5, 50.0), (0, 20.0), (7, 0.0)]);
        let whole = ramping.steps(Share { index: 0, of: 1 });
        for of in 2..5 {
            let shares: Vec<_> = (0..of)
                .map(|index| ramping.steps(Share { index, of }))
                .collect();
            for tenth in 0..250 {
                let time = Duration::from_millis(100 * tenth + 3);
                let sum: usize = shares.iter().map(|steps| at(steps, time)).sum();
                assert_eq!(sum, at(&whole, time), "{of} at {time:?}");
            }
        }
        assert_eq!(ramping.most(), 50);
    }

    #[test]
    fn the_number_follows_the_line() {
        let steps = settings(0, &[(10, 10.0), (10, 0.0)]).steps(Share { index: 0, of: 1 });
        let after = |seconds: f64| at(&steps, Duration::from_secs_f64(seconds));
        assert_eq!([0.5, 1.0, 5.5, 9.9, 10.0].map(after), [0, 1, 5, 9, 10]);
        assert_eq!([10.5, 11.0, 15.5, 19.5, 20.0].map(after), [10, 9, 5, 1, 0]);
        assert_eq!(steps.len(), 21);
    }

    #[test]
    fn a_stage_without_length_is_a_jump() {
        let steps = settings(0, &[(0, 4.0)]).steps(Share { index: 0, of: 1 });
        assert_eq!(at(&steps, Duration::ZERO), 4);
    }
}
