//! One round: a plan, and who of this machine's devices takes part in its scenarios; pure.

use std::ops::Range;

use super::error::RunError;
use crate::fleet::Fleet;
use crate::plan::{Executor, Plan, Segment};

/// A plan that is to be performed with an opened fleet.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) plan: Plan,
    /// Of each scenario.
    pub(crate) parts: Vec<Part>,
}

/// This machine's part of a scenario.
#[derive(Debug)]
pub(crate) struct Part {
    /// How many devices the scenario has on all machines.
    pub(crate) devices: usize,
    /// The places of its devices among those of this machine.
    pub(crate) places: Range<usize>,
    /// Which of the scenario's parts it is.
    pub(crate) segment: Segment,
}

impl Round {
    /// Finds the devices of each scenario.
    ///
    /// # Errors
    ///
    /// The fleet is too small for a scenario, or for as many machines.
    pub(crate) fn new(plan: &Plan, fleet: &Fleet) -> Result<Round, RunError> {
        let empty = |scenario: &str, what| RunError::EmptySegment {
            segment: plan.segment,
            scenario: scenario.to_owned(),
            what,
        };
        let mut parts = Vec::new();
        for (scenario, devices) in plan
            .scenarios
            .iter()
            .zip(plan.scenarios.parts(fleet.size())?)
        {
            let (segment, places) = plan.segment.of_range(&devices);
            if places.is_empty() {
                return Err(empty(&scenario.name, "devices"));
            }
            let at_a_time = scenario.executor.devices_at_a_time();
            if at_a_time.is_some_and(|devices| segment.part_of_devices(devices) == 0) {
                return Err(empty(&scenario.name, "devices at a time (--connections)"));
            }
            if let Executor::RotateCertificates(_) = scenario.executor {
                // Whether there are next identities at all is to be known before the load.
                fleet.identity(plan.segment.index(), 1)?;
            }
            parts.push(Part {
                devices: devices.len(),
                places,
                segment,
            });
        }
        Ok(Round {
            plan: plan.clone(),
            parts,
        })
    }

    /// Most connections at a time.
    pub(crate) fn most_connections(&self) -> usize {
        self.plan
            .scenarios
            .iter()
            .zip(&self.parts)
            .map(|(scenario, part)| {
                let (activity, devices) = (&scenario.activity, part.places.len());
                scenario
                    .executor
                    .most_connections(activity, part.segment, devices)
            })
            .sum()
    }

    /// Most devices that are busy at a time.
    pub(crate) fn most_busy(&self) -> usize {
        let busy = self.plan.scenarios.iter().zip(&self.parts);
        busy.map(|(scenario, part)| {
            let at_a_time = scenario.executor.devices_at_a_time();
            let here = at_a_time.map(|devices| part.segment.part_of_devices(devices));
            here.unwrap_or(usize::MAX).min(part.places.len())
        })
        .max()
        .unwrap_or(1)
        .max(1)
    }
}
